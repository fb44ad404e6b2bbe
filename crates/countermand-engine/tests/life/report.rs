//! What an agent may do, beside what it did.

use crate::world::{NOBODY, World, refused};
use countermand_core::effect::Effect;
use countermand_core::name::TargetName;
use countermand_core::verb::postgres;
use countermand_engine::control::{AgentReport, Command, Reply};
use countermand_engine::{Admission, Refusal};
use jiff::SignedDuration;
use std::collections::BTreeMap;

impl World {
    async fn ask_for_report(&self, agent: &str, hours: i64) -> Reply {
        let since = self.clock.now() - SignedDuration::from_hours(hours);
        let command = Command::AgentReport { agent: Some(agent.parse().unwrap()), since };
        self.engine.control(command, NOBODY).await
    }

    async fn report(&self, hours: i64) -> AgentReport {
        match self.ask_for_report("bot", hours).await {
            Reply::AgentReports { mut agents } => agents.remove(0),
            other => panic!("{other:?}"),
        }
    }

    async fn reads(&self) {
        let select = self.proposal(postgres::SELECT, "table", "orders", "select").await;
        assert!(matches!(self.engine.admit(select, ()).await.0, Admission::Allowed(_)));
    }
}

fn used(report: &AgentReport) -> BTreeMap<String, u64> {
    let prod: TargetName = "prod".parse().unwrap();
    report.used.get(&prod).cloned().unwrap_or_default()
}

fn effects(tighter: Option<&countermand_core::policy::Grant>) -> Option<Vec<Effect>> {
    tighter.map(|grant| grant.effects.iter().copied().collect())
}

#[tokio::test]
async fn what_was_never_used_is_named_and_less_would_have_been_enough() {
    let world = World::new().await;
    let idle = world.report(1).await;
    assert_eq!(effects(idle.tighter.as_ref()), Some(vec![]), "it did nothing");

    world.reads().await;
    world.flows("drop shop", 3).await.unwrap();
    // What was refused, or waits, used nothing.
    let grant = world.proposal(postgres::GRANT, "role", "root", "grant").await;
    let refusal = world.engine.admit(grant, ()).await.0;
    assert!(matches!(refusal, Admission::Refused(Refusal::Forbidden { .. })));
    let number = world.held("billing").await;
    let report = world.report(1).await;
    let seen = [("postgres:Select".to_owned(), 1), ("postgres:Update".to_owned(), 1)];
    assert_eq!(used(&report), seen.into());
    assert_eq!(effects(report.tighter.as_ref()), Some(vec![Effect::Read, Effect::Write]));
    assert_eq!(report.unused.effects, [Effect::Destroy].into());

    world.prepared(number).await;
    world.approve("bob", number).await;
    world.cool();
    world.until(number, |change| change.line.state == "executed").await;
    let report = world.report(1).await;
    assert_eq!(used(&report)["postgres:DropSchema"], 1);
    assert_eq!(report.tighter, None, "it needs all that it has");

    world.clock.advance(SignedDuration::from_hours(3));
    world.reads().await;
    let lately = world.report(2).await;
    assert_eq!(effects(lately.tighter.as_ref()), Some(vec![Effect::Read]));
    assert!(refused(&world.ask_for_report("stranger", 1).await).contains("no agent"));
}

#[tokio::test]
async fn a_long_ledger_is_read_to_its_beginning() {
    let world = World::new().await;
    world.flows("drop shop", 3).await.unwrap();
    for _ in 0..1_100 {
        world.caller().await;
    }
    assert_eq!(used(&world.report(1).await)["postgres:Update"], 1);
}
