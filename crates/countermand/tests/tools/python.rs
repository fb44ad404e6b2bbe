//! Drivers and migration tools in Python, each a script beside this file, in an environment of
//! their own with the versions of `requirements.txt`.

use crate::stage::{Stage, file, lacks, said, text};
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;
use tokio::sync::OnceCell;

const PROGRAM: &str = "python3";
const HOW: &str = "`scripts/setup --tests` installs it";

/// The interpreter with the packages. None where this machine has no Python, which was said.
async fn python() -> Option<&'static Path> {
    static MADE: OnceCell<Option<PathBuf>> = OnceCell::const_new();
    let made = MADE.get_or_init(|| async {
        let venv = Command::new(PROGRAM).args(["-c", "import venv, ensurepip"]).output().await;
        if !venv.is_ok_and(|output| output.status.success()) {
            lacks("python3 with venv", HOW);
            return None;
        }
        Some(environment(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("python")).await)
    });
    made.await.as_deref()
}

/// Makes the environment, unless it is there already as `requirements.txt` has it now.
async fn environment(folder: &Path) -> PathBuf {
    let (interpreter, mark) = (folder.join("bin/python"), folder.join("made-from"));
    let wanted = text("requirements.txt");
    if std::fs::read_to_string(&mark).is_ok_and(|made| made == wanted) {
        return interpreter;
    }
    let made = Command::new(PROGRAM).args(["-m", "venv", "--clear"]).arg(folder).output().await;
    succeeded("venv", made.unwrap());
    let mut install = Command::new(&interpreter);
    install.args(["-m", "pip", "install", "-q", "--require-hashes", "-r"]);
    let installed = install.arg(file("requirements.txt")).output().await;
    succeeded("pip install", installed.unwrap());
    std::fs::write(mark, wanted).unwrap();
    interpreter
}

fn succeeded(what: &str, output: Output) {
    let (stdout, stderr) = said(&output);
    assert!(output.status.success(), "{what}: {stdout}\n{stderr}");
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
