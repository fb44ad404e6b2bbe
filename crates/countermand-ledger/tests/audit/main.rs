//! What an audit accepts, and everything it must not.
#![allow(clippy::unwrap_used)]

mod keys;
mod ledger;
mod mutations;
mod proofs;
mod texts;

use std::sync::LazyLock;

use countermand_ledger::checkpoint::SigningKey;
use countermand_ledger::tree::Hash;
use countermand_ledger::verify::{VerifyError, Which};
use ledger::{Ledger, ORIGIN, at, entry, signing_key};
use zeroize::Zeroizing;

/// Two full segments and a third one with 8 entries; all but the last 3 are signed.
static LARGE: LazyLock<Ledger> = LazyLock::new(|| Ledger::new(2 * 4096 + 8, 2 * 4096 + 5));

#[test]
fn a_sound_ledger_verifies_in_any_order_of_files() {
    let mut ledger = LARGE.clone();
    ledger.segments.reverse();
    let report = ledger.verify().unwrap();
    assert_eq!((report.leaves, report.covered, report.unsigned_tail), (8200, 8197, 3));
    assert_eq!(report.root, ledger.tree.root_at(8197).unwrap());
    assert_eq!(report.checkpoint_at, at(8197));
    assert_eq!((report.texts_checked, report.texts_unopened, report.texts_erased), (0, 0, 0));
    assert!(report.torn.is_empty());
}

#[test]
fn a_changed_byte_in_any_segment() {
    for (segment, at) in [(0, 0), (0, 400_000), (1, 9), (1, 777_777), (2, 100)] {
        let mut ledger = LARGE.clone();
        ledger.segments[segment].1[at] ^= 1;
        assert!(ledger.verify().is_err(), "byte {at} of segment {segment}");
    }
}

#[test]
fn the_empty_ledger_verifies() {
    let mut ledger = Ledger::new(0, 0);
    let report = ledger.verify().unwrap();
    assert_eq!((report.leaves, report.covered, report.root), (0, 0, Hash::EMPTY_ROOT));
    ledger.segments.push(("segments/000000000000.jsonl".to_owned(), Vec::new()));
    assert_eq!(ledger.verify().unwrap(), report);
}

#[test]
fn a_removed_entry() {
    let ledger = Ledger::new(20, 20);
    let mut lines = ledger.lines();
    lines.remove(11);
    let error = ledger.with_lines(&lines).verify().unwrap_err();
    assert!(matches!(error, VerifyError::Misplaced { position: 11, found: 12 }), "{error}");

    // The same, with the later entries renumbered so that nothing shows in the lines.
    for (index, line) in lines.iter_mut().enumerate().skip(11) {
        *line = line.replace(&format!("\"index\":{}", index + 1), &format!("\"index\":{index}"));
    }
    lines.push(entry(19, 9).0.line().to_owned());
    let error = ledger.with_lines(&lines).verify().unwrap_err();
    let altered =
        matches!(error, VerifyError::Altered { which: Which::Published, first: 0, until: 20 });
    assert!(altered, "{error}");
    assert!(error.to_string().contains("within 0 to 19"), "{error}");
}

#[test]
fn reordered_entries() {
    let ledger = Ledger::new(20, 20);
    let mut lines = ledger.lines();
    lines.swap(4, 5);
    let error = ledger.with_lines(&lines).verify().unwrap_err();
    assert!(matches!(error, VerifyError::Misplaced { position: 4, found: 5 }), "{error}");
}

#[test]
fn a_repeated_entry() {
    let ledger = Ledger::new(20, 20);
    let mut lines = ledger.lines();
    lines.insert(5, lines[4].clone());
    let error = ledger.with_lines(&lines).verify().unwrap_err();
    assert!(matches!(error, VerifyError::Misplaced { position: 5, found: 4 }), "{error}");
}

#[test]
fn an_index_that_is_not_the_position_even_if_signed() {
    let mut lines = Ledger::new(20, 0).lines();
    lines[7] = entry(6, 1).0.line().to_owned();
    let error = Ledger::of_lines(&lines, 20).verify().unwrap_err();
    assert!(matches!(error, VerifyError::Misplaced { position: 7, found: 6 }), "{error}");
}

#[test]
fn time_that_runs_backwards_even_if_signed() {
    let mut lines = Ledger::new(20, 0).lines();
    lines[7] = lines[7].replace("2026-01-02", "2026-01-01");
    let error = Ledger::of_lines(&lines, 20).verify().unwrap_err();
    assert!(matches!(error, VerifyError::TimeWentBack { index: 7, .. }), "{error}");
}

#[test]
fn an_entry_that_is_not_canonical_even_if_signed() {
    let mut lines = Ledger::new(20, 0).lines();
    lines[7] = lines[7].replace("{\"at\"", "{ \"at\"");
    let error = Ledger::of_lines(&lines, 20).verify().unwrap_err();
    assert!(matches!(error, VerifyError::Entry { index: 7, .. }), "{error}");
}

#[test]
fn a_missing_segment() {
    let without = |at: usize| {
        let mut ledger = LARGE.clone();
        ledger.segments.remove(at);
        ledger.verify().unwrap_err()
    };
    let error = without(0);
    assert!(matches!(error, VerifyError::Gap { first: 0, until: 4096 }), "{error}");
    let error = without(1);
    assert!(matches!(error, VerifyError::Gap { first: 4096, until: 8192 }), "{error}");
    assert!(error.to_string().starts_with("entries 4096 to 8191 are missing"), "{error}");
    let error = without(2);
    let cut = matches!(error, VerifyError::CutOff { leaves: 8192, size: 8197, .. });
    assert!(cut, "{error}");
}

#[test]
fn a_segment_that_was_cut_or_torn_or_grew() {
    let mut ledger = LARGE.clone();
    let whole = ledger.segments[0].1.clone();
    let last_line = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap();

    ledger.segments[0].1 = whole[..=last_line].to_vec();
    let error = ledger.verify().unwrap_err();
    assert!(matches!(error, VerifyError::Gap { first: 4095, until: 4096 }), "{error}");

    ledger.segments[0].1 = whole[..last_line + 9].to_vec();
    let error = ledger.verify().unwrap_err();
    assert!(matches!(error, VerifyError::Torn { index: 4095, .. }), "{error}");

    ledger.segments[0].1 = [&whole[..], b"x"].concat();
    let error = ledger.verify().unwrap_err();
    assert!(matches!(error, VerifyError::Segment { .. }), "{error}");
}

#[test]
fn files_that_are_not_segments_or_come_twice() {
    let mut ledger = Ledger::new(3, 3);
    let twice = ledger.segments[0].clone();
    ledger.segments.push(twice);
    let error = ledger.verify().unwrap_err();
    assert!(matches!(error, VerifyError::DuplicateSegment(_)), "{error}");
    ledger.segments[1].0 = "segments/000000000001.jsonl".to_owned();
    let error = ledger.verify().unwrap_err();
    assert!(matches!(error, VerifyError::SegmentName(_)), "{error}");
}

#[test]
fn a_torn_last_line_is_reported() {
    let mut ledger = Ledger::new(20, 18);
    let bytes = &mut ledger.segments[0].1;
    bytes.pop();
    let report = ledger.verify().unwrap();
    assert_eq!((report.leaves, report.unsigned_tail), (19, 1));
    assert_eq!(report.torn, ["segments/000000000000.jsonl"]);

    let mut ledger = Ledger::new(20, 20);
    ledger.segments[0].1.pop();
    let error = ledger.verify().unwrap_err();
    assert!(matches!(error, VerifyError::CutOff { leaves: 19, size: 20, .. }), "{error}");
}

#[test]
fn a_checkpoint_of_another_key_or_origin() {
    let mut ledger = Ledger::new(20, 20);
    let root = ledger.tree.root();
    ledger.checkpoint = signing_key(2).sign(20, root, at(20)).unwrap();
    let error = ledger.verify().unwrap_err();
    let foreign = matches!(error, VerifyError::Checkpoint { which: Which::Published, .. });
    assert!(foreign, "{error}");

    let elsewhere = format!("{ORIGIN}-copy");
    let key = SigningKey::generate(&elsewhere, &Zeroizing::new([1; 32])).unwrap();
    ledger.checkpoint = key.sign(20, root, at(20)).unwrap();
    let error = ledger.verify().unwrap_err();
    let foreign = matches!(error, VerifyError::Checkpoint { which: Which::Published, .. });
    assert!(foreign, "{error}");

    ledger.checkpoint = ledger.sign(20);
    ledger.kept = Some(signing_key(2).sign(20, root, at(20)).unwrap());
    let error = ledger.verify().unwrap_err();
    assert!(matches!(error, VerifyError::Checkpoint { which: Which::Kept, .. }), "{error}");
}

#[test]
fn a_cut_off_tail() {
    let whole = Ledger::new(20, 20);
    let mut cut = whole.with_lines(&whole.lines()[..15]);
    let error = cut.verify().unwrap_err();
    let shown_by_own =
        matches!(error, VerifyError::CutOff { which: Which::Published, leaves: 15, size: 20 });
    assert!(shown_by_own, "{error}");

    // With an older checkpoint put back in place, only the kept one shows the cut.
    cut.checkpoint = whole.sign(15);
    cut.verify().unwrap();
    cut.kept = Some(whole.sign(20));
    let error = cut.verify().unwrap_err();
    let shown_by_kept =
        matches!(error, VerifyError::CutOff { which: Which::Kept, leaves: 15, size: 20 });
    assert!(shown_by_kept, "{error}");
}

#[test]
fn a_kept_checkpoint_may_be_older_or_newer() {
    for (published, kept) in [(15, 18), (18, 15), (18, 18), (18, 0), (0, 18)] {
        let mut ledger = Ledger::new(20, published);
        ledger.kept = Some(ledger.sign(kept));
        let report = ledger.verify().unwrap();
        assert_eq!(report.covered, published.max(kept));
        assert_eq!(report.checkpoint_at, at(published.max(kept)));
    }
}

#[test]
fn a_rewritten_ledger_that_was_signed_again() {
    let kept = Ledger::new(20, 20).sign(15);
    let mut rewritten = Ledger::of((0..20).map(|i| entry(i, if i == 9 { 2 } else { 1 })), 20);
    rewritten.verify().unwrap();
    rewritten.kept = Some(kept);
    let error = rewritten.verify().unwrap_err();
    assert!(matches!(error, VerifyError::Fork { size: 15 }), "{error}");
}

#[test]
fn a_fork_after_the_published_checkpoint() {
    let mut forked = Ledger::new(20, 15);
    let other = Ledger::of((0..20).map(|i| entry(i, if i == 17 { 2 } else { 1 })), 20);
    forked.kept = Some(other.sign(20));
    let error = forked.verify().unwrap_err();
    let named = matches!(error, VerifyError::Altered { which: Which::Kept, first: 15, until: 20 });
    assert!(named, "{error}");
}

#[test]
fn an_older_checkpoint_narrows_the_range() {
    let mut ledger = Ledger::new(20, 20);
    ledger.kept = Some(ledger.sign(12));
    let mut lines = ledger.lines();
    lines[14] = entry(14, 2).0.line().to_owned();
    let error = ledger.with_lines(&lines).verify().unwrap_err();
    let altered =
        matches!(error, VerifyError::Altered { which: Which::Published, first: 12, until: 20 });
    assert!(altered, "{error}");
}
