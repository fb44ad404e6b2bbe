//! Keys of the ledger that are replaced, and that are lost.

use crate::world::{NOBODY, World, installation, open, refused, reopened};
use countermand_core::statement::LedgerKey;
use countermand_engine::control::{Command, LedgerEntry, PrepareAct, Reply, Scope};
use countermand_engine::{EngineError, Home, HomeError};
use countermand_ledger::checkpoint::VerifyingKey;
use countermand_ledger::verify::{Evidence, Report, Texts, VerifyError, verify};
use std::path::{Path, PathBuf};

type Named = (String, Vec<u8>);

impl World {
    fn home(&self) -> Home {
        Home::at(self.folder.path().join("state"))
    }

    fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    pub(crate) async fn publish(&self) {
        let reply = self.engine.control(Command::Checkpoint, NOBODY).await;
        assert!(matches!(reply, Reply::Checkpoint { .. }), "{reply:?}");
    }

    /// The vkey that is published now.
    async fn vkey(&self) -> VerifyingKey {
        self.publish().await;
        let text = std::fs::read_to_string(self.ledger().join("ledger.pub")).unwrap();
        VerifyingKey::parse(text.trim()).unwrap()
    }

    /// The published files, audited.
    pub(crate) fn audited(&self, key: &VerifyingKey) -> Result<Report, VerifyError> {
        let (segments, texts) = (files(&self.ledger(), "segments"), files(&self.ledger(), "texts"));
        let checkpoint = std::fs::read_to_string(self.ledger().join("checkpoint")).unwrap();
        verify(&Evidence {
            key,
            checkpoint: &checkpoint,
            kept: None,
            segments: &borrowed(&segments),
            texts: Some(Texts { files: &borrowed(&texts), keys: None }),
        })
    }

    async fn rotate(&self, person: &str, key: LedgerKey) -> Reply {
        self.sign(person, PrepareAct::RotateKey { key }).await
    }

    async fn is_frozen(&self) -> bool {
        let Reply::Status(status) = self.engine.control(Command::Status, NOBODY).await else {
            panic!("no status")
        };
        !status.frozen.is_empty()
    }

    pub(crate) async fn all_entries(&self) -> Vec<LedgerEntry> {
        let command = Command::Ledger { from: 0, limit: u64::MAX };
        match self.engine.control(command, NOBODY).await {
            Reply::Ledger { entries, .. } => entries,
            other => panic!("{other:?}"),
        }
    }

    async fn reopened(self) -> Result<World, EngineError> {
        let installed = installation(self.folder.path());
        self.again(installed).await
    }
}

fn files(folder: &Path, part: &str) -> Vec<Named> {
    let entries = std::fs::read_dir(folder.join(part)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    // What is being written has an ending of its own.
    paths
        .filter(|path| path.extension().is_none_or(|extension| extension != "new"))
        .map(|path| {
            let name = format!("{part}/{}", path.file_name().unwrap().to_str().unwrap());
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

fn borrowed(files: &[Named]) -> Vec<(&str, &[u8])> {
    files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect()
}

#[tokio::test]
async fn a_key_that_is_replaced_vouches_for_the_next_and_is_gone() {
    let world = World::new().await;
    let first = world.vkey().await;
    let old = std::fs::read(world.home().signing_key()).unwrap();
    let stranger = world.engine.scram_verifier("nobody").salt;
    let reply = world.rotate("bob", LedgerKey::Checkpoints).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    let second = world.vkey().await;
    assert_ne!(first.vkey(), second.vkey());
    let reply = world.rotate("carol", LedgerKey::Checkpoints).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    let world = world.reopened().await.unwrap();
    assert!(!world.is_frozen().await);
    assert_eq!(
        world.engine.scram_verifier("nobody").salt,
        stranger,
        "nobody sees that by strangers"
    );
    let third = world.vkey().await;
    for key in [&first, &second, &third] {
        let report = world.audited(key).unwrap();
        assert!(report.key_changes.len() == 2 && report.key_changes.iter().all(|one| one.vouched));
        assert_eq!(report.unsigned_tail, 0);
    }
    for file in files(&world.home().path, "keys") {
        assert!(!file.1.windows(old.len()).any(|part| part == old), "the old key is in {}", file.0);
    }
}

#[tokio::test]
async fn a_key_is_replaced_by_a_statement_once_and_never_by_two() {
    let world = World::new().await;
    let mut prepared = Vec::new();
    for _ in 0..2 {
        let act = PrepareAct::RotateKey { key: LedgerKey::Checkpoints };
        match world.prepare("bob", act).await {
            Reply::Prepared { statement, .. } => prepared.push(statement),
            other => panic!("{other:?}"),
        }
    }
    let submit = |statement: &str, person: &str| {
        let (statement, signature) = (statement.to_owned(), World::signature(person, statement));
        world.engine.control(Command::Submit { statement, signature }, NOBODY)
    };
    refused(&submit(&prepared[0], "carol").await);
    assert!(matches!(submit(&prepared[0], "bob").await, Reply::Done { .. }));
    refused(&submit(&prepared[0], "bob").await);
    let why = submit(&prepared[1], "bob").await;
    assert!(refused(&why).contains("meanwhile"), "{why:?}");
    let key = world.vkey().await;
    assert_eq!(world.audited(&key).unwrap().key_changes.len(), 1);
    assert!(!world.home().key_folder().join("ledger.key.new").exists());
}

#[tokio::test]
async fn what_a_stop_leaves_of_a_replacement_is_settled_by_what_the_ledger_says() {
    let world = World::new().await;
    let first = world.vkey().await;
    let (file, beside) =
        (world.home().signing_key(), world.home().key_folder().join("ledger.key.new"));
    let old = std::fs::read(&file).unwrap();
    // Stopped before the ledger said so: somebody else's key lies there.
    let other = tempfile::tempdir().unwrap();
    Home::at(other.path()).create("test").unwrap();
    std::fs::rename(Home::at(other.path()).signing_key(), &beside).unwrap();
    let world = world.reopened().await.unwrap();
    assert_eq!(world.vkey().await.vkey(), first.vkey());
    assert!(!beside.exists() && !world.is_frozen().await);
    // Stopped after.
    world.rotate("bob", LedgerKey::Checkpoints).await;
    let second = world.vkey().await;
    let folder = world.folder.path().to_owned();
    world.engine.shutdown().await;
    std::fs::rename(&file, &beside).unwrap();
    std::fs::write(&file, old).unwrap();
    private(&file);
    let world = world.again(installation(&folder)).await.unwrap();
    assert_eq!(world.vkey().await.vkey(), second.vkey());
    assert!(!beside.exists() && !world.is_frozen().await);
    assert!(world.audited(&first).is_ok());
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_lost_key_is_replaced_by_one_that_nobody_vouches_for() {
    let world = World::new().await;
    let first = world.vkey().await;
    let home = world.home();
    assert!(matches!(home.replace_lost(LedgerKey::Checkpoints), Err(HomeError::Exists(_))));
    std::fs::remove_file(home.signing_key()).unwrap();
    let World { folder, clock, prod, engine, free } = world;
    engine.shutdown().await;
    drop(engine);
    let installed = installation(folder.path());
    let why = loop {
        match open(installed.clone(), home.clone(), clock.clone(), &prod).await {
            Err(EngineError::Home(HomeError::InUse(_))) => tokio::task::yield_now().await,
            Err(other) => break other.to_string(),
            Ok(_) => panic!("it started without its key"),
        }
    };
    assert!(why.contains("replace-key"), "{why}");
    let made = home.replace_lost(LedgerKey::Checkpoints).unwrap();
    let engine = reopened(installed, home, &clock, &prod).await;
    let world = World { folder, clock, prod, engine, free };
    assert!(world.is_frozen().await);
    assert!(world.engine.is_frozen(&"bot".parse().unwrap(), &"prod".parse().unwrap()).is_some());
    let second = world.vkey().await;
    assert_eq!(second.vkey(), made);
    let why = world.audited(&first).unwrap_err().to_string();
    assert!(why.contains("NEVER VOUCHED FOR"), "{why}");
    let changes = world.audited(&second).unwrap().key_changes;
    assert_eq!(changes[0].from.as_deref(), Some(first.vkey()));
    assert!(changes.len() == 1 && !changes[0].vouched);
    let reply = world.sign("bob", PrepareAct::Thaw { what: Scope::Everything }).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    let world = world.reopened().await.unwrap();
    assert!(!world.is_frozen().await, "it is said once");
}

#[tokio::test]
async fn texts_open_with_the_key_that_sealed_them_and_not_without() {
    let world = World::new().await;
    world.held("before").await;
    let reply = world.rotate("bob", LedgerKey::Texts).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    world.held("after").await;
    let world = world.reopened().await.unwrap();
    let payloads = |entries: &[LedgerEntry]| -> Vec<String> {
        entries.iter().filter_map(|entry| entry.texts.get("payload").cloned()).collect()
    };
    assert_eq!(payloads(&world.all_entries().await), ["drop before", "drop after"]);
    let key = world.vkey().await;
    let report = world.audited(&key).unwrap();

    // The older key is lost.
    let folder = world.folder.path().to_owned();
    let keys = files(&world.home().path, "keys");
    let older = keys.iter().find(|(name, _)| name.starts_with("keys/texts-")).unwrap();
    std::fs::remove_file(world.home().path.join(&older.0)).unwrap();
    let world = world.again(installation(&folder)).await.unwrap();
    assert_eq!(payloads(&world.all_entries().await), ["drop after"]);
    let key = world.vkey().await;
    let now = world.audited(&key).unwrap();
    assert_eq!(now.texts_erased, 0);
    assert!(now.texts_unopened >= report.texts_unopened, "they are there, and closed");
    // What cannot be compared is not called equal.
    assert!(!world.consistency().await.differences.is_empty());
}
