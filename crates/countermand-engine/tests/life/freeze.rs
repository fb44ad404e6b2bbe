//! The kill switch, when the store is sick.

use crate::memory::Memory;
use crate::world::{self, NOBODY, World};
use countermand_engine::control::{Command, Reply, Scope};
use countermand_engine::{Clock, Home, Refusal};
use jiff::Timestamp;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// An installation whose store commits nothing while the lock is held.
async fn with_a_store_that_can_hang() -> (World, Arc<Mutex<()>>) {
    let lock = Arc::new(Mutex::new(()));
    let hanging = Arc::clone(&lock);
    let folder = tempfile::tempdir().unwrap();
    let mut home = Home::at(folder.path().join("state"));
    home.create("test").unwrap();
    home.hook = Some(Arc::new(move |_, done| {
        if !done {
            drop(hanging.lock());
        }
    }));
    let clock = Clock::manual(Timestamp::from_second(1_800_000_000).unwrap());
    let prod = Memory::new("prod", &[("billing.costs", 1000)]);
    let installation = world::installation(folder.path());
    let engine = world::open(installation, home, clock.clone(), &prod).await.unwrap();
    let world = World { folder, clock, prod, engine, free: Arc::default() };
    world.let_in().await;
    (world, lock)
}

fn freeze(reason: &str) -> Command {
    Command::Freeze { what: Scope::Everything, reason: reason.to_owned() }
}

async fn is_frozen(world: &World) -> bool {
    let session = world.engine.open_session("bot", "prod", "psql", "local").await;
    matches!(session, Err(Refusal::Frozen { .. }))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "the store hangs for as long as it is held")]
async fn it_stops_at_once_while_the_store_hangs_and_is_recorded_when_it_can_be() {
    let (world, lock) = with_a_store_that_can_hang().await;
    let aside = world.folder.path().join("state/freezes.json");
    let hanging = lock.lock().unwrap();
    let told = world.engine.control(freeze("an incident"), NOBODY).await;
    let Reply::Done { words, .. } = told else { panic!("{told:?}") };
    assert!(words.contains("is recorded as soon as the ledger can"), "{words}");
    assert!(is_frozen(&world).await);
    while !aside.exists() {
        tokio::task::yield_now().await;
    }

    // Killed now, it is frozen after its next start, and the ledger has it.
    let copied = tempfile::tempdir().unwrap();
    copy(&world.folder.path().join("state"), &copied.path().join("state"));
    let home = Home::at(copied.path().join("state"));
    let installation = world::installation(copied.path());
    let prod = Memory::new("prod", &[]);
    let engine = world::open(installation, home, world.clock.clone(), &prod).await.unwrap();
    let (clock, free) = (world.clock.clone(), Arc::default());
    let again = World { folder: copied, clock, prod, engine, free };
    assert!(is_frozen(&again).await);
    recorded(&again).await;

    drop(hanging);
    recorded(&world).await;
    while aside.exists() {
        tokio::task::yield_now().await;
    }
}

/// Waits until the ledger says that it was frozen, once.
async fn recorded(world: &World) {
    loop {
        let ledger = Command::Ledger { from: 0, limit: 1000 };
        let Reply::Ledger { entries, .. } = world.engine.control(ledger, NOBODY).await else {
            panic!()
        };
        let times = entries.iter().filter(|entry| entry.line.contains("freeze.on")).count();
        assert!(times <= 1);
        if times == 1 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_of_freezes_freezes_everything() {
    let (world, _) = with_a_store_that_can_hang().await;
    let copied = tempfile::tempdir().unwrap();
    copy(&world.folder.path().join("state"), &copied.path().join("state"));
    std::fs::write(copied.path().join("state/freezes.json"), "[{").unwrap();
    let home = Home::at(copied.path().join("state"));
    let prod = Memory::new("prod", &[]);
    let installation = world::installation(copied.path());
    let engine = world::open(installation, home, world.clock.clone(), &prod).await.unwrap();
    let (clock, free) = (world.clock.clone(), Arc::default());
    assert!(is_frozen(&World { folder: copied, clock, prod, engine, free }).await);
}
