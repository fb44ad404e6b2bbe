//! A copy that was made while something ran, and an engine that begins again from it.

use crate::memory::Memory;
use crate::world::{self, NOBODY, World};
use countermand_core::request::ChangeNumber;
use countermand_engine::backup::{BackupError, Contents, Revived, read_back, revive};
use countermand_engine::control::{Command, Consistency, Reply};
use countermand_engine::{Engine, Home};
use std::path::Path;

/// A copy in a folder of its own.
pub(crate) struct Copied {
    folder: tempfile::TempDir,
    home: Home,
    checkpoint: String,
}

impl World {
    pub(crate) async fn copied(&self) -> Copied {
        let own = Home::at(self.folder.path().join("state"));
        Copied::of(&self.engine, &own).await
    }
}

impl Copied {
    /// Of an engine that has the keys of this home.
    async fn of(engine: &Engine, own: &Home) -> Copied {
        let reply = engine.control(Command::Backup, NOBODY).await;
        let Reply::Backup { store, checkpoint } = reply else { panic!("{reply:?}") };
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("state"));
        std::fs::create_dir_all(home.path.join("keys")).unwrap();
        std::fs::copy(&store, home.store()).unwrap();
        std::fs::copy(own.signing_key(), home.signing_key()).unwrap();
        std::fs::copy(own.text_key(), home.text_key()).unwrap();
        Copied { folder, home, checkpoint }
    }

    fn read(&self, kept: Option<&str>) -> Result<Contents, BackupError> {
        read_back(&self.home, &self.checkpoint, kept)
    }

    /// The engine that goes on from it, with what became of what was open.
    pub(crate) async fn revived(&self, world: &World, prod: &Memory) -> (Revived, Engine) {
        let revived = revive(&self.home, &self.read(None).unwrap()).await.unwrap();
        let beside =
            |end: &str| Path::new(&format!("{}{end}", self.home.store().display())).exists();
        assert!(!beside("-wal"), "all of it is in the one file that is moved");
        let installation = world::installation(self.folder.path());
        let engine = world::reopened(installation, self.home.clone(), &world.clock, prod).await;
        (revived, engine)
    }
}

async fn differences(engine: &Engine) -> Vec<String> {
    let reply = engine.control(Command::Consistency, NOBODY).await;
    let Reply::Consistency(Consistency { differences, .. }) = reply else { panic!("{reply:?}") };
    differences
}

#[tokio::test]
async fn what_ran_when_the_copy_was_made_is_in_doubt_and_runs_no_more() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    world.prod.data.lock().unwrap().stall_run = true;
    world.approve("bob", number).await;
    world.cool();
    world.until(number, |change| change.line.state == "running").await;
    let copied = world.copied().await;
    let prod = Memory::new("prod", &[("billing.costs", 1000)]);
    // Whoever asked for a copy took none away.
    let left = copied.home.path.join("backup-0.sqlite");
    std::fs::write(&left, "").unwrap();
    let (revived, engine) = copied.revived(&world, &prod).await;
    assert!(!left.exists());
    assert_eq!((revived.in_doubt, revived.withdrawn), (vec![number], vec![]));
    assert_eq!(revived.revoked, ["bot"]);
    let show = Command::Show { change: ChangeNumber(number) };
    let Reply::Change(change) = engine.control(show, NOBODY).await else { panic!("no change") };
    assert_eq!((change.line.state.as_str(), change.executions), ("in doubt", 0));
    assert!(change.restore_point.is_none(), "another attempt may have followed");
    assert_eq!(differences(&engine).await, Vec::<String>::new());
    assert!(engine.open_session("bot", "prod", "psql", "local").await.is_err());
    assert_eq!(prod.data.lock().unwrap().runs, 0);
}

#[tokio::test]
async fn what_was_prepared_for_a_signature_is_void_in_the_copy() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    let scope = countermand_engine::control::Scope::Everything;
    let act = countermand_engine::control::PrepareAct::Thaw { what: scope };
    let Reply::Prepared { statement, .. } = world.prepare("carol", act).await else {
        panic!("it was not prepared")
    };
    let (_, engine) = world.copied().await.revived(&world, &world.prod).await;
    let signature = World::signature("carol", &statement);
    let reply = engine.control(Command::Submit { statement, signature }, NOBODY).await;
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
    let Reply::Status(status) = engine.control(Command::Status, NOBODY).await else { panic!() };
    assert!(status.frozen[0].starts_with("everything: the gateway was restored"), "{status:?}");
}

#[tokio::test]
async fn a_cut_or_rewritten_ledger_does_not_pass_a_checkpoint_that_was_kept() {
    let world = World::new().await;
    let first = world.copied().await;
    world.held("billing").await;
    let Reply::Checkpoint { note } = world.engine.control(Command::Checkpoint, NOBODY).await else {
        panic!("no checkpoint")
    };
    assert!(first.read(Some(&note)).unwrap().lost > 0);
    assert_eq!(world.copied().await.read(Some(&note)).unwrap().lost, 0);
    let (_, engine) = first.revived(&world, &world.prod).await;
    // The same key signs another history from here on.
    let freeze = |n: u32| Command::Freeze {
        what: countermand_engine::control::Scope::Everything,
        reason: n.to_string(),
    };
    for n in 0..20 {
        engine.control(freeze(n), NOBODY).await;
    }
    let other = Copied::of(&engine, &first.home).await;
    let rewritten = other.read(Some(&note));
    assert!(matches!(rewritten, Err(BackupError::Rewritten(_))), "{rewritten:?}");
    let altered = read_back(&other.home, &note, None);
    assert!(matches!(altered, Err(BackupError::Altered)), "{altered:?}");
}

#[tokio::test]
async fn nobody_runs_a_copy_by_pointing_at_it() {
    let world = World::new().await;
    let copied = world.copied().await;
    let installation = world::installation(world.folder.path());
    let opened = world::open(installation, copied.home.clone(), world.clock.clone(), &world.prod);
    let refused = opened.await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("`countermand gateway restore` goes on from it"), "{refused}");
}
