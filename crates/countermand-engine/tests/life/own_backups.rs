//! The target's own backups as evidence.

use crate::world::{self, NOBODY, World};
use countermand_core::backups::Backups;
use countermand_core::watch::Question;
use countermand_engine::control::{Command, Reply};
use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, SystemTime};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const RULE: &str = r#"
@id("site/backed-up") @reason("nothing is destroyed that was not backed up today")
forbid (principal, action in Action::"Destroy", resource)
unless { context.evidence.backup_fresh };
"#;

/// An installation in which what destroys needs a backup that is not older than a day.
async fn world(configured: bool) -> World {
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("dumps");
    std::fs::create_dir(&backups).unwrap();
    let mut installation = world::installation(folder.path());
    installation.policies = vec![("site.cedar".to_owned(), RULE.to_owned())];
    let prod = installation.targets.get_mut(&"prod".parse().unwrap()).unwrap();
    prod.backups = configured.then(|| Backups {
        question: Question::Newest(backups.to_string_lossy().into_owned()),
        within: HOUR * 24,
        every: SignedDuration::from_mins(5),
    });
    let world = World::built(folder, installation).await;
    world.let_in().await;
    world
}

impl World {
    /// A backup that was made so long ago.
    fn backed_up(&self, ago: SignedDuration) {
        let file = self.folder.path().join("dumps/newest.dump");
        std::fs::write(&file, "rows").unwrap();
        let made: Timestamp = self.engine.clock().now() - ago;
        let made =
            SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(made.as_second()).unwrap());
        std::fs::File::options().append(true).open(file).unwrap().set_modified(made).unwrap();
    }

    async fn stale(&self, is: impl Fn(&[String]) -> bool) {
        let asked = async {
            loop {
                match self.engine.control(Command::Status, NOBODY).await {
                    Reply::Status(status) if is(&status.backups) => return,
                    Reply::Status(_) => tokio::task::yield_now().await,
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), asked).await.expect("it is never said");
    }
}

#[tokio::test]
async fn what_needs_a_backup_waits_for_one_and_its_age_ends_it_to_the_second() {
    let world = world(true).await;
    let number = world.held("billing").await;
    world.stale(|words| words.iter().any(|said| said.contains("there is no backup"))).await;
    world.prepared(number).await;
    world.approve("bob", number).await;
    world.cool();
    let waits = |words: &[String]| words.iter().any(|said| said.contains("a fresh backup"));
    world.until(number, |view| waits(&view.line.missing)).await;

    // One that is too old is none.
    world.backed_up(HOUR * 25);
    world.clock.advance(SignedDuration::from_mins(5));
    world.stale(|words| words.iter().any(|said| said.contains("older than"))).await;
    assert_eq!(world.show(number).await.line.state, "held");

    // This one is an hour from too old.
    world.backed_up(HOUR * 23);
    world.clock.advance(SignedDuration::from_mins(5));
    world.until(number, |view| view.line.state == "executed").await;
    world.stale(<[String]>::is_empty).await;
    world.clock.advance(HOUR);
    world.stale(|words| words.iter().any(|said| said.contains("older than"))).await;
    world.prod.data.lock().unwrap().tables.insert("billing.costs".into(), 1);
    let number = world.held("billing").await;
    let missing = world.show(number).await.line.missing.join(", ");
    assert!(missing.contains("a fresh backup"), "{missing}");
}

#[tokio::test]
async fn a_backup_that_ages_while_a_change_waits_or_runs_costs_no_approval() {
    let world = world(true).await;
    world.backed_up(HOUR * 24 - SignedDuration::from_mins(2));
    world.stale(<[String]>::is_empty).await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    world.approve("bob", number).await;
    let approved = world.show(number).await.approvals;
    world.clock.advance(SignedDuration::from_mins(3));
    let waits = |words: &[String]| words.iter().any(|said| said.contains("a fresh backup"));
    let view = world.until(number, |view| waits(&view.line.missing)).await;
    assert_eq!((view.line.state.as_str(), &view.approvals), ("held", &approved));
    world.backed_up(HOUR);
    world.clock.advance(SignedDuration::from_mins(5));
    world.until(number, |view| view.line.state == "executed").await;
}

#[tokio::test]
async fn where_nobody_can_say_it_is_never_shown_and_says_so() {
    let world = world(false).await;
    let refusal = match world.ask("billing").await {
        countermand_engine::Admission::Refused(refusal) => refusal,
        _ => panic!("it flowed"),
    };
    let countermand_engine::Refusal::Forbidden { reasons, .. } = refusal else {
        panic!("{refusal:?}")
    };
    let words = reasons.iter().map(ToString::to_string).collect::<String>();
    assert!(words.contains("cannot be shown for this change: a fresh backup"), "{words}");
}
