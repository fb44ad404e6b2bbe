//! The gateway's two keys, in memory and as files: one signs checkpoints, one seals texts.
//!
//! A key that is replaced goes through a file beside its place: written before the ledger says so,
//! moved after. What a stop in between left is settled by what the ledger says.

use crate::home::{Home, HomeError, write_new};
use crate::kind::Kind;
use crate::store::Store;
use countermand_core::digest::Digest;
use countermand_core::statement::LedgerKey;
use countermand_ledger::checkpoint::SigningKey;
use countermand_ledger::text::{TextKey, TextKeys};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// The kind of the entry that says which key seals texts from then on: `{"from", "to"}`, each an id.
pub(crate) const TEXTS_KEY_CHANGED: &str = Kind::LedgerTextsKeyChanged.name();

/// The keys of the ledger.
pub(crate) struct Keys {
    signing: RwLock<Arc<SigningKey>>,
    texts: RwLock<Arc<TextKeys>>,
    stranger: [u8; 32],
}

/// A key that may take the place of another.
#[derive(Clone)]
pub(crate) enum NewKey {
    /// One that signs checkpoints.
    Checkpoints(Arc<SigningKey>),
    /// One that seals texts.
    Texts(Zeroizing<[u8; 32]>),
}

impl Keys {
    /// The one that signs checkpoints.
    pub(crate) fn signing(&self) -> Arc<SigningKey> {
        self.signing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those that seal and sealed texts.
    pub(crate) fn texts(&self) -> Arc<TextKeys> {
        self.texts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What strangers' verifiers are made from: the same after every start and with every key, so that
    /// nobody tells strangers from agents by what stays. Known to nobody.
    pub(crate) fn stranger(&self) -> [u8; 32] {
        self.stranger
    }

    /// Reads them again from their files.
    pub(crate) fn reload(&self, home: &Home) -> Result<(), HomeError> {
        let read = home.keys()?;
        *self.signing.write().unwrap_or_else(PoisonError::into_inner) = read.signing();
        *self.texts.write().unwrap_or_else(PoisonError::into_inner) = read.texts();
        Ok(())
    }
}

impl NewKey {
    /// A fresh one; `origin` is the ledger's.
    pub(crate) fn generate(which: LedgerKey, origin: &str) -> Option<NewKey> {
        let seed = Zeroizing::new(rand::random::<[u8; 32]>());
        match which {
            LedgerKey::Checkpoints => {
                Some(NewKey::Checkpoints(Arc::new(SigningKey::generate(origin, &seed).ok()?)))
            }
            LedgerKey::Texts => Some(NewKey::Texts(seed)),
        }
    }

    /// What it is named by: a vkey, or the id of a text key.
    pub(crate) fn name(&self) -> String {
        match self {
            NewKey::Checkpoints(key) => key.verifying_key().vkey().to_owned(),
            NewKey::Texts(bytes) => TextKey::new(bytes.clone()).id().to_owned(),
        }
    }

    fn which(&self) -> LedgerKey {
        match self {
            NewKey::Checkpoints(_) => LedgerKey::Checkpoints,
            NewKey::Texts(_) => LedgerKey::Texts,
        }
    }

    fn written(&self) -> Zeroizing<String> {
        match self {
            NewKey::Checkpoints(key) => key.skey().clone(),
            NewKey::Texts(bytes) => Zeroizing::new(hex::encode(bytes.as_slice())),
        }
    }
}

impl Home {
    /// The file with the ledger's signing key.
    pub fn signing_key(&self) -> PathBuf {
        self.key_folder().join("ledger.key")
    }

    /// The file with the key that texts are sealed with. Beside it lie those that it replaced, as
    /// `texts-ID.key`.
    pub fn text_key(&self) -> PathBuf {
        self.key_folder().join("texts.key")
    }

    /// The folder of all keys. Those in use and those needed to read are called `*.key`.
    pub fn key_folder(&self) -> PathBuf {
        self.path.join("keys")
    }

    fn key_file(&self, which: LedgerKey) -> PathBuf {
        match which {
            LedgerKey::Checkpoints => self.signing_key(),
            LedgerKey::Texts => self.text_key(),
        }
    }

    fn stranger_file(&self) -> PathBuf {
        self.key_folder().join("stranger.key")
    }

    /// Reads the keys.
    pub(crate) fn keys(&self) -> Result<Keys, HomeError> {
        let signing = read_signing(&self.signing_key())?;
        let texts = TextKeys::new(read_texts(&self.text_key())?, self.older_text_keys()?);
        let stranger = match self.stranger_file() {
            file if file.exists() => *read_bytes(&file)?,
            _ => first_stranger(&signing),
        };
        let (signing, texts) = (RwLock::new(Arc::new(signing)), RwLock::new(Arc::new(texts)));
        Ok(Keys { signing, texts, stranger })
    }

    fn older_text_keys(&self) -> Result<Vec<TextKey>, HomeError> {
        let folder = self.key_folder();
        let failed = |error| HomeError::File { path: folder.clone(), error };
        let mut older = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("texts-") && name.ends_with(".key") {
                older.push(read_texts(&path)?);
            }
        }
        Ok(older)
    }

    /// Writes a new key beside its place, and keeps what the one before it is still needed for.
    pub(crate) fn put_beside(&self, key: &NewKey, keys: &Keys) -> Result<(), HomeError> {
        let beside = beside(&self.key_file(key.which()));
        remove(&beside)?;
        match key {
            NewKey::Checkpoints(_) if !self.stranger_file().exists() => {
                let hexed = Zeroizing::new(hex::encode(keys.stranger));
                write_new(&self.stranger_file(), hexed.as_bytes())?;
            }
            NewKey::Checkpoints(_) => {}
            NewKey::Texts(_) => {
                let texts = keys.texts();
                let file = format!("texts-{}.key", texts.current().id());
                let file = self.key_folder().join(file);
                remove(&file)?;
                let hexed = Zeroizing::new(hex::encode(texts.current().bytes().as_slice()));
                write_new(&file, hexed.as_bytes())?;
            }
        }
        write_new(&beside, key.written().as_bytes())?;
        self.sync_keys()
    }

    /// Moves a key that was written beside its place there: the ledger says so.
    pub(crate) fn put_in_place(&self, which: LedgerKey) -> Result<(), HomeError> {
        let file = self.key_file(which);
        let failed = |error| HomeError::File { path: file.clone(), error };
        std::fs::rename(beside(&file), &file).map_err(failed)?;
        self.sync_keys()
    }

    /// Removes what was written beside and never became a key.
    pub(crate) fn forget_beside(&self, which: LedgerKey) -> Result<(), HomeError> {
        remove(&beside(&self.key_file(which)))
    }

    /// What the key beside its place is named by, if one lies there.
    pub(crate) fn name_beside(&self, which: LedgerKey) -> Option<String> {
        let file = beside(&self.key_file(which));
        match which {
            LedgerKey::Checkpoints => {
                read_signing(&file).ok().map(|key| key.verifying_key().vkey().to_owned())
            }
            LedgerKey::Texts => read_texts(&file).ok().map(|key| key.id().to_owned()),
        }
    }

    fn sync_keys(&self) -> Result<(), HomeError> {
        let folder = self.key_folder();
        let synced = File::open(&folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| HomeError::File { path: folder, error })
    }

    /// Makes another key where one was lost, and only there. Gives what it is named by. The gateway
    /// must not run; when it starts it says so in the ledger.
    ///
    /// # Errors
    /// [`HomeError::Exists`] where the key is there, [`HomeError::NoLedger`] where nothing was signed
    /// with it yet.
    pub fn replace_lost(&self, which: LedgerKey) -> Result<String, HomeError> {
        let file = self.key_file(which);
        if file.exists() {
            return Err(HomeError::Exists(file));
        }
        if !self.store().exists() {
            return Err(HomeError::NoLedger(self.path.clone()));
        }
        let _lock = self.lock()?;
        let note = Store::look_into(&self.store(), |rows| rows.newest_checkpoint());
        let note = note.map_err(|error| HomeError::Store(error.to_string()))?.unwrap_or_default();
        let origin = note.lines().next().unwrap_or_default();
        let key = NewKey::generate(which, origin);
        let key = key.ok_or_else(|| HomeError::NoLedger(self.path.clone()))?;
        write_new(&file, key.written().as_bytes())?;
        self.sync_keys()?;
        Ok(key.name())
    }
}

/// Before any key was replaced.
fn first_stranger(signing: &SigningKey) -> [u8; 32] {
    let secret = Zeroizing::new(["stranger", signing.skey().as_str()].concat());
    *Digest::of_bytes(secret.as_bytes()).as_bytes()
}

fn beside(file: &Path) -> PathBuf {
    file.with_extension("key.new")
}

fn remove(file: &Path) -> Result<(), HomeError> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(HomeError::File { path: file.to_owned(), error })
        }
        _ => Ok(()),
    }
}

fn read_signing(file: &Path) -> Result<SigningKey, HomeError> {
    let text = Zeroizing::new(read_private(file)?.trim().to_owned());
    SigningKey::parse(text).map_err(|_| HomeError::NotAKey(file.to_owned()))
}

fn read_texts(file: &Path) -> Result<TextKey, HomeError> {
    read_bytes(file).map(TextKey::new)
}

fn read_bytes(file: &Path) -> Result<Zeroizing<[u8; 32]>, HomeError> {
    let hexed = read_private(file)?;
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(hexed.trim(), bytes.as_mut_slice())
        .map_err(|_| HomeError::NotAKey(file.to_owned()))?;
    Ok(bytes)
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, HomeError> {
    let failed = |error| HomeError::File { path: path.to_owned(), error };
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(HomeError::NoKey(path.to_owned()));
        }
        opened => opened.map_err(failed)?,
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(HomeError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
