//! A small ledger to be audited, and damaged.

use std::collections::BTreeMap;

use countermand_ledger::checkpoint::{SigningKey, VerifyingKey};
use countermand_ledger::leaf::Leaf;
use countermand_ledger::segment;
use countermand_ledger::text::{Digest, SealedText, TextKey, TextKeys, file_name};
use countermand_ledger::tree::Tree;
use countermand_ledger::verify::{Evidence, File, Report, Texts, VerifyError, verify};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use zeroize::Zeroizing;

pub(crate) const ORIGIN: &str = "ledger.example.com/production";

pub(crate) fn signing_key(seed: u8) -> SigningKey {
    SigningKey::generate(ORIGIN, &Zeroizing::new([seed; 32])).unwrap()
}

pub(crate) fn text_key() -> TextKey {
    TextKey::new(Zeroizing::new([7; 32]))
}

/// The time of entry `index`: some entries share one.
pub(crate) fn at(index: u64) -> Timestamp {
    let start: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
    start + SignedDuration::from_secs(index as i64 / 3)
}

/// An entry with its text, whose content depends on `salt` too.
pub(crate) fn entry(index: u64, salt: u8) -> (Leaf, SealedText) {
    let text = format!("update users set name = '{salt}' where id = {index}");
    let (salt, nonce) = ([salt; 32], [salt ^ index as u8; 24]);
    let sealed = SealedText::seal(&text_key(), index, "payload", &salt, nonce, text.as_bytes());
    let digest = Digest::of(&salt, text.as_bytes());
    let texts = BTreeMap::from([("payload".to_owned(), digest)]);
    let body = json!({"change": index / 2, "note": "ein Übel\n\u{2028}", "deep": [{"a": null}]});
    (Leaf::new(index, at(index), "change.held", &body, &texts).unwrap(), sealed.unwrap())
}

/// What a ledger of some entries leaves in files.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) segments: Vec<(String, Vec<u8>)>,
    pub(crate) checkpoint: String,
    pub(crate) kept: Option<String>,
    pub(crate) texts: Vec<(String, Vec<u8>)>,
    pub(crate) key: VerifyingKey,
    pub(crate) tree: Tree,
}

impl Ledger {
    /// A ledger of `size` entries, of which the first `covered` are signed.
    pub(crate) fn new(size: u64, covered: u64) -> Self {
        Self::of((0..size).map(|index| entry(index, 1)), covered)
    }

    pub(crate) fn of(entries: impl Iterator<Item = (Leaf, SealedText)>, covered: u64) -> Self {
        let (mut leaves, mut texts) = (Vec::new(), Vec::new());
        for (leaf, text) in entries {
            leaves.push(leaf);
            texts.push(text);
        }
        let lines: Vec<_> = leaves.iter().map(|leaf| leaf.line().to_owned()).collect();
        let mut ledger = Self::of_lines(&lines, covered);
        for text in texts {
            let file = file_name(text.index());
            if ledger.texts.last().is_none_or(|(name, _)| *name != file) {
                ledger.texts.push((file, Vec::new()));
            }
            let bytes = &mut ledger.texts.last_mut().unwrap().1;
            bytes.extend_from_slice(text.line().as_bytes());
            bytes.push(b'\n');
        }
        ledger
    }

    /// Files and a checkpoint as a signer of *these* lines would leave them, whatever they say.
    pub(crate) fn of_lines(lines: &[String], covered: u64) -> Self {
        let mut segments: Vec<(String, Vec<u8>)> = Vec::new();
        let mut tree = Tree::new();
        for line in lines {
            let index = tree.append(countermand_ledger::tree::Hash::of_leaf(line.as_bytes()));
            if index == segment::first_index(index) {
                segments.push((segment::file_name(index), Vec::new()));
            }
            let bytes = &mut segments.last_mut().unwrap().1;
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        let key = signing_key(1);
        let mut ledger = Self {
            segments,
            checkpoint: String::new(),
            kept: None,
            texts: Vec::new(),
            key: key.verifying_key().clone(),
            tree,
        };
        ledger.checkpoint = ledger.sign(covered);
        ledger
    }

    /// A checkpoint of the first `size` entries as they were when this ledger was made.
    pub(crate) fn sign(&self, size: u64) -> String {
        signing_key(1).sign(size, self.tree.root_at(size).unwrap(), at(size)).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text: Vec<u8> = self.segments.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    /// This ledger's checkpoints and texts, over other lines.
    pub(crate) fn with_lines(&self, lines: &[String]) -> Self {
        Self { segments: Self::of_lines(lines, 0).segments, ..self.clone() }
    }

    pub(crate) fn verify(&self) -> Result<Report, VerifyError> {
        self.verify_texts(None)
    }

    pub(crate) fn verify_with_key(&self) -> Result<Report, VerifyError> {
        self.verify_texts(Some(Some(&TextKeys::new(text_key(), Vec::new()))))
    }

    pub(crate) fn verify_texts(
        &self,
        keys: Option<Option<&TextKeys>>,
    ) -> Result<Report, VerifyError> {
        let (segments, files) = (files(&self.segments), files(&self.texts));
        verify(&Evidence {
            key: &self.key,
            checkpoint: &self.checkpoint,
            kept: self.kept.as_deref(),
            segments: &segments,
            texts: keys.map(|keys| Texts { files: &files, keys }),
        })
    }
}

fn files(files: &[(String, Vec<u8>)]) -> Vec<File<'_>> {
    files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect()
}
