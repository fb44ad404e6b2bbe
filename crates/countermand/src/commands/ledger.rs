//! `ledger`: verify it offline, read it, prove an entry of it, copy it for an auditor.

mod events;
mod prove;
mod relocate;
mod verify;

use super::{json, signed};
use crate::cli::{Export, Global, Ledger};
use crate::client::{Client, unexpected};
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone, escape};
use countermand_core::request::ChangeNumber;
use countermand_core::statement::LedgerKey;
use countermand_engine::Home;
use countermand_engine::control::{Command, Erasing, LedgerEntry, PrepareAct, Reply};
use countermand_ledger::leaf::Leaf;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Runs `ledger`.
pub(super) fn run(global: &Global, arguments: Ledger) -> Result<Exit, Failure> {
    match arguments {
        Ledger::Verify { folders, key, checkpoint } => {
            verify::run(global, &folders, &key, checkpoint.as_deref())
        }
        Ledger::Move { to, before } => relocate::run(global, &to, before),
        Ledger::Show { from, limit } => show(global, from, limit),
        Ledger::Prove { entry } => prove::prove(global, entry),
        Ledger::Check { proof, key } => prove::check(global, &proof, &key),
        Ledger::Export(Export { folder: Some(folder), .. }) => export(global, &folder),
        Ledger::Export(arguments) => events::run(global, arguments),
        Ledger::RotateKey { which, signer } => {
            let mut client = Client::connect(global)?;
            let act = PrepareAct::RotateKey { key: which.into() };
            signed(global, &mut client, &signer, act)
        }
        Ledger::Erase { change, entry, reason, signer } => {
            let mut client = Client::connect(global)?;
            let what = match (change, entry) {
                (Some(change), _) => Erasing::Change(ChangeNumber(change)),
                (None, entry) => Erasing::Entry(entry.unwrap_or_default()),
            };
            signed(global, &mut client, &signer, PrepareAct::EraseTexts { what, reason })
        }
        Ledger::ReplaceKey { which } => replace_key(global, which.into()),
    }
}

/// Works on files, with no gateway running: without its key none starts.
fn replace_key(global: &Global, which: LedgerKey) -> Result<Exit, Failure> {
    let state = Config::state_of(&config::find(global.config.as_deref()))?;
    let made = Home::at(state).replace_lost(which).map_err(Failure::new)?;
    if global.json {
        json(&serde_json::json!({ "key": made }));
        return Ok(Exit::Done);
    }
    let mut page = Page::stdout();
    page.line(made);
    page.words(match which {
        LedgerKey::Checkpoints => {
            "is the ledger's key from the next start on, and nothing vouches for it: the ledger says so \
             for good, and everything is frozen until a human thaws it. Hand it to your auditors, with \
             the reason, and with a checkpoint that was signed before."
        }
        LedgerKey::Texts => {
            "seals texts from the next start on. What was sealed before cannot be read any more; the \
             ledger verifies as ever. If a copy of the old key turns up, put it beside this one as \
             texts-old.key."
        }
    });
    page.print();
    Ok(Exit::Done)
}

fn show(global: &Global, from: u64, limit: u64) -> Result<Exit, Failure> {
    let mut client = Client::connect(global)?;
    let (mut next, end) = (from, from.saturating_add(limit));
    let mut total = 0;
    while next < end {
        let command = Command::Ledger { from: next, limit: end - next };
        let Reply::Ledger { entries, size } = client.ask(&command)? else {
            return Err(unexpected());
        };
        total = size;
        if entries.is_empty() {
            break;
        }
        next += entries.len() as u64;
        put(global, &entries)?;
    }
    if !global.json {
        let mut page = Page::stderr();
        page.words(&format!("{} of {total} entries", next - from));
        page.eprint();
    }
    Ok(Exit::Done)
}

fn put(global: &Global, entries: &[LedgerEntry]) -> Result<(), Failure> {
    if global.json {
        entries.iter().for_each(json);
        return Ok(());
    }
    let mut page = Page::stdout();
    for entry in entries {
        let leaf = Leaf::parse(entry.line.as_bytes()).map_err(Failure::new)?;
        let head = format!("{:>6}  {:.3}  {}", leaf.index(), leaf.at(), leaf.kind());
        let head = page.paint(Tone::Heading, &head);
        page.line(head);
        for (name, value) in leaf.body() {
            page.field(&escape::line(name), &escape::line(&brief(value)));
        }
        for (name, text) in &entry.texts {
            page.untrusted(&escape::line(name), text);
        }
    }
    page.print();
    Ok(())
}

/// A member of an entry on one line. Whole it is with `--json`.
fn brief(value: &serde_json::Value) -> String {
    const ROOM: usize = 400;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(ROOM) {
        Some((at, _)) => format!("{} … (whole with --json)", &text[..at]),
        None => text,
    }
}

/// Publishes a checkpoint, then copies what it covers.
fn export(global: &Global, folder: &Path) -> Result<Exit, Failure> {
    let config = Config::load(&config::find(global.config.as_deref()))?;
    let reply = Client::connect(global)?.ask(&Command::Checkpoint)?;
    let Reply::Checkpoint { note } = reply else { return Err(unexpected()) };
    std::fs::DirBuilder::new().mode(0o700).create(folder).map_err(|error| {
        Failure::new(format!(
            "cannot make `{}`: {error}; name a folder that is not there yet",
            folder.display()
        ))
    })?;
    copy(&config.installation.ledger, folder, &note)?;
    if global.json {
        json(&serde_json::json!({ "folder": folder, "checkpoint": note }));
        return Ok(Exit::Done);
    }
    let mut page = Page::stdout();
    page.line(format!("the ledger is copied to {}", folder.display()));
    page.words(
        "Hand `ledger.pub` over separately: whoever verifies must not take it from the copy. Texts \
         are sealed; their key stays here.",
    );
    page.quoted("Checkpoint", "keep it elsewhere", &note);
    page.print();
    Ok(Exit::Done)
}

/// Copies a ledger's files. `note` is the checkpoint that was answered, not the one that lies there:
/// entries that come meanwhile are a tail.
pub(super) fn copy(ledger: &Path, folder: &Path, note: &str) -> Result<(), Failure> {
    for part in ["segments", "texts", "checkpoints"] {
        copy_files(&ledger.join(part), &folder.join(part))?;
    }
    std::fs::copy(ledger.join("ledger.pub"), folder.join("ledger.pub"))?;
    std::fs::write(folder.join("checkpoint"), note)?;
    Ok(())
}

fn copy_files(from: &Path, to: &Path) -> Result<(), Failure> {
    if !from.exists() {
        return Ok(());
    }
    std::fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        // What is being written has an extension of its own until it is whole.
        let unfinished = entry.path().extension().is_some_and(|extension| extension == "new");
        if !unfinished && entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
