//! Standing approvals: what they carry, and every way to have them carry more.

use crate::world::{self, NOBODY, World, refused};
use countermand_core::digest::Digest;
use countermand_core::request::ChangeNumber;
use countermand_core::standing::StandingNumber;
use countermand_core::verb::postgres;
use countermand_engine::control::{
    ChangeView, Command, PrepareAct, Reply, Scope, StandingLine, StandingTerms,
};
use countermand_engine::{Admission, Caller, Home, Proposal, Refusal};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

const NIGHTLY: &str = "drop ? where day < ?";

fn hours(world: &World, hours: i64) -> Timestamp {
    world.clock.now() + SignedDuration::from_hours(hours)
}

fn terms(world: &World) -> StandingTerms {
    let until = hours(world, 20);
    StandingTerms { runs: None, apart: 0, until, rows: BTreeMap::new(), seat: None }
}

fn from(change: u64, terms: StandingTerms) -> PrepareAct {
    PrepareAct::ApproveStanding { change: ChangeNumber(change), terms }
}

/// What was told: the change, and whether nobody need be asked about it.
fn held(admission: &Admission<()>) -> (u64, bool) {
    match admission {
        Admission::Refused(Refusal::Held { change, carried, .. }) => (change.0, *carried),
        Admission::Refused(other) => panic!("not held: {other:?}"),
        _ => panic!("it flowed"),
    }
}

impl World {
    async fn shaped(&self, body: &str, shape: &str) -> Proposal {
        let drop = self.proposal(postgres::DROP_SCHEMA, "schema", "billing", body).await;
        let mut proposal = drop;
        proposal.payload.shape = Some(Digest::of(&shape));
        proposal
    }

    /// The agent asks what it asks every night, with another day in it.
    async fn nightly(&self, day: u64) -> (Caller, Admission<()>) {
        let proposal = self.shaped(&format!("drop billing {day}"), NIGHTLY).await;
        let caller = proposal.caller.clone();
        (caller, self.engine.admit(proposal, ()).await.0)
    }

    /// The first night, as an example that waits.
    async fn example(&self) -> u64 {
        let (number, carried) = held(&self.nightly(0).await.1);
        assert!(!carried);
        self.prepared(number).await;
        number
    }

    async fn stands(&self, person: &str, change: u64, terms: StandingTerms) {
        let reply = self.sign(person, from(change, terms)).await;
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }

    async fn standings(&self) -> Vec<StandingLine> {
        match self.engine.control(Command::Standings, NOBODY).await {
            Reply::Standings { standings } => standings,
            other => panic!("{other:?}"),
        }
    }

    async fn revoke(&self, number: u64) -> Reply {
        let standing = StandingNumber(number);
        self.engine.control(Command::EndStanding { standing }, NOBODY).await
    }

    async fn ends(&self, caller: &Caller, change: u64) -> Admission<()> {
        self.engine.outcome(caller, ChangeNumber(change)).await
    }

    /// There is as much as the day before.
    fn refill(&self, rows: u64) {
        self.prod.data.lock().unwrap().tables.insert("billing.costs".to_owned(), rows);
    }

    async fn is_whole(&self) {
        assert_eq!(self.consistency().await.differences, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_nightly_job_runs_by_itself_up_to_what_was_signed() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    assert!(world.show(example).await.approvals.is_empty(), "only later ones are carried");
    world.clock.advance(SignedDuration::from_hours(5));
    let (caller, asked) = world.nightly(1).await;
    let (number, carried) = held(&asked);
    assert!(carried);
    let Admission::Done { outcome, .. } = world.ends(&caller, number).await else { panic!() };
    assert_eq!(outcome.said, ["DROP SCHEMA"]);
    let done = world.show(number).await;
    assert!(done.restore_point.is_some() && done.rehearsed.is_some());
    let words = done.history.iter().map(|(_, words)| words.as_str());
    assert!(
        words.into_iter().any(|words| words == "approved by bob, beforehand: standing approval 1")
    );
    // As soon as one row more could go than was signed for, somebody must look.
    world.refill(1001);
    let (caller, asked) = world.nightly(2).await;
    let (number, carried) = held(&asked);
    assert!(!carried);
    let told = world.ends(&caller, number).await;
    assert_eq!(held(&told), (number, false), "and nobody waits for that");
    assert!(world.prepared(number).await.approvals.is_empty());
    assert_eq!(world.standings().await[0].used, 1);
    world.is_whole().await;
}

#[tokio::test]
async fn a_signer_may_allow_more_rows_or_fewer_than_the_example_had() {
    let world = World::new().await;
    let example = world.example().await;
    let most =
        |rows| StandingTerms { rows: [("billing.costs".to_owned(), rows)].into(), ..terms(&world) };
    let other = StandingTerms { rows: [("shop.orders".to_owned(), 5)].into(), ..terms(&world) };
    assert!(refused(&world.prepare("bob", from(example, other)).await).contains("no rows of"));
    world.stands("bob", example, most(1099)).await;
    assert!(!held(&world.nightly(1).await.1).1, "1100 could go");
    world.stands("bob", example, most(2000)).await;
    world.refill(1800);
    assert!(held(&world.nightly(2).await.1).1);
}

#[tokio::test]
async fn what_differs_in_anything_but_its_rows_is_not_carried() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    let asked = |body: &'static str, shape: &'static str| {
        let world = &world;
        async move {
            let proposal = world.shaped(body, shape).await;
            held(&world.engine.admit(proposal, ()).await.0).1
        }
    };
    assert!(!asked("drop billing 1", "drop ? where day > ?").await, "another shape");
    let mut bare = world.shaped("drop billing 2", NIGHTLY).await;
    bare.payload.shape = None;
    assert!(!held(&world.engine.admit(bare, ()).await.0).1, "none");
    let alter = |what: &str| {
        let mut data = world.prod.data.lock().unwrap();
        data.altered = [("billing.costs".to_owned(), what.to_owned())].into();
    };
    alter("a trigger");
    assert!(!asked("drop billing 3", NIGHTLY).await, "another definition");
    world.prod.data.lock().unwrap().altered.clear();
    world.prod.data.lock().unwrap().tables.insert("billing.more".to_owned(), 0);
    assert!(!asked("drop billing 4", NIGHTLY).await, "another dependent, though it is empty");
    world.prod.data.lock().unwrap().tables.remove("billing.more");
    assert!(asked("drop billing 5", NIGHTLY).await);
}

#[tokio::test]
async fn another_agent_of_the_same_sponsor_is_not_carried() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    world.let_in_as("bot2").await;
    let mut proposal = world.shaped("drop billing 1", NIGHTLY).await;
    proposal.caller = world.engine.open_session("bot2", "prod", "psql", "local").await.unwrap();
    assert!(!held(&world.engine.admit(proposal, ()).await.0).1);
}

#[tokio::test]
async fn the_sponsor_signs_none_and_nobody_without_an_end() {
    let world = World::new().await;
    let example = world.example().await;
    let asked =
        |person: &'static str, terms: StandingTerms| world.prepare(person, from(example, terms));
    assert!(refused(&asked("alice", terms(&world)).await).contains("sponsor"));
    assert!(refused(&asked("mallory", terms(&world)).await).contains("not a person"));
    let of = |until| StandingTerms { until, ..terms(&world) };
    assert!(refused(&asked("bob", of(hours(&world, 24 * 90 + 1))).await).contains("90 days"));
    assert!(refused(&asked("bob", of(hours(&world, 0))).await).contains("90 days"));
    let none = StandingTerms { runs: Some(0), ..terms(&world) };
    assert!(refused(&asked("bob", none).await).contains("no runs"));
    let seat = StandingTerms { seat: Some("dba".parse().unwrap()), ..terms(&world) };
    assert!(refused(&asked("carol", seat).await).contains("not in group"));
    let unshaped = world.held("shop").await;
    world.prepared(unshaped).await;
    let reply = world.prepare("bob", from(unshaped, terms(&world))).await;
    assert!(refused(&reply).contains("no shape"));
}

#[tokio::test]
async fn two_requests_at_once_do_not_share_one_run() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, StandingTerms { runs: Some(1), ..terms(&world) }).await;
    let (first, second) = tokio::join!(world.nightly(1), world.nightly(2));
    let numbers = [held(&first.1).0, held(&second.1).0];
    // Which of them is prepared first is chance.
    let approved = |change: &ChangeView| !change.approvals.is_empty();
    tokio::select! {
        _ = world.until(numbers[0], approved) => {}
        _ = world.until(numbers[1], approved) => {}
    }
    // One is prepared after the other: when the third is, the first two are done with.
    let (third, carried) = held(&world.nightly(3).await.1);
    assert!(!carried, "it is used up");
    world.prepared(third).await;
    let mut approved = Vec::new();
    for number in [numbers[0], numbers[1], third] {
        approved.extend(world.show(number).await.approvals);
    }
    assert_eq!(approved.len(), 1, "{approved:?}");
    assert_eq!(world.standings().await[0].state, "used up");
    world.is_whole().await;
}

#[tokio::test]
async fn a_table_is_not_taken_in_slices_all_in_one_night() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, StandingTerms { apart: 3600, ..terms(&world) }).await;
    world.cool();
    let number = held(&world.nightly(1).await.1).0;
    world.until(number, |change| change.line.state == "executed").await;
    world.refill(1000);
    world.clock.advance(SignedDuration::from_secs(3590));
    let (early, carried) = held(&world.nightly(2).await.1);
    assert!(!carried);
    // While it is open it can become the one that is carried.
    let withdraw = Command::Withdraw { change: ChangeNumber(early) };
    assert!(matches!(world.engine.control(withdraw, NOBODY).await, Reply::Done { .. }));
    world.clock.advance(SignedDuration::from_secs(10));
    assert!(held(&world.nightly(3).await.1).1);
    assert_eq!(world.standings().await[0].state, "in force");
}

#[tokio::test]
async fn a_client_that_goes_away_changes_nothing_and_the_next_is_told() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    let (caller, asked) = world.nightly(1).await;
    let number = held(&asked).0;
    let gone = world.ends(&caller, number);
    let short = std::time::Duration::from_millis(50);
    assert!(tokio::time::timeout(short, gone).await.is_err(), "it cools");
    assert_eq!(held(&world.nightly(1).await.1), (number, true), "the same request waits too");
    world.cool();
    world.until(number, |change| change.line.state == "executed").await;
    assert!(matches!(world.nightly(1).await.1, Admission::Done { .. }));
}

#[tokio::test]
async fn frozen_nothing_is_carried_and_nobody_waits() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    let (caller, asked) = world.nightly(1).await;
    let number = held(&asked).0;
    let freeze = Command::Freeze { what: Scope::Everything, reason: "an incident".to_owned() };
    let (told, _) = tokio::join!(world.ends(&caller, number), world.engine.control(freeze, NOBODY));
    assert_eq!(held(&told).0, number);
    world.cool();
    assert_eq!(world.prod.data.lock().unwrap().runs, 0);
}

#[tokio::test]
async fn it_counts_up_to_its_end_and_not_at_it() {
    let world = World::new().await;
    let example = world.example().await;
    let until = world.clock.now() + SignedDuration::from_secs(100);
    world.stands("bob", example, StandingTerms { until, ..terms(&world) }).await;
    world.clock.advance(SignedDuration::from_secs(50));
    let number = held(&world.nightly(1).await.1).0;
    world.until(number, |change| !change.approvals.is_empty()).await;
    world.clock.advance(SignedDuration::from_secs(50));
    let change = world.show(number).await;
    assert_eq!(
        change.line.missing[..2],
        ["1 approval", "60 s cooling"],
        "it has cooled, and is void"
    );
    assert!(!held(&world.nightly(2).await.1).1);
    assert_eq!(world.prod.data.lock().unwrap().runs, 0);
    assert_eq!(world.standings().await[0].state, "expired");
}

#[tokio::test]
async fn revoked_while_it_cools_it_does_not_run() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    let (caller, asked) = world.nightly(1).await;
    let number = held(&asked).0;
    world.until(number, |change| !change.approvals.is_empty()).await;
    let waiting = world.ends(&caller, number);
    let (told, reply) = tokio::join!(waiting, world.revoke(1));
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    assert_eq!(held(&told), (number, false), "who waited is told");
    world.cool();
    assert!(world.show(number).await.approvals.is_empty());
    assert!(refused(&world.revoke(1).await).contains("has ended before"));
    assert!(refused(&world.revoke(7).await).contains("no standing approval 7"));
    assert!(!held(&world.nightly(2).await.1).1);
    assert_eq!(world.prod.data.lock().unwrap().runs, 0);
    world.is_whole().await;
}

#[tokio::test]
async fn revoked_while_it_runs_it_does_not_commit() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    world.cool();
    world.prod.data.lock().unwrap().stall_run = true;
    let number = held(&world.nightly(1).await.1).0;
    world.until(number, |change| change.line.state == "running").await;
    world.revoke(1).await;
    world.prod.data.lock().unwrap().stall_run = false;
    let change = world.until(number, |change| change.line.state == "held").await;
    assert!(change.approvals.is_empty() && change.executions == 0, "{change:#?}");
    assert_eq!(world.prod.data.lock().unwrap().commits, 0);
    world.is_whole().await;
}

#[tokio::test]
async fn a_statement_stands_once_and_only_as_it_was_given_out() {
    let world = World::new().await;
    let example = world.example().await;
    let act = from(example, StandingTerms { runs: Some(1), ..terms(&world) });
    let Reply::Prepared { statement, type_back, .. } = world.prepare("bob", act).await else {
        panic!()
    };
    assert_eq!(type_back, Some((ChangeNumber(example), 1100)));
    let submit = |statement: String, signature: String| {
        world.engine.control(Command::Submit { statement, signature }, NOBODY)
    };
    for (was, is) in [("1100", "9999"), ("\"runs\":1", "\"runs\":9"), ("\"bot\"", "\"bot2\"")] {
        let altered = statement.replace(was, is);
        assert_ne!(altered, statement, "{statement}");
        let signature = World::signature("bob", &altered);
        refused(&submit(altered, signature).await);
    }
    refused(&submit(statement.clone(), World::signature("carol", &statement)).await);
    let signature = World::signature("bob", &statement);
    let once = submit(statement.clone(), signature.clone()).await;
    assert!(matches!(once, Reply::Done { .. }), "{once:?}");
    refused(&submit(statement, signature).await);
    assert_eq!(world.standings().await.len(), 1);
}

#[tokio::test]
async fn a_no_to_one_change_ends_what_carried_it() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    let numbers = [held(&world.nightly(1).await.1).0, held(&world.nightly(2).await.1).0];
    for number in numbers {
        world.until(number, |change| !change.approvals.is_empty()).await;
    }
    let reason = "not this month".to_owned();
    let reply =
        world.sign("carol", PrepareAct::Reject { change: ChangeNumber(numbers[0]), reason });
    assert!(matches!(reply.await, Reply::Done { .. }));
    assert!(world.show(numbers[1]).await.approvals.is_empty(), "the other change too");
    assert!(world.standings().await[0].state.contains("carol rejected change 2"));
    world.cool();
    assert!(!held(&world.nightly(3).await.1).1);
    assert_eq!(world.prod.data.lock().unwrap().runs, 0);
    world.is_whole().await;
}

#[tokio::test]
async fn a_change_that_somebody_stopped_is_not_carried_again() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    // A second one that overlaps: it does not begin where the first was stopped.
    world.stands("bob", example, terms(&world)).await;
    let number = held(&world.nightly(1).await.1).0;
    world.until(number, |change| !change.approvals.is_empty()).await;
    world.clock.advance(SignedDuration::from_secs(1));
    let stop =
        Command::StopCooling { change: ChangeNumber(number), reason: "look first".to_owned() };
    world.engine.control(stop, NOBODY).await;
    assert_eq!(held(&world.nightly(1).await.1), (number, false));
    world.engine.shutdown().await;
    let World { folder, clock, prod, engine, free } = world;
    drop(engine);
    let home = Home::at(folder.path().join("state"));
    let engine = world::reopened(world::installation(folder.path()), home, &clock, &prod).await;
    let world = World { folder, clock, prod, engine, free };
    world.prepared(number).await;
    world.clock.advance(SignedDuration::from_mins(10));
    world.stands("carol", example, terms(&world)).await;
    let change = world.until(number, |change| !change.approvals.is_empty()).await;
    assert!(change.approvals.len() == 1 && change.approvals[0].starts_with("carol"));
    world.is_whole().await;
}

#[tokio::test]
async fn a_key_that_is_no_longer_the_signers_carries_nothing() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    world.engine.shutdown().await;
    let World { folder, clock, prod, engine, free } = world;
    drop(engine);
    let mut installation = world::installation(folder.path());
    let bob = installation.humans.get_mut(&"bob".parse().unwrap()).unwrap();
    bob.keys = vec![world::key("bob's new key").public_key().clone().into()];
    let home = Home::at(folder.path().join("state"));
    let engine = world::reopened(installation, home, &clock, &prod).await;
    let world = World { folder, clock, prod, engine, free };
    assert!(!held(&world.nightly(1).await.1).1);
}

#[tokio::test]
async fn where_two_peers_are_asked_for_two_must_have_signed() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = world::installation(folder.path());
    let two = r#"@id("site/two") @reason("two peers must approve")
        forbid (principal, action in Action::"Destroy", resource)
        unless { context.evidence.approvals.peers >= 2 };"#;
    installation.policies = vec![("two.cedar".to_owned(), two.to_owned())];
    let world = World::built(folder, installation).await;
    world.let_in().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    world.stands("bob", example, terms(&world)).await;
    let number = held(&world.nightly(1).await.1).0;
    let half = world.until(number, |change| !change.approvals.is_empty()).await;
    assert_eq!(half.approvals.len(), 1, "one human is one peer, however often they signed");
    world.stands("carol", example, terms(&world)).await;
    world.cool();
    world.until(number, |change| change.line.state == "executed").await;
    world.refill(1000);
    assert!(held(&world.nightly(2).await.1).1);
    world.is_whole().await;
}

#[tokio::test]
async fn alone_in_an_installation_a_sponsor_confirms_beforehand() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = world::installation(folder.path());
    installation.humans.retain(|name, _| name.as_str() == "alice");
    let world = World::built(folder, installation).await;
    world.let_in().await;
    let example = world.example().await;
    world.stands("alice", example, terms(&world)).await;
    let number = held(&world.nightly(1).await.1).0;
    let change = world.until(number, |change| !change.approvals.is_empty()).await;
    assert!(change.approvals[0].contains("not peer-reviewed"), "{change:#?}");
    world.cool();
    assert_eq!(world.show(number).await.line.state, "held", "600 s, not 60");
    world.clock.advance(SignedDuration::from_secs(540));
    world.until(number, |change| change.line.state == "executed").await;
}

#[tokio::test]
async fn a_store_that_tells_otherwise_than_the_ledger_is_seen() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    let number = held(&world.nightly(1).await.1).0;
    world.until(number, |change| !change.approvals.is_empty()).await;
    world.is_whole().await;
    world.revoke(1).await;
    world.is_whole().await;
    let store = rusqlite::Connection::open(world.folder.path().join("state/store.sqlite")).unwrap();
    for (damage, repair, differs) in [
        ("UPDATE standing SET ended = NULL", "UPDATE standing SET ended = 'x'", "1 is not as"),
        ("DELETE FROM standing_run", "INSERT INTO standing_run VALUES (1, 2, 0)", "carried is not"),
        (
            "UPDATE standing SET statement = replace(statement, '1100', '9999')",
            "UPDATE standing SET statement = replace(statement, '9999', '1100')",
            "1 is not as",
        ),
        ("DELETE FROM standing", "", "1 is not in the store"),
    ] {
        store.execute_batch(damage).unwrap();
        let found = world.consistency().await.differences;
        assert!(found.iter().any(|words| words.contains(differs)), "{damage}: {found:?}");
        store.execute_batch(repair).unwrap();
    }
}

#[tokio::test]
async fn a_statement_that_was_widened_in_the_store_carries_nothing() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    let store = rusqlite::Connection::open(world.folder.path().join("state/store.sqlite")).unwrap();
    store
        .execute_batch("UPDATE standing SET statement = replace(statement, '1100', '9999')")
        .unwrap();
    world.refill(1500);
    assert!(!held(&world.nightly(1).await.1).1, "its signature no longer holds");
}

#[tokio::test]
async fn it_ends_in_a_copy_that_the_gateway_is_restored_from() {
    let world = World::new().await;
    let example = world.example().await;
    world.stands("bob", example, terms(&world)).await;
    let copied = world.copied().await;
    let (revived, engine) = copied.revived(&world, &world.prod).await;
    assert_eq!(revived.standings, 1);
    let found = engine.control(Command::Consistency, NOBODY).await;
    let Reply::Consistency(found) = found else { panic!("{found:?}") };
    assert_eq!(found.differences, Vec::<String>::new());
    let Reply::Standings { standings } = engine.control(Command::Standings, NOBODY).await else {
        panic!("no standings")
    };
    assert!(standings[0].state.contains("restored from a copy"), "{standings:?}");
}
