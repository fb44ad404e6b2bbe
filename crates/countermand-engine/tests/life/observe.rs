//! A target that is observed: what flows, what does not, and every way to have it last.

use crate::world::{NOBODY, World, installation, refused};
use countermand_core::configuration::Configuration;
use countermand_core::effect::Effect;
use countermand_core::limits::{Tally, Written};
use countermand_core::policy::Grant;
use countermand_core::verb::postgres;
use countermand_engine::control::{Command, PrepareAct, Reply, Scope, Writes};
use countermand_engine::observe::{ObserveReport, ObservedLine};
use countermand_engine::{Admission, Images, Installation, Proposal, Receipt, Refusal, Weighing};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const DAY: i64 = 24 * 3600;

/// With production observed for so many days; not at all for none.
fn observing(days: Option<u8>, folder: &std::path::Path) -> Installation {
    let mut installation = installation(folder);
    installation.configuration = observed(installation.configuration, days);
    installation
}

fn observed(mut configuration: Configuration, days: Option<u8>) -> Configuration {
    if let Some(days) = days {
        configuration.settings["targets"]["prod"]["observe"] = json!({ "days": days });
    }
    configuration
}

fn propose(configuration: &Configuration) -> PrepareAct {
    PrepareAct::ProposeConfiguration { configuration: Box::new(configuration.clone()) }
}

impl World {
    async fn observing(days: u8) -> World {
        let folder = tempfile::tempdir().unwrap();
        let installed = observing(Some(days), folder.path());
        let world = World::built(folder, installed).await;
        world.let_in_for_long().await;
        world
    }

    /// The agent outlives every observation here.
    async fn let_in_for_long(&self) {
        let targets = ["prod".parse().unwrap()].into();
        let effects = [Effect::Read, Effect::Write, Effect::Destroy].into();
        let (agent, grant) = ("bot".parse().unwrap(), Grant { targets, effects });
        let add = PrepareAct::AddAgent { agent, grant, lifetime: 60 * 86_400 };
        let reply = self.sign("alice", add).await;
        assert!(matches!(reply, Reply::Done { credential: Some(_), .. }), "{reply:?}");
    }

    async fn drops(&self, schema: &str) -> Proposal {
        let body = format!("drop {schema}");
        self.proposal(postgres::DROP_SCHEMA, "schema", schema, &body).await
    }

    /// Runs it up to its commit, and weighs it as having done this.
    async fn flows_as(&self, proposal: Proposal, written: Written) -> Result<Receipt, Refusal> {
        let (admission, receipt) = self.engine.admit(proposal.clone(), ()).await;
        match admission {
            Admission::UpToCommit { observed, .. } => assert!(observed, "it would be stopped"),
            Admission::Refused(refusal) => return Err(refusal),
            _ => panic!("neither refused nor weighed"),
        }
        let images = Images { transaction: "7".into(), body: proposal.payload.body.clone() };
        let weighing = Weighing { whole: proposal, written, images: Some(images) };
        match self.engine.weigh(weighing, vec![receipt], ()).await {
            (Admission::Allowed(_), receipt) => Ok(receipt),
            (Admission::Refused(refusal), _) => Err(refusal),
            _ => panic!("neither allowed nor refused"),
        }
    }

    /// The agent drops a schema: what it is told, or nothing.
    async fn dropped(&self, schema: &str) -> Result<(), Refusal> {
        let odd = vec!["it dropped a table".to_owned()];
        let written = Written { odd, ..Written::default() };
        let receipt = self.flows_as(self.drops(schema).await, written).await?;
        self.engine.settle(receipt, Some(true), "DROP".into()).await;
        Ok(())
    }

    async fn deleted(&self, rows: u64) -> Result<(), Refusal> {
        let body = format!("delete {rows}");
        let proposal = self.proposal(postgres::DELETE, "table", "public.orders", &body).await;
        let tally = Tally { deleted: rows, kept: rows, ..Tally::default() };
        let tables = [("public.orders".to_owned(), tally)].into();
        let written = Written { tables, ..Written::default() };
        let proposal = Proposal { measurable: true, ..proposal };
        let receipt = self.flows_as(proposal, written).await?;
        self.engine.settle(receipt, Some(true), "DELETE".into()).await;
        Ok(())
    }

    async fn intents(&self) -> Vec<Value> {
        let ledger = Command::Ledger { from: 0, limit: 1000 };
        let Reply::Ledger { entries, .. } = self.engine.control(ledger, NOBODY).await else {
            panic!("no ledger")
        };
        let entries = entries.into_iter().filter(|entry| entry.line.contains("\"flow.intent\""));
        let whole = |entry: countermand_engine::control::LedgerEntry| {
            let leaf: Value = serde_json::from_str(&entry.line).unwrap();
            json!({ "leaf": leaf, "texts": entry.texts })
        };
        entries.map(whole).collect()
    }

    async fn observe_report(&self) -> Box<ObserveReport> {
        let command = Command::ObserveReport {
            target: "prod".parse().unwrap(),
            since: Timestamp::UNIX_EPOCH,
        };
        match self.engine.control(command, NOBODY).await {
            Reply::ObserveReport(report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Where nothing is held now.
    async fn unheld(&self) -> Vec<ObservedLine> {
        match self.engine.control(Command::Status, NOBODY).await {
            Reply::Status(status) => status.observed,
            other => panic!("{other:?}"),
        }
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }
}

#[tokio::test]
async fn what_would_be_held_flows_and_the_ledger_says_what_would_have_been() {
    let world = World::observing(14).await;
    world.dropped("billing").await.unwrap();
    world.deleted(5_000).await.unwrap();
    let intents = world.intents().await;
    let said = |n: usize, words: &str| {
        let all = intents[n].to_string();
        assert!(all.contains(words), "{words}: {all:#}");
    };
    said(0, "observed: would have been held, waiting for 1 approval");
    said(0, "floor/hard-stop");
    said(0, "1000 rows");
    said(1, "it changes 5000 rows, and 100 may flow in one transaction");
    assert!(intents[0]["texts"]["images"].is_null(), "half of it would be taken back as all of it");
    assert_eq!(intents[1]["texts"]["images"], "delete 5000");
    let Reply::Changes { changes, .. } = world
        .engine
        .control(Command::Changes { open: false, wanted: Default::default() }, NOBODY)
        .await
    else {
        panic!("no changes")
    };
    assert!(changes.is_empty(), "nothing was held: {changes:?}");
    let words = world.unheld().await[0].to_string();
    assert_eq!(words, "prod: OBSERVED, NOTHING IS HELD until 2027-01-29T08:00:00Z");
}

#[tokio::test]
async fn it_ends_by_itself_to_the_second_and_so_do_its_sessions() {
    let world = World::observing(14).await;
    let before = world.drops("shop").await;
    world.pass(14 * DAY - 1);
    world.dropped("billing").await.unwrap();
    // One that runs over the end does not commit, and nothing of its session goes on.
    let running = world.drops("shop again").await;
    let (admission, receipt) = world.engine.admit(running.clone(), ()).await;
    assert!(matches!(admission, Admission::UpToCommit { observed: true, .. }));
    world.pass(1);
    let weighing = Weighing { whole: running, written: Written::default(), images: None };
    let (admission, _) = world.engine.weigh(weighing, vec![receipt], ()).await;
    assert!(matches!(admission, Admission::Refused(Refusal::Frozen { .. })), "it committed");
    let (admission, _) = world.engine.admit(before, ()).await;
    assert!(matches!(admission, Admission::Refused(Refusal::Frozen { .. })), "its session goes on");
    let select = world.proposal(postgres::SELECT, "table", "orders", "select").await;
    assert!(matches!(world.engine.admit(select, ()).await.0, Admission::Allowed(_)));
    let held = world.dropped("shop").await;
    assert!(matches!(held, Err(Refusal::Held { .. })), "{held:?}");
    assert!(world.unheld().await.is_empty());
}

#[tokio::test]
async fn what_is_forbidden_rejected_or_frozen_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut installed = observing(Some(14), folder.path());
    let prod = installed.targets.get_mut(&"prod".parse().unwrap()).unwrap();
    prod.object_tags.insert("billing.costs".into(), ["critical".to_owned()].into());
    let world = World::built(folder, installed).await;
    world.let_in().await;
    let grant = world.proposal(postgres::GRANT, "table", "orders", "grant").await;
    let told = world.flows_as(grant, Written::default()).await;
    assert!(matches!(told, Err(Refusal::Forbidden { .. })), "{told:?}");
    // By its name nothing of it is critical; by its effect it is.
    let critical = ["critical".to_owned()].into();
    world.prod.data.lock().unwrap().tags.insert("billing.costs".into(), critical);
    let told = world.dropped("billing").await;
    let Err(Refusal::Forbidden { reasons, .. }) = told else { panic!("{told:?}") };
    assert_eq!(reasons[0].policy, "floor/critical");
    // What cannot be measured may be that.
    let body = "what the target does not understand";
    let odd = world.proposal(postgres::DROP_SCHEMA, "schema", "shop", body).await;
    let unmeasured = world.flows_as(odd, Written::default()).await;
    assert!(matches!(unmeasured, Err(Refusal::CannotJudge { .. })), "{unmeasured:?}");
    let code = world.proposal(postgres::DO, "code", "block", "drop shop").await;
    let opaque = world.flows_as(code, Written::default()).await;
    assert!(matches!(opaque, Err(Refusal::CannotJudge { .. })), "{opaque:?}");
    // Nor is it, where it is found out only after it ran.
    let insert = world.proposal(postgres::INSERT, "view", "public.v", "insert").await;
    let tally = Tally { inserted: 1, ..Tally::default() };
    let written =
        Written { tables: [("billing.costs".to_owned(), tally)].into(), ..Written::default() };
    let told = world.flows_as(Proposal { measurable: true, ..insert }, written).await;
    assert!(matches!(told, Err(Refusal::Forbidden { .. })), "{told:?}");
    let freeze = Command::Freeze { what: Scope::Everything, reason: "stop".into() };
    world.engine.control(freeze, NOBODY).await;
    let frozen = world.engine.open_session("bot", "prod", "psql", "local").await;
    assert!(matches!(frozen, Err(Refusal::Frozen { .. })), "{frozen:?}");
    let report = world.sign("bob", PrepareAct::Thaw { what: Scope::Everything }).await;
    assert!(matches!(report, Reply::Done { .. }), "{report:?}");
    let report = world.observe_report().await;
    assert!(report.forbidden.iter().any(|one| one.policies == ["floor/critical"]), "{report:#?}");
}

#[tokio::test]
async fn what_was_held_or_rejected_before_is_not_let_through() {
    let world = World::new().await;
    let number = world.held("billing").await;
    let reject = PrepareAct::Reject {
        change: countermand_core::request::ChangeNumber(number),
        reason: "no".into(),
    };
    world.sign("bob", reject).await;
    world.held("shop").await;
    let wanted = observed(installation(world.folder.path()).configuration, Some(14));
    world.sign("alice", propose(&wanted)).await;
    world.sign("bob", PrepareAct::ApproveConfiguration { number: 2 }).await;
    world.pass(60);
    world.engine.control(Command::Configurations, NOBODY).await;
    let installed = observing(Some(14), world.folder.path());
    let world = world.again(installed).await.unwrap();
    assert!(!world.unheld().await.is_empty());
    let rejected = world.dropped("billing").await;
    assert!(matches!(rejected, Err(Refusal::Rejected { .. })), "{rejected:?}");
    let joined = world.dropped("shop").await;
    assert!(matches!(joined, Err(Refusal::Held { .. })), "executed twice: {joined:?}");
}

#[tokio::test]
async fn a_full_disk_stops_writes_and_what_cannot_be_measured_flows() {
    let world = World::observing(14).await;
    let body = "what the target does not understand";
    let odd = world.proposal(postgres::DROP_SCHEMA, "schema", "shop", body).await;
    let receipt = world.flows_as(odd, Written::default()).await.unwrap();
    world.engine.settle(receipt, Some(true), "DROP".into()).await;
    let said = world.intents().await[0].to_string();
    assert!(said.contains("not measured before it ran: cannot judge"), "{said}");
    world.fill(4).await;
    let full = world.deleted(1).await;
    assert!(matches!(full, Err(Refusal::LowDisk { .. })), "{full:?}");
}

#[tokio::test]
async fn an_open_circuit_is_counted_and_stops_nothing() {
    let world = World::observing(14).await;
    for n in 0..10 {
        let grant = world.proposal(postgres::GRANT, "table", "orders", &format!("grant {n}")).await;
        world.flows_as(grant, Written::default()).await.unwrap_err();
    }
    world.deleted(1).await.unwrap();
    world.dropped("billing").await.unwrap();
    let report = world.observe_report().await;
    assert_eq!((report.flowed, report.held, report.refused), (2, 1, 1), "{report:#?}");
}

#[tokio::test]
async fn nobody_turns_it_on_or_keeps_it_on_alone() {
    let folder = tempfile::tempdir().unwrap();
    let installed = installation(folder.path());
    let world = World::built(folder, installed).await;
    world.let_in_for_long().await;
    let folder = world.folder.path().to_owned();
    // An edited file changes nothing.
    let edited = observing(Some(14), &folder);
    let in_force = installation(&folder);
    let on = |days| observed(installation(&folder).configuration, Some(days));
    assert!(refused(&world.sign("alice", propose(&on(15))).await).contains("1 to 14 days"));
    let told = world.sign("alice", propose(&on(14))).await;
    let Reply::Done { words, .. } = told else { panic!("{told:?}") };
    assert!(words.contains("waits for the signature of a reviewer"), "{words}");
    let world = world.again(in_force).await.unwrap();
    assert!(matches!(world.dropped_or_held("billing").await, Err(Refusal::Held { .. })));
    world.sign("bob", PrepareAct::ApproveConfiguration { number: 2 }).await;
    world.pass(60);
    world.engine.control(Command::Configurations, NOBODY).await;
    let world = world.again(edited).await.unwrap();
    world.pass(13 * DAY);
    world.dropped("shop").await.unwrap();

    // Another configuration that leaves it on begins nothing anew, nor does a restart.
    let more = with_dave(on(14));
    world.sign("alice", propose(&more)).await;
    world.sign("bob", PrepareAct::ApproveConfiguration { number: 3 }).await;
    world.pass(60);
    world.engine.control(Command::Configurations, NOBODY).await;
    let mut installed = observing(Some(14), &folder);
    installed.configuration = more.clone();
    let world = world.again(installed).await.unwrap();
    world.pass(DAY - 61);
    assert_eq!(world.unheld().await.len(), 1);
    world.pass(1);
    assert!(world.unheld().await.is_empty(), "a configuration began it anew");

    // Off takes one signature, on again another human's; they are told for how long it was on.
    let off = with_dave(installation(&folder).configuration);
    let told = world.sign("alice", propose(&off)).await;
    let Reply::Done { words, .. } = told else { panic!("{told:?}") };
    assert!(words.contains("is in force"), "{words}");
    let mut installed = installation(&folder);
    installed.configuration = off;
    let world = world.again(installed).await.unwrap();
    let act = propose(&more);
    let prepare = Command::Prepare { signer: "alice".parse().unwrap(), act: act.clone() };
    let Reply::Prepared { statement, .. } = world.engine.control(prepare, NOBODY).await else {
        panic!("no statement")
    };
    assert!(
        statement.contains("would be observed again, after 14 days in all before"),
        "{statement}"
    );
    let told = world.sign("alice", act).await;
    let Reply::Done { words, .. } = told else { panic!("{told:?}") };
    assert!(words.contains("waits for the signature of a reviewer"), "{words}");
    assert!(world.unheld().await.is_empty());
}

/// With one setting more that only says something.
fn with_dave(mut configuration: Configuration) -> Configuration {
    configuration.settings["targets"]["prod"]["note"] = json!("dave");
    configuration
}

impl World {
    async fn dropped_or_held(&self, schema: &str) -> Result<(), Refusal> {
        match self.ask(schema).await {
            Admission::Refused(refusal) => Err(refusal),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn what_is_not_kept_whole_is_not_taken_back_in_part() {
    let world = World::observing(14).await;
    world.deleted(200).await.unwrap();
    world.pass(10);
    let partly = world.clock.now();
    world.dropped("billing").await.unwrap();
    let writes = |until| Writes {
        agent: "bot".parse().unwrap(),
        target: None,
        since: Timestamp::UNIX_EPOCH,
        until,
    };
    let plan = |until| Command::PlanTakeBack { writes: writes(until) };
    let told = world.engine.control(plan(None), NOBODY).await;
    assert!(refused(&told).contains("let through while its target was observed"), "{told:?}");
    let before = partly.checked_sub(SignedDuration::from_secs(1)).unwrap();
    let Reply::RestorePlan(plan) = world.engine.control(plan(Some(before)), NOBODY).await else {
        panic!("what was kept is not taken back")
    };
    assert_eq!(plan.rows.len(), 1);
}

#[tokio::test]
async fn the_report_groups_what_would_have_been_held_and_proposes_limits() {
    let world = World::observing(14).await;
    for _ in 0..99 {
        world.deleted(150).await.unwrap();
        world.pass(3600);
    }
    world.deleted(90_000).await.unwrap();
    world.dropped("billing").await.unwrap();
    let report = world.observe_report().await;
    assert_eq!((report.flowed, report.held, report.lost), (101, 101, 1), "{report:#?}");
    let rows = &report.groups[0];
    assert_eq!((rows.units, rows.against.as_slice()), (100, &["rows".to_owned()][..]));
    assert_eq!((rows.most_rows, rows.tables[0].as_str()), (90_000, "public.orders"));
    assert!(rows.examples[0].words.join(" ").contains("90000 rows"), "{rows:#?}");
    assert_eq!(rows.examples[0].text, "delete 90000");
    assert_eq!(report.proposed.rows, 150);
    // The largest and the DROP.
    assert_eq!(report.still_held, 2, "{report:#?}");
}

#[tokio::test]
async fn an_agent_is_not_told() {
    let world = World::observing(14).await;
    let caller = world.caller().await;
    let query = countermand_engine::control::AgentQuery::Changes;
    assert_eq!(world.engine.agent_query(&caller, query).await.unwrap(), "[]");
    let refusal = world.engine.lapses(&caller);
    assert!(futures_pending(refusal), "the session ended already");
}

fn futures_pending(future: impl Future<Output = ()>) -> bool {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    future.as_mut().poll(&mut context).is_pending()
}

#[tokio::test]
async fn elsewhere_everything_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let mut installed = installation(folder.path());
    installed.configuration.settings["targets"]["staging"]["observe"] = json!({ "days": 14 });
    let world = World::built(folder, installed).await;
    world.let_in().await;
    assert!(matches!(world.dropped_or_held("billing").await, Err(Refusal::Held { .. })));
}

/// With both targets open to agents of alice's.
fn wide(mut installation: Installation) -> Installation {
    let alice = installation.humans.get_mut(&"alice".parse().unwrap()).unwrap();
    alice.sponsors.as_mut().unwrap().targets.insert("staging".parse().unwrap());
    installation
}

#[tokio::test]
async fn under_another_name_it_goes_on_counting_and_whatever_else_the_old_one_means() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let world = World::built(folder, wide(observing(Some(14), &path))).await;
    let targets = ["prod".parse().unwrap(), "staging".parse().unwrap()].into();
    let (agent, grant) =
        ("bot".parse().unwrap(), Grant { targets, effects: [Effect::Read].into() });
    let add = PrepareAct::AddAgent { agent, grant, lifetime: 60 * 86_400 };
    assert!(matches!(world.sign("alice", add).await, Reply::Done { .. }));
    let session = |world: &World, target: &'static str| {
        let engine = world.engine.clone();
        async move { engine.open_session("bot", target, "psql", "local").await.unwrap() }
    };
    let first = session(&world, "prod").await.observed.unwrap();
    world.pass(10 * DAY);
    let mut moved = installation(&path);
    moved.configuration.settings["targets"]["staging"]["observe"] = json!({ "days": 14 });
    world.sign("alice", propose(&moved.configuration)).await;
    world.sign("bob", PrepareAct::ApproveConfiguration { number: 2 }).await;
    world.pass(60);
    world.engine.control(Command::Configurations, NOBODY).await;
    {
        let mut data = world.prod.data.lock().unwrap();
        data.is_really = Some("memory/elsewhere".to_owned());
        data.partner_is = Some("memory/prod".to_owned());
    }
    let world = world.again(wide(moved)).await.unwrap();
    let now = session(&world, "staging").await.observed.unwrap();
    assert_eq!((now.since, now.until()), (first.since, first.until()));
    world.pass(4 * DAY);
    assert_eq!(session(&world, "staging").await.observed, None);
}
