//! The offline audit: reads files and a public key, opens no socket, believes nothing else.
//!
//! Beside what the ledger's own verification covers, every checkpoint that was published is held
//! against the entries, and every signed statement in them against its signature.

mod stated;

use super::relocate;
use crate::cli::Global;
use crate::commands::json;
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone, escape};
use countermand_core::configuration::{Enrolment, Signers};
use countermand_core::statement::Statement;
use countermand_engine::key::{self, Key};
use countermand_ledger::checkpoint::VerifyingKey;
use countermand_ledger::keyring::{KeyChanges, Keyring};
use countermand_ledger::leaf::Leaf;
use countermand_ledger::segment;
use countermand_ledger::tree::Tree;
use countermand_ledger::verify::{Evidence, Report, Texts, verify};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::Value;
use ssh_key::{PublicKey, SshSig};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was found in a ledger without fault.
#[derive(Serialize)]
struct Audit {
    #[serde(flatten)]
    report: Report,
    /// Published checkpoints that fit the entries.
    checkpoints: u64,
    /// Signed statements whose signature holds.
    signatures: u64,
    /// How many of them were made with a key of their signer's that counted then, by the configuration
    /// that was in force at that entry. Of the others the ledger, older than that, does not tell whose
    /// key it is: the people of the installation must say.
    enrolled: u64,
    /// How many of them each key made for each signer: `alice SHA256:…`.
    signers: BTreeMap<String, u64>,
}

/// A file with its name within the ledger's folder.
type Named = (String, Vec<u8>);

/// Runs `ledger verify`.
pub(super) fn run(
    global: &Global,
    folders: &[PathBuf],
    key: &Path,
    kept: Option<&Path>,
) -> Result<Exit, Failure> {
    let progress = ProgressBar::new_spinner().with_message("reading the ledger");
    progress.enable_steady_tick(Duration::from_millis(120));
    let audited = audit(folders, key, kept, &progress);
    progress.finish_and_clear();
    let audit = audited?;
    let beside = folders.iter().any(|folder| is_inside(key, folder));
    if global.json {
        json(&audit);
    } else {
        show(&audit, beside);
    }
    Ok(Exit::Done)
}

fn audit(
    folders: &[PathBuf],
    key: &Path,
    kept: Option<&Path>,
    progress: &ProgressBar,
) -> Result<Audit, Failure> {
    let vkey = text(key)?;
    let key = VerifyingKey::parse(vkey.trim())
        .map_err(|error| Failure::usage(format!("`{}`: {error}", key.display())))?;
    if let Some((name, to)) = relocate::elsewhere(folders).first() {
        let to = escape::line(to);
        return Err(Failure::usage(format!("`{name}` was moved to `{to}`: name that folder too")));
    }
    let first = folders.first().map_or(Path::new("."), PathBuf::as_path);
    let checkpoint = text(&first.join("checkpoint"))?;
    let kept = kept.map(text).transpose()?;
    let of = |part: &str| -> Result<Vec<Named>, Failure> {
        let found: Result<Vec<_>, _> = folders.iter().map(|folder| files(folder, part)).collect();
        Ok(found?.concat())
    };
    let (segments, texts, published) = (of("segments")?, of("texts")?, of("checkpoints")?);
    progress.set_message("recomputing the tree");
    let (segments, texts) = (borrowed(&segments), borrowed(&texts));
    let report = verify(&Evidence {
        key: &key,
        checkpoint: &checkpoint,
        kept: kept.as_deref(),
        segments: &segments,
        texts: Some(Texts { files: &texts, keys: None }),
    })
    .map_err(Failure::new)?;
    progress.set_message("verifying signatures");
    let mut entries = Entries::default();
    let mut ordered = segments;
    ordered.sort_unstable();
    for (_, bytes) in ordered {
        let lines = segment::parse(bytes).map_err(Failure::new)?.lines;
        lines.into_iter().try_for_each(|line| entries.add(line))?;
    }
    let keys = entries.keys.keyring(&key, &entries.tree).map_err(Failure::new)?;
    for (name, bytes) in &published {
        entries.holds(&keys, name, bytes)?;
    }
    Ok(Audit {
        report,
        checkpoints: published.len() as u64,
        signatures: entries.signers.values().sum(),
        enrolled: entries.enrolled,
        signers: entries.signers,
    })
}

/// The entries once more: their tree, and who signed in them.
#[derive(Default)]
struct Entries {
    tree: Tree,
    keys: KeyChanges,
    signers: BTreeMap<String, u64>,
    enrolled: u64,
    /// Whose keys count, since an entry said so.
    enrolment: Option<Enrolment>,
}

impl Entries {
    fn add(&mut self, line: &[u8]) -> Result<(), Failure> {
        let leaf = Leaf::parse(line).map_err(Failure::new)?;
        self.tree.append(leaf.hash());
        self.keys.read(&leaf).map_err(Failure::new)?;
        let member = |name: &str| leaf.body().get(name);
        if leaf.kind() == "config.applied" {
            self.applied(&leaf)?;
        }
        let signer = match (member("statement"), member("signature")) {
            (None, None) if !stated::is_needed(leaf.kind()) => return Ok(()),
            (None, None) => Err("there is none, and what it tells takes one".to_owned()),
            (Some(statement), Some(signature)) => {
                let texts = statement.as_str().zip(signature.as_str());
                texts
                    .ok_or("they are no texts".to_owned())
                    .and_then(|(s, g)| self.signer(s, g, &leaf))
            }
            _ => Err("one of statement and signature is missing".to_owned()),
        };
        let signer = signer.map_err(|why| {
            let (index, kind) = (leaf.index(), leaf.kind());
            Failure::new(format!("entry {index} ({kind}): its signature does not hold: {why}"))
        })?;
        *self.signers.entry(signer).or_default() += 1;
        self.enrolled += u64::from(self.enrolment.is_some());
        Ok(())
    }

    /// Another configuration is in force: whose keys count from now on.
    fn applied(&mut self, leaf: &Leaf) -> Result<(), Failure> {
        let Some(said) = leaf.body().get("signers") else {
            // Once it is told, it is told each time: else any key would count again.
            if self.enrolment.is_some() {
                let why = "it does not say whose keys count, and an entry before it did";
                return Err(Failure::new(format!(
                    "entry {} (config.applied): {why}",
                    leaf.index()
                )));
            }
            return Ok(());
        };
        let signers: Signers = serde_json::from_value(said.clone()).map_err(|error| {
            let index = leaf.index();
            Failure::new(format!("entry {index} (config.applied): its signers: {error}"))
        })?;
        let unsigned = leaf.body().get("unsigned").and_then(Value::as_bool) == Some(true);
        let enrolment = self.enrolment.get_or_insert_default();
        enrolment.apply_signers(&signers, leaf.at(), unsigned);
        Ok(())
    }

    /// Who signed this statement with which key, if its signature holds, the key counted then, and it
    /// is of what its entry tells.
    fn signer(&self, text: &str, signature: &str, leaf: &Leaf) -> Result<String, String> {
        let statement: Statement =
            serde_json::from_str(text).map_err(|error| format!("not a statement: {error}"))?;
        if statement.to_bytes() != text.as_bytes() {
            return Err("the statement is not in canonical form".to_owned());
        }
        let human = statement.signer.as_str();
        let keys: Vec<Key> = match &self.enrolment {
            Some(enrolment) => {
                enrolment.keys_of(human, leaf.at()).filter_map(|line| line.parse().ok()).collect()
            }
            None => vec![own_key(signature)?],
        };
        let signed = key::verify(&keys, text.as_bytes(), signature);
        let signed = signed.map_err(|error| error.to_string())?;
        stated::is_of(&statement, leaf)?;
        Ok(format!("{human} {}", signed.key))
    }

    /// Whether a published checkpoint fits the entries.
    fn holds(&self, keys: &Keyring, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let fault = |why: String| Failure::new(format!("`{name}` does not hold: {why}"));
        let note = std::str::from_utf8(bytes).map_err(|error| fault(error.to_string()))?;
        let checkpoint = keys.open(note).map_err(|error| fault(error.to_string()))?;
        let size = checkpoint.size;
        let cut =
            |_| fault(format!("it covers {size} entries, and {} are there", self.tree.size()));
        if self.tree.root_at(size).map_err(cut)? == checkpoint.root {
            return Ok(());
        }
        Err(fault(format!("the first {size} entries are not those that were signed")))
    }
}

/// The key that an SSH signature itself names: all there is where no entry says whose keys count.
fn own_key(signature: &str) -> Result<Key, String> {
    let signature = SshSig::from_pem(signature).map_err(|error| error.to_string())?;
    Ok(PublicKey::from(signature.public_key().clone()).into())
}

fn show(audit: &Audit, key_beside: bool) {
    let Audit { report, checkpoints, signatures, enrolled, signers } = audit;
    let mut page = Page::stdout();
    let good = page.paint(Tone::Good, "the ledger holds");
    page.line(good);
    let words =
        format!("{} of {}, signed at {}", report.covered, report.leaves, report.checkpoint_at);
    page.field("entries", &words);
    page.field("root", &report.root.to_string());
    page.field("checkpoints", &format!("{checkpoints} published, all fit"));
    page.field("signatures", &format!("{signatures} statements, all hold"));
    let words = format!("{enrolled} with a key of their signer's that counted then");
    page.field("", &words);
    if enrolled < signatures {
        let words = format!(
            "{} from before the ledger told whose keys count: ask whose these are",
            signatures - enrolled
        );
        let words = page.paint(Tone::Warning, &words);
        page.field("", &words);
    }
    for (signer, count) in signers {
        page.field("", &format!("{count} by {}", escape::line(signer)));
    }
    let words =
        format!("{} not opened (sealed), {} erased", report.texts_unopened, report.texts_erased);
    page.field("texts", &words);
    let odd = [
        (report.texts_missing, "are not there, and no entry says that they were erased"),
        (report.texts_left, "are there although an entry says that they were erased"),
    ];
    for (count, words) in odd.into_iter().filter(|(count, _)| *count > 0) {
        let words = page.paint(Tone::Warning, &format!("{count} {words}"));
        page.field("", &words);
    }
    if report.unsigned_tail > 0 {
        let words =
            format!("{} entries after the checkpoint are not covered", report.unsigned_tail);
        let words = page.paint(Tone::Warning, &words);
        page.field("tail", &words);
    }
    for name in &report.torn {
        let words = format!("{} ends within a line", escape::line(name));
        let words = page.paint(Tone::Warning, &words);
        page.field("torn", &words);
    }
    for change in &report.key_changes {
        let words = match change.vouched {
            true => format!("replaced at entry {}, vouched for by the one before", change.index),
            false => page.paint(Tone::Danger, &format!(
                "REPLACED AT ENTRY {}, AND NOT VOUCHED FOR by the one before: what stands before that \
                 entry rests on this key alone. Verify with --checkpoint, a checkpoint that was kept \
                 from before",
                change.index
            )),
        };
        page.field("key", &words);
    }
    if key_beside {
        let words = "it lies among the ledger's own files, so whoever wrote those may have written \
                     it too: use a copy from elsewhere";
        let words = page.paint(Tone::Warning, words);
        page.field("key", &words);
    }
    page.print();
}

fn is_inside(file: &Path, folder: &Path) -> bool {
    match (file.canonicalize(), folder.canonicalize()) {
        (Ok(file), Ok(folder)) => file.starts_with(folder),
        _ => false,
    }
}

fn text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", file.display())))
}

/// The files of a part of the ledger; none where the part is not there.
fn files(folder: &Path, part: &str) -> Result<Vec<Named>, Failure> {
    let path = folder.join(part);
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!("cannot read `{}`: {error}", path.display()))
    };
    let entries = match std::fs::read_dir(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let name = format!("{part}/{}", entry.file_name().to_string_lossy());
        // What a writer had not finished was never part of the ledger.
        if !name.ends_with(".new") && segment::parse_moved_name(&name).is_none() {
            files.push((name, std::fs::read(entry.path()).map_err(unreadable)?));
        }
    }
    Ok(files)
}

fn borrowed(files: &[Named]) -> Vec<(&str, &[u8])> {
    files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countermand_core::statement::NAMESPACE;
    use jiff::Timestamp;
    use serde_json::json;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    const STATEMENT: &str = concat!(
        r#"{"act":"thaw","expires":"2026-01-01T00:30:00Z","installation":"acme","#,
        r#""issued":"2026-01-01T00:00:00Z","nonce":"00","signer":"bob","#,
        r#""subject":{"what":"everything"}}"#
    );

    fn signature(namespace: &str) -> String {
        signature_over(STATEMENT, namespace)
    }

    fn signature_over(statement: &str, namespace: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
        assert!(make.status().unwrap().success());
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(&key);
        sign.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = sign.spawn().unwrap();
        child.stdin.take().unwrap().write_all(statement.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    fn audited(body: &serde_json::Value) -> Result<Entries, Failure> {
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let leaf = Leaf::new(0, at, "freeze.off", body, &BTreeMap::new()).unwrap();
        let mut entries = Entries::default();
        entries.add(leaf.line().as_bytes()).map(|()| entries)
    }

    fn entry(
        kind: &str,
        body: &serde_json::Value,
        entries: &mut Entries,
        hour: i64,
    ) -> Result<(), Failure> {
        let at = Timestamp::from_second(1_767_225_600 + hour * 3600).unwrap();
        let leaf = Leaf::new(entries.tree.size(), at, kind, body, &BTreeMap::new()).unwrap();
        entries.add(leaf.line().as_bytes())
    }

    #[test]
    fn every_signature_in_the_entries_is_verified() {
        let good = signature(NAMESPACE);
        let body = |statement: &str, signature: &str| serde_json::json!({ "statement": statement, "signature": signature });
        let entries = audited(&body(STATEMENT, &good)).unwrap();
        let signer = entries.signers.keys().next().unwrap();
        assert!(signer.starts_with("bob SHA256:"), "{signer}");
        for bad in [
            body(&STATEMENT.replace("bob", "eve"), &good),
            body(&STATEMENT.replace(":{", ": {"), &good),
            body(STATEMENT, &signature("file")),
            body(STATEMENT, ""),
            serde_json::json!({ "statement": STATEMENT }),
            serde_json::json!({ "statement": 1, "signature": good }),
        ] {
            let why = audited(&bad).err().unwrap().why;
            assert!(why.starts_with("entry 0 (freeze.off): its signature"), "{why}");
        }
    }

    /// A gateway that lies puts a true statement where it does not belong, or none.
    #[test]
    fn a_statement_stands_only_in_an_entry_that_is_of_it_and_is_missed_where_it_is_not() {
        let told = |kind: &str, body: &serde_json::Value| {
            entry(kind, body, &mut Entries::default(), 0).map_err(|failure| failure.why)
        };
        let thaw = json!({ "statement": STATEMENT, "signature": signature(NAMESPACE) });
        told("freeze.off", &thaw).unwrap();
        let mut approval = thaw.clone();
        approval["change"] = json!(7);
        let why = told("change.approved", &approval).unwrap_err();
        assert!(why.contains("`thaw` is no statement for it"), "{why}");
        for kind in ["change.approved", "change.resolved", "agent.added", "freeze.off"] {
            let why = told(kind, &json!({ "change": 7 })).unwrap_err();
            assert!(why.contains("there is none"), "{kind}: {why}");
        }
        told("change.held", &json!({ "change": 7 })).unwrap();

        let resolve = STATEMENT.replace("thaw", "resolve").replace(
            r#"{"what":"everything"}"#,
            r#"{"change":7,"committed":true,"reason":"seen"}"#,
        );
        let signed = signature_over(&resolve, NAMESPACE);
        let of =
            |change: u64| json!({ "change": change, "statement": resolve, "signature": signed });
        told("change.resolved", &of(7)).unwrap();
        let why = told("change.resolved", &of(8)).unwrap_err();
        assert!(why.contains("about change 7, the entry about 8"), "{why}");
    }

    /// Else any key would count again from there on.
    #[test]
    fn whose_keys_count_is_told_each_time_once_it_was() {
        let mut entries = Entries::default();
        let silent = json!({ "digest": "" });
        entry("config.applied", &silent, &mut entries, 0).unwrap();
        let tells = json!({ "digest": "", "unsigned": true, "signers": { "bob": [] } });
        entry("config.applied", &tells, &mut entries, 1).unwrap();
        let why = entry("config.applied", &silent, &mut entries, 2).unwrap_err().why;
        assert!(why.contains("does not say whose keys count"), "{why}");
    }

    /// A passkey that signed [`STATEMENT`], once, elsewhere: nothing of a server is needed.
    const PASSKEY: &str = include_str!("verify/passkey.txt");
    const ASSERTION: &str = include_str!("verify/assertion.json");

    #[test]
    fn a_passkey_is_held_against_the_keys_that_counted_then() {
        let signed = json!({ "statement": STATEMENT, "signature": ASSERTION.trim() });
        let bob = json!({ "digest": "", "unsigned": true, "signers": { "bob": [PASSKEY.trim()] } });
        let nobody = json!({ "digest": "", "signers": { "alice": [PASSKEY.trim()], "bob": [] } });
        let mut entries = Entries::default();
        let why = entry("freeze.off", &signed, &mut entries, 0).unwrap_err().why;
        assert!(why.contains("its signature does not hold"), "nobody has said whose: {why}");

        let mut entries = Entries::default();
        entry("config.applied", &bob, &mut entries, 0).unwrap();
        entry("freeze.off", &signed, &mut entries, 0).unwrap();
        assert_eq!((entries.enrolled, entries.signers.values().sum::<u64>()), (1, 1));
        // Another statement under the same assertion.
        let other = STATEMENT.replace("everything", "target prod");
        let other = json!({ "statement": other, "signature": ASSERTION.trim() });
        let why = entry("freeze.off", &other, &mut entries, 0).unwrap_err().why;
        assert!(why.contains("did not sign this statement"), "{why}");
        // From when on it is another's, it is not bob's.
        entry("config.applied", &nobody, &mut entries, 1).unwrap();
        let why = entry("freeze.off", &signed, &mut entries, 2).unwrap_err().why;
        assert!(why.contains("not enrolled for this person"), "{why}");
        // What comes back is new, and waits.
        let again = json!({ "digest": "", "signers": { "bob": [PASSKEY.trim()] } });
        entry("config.applied", &again, &mut entries, 3).unwrap();
        assert!(entry("freeze.off", &signed, &mut entries, 26).is_err());
        entry("freeze.off", &signed, &mut entries, 27).unwrap();
    }

    #[test]
    fn an_ssh_key_is_held_against_the_keys_that_counted_then() {
        let signature = signature(NAMESPACE);
        let signed = json!({ "statement": STATEMENT, "signature": signature });
        let line = own_key(&signature).unwrap().line();
        let mut entries = Entries::default();
        entry("freeze.off", &signed, &mut entries, 0).unwrap();
        assert_eq!(entries.enrolled, 0, "the ledger does not tell yet");
        let of =
            |whose: &str| json!({ "digest": "", "unsigned": true, "signers": { whose: [line] } });
        entry("config.applied", &of("bob"), &mut entries, 0).unwrap();
        entry("freeze.off", &signed, &mut entries, 0).unwrap();
        assert_eq!(entries.enrolled, 1);
        entry("config.applied", &of("alice"), &mut entries, 0).unwrap();
        assert!(entry("freeze.off", &signed, &mut entries, 0).is_err());
    }
}
