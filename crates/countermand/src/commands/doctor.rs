//! `doctor`: what is wrong with this installation, and what to do about it.

mod around;
mod database;
mod files;
mod parents;
mod upstream;
mod user;

use super::json;
use crate::cli::{Doctor, Global};
use crate::client::{Client, unexpected};
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::init::MAKE_KEY;
use crate::show::{Page, Tone, escape};
use countermand_core::configuration::difference;
use countermand_core::name::TargetName;
use countermand_engine::control::{Command, Consistency, Reply};
use countermand_engine::key::Key;
use indicatif::ProgressBar;
use serde::Serialize;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// A gateway that does not answer by then is not waited for.
const ANSWERED: Duration = Duration::from_secs(10);

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    Warning,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    verdict: Verdict,
    /// What was looked at.
    what: String,
    /// How it is; the remedy, where it is not good.
    words: String,
}

impl Finding {
    fn told(self) -> countermand_console::Finding {
        use countermand_console::Verdict as Told;
        let verdict = match self.verdict {
            Verdict::Good => Told::Good,
            Verdict::Warning => Told::Warning,
            Verdict::Bad => Told::Bad,
        };
        countermand_console::Finding { verdict, what: self.what, words: self.words }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, verdict: Verdict, what: &str, words: impl Into<String>) {
        self.0.push(Finding { verdict, what: what.to_owned(), words: words.into() });
    }

    /// Good with these words, or bad with the error's.
    fn check<T, E: std::fmt::Display>(
        &mut self,
        what: &str,
        result: Result<T, E>,
        words: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.add(Verdict::Good, what, words(&value));
                Some(value)
            }
            Err(error) => {
                self.add(Verdict::Bad, what, error.to_string());
                None
            }
        }
    }

    fn worst(&self) -> Option<Verdict> {
        let bad = self.0.iter().find(|finding| finding.verdict == Verdict::Bad);
        bad.map(|finding| finding.verdict)
    }
}

/// What `doctor` finds without being told of an agent, for pages: of the configuration in force. The
/// file is anybody's draft, and what it names is not run for whoever reads. It blocks.
pub(crate) fn findings(config: &Config) -> Vec<countermand_console::Finding> {
    let global = Global { config: Some(config.file.clone()), socket: None, json: false };
    let mut found = Findings::default();
    look(&mut found, &global, config, &Doctor::default());
    found.0.into_iter().map(Finding::told).collect()
}

/// Runs `doctor`.
pub(super) fn run(global: &Global, arguments: &Doctor) -> Result<Exit, Failure> {
    if arguments.consistency {
        return consistency(global);
    }
    let progress = ProgressBar::new_spinner().with_message("looking");
    progress.enable_steady_tick(Duration::from_millis(120));
    let found = examine(global, arguments);
    progress.finish_and_clear();
    if global.json {
        json(&found.0);
    } else {
        show(&found);
    }
    Ok(if found.worst() == Some(Verdict::Bad) { Exit::Failed } else { Exit::Done })
}

fn examine(global: &Global, arguments: &Doctor) -> Findings {
    let mut found = Findings::default();
    let file = config::find(global.config.as_deref());
    let name = file.display().to_string();
    let loaded = Config::load(&file);
    let Some(config) = found.check("configuration", loaded, |_| name) else { return found };
    look(&mut found, global, &config, arguments);
    let socket = global.socket.clone().unwrap_or_else(|| config.socket());
    drafted(&mut found, &socket, &config);
    found
}

/// Looks at what this configuration describes.
fn look(found: &mut Findings, global: &Global, config: &Config, arguments: &Doctor) {
    let policy = super::policy::load(config);
    found.check("policies", policy, |policy| format!("they load, as {}", policy.digest().short()));
    if config.installation.humans.len() == 1 {
        let words = "one human: changes are confirmed by their sponsor, not peer-reviewed; enrol a \
                     second";
        found.add(Verdict::Warning, "people", words);
    }
    signers(found, config);
    files::examine(found, config);
    // Whose state it is runs it; where there is none, whoever asks.
    let owner = config.state.metadata().or_else(|_| std::fs::metadata("/proc/self"));
    if let Some(owner) = found.check("user", owner, |data| format!("{}", data.uid())) {
        parents::examine(found, config, owner.uid());
        user::examine(found, owner.uid(), arguments.agent_uid);
    }
    let observed = gateway(found, global, config);
    database::examine(found, config, &observed);
    around::examine(found, global, config, arguments);
}

/// Whether what is held in production can be signed at all.
fn signers(found: &mut Findings, config: &Config) {
    let installation = &config.installation;
    let targets = installation.targets.iter().filter(|(_, placed)| placed.is_production());
    let Some((target, _)) = targets.into_iter().next() else { return };
    if installation.plain_keys_count {
        return;
    }
    let reviewers = installation.humans.values().filter(|human| human.reviewer);
    let with = reviewers
        .clone()
        .filter(|human| human.keys.iter().any(Key::can_count_in_production))
        .count();
    let words = format!(
        "`{target}` is production, where only passkeys and security keys that verify their user count: {with} of \
         {} reviewers have one",
        reviewers.count()
    );
    match with {
        0 => found.add(
            Verdict::Bad,
            "signers",
            format!("{words}, so nobody can approve anything there: make one with `{MAKE_KEY}` and enrol it"),
        ),
        _ => found.add(Verdict::Good, "signers", words),
    }
}

/// Looks at the gateway, and gives the targets in which nothing is held.
fn gateway(found: &mut Findings, global: &Global, config: &Config) -> BTreeSet<TargetName> {
    let path = global.socket.clone().unwrap_or_else(|| config.socket());
    let status = Client::at(&path)
        .and_then(|client| client.within(ANSWERED))
        .and_then(|mut client| client.ask(&Command::Status));
    match status {
        Ok(Reply::Status(status)) => {
            let words = format!(
                "version {}, {} open changes, {} ledger entries",
                status.version, status.open, status.ledger_size
            );
            found.add(Verdict::Good, "gateway", words);
            for frozen in &status.frozen {
                found.add(Verdict::Warning, "frozen", frozen);
            }
            for observed in &status.observed {
                found.add(Verdict::Bad, "observed", observed.to_string());
            }
            for watch in &status.watches {
                found.add(Verdict::Warning, "watch", watch);
            }
            for backup in &status.backups {
                found.add(Verdict::Warning, "backup", backup);
            }
            if let Some(disk) = &status.disk {
                found.add(Verdict::Warning, "disk", disk);
            }
            upstream::clock(found, status.now, jiff::Timestamp::now());
            if let Some(waiting) = &status.configuration {
                let words = format!("{waiting}; see `countermand config show`");
                found.add(Verdict::Warning, "configuration", words);
            }
            if status.demo {
                found.add(Verdict::Warning, "demo", "plain keys count: this is no installation");
            }
            return status.observed.into_iter().map(|line| line.target).collect();
        }
        Ok(_) => found.add(Verdict::Bad, "gateway", unexpected().why),
        Err(error) => found.add(Verdict::Warning, "gateway", error.why),
    }
    BTreeSet::new()
}

/// The file is a draft: what the gateway runs under may be something else.
fn drafted(found: &mut Findings, path: &Path, config: &Config) {
    let reply = Client::at(path)
        .and_then(|client| client.within(ANSWERED))
        .and_then(|mut client| client.ask(&Command::Configurations));
    let Ok(Reply::Configurations { in_force: Some(in_force), .. }) = reply else { return };
    let differences = difference(&in_force.configuration, &config.installation.configuration).len();
    let number = in_force.number;
    match differences {
        0 => {
            found.add(Verdict::Good, "in force", format!("configuration {number}, as in the file"))
        }
        _ => {
            let words = format!(
                "the file differs from configuration {number}, which is in force and is not what is \
                 looked at here: {differences} differences; see `countermand config diff`"
            );
            found.add(Verdict::Warning, "in force", words);
        }
    }
}

fn show(found: &Findings) {
    let mut page = Page::stdout();
    for finding in &found.0 {
        let (tone, word) = match finding.verdict {
            Verdict::Good => (Tone::Good, "good   "),
            Verdict::Warning => (Tone::Warning, "warning"),
            Verdict::Bad => (Tone::Danger, "bad    "),
        };
        let mark = format!("{}  ", page.paint(tone, word));
        let words = format!("{}: {}", finding.what, escape::line(&finding.words));
        page.item(&mark, &words);
    }
    page.print();
}

/// Has the gateway recompute every change from the ledger.
fn consistency(global: &Global) -> Result<Exit, Failure> {
    let progress = ProgressBar::new_spinner().with_message("recomputing every change");
    progress.enable_steady_tick(Duration::from_millis(120));
    let reply = Client::connect(global)?.ask(&Command::Consistency);
    progress.finish_and_clear();
    let Reply::Consistency(consistency) = reply? else { return Err(unexpected()) };
    let Consistency { changes, entries, executed, differences } = &consistency;
    if global.json {
        json(&consistency);
    } else {
        let mut page = Page::stdout();
        page.field("changes", &changes.to_string());
        page.field("entries", &entries.to_string());
        page.field("executions", &executed.to_string());
        for difference in differences {
            let words = page.paint(Tone::Danger, &escape::line(difference));
            page.field("difference", &words);
        }
        if differences.is_empty() {
            let words = page.paint(Tone::Good, "store and ledger say the same");
            page.words(&words);
        }
        page.print();
    }
    Ok(if differences.is_empty() { Exit::Done } else { Exit::Failed })
}
