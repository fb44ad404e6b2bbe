//! sqlx, in a program of its own with the versions of `rust/Cargo.lock`: an SQLite that its lock
//! file names excludes the gateway's.

use crate::migrations::{SHAPE, SHARED};
use crate::stage::{Stage, file, said, text};
use countermand_engine::Clock;
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The program, built by the cargo that builds this.
async fn program() -> &'static Path {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    let build = || async {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rust");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--quiet", "--manifest-path"]);
        build.arg(file("rust/Cargo.toml")).arg("--target-dir").arg(&folder);
        let built = build.output().await.unwrap();
        assert!(built.status.success(), "cargo build: {}", said(&built).1);
        folder.join("debug/drive-sqlx")
    };
    BUILT.get_or_init(build).await
}

async fn sqlx(stage: &Stage, words: &[&str]) -> Output {
    let mut command = Command::new(program().await);
    stage.environment(&mut command, &stage.agent()).args(words).output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx_works_as_without_the_door() {
    let stage = Stage::up("sql/shop.sql", "").await;
    let (stdout, stderr) = said(&sqlx(&stage, &["drive"]).await);
    assert_eq!(stdout.lines().last(), Some("holds"), "{stdout}{stderr}");
    assert_eq!(stage.truth("SELECT note FROM orders WHERE id = 40").await, "after");
    stage.only_held(&["DELETE FROM orders"]).await;
    stage.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlx_migration_is_held_whole_and_afterwards_sqlx_knows_it() {
    // A cooling of 60 s takes a fifth of a second.
    let stage = Stage::at("sql/shop.sql", "", Clock::fast(300)).await;
    stage.truth(SHARED).await;
    let before = stage.truth(SHAPE).await;
    // Its own table first: a statement by itself, and so a change by itself.
    let told = said(&sqlx(&stage, &["migrate", "1"]).await).1;
    assert!(told.contains("held as change 1"), "{told}");
    assert_eq!(stage.truth(SHAPE).await, before);
    stage.only_held(&["_sqlx_migrations"]).await;
    stage.approve(1).await;

    // Then the migration, in a transaction: the hint names the way, which is one change.
    let before = stage.truth(SHAPE).await;
    let told = said(&sqlx(&stage, &["migrate", "1"]).await).1;
    assert!(told.contains("countermand propose FILE"), "{told}");
    assert_eq!(stage.truth(SHAPE).await, before);
    let told = stage.propose(&text("rust/migrations/0001_parcels.sql")).await;
    assert!(told.contains("held as change 2"), "{told}");
    let change = stage.changes().await.remove(1);
    for part in ["CREATE TABLE parcels", "CREATE INDEX", "ADD COLUMN weight"] {
        assert!(change.payload.contains(part), "{part}: {}", change.payload);
    }
    assert_eq!(stage.truth(SHAPE).await, before);
    stage.approve(2).await;
    // sqlx takes note that it has run, and has nothing left to do; nobody is asked.
    for act in ["skip", "migrate"] {
        let output = sqlx(&stage, &[act, "1"]).await;
        assert!(output.status.success(), "{act}: {output:?}");
    }
    let noted = "SELECT string_agg(version || ' ' || success, ', ') FROM _sqlx_migrations";
    assert_eq!(stage.truth(noted).await, "1 true");
    stage.only_held(&["_sqlx_migrations", "CREATE TABLE parcels"]).await;

    // What drops runs up to there and not over it: the update before it is gone as well.
    let before = stage.truth(SHAPE).await;
    let told = said(&sqlx(&stage, &["migrate", "2"]).await).1;
    assert!(told.contains("would postgres:DropColumn"), "{told}");
    let told = stage.propose(&text("rust/migrations/0002_tidy.sql")).await;
    assert!(told.contains("held as change 3"), "{told}");
    let change = stage.changes().await.remove(2);
    for part in ["UPDATE orders", "DROP COLUMN note", "DROP TABLE visits_2026"] {
        assert!(change.payload.contains(part), "{part}: {}", change.payload);
    }
    assert_eq!(stage.truth(SHAPE).await, before);
    assert_eq!(stage.truth("SELECT note FROM orders WHERE id = 1").await, "n1");
    assert_eq!(stage.truth(noted).await, "1 true");
    stage.down().await;
}
