//! What an agent wrote without asking, from its weighing to its being taken back.

use crate::world::{self, NOBODY, World, refused};
use countermand_core::effect::Effect;
use countermand_core::limits::{Tally, Written};
use countermand_core::policy::Grant;
use countermand_core::verb::postgres;
use countermand_engine::control::{Command, PrepareAct, Reply, Scope, Writes};
use countermand_engine::{Admission, Home, Images, Proposal, Weighing};
use jiff::{SignedDuration, Timestamp};

/// The agent changes one row of a target, within its limits.
async fn flow(world: &World, target: &str, images: &str) {
    let mut whole = world.proposal(postgres::UPDATE, "table", "shop.orders", images).await;
    whole.caller = world.engine.open_session("bot", target, "psql", "local").await.unwrap();
    whole.target = target.parse().unwrap();
    let whole = Proposal { measurable: true, ..whole };
    let (admission, receipt) = world.engine.admit(whole.clone(), ()).await;
    assert!(matches!(admission, Admission::UpToCommit { .. }));
    let tally = Tally { updated: 1, kept: 1, ..Tally::default() };
    let tables = [("shop.orders".to_owned(), tally)].into();
    let written = Written { tables, kept_bytes: 10, ..Written::default() };
    let images = Some(Images { transaction: "7".into(), body: images.into() });
    let weighing = Weighing { whole, written, images };
    let (admission, receipt) = world.engine.weigh(weighing, vec![receipt], ()).await;
    assert!(matches!(admission, Admission::Allowed(_)));
    world.engine.settle(receipt, Some(true), "COMMIT".into()).await;
}

fn writes(world: &World, target: Option<&str>) -> Writes {
    let target = target.map(|target| target.parse().unwrap());
    let since = world.clock.now() - SignedDuration::from_mins(10);
    Writes { agent: "bot".parse().unwrap(), target, since, until: None }
}

fn act(world: &World, overwrite: bool) -> PrepareAct {
    PrepareAct::TakeBack { writes: writes(world, None), overwrite }
}

fn taken(world: &World) -> Vec<String> {
    world.prod.data.lock().unwrap().taken_back.clone()
}

async fn ledger(world: &World) -> Vec<String> {
    let command = Command::Ledger { from: 0, limit: 1000 };
    let Reply::Ledger { entries, .. } = world.engine.control(command, NOBODY).await else {
        panic!("no ledger")
    };
    entries.into_iter().map(|entry| entry.line).collect()
}

#[tokio::test]
async fn what_flowed_is_taken_back_by_a_signature_and_both_are_in_the_ledger() {
    let world = World::new().await;
    flow(&world, "prod", "first").await;
    world.clock.advance(SignedDuration::from_mins(20));
    flow(&world, "prod", "second").await;
    flow(&world, "prod", "third").await;
    let plan = Command::PlanTakeBack { writes: writes(&world, None) };
    let Reply::RestorePlan(plan) = world.engine.control(plan, NOBODY).await else { panic!() };
    assert_eq!(plan.rows.keys().collect::<Vec<_>>(), ["second", "third"]);
    assert!(taken(&world).is_empty(), "a plan does nothing");
    let reply = world.sign("alice", act(&world, false)).await;
    assert!(matches!(&reply, Reply::Done { words, .. } if words.contains("2 rows")), "{reply:?}");
    assert_eq!(taken(&world), ["second", "third"]);
    let lines = ledger(&world).await;
    let at = |kind: &str| lines.iter().position(|line| line.contains(kind)).unwrap();
    assert!(at("flow.intent") < at("take_back.intended"));
    assert!(at("take_back.intended") < at("take_back.done"));
    assert_eq!(world.consistency().await.differences, Vec::<String>::new());
}

#[tokio::test]
async fn a_stranger_takes_nothing_back_nor_does_a_signature_twice_or_for_another() {
    let world = World::new().await;
    flow(&world, "prod", "first").await;
    refused(&world.sign("mallory", act(&world, false)).await);
    let Reply::Prepared { statement, .. } = world.prepare("bob", act(&world, false)).await else {
        panic!("not prepared")
    };
    let submit = |statement: &str, by: &str| {
        let (statement, signature) = (statement.to_owned(), World::signature(by, statement));
        world.engine.control(Command::Submit { statement, signature }, NOBODY)
    };
    refused(&submit(&statement, "carol").await);
    let wider = statement.replace("\"overwrite\":false", "\"overwrite\":true");
    assert_ne!(wider, statement);
    assert!(taken(&world).is_empty());
    assert!(matches!(submit(&statement, "bob").await, Reply::Done { .. }));
    refused(&submit(&statement, "bob").await);
    refused(&submit(&wider, "bob").await);
    assert_eq!(taken(&world), ["first"]);
}

#[tokio::test]
async fn over_what_changed_since_another_than_the_sponsor_signs() {
    let world = World::new().await;
    flow(&world, "prod", "first").await;
    let reply = world.sign("alice", act(&world, true)).await;
    assert!(refused(&reply).contains("a reviewer who is not the sponsor"), "{reply:?}");
    assert!(taken(&world).is_empty());
    let reply = world.sign("bob", act(&world, true)).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    assert_eq!(taken(&world), ["first"]);
}

#[tokio::test]
async fn what_a_frozen_agent_wrote_is_taken_back_and_a_frozen_target_stays_as_it_is() {
    let world = World::new().await;
    flow(&world, "prod", "first").await;
    let freeze = |what: Scope| Command::Freeze { what, reason: "drill".into() };
    world.engine.control(freeze(Scope::Target("prod".parse().unwrap())), NOBODY).await;
    refused(&world.sign("bob", act(&world, false)).await);
    assert!(taken(&world).is_empty());
    let thaw = PrepareAct::Thaw { what: Scope::Target("prod".parse().unwrap()) };
    assert!(matches!(world.sign("carol", thaw).await, Reply::Done { .. }));
    world.engine.control(freeze(Scope::Agent("bot".parse().unwrap())), NOBODY).await;
    let reply = world.sign("bob", act(&world, false)).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    assert_eq!(taken(&world), ["first"]);
}

#[tokio::test]
async fn in_production_a_plain_key_takes_nothing_back() {
    let world = World::new().await;
    flow(&world, "prod", "first").await;
    world.engine.shutdown().await;
    let World { folder, clock, prod, engine, free } = world;
    drop(engine);
    let mut installation = world::installation(folder.path());
    let place = installation.targets.get_mut(&"prod".parse().unwrap()).unwrap();
    place.environment = "production".parse().unwrap();
    let home = Home::at(folder.path().join("state"));
    let engine = world::reopened(installation, home, &clock, &prod).await;
    let world = World { folder, clock, prod, engine, free };
    let reply = world.sign("bob", act(&world, false)).await;
    assert!(refused(&reply).contains("security key"), "{reply:?}");
    assert!(taken(&world).is_empty());
}

#[tokio::test]
async fn which_target_is_said_where_the_agent_wrote_to_several() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = world::installation(folder.path());
    let targets = ["prod".parse().unwrap(), "staging".parse().unwrap()].into();
    let grant = Grant { targets, effects: [Effect::Read, Effect::Write].into() };
    installation.humans.get_mut(&"alice".parse().unwrap()).unwrap().sponsors = Some(grant.clone());
    let world = World::built(folder, installation).await;
    let agent = "bot".parse().unwrap();
    let reply = world.sign("alice", PrepareAct::AddAgent { agent, grant, lifetime: 3600 }).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    let reply = world.sign("bob", act(&world, false)).await;
    assert!(refused(&reply).contains("wrote nothing in that time"), "{reply:?}");
    flow(&world, "prod", "first").await;
    flow(&world, "staging", "elsewhere").await;
    let reply = world.sign("bob", act(&world, false)).await;
    assert!(refused(&reply).contains("--target: prod, staging"), "{reply:?}");
    assert!(taken(&world).is_empty());
    let named = PrepareAct::TakeBack { writes: writes(&world, Some("prod")), overwrite: false };
    assert!(matches!(world.sign("bob", named).await, Reply::Done { .. }));
    assert_eq!(taken(&world), ["first"]);
    let before = Timestamp::from_second(0).unwrap();
    let long_ago = Writes { since: before, until: Some(before), ..writes(&world, Some("prod")) };
    let reply =
        world.sign("bob", PrepareAct::TakeBack { writes: long_ago, overwrite: false }).await;
    assert!(refused(&reply).contains("wrote nothing in that time"), "{reply:?}");
}
