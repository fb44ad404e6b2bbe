//! `ledger export --format`: what a signed checkpoint covers, as events for a SIEM. Reads files alone,
//! the gateway's own or a copy's.

use crate::cli::{EventFormat, Export, Global};
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::ocsf::{self, Position};
use countermand_ledger::checkpoint::{Checkpoint, VerifyingKey};
use countermand_ledger::leaf::Leaf;
use countermand_ledger::segment::{self, SEGMENT_LEAVES};
use countermand_ledger::tree::Tree;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often more is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often in a row a checkpoint may be unreadable while the gateway replaces it, or its key.
const PATIENCE: u32 = 30;

/// Runs `ledger export --format`.
pub(super) fn run(global: &Global, arguments: Export) -> Result<Exit, Failure> {
    let Export { format, from, follow, mut ledger, .. } = arguments;
    let Some(EventFormat::Ocsf) = format else {
        return Err(Failure::usage("name a folder, or a format"));
    };
    if ledger.is_empty() {
        ledger.push(Config::load(&config::find(global.config.as_deref()))?.installation.ledger);
    }
    let mut output = BufWriter::new(std::io::stdout().lock());
    let (mut reading, mut failures) = (Reading::from(from), 0);
    loop {
        match checkpoint(ledger.first().map_or(Path::new("."), PathBuf::as_path)) {
            Ok(checkpoint) => {
                failures = 0;
                if !export(&ledger, &checkpoint, &mut reading, &mut output)? || !follow {
                    return Ok(Exit::Done);
                }
            }
            Err(_) if follow && failures < PATIENCE => failures += 1,
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(LOOK);
    }
}

/// How far the ledger is read.
struct Reading {
    /// What comes next.
    next: Position,
    /// All that was read, where that was from the beginning.
    tree: Option<Tree>,
}

impl Reading {
    fn from(next: Position) -> Reading {
        let all = next == Position { entry: 0, part: 0 };
        Reading { next, tree: all.then(Tree::new) }
    }

    /// Whether what was read is what the checkpoint was signed over. Of what was not read from the
    /// beginning nobody can say.
    fn is_what_was_signed(&self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        match &self.tree {
            Some(tree) if tree.root() != checkpoint.root => Err(Failure::new(format!(
                "the first {} entries are not those that the checkpoint was signed over: some were \
                 altered, and so are events that were written just now; `countermand ledger verify` \
                 says more",
                checkpoint.size
            ))),
            _ => Ok(()),
        }
    }
}

/// Writes the events that come next and that the checkpoint covers, and moves past each entry that was
/// written. Says whether somebody reads them.
fn export(
    folders: &[PathBuf],
    checkpoint: &Checkpoint,
    reading: &mut Reading,
    output: &mut impl Write,
) -> Result<bool, Failure> {
    let Reading { next, tree } = reading;
    if next.entry > checkpoint.size {
        let size = checkpoint.size;
        return Err(Failure::usage(format!(
            "there is no entry {} yet: the checkpoint covers {size}; is this the same ledger?",
            next.entry
        )));
    }
    while next.entry < checkpoint.size {
        let first = segment::first_index(next.entry);
        let bytes = segment_of(folders, next.entry)?;
        let lines = segment::parse(&bytes).map_err(Failure::new)?.lines;
        let end = (first + SEGMENT_LEAVES).min(checkpoint.size);
        if (lines.len() as u64) < end - first {
            return Err(Failure::new(format!(
                "`{}` ends before entry {}, which the checkpoint covers: the copy is cut",
                segment::file_name(first),
                end - 1
            )));
        }
        for index in next.entry..end {
            let line = lines[usize::try_from(index - first).unwrap_or(usize::MAX)];
            let leaf = entry(line, index)?;
            if !write_entry(&leaf, &checkpoint.origin, *next, output)? {
                return Ok(false);
            }
            if let Some(tree) = tree {
                tree.append(leaf.hash());
            }
            *next = Position { entry: index + 1, part: 0 };
        }
    }
    match output.flush() {
        Ok(()) => reading.is_what_was_signed(checkpoint).map(|()| true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The entry of a line, which is the one that has to stand there.
fn entry(line: &[u8], index: u64) -> Result<Leaf, Failure> {
    let leaf = Leaf::parse(line)
        .map_err(|error| Failure::new(format!("entry {index} was altered: {error}")))?;
    if leaf.index() != index {
        let found = leaf.index();
        return Err(Failure::new(format!("in the place of entry {index} stands entry {found}")));
    }
    Ok(leaf)
}

/// Writes the events of an entry from `from` on. Says whether somebody reads them.
fn write_entry(
    leaf: &Leaf,
    ledger: &str,
    from: Position,
    output: &mut impl Write,
) -> Result<bool, Failure> {
    let index = leaf.index();
    let events = ocsf::events(leaf, ledger).map_err(Failure::new)?;
    let skip =
        if from.entry == index { usize::try_from(from.part).unwrap_or(usize::MAX) } else { 0 };
    if skip >= events.len() {
        let parts = events.len();
        return Err(Failure::usage(format!("entry {index} has {parts} events: none is `{from}`")));
    }
    for event in &events[skip..] {
        match writeln!(output, "{event}") {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// The newest checkpoint, by the key beside it. That shows what is finished, and nothing about who wrote
/// it: `ledger verify` does, with a key from elsewhere.
fn checkpoint(folder: &Path) -> Result<Checkpoint, Failure> {
    let text = |name: &str| {
        let file = folder.join(name);
        std::fs::read_to_string(&file)
            .map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", file.display())))
    };
    let key = VerifyingKey::parse(text("ledger.pub")?.trim()).map_err(Failure::new)?;
    key.open(&text("checkpoint")?).map_err(Failure::new)
}

/// The segment that holds an entry, wherever it lies.
fn segment_of(folders: &[PathBuf], entry: u64) -> Result<Vec<u8>, Failure> {
    let name = segment::file_name(entry);
    for folder in folders {
        match std::fs::read(folder.join(&name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => {
                return read.map_err(|error| {
                    Failure::usage(format!(
                        "cannot read `{}`: {error}",
                        folder.join(&name).display()
                    ))
                });
            }
        }
    }
    let elsewhere = super::relocate::elsewhere(folders);
    Err(Failure::usage(match elsewhere.iter().find(|(moved, _)| *moved == name) {
        Some((_, to)) => format!(
            "`{name}` was moved to `{}`: name both folders with --ledger",
            crate::show::escape::line(to)
        ),
        None => format!("`{name}` is not there, and the checkpoint covers it: the copy is cut"),
    }))
}

#[cfg(test)]
mod tests;
