//! A change's whole life in the engine, and every way out of it.

#![expect(clippy::unwrap_used, reason = "in tests a failure is a panic")]

mod adopt;
mod backup;
mod configure;
mod doubt;
mod erase;
mod evidence;
mod flows;
mod freeze;
mod incident;
mod memory;
mod observe;
mod own_backups;
mod passkeys;
mod probation;
mod publish;
mod report;
mod rotate;
mod soft_passkey;
mod standing;
mod take_back;
mod twins;
mod watch;
mod world;

use countermand_core::request::ChangeNumber;
use countermand_core::verb::postgres;
use countermand_engine::control::{Command, PrepareAct, Reply, Scope};
use countermand_engine::{Admission, Home, Refusal};
use jiff::SignedDuration;
use world::{NOBODY, World, refused};

#[tokio::test]
async fn what_destroys_is_held_signed_cooled_and_executed_once() {
    let world = World::new().await;
    let number = world.held("billing").await;
    assert_eq!(world.held("billing").await, number, "the same request joins the open change");
    world.prepared(number).await;
    let reply = world.approve("bob", number).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    assert_eq!(world.prod.data.lock().unwrap().runs, 0, "it cools first");
    world.cool();
    let done = world.until(number, |change| change.line.state == "executed").await;
    assert_eq!(done.executions, 1);
    assert!(done.restore_point.is_some());
    assert!(!world.prod.data.lock().unwrap().tables.contains_key("billing.costs"));
    match world.ask("billing").await {
        Admission::Done { change, outcome, .. } => {
            assert_eq!(change.0, number);
            assert_eq!(outcome.said, ["DROP SCHEMA"]);
        }
        _ => panic!("the outcome was not given"),
    }
    assert_ne!(world.held("billing").await, number, "the key was closed: a new request");
    let reply = world
        .sign("bob", PrepareAct::Restore { change: ChangeNumber(number), overwrite: false })
        .await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    assert_eq!(world.prod.data.lock().unwrap().tables["billing.costs"], 1000);
    let found = world.consistency().await;
    assert_eq!((found.differences, found.executed), (vec![], 1));
}

#[tokio::test]
async fn a_write_that_is_not_measured_is_held() {
    let world = World::new().await;
    let update = world.proposal(postgres::UPDATE, "table", "orders", "drop shop").await;
    let (admission, _) = world.engine.admit(update, ()).await;
    assert!(matches!(admission, Admission::Refused(Refusal::Held { .. })));
}

#[tokio::test]
async fn the_sponsor_a_stranger_and_one_human_twice_do_not_count() {
    let world = World::new().await;
    let number = world.held("billing").await;
    assert!(refused(&world.approve("alice", number).await).contains("sponsor"));
    assert!(refused(&world.approve("mallory", number).await).contains("not a person"));
    assert!(matches!(world.approve("bob", number).await, Reply::Done { .. }));
    assert!(refused(&world.approve("bob", number).await).contains("one human, one seat"));
}

#[tokio::test]
async fn a_statement_counts_once_and_only_as_it_was_given_out() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    let act = PrepareAct::Approve { change: ChangeNumber(number), seat: None };
    let Reply::Prepared { statement, .. } = world.prepare("bob", act).await else { panic!() };
    let submit = |statement: String, signature: String| {
        world.engine.control(Command::Submit { statement, signature }, NOBODY)
    };
    let other_hand = World::signature("carol", &statement);
    assert!(refused(&submit(statement.clone(), other_hand).await).contains("not enrolled"));
    let altered = statement.replace("\"limit\":1100", "\"limit\":9999");
    assert_ne!(altered, statement);
    let signature = World::signature("bob", &altered);
    refused(&submit(altered, signature).await);
    let signature = World::signature("bob", &statement);
    let once = submit(statement.clone(), signature.clone()).await;
    assert!(matches!(once, Reply::Done { .. }), "{once:?}");
    refused(&submit(statement, signature).await);
}

#[tokio::test]
async fn a_statement_that_was_made_here_before_is_not_taken_after_it_expired() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    let act = PrepareAct::Approve { change: ChangeNumber(number), seat: None };
    let Reply::Prepared { statement, .. } = world.prepare("bob", act).await else { panic!() };
    world.clock.advance(SignedDuration::from_mins(31));
    let signature = World::signature("bob", &statement);
    let late = world.engine.control(Command::Submit { statement, signature }, NOBODY).await;
    assert!(refused(&late).contains("expired"));
}

#[tokio::test]
async fn in_production_a_plain_key_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = world::installation(folder.path());
    for placement in installation.targets.values_mut() {
        placement.environment = "production".parse().unwrap();
    }
    let world = World::built(folder, installation).await;
    let reply = world.ask_to_let_in("bot").await;
    assert!(refused(&reply).contains("user-verified key"), "{reply:?}");
}

#[tokio::test]
async fn what_was_added_meanwhile_voids_the_approval_and_more_rows_do_not() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    world.approve("bob", number).await;
    let tables = || world.prod.data.lock().unwrap();
    tables().tables.tables_insert("billing.refunds", 1);
    world.cool();
    let voided = world.until(number, |change| change.approvals.is_empty()).await;
    assert!(voided.history.iter().any(|(_, words)| words.contains("billing.refunds was added")));
    assert_eq!(tables().runs, 0);
    world.prepared(number).await;
    world.approve("bob", number).await;
    tables().tables.tables_insert("billing.costs", 1050);
    world.cool();
    let done = world.until(number, |change| change.line.state == "executed").await;
    assert_eq!(done.outcome.unwrap().measured["billing.costs"], 1050);
}

#[tokio::test]
async fn more_rows_than_were_signed_void_the_approval() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    world.approve("bob", number).await;
    world.prod.data.lock().unwrap().tables.tables_insert("billing.costs", 1101);
    world.cool();
    world.until(number, |change| change.approvals.is_empty()).await;
    assert_eq!(world.prod.data.lock().unwrap().runs, 0);
}

#[tokio::test]
async fn an_effect_beyond_what_was_signed_is_rolled_back() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    world.prod.data.lock().unwrap().hidden_rows = 1;
    world.approve("bob", number).await;
    world.cool();
    let change = world.until(number, |change| change.approvals.is_empty()).await;
    assert!(change.history.iter().any(|(_, words)| words.contains("elsewhere")));
    let data = world.prod.data.lock().unwrap();
    assert_eq!((data.runs, data.commits), (1, 0));
}

#[tokio::test]
async fn a_rejected_request_is_refused_with_its_reason_for_a_day() {
    let world = World::new().await;
    let number = world.held("billing").await;
    let reason = "use the archive job".to_owned();
    let act = PrepareAct::Reject { change: ChangeNumber(number), reason };
    assert!(matches!(world.sign("carol", act).await, Reply::Done { .. }));
    for _ in 0..2 {
        match world.ask("billing").await {
            Admission::Refused(Refusal::Rejected { reason, .. }) => {
                assert_eq!(reason, "use the archive job");
            }
            _ => panic!("it was not refused as rejected"),
        }
    }
}

#[tokio::test]
async fn an_end_that_cannot_be_recorded_is_recorded_when_it_can_be() {
    for sick in ["committing", "executed"] {
        let world = World::new().await;
        let number = world.held("billing").await;
        world.prepared(number).await;
        world.approve("bob", number).await;
        let path = world.folder.path().join("state/store.sqlite");
        let store = rusqlite::Connection::open(path).unwrap();
        store
            .execute_batch(&format!(
                "CREATE TRIGGER sick BEFORE INSERT ON event WHEN NEW.event LIKE '%\"{sick}\"%' \
                 BEGIN SELECT RAISE(ABORT, 'the disk is sick'); END"
            ))
            .unwrap();
        world.cool();
        // The commit has happened, where it is what cannot be recorded after it.
        let ran = || {
            let data = world.prod.data.lock().unwrap();
            if sick == "executed" { data.commits == 1 } else { data.runs >= 1 }
        };
        let within = std::time::Duration::from_secs(30);
        let run = async {
            while !ran() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(within, run).await.unwrap();
        if sick == "executed" {
            for _ in 0..100 {
                assert_eq!(world.show(number).await.line.state, "committing");
            }
        } else {
            let back = |view: &countermand_engine::control::ChangeView| {
                let said = |words: &str| view.history.iter().any(|(_, said)| said.contains(words));
                said("could not be recorded") && said("cooling starts again")
            };
            world.until(number, back).await;
            assert_eq!(world.prod.data.lock().unwrap().commits, 0);
        }
        store.execute_batch("DROP TRIGGER sick").unwrap();
        world.cool();
        let done = world.until(number, |view| view.line.state == "executed").await;
        assert_eq!((done.executions, world.prod.data.lock().unwrap().commits), (1, 1), "{sick}");
        assert_eq!(world.consistency().await.differences, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_lost_answer_to_the_commit_is_found_out_and_nothing_runs_twice() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    world.prod.data.lock().unwrap().lose_answer = true;
    world.approve("bob", number).await;
    world.cool();
    let done = world.until(number, |change| change.line.state == "executed").await;
    assert!(done.history.iter().any(|(_, words)| words.contains("found committed")));
    assert_eq!(world.prod.data.lock().unwrap().commits, 1);
}

#[tokio::test]
async fn a_slip_of_the_finger_is_no_stop() {
    let world = World::new().await;
    for what in [
        Scope::Target("shpo".parse().unwrap()),
        Scope::Agent("nobody".parse().unwrap()),
        Scope::Agent(countermand_core::name::AgentName::of_human(&"mallory".parse().unwrap())),
    ] {
        let freeze = Command::Freeze { what, reason: "alarm".into() };
        let reply = world.engine.control(freeze, NOBODY).await;
        assert!(refused(&reply).contains("NOTHING IS FROZEN"), "{reply:?}");
    }
}

#[tokio::test]
async fn frozen_nothing_flows_and_nothing_starts_until_it_is_thawed() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    let freeze = Command::Freeze { what: Scope::Everything, reason: "drill".into() };
    world.engine.control(freeze, NOBODY).await;
    world.approve("bob", number).await;
    world.cool();
    let refused = world.engine.open_session("bot", "prod", "psql", "local").await;
    assert!(matches!(refused, Err(Refusal::Frozen { .. })));
    let thaw = world.sign("carol", PrepareAct::Thaw { what: Scope::Everything }).await;
    assert!(matches!(thaw, Reply::Done { .. }), "{thaw:?}");
    world.until(number, |change| change.line.state == "executed").await;
    let ledger = Command::Ledger { from: 0, limit: 1000 };
    let Reply::Ledger { entries, .. } = world.engine.control(ledger, NOBODY).await else {
        panic!()
    };
    let at = |kind: &str| entries.iter().position(|e| e.line.contains(kind)).unwrap();
    assert!(at("change.approved") < at("freeze.off") && at("freeze.off") < at("change.started"));
}

#[tokio::test]
async fn critical_in_the_radius_is_forbidden_though_the_request_does_not_name_it() {
    let world = World::new().await;
    let tags = ["critical".to_owned()].into();
    world.prod.data.lock().unwrap().tags.insert("billing.costs".into(), tags);
    match world.ask("billing").await {
        Admission::Refused(Refusal::Forbidden { reasons, .. }) => {
            assert!(reasons.iter().any(|reason| reason.policy == "floor/critical"));
        }
        _ => panic!("it was not forbidden"),
    }
}

#[tokio::test]
async fn a_revoked_agent_is_a_stranger_and_its_open_change_does_not_start() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    let known = world.engine.scram_verifier("bot");
    let revoke = Command::RevokeAgent { agent: "bot".parse().unwrap() };
    world.engine.control(revoke, NOBODY).await;
    assert_ne!(world.engine.scram_verifier("bot").stored_key, known.stored_key);
    world.approve("bob", number).await;
    world.cool();
    assert!(world.engine.open_session("bot", "prod", "psql", "local").await.is_err());
    let change = world.show(number).await;
    assert!(change.reasons[0].contains("credential of agent `bot` has ended"), "{change:#?}");
}

#[tokio::test]
async fn a_session_of_an_earlier_credential_is_a_stranger() {
    let world = World::new().await;
    let select = world.proposal(postgres::SELECT, "table", "orders", "select").await;
    let revoke = Command::RevokeAgent { agent: "bot".parse().unwrap() };
    world.engine.control(revoke, NOBODY).await;
    world.let_in().await;
    let (admission, _) = world.engine.admit(select, ()).await;
    assert!(matches!(admission, Admission::Refused(Refusal::Forbidden { .. })));
    let fresh = world.proposal(postgres::SELECT, "table", "orders", "select").await;
    assert!(matches!(world.engine.admit(fresh, ()).await.0, Admission::Allowed(_)));
}

#[tokio::test]
async fn a_gateway_that_was_down_cools_again() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    world.approve("bob", number).await;
    world.engine.shutdown().await;
    let World { folder, clock, prod, engine, free } = world;
    drop(engine);
    clock.advance(SignedDuration::from_mins(10));
    let home = Home::at(folder.path().join("state"));
    let engine = world::reopened(world::installation(folder.path()), home, &clock, &prod).await;
    let world = World { folder, clock, prod, engine, free };
    let change = world.show(number).await;
    assert!(change.history.iter().any(|(_, words)| words.contains("cooling starts again")));
    assert_eq!(change.line.state, "held");
    world.cool();
    world.until(number, |change| change.line.state == "executed").await;
}

/// A world in which the restore of this change was asked for, and cut off.
async fn cut_off() -> (World, u64) {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    world.approve("bob", number).await;
    world.cool();
    world.until(number, |change| change.line.state == "executed").await;
    world.prod.data.lock().unwrap().stall_restore = true;
    let asked = async {
        while world.prod.data.lock().unwrap().restores == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        reply = world.sign("bob", restore(number)) => panic!("it was answered: {reply:?}"),
        () = asked => {}
    }
    // The agent hears of its outcome in between.
    assert!(matches!(world.ask("billing").await, Admission::Done { .. }));
    (world, number)
}

fn restore(number: u64) -> PrepareAct {
    PrepareAct::Restore { change: ChangeNumber(number), overwrite: false }
}

/// It says that it does not know, once, and lets itself be taken back.
async fn in_doubt_and_taken_back(world: &World, number: u64) {
    let again = world.sign("bob", restore(number)).await;
    assert!(matches!(again, Reply::Done { .. }), "{again:?}");
    let change = world.show(number).await;
    let doubts = change.history.iter().filter(|(_, words)| words.contains("is not known"));
    assert_eq!((change.line.state.as_str(), doubts.count()), ("restored", 1), "{change:#?}");
    assert_eq!(world.prod.data.lock().unwrap().tables["billing.costs"], 1000);
    assert_eq!(world.consistency().await.differences, Vec::<String>::new());
}

#[tokio::test]
async fn a_restore_that_was_cut_off_is_in_doubt_and_may_be_tried_again() {
    let (world, number) = cut_off().await;
    in_doubt_and_taken_back(&world, number).await;
    world.tells("countermand_in_doubt_restores 0").await;
}

#[tokio::test]
async fn a_restore_that_a_stop_cut_off_is_in_doubt_from_the_start_on() {
    let (world, number) = cut_off().await;
    world.engine.shutdown().await;
    let World { folder, clock, prod, engine, free } = world;
    drop(engine);
    let home = Home::at(folder.path().join("state"));
    let engine = world::reopened(world::installation(folder.path()), home, &clock, &prod).await;
    let world = World { folder, clock, prod, engine, free };
    let change = world.show(number).await;
    assert!(change.history.iter().any(|(_, words)| words.contains("is not known")), "{change:#?}");
    world.tells("countermand_in_doubt_restores 1").await;
    in_doubt_and_taken_back(&world, number).await;
}

trait Insert {
    fn tables_insert(&mut self, table: &str, rows: u64);
}

impl Insert for std::collections::BTreeMap<String, u64> {
    fn tables_insert(&mut self, table: &str, rows: u64) {
        self.insert(table.to_owned(), rows);
    }
}

#[tokio::test]
async fn taking_back_over_what_changed_since_is_not_for_the_sponsor_alone() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    world.approve("bob", number).await;
    world.cool();
    world.until(number, |change| change.line.state == "executed").await;
    let over = || PrepareAct::Restore { change: ChangeNumber(number), overwrite: true };
    assert!(refused(&world.sign("alice", over()).await).contains("not the sponsor"));
    assert!(matches!(world.sign("bob", over()).await, Reply::Done { .. }));
}

#[tokio::test]
async fn an_approved_change_of_an_earlier_credential_does_not_start() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    world.approve("bob", number).await;
    let revoke = Command::RevokeAgent { agent: "bot".parse().unwrap() };
    world.engine.control(revoke, NOBODY).await;
    world.let_in().await;
    world.cool();
    let change = world.show(number).await;
    assert!(change.reasons[0].contains("credential"), "{change:#?}");
}
