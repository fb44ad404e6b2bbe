//! No single change to what is signed goes unnoticed, wherever it is.

use proptest::prelude::*;

use crate::ledger::{Ledger, entry};

/// The bytes of the first `covered` lines, newlines included.
fn covered_bytes(ledger: &Ledger, covered: u64) -> usize {
    ledger.lines()[..covered as usize].iter().map(|line| line.len() + 1).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_changed_byte_in_a_covered_entry(
        size in 1_u64..24, cover: u64, at: usize, byte: u8, salt: u8, kept: Option<u64>,
    ) {
        let covered = 1 + cover % size;
        let mut ledger = Ledger::of((0..size).map(|index| entry(index, salt)), covered);
        ledger.kept = kept.map(|kept| ledger.sign(kept % (size + 1)));
        prop_assert!(ledger.verify().is_ok());
        let at = at % covered_bytes(&ledger, covered);
        prop_assume!(ledger.segments[0].1[at] != byte);
        ledger.segments[0].1[at] = byte;
        prop_assert!(ledger.verify().is_err());
    }

    #[test]
    fn a_removed_or_added_byte_in_a_covered_entry(
        size in 1_u64..24, cover: u64, at: usize, byte: u8, remove: bool,
    ) {
        let covered = 1 + cover % size;
        let mut ledger = Ledger::new(size, covered);
        let at = at % covered_bytes(&ledger, covered);
        let bytes = &mut ledger.segments[0].1;
        if remove { bytes.remove(at); } else { bytes.insert(at, byte); }
        prop_assert!(ledger.verify().is_err());
    }

    #[test]
    fn a_changed_byte_in_a_checkpoint(size in 0_u64..24, at: usize, byte: u8, in_kept: bool) {
        let mut ledger = Ledger::new(size, size);
        ledger.kept = Some(ledger.sign(size));
        let mut bytes = ledger.checkpoint.clone().into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        // The gate to the audit takes text: bytes that are no longer text do not reach it.
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        if in_kept { ledger.kept = Some(text) } else { ledger.checkpoint = text }
        prop_assert!(ledger.verify().is_err());
    }

    #[test]
    fn an_entry_that_was_replaced_by_another_valid_one(
        size in 1_u64..24, pick: u64, cover: u64,
    ) {
        let covered = 1 + cover % size;
        let index = pick % covered;
        let ledger = Ledger::new(size, covered);
        let mut lines = ledger.lines();
        lines[index as usize] = entry(index, 2).0.line().to_owned();
        prop_assert!(ledger.with_lines(&lines).verify().is_err());
    }

    #[test]
    fn lines_in_another_order(size in 2_u64..24, one: usize, other: usize) {
        let ledger = Ledger::new(size, size);
        let mut lines = ledger.lines();
        let (one, other) = (one % lines.len(), other % lines.len());
        prop_assume!(one != other);
        lines.swap(one, other);
        prop_assert!(ledger.with_lines(&lines).verify().is_err());
    }

    #[test]
    fn fewer_lines_than_are_covered(size in 1_u64..24, keep: usize) {
        let ledger = Ledger::new(size, size);
        let lines = ledger.lines();
        let keep = keep % lines.len();
        prop_assert!(ledger.with_lines(&lines[..keep]).verify().is_err());
    }

    #[test]
    fn bytes_of_any_kind_are_refused_and_not_fatal(bytes: Vec<u8>, text: String) {
        let mut ledger = Ledger::new(5, 5);
        ledger.segments[0].1 = bytes;
        prop_assert!(ledger.verify().is_err());
        let mut ledger = Ledger::new(5, 5);
        ledger.checkpoint = text;
        prop_assert!(ledger.verify().is_err());
    }
}
