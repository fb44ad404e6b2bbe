//! The audit: files and a public key in, a [`Report`] or the first fault out.
//!
//! What can be located exactly is: an entry that is not in canonical form, an index that is not its
//! position, a missing or torn file, a time that runs backwards, a text that does not fit. Content
//! that was altered *and kept canonical* moves the root only, and no per-entry hash is stored
//! elsewhere, so then the error names the range between two checkpoints and claims no more.

use std::collections::{HashMap, HashSet};
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::checkpoint::{Checkpoint, CheckpointError, VerifyingKey};
use crate::erasure;
use crate::keyring::{KeyChange, KeyChangeError, KeyChanges, Keyring};
use crate::leaf::{Leaf, LeafError};
use crate::segment::{self, Lines, TooManyLines};
use crate::text::{SealedText, TextError, TextKeys};
use crate::tree::{Hash, Tree};

/// A file as an auditor got it: its name within the ledger's folder, and its bytes.
pub type File<'a> = (&'a str, &'a [u8]);

/// What an auditor has.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The ledger's public key, from somewhere other than the ledger's own files. An older one will
    /// do where each key vouched for the next.
    pub key: &'a VerifyingKey,
    /// The newest signed checkpoint that came with the ledger.
    pub checkpoint: &'a str,
    /// A signed checkpoint that someone kept elsewhere, older or newer. It is what shows that the
    /// signer did not rewrite or cut the ledger and sign again.
    pub kept: Option<&'a str>,
    /// All segments, in any order, under the names that [`segment::file_name`] gives them.
    pub segments: &'a [File<'a>],
    /// The texts, if they shall be checked.
    pub texts: Option<Texts<'a>>,
}

/// The texts that lie beside the entries.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// All texts files, in any order; names serve messages only.
    pub files: &'a [File<'a>],
    /// Texts whose key is not here are matched to their entries and not opened.
    pub keys: Option<&'a TextKeys>,
}

/// What was found in a ledger without fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Entries in the segments.
    pub leaves: u64,
    /// Entries that a signed checkpoint covers: those that cannot have been altered since.
    pub covered: u64,
    /// Entries after those. They are well-formed and in order; nothing more is known about them.
    pub unsigned_tail: u64,
    /// The root over the covered entries.
    pub root: Hash,
    /// When the checkpoint that covers them was signed.
    pub checkpoint_at: Timestamp,
    /// The times that the ledger's key was replaced. Those that the old key did not vouch for rest on
    /// the new one alone.
    pub key_changes: Vec<KeyChange>,
    /// Texts that were opened and fit their entries.
    pub texts_checked: u64,
    /// Texts that are there and were not opened, for want of the key.
    pub texts_unopened: u64,
    /// Texts that entries name and that are no longer there, as a later entry says. Erasure is lawful;
    /// it is counted.
    pub texts_erased: u64,
    /// Texts that entries name and that are not there, and no entry says why: somebody removed them, or
    /// did not hand them over.
    pub texts_missing: u64,
    /// Texts that are there although an entry says that they were erased: these files are older than
    /// that, or it was not done.
    pub texts_left: u64,
    /// Files that end within a line: a write was cut short, or the copy was taken during one. What
    /// follows the last newline was not read.
    pub torn: Vec<String>,
}

/// Which checkpoint an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// [`Evidence::checkpoint`].
    Published,
    /// [`Evidence::kept`].
    Kept,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Published => "the ledger's checkpoint",
            Self::Kept => "the checkpoint kept elsewhere",
        })
    }
}

/// The first fault that was found. No part of a ledger with a fault is to be relied on.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A checkpoint is not what it should be.
    #[error("{which} does not hold: {source}")]
    Checkpoint {
        /// Which one.
        which: Which,
        /// What is wrong with it.
        source: CheckpointError,
    },
    /// An entry about the ledger's key does not hold.
    #[error(transparent)]
    KeyChange(#[from] KeyChangeError),
    /// A file among the segments is not called like one.
    #[error(
        "`{0}` is not the name of a segment, such as `segments/000000004096.jsonl`: pass the ledger's own files only"
    )]
    SegmentName(String),
    /// Two files have the same name.
    #[error("segment `{0}` was given twice")]
    DuplicateSegment(String),
    /// A segment has too many lines.
    #[error("segment `{name}`: {source}")]
    Segment {
        /// The segment.
        name: String,
        /// What is wrong with it.
        source: TooManyLines,
    },
    /// A segment that is not the newest ends within a line.
    #[error("entry {index} is cut short: `{name}` ends within it, although later segments exist")]
    Torn {
        /// The segment.
        name: String,
        /// The entry that is not whole.
        index: u64,
    },
    /// Entries are missing before the segment that begins at `until`.
    #[error("entries {first} to {} are missing: a segment was removed or cut, and later ones exist", until - 1)]
    Gap {
        /// The first missing entry.
        first: u64,
        /// The first entry that is there again.
        until: u64,
    },
    /// A line is not an entry in canonical form.
    #[error("entry {index} was altered: {source}")]
    Entry {
        /// The position of the line, counted from 0.
        index: u64,
        /// What is wrong with it.
        source: LeafError,
    },
    /// An entry says that it stands elsewhere.
    #[error(
        "entry {position} was altered, removed or reordered: the line in its place says index {found}"
    )]
    Misplaced {
        /// The position of the line, counted from 0.
        position: u64,
        /// The index that it names.
        found: u64,
    },
    /// An entry is older than the one before it.
    #[error(
        "entry {index} is dated {at}, before the entry it follows ({previous}): it was altered, or written by another ledger"
    )]
    TimeWentBack {
        /// The later entry.
        index: u64,
        /// Its time.
        at: Timestamp,
        /// The time of the entry before it.
        previous: Timestamp,
    },
    /// There are fewer entries than a checkpoint covers.
    #[error("entries from {leaves} on were cut off: {which} covers {size} entries")]
    CutOff {
        /// Which checkpoint shows it.
        which: Which,
        /// Entries that are there.
        leaves: u64,
        /// Entries that were signed.
        size: u64,
    },
    /// The entries are not those that were signed.
    #[error("an entry within {first} to {} was altered, removed or reordered: the entries do not give the root that {which} signed; which one cannot be told from these files", until - 1)]
    Altered {
        /// Which checkpoint shows it.
        which: Which,
        /// The first entry that may be at fault.
        first: u64,
        /// The first entry after those.
        until: u64,
    },
    /// The ledger's checkpoint fits its entries and the kept one does not, although both are signed.
    #[error(
        "the ledger was forked or rewritten and signed again: the signer vouched for other first {size} entries to whoever kept the checkpoint"
    )]
    Fork {
        /// How many entries the kept checkpoint covers.
        size: u64,
    },
    /// A line of a texts file is not a sealed text.
    #[error("`{file}` line {line}: {source}")]
    TextLine {
        /// The texts file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: TextError,
    },
    /// A text is there twice.
    #[error("text `{name}` of entry {index} is there twice: remove the one that does not belong")]
    DuplicateText {
        /// The entry.
        index: u64,
        /// The text's name.
        name: String,
    },
    /// A text belongs to no entry.
    #[error(
        "text `{name}` of entry {index} belongs to no entry: it was added, or the entry was cut off"
    )]
    StrayText {
        /// The entry that it names.
        index: u64,
        /// The text's name.
        name: String,
    },
    /// A text is not the one that the entry was written with.
    #[error("text `{name}` of entry {index} is not what was recorded: {source}")]
    Text {
        /// The entry.
        index: u64,
        /// The text's name.
        name: String,
        /// What is wrong with it.
        source: TextError,
    },
}

/// Recomputes everything from the files, and compares it to what was signed.
pub fn verify(evidence: &Evidence<'_>) -> Result<Report, VerifyError> {
    let mut audit = Audit::new(evidence.texts)?;
    let segments = in_order(evidence.segments)?;
    for (at, &(first, file)) in segments.iter().enumerate() {
        audit.segment(first, file, at + 1 == segments.len())?;
    }
    audit.no_stray_texts()?;
    let keys = audit.keys.keyring(evidence.key, &audit.tree)?;
    let published = open(&keys, Which::Published, evidence.checkpoint)?;
    let kept = evidence.kept.map(|text| open(&keys, Which::Kept, text)).transpose()?;
    audit.compare(&published, kept.as_ref())?;

    let covering = kept.filter(|kept| kept.size > published.size).unwrap_or(published);
    Ok(audit.report(&covering))
}

fn open(keys: &Keyring, which: Which, text: &str) -> Result<Checkpoint, VerifyError> {
    keys.open(text).map_err(|source| VerifyError::Checkpoint { which, source })
}

fn in_order<'a>(files: &[File<'a>]) -> Result<Vec<(u64, File<'a>)>, VerifyError> {
    let mut segments = Vec::with_capacity(files.len());
    for file in files {
        let first = segment::parse_file_name(file.0)
            .ok_or_else(|| VerifyError::SegmentName(file.0.to_owned()))?;
        segments.push((first, *file));
    }
    segments.sort_by_key(|&(first, _)| first);
    match segments.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(VerifyError::DuplicateSegment(pair[0].1.0.to_owned())),
        None => Ok(segments),
    }
}

/// What is known after the entries read so far.
struct Audit<'a> {
    tree: Tree,
    last_at: Option<Timestamp>,
    torn: Vec<String>,
    keys: KeyChanges,
    texts: TextAudit<'a>,
}

impl<'a> Audit<'a> {
    fn new(texts: Option<Texts<'a>>) -> Result<Self, VerifyError> {
        let mut torn = Vec::new();
        let texts = TextAudit::new(texts, &mut torn)?;
        Ok(Self { tree: Tree::new(), last_at: None, torn, keys: KeyChanges::default(), texts })
    }

    fn segment(&mut self, first: u64, file: File<'_>, newest: bool) -> Result<(), VerifyError> {
        let (name, bytes) = file;
        let position = self.tree.size();
        if position != first {
            return Err(VerifyError::Gap { first: position, until: first });
        }
        let Lines { lines, torn } = segment::parse(bytes)
            .map_err(|source| VerifyError::Segment { name: name.to_owned(), source })?;
        for line in lines {
            self.entry(line)?;
        }
        if torn.is_some() && !newest {
            return Err(VerifyError::Torn { name: name.to_owned(), index: self.tree.size() });
        }
        if torn.is_some() {
            self.torn.push(name.to_owned());
        }
        Ok(())
    }

    fn entry(&mut self, line: &[u8]) -> Result<(), VerifyError> {
        let position = self.tree.size();
        let leaf =
            Leaf::parse(line).map_err(|source| VerifyError::Entry { index: position, source })?;
        if leaf.index() != position {
            return Err(VerifyError::Misplaced { position, found: leaf.index() });
        }
        if let Some(previous) = self.last_at.filter(|&previous| leaf.at() < previous) {
            return Err(VerifyError::TimeWentBack { index: position, at: leaf.at(), previous });
        }
        self.texts.entry(&leaf)?;
        self.keys.read(&leaf)?;
        self.last_at = Some(leaf.at());
        self.tree.append(leaf.hash());
        Ok(())
    }

    fn no_stray_texts(&self) -> Result<(), VerifyError> {
        match self.texts.records.keys().min() {
            Some((index, name)) => {
                Err(VerifyError::StrayText { index: *index, name: name.clone() })
            }
            None => Ok(()),
        }
    }

    /// Compares the entries to both checkpoints, and tells an altered entry from a forked ledger.
    fn compare(
        &self,
        published: &Checkpoint,
        kept: Option<&Checkpoint>,
    ) -> Result<(), VerifyError> {
        let published_fits = self.fits(Which::Published, published)?;
        let kept_fits = kept.map(|kept| self.fits(Which::Kept, kept)).transpose()?;
        match (published_fits, kept, kept_fits) {
            (true, Some(kept), Some(false)) if kept.size <= published.size => {
                Err(VerifyError::Fork { size: kept.size })
            }
            (true, Some(kept), Some(false)) => Err(VerifyError::Altered {
                which: Which::Kept,
                first: published.size,
                until: kept.size,
            }),
            (true, _, _) => Ok(()),
            (false, kept, kept_fits) => {
                // What an older checkpoint vouches for is not at fault.
                let vouched = kept.filter(|k| kept_fits == Some(true) && k.size < published.size);
                Err(VerifyError::Altered {
                    which: Which::Published,
                    first: vouched.map_or(0, |kept| kept.size),
                    until: published.size,
                })
            }
        }
    }

    fn fits(&self, which: Which, checkpoint: &Checkpoint) -> Result<bool, VerifyError> {
        let size = checkpoint.size;
        let root = self.tree.root_at(size).map_err(|_| VerifyError::CutOff {
            which,
            leaves: self.tree.size(),
            size,
        })?;
        Ok(root == checkpoint.root)
    }

    fn report(self, covering: &Checkpoint) -> Report {
        let leaves = self.tree.size();
        Report {
            leaves,
            covered: covering.size,
            unsigned_tail: leaves - covering.size,
            root: covering.root,
            checkpoint_at: covering.at,
            key_changes: self.keys.all().to_vec(),
            texts_checked: self.texts.checked,
            texts_unopened: self.texts.unopened,
            texts_erased: self.texts.erased,
            texts_missing: self.texts.missing.len() as u64,
            texts_left: self.texts.left,
            torn: self.torn,
        }
    }
}

/// The texts that no entry has claimed yet, and the counts so far.
struct TextAudit<'a> {
    wanted: bool,
    keys: Option<&'a TextKeys>,
    records: HashMap<(u64, String), SealedText>,
    checked: u64,
    unopened: u64,
    erased: u64,
    left: u64,
    missing: HashSet<(u64, String)>,
}

impl<'a> TextAudit<'a> {
    fn new(texts: Option<Texts<'a>>, torn: &mut Vec<String>) -> Result<Self, VerifyError> {
        let mut records = HashMap::new();
        for &(file, bytes) in texts.map_or(&[][..], |texts| texts.files) {
            let Lines { lines, torn: rest } = segment::split_lines(bytes);
            for (at, line) in lines.into_iter().enumerate() {
                let record = SealedText::parse(line).map_err(|source| VerifyError::TextLine {
                    file: file.to_owned(),
                    line: at + 1,
                    source,
                })?;
                let (index, name) = (record.index(), record.name().to_owned());
                if records.insert((index, name.clone()), record).is_some() {
                    return Err(VerifyError::DuplicateText { index, name });
                }
            }
            torn.extend(rest.map(|_| file.to_owned()));
        }
        let (wanted, keys) = (texts.is_some(), texts.and_then(|texts| texts.keys));
        Ok(Self {
            wanted,
            keys,
            records,
            checked: 0,
            unopened: 0,
            erased: 0,
            left: 0,
            missing: HashSet::new(),
        })
    }

    fn entry(&mut self, leaf: &Leaf) -> Result<(), VerifyError> {
        if !self.wanted {
            return Ok(());
        }
        for (name, &digest) in leaf.texts() {
            let Some(record) = self.records.remove(&(leaf.index(), name.clone())) else {
                self.missing.insert((leaf.index(), name.clone()));
                continue;
            };
            let opened = match self.keys.map(|keys| keys.open(&record)) {
                None | Some(Err(TextError::NoKey(_))) => {
                    self.unopened += 1;
                    continue;
                }
                Some(Ok(open)) if open.digest() != digest => Err(TextError::Digest),
                Some(opened) => opened,
            };
            opened.map_err(|source| VerifyError::Text {
                index: leaf.index(),
                name: name.clone(),
                source,
            })?;
            self.checked += 1;
        }
        for (index, name) in erasure::names(leaf).filter(|(index, _)| *index < leaf.index()) {
            match self.missing.remove(&(index, name.to_owned())) {
                true => self.erased += 1,
                false => self.left += 1,
            }
        }
        Ok(())
    }
}
