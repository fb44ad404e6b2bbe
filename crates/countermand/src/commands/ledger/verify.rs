//! The offline audit: reads files and a public key, opens no socket, believes nothing else.
//!
//! Beside what the ledger's own verification covers, every checkpoint that was published is held
//! against the entries, and every signed statement in them against its signature, its entry, and what
//! entries before it tell.
//!
//! - `entries`: entry by entry, and whether each signature holds with a key that counted then
//! - `configured`: whose keys count, and that people let each configuration be in force
//! - `stated`: which statement an entry takes, and that the entry tells what was signed
//! - `told`: what earlier entries told of it, and that what was signed counts once

mod configured;
mod entries;
mod stated;
mod told;

use super::relocate;
use crate::cli::Global;
use crate::commands::json;
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone, escape};
use countermand_ledger::checkpoint::VerifyingKey;
use countermand_ledger::segment;
use countermand_ledger::verify::{Evidence, Report, Texts, verify};
use entries::Entries;
use indicatif::ProgressBar;
use serde::Serialize;
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
mod tests;
