//! A Python environment of a test's own, with exactly the packages of its `requirements.txt`.

use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;

const PROGRAM: &str = "python3";

/// Whether this machine can make one. Where it cannot, that is said; it is a failure where nothing is optional.
pub(crate) async fn possible() -> bool {
    let found = Command::new(PROGRAM).args(["-c", "import venv, ensurepip"]).output().await;
    if found.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let words = "`python3` with venv is missing; `scripts/setup --tests` installs it";
    assert!(std::env::var_os("COUNTERMAND_REQUIRE_ALL").is_none(), "{words}");
    eprintln!("skipped: {words}");
    false
}

/// Makes it in this folder, unless it is there already as `requirements` has it now. The folder of its
/// programs.
pub(crate) async fn made(folder: &Path, requirements: &Path) -> PathBuf {
    let (programs, mark) = (folder.join("bin"), folder.join("made-from"));
    let wanted = std::fs::read_to_string(requirements).unwrap();
    if std::fs::read_to_string(&mark).is_ok_and(|made| made == wanted) {
        return programs;
    }
    let made = Command::new(PROGRAM).args(["-m", "venv", "--clear"]).arg(folder).output().await;
    succeeded("venv", &made.unwrap());
    let mut install = Command::new(programs.join("python"));
    install.args(["-m", "pip", "install", "-q", "--require-hashes", "-r"]).arg(requirements);
    succeeded("pip install", &install.output().await.unwrap());
    std::fs::write(mark, wanted).unwrap();
    programs
}

fn succeeded(what: &str, output: &Output) {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{what}: {}\n{}", said(&output.stdout), said(&output.stderr));
}
