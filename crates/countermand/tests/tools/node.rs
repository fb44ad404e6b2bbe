//! node-postgres and drizzle-kit, in a folder of their own with the versions of
//! `node/package-lock.json`.

use crate::migrations::{SHAPE, SHARED};
use crate::stage::{Stage, file, lacks, said};
use countermand_core::digest::Digest;
use countermand_engine::Clock;
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The folder with the packages. None where this machine has no Node, which was said.
async fn packages() -> Option<&'static Path> {
    static MADE: OnceCell<Option<PathBuf>> = OnceCell::const_new();
    let made = MADE.get_or_init(|| async {
        for program in ["node", "npm"] {
            let answers = Command::new(program).arg("--version").output().await;
            if !answers.is_ok_and(|output| output.status.success()) {
                lacks(program, "`scripts/setup --tests` installs it");
                return None;
            }
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
        install(&folder).await;
        Some(folder)
    });
    made.await.as_deref()
}

/// Puts the packages into a folder of the target directory, unless they are there already.
async fn install(folder: &Path) {
    let (lock, mark) = (file("node/package-lock.json"), folder.join("made-from"));
    let wanted = std::fs::read_to_string(&lock).unwrap();
    if std::fs::read_to_string(&mark).is_ok_and(|made| made == wanted) {
        return;
    }
    std::fs::create_dir_all(folder).unwrap();
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(file("node").join(name), folder.join(name)).unwrap();
    }
    let mut install = Command::new("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
    let installed = install.output().await.unwrap();
    assert!(installed.status.success(), "npm ci: {}", said(&installed).1);
    std::fs::write(mark, wanted).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn node_postgres_works_as_without_the_door() {
    let Some(folder) = packages().await else { return };
    let stage = Stage::up("sql/shop.sql", "").await;
    let mut command = Command::new("node");
    command.arg(file("node/drive.cjs")).arg(folder);
    let output = stage.environment(&mut command, &stage.agent()).output().await.unwrap();
    let (stdout, stderr) = said(&output);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert_eq!(stdout.lines().last(), Some("pools"), "{stdout}");
    assert_eq!(stage.truth("SELECT note FROM orders WHERE id = 40").await, "after");
    stage.only_held(&["DROP TABLE", "UPDATE orders SET total"]).await;
    stage.down().await;
}

/// A project with two schemas, the second of which lacks what the first has.
fn project(stage: &Stage, packages: &Path) {
    for name in ["drizzle.config.js", "first.js", "second.js", "none.js"] {
        std::fs::copy(file("node/drizzle").join(name), stage.folder().join(name)).unwrap();
    }
    let modules = stage.folder().join("node_modules");
    std::os::unix::fs::symlink(packages.join("node_modules"), modules).unwrap();
}

async fn drizzle(stage: &Stage, schema: &str, words: &[&str]) -> (Output, String) {
    let mut command = Command::new("node");
    command.arg("node_modules/drizzle-kit/bin.cjs").args(words).env("SCHEMA", schema);
    let output = stage.environment(&mut command, &stage.agent()).output().await.unwrap();
    let (stdout, stderr) = said(&output);
    (output, format!("{stdout}{stderr}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drizzle_migration_is_held_whole_and_afterwards_drizzle_knows_it() {
    let Some(packages) = packages().await else { return };
    // A cooling of 60 s takes a fifth of a second.
    let stage = Stage::at("sql/shop.sql", "", Clock::fast(300)).await;
    stage.truth(SHARED).await;
    project(&stage, packages);
    for (schema, name) in [("first", "one"), ("second", "two")] {
        let (output, told) = drizzle(&stage, schema, &["generate", "--name", name]).await;
        assert!(output.status.success(), "{told}");
    }
    let before = stage.truth(SHAPE).await;

    // drizzle-kit keeps a refusal to itself: the exit code tells. Its own schema and its own table
    // are statements by themselves, and so changes by themselves.
    let own = ["CREATE SCHEMA IF NOT EXISTS", "\"__drizzle_migrations\""];
    for (number, part) in (1..).zip(own) {
        let (output, told) = drizzle(&stage, "first", &["migrate"]).await;
        assert_eq!(output.status.code(), Some(1), "{told}");
        let held = stage.changes().await;
        assert_eq!(held.len(), number);
        assert!(held[number - 1].payload.contains(part), "{held:#?}");
        stage.approve(number as u64).await;
    }
    // Both migrations in one transaction: as a file they are one change.
    let (output, told) = drizzle(&stage, "first", &["migrate"]).await;
    assert_eq!(output.status.code(), Some(1), "{told}");
    stage.only_held(&own).await;
    assert_eq!(stage.truth(SHAPE).await, before);
    let (first, second) = (migration(&stage, 0), migration(&stage, 1));
    let told = stage.propose(&first).await;
    assert!(told.contains("held as change 3"), "{told}");
    stage.approve(3).await;
    let noted = "SELECT count(*) FROM drizzle.__drizzle_migrations";
    assert_eq!(stage.truth(noted).await, "1");

    // What drops does not run, by none of its ways.
    let before = stage.truth(SHAPE).await;
    let (output, told) = drizzle(&stage, "second", &["migrate"]).await;
    assert_eq!(output.status.code(), Some(1), "{told}");
    let told = stage.propose(&second).await;
    assert!(told.contains("held as change 4"), "{told}");
    // `push` sends its statements one by one, and stops at the first; `--force` is a flag of its
    // own, and asks nobody. Without tables in its schema it would drop every one there is.
    for (schema, held) in [("second", "held as change 5"), ("none", "held as change 6")] {
        let (_, told) = drizzle(&stage, schema, &["push", "--force"]).await;
        assert!(told.contains(held), "{schema}: {told}");
    }
    let destroys = ["DROP COLUMN", "DROP INDEX", "DROP MATERIALIZED VIEW"];
    stage.only_held(&[&own[..], &["CREATE TABLE \"parcels\""], &destroys].concat()).await;
    assert_eq!(stage.truth(SHAPE).await, before);
    assert_eq!(stage.truth(noted).await, "1");
    stage.down().await;
}

/// A migration as a file to propose: with the row by which drizzle knows that it has run.
fn migration(stage: &Stage, number: usize) -> String {
    let journal = std::fs::read(stage.folder().join("out/meta/_journal.json")).unwrap();
    let journal: serde_json::Value = serde_json::from_slice(&journal).unwrap();
    let entry = &journal["entries"][number];
    let name = format!("out/{}.sql", entry["tag"].as_str().unwrap());
    let sql = std::fs::read_to_string(stage.folder().join(name)).unwrap();
    let (hash, when) = (Digest::of_bytes(sql.as_bytes()), &entry["when"]);
    format!(
        "{sql};\nINSERT INTO drizzle.__drizzle_migrations (hash, created_at) \
         VALUES ('{hash}', {when});\n"
    )
}
