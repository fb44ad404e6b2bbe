//! Texts beside the entries: present, erased, moved, added.

use countermand_ledger::leaf::Leaf;
use countermand_ledger::text::{SealedText, TextError, TextKey, TextKeys};
use countermand_ledger::verify::VerifyError;
use serde_json::json;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

use crate::ledger::{Ledger, at, entry, text_key};

fn text_lines(ledger: &Ledger) -> Vec<String> {
    let text = String::from_utf8(ledger.texts[0].1.clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn with_texts(ledger: &Ledger, lines: &[String]) -> Ledger {
    let bytes: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Ledger { texts: vec![("texts/any.jsonl".to_owned(), bytes.into_bytes())], ..ledger.clone() }
}

#[test]
fn texts_are_counted() {
    let ledger = Ledger::new(20, 15);
    let report = ledger.verify_with_key().unwrap();
    assert_eq!((report.texts_checked, report.texts_unopened, report.texts_erased), (20, 0, 0));
    let report = ledger.verify_texts(Some(None)).unwrap();
    assert_eq!((report.texts_checked, report.texts_unopened, report.texts_erased), (0, 20, 0));

    let mut lines = text_lines(&ledger);
    lines.drain(3..6);
    lines.reverse();
    let report = with_texts(&ledger, &lines).verify_with_key().unwrap();
    assert_eq!((report.texts_checked, report.texts_erased, report.texts_missing), (17, 0, 3));

    let none = Ledger { texts: Vec::new(), ..ledger };
    let report = none.verify_with_key().unwrap();
    assert_eq!((report.texts_checked, report.texts_erased, report.texts_missing), (0, 0, 20));
}

#[test]
fn what_an_entry_says_was_erased_is_told_from_what_is_missing() {
    let whole = Ledger::new(21, 0);
    let says = |entries: &[u64]| {
        let texts: Vec<_> =
            entries.iter().map(|entry| json!({ "entry": entry, "names": ["payload"] })).collect();
        let body = json!({ "because": "retention", "texts": texts });
        Leaf::new(20, at(20), "texts.erased", &body, &BTreeMap::new()).unwrap().line().to_owned()
    };
    let report = |entries: &[u64], gone: &[usize]| {
        let mut lines = whole.lines();
        lines[20] = says(entries);
        let ledger = Ledger::of_lines(&lines, 21);
        let mut texts = text_lines(&whole);
        texts.truncate(20);
        gone.iter().rev().for_each(|at| drop(texts.remove(*at)));
        let report = with_texts(&ledger, &texts).verify_with_key().unwrap();
        (report.texts_erased, report.texts_missing, report.texts_left)
    };
    assert_eq!(report(&[3, 4], &[3, 4]), (2, 0, 0));
    assert_eq!(report(&[3, 4], &[3, 4, 9]), (2, 1, 0));
    assert_eq!(report(&[3, 4], &[4]), (1, 0, 1), "it is still there");
    // No entry speaks for itself or for what comes after it.
    assert_eq!(report(&[20, 25], &[]), (0, 0, 0));
}

#[test]
fn a_text_that_was_replaced() {
    let ledger = Ledger::new(20, 20);
    let mut lines = text_lines(&ledger);
    // Sealed with the right key for the right entry, and yet another text.
    lines[7] = entry(7, 2).1.line();
    let error = with_texts(&ledger, &lines).verify_with_key().unwrap_err();
    let replaced = matches!(error, VerifyError::Text { index: 7, source: TextError::Digest, .. });
    assert!(replaced, "{error}");
}

#[test]
fn a_text_that_was_moved_to_another_entry() {
    let ledger = Ledger::new(20, 20);
    let mut lines = text_lines(&ledger);
    lines[8] = lines[7].replace("\"index\":7", "\"index\":8");
    let error = with_texts(&ledger, &lines).verify_with_key().unwrap_err();
    let moved = matches!(error, VerifyError::Text { index: 8, source: TextError::Sealed, .. });
    assert!(moved, "{error}");
}

#[test]
fn a_key_that_was_lost_leaves_texts_closed_and_the_ledger_whole() {
    let lost = TextKeys::new(TextKey::new(Zeroizing::new([8; 32])), Vec::new());
    let report = Ledger::new(20, 20).verify_texts(Some(Some(&lost))).unwrap();
    assert_eq!((report.texts_checked, report.texts_unopened, report.texts_erased), (0, 20, 0));
}

#[test]
fn another_key_under_the_same_name() {
    let ledger = Ledger::new(20, 20);
    let other = TextKey::new(Zeroizing::new([8; 32]));
    let renamed = |line: String| line.replace(text_key().id(), other.id());
    let lines: Vec<_> = text_lines(&ledger).into_iter().map(renamed).collect();
    let keys = TextKeys::new(other, Vec::new());
    let error = with_texts(&ledger, &lines).verify_texts(Some(Some(&keys))).unwrap_err();
    let closed = matches!(error, VerifyError::Text { index: 0, source: TextError::Sealed, .. });
    assert!(closed, "{error}");
}

#[test]
fn texts_that_belong_nowhere_or_come_twice() {
    let ledger = Ledger::new(20, 20);
    let lines = text_lines(&ledger);
    for stray in [
        entry(20, 1).1.line(),
        SealedText::seal(&text_key(), 3, "other", &[0; 32], [0; 24], b"").unwrap().line(),
    ] {
        let lines = [&lines[..], &[stray]].concat();
        let error = with_texts(&ledger, &lines).verify_with_key().unwrap_err();
        assert!(matches!(error, VerifyError::StrayText { .. }), "{error}");
    }
    let twice = [&lines[..], &lines[4..5]].concat();
    let error = with_texts(&ledger, &twice).verify_with_key().unwrap_err();
    assert!(matches!(error, VerifyError::DuplicateText { index: 4, .. }), "{error}");
}

#[test]
fn a_damaged_texts_file() {
    let ledger = Ledger::new(20, 20);
    let mut lines = text_lines(&ledger);
    lines[4] = lines[4].replace("\"name\"", " \"name\"");
    let error = with_texts(&ledger, &lines).verify_with_key().unwrap_err();
    assert!(matches!(error, VerifyError::TextLine { line: 5, .. }), "{error}");

    let mut torn = ledger.clone();
    torn.texts[0].1.pop();
    let report = torn.verify_with_key().unwrap();
    assert_eq!((report.texts_checked, report.texts_missing), (19, 1));
    assert_eq!(report.torn, ["texts/000000000000.jsonl"]);
}
