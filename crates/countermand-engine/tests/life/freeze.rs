//! The kill switch: what is under way, and a store that is sick.

use crate::memory::Memory;
use crate::world::{self, NOBODY, World, refused};
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{ChangeView, Command, PrepareAct, Reply, Scope};
use countermand_engine::{Clock, Home, Refusal};
use jiff::Timestamp;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// An installation whose store commits nothing while the lock is held.
async fn with_a_store_that_can_hang() -> (World, Arc<Mutex<()>>) {
    let (world, lock, _) = with_a_store_that_is_seen_hanging().await;
    (world, lock)
}

/// The same, with how often something was about to be committed.
async fn with_a_store_that_is_seen_hanging() -> (World, Arc<Mutex<()>>, Arc<AtomicU64>) {
    let (lock, commits) = (Arc::new(Mutex::new(())), Arc::new(AtomicU64::new(0)));
    let (hanging, counted) = (Arc::clone(&lock), Arc::clone(&commits));
    let folder = tempfile::tempdir().unwrap();
    let mut home = Home::at(folder.path().join("state"));
    home.create("test").unwrap();
    home.hook = Some(Arc::new(move |_, done| {
        if !done {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(hanging.lock());
        }
    }));
    let clock = Clock::manual(Timestamp::from_second(1_800_000_000).unwrap());
    let prod = Memory::new("prod", &[("billing.costs", 1000)]);
    let installation = world::installation(folder.path());
    let engine = world::open(installation, home, clock.clone(), &prod).await.unwrap();
    let world = World { folder, clock, prod, engine, free: Arc::default() };
    world.let_in().await;
    (world, lock, commits)
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

impl World {
    /// A change that runs, and is not answered.
    async fn running(&self) -> u64 {
        let number = self.held("billing").await;
        self.prepared(number).await;
        self.prod.data.lock().unwrap().stall_run = true;
        self.approve("bob", number).await;
        self.cool();
        self.until(number, |view| view.line.state == "running").await;
        number
    }

    async fn thaw(&self, what: Scope) {
        let thawed = self.sign("carol", PrepareAct::Thaw { what }).await;
        assert!(matches!(thawed, Reply::Done { .. }), "{thawed:?}");
    }
}

fn says(view: &ChangeView, words: &str) -> bool {
    view.history.iter().any(|(_, said)| said.contains(words))
}

/// A signature that was given for one freeze, or kept back, lifts no later one.
#[tokio::test]
async fn a_thaw_that_was_prepared_before_a_freeze_does_not_lift_it() {
    let world = World::new().await;
    let freeze = async |reason: &str| {
        let freeze = Command::Freeze { what: Scope::Everything, reason: reason.to_owned() };
        let told = world.engine.control(freeze, NOBODY).await;
        assert!(matches!(told, Reply::Done { .. }), "{told:?}");
    };
    freeze("a drill").await;
    let thaw = PrepareAct::Thaw { what: Scope::Everything };
    let Reply::Prepared { statement, .. } = world.prepare("carol", thaw).await else {
        panic!("it was not prepared")
    };
    freeze("a real one").await;
    let signature = World::signature("carol", &statement);
    let late = Command::Submit { statement, signature };
    let told = world.engine.control(late, NOBODY).await;
    assert!(refused(&told).contains("prepare it again"), "{told:?}");
    assert!(is_frozen(&world).await);
    world.thaw(Scope::Everything).await;
    assert!(!is_frozen(&world).await);
}

#[tokio::test]
async fn what_runs_is_ended_in_the_middle_and_says_why() {
    let (agent, target) = ("bot".parse().unwrap(), "prod".parse().unwrap());
    for what in [Scope::Agent(agent), Scope::Target(target), Scope::Everything] {
        let world = World::new().await;
        let number = world.running().await;
        let command = Command::Freeze { what: what.clone(), reason: "an incident".into() };
        world.engine.control(command, NOBODY).await;
        let held = world.until(number, |view| view.line.state == "held").await;
        let why = format!("{what} is frozen: an incident");
        assert!(says(&held, &why) && says(&held, "cancelled while it ran"), "{held:#?}");
        world.prod.data.lock().unwrap().stall_run = false;
        world.thaw(what).await;
        // It cools anew first.
        world.cool();
        world.until(number, |view| view.line.state == "executed").await;
        let (runs, commits) = {
            let data = world.prod.data.lock().unwrap();
            (data.runs, data.commits)
        };
        assert_eq!((runs, commits), (2, 1));
        assert_eq!(world.consistency().await.differences, Vec::<String>::new());
    }
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "the store hangs for as long as it is held")]
async fn between_the_last_decision_and_the_commit_it_still_stops() {
    let (world, lock, commits) = with_a_store_that_is_seen_hanging().await;
    let number = world.running().await;
    let hanging = lock.lock().unwrap();
    let before = commits.load(Ordering::SeqCst);
    world.prod.data.lock().unwrap().stall_run = false;
    while commits.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
    world.engine.control(freeze("an incident"), NOBODY).await;
    drop(hanging);
    let held = world.until(number, |view| view.line.state == "held").await;
    assert!(says(&held, "everything is frozen: an incident"), "{held:#?}");
    assert_eq!(world.prod.data.lock().unwrap().commits, 0);
}

#[tokio::test]
async fn evidence_is_gathered_no_more_and_again_once_it_is_thawed() {
    let world = World::new().await;
    world.prod.data.lock().unwrap().stall_trial = true;
    let number = world.held("billing").await;
    let trials = || world.prod.data.lock().unwrap().trials;
    while trials() == 0 {
        tokio::task::yield_now().await;
    }
    world.engine.control(freeze("an incident"), NOBODY).await;
    // Given up: it does not answer any more, also when it could.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    world.prod.data.lock().unwrap().stall_trial = false;
    assert!(world.show(number).await.trial.is_none());
    world.thaw(Scope::Everything).await;
    world.prepared(number).await;
    assert_eq!(trials(), 2);
}

#[tokio::test]
async fn a_restore_ends_in_the_middle_and_may_be_tried_again() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.approve("bob", number).await;
    world.prepared(number).await;
    world.cool();
    world.until(number, |view| view.line.state == "executed").await;
    world.prod.data.lock().unwrap().stall_restore = true;
    let restore = || PrepareAct::Restore { change: ChangeNumber(number), overwrite: false };
    let freezing = async {
        while world.prod.data.lock().unwrap().restores == 0 {
            tokio::task::yield_now().await;
        }
        world.engine.control(freeze("an incident"), NOBODY).await
    };
    let (told, _) = tokio::join!(world.sign("bob", restore()), freezing);
    assert!(world::refused(&told).contains("everything is frozen: an incident"), "{told:?}");
    world.thaw(Scope::Everything).await;
    let told = world.sign("bob", restore()).await;
    assert!(matches!(told, Reply::Done { .. }), "{told:?}");
}
