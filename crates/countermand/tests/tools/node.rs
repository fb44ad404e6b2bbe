//! node-postgres, in a folder of its own with the versions of `node/package-lock.json`.

use crate::stage::{Stage, file, lacks, said};
use std::path::Path;
use tokio::process::Command;

/// Puts the packages into a folder of the target directory, unless they are there already.
async fn packages(folder: &Path) {
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
    for program in ["node", "npm"] {
        let answers = Command::new(program).arg("--version").output().await;
        if !answers.is_ok_and(|output| output.status.success()) {
            return lacks(program, "`scripts/setup --tests` installs it");
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    packages(&folder).await;
    let stage = Stage::up("sql/shop.sql", "").await;
    let mut command = Command::new("node");
    command.arg(file("node/drive.cjs")).arg(&folder);
    let output = stage.environment(&mut command, &stage.agent()).output().await.unwrap();
    let (stdout, stderr) = said(&output);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert_eq!(stdout.lines().last(), Some("pools"), "{stdout}");
    assert_eq!(stage.truth("SELECT note FROM orders WHERE id = 40").await, "after");
    stage.only_held(&["DROP TABLE", "UPDATE orders SET total"]).await;
    stage.down().await;
}
