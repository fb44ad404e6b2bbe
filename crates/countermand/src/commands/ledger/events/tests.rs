use super::*;
use countermand_ledger::checkpoint::SigningKey;
use countermand_ledger::tree::Tree;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A ledger of so many entries, of which `covered` are under its checkpoint. Every third entry has
/// four parts.
fn ledger(folder: &Path, count: u64, covered: u64) {
    std::fs::create_dir_all(folder.join("segments")).unwrap();
    let mut tree = Tree::new();
    for first in (0..count).step_by(SEGMENT_LEAVES as usize) {
        let mut text = String::new();
        for index in first..count.min(first + SEGMENT_LEAVES) {
            let item = json!({ "agent": "bot", "target": "shop", "verbs": ["postgres:Select"] });
            let (kind, body) = match index % 3 {
                0 => ("flow.batch", json!({ "flowed": [item, item, item, item] })),
                _ => ("freeze.off", json!({ "scope": "everything" })),
            };
            let at = Timestamp::from_second(1_767_225_600).unwrap();
            let leaf = Leaf::new(index, at, kind, &body, &BTreeMap::new()).unwrap();
            if index < covered {
                tree.append(leaf.hash());
            }
            text.push_str(leaf.line());
            text.push('\n');
        }
        std::fs::write(folder.join(segment::file_name(first)), text).unwrap();
    }
    let key = SigningKey::generate("gate.example/shop", &[7; 32].into()).unwrap();
    let note = key.sign(tree.size(), tree.root(), Timestamp::UNIX_EPOCH).unwrap();
    std::fs::write(folder.join("ledger.pub"), key.verifying_key().vkey()).unwrap();
    std::fs::write(folder.join("checkpoint"), note).unwrap();
}

fn more(folders: &[PathBuf], reading: &mut Reading, to: &mut Vec<u8>) -> Result<bool, Failure> {
    export(folders, &checkpoint(&folders[0])?, reading, to)
}

fn exported(folders: &[PathBuf], from: &str) -> Result<String, String> {
    let mut output = Vec::new();
    let mut reading = Reading::from(from.parse().unwrap());
    let done = more(folders, &mut reading, &mut output).map_err(|failure| failure.why)?;
    assert!(done);
    Ok(String::from_utf8(output).unwrap())
}

#[test]
fn an_export_goes_on_where_it_was_cut_without_gap_or_double() {
    let folder = tempfile::tempdir().unwrap();
    let count = SEGMENT_LEAVES + 5;
    ledger(folder.path(), count, count - 2);
    let here = [folder.path().to_owned()];
    let whole = exported(&here, "0").unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let covered = count - 2;
    assert_eq!(
        lines.len() as u64,
        covered + covered.div_ceil(3) * 3,
        "and no more than is covered"
    );
    // Cut in an entry, between entries, in another segment, and at the very end; within a line.
    let near = lines.len() - 10;
    for cut in (1..20).chain(near..=lines.len()) {
        let kept = &lines[..cut];
        let last: Value = serde_json::from_str(kept.last().unwrap()).unwrap();
        let next = last["unmapped"]["ledger"]["next"].as_str().unwrap();
        let rest = exported(&here, next).unwrap();
        let joined: Vec<&str> = kept.iter().copied().chain(rest.lines()).collect();
        assert!(joined == lines, "cut after {cut}");
    }
    let (one, other) = (exported(&here, "3.4").unwrap_err(), exported(&here, "9999").unwrap_err());
    assert!(one.contains("has 4 events") && other.contains("no entry 9999 yet"), "{one} {other}");
}

/// Of what comes later the copy that is read twice says nothing else than before.
#[test]
fn what_was_read_already_is_not_written_again_as_more_is_covered() {
    let folder = tempfile::tempdir().unwrap();
    let here = [folder.path().to_owned()];
    let mut reading = Reading::from(Position { entry: 0, part: 0 });
    let mut output = Vec::new();
    ledger(folder.path(), 4, 2);
    assert!(more(&here, &mut reading, &mut output).unwrap());
    assert!(more(&here, &mut reading, &mut output).unwrap());
    ledger(folder.path(), 4, 4);
    std::fs::remove_file(folder.path().join("ledger.pub")).unwrap();
    assert!(more(&here, &mut reading, &mut output).is_err(), "while it is replaced");
    ledger(folder.path(), 4, 4);
    assert!(more(&here, &mut reading, &mut output).unwrap());
    assert_eq!(String::from_utf8(output).unwrap(), exported(&here, "0").unwrap());
}

#[test]
fn a_segment_that_was_moved_is_read_where_it_is() {
    let (folder, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ledger(folder.path(), SEGMENT_LEAVES + 1, SEGMENT_LEAVES + 1);
    let here = folder.path().to_owned();
    let whole = exported(std::slice::from_ref(&here), "0").unwrap();
    let name = segment::file_name(0);
    std::fs::create_dir(away.path().join("segments")).unwrap();
    std::fs::copy(here.join(&name), away.path().join(&name)).unwrap();
    std::fs::remove_file(here.join(&name)).unwrap();
    let why = exported(std::slice::from_ref(&here), "0").unwrap_err();
    assert!(why.contains("the copy is cut"), "{why}");
    std::fs::write(here.join(segment::moved_name(&name)), "/mnt/old\n").unwrap();
    let why = exported(std::slice::from_ref(&here), "0").unwrap_err();
    assert!(why.contains("was moved to `/mnt/old`"), "{why}");
    assert_eq!(exported(&[here.clone(), away.path().to_owned()], "0").unwrap(), whole);
    // What lies here is enough for whoever has the rest.
    let from = SEGMENT_LEAVES.to_string();
    assert_eq!(exported(&[here], &from).unwrap().lines().count(), 1);
}

#[test]
fn what_was_cut_or_exchanged_is_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    ledger(folder.path(), 4, 4);
    let here = [folder.path().to_owned()];
    let file = folder.path().join(segment::file_name(0));
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&file, format!("{}\n{}\n", lines[0], lines[1])).unwrap();
    assert!(exported(&here, "0").unwrap_err().contains("ends before entry 3"));
    std::fs::write(&file, [lines[0], lines[2], lines[1], lines[3], ""].join("\n")).unwrap();
    assert!(exported(&here, "0").unwrap_err().contains("in the place of entry 1 stands entry 2"));
    std::fs::write(&file, text.replace("everything", "every\\u0074hing")).unwrap();
    assert!(exported(&here, "0").unwrap_err().contains("entry 1 was altered"));
}

/// A line that is one, with another content: nothing shows it but the root, and that only to whoever
/// read all from the beginning.
#[test]
fn an_entry_that_says_something_else_is_found_where_all_is_read() {
    let folder = tempfile::tempdir().unwrap();
    ledger(folder.path(), 4, 4);
    let here = [folder.path().to_owned()];
    let file = folder.path().join(segment::file_name(0));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("everything", "agent bot", 1)).unwrap();
    let why = exported(&here, "0").unwrap_err();
    assert!(why.contains("not those that the checkpoint was signed over"), "{why}");
    assert!(exported(&here, "1").is_ok(), "which nobody promises");
    std::fs::write(&file, text).unwrap();
    assert!(exported(&here, "0").is_ok());
}

/// A disk that is full is no checkpoint that is just being replaced.
#[test]
fn what_cannot_be_written_is_not_tried_again() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    ledger(folder.path(), 4, 4);
    let here = [folder.path().to_owned()];
    let mut reading = Reading::from(Position { entry: 0, part: 0 });
    let written = export(&here, &checkpoint(&here[0]).unwrap(), &mut reading, &mut Full);
    assert!(written.is_err(), "which ends the command: only reading a checkpoint is tried again");
    assert_eq!(reading.next, Position { entry: 0, part: 0 });
}
