//! `gateway`: a copy of all that must not be lost, and how to go on from one.

mod restore;

use super::{json, ledger};
use crate::cli::{Gateway, Global};
use crate::client::{Client, unexpected};
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::show::Page;
use countermand_core::digest::Digest;
use countermand_engine::Home;
use countermand_engine::backup::read_back;
use countermand_engine::control::{Command, Reply};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Where a copy says what is in it.
const MANIFEST: &str = "manifest.json";
/// Where the gateway's folder says that there is a copy.
pub(super) const RECORD: &str = "backup.json";

/// What is in a copy.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    installation: String,
    version: String,
    /// Signed over exactly the entries of the copied store.
    checkpoint: String,
    /// SHA-256 of every other file, by its path within the copy.
    files: BTreeMap<String, Digest>,
}

/// That a copy was made, and of which keys.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) made: Timestamp,
    pub(super) folder: PathBuf,
    /// SHA-256 of `ledger.key` and `texts.key` as they were.
    pub(super) keys: [Digest; 2],
}

/// Runs `gateway`.
pub(super) fn run(global: &Global, arguments: Gateway) -> Result<Exit, Failure> {
    match arguments {
        Gateway::Backup { folder } => backup(global, &folder),
        Gateway::Restore { folder, checkpoint, without } => {
            restore::run(global, &folder, checkpoint.as_deref(), without)
        }
    }
}

fn backup(global: &Global, folder: &Path) -> Result<Exit, Failure> {
    let config = Config::load(&config::find(global.config.as_deref()))?;
    let mut client = Client::connect(global)?;
    make(folder).map_err(|error| {
        Failure::new(format!(
            "cannot make `{}`: {error}; name a folder that is not there yet",
            folder.display()
        ))
    })?;
    // The ledger's files first: the store that is copied after them has all that they have.
    let Reply::Checkpoint { note } = client.ask(&Command::Checkpoint)? else {
        return Err(unexpected());
    };
    make(&folder.join("ledger"))?;
    ledger::copy(&config.installation.ledger, &folder.join("ledger"), &note)?;
    let Reply::Backup { store, checkpoint } = client.ask(&Command::Backup)? else {
        return Err(unexpected());
    };
    let copied = private(&store, &folder.join("store.sqlite"));
    // Also where that failed: nobody else takes it away.
    std::fs::remove_file(&store)?;
    copied?;
    let (here, there) = (Home::at(&config.state), Home::at(folder));
    copy_keys(&here, &there)?;
    copy_configuration(&config, &folder.join("configuration"))?;
    let manifest = Manifest {
        format: 1,
        installation: config.installation.name.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        checkpoint,
        files: digests(folder)?,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(Failure::new)?;
    write(&folder.join(MANIFEST), &text)?;
    let manifest = read(folder)?;
    let contents = read_back(&there, &manifest.checkpoint, None).map_err(Failure::new)?;
    record(&config.state, folder, contents.made)?;
    if global.json {
        json(
            &serde_json::json!({ "folder": folder, "contents": contents, "checkpoint": manifest.checkpoint }),
        );
        return Ok(Exit::Done);
    }
    let mut page = Page::stdout();
    page.line(format!(
        "{} entries of the ledger are copied to {} and read back",
        contents.entries,
        folder.display()
    ));
    page.words(
        "It holds the gateway's keys: move it to where only those read it who may have them. Not in it: \
         restore points, and the passwords that the configuration refers to.",
    );
    page.quoted("Checkpoint", "keep it apart from the copy", &manifest.checkpoint);
    page.print();
    Ok(Exit::Done)
}

/// Reads a copy's manifest and holds every file against it.
fn read(folder: &Path) -> Result<Manifest, Failure> {
    let shown = folder.display();
    let text = std::fs::read(folder.join(MANIFEST))
        .map_err(|error| Failure::usage(format!("`{shown}` is no copy of a gateway: {error}")))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| {
        Failure::new(format!("`{shown}` has no manifest of this version: {error}"))
    })?;
    let found = digests(folder)?;
    for name in found.keys().chain(manifest.files.keys()) {
        let why = match (found.get(name), manifest.files.get(name)) {
            (Some(is), Some(was)) if is == was => continue,
            (Some(_), Some(_)) => "is not as it was copied",
            (Some(_), None) => "was not copied with it",
            (None, _) => "is missing",
        };
        return Err(Failure::new(format!("`{name}` in `{shown}` {why}: take another copy")));
    }
    Ok(manifest)
}

/// SHA-256 of every file in a copy but its manifest.
fn digests(folder: &Path) -> Result<BTreeMap<String, Digest>, Failure> {
    let mut digests = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inside) = folders.pop() {
        for entry in std::fs::read_dir(&inside)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if name != MANIFEST {
                digests.insert(name, Digest::of_bytes(&std::fs::read(&path)?));
            }
        }
    }
    Ok(digests)
}

/// All keys in use, and those that older texts are sealed with.
fn copy_keys(from: &Home, to: &Home) -> Result<(), Failure> {
    make(&to.key_folder())?;
    for entry in std::fs::read_dir(from.key_folder())? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "key") {
            private(&entry.path(), &to.key_folder().join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn copy_configuration(config: &Config, folder: &Path) -> Result<(), Failure> {
    make(folder)?;
    private(&config.file, &folder.join(config::FILE_NAME))?;
    let Some(policies) = &config.policies else { return Ok(()) };
    make(&folder.join("policies"))?;
    for entry in std::fs::read_dir(policies)? {
        let entry = entry?;
        if entry.path().is_file() {
            private(&entry.path(), &folder.join("policies").join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Remembers that there is a copy, for `doctor`.
fn record(state: &Path, folder: &Path, made: Timestamp) -> Result<(), Failure> {
    let record = Record { made, folder: std::path::absolute(folder)?, keys: key_digests(state)? };
    let text = serde_json::to_vec(&record).map_err(Failure::new)?;
    let file = state.join(RECORD);
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    write(&file, &text)
}

/// SHA-256 of both keys of a state directory.
pub(super) fn key_digests(state: &Path) -> std::io::Result<[Digest; 2]> {
    let home = Home::at(state);
    let digest = |path: PathBuf| {
        std::fs::read(path).map(zeroize::Zeroizing::new).map(|bytes| Digest::of_bytes(&bytes))
    };
    Ok([digest(home.signing_key())?, digest(home.text_key())?])
}

fn make(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(folder)
}

/// Copies a file, readable by its owner only, and syncs it.
fn private(from: &Path, to: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(format!("cannot copy `{}`: {error}", path.display()))
    };
    let mut source = std::fs::File::open(from).map_err(|error| failed(from, error))?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut copy = made.map_err(|error| failed(to, error))?;
    std::io::copy(&mut source, &mut copy)
        .and_then(|_| copy.sync_all())
        .map_err(|error| failed(from, error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = made.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|error| Failure::new(format!("cannot write `{}`: {error}", path.display())))
}
