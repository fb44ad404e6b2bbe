//! How the demonstration speaks: pages for people, one event a line for programs.

use crate::exit::Failure;
use crate::show::{Page, Tone, escape};
use crate::sign;
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};

/// The demonstration's voice.
pub(super) struct Teller {
    json: bool,
    unattended: bool,
}

impl Teller {
    pub(super) fn new(json: bool, unattended: bool) -> Teller {
        Teller { json, unattended }
    }

    /// What happened, in words and as an event.
    pub(super) fn event(&self, event: &str, tone: Tone, words: &str, fields: Value) {
        if self.json {
            let mut line = json!({ "at": jiff::Timestamp::now(), "event": event });
            if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
                line.extend(fields);
            }
            println!("{line}");
        } else {
            let mut page = Page::stdout();
            let mark = page.paint(tone, &format!("{event:>10}  "));
            page.item(&mark, words);
            page.print();
        }
        let _ = std::io::stdout().flush();
    }

    /// A part of the story.
    pub(super) fn part(&self, heading: &str) {
        if !self.json {
            let mut page = Page::stdout();
            page.line("");
            page.heading(heading);
            page.print();
        }
    }

    /// Words beside the story.
    pub(super) fn say(&self, words: &str) {
        if !self.json {
            let mut page = Page::stdout();
            page.item("            ", words);
            page.print();
        }
    }

    /// What a program printed, escaped.
    pub(super) fn quote(&self, who: &str, text: &str) {
        if !self.json {
            let mut page = Page::stdout();
            let bar = page.paint(Tone::Dim, &format!("{who:>10}  "));
            for line in escape::lines(text.trim_end()) {
                page.item(&bar, &line);
            }
            page.print();
        }
    }

    /// A line as it is, to be copied: it is not folded.
    pub(super) fn plain(&self, line: &str) {
        eprintln!("\n            {line}");
    }

    /// What the person who watches answers to this.
    pub(super) async fn ask(&self, question: &str) -> Result<String, Failure> {
        let question = format!("\n            {question}");
        let answered = tokio::task::spawn_blocking(move || sign::ask(&question));
        answered.await.map_err(Failure::new)?
    }

    /// Whether somebody watches who can be asked.
    pub(super) fn is_watched(&self) -> bool {
        !self.unattended && !self.json && std::io::stdin().is_terminal()
    }

    /// Waits for the person who watches, unless scripted reviewers decide. They answer beside, so
    /// that Ctrl-C is heard meanwhile.
    pub(super) async fn pause(&self, what: &str) -> Result<(), Failure> {
        if !self.is_watched() {
            return Ok(());
        }
        self.ask(&format!("{what} [Enter] ")).await.map(drop)
    }
}
