//! A restore point on disk: a folder of copies that were read back, under one manifest whose
//! digest the ledger keeps. Without a manifest a folder is no restore point.

use super::catalog::Address;
use countermand_core::change::{RestorePoint, SavedTable};
use countermand_core::digest::{Digest, canonical};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

mod content;
mod difference;

pub(super) use content::{Content, Counting};
pub(super) use difference::difference;

const MANIFEST: &str = "manifest.json";
/// The format that this code writes and reads.
const FORMAT: u32 = 1;
/// A larger manifest is not one of ours.
const MAX_MANIFEST: u64 = 256 * 1024 * 1024;
const CHUNK: usize = 256 * 1024;

/// What is in a restore point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// [`FORMAT`].
    pub(super) format: u32,
    /// Whether it was only shown that it can be made: its rows were deleted again.
    pub(super) trial: bool,
    /// The server and database it is of.
    pub(super) fingerprint: String,
    /// Everything that goes, by its place in the catalogue, as the saved schema knows it too.
    pub(super) lost: Vec<LostObject>,
    /// Statements for what goes out of relations that stay.
    pub(super) remake: Vec<String>,
    /// Materialized views that are computed again, in the order they were made.
    pub(super) refresh: Vec<String>,
    /// Positions of sequences.
    pub(super) sequences: Vec<SavedSequence>,
    /// Rows.
    pub(super) tables: Vec<SavedRows>,
    /// Every other file of the folder.
    pub(super) files: BTreeMap<String, SavedFile>,
}

/// An object that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LostObject {
    /// Where it was.
    #[serde(flatten)]
    pub(super) address: Address,
    /// The server's word for its kind; empty for what nobody names.
    pub(super) kind: String,
    /// Its qualified name.
    pub(super) name: String,
}

/// A sequence's position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedSequence {
    /// Its qualified name.
    pub(super) name: String,
    /// The position, as a text: JSON's numbers are too short.
    pub(super) last: String,
    /// Whether it was given out.
    pub(super) called: bool,
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedRows {
    /// Its qualified name.
    pub(super) table: String,
    /// The columns, in the order of the copies.
    pub(super) columns: Vec<String>,
    /// Those that tell its rows apart; empty: only all of them together do.
    pub(super) key: Vec<String>,
    /// Whether the table went with them.
    pub(super) gone: bool,
    /// The rows that the change took or overwrote, as they were.
    pub(super) before: String,
    /// The rows that it put in their place, where the table stays.
    pub(super) after: Option<String>,
    /// All of the table before, where it stays.
    pub(super) was: Option<Content>,
    /// All of the table when the change had run, where it stays.
    pub(super) left: Option<Content>,
}

/// A file as it was read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedFile {
    /// Of its bytes.
    pub(super) digest: Digest,
    /// Its length.
    pub(super) bytes: u64,
    /// Its rows, for a copy of rows.
    pub(super) rows: u64,
}

/// Why a restore point is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum SavedError {
    /// The disk.
    #[error("cannot {doing} `{}`: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
    /// It is not what the ledger says, or was not what the server said.
    #[error("the restore point in `{}` is not usable: {why}", path.display())]
    Unusable { path: PathBuf, why: String },
}

/// A finished restore point of a run that is not committed. Dropped before it is kept, it is removed
/// like an unfinished one.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) point: RestorePoint,
    folder: Folder,
}

impl Sealed {
    /// The run may be committed from now on.
    pub(super) fn keep(&mut self) {
        self.folder.unsealed = false;
    }

    /// It certainly was not.
    pub(super) fn forget(&mut self) {
        self.folder.unsealed = true;
    }
}

/// The folder of a restore point that is being made. Dropped before it is sealed, it is removed:
/// rows of production do not lie about for nothing.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    unsealed: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.unsealed
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, "cannot remove an unfinished restore point");
        }
    }
}

impl Folder {
    /// Makes the folder, which must not exist, for this user alone.
    pub(super) fn create(path: PathBuf) -> Result<Folder, SavedError> {
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(io("create the folder", &path))?;
        Ok(Folder { path, unsealed: true })
    }

    /// A folder that was made before.
    pub(super) fn existing(path: PathBuf) -> Folder {
        Folder { path, unsealed: false }
    }

    /// The path of a file in it.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A new file in it.
    pub(super) fn file(&self, name: &str) -> Result<File, SavedError> {
        let path = self.at(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.map_err(io("create", &path))
    }

    /// What a file holds, read from the disk.
    pub(super) fn read_back(&self, name: &str) -> Result<SavedFile, SavedError> {
        read_back(&self.at(name))
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str) -> Result<(), SavedError> {
        let path = self.at(name);
        std::fs::remove_file(&path).map_err(io("remove", &path))
    }

    /// Makes a file durable that something else wrote.
    pub(super) fn sync(&self, name: &str) -> Result<(), SavedError> {
        let path = self.at(name);
        let synced = File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(io("sync", &path))
    }

    /// Writes the manifest: from here on it is a restore point, also after a crash.
    pub(super) fn seal(self, manifest: &Manifest) -> Result<Sealed, SavedError> {
        let bytes = canonical(manifest);
        let (draft, path) = (self.at("manifest.draft"), self.at(MANIFEST));
        let mut file = self.file("manifest.draft")?;
        let written = file.write_all(&bytes).and_then(|()| file.sync_all());
        written.map_err(io("write", &draft))?;
        std::fs::rename(&draft, &path).map_err(io("rename", &draft))?;
        for directory in [Some(self.path.as_path()), self.path.parent()].into_iter().flatten() {
            let synced = File::open(directory).and_then(|file| file.sync_all());
            synced.map_err(io("sync", directory))?;
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let point = RestorePoint {
            folder: name,
            manifest: Digest::of_bytes(&bytes),
            tables: manifest.tables.iter().filter_map(|table| contents(manifest, table)).collect(),
            bytes: manifest.files.values().map(|file| file.bytes).sum(),
            millis: 0,
        };
        Ok(Sealed { point, folder: self })
    }
}

fn contents(manifest: &Manifest, table: &SavedRows) -> Option<(String, SavedTable)> {
    let file = manifest.files.get(&table.before)?;
    Some((table.table.clone(), SavedTable { rows: file.rows, content: file.digest }))
}

impl Manifest {
    /// Nothing yet.
    pub(super) fn new(fingerprint: String) -> Manifest {
        Manifest {
            format: FORMAT,
            trial: false,
            fingerprint,
            lost: Vec::new(),
            remake: Vec::new(),
            refresh: Vec::new(),
            sequences: Vec::new(),
            tables: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// Opens a restore point, if it is byte for byte the one that the ledger knows.
    pub(super) fn open(path: &Path, known: &RestorePoint) -> Result<Manifest, SavedError> {
        let unusable = |why: String| SavedError::Unusable { path: path.to_owned(), why };
        let at = path.join(MANIFEST);
        let file = File::open(&at).map_err(io("open", &at))?;
        let mut bytes = Vec::new();
        file.take(MAX_MANIFEST).read_to_end(&mut bytes).map_err(io("read", &at))?;
        if Digest::of_bytes(&bytes) != known.manifest {
            return Err(unusable("its manifest is not the one that was recorded".to_owned()));
        }
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(unusable(format!("its format is {}, not {FORMAT}", manifest.format)));
        }
        if manifest.trial {
            return Err(unusable("it was a trial, and its rows were not kept".to_owned()));
        }
        for (name, saved) in &manifest.files {
            if read_back(&path.join(name))? != *saved {
                return Err(unusable(format!("`{name}` has changed since it was made")));
            }
        }
        Ok(manifest)
    }
}

fn read_back(path: &Path) -> Result<SavedFile, SavedError> {
    let mut file = File::open(path).map_err(io("open", path))?;
    let (mut hash, mut bytes, mut rows) = (Sha256::new(), 0_u64, 0_u64);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk).map_err(io("read", path))?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
        bytes += read as u64;
        rows += chunk[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    let digest = hex::encode(hash.finalize()).parse().expect("SHA-256 has 64 digits");
    Ok(SavedFile { digest, bytes, rows })
}

/// An error of the disk, with what was attempted.
pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SavedError {
    let path = path.to_owned();
    move |source| SavedError::Io { doing, path, source }
}
