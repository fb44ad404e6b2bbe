//! Whatever people and agents do, in whatever order: nothing runs without all the evidence that
//! policy asked for. Shown from the ledger, not from the engine's own word.

use crate::world::{self, NOBODY, World};
use countermand_core::request::ChangeNumber;
use countermand_core::verb::postgres;
use countermand_engine::control::{ChangeView, Command, PrepareAct, Reply};
use countermand_engine::{Admission, Refusal};
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

async fn step(world: &World, random: &mut StdRng, number: u64) {
    let change = ChangeNumber(number);
    match random.random_range(0..24) {
        0..=4 => {
            let person = ["alice", "bob", "carol"][random.random_range(0..3)];
            world.approve(person, number).await;
        }
        5..=12 => {
            let seconds = random.random_range(1..40);
            world.clock.advance(SignedDuration::from_secs(seconds));
        }
        13 => {
            let table = format!("billing.t{}", random.random_range(0..9));
            world.prod.data.lock().unwrap().tables.insert(table, 1);
        }
        14 => {
            let reason = "wait".to_owned();
            world.engine.control(Command::StopCooling { change, reason }, NOBODY).await;
        }
        15 => {
            world.ask("billing").await;
        }
        _ => {
            // Gives the engine's own work a turn.
            let seen = world.show(number).await.version;
            let wait = world.engine.control(Command::Wait { change, seen }, NOBODY);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(150), wait).await;
        }
    }
}

/// What the ledger says happened to one change: kind, time, body.
async fn history(world: &World, number: u64) -> Vec<(String, Timestamp, Value)> {
    let ledger = Command::Ledger { from: 0, limit: 1000 };
    let Reply::Ledger { entries, .. } = world.engine.control(ledger, NOBODY).await else {
        panic!("no ledger")
    };
    let parsed = entries.iter().map(|entry| serde_json::from_str::<Value>(&entry.line).unwrap());
    let ours = parsed.filter(|leaf| {
        leaf["kind"].as_str().unwrap().starts_with("change.") && leaf["body"]["change"] == number
    });
    ours.map(|leaf| {
        let at = leaf["at"].as_str().unwrap().parse().unwrap();
        (leaf["kind"].as_str().unwrap().to_owned(), at, leaf["body"].clone())
    })
    .collect()
}

/// Recomputes from the ledger whether every start had an approval by a peer, 60 s of cooling, a
/// trial and a rehearsal.
fn check(history: &[(String, Timestamp, Value)]) {
    let (mut peers, mut cooling, mut trial, mut rehearsed) = (0, None, false, false);
    for (kind, at, body) in history {
        match kind.as_str() {
            "change.approved" => {
                assert_ne!(body["event"]["approval"]["human"], "alice", "the sponsor counted");
                assert!(body["signature"].is_string(), "an approval without its signature");
                (peers, cooling) = (peers + 1, Some(*at));
            }
            "change.cooling_restarted" => cooling = cooling.map(|_| *at),
            "change.cooling_stopped" => (peers, cooling) = (0, None),
            "change.voided" => (peers, cooling, trial, rehearsed) = (0, None, false, false),
            "change.trial_taken" => trial = true,
            "change.rehearsed" => rehearsed = true,
            "change.started" => {
                let cooled = at.duration_since(cooling.expect("started without an approval"));
                assert!(peers >= 1 && trial && rehearsed, "{history:#?}");
                assert!(cooled >= SignedDuration::from_secs(60), "{cooled:?}: {history:#?}");
            }
            _ => {}
        }
    }
    let times = |kind: &str| history.iter().filter(|(is, _, _)| is == kind).count();
    assert!(times("change.executed") <= 1);
    assert!(times("change.executed") <= times("change.committing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_without_all_evidence_whatever_people_do() {
    let mut executed = 0;
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        let world = World::new().await;
        let number = world.held("billing").await;
        for _ in 0..30 {
            step(&world, &mut random, number).await;
        }
        let history = history(&world, number).await;
        check(&history);
        executed += u64::from(history.iter().any(|(kind, _, _)| kind == "change.executed"));
        let found = world.consistency().await;
        assert_eq!(found.differences, Vec::<String>::new(), "seed {seed}");
    }
    assert!(executed > 0, "no history came as far as an execution: the test shows nothing");
}

#[tokio::test]
async fn a_rehearsal_that_failed_is_tried_again_and_told_once() {
    let world = World::new().await;
    world.prod.data.lock().unwrap().partner_fails = true;
    let number = world.held("billing").await;
    let failed = |view: &ChangeView| {
        view.history.iter().filter(|(_, said)| said.starts_with("rehearsal failed")).count()
    };
    world.until(number, |view| failed(view) == 1).await;
    let tries = |world: &World| world.prod.data.lock().unwrap().rehearsals;
    let before = tries(&world);
    world.clock.advance(SignedDuration::from_mins(5));
    let again = async {
        while tries(&world) == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), again).await.unwrap();
    assert_eq!(failed(&*world.show(number).await), 1, "failed again is no news");
    world.prod.data.lock().unwrap().partner_fails = false;
    // Whoever is about to approve has it tried at once.
    let act = PrepareAct::Approve { change: ChangeNumber(number), seat: None };
    world.prepare("bob", act).await;
    world.prepared(number).await;
}

#[tokio::test]
async fn a_restore_needs_a_signature_and_only_of_what_was_executed() {
    let world = World::new().await;
    let number = world.held("billing").await;
    let act = PrepareAct::Restore { change: ChangeNumber(number), overwrite: false };
    let reply = world.sign("bob", act).await;
    assert!(world::refused(&reply).contains("only what was executed"));
}

#[tokio::test]
async fn an_agent_that_floods_people_with_changes_is_stopped() {
    let world = World::new().await;
    let ask = async |nth: u32| {
        let body = format!("drop billing {nth}");
        let proposal = world.proposal(postgres::DROP_SCHEMA, "schema", "billing", &body).await;
        match world.engine.admit(proposal, ()).await.0 {
            Admission::Refused(refusal) => refusal,
            _ => panic!("it flowed"),
        }
    };
    for nth in 0..10 {
        assert!(matches!(ask(nth).await, Refusal::Held { .. }), "{nth}");
    }
    let Refusal::CircuitOpen { why } = ask(10).await else { panic!("the circuit is closed") };
    assert!(why.contains("refused"), "{why}");
    world.clock.advance(SignedDuration::from_mins(20));
    for nth in 10..20 {
        assert!(matches!(ask(nth).await, Refusal::Held { .. }), "{nth}");
    }
    world.clock.advance(SignedDuration::from_mins(20));
    let Refusal::CannotJudge { why } = ask(20).await else { panic!("one more was opened") };
    assert!(why.contains("20 open changes: withdraw some"), "{why}");
    let Reply::Changes { changes, .. } = world
        .engine
        .control(Command::Changes { open: true, wanted: Default::default() }, NOBODY)
        .await
    else {
        panic!()
    };
    assert_eq!(changes.len(), 20);
}
