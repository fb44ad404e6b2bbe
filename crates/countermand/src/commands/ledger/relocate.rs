//! `ledger move`: published segments that are full go to another disk, and leave word where they are.
//!
//! Only the files move. The gateway keeps every entry in its store, and writes no segment again that
//! left word.

use crate::cli::Global;
use crate::commands::json;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::moment::Moment;
use crate::show::Page;
use countermand_ledger::leaf::Leaf;
use countermand_ledger::segment::{self, SEGMENT_LEAVES};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Runs `ledger move`.
pub(super) fn run(global: &Global, to: &Path, before: Moment) -> Result<Exit, Failure> {
    let config = Config::load(&config::find(global.config.as_deref()))?;
    let before = before.seen_from(Timestamp::now(), &TimeZone::system()).map_err(Failure::usage)?;
    let to = std::path::absolute(to)?;
    DirBuilder::new().recursive(true).mode(0o700).create(to.join("segments"))?;
    let ledger = config.installation.ledger.join("segments").canonicalize()?;
    if to.join("segments").canonicalize()? == ledger {
        return Err(Failure::usage("that is where the segments are: name another folder"));
    }
    let mut moved = Vec::new();
    for name in sealed(&config.installation.ledger, before)? {
        relocate(&config.installation.ledger, &to, &name)?;
        moved.push(name);
    }
    if global.json {
        json(&serde_json::json!({ "to": to, "moved": moved }));
        return Ok(Exit::Done);
    }
    let mut page = Page::stdout();
    page.line(format!("{} segments are in {}, read back", moved.len(), to.display()));
    page.words("`ledger verify` takes both folders, the one with the checkpoint first.");
    page.print();
    Ok(Exit::Done)
}

/// Names of segments to which nothing is added any more and whose last entry is older than this.
fn sealed(ledger: &Path, before: Timestamp) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(ledger.join("segments"))? {
        let entry = entry?;
        let name = format!("segments/{}", entry.file_name().to_string_lossy());
        if segment::parse_file_name(&name).is_none() {
            continue;
        }
        let bytes = std::fs::read(entry.path())?;
        let lines = segment::parse(&bytes).map_err(Failure::new)?;
        let full = lines.torn.is_none() && lines.lines.len() as u64 == SEGMENT_LEAVES;
        let last = lines.lines.last().map(|line| Leaf::parse(line).map_err(Failure::new));
        if full && last.transpose()?.is_some_and(|leaf| leaf.at() < before) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Copies, reads back, leaves word, and only then removes. Cut off anywhere it can be done again.
fn relocate(ledger: &Path, to: &Path, name: &str) -> Result<(), Failure> {
    let (from, there) = (ledger.join(name), to.join(name));
    let bytes = std::fs::read(&from)?;
    if !there.exists() {
        let beside = there.with_extension("new");
        write(&beside, &bytes)?;
        std::fs::rename(&beside, &there)?;
        File::open(to.join("segments"))?.sync_all()?;
    }
    let (one, other) = (std::fs::metadata(&from)?, std::fs::metadata(&there)?);
    if (one.dev(), one.ino()) == (other.dev(), other.ino()) {
        return Err(Failure::new(format!(
            "`{}` is the same file: nothing was moved; name another folder",
            there.display()
        )));
    }
    if std::fs::read(&there)? != bytes {
        return Err(Failure::new(format!(
            "`{}` is not what was copied there: nothing was removed; look at that disk, and name \
             another folder",
            there.display()
        )));
    }
    let stub = segment::moved_name(name);
    let beside = ledger.join(format!("{stub}.new"));
    write(&beside, format!("{}\n", to.display()).as_bytes())?;
    std::fs::rename(&beside, ledger.join(stub))?;
    File::open(ledger.join("segments"))?.sync_all()?;
    std::fs::remove_file(&from)?;
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all())
}

/// Where segments say that they are, for those of `names` that are not among the files of `folders`.
pub(super) fn elsewhere(folders: &[PathBuf]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder.join("segments")).into_iter().flatten().flatten() {
            let name = format!("segments/{}", entry.file_name().to_string_lossy());
            let Some(name) = segment::parse_moved_name(&name) else { continue };
            if !folders.iter().any(|folder| folder.join(&name).exists()) {
                let to = std::fs::read_to_string(entry.path()).unwrap_or_default();
                found.push((name, to.trim_end().to_owned()));
            }
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// One full segment and the beginning of another; a second for each entry.
    fn ledger(folder: &Path) {
        DirBuilder::new().create(folder.join("segments")).unwrap();
        for first in [0, SEGMENT_LEAVES] {
            let count = if first == 0 { SEGMENT_LEAVES } else { 3 };
            let line = |index: u64| {
                let at = Timestamp::from_second(index as i64).unwrap();
                let body = serde_json::json!({});
                let leaf = Leaf::new(index, at, "freeze.off", &body, &BTreeMap::new()).unwrap();
                format!("{}\n", leaf.line())
            };
            let text: String = (first..first + count).map(line).collect();
            std::fs::write(folder.join(segment::file_name(first)), text).unwrap();
        }
    }

    #[test]
    fn what_is_full_and_old_moves_whole_and_leaves_word() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        for path in [&here, &there, &there.join("segments")] {
            DirBuilder::new().create(path).unwrap();
        }
        ledger(&here);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(sealed(&here, at(SEGMENT_LEAVES as i64 - 1)).unwrap().is_empty(), "too young");
        let names = sealed(&here, at(1_000_000)).unwrap();
        assert_eq!(names, ["segments/000000000000.jsonl"], "not the one that grows");
        let before = std::fs::read(here.join(&names[0])).unwrap();

        std::fs::write(there.join(&names[0]), "something else").unwrap();
        assert!(relocate(&here, &there, &names[0]).is_err());
        assert_eq!(std::fs::read(here.join(&names[0])).unwrap(), before, "nothing was removed");
        std::fs::remove_file(there.join(&names[0])).unwrap();
        relocate(&here, &there, &names[0]).unwrap();
        assert_eq!(std::fs::read(there.join(&names[0])).unwrap(), before);
        assert!(!here.join(&names[0]).exists());
        let word = (names[0].clone(), there.display().to_string());
        assert_eq!(elsewhere(std::slice::from_ref(&here)), [word]);
        assert!(elsewhere(&[here, there]).is_empty());
    }
}
