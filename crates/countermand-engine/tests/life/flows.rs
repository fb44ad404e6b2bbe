//! Writes that flow: weighed before their commit, by what they did.

use crate::world::{NOBODY, World, installation};
use countermand_core::limits::{Tally, Written};
use countermand_core::verb::{Verb, postgres};
use countermand_engine::control::{Command, Reply, Writes};
use countermand_engine::{Admission, Images, Proposal, Receipt, Refusal, Weighing};
use jiff::{SignedDuration, Timestamp};

impl World {
    async fn write(&self, verb: Verb, body: &str) -> Proposal {
        let proposal = self.proposal(verb, "table", "orders", body).await;
        Proposal { measurable: true, ..proposal }
    }

    /// Runs up to the commit, and is weighed as having changed so many rows of this table.
    async fn weigh(&self, proposal: Proposal, table: &str, rows: u64) -> (Admission<()>, Receipt) {
        let (admission, receipt) = self.engine.admit(proposal.clone(), ()).await;
        if !matches!(admission, Admission::UpToCommit { .. }) {
            return (admission, receipt);
        }
        let tally = Tally { updated: rows, kept: rows, ..Tally::default() };
        let tables = [(table.to_owned(), tally)].into();
        let written = Written { tables, ..Written::default() };
        let images = Images { transaction: "7".into(), body: proposal.payload.body.clone() };
        let weighing = Weighing { whole: proposal, written, images: Some(images) };
        self.engine.weigh(weighing, vec![receipt], ()).await
    }

    pub(crate) async fn flows(&self, body: &str, rows: u64) -> Result<(), Refusal> {
        let proposal = self.write(postgres::UPDATE, body).await;
        match self.weigh(proposal, "public.orders", rows).await {
            (Admission::Allowed(_), receipt) => {
                self.engine.settle(receipt, Some(true), "UPDATE".into()).await;
                Ok(())
            }
            (Admission::Refused(refusal), _) => Err(refusal),
            _ => panic!("{body}: neither allowed nor refused"),
        }
    }

    async fn entries(&self, kind: &str) -> usize {
        self.engine.control(Command::Checkpoint, NOBODY).await;
        let ledger = Command::Ledger { from: 0, limit: 1000 };
        let Reply::Ledger { entries, .. } = self.engine.control(ledger, NOBODY).await else {
            panic!("no ledger")
        };
        entries.iter().filter(|entry| entry.line.contains(kind)).count()
    }
}

#[tokio::test]
async fn reads_and_small_writes_flow_and_are_in_the_ledger() {
    let world = World::new().await;
    let select = world.proposal(postgres::SELECT, "table", "orders", "select").await;
    assert!(matches!(world.engine.admit(select, ()).await.0, Admission::Allowed(_)));
    let update = world.write(postgres::UPDATE, "update").await;
    let (admission, receipt) = world.engine.admit(update, ()).await;
    assert!(matches!(admission, Admission::UpToCommit { .. }));
    assert_eq!(world.entries("\"flow.intent\"").await, 0, "nothing is committed yet");
    world.engine.settle(receipt, Some(false), "rolled back".into()).await;
    world.flows("drop shop", 100).await.unwrap();
    assert_eq!(world.entries("\"flow.intent\"").await, 1);
    let ledger = Command::Ledger { from: 0, limit: 100 };
    let Reply::Ledger { entries, .. } = world.engine.control(ledger, NOBODY).await else {
        panic!()
    };
    let texts = |kind: &str, text: &str| {
        let of_kind = entries.iter().filter(|e| e.line.contains(kind));
        of_kind.flat_map(|e| e.texts.values()).filter(|found| found.contains(text)).count()
    };
    assert_eq!(texts("flow.batch", "select"), 1, "the read");
    assert_eq!(texts("flow.batch", "update"), 1, "what was rolled back");
    assert_eq!(texts("flow.intent", "drop shop"), 2, "payload and images");
}

#[tokio::test]
async fn what_is_beyond_a_limit_is_held_and_says_which() {
    let world = World::new().await;
    let Err(Refusal::Held { change, beyond, .. }) = world.flows("drop shop", 101).await else {
        panic!("it flowed")
    };
    assert!(beyond[0].contains("101 rows") && beyond[0].contains("100"), "{beyond:?}");
    assert_eq!(world.entries("\"flow.intent\"").await, 0);
    // The same again joins the change before anything runs.
    let again = world.write(postgres::UPDATE, "drop shop").await;
    let (admission, _) = world.engine.admit(again, ()).await;
    let Admission::Refused(Refusal::Held { change: joined, .. }) = admission else { panic!() };
    assert_eq!(joined, change);
}

#[tokio::test]
async fn many_small_steps_are_one_large_one() {
    let world = World::new().await;
    for step in 0..10 {
        world.flows(&format!("update {step}"), 100).await.unwrap();
    }
    let refused = world.flows("drop shop", 1).await;
    let Err(Refusal::Held { beyond, .. }) = refused else { panic!("it flowed: {refused:?}") };
    assert!(beyond[0].contains("within the hour"), "{beyond:?}");
    world.clock.advance(SignedDuration::from_secs(3661));
    world.flows("update later", 100).await.unwrap();
}

#[tokio::test]
async fn what_was_not_committed_counts_in_no_window() {
    let world = World::new().await;
    for step in 0..15 {
        let proposal = world.write(postgres::UPDATE, &format!("update {step}")).await;
        let (admission, receipt) = world.weigh(proposal, "public.orders", 100).await;
        assert!(matches!(admission, Admission::Allowed(_)), "step {step}");
        world.engine.settle(receipt, Some(false), "rolled back".into()).await;
    }
}

#[tokio::test]
async fn two_at_once_do_not_both_take_the_last_of_a_window() {
    let world = World::new().await;
    for step in 0..9 {
        world.flows(&format!("update {step}"), 100).await.unwrap();
    }
    let flow = |n: u32| {
        let world = &world;
        async move { world.flows(&format!("drop shop {n}"), 60).await.is_ok() }
    };
    let flowed = tokio::join!(flow(1), flow(2), flow(3), flow(4));
    let flowed = [flowed.0, flowed.1, flowed.2, flowed.3];
    assert_eq!(flowed.iter().filter(|flowed| **flowed).count(), 1, "{flowed:?}");
}

#[tokio::test]
async fn a_critical_table_reached_by_another_name_is_forbidden() {
    let folder = tempfile::tempdir().unwrap();
    let mut installed = installation(folder.path());
    let prod = installed.targets.get_mut(&"prod".parse().unwrap()).unwrap();
    prod.object_tags.insert("public.ledger".into(), ["critical".to_owned()].into());
    let world = World::built(folder, installed).await;
    world.let_in().await;
    let proposal = world.write(postgres::INSERT, "insert into a view").await;
    let (admission, _) = world.weigh(proposal, "public.ledger", 1).await;
    let Admission::Refused(Refusal::Forbidden { reasons, .. }) = admission else {
        panic!("it was not forbidden")
    };
    assert_eq!(reasons[0].policy, "floor/critical");
}

#[tokio::test]
async fn frozen_or_revoked_it_does_not_commit() {
    let world = World::new().await;
    let proposal = world.write(postgres::UPDATE, "update").await;
    let (admission, receipt) = world.engine.admit(proposal.clone(), ()).await;
    assert!(matches!(admission, Admission::UpToCommit { .. }));
    let revoke = Command::RevokeAgent { agent: "bot".parse().unwrap() };
    world.engine.control(revoke, NOBODY).await;
    let weighing = Weighing { whole: proposal, written: Written::default(), images: None };
    let (admission, _) = world.engine.weigh(weighing, vec![receipt], ()).await;
    assert!(matches!(admission, Admission::Refused(Refusal::Frozen { .. })));
}

#[tokio::test]
async fn low_disk_warns_then_refuses_writes_while_reads_flow() {
    let world = World::new().await;
    world.fill(14).await;
    let Reply::Status(status) = world.engine.control(Command::Status, NOBODY).await else {
        panic!("no status")
    };
    assert!(status.disk.unwrap().starts_with("14 % of the disk of"));
    world.flows("update", 1).await.unwrap();
    let running = world.write(postgres::UPDATE, "update 2").await;
    let (admission, receipt) = world.engine.admit(running.clone(), ()).await;
    assert!(matches!(admission, Admission::UpToCommit { .. }));

    world.fill(4).await;
    // What ran up to its commit does not commit, and what comes now does not run.
    let weighing = Weighing { whole: running, written: Written::default(), images: None };
    let (admission, _) = world.engine.weigh(weighing, vec![receipt], ()).await;
    assert!(matches!(admission, Admission::Refused(Refusal::LowDisk { .. })));
    for _ in 0..20 {
        let refused = world.flows("update 3", 1).await;
        assert!(matches!(refused, Err(Refusal::LowDisk { .. })), "{refused:?}");
    }
    assert!(matches!(world.ask("billing").await, Admission::Refused(Refusal::LowDisk { .. })));
    let select = world.proposal(postgres::SELECT, "table", "orders", "select").await;
    assert!(matches!(world.engine.admit(select, ()).await.0, Admission::Allowed(_)));

    // No circuit opened: it was not the agent's doing.
    world.fill(5).await;
    world.flows("update 3", 1).await.unwrap();
}

/// 0 of 0 bytes is no share that any rule compares: that there is no size is what they alarm at.
#[tokio::test]
async fn a_disk_that_cannot_be_measured_is_told_as_one_without_a_size() {
    let world = World::new().await;
    world.fill(crate::world::UNMEASURED).await;
    world.tells("countermand_disk_size_bytes{folder=\"state\"} 0").await;
    world.tells("countermand_disk_free_bytes{folder=\"restore_points\"} 0").await;
    let rules = include_str!("../../../../docs/countermand.rules.yml");
    assert!(rules.contains("or countermand_disk_size_bytes == 0"));
}

/// What may rise later can be seen to rise.
#[tokio::test]
async fn what_is_alarmed_at_is_there_before_it_counts() {
    let world = World::new().await;
    let refused = "target=\"prod\",agent=\"bot\",effect=\"grant\",decision=\"forbidden\"";
    world.tells(&format!("countermand_requests_total{{{refused}}} 0")).await;
    world.tells(&format!("countermand_weighed_total{{{refused}}} 0")).await;
    world.tells("countermand_change_events_total{target=\"prod\",event=\"in_doubt\"} 0").await;
    world.tells("countermand_recorded_entries_total{kind=\"session.refused\"} 0").await;
    world.tells("countermand_refused_logins_total 0").await;
}

#[tokio::test]
async fn who_is_not_let_in_is_counted() {
    let world = World::new().await;
    for (agent, target) in [("nobody", "prod"), ("bot", "elsewhere"), ("\"\n", "prod")] {
        world.engine.open_session(agent, target, "", "peer").await.unwrap_err();
    }
    world.tells("countermand_refused_logins_total 3").await;
}

/// What runs too far is told no after it was let run: it is counted, too.
#[tokio::test]
async fn what_was_stopped_while_it_ran_is_counted() {
    let world = World::new().await;
    let running = world.write(postgres::UPDATE, "update 2").await;
    let told: Admission<()> = world.engine.too_much(running, Vec::new()).await;
    assert!(matches!(told, Admission::Refused(_)));
    // What the test's target does not understand cannot be measured either.
    let no = "target=\"prod\",agent=\"bot\",effect=\"write\",decision=\"cannot_judge\"";
    world.tells(&format!("countermand_weighed_total{{{no}}} 1")).await;
}

/// Two older changes expire meanwhile: the engine has looked after its changes, twice.
#[tokio::test]
async fn low_disk_starts_no_change_until_there_is_room() {
    let world = World::new().await;
    let first = world.held("shop").await;
    world.clock.advance(SignedDuration::from_mins(1));
    let again = world.proposal(postgres::DROP_SCHEMA, "schema", "shop", "drop shop again").await;
    let (admission, _) = world.engine.admit(again, ()).await;
    let Admission::Refused(Refusal::Held { change: second, .. }) = admission else {
        panic!("it was not held")
    };
    world.clock.advance(SignedDuration::from_hours(23));
    let number = world.held("billing").await;
    world.prepared(number).await;
    world.fill(4).await;
    world.approve("bob", number).await;
    world.clock.advance(SignedDuration::from_mins(59));
    world.until(first, |change| change.line.state == "expired").await;
    world.clock.advance(SignedDuration::from_mins(1));
    world.until(second.0, |change| change.line.state == "expired").await;
    let waiting = world.show(number).await;
    assert!(!waiting.history.iter().any(|(_, words)| words.contains("started")), "{waiting:#?}");
    world.fill(50).await;
    let done = world.until(number, |change| change.line.state == "executed").await;
    assert_eq!(done.executions, 1);
}

#[tokio::test]
async fn who_is_refused_again_and_again_writes_nothing_for_a_while() {
    let world = World::new().await;
    for n in 0..10 {
        let grant = world.write(postgres::GRANT, &format!("grant {n}")).await;
        let (admission, _) = world.engine.admit(grant, ()).await;
        assert!(matches!(admission, Admission::Refused(Refusal::Forbidden { .. })));
    }
    let refused = world.flows("update", 1).await;
    assert!(matches!(refused, Err(Refusal::CircuitOpen { .. })), "{refused:?}");
    let select = world.proposal(postgres::SELECT, "table", "orders", "select").await;
    assert!(matches!(world.engine.admit(select, ()).await.0, Admission::Allowed(_)));
    world.clock.advance(SignedDuration::from_secs(601));
    world.flows("update", 1).await.unwrap();
}

#[tokio::test]
async fn what_may_have_been_committed_counts_and_can_be_taken_back() {
    let world = World::new().await;
    for step in 0..10 {
        let proposal = world.write(postgres::UPDATE, &format!("update {step}")).await;
        let (admission, receipt) = world.weigh(proposal, "public.orders", 100).await;
        assert!(matches!(admission, Admission::Allowed(_)), "step {step}");
        world.engine.settle(receipt, None, "the session was cut".into()).await;
    }
    let refused = world.flows("drop shop", 1).await;
    assert!(matches!(refused, Err(Refusal::Held { .. })), "{refused:?}");
    let writes = Writes {
        agent: "bot".parse().unwrap(),
        target: None,
        since: Timestamp::UNIX_EPOCH,
        until: None,
    };
    let plan = world.engine.control(Command::PlanTakeBack { writes }, NOBODY).await;
    let Reply::RestorePlan(plan) = plan else { panic!("{plan:?}") };
    assert_eq!(plan.rows.len(), 10);
}

#[tokio::test]
async fn what_only_takes_a_number_is_measured_too() {
    let world = World::new().await;
    for verb in [postgres::ADVANCE_SEQUENCE, postgres::NOTIFY, postgres::LOCK_ROWS] {
        let proposal = world.write(verb, "select nextval('s'), sneak()").await;
        let (admission, receipt) = world.engine.admit(proposal, ()).await;
        assert!(matches!(admission, Admission::UpToCommit { .. }), "{verb}");
        world.engine.settle(receipt, Some(false), "rolled back".into()).await;
    }
}

#[tokio::test]
async fn what_nobody_waits_for_while_it_is_weighed_is_recorded_all_the_same() {
    let world = World::new().await;
    let update = world.write(postgres::UPDATE, "update").await;
    let (_, receipt) = world.engine.admit(update.clone(), ()).await;
    let tally = Tally { updated: 1, kept: 1, ..Tally::default() };
    let tables = [("public.orders".to_owned(), tally)].into();
    let written = Written { tables, ..Written::default() };
    let weighing = Weighing { whole: update, written, images: None };
    let mut weighed = Box::pin(world.engine.weigh(weighing, vec![receipt], ()));
    std::future::poll_fn(|context| {
        assert!(weighed.as_mut().poll(context).is_pending(), "the store answers at once");
        std::task::Poll::Ready(())
    })
    .await;
    drop(weighed);
    let ended = world.entries("\"ok\":false").await;
    assert_eq!(ended, 1);
}
