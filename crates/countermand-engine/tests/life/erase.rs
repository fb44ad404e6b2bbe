//! Texts that are kept no longer: gone from every file, and said to be.

use crate::world::{NOBODY, World, installation, refused};
use countermand_core::request::ChangeNumber;
use countermand_engine::Retention;
use countermand_engine::control::{Command, Erasing, LedgerEntry, PrepareAct, Reply, Writes};
use countermand_ledger::checkpoint::VerifyingKey;
use countermand_ledger::verify::Report;
use jiff::SignedDuration;
use std::path::{Path, PathBuf};

const KEEP: Retention = Retention { texts: Some(30), reads: Some(2), rows: Some(7) };

impl World {
    async fn keeping(retention: Retention) -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut installed = installation(folder.path());
        installed.retention = retention;
        let world = World::built(folder, installed).await;
        world.let_in().await;
        world
    }

    fn days_pass(&self, days: i64) {
        self.clock.advance(SignedDuration::from_hours(24 * days));
    }

    async fn holds(&self) -> Report {
        self.publish().await;
        let key = std::fs::read_to_string(self.folder.path().join("ledger/ledger.pub")).unwrap();
        let report = self.audited(&VerifyingKey::parse(key.trim()).unwrap()).unwrap();
        assert_eq!((report.texts_missing, report.texts_left), (0, 0));
        assert_eq!(self.consistency().await.differences, Vec::<String>::new());
        report
    }

    /// Sealed texts as they lie in the published files now.
    fn sealed(&self) -> Vec<String> {
        let file = self.folder.path().join("ledger/texts/000000000000.jsonl");
        std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
    }

    /// Files that hold these bytes.
    fn holding(&self, needle: &str) -> Vec<PathBuf> {
        let mut found = walk(self.folder.path());
        found.retain(|file| {
            let bytes = std::fs::read(file).unwrap();
            bytes.windows(needle.len()).any(|part| part == needle.as_bytes())
        });
        found
    }

    async fn withdrawn(&self, schema: &str) -> u64 {
        let number = self.held(schema).await;
        self.prepared(number).await;
        let command = Command::Withdraw { change: ChangeNumber(number) };
        let reply = self.engine.control(command, NOBODY).await;
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        number
    }

    async fn erase(&self, person: &str, what: Erasing) -> Reply {
        self.sign(person, PrepareAct::EraseTexts { what, reason: "request 4711".into() }).await
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

/// How many texts of this name there are.
fn count(entries: &[LedgerEntry], kind: &str, name: &str) -> usize {
    let kind = format!("\"kind\":\"{kind}");
    let of = |entry: &&LedgerEntry| entry.line.contains(&kind) && entry.texts.contains_key(name);
    entries.iter().filter(of).count()
}

#[tokio::test]
async fn each_kind_of_text_goes_at_its_age_and_leaves_no_byte() {
    let world = World::keeping(KEEP).await;
    let begun = world.clock.now();
    world.withdrawn("shopping-list").await;
    world.flows("update diary", 1).await.unwrap();
    world.holds().await;
    let before = world.sealed();
    assert!(!world.holding("drop shopping-list").is_empty());
    assert_eq!(world.engine.erase_what_is_over().await.unwrap(), 0);

    world.days_pass(3);
    world.engine.erase_what_is_over().await.unwrap();
    let entries = world.all_entries().await;
    assert_eq!(count(&entries, "session.opened", "said"), 0, "of reads after two days");
    assert_eq!(count(&entries, "flow.batch", "payloads"), 0);
    assert_eq!(count(&entries, "flow.intent", "images"), 1);
    let agent = "bot".parse().unwrap();
    let writes = Writes { agent, target: None, since: begun, until: None };
    let plan = Command::PlanTakeBack { writes };
    assert!(matches!(world.engine.control(plan.clone(), NOBODY).await, Reply::RestorePlan(_)));

    world.days_pass(5);
    world.engine.erase_what_is_over().await.unwrap();
    let entries = world.all_entries().await;
    assert_eq!(count(&entries, "flow.intent", "images"), 0, "rows after seven");
    assert_eq!(count(&entries, "flow.intent", "payload"), 1);
    let reply = world.engine.control(plan, NOBODY).await;
    assert!(refused(&reply).contains("erased on 20"), "{reply:?}");

    world.days_pass(30);
    assert!(world.engine.erase_what_is_over().await.unwrap() > 0);
    let entries = world.all_entries().await;
    assert_eq!(count(&entries, "flow.intent", "payload"), 0);
    assert_eq!(count(&entries, "change.held", "payload"), 0);
    assert_eq!(count(&entries, "change.held", "preview"), 1, "what a change is the fold of stays");
    assert!(world.holds().await.texts_erased > 4);
    let after = world.sealed();
    let gone: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    assert!(gone.len() > 4, "{gone:?}");
    for line in gone {
        assert_eq!(world.holding(line), Vec::<PathBuf>::new());
    }
    assert_eq!(world.holding("drop shopping-list"), Vec::<PathBuf>::new());
    assert_eq!(world.engine.erase_what_is_over().await.unwrap(), 0, "and nothing more");
}

#[tokio::test]
async fn what_can_still_be_restored_keeps_its_words() {
    let world = World::keeping(KEEP).await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    assert!(matches!(world.approve("bob", number).await, Reply::Done { .. }));
    world.cool();
    let change = world.until(number, |change| change.line.state == "executed").await;
    let point = world.folder.path().join("restore-points");
    let point = point.join(change.restore_point.unwrap().folder);
    std::fs::create_dir_all(&point).unwrap();
    world.days_pass(40);
    world.engine.erase_what_is_over().await.unwrap();
    assert_eq!(world.show(number).await.payload, "drop billing");
    std::fs::remove_dir_all(&point).unwrap();
    world.engine.erase_what_is_over().await.unwrap();
    assert_eq!(world.show(number).await.payload, "(erased)");
    assert_eq!(world.show(number).await.line.state, "executed");
    world.holds().await;
}

#[tokio::test]
async fn what_the_law_asks_for_is_signed_by_a_reviewer_who_does_not_answer_for_it() {
    let world = World::new().await;
    let open = world.held("open").await;
    world.prepared(open).await;
    let number = world.withdrawn("medical-record").await;
    let change = Erasing::Change(ChangeNumber(number));
    let reply = world.erase("bob", Erasing::Change(ChangeNumber(open))).await;
    assert!(refused(&reply).contains("is open"), "{reply:?}");
    let reply = world.erase("alice", change).await;
    assert!(refused(&reply).contains("sponsor"), "{reply:?}");
    assert!(!world.holding("drop medical-record").is_empty());
    let reply = world.erase("bob", change).await;
    assert!(
        matches!(&reply, Reply::Done { words, .. } if words.starts_with("erased, under entry"))
    );
    assert_eq!(world.holding("drop medical-record"), Vec::<PathBuf>::new());
    let reply = world.erase("bob", change).await;
    assert!(refused(&reply).contains("no text"), "{reply:?}");
    assert_eq!(world.show(open).await.payload, "drop open");
    assert!(world.holds().await.texts_erased > 0);

    // Nor does anyone erase alone what their own agent did.
    let entries = world.all_entries().await;
    let index = entries.iter().rposition(|entry| entry.texts.contains_key("said")).unwrap() as u64;
    let reply = world.erase("alice", Erasing::Entry(index)).await;
    assert!(refused(&reply).contains("sponsor"), "{reply:?}");
}

#[tokio::test]
async fn a_text_that_somebody_removes_from_the_store_is_no_erased_one() {
    let world = World::new().await;
    world.withdrawn("evidence").await;
    world.holds().await;
    let file = world.folder.path().join("ledger/texts/000000000000.jsonl");
    let kept: Vec<_> =
        world.sealed().into_iter().filter(|line| !line.contains("\"payload\"")).collect();
    std::fs::write(&file, kept.join("\n") + "\n").unwrap();
    let key = std::fs::read_to_string(world.folder.path().join("ledger/ledger.pub")).unwrap();
    let report = world.audited(&VerifyingKey::parse(key.trim()).unwrap()).unwrap();
    assert_eq!((report.texts_erased, report.texts_missing), (0, 1));
}
