//! Where one gateway keeps what it must not lose: store, keys, lock.

use crate::disk::{Measure, Space};
use crate::store::{Hook, StoreError};
use countermand_core::configuration::Configuration;
use countermand_ledger::checkpoint::SigningKey;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The state directory of a gateway.
#[derive(Clone)]
pub struct Home {
    /// The directory: 0700.
    pub path: PathBuf,
    /// Called around every commit; where crash tests kill the process.
    pub hook: Option<Hook>,
    /// Says how much room a disk has.
    pub measure: Measure,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A file operation failed.
    #[error("cannot use `{path}`: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Others can read a key.
    #[error("`{0}` can be read by others; run: chmod 600 {0}")]
    Exposed(PathBuf),
    /// There is no key.
    #[error(
        "`{0}` is missing: bring it back from a copy; if there is none, `countermand ledger replace-key` makes another, which nothing vouches for"
    )]
    NoKey(PathBuf),
    /// A key file is not what this gateway wrote.
    #[error("`{0}` is not a key of this gateway; bring it back from its copy")]
    NotAKey(PathBuf),
    /// Another gateway has it open.
    #[error("another gateway is using `{0}`; stop it first")]
    InUse(PathBuf),
    /// Keys are there already.
    #[error("`{0}` is there already and is not overwritten")]
    Exists(PathBuf),
    /// A key is to be replaced in a state directory that never ran.
    #[error("`{0}` holds no ledger: nothing is lost with its keys; run `countermand init` anew")]
    NoLedger(PathBuf),
    /// The store cannot be read.
    #[error("cannot read the store: {0}")]
    Store(String),
}

impl Home {
    /// The home at this path.
    pub fn at(path: impl Into<PathBuf>) -> Home {
        Home { path: path.into(), hook: None, measure: Arc::new(Space::at) }
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.path.join("store.sqlite")
    }

    /// What was frozen while the store could not be told.
    pub(crate) fn freezes(&self) -> PathBuf {
        self.path.join("freezes.json")
    }

    /// Makes the directory and its keys, once. Gives the public key of the ledger (a vkey):
    /// keep a copy elsewhere, it is what an auditor trusts.
    ///
    /// # Errors
    /// [`HomeError::Exists`] rather than overwrite a key.
    pub fn create(&self, origin: &str) -> Result<String, HomeError> {
        let keys = self.path.join("keys");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&keys)
            .map_err(|error| HomeError::File { path: keys.clone(), error })?;
        let seed = Zeroizing::new(rand::random::<[u8; 32]>());
        let signing = SigningKey::generate(origin, &seed)
            .map_err(|_| HomeError::NotAKey(self.signing_key()))?;
        let texts = Zeroizing::new(hex::encode(rand::random::<[u8; 32]>()));
        write_new(&self.signing_key(), signing.skey().as_bytes())?;
        write_new(&self.text_key(), texts.as_bytes())?;
        Ok(signing.verifying_key().vkey().to_owned())
    }

    /// The configuration that a gateway here must run under: the last that came into force, once
    /// an agent was let in. Before that, whatever its file says.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn binding_configuration(&self) -> Result<Option<Configuration>, StoreError> {
        crate::store::binding(&self.store())
    }

    /// Takes the home for this process until the returned file is dropped.
    pub(crate) fn lock(&self) -> Result<File, HomeError> {
        let path = self.path.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| HomeError::File { path: path.clone(), error })?;
        file.try_lock().map_err(|_| HomeError::InUse(self.path.clone()))?;
        Ok(file)
    }
}

pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    let failed = |error| HomeError::File { path: path.to_owned(), error };
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let draft = PathBuf::from(draft);
    // Of a process that was killed while it wrote.
    let _ = std::fs::remove_file(&draft);
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    let mut file = opened.map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    // A link never takes the place of what is there.
    let linked = written.and_then(|()| std::fs::hard_link(&draft, path));
    let removed = std::fs::remove_file(&draft);
    match linked {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(HomeError::Exists(path.to_owned()))
        }
        linked => linked.and(removed).map_err(failed),
    }
}
