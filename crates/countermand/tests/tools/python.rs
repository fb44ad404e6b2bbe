//! Drivers and migration tools in Python, each a script beside this file, in an environment of
//! their own with the versions of `requirements.txt`.

use crate::stage::{Stage, file, said};
use crate::venv;
use std::path::{Path, PathBuf};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The interpreter with the packages. None where this machine has no Python, which was said.
async fn python() -> Option<&'static Path> {
    static MADE: OnceCell<Option<PathBuf>> = OnceCell::const_new();
    let made = MADE.get_or_init(|| async {
        if !venv::possible().await {
            return None;
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
        Some(venv::made(&folder, &file("requirements.txt")).await.join("python"))
    });
    made.await.as_deref()
}

/// How a script ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// What it printed, where it succeeded.
    pub(crate) fn succeeded(self) -> String {
        assert!(self.success, "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// Runs a script as the agent. None where this machine has no Python.
pub(crate) async fn run(stage: &Stage, script: &str, arguments: &[&str]) -> Option<Ran> {
    let mut command = Command::new(python().await?);
    command.arg("-B").arg(file(script)).args(arguments);
    let output = stage.environment(&mut command, &stage.agent()).output().await.unwrap();
    let (stdout, stderr) = said(&output);
    Some(Ran { success: output.status.success(), stdout, stderr })
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_works_as_without_the_door() {
    let stage = Stage::up("sql/shop.sql", "").await;
    let Some(ran) = run(&stage, "python/drive_psycopg.py", &[]).await else { return };
    let parts = ran.succeeded();
    assert_eq!(parts.lines().last(), Some("holds"), "{parts}");
    assert_eq!(stage.truth("SELECT note FROM orders WHERE id = 40").await, "after");
    stage.only_held(&["DROP TABLE", "DELETE FROM orders", "UPDATE orders SET total"]).await;
    stage.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asyncpg_works_as_without_the_door() {
    let stage = Stage::up("sql/shop.sql", "").await;
    let Some(ran) = run(&stage, "python/drive_asyncpg.py", &[]).await else { return };
    let parts = ran.succeeded();
    assert_eq!(parts.lines().last(), Some("pools"), "{parts}");
    assert_eq!(stage.truth("SELECT note FROM orders WHERE id = 40").await, "after");
    stage.only_held(&["DROP TABLE", "UPDATE orders SET total", "DELETE FROM orders"]).await;
    stage.down().await;
}
