//! axe-core (MPL-2.0) looks at a page for what keeps people from using it. It is not part of
//! Countermand: the tests fetch the version of `axe/package-lock.json`, by its digest.

use crate::browser::lacks;
use crate::page::Page;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Its source. None where this machine has no npm, which was said.
pub(crate) fn source() -> Option<&'static str> {
    static READ: OnceLock<Option<String>> = OnceLock::new();
    let read = READ.get_or_init(|| {
        if Command::new("npm").arg("--version").output().is_err() {
            lacks("npm");
            return None;
        }
        Some(std::fs::read_to_string(fetched().join("node_modules/axe-core/axe.min.js")).unwrap())
    });
    read.as_deref()
}

/// The folder of the target directory with the package.
fn fetched() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/axe");
    let (wanted, mark) =
        (std::fs::read_to_string(own.join("package-lock.json")).unwrap(), folder.join("made-from"));
    if std::fs::read_to_string(&mark).is_ok_and(|made| made == wanted) {
        return folder;
    }
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(own.join(name), folder.join(name)).unwrap();
    }
    let mut install = Command::new("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    let installed = install.output().unwrap();
    let why = String::from_utf8_lossy(&installed.stderr);
    assert!(installed.status.success(), "npm ci: {why}");
    std::fs::write(mark, wanted).unwrap();
    folder
}

/// What is serious or critical on the page, each with where.
pub(crate) async fn violations(page: &Page, source: &str) -> Vec<String> {
    page.evaluate(&format!("{source}; undefined")).await;
    let found = page
        .evaluate(
            "axe.run(document, { resultTypes: ['violations'] }).then(found => found.violations
                .filter(it => it.impact === 'serious' || it.impact === 'critical')
                .map(it => `${it.id}: ${it.help}: ${it.nodes.slice(0, 5).map(node =>
                    node.html.slice(0, 200) + ' ' + (node.failureSummary ?? '')).join(' | ')}`))",
        )
        .await;
    found.as_array().unwrap().iter().map(ToString::to_string).collect()
}
