//! Checkpoints are published without anybody's asking.

use crate::world::{NOBODY, World};
use countermand_engine::control::{Command, Reply};
use jiff::SignedDuration;
use std::path::Path;
use std::time::Duration;

/// Entries that the published checkpoint covers.
fn covered(file: &Path) -> u64 {
    let note = std::fs::read_to_string(file).unwrap_or_default();
    note.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_checkpoint_is_published_every_minute() {
    let world = World::new().await;
    let file = world.folder.path().join("ledger/checkpoint");
    for round in 0..3 {
        world.let_in_as(&format!("bot{round}")).await;
        let Reply::Status(status) = world.engine.control(Command::Status, NOBODY).await else {
            panic!("no status")
        };
        let published = async {
            while covered(&file) < status.ledger_size {
                tokio::task::yield_now().await;
            }
        };
        world.clock.advance(SignedDuration::from_secs(60));
        let soon = tokio::time::timeout(Duration::from_secs(60), published).await;
        assert!(soon.is_ok(), "{} of {}", covered(&file), status.ledger_size);
    }
}
