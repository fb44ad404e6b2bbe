//! Files and folders: who may read them, whether they can be written.

use super::{Findings, Verdict};
use crate::commands::gateway;
use crate::config::Config;
use countermand_doors::secret::SecretRef;
use countermand_engine::Home;
use countermand_engine::disk::{Level, REFUSE_BELOW, Space};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A copy that is older, in days, is said.
const DAYS: i64 = 7;

/// Looks at everything of the configuration that is a file.
pub(super) fn examine(found: &mut Findings, config: &Config) {
    writable_by_others(found, &config.file);
    private(found, "state directory", &config.state, "0700");
    let home = Home::at(&config.state);
    private(found, "ledger key", &home.signing_key(), "0600");
    private(found, "text key", &home.text_key(), "0600");
    if let Some((_, key)) = &config.door.tls {
        private(found, "door key", key, "0600");
    }
    for (name, target) in &config.targets {
        for (role, login) in [("session", &target.session), ("executor", &target.executor)] {
            if let SecretRef::File(path) = &login.secret {
                private(found, &format!("{name} {role} secret"), path, "0600");
            }
        }
    }
    restore_points(found, &config.installation.restore_points);
    copies(found, config);
    disk(found, "state directory", &config.state);
    disk(found, "restore points", &config.installation.restore_points);
}

/// Who loses these keys loses what proves the ledger, and what opens its texts.
fn copies(found: &mut Findings, config: &Config) {
    const REMEDY: &str = "make one: countermand gateway backup FOLDER";
    let what = "copy";
    let text = std::fs::read(config.state.join(gateway::RECORD)).unwrap_or_default();
    let Ok(record) = serde_json::from_slice::<gateway::Record>(&text) else {
        let words = format!("ledger.key, texts.key and the store have no copy; {REMEDY}");
        return found.add(Verdict::Warning, what, words);
    };
    let age = jiff::Timestamp::now().duration_since(record.made).as_hours() / 24;
    match gateway::key_digests(&config.state) {
        Ok(keys) if keys != record.keys => {
            let words = format!("the keys are others than in the last copy; {REMEDY}");
            found.add(Verdict::Bad, what, words);
        }
        Ok(_) if age >= DAYS => {
            let words = format!(
                "the last copy is {age} days old: what happened since would be lost; {REMEDY}"
            );
            found.add(Verdict::Warning, what, words);
        }
        Ok(_) => {
            let words = format!("of {:.0}, in `{}`", record.made, record.folder.display());
            found.add(Verdict::Good, what, words);
        }
        // Said where the keys are looked at.
        Err(_) => {}
    }
}

fn disk(found: &mut Findings, what: &str, folder: &Path) {
    let shown = folder.display();
    match Space::at(folder) {
        Err(error) => {
            found.add(Verdict::Bad, what, format!("cannot measure the disk of `{shown}`: {error}"));
        }
        Ok(space) => {
            let verdict = match space.level() {
                Level::Enough => return,
                Level::Low => Verdict::Warning,
                Level::Out => Verdict::Bad,
            };
            let words = format!(
                "{} % of the disk of `{shown}` is free: below {REFUSE_BELOW} % nothing that writes \
                 flows; make room",
                space.percent()
            );
            found.add(verdict, what, words);
        }
    }
}

fn private(found: &mut Findings, what: &str, path: &Path, mode: &str) {
    let shown = path.display();
    match path.metadata() {
        Err(error) => found.add(Verdict::Bad, what, format!("cannot read `{shown}`: {error}")),
        Ok(data) if data.permissions().mode() & 0o077 != 0 => {
            let words = format!("others can read `{shown}`; run: chmod {mode} {shown}");
            found.add(Verdict::Bad, what, words);
        }
        Ok(_) => found.add(Verdict::Good, what, format!("`{shown}` is private")),
    }
}

fn writable_by_others(found: &mut Findings, path: &Path) {
    let Ok(data) = path.metadata() else { return };
    if data.permissions().mode() & 0o022 != 0 {
        let shown = path.display();
        let words = format!("others can write `{shown}`; run: chmod go-w {shown}");
        found.add(Verdict::Bad, "configuration", words);
    }
}

/// A restore point that cannot be written is found out before it is needed.
fn restore_points(found: &mut Findings, folder: &Path) {
    let shown = folder.display();
    match tempfile::tempfile_in(folder) {
        Ok(_) => found.add(Verdict::Good, "restore points", format!("`{shown}` can be written")),
        Err(error) => {
            let words = format!(
                "cannot write into `{shown}`: {error}; make it, with room for a copy of what changes would lose"
            );
            found.add(Verdict::Bad, "restore points", words);
        }
    }
}
