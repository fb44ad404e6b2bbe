//! One database under two names.

use crate::world::{self, World};
use countermand_core::effect::Effect;
use countermand_core::name::TargetName;
use countermand_core::policy::Grant;
use countermand_engine::control::{Command, PrepareAct, Reply};
use countermand_engine::{Installation, Refusal};
use jiff::SignedDuration;

/// `prod` is production, `staging` is disposable, and `bot` may reach both.
async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let installation = installation(folder.path());
    let world = World::built(folder, installation).await;
    let act =
        PrepareAct::AddAgent { agent: "bot".parse().unwrap(), grant: grant(), lifetime: 86_400 };
    assert!(matches!(world.sign("alice", act).await, Reply::Done { .. }));
    world
}

fn grant() -> Grant {
    let both: std::collections::BTreeSet<TargetName> =
        ["prod", "staging"].map(|name| name.parse().unwrap()).into();
    Grant { targets: both, effects: [Effect::Read, Effect::Destroy].into() }
}

fn installation(folder: &std::path::Path) -> Installation {
    let mut installation: Installation = world::installation(folder);
    installation.plain_keys_count = true;
    let alice = installation.humans.get_mut(&"alice".parse().unwrap()).unwrap();
    alice.sponsors = Some(grant());
    for (name, environment) in [("prod", "production"), ("staging", "scratch")] {
        let placement = installation.targets.get_mut(&name.parse().unwrap()).unwrap();
        placement.environment = environment.parse().unwrap();
        placement.disposable = name == "staging";
    }
    installation.configuration = world::configuration_of(&installation);
    installation
}

impl World {
    async fn comes_in(&self, target: &str) -> bool {
        match self.engine.open_session("bot", target, "psql", "local").await {
            Ok(_) => true,
            Err(Refusal::CannotJudge { why }) => {
                assert!(why.contains("is not what it is configured to be"), "{why}");
                false
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_disposable_target_that_turns_out_to_be_production_is_refused() {
    let world = world().await;
    assert!(world.comes_in("prod").await && world.comes_in("staging").await);
    world.prod.data.lock().unwrap().is_really = Some("memory/staging".to_owned());
    world.clock.advance(SignedDuration::from_secs(60));
    assert!(world.comes_in("prod").await, "which is guarded like production");
    assert!(!world.comes_in("staging").await);
    let ledger = Command::Ledger { from: 0, limit: 1000 };
    let Reply::Ledger { entries, .. } = world.engine.control(ledger, world::NOBODY).await else {
        panic!()
    };
    let told = entries.iter().find(|entry| entry.line.contains("session.refused")).unwrap();
    assert!(told.texts["why"].contains("`staging` is the same database as `prod`"));
    let command = Command::Propose {
        human: "alice".parse().unwrap(),
        target: "staging".parse().unwrap(),
        text: "drop billing".to_owned(),
    };
    let Reply::Refused { why } = world.engine.control(command, world::NOBODY).await else {
        panic!("a human is asked for by another name of production")
    };
    assert!(why.contains("same database as `prod`"), "{why}");
    // It cannot be hidden by keeping production from answering.
    world.prod.data.lock().unwrap().is_down = true;
    world.clock.advance(SignedDuration::from_secs(60));
    assert!(!world.comes_in("staging").await, "what it said last counts");
}

#[tokio::test]
async fn what_production_said_last_counts_also_after_a_stop() {
    let world = world().await;
    let installation = installation(world.folder.path());
    world.prod.data.lock().unwrap().is_down = true;
    assert!(world.comes_in("prod").await && !world.comes_in("staging").await, "it never said it");
    world.prod.data.lock().unwrap().is_down = false;
    world.clock.advance(SignedDuration::from_secs(60));
    assert!(world.comes_in("staging").await);
    world.prod.data.lock().unwrap().is_really = Some("memory/staging".to_owned());
    world.clock.advance(SignedDuration::from_secs(60));
    assert!(!world.comes_in("staging").await);
    world.prod.data.lock().unwrap().is_down = true;
    let world = world.again(installation).await.unwrap();
    assert!(!world.comes_in("staging").await);
}

#[tokio::test]
async fn nothing_is_rehearsed_in_production_under_another_name() {
    let world = world().await;
    world.prod.data.lock().unwrap().is_really = Some("memory/staging".to_owned());
    let change = world.held("billing").await;
    let failed = world.until(change, |change| change.rehearsal.contains("same database")).await;
    assert!(failed.rehearsed.is_none());
}
