//! Keys that were replaced, vouched for by the one before or not.

use std::collections::BTreeMap;

use countermand_ledger::checkpoint::{CheckpointError, SigningKey};
use countermand_ledger::keyring::{CHANGED, KeyChangeError, VOUCHED};
use countermand_ledger::leaf::Leaf;
use countermand_ledger::tree::{Hash, Tree};
use countermand_ledger::verify::{VerifyError, Which};
use serde_json::{Value, json};

use crate::ledger::{Ledger, at, entry, signing_key};

/// What a test does to the story of a ledger's keys.
#[derive(Clone, Copy, PartialEq)]
enum Story {
    Rotated,
    /// The second key was lost.
    Lost,
    /// Somebody adds a signature of their own to a checkpoint that the first key once signed.
    Usurped,
    /// Both keys signed, and not these entries.
    Elsewhere,
}

fn vkey(seed: u8) -> String {
    signing_key(seed).verifying_key().vkey().to_owned()
}

fn leaf(index: u64, kind: &str, body: &Value) -> String {
    Leaf::new(index, at(index), kind, body, &BTreeMap::new()).unwrap().line().to_owned()
}

fn tree(lines: &[String]) -> Tree {
    let mut tree = Tree::new();
    for line in lines {
        tree.append(Hash::of_leaf(line.as_bytes()));
    }
    tree
}

/// 30 entries. Key 1 signs, then key 2 from entry 10 on, then key 3 from entry 20 on.
fn ledger(story: Story) -> Ledger {
    let mut lines: Vec<String> = Vec::new();
    for index in 0..30 {
        let line = match index {
            10 | 20 => {
                let old = (index / 10) as u8;
                leaf(index, CHANGED, &json!({ "from": vkey(old), "to": vkey(old + 1) }))
            }
            21 if story == Story::Lost => entry(index, 1).0.line().to_owned(),
            11 | 21 => {
                let old = signing_key((index / 10) as u8);
                let tree = tree(&lines);
                let (size, mut root) = (tree.size(), tree.root());
                if story == Story::Elsewhere {
                    root = tree.root_at(size - 1).unwrap();
                }
                let new = signing_key((index / 10) as u8 + 1);
                let note = old.hand_over(&new, size, root, at(index)).unwrap();
                let note = if story == Story::Usurped { usurped(&tree) } else { note };
                leaf(index, VOUCHED, &json!({ "checkpoint": note }))
            }
            _ => entry(index, 1).0.line().to_owned(),
        };
        lines.push(line);
    }
    let mut ledger = Ledger::of_lines(&lines, 0);
    ledger.checkpoint = by(&ledger, 3, 30);
    ledger
}

/// What key 1 signed before there was any other, with a signature by key 2 beside it.
fn usurped(tree: &Tree) -> String {
    let (size, root) = (tree.size() - 1, tree.root_at(tree.size() - 1).unwrap());
    let theirs = signing_key(2).sign(size, root, at(size)).unwrap();
    let signature = theirs.lines().last().unwrap();
    format!("{}{signature}\n", signing_key(1).sign(size, root, at(size)).unwrap())
}

fn by(ledger: &Ledger, seed: u8, size: u64) -> String {
    signing_key(seed).sign(size, ledger.tree.root_at(size).unwrap(), at(size)).unwrap()
}

fn verified(ledger: &Ledger, trusted: u8) -> Result<Vec<(u64, bool)>, VerifyError> {
    let key = signing_key(trusted).verifying_key().clone();
    let report = Ledger { key, ..ledger.clone() }.verify()?;
    Ok(report.key_changes.iter().map(|change| (change.index, change.vouched)).collect())
}

#[test]
fn any_key_of_a_chain_verifies_all_of_it() {
    let mut ledger = ledger(Story::Rotated);
    for trusted in 1..=3 {
        assert_eq!(verified(&ledger, trusted).unwrap(), [(10, true), (20, true)], "{trusted}");
    }
    assert!(verified(&ledger, 4).is_err());
    // What the first key signed before is still worth having.
    ledger.kept = Some(by(&ledger, 1, 7));
    assert!(verified(&ledger, 3).is_ok());
    ledger.kept = Some(signing_key(1).sign(7, Hash::EMPTY_ROOT, at(7)).unwrap());
    assert!(matches!(verified(&ledger, 3), Err(VerifyError::Fork { size: 7 })));
}

#[test]
fn a_retired_key_signs_nothing_more() {
    let mut ledger = ledger(Story::Rotated);
    for (seed, size, counts) in
        [(1, 11, true), (1, 12, false), (2, 21, true), (2, 22, false), (1, 30, false), (3, 5, true)]
    {
        ledger.checkpoint = by(&ledger, seed, size);
        for trusted in 1..=3 {
            let verified = verified(&ledger, trusted);
            assert_eq!(verified.is_ok(), counts, "key {seed} over {size}, trusting {trusted}");
            let retired =
                |source: &CheckpointError| matches!(source, CheckpointError::Retired { .. });
            assert!(
                counts
                    || matches!(&verified, Err(VerifyError::Checkpoint { which: Which::Published, source }) if retired(source)),
            );
        }
    }
}

#[test]
fn a_key_that_nobody_vouched_for_is_believed_by_nobody_who_trusts_the_old_one() {
    let mut ledger = ledger(Story::Lost);
    for trusted in 1..=2 {
        let why = verified(&ledger, trusted).unwrap_err().to_string();
        assert!(why.contains("entry 20") && why.contains("NEVER VOUCHED FOR"), "{why}");
    }
    assert_eq!(verified(&ledger, 3).unwrap(), [(10, true), (20, false)]);
    // The old checkpoints hold what was before, up to the entry that says that the key was lost.
    ledger.kept = Some(by(&ledger, 2, 20));
    assert!(verified(&ledger, 3).is_ok());
    ledger.kept = Some(by(&ledger, 2, 21));
    assert!(verified(&ledger, 3).is_err(), "who finds the lost key cannot use it");
}

#[test]
fn a_signature_beside_an_old_checkpoint_is_no_handover() {
    for story in [Story::Usurped, Story::Elsewhere] {
        let ledger = ledger(story);
        for trusted in 1..=3 {
            let error = verified(&ledger, trusted).unwrap_err();
            let wanted = VerifyError::KeyChange(KeyChangeError::Elsewhere(10)).to_string();
            assert_eq!(error.to_string(), wanted);
        }
    }
}

#[test]
fn entries_about_keys_say_what_they_must() {
    let good = ledger(Story::Rotated).lines();
    let other =
        SigningKey::generate("other.example.com", &zeroize::Zeroizing::new([9; 32])).unwrap();
    for (at, kind, body) in [
        (10, CHANGED, json!({ "from": vkey(1) })),
        (10, CHANGED, json!({ "from": vkey(1), "to": 7 })),
        (10, CHANGED, json!({ "to": vkey(2) })),
        (10, CHANGED, json!({ "from": vkey(1), "to": other.verifying_key().vkey() })),
        (11, VOUCHED, json!({})),
        (12, VOUCHED, json!({ "checkpoint": by(&ledger(Story::Rotated), 1, 11) })),
        (3, VOUCHED, json!({ "checkpoint": "" })),
    ] {
        let mut lines = good.clone();
        lines[at] = leaf(at as u64, kind, &body);
        let mut ledger = Ledger::of_lines(&lines, 0);
        ledger.checkpoint = by(&ledger, 3, 30);
        let error = verified(&ledger, 3).unwrap_err();
        assert!(matches!(error, VerifyError::KeyChange(_)), "{at} {body}: {error}");
    }
}
