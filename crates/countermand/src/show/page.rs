//! The place that text is put on: its width, and whether it has colours.

use super::escape;
use console::Style;
use std::fmt::Write as _;

/// What a piece of text is for; a terminal shows it as a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// A heading.
    Heading,
    /// Beside the matter.
    Dim,
    /// As it should be.
    Good,
    /// Waits, or deserves a look.
    Warning,
    /// Lost, refused, or wrong.
    Danger,
}

/// No line is broken wider than this, however wide the terminal is.
const WIDEST: usize = 110;
/// What is written to a file or a pipe is not broken at all.
const UNBROKEN: usize = usize::MAX;

/// A page of output, written when it is whole.
#[derive(Debug)]
pub struct Page {
    text: String,
    width: usize,
    coloured: bool,
}

impl Page {
    /// A page for standard output.
    pub fn stdout() -> Page {
        Page::on(&console::Term::stdout())
    }

    /// A page for standard error.
    pub fn stderr() -> Page {
        Page::on(&console::Term::stderr())
    }

    /// A page without colours of this width, in columns.
    pub fn plain(width: usize) -> Page {
        Page { text: String::new(), width, coloured: false }
    }

    fn on(terminal: &console::Term) -> Page {
        let unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let coloured = terminal.is_term() && unset("NO_COLOR") && !dumb;
        let width = match terminal.size_checked() {
            Some((_, columns)) if terminal.is_term() => usize::from(columns).clamp(40, WIDEST),
            _ => UNBROKEN,
        };
        Page { text: String::new(), width, coloured }
    }

    /// Columns of a line.
    pub fn width(&self) -> usize {
        self.width
    }

    /// A piece of our own text in this tone. Text from outside must have been escaped.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let style = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Heading => Style::new().bold(),
            Tone::Dim => Style::new().dim(),
            Tone::Good => Style::new().green(),
            Tone::Warning => Style::new().yellow(),
            Tone::Danger => Style::new().red().bold(),
        };
        style.force_styling(self.coloured).apply_to(text).to_string()
    }

    /// A line of its own, unbroken.
    pub fn line(&mut self, text: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{text}");
    }

    /// A heading, with a line free before it.
    pub fn heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let heading = self.paint(Tone::Heading, text);
        self.line(heading);
    }

    /// Words, broken where the page ends and indented by two columns.
    pub fn words(&mut self, text: &str) {
        self.item("  ", text);
    }

    /// Words behind a mark; what does not fit goes under the words, not under the mark.
    pub fn item(&mut self, mark: &str, text: &str) {
        let indent = console::measure_text_width(mark);
        let room = self.width.saturating_sub(indent).max(20);
        for (nth, row) in broken(text, room).iter().enumerate() {
            let lead = if nth == 0 { mark.to_owned() } else { " ".repeat(indent) };
            let _ = writeln!(self.text, "{lead}{row}");
        }
    }

    /// A label with what it is about.
    pub fn field(&mut self, label: &str, text: &str) {
        let label = format!("  {label:<13} ");
        let label = self.paint(Tone::Dim, &label);
        self.item(&label, text);
    }

    /// A text from outside, whole and escaped, behind a bar that no text of its own can forge.
    pub fn untrusted(&mut self, what: &str, text: &str) {
        let note = self.paint(Tone::Warning, "written by the agent: untrusted, shown escaped");
        self.quoted(what, &note, text);
        let foreign = text.chars().filter(|c| !c.is_ascii()).count();
        if foreign > 0 {
            let note =
                format!("  holds {foreign} characters outside ASCII: letters may look alike");
            let note = self.paint(Tone::Warning, &note);
            self.line(note);
        }
    }

    /// A text as it is, whole and escaped, behind a bar.
    pub fn quoted(&mut self, what: &str, note: &str, text: &str) {
        let heading = self.paint(Tone::Heading, what);
        let _ = writeln!(self.text, "\n{heading}  {note}");
        let bar = self.paint(Tone::Warning, "  │ ");
        // A line that goes on has a bar too: nothing of the text ever stands without one.
        let on = self.paint(Tone::Warning, "  ┊ ");
        let room = self.width.saturating_sub(4).max(20);
        for line in escape::lines(text) {
            for (nth, row) in broken(&line, room).iter().enumerate() {
                let _ = writeln!(self.text, "{}{row}", if nth == 0 { &bar } else { &on });
            }
        }
    }

    /// What is on the page.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes the page to standard output. A reader that has gone away is no error.
    pub fn print(self) {
        use std::io::Write as _;
        let _ = std::io::stdout().write_all(self.text.as_bytes());
    }

    /// Writes the page to standard error.
    pub fn eprint(self) {
        eprint!("{}", self.text);
    }
}

/// Breaks between words, and within one that is wider than the room.
fn broken(text: &str, room: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let wide = console::measure_text_width(word.trim_end());
        if used > 0 && used + wide > room {
            rows.push(String::new());
            used = 0;
        }
        if wide <= room {
            rows.last_mut().expect("there is always a row").push_str(word);
            used += console::measure_text_width(word);
            continue;
        }
        for (piece, is_colour) in console::AnsiCodeIterator::new(word) {
            if is_colour {
                rows.last_mut().expect("there is always a row").push_str(piece);
                continue;
            }
            for c in piece.chars() {
                let wide = console::measure_text_width(c.encode_utf8(&mut [0; 4]));
                if used + wide > room {
                    rows.push(String::new());
                    used = 0;
                }
                rows.last_mut().expect("there is always a row").push(c);
                used += wide;
            }
        }
    }
    rows.iter().map(|row| row.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_text_stays_behind_its_bar() {
        let mut page = Page::plain(40);
        page.untrusted("Payload", "drop table t;\nApproved by bob\u{202e}\n\u{1b}[1A");
        assert_eq!(
            page.text(),
            "\nPayload  written by the agent: untrusted, shown escaped\n  │ drop table t;\n  \
             │ Approved by bob\\u{202e}\n  │ \\u{1b}[1A\n  holds 1 characters outside ASCII: \
             letters may look alike\n"
        );
    }

    #[test]
    fn a_long_line_never_stands_without_a_bar() {
        let mut page = Page::plain(40);
        page.untrusted("Payload", &format!("select 1 {} change 7 is harmless", " ".repeat(90)));
        let rows: Vec<&str> = page.text().lines().skip(2).collect();
        assert!(
            rows.len() > 1
                && rows.iter().all(|row| row.starts_with("  │ ") || row.starts_with("  ┊ "))
        );
    }

    #[test]
    fn long_words_are_broken_and_nothing_is_lost() {
        let long = "x".repeat(95);
        let rows = broken(&format!("a {long} b"), 40);
        assert!(rows.iter().all(|row| row.len() <= 40), "{rows:?}");
        assert_eq!(rows.concat().matches('x').count(), 95);
        let coloured = format!("\u{1b}[31m{long}\u{1b}[0m");
        let rows = broken(&coloured, 40);
        assert_eq!(rows.len(), 3);
        assert!(rows[0].starts_with("\u{1b}[31mx") && rows[2].ends_with("x\u{1b}[0m"), "{rows:?}");
    }
}
