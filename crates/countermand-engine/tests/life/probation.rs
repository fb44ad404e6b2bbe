//! Probation: less flows of an agent that is new, and of one that was told no.

use crate::world::{self, NOBODY, World};
use countermand_core::name::TargetName;
use countermand_core::request::ChangeNumber;
use countermand_core::verb::postgres;
use countermand_engine::control::{AgentLine, Command, PrepareAct, Reply};
use countermand_engine::{Admission, Refusal};
use jiff::{SignedDuration, Timestamp};

fn prod() -> TargetName {
    "prod".parse().unwrap()
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let mut installed = world::installation(folder.path());
    let probation = serde_json::from_str("{\"days\": 7, \"share\": 4}").unwrap();
    installed.targets.get_mut(&prod()).unwrap().probation = Some(probation);
    let world = World::built(folder, installed).await;
    world.let_in().await;
    world
}

impl World {
    async fn agent(&self) -> AgentLine {
        match self.engine.control(Command::Agents, NOBODY).await {
            Reply::Agents { agents } => agents.into_iter().next().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// When its probation ends, while it is on one.
    async fn probation_ends(&self) -> Option<Timestamp> {
        self.agent().await.probation.get(&prod()).copied().flatten()
    }

    /// Whether an update of so many rows flows.
    async fn updates(&self, body: &str, rows: u64) -> bool {
        match self.flows(body, rows).await {
            Ok(()) => true,
            Err(Refusal::Held { .. }) => false,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn days(&self, days: i64) {
        self.clock.advance(SignedDuration::from_hours(24 * days));
    }

    /// A new credential under the same name, since each lasts a day here.
    async fn let_in_again(&self) {
        self.let_in().await;
        self.caller().await;
    }

    async fn told(&self) -> Vec<String> {
        let ledger = Command::Ledger { from: 0, limit: 1000 };
        let Reply::Ledger { entries, .. } = self.engine.control(ledger, NOBODY).await else {
            panic!()
        };
        let told = entries.into_iter().map(|entry| entry.line);
        told.filter(|line| line.contains("agent.probation")).collect()
    }
}

#[tokio::test]
async fn a_new_agent_changes_a_share_until_it_was_seen_for_a_week() {
    let world = world().await;
    assert_eq!(world.agent().await.probation.get(&prod()), Some(&None), "it was never seen");
    assert!(world.updates("drop shop at most", 25).await);
    let until = world.probation_ends().await.unwrap();
    assert_eq!(until, world.clock.now() + SignedDuration::from_hours(7 * 24));
    let refused = world.flows("drop shop 26", 26).await;
    let Err(Refusal::Held { beyond, .. }) = refused else { panic!("it flowed: {refused:?}") };
    assert!(beyond[0].contains("26 rows, and 25 may flow"), "{beyond:?}");
    assert!(beyond[1].contains(&format!("on probation until {until:.0}")), "{beyond:?}");
    assert_eq!(world.told().await.len(), 1, "said once, in the ledger");

    world.days(7);
    world.let_in_again().await;
    assert_eq!(world.probation_ends().await, None, "a new credential does not make it new");
    assert!(world.updates("drop shop later", 100).await);
    let found = world.consistency().await;
    assert_eq!(found.differences, Vec::<String>::new());
}

#[tokio::test]
async fn a_rejection_and_an_open_circuit_begin_it_anew() {
    let world = world().await;
    world.caller().await;
    world.days(6);
    let first = world.probation_ends().await.unwrap();
    let number = world.held("billing").await;
    let reason = "no".to_owned();
    let act = PrepareAct::Reject { change: ChangeNumber(number), reason };
    assert!(matches!(world.sign("carol", act).await, Reply::Done { .. }));
    let second = world.probation_ends().await.unwrap();
    assert_eq!(second.duration_since(first), SignedDuration::from_hours(6 * 24));

    world.days(7);
    world.let_in_again().await;
    assert_eq!(world.probation_ends().await, None);
    for n in 0..10 {
        let grant = world.proposal(postgres::GRANT, "role", "root", &format!("grant {n}")).await;
        let (admission, _) = world.engine.admit(grant, ()).await;
        assert!(matches!(admission, Admission::Refused(_)));
    }
    assert!(world.probation_ends().await.is_some());
    let told = world.told().await;
    assert_eq!(told.len(), 3);
    assert!(told[1].contains("was rejected") && told[2].contains("circuit"), "{told:?}");
}

#[tokio::test]
async fn who_was_revoked_or_has_another_sponsor_is_new() {
    let world = world().await;
    world.caller().await;
    world.days(8);
    world.let_in_again().await;
    assert_eq!(world.probation_ends().await, None);
    let revoke = Command::RevokeAgent { agent: "bot".parse().unwrap() };
    world.engine.control(revoke, NOBODY).await;
    world.let_in_again().await;
    assert!(world.probation_ends().await.is_some(), "its name is not its record");
}
