//! A change whose end nobody knows, until a human has looked.

use crate::world::{NOBODY, World, refused};
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{Command, PrepareAct, Reply};
use countermand_engine::{Admission, Refusal};

impl World {
    /// A change that was committed or not, and the target no longer knows.
    async fn in_doubt(&self) -> u64 {
        let number = self.held("billing").await;
        self.prepared(number).await;
        {
            let mut data = self.prod.data.lock().unwrap();
            (data.lose_answer, data.forgot) = (true, true);
        }
        self.approve("bob", number).await;
        self.cool();
        self.until(number, |view| view.line.state == "in doubt").await;
        number
    }

    async fn resolve(&self, who: &str, number: u64, committed: bool) -> Reply {
        self.sign(who, resolve(number, committed)).await
    }
}

fn resolve(number: u64, committed: bool) -> PrepareAct {
    let reason = "the table is gone, seen with psql".to_owned();
    PrepareAct::Resolve { change: ChangeNumber(number), committed, reason }
}

#[tokio::test]
async fn what_was_committed_goes_on_as_executed_and_is_taken_back() {
    let world = World::new().await;
    let number = world.in_doubt().await;
    world.tells("countermand_in_doubt_changes 1").await;
    let told = world.ask("billing").await;
    assert!(matches!(told, Admission::Refused(Refusal::InDoubt { .. })));
    let told = world.resolve("bob", number, true).await;
    assert!(matches!(told, Reply::Done { .. }), "{told:?}");
    let change = world.show(number).await;
    assert_eq!((change.line.state.as_str(), change.executions), ("executed", 1));
    assert_eq!(change.outcome.as_ref().unwrap().measured["billing.costs"], 1000);
    assert!(matches!(world.ask("billing").await, Admission::Done { .. }), "its agent is told");
    let restore = PrepareAct::Restore { change: ChangeNumber(number), overwrite: false };
    let told = world.sign("bob", restore).await;
    assert!(matches!(told, Reply::Done { .. }), "{told:?}");
    assert_eq!(world.prod.data.lock().unwrap().tables["billing.costs"], 1000);
    assert_eq!(world.consistency().await.differences, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_not_committed_has_failed_and_may_be_asked_for_again() {
    let world = World::new().await;
    let number = world.in_doubt().await;
    // As if it had not been.
    world.prod.data.lock().unwrap().tables.insert("billing.costs".into(), 1000);
    let told = world.resolve("carol", number, false).await;
    assert!(matches!(told, Reply::Done { .. }), "{told:?}");
    let change = world.show(number).await;
    assert_eq!((change.line.state.as_str(), change.executions), ("failed", 0));
    world.tells("countermand_in_doubt_changes 0").await;
    assert!(change.restore_point.is_some(), "whoever looked can be wrong");
    let Admission::Refused(Refusal::Failed { why, .. }) = world.ask("billing").await else {
        panic!("its agent is told")
    };
    assert!(!why.contains("psql"), "{why}");
    assert_ne!(world.held("billing").await, number);
    assert_eq!(world.consistency().await.differences, Vec::<String>::new());
}

#[tokio::test]
async fn a_doubt_is_ended_once_by_a_reviewer_who_is_no_party_to_it() {
    let world = World::new().await;
    let held = world.held("shop").await;
    assert!(refused(&world.resolve("bob", held, true).await).contains("is held"));
    let number = world.in_doubt().await;
    assert!(refused(&world.resolve("alice", number, true).await).contains("is the sponsor"));
    let Reply::Prepared { statement, .. } = world.prepare("bob", resolve(number, true)).await
    else {
        panic!("it was not prepared")
    };
    // Signed by another, or changed on the way, it resolves nothing.
    let submit = |statement: &str, signer: &str| Command::Submit {
        statement: statement.to_owned(),
        signature: World::signature(signer, statement),
    };
    let other = statement.replace("\"committed\":true", "\"committed\":false");
    assert_ne!(other, statement);
    for wrong in [submit(&statement, "carol"), submit(&other, "bob")] {
        let told = world.engine.control(wrong, NOBODY).await;
        assert!(matches!(told, Reply::Refused { .. }), "{told:?}");
        assert_eq!(world.show(number).await.line.state, "in doubt");
    }
    let told = world.engine.control(submit(&statement, "bob"), NOBODY).await;
    assert!(matches!(told, Reply::Done { .. }), "{told:?}");
    let told = world.engine.control(submit(&statement, "bob"), NOBODY).await;
    assert!(matches!(told, Reply::Refused { .. }), "{told:?}");
    let Reply::Ledger { entries, .. } =
        world.engine.control(Command::Ledger { from: 0, limit: 1000 }, NOBODY).await
    else {
        panic!()
    };
    let entry = entries.iter().find(|entry| entry.line.contains("change.resolved")).unwrap();
    assert!(entry.line.contains("signature"), "{}", entry.line);
    assert!(entry.texts["reason"].contains("psql"));
}

/// Nobody says that what the target remembers did not happen: it would be done twice.
#[tokio::test]
async fn a_target_that_remembers_is_believed() {
    let world = World::new().await;
    let number = world.in_doubt().await;
    world.prod.data.lock().unwrap().forgot = false;
    let told = world.resolve("bob", number, false).await;
    assert!(refused(&told).contains("was committed: resolve it with --committed"), "{told:?}");
    // One that cannot be asked is not spoken for, either way.
    world.prod.data.lock().unwrap().is_down = true;
    for committed in [true, false] {
        let told = world.resolve("bob", number, committed).await;
        assert!(refused(&told).contains("cannot be asked"), "{told:?}");
    }
    world.prod.data.lock().unwrap().is_down = false;
    let committed = std::mem::take(&mut world.prod.data.lock().unwrap().committed);
    let told = world.resolve("bob", number, true).await;
    assert!(refused(&told).contains("was rolled back"), "{told:?}");
    world.prod.data.lock().unwrap().committed = committed;
    let told = world.resolve("bob", number, true).await;
    assert!(matches!(told, Reply::Done { .. }), "{told:?}");
}
