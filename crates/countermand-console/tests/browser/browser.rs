//! A headless Chromium of a test's own.

use crate::page::Page;
use crate::wire::Wire;
use serde_json::json;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Nothing is asked of anybody but the console.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-lcd-text",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
];

/// It ends with this value.
pub(crate) struct Browser {
    wire: Arc<Wire>,
    _process: Child,
    _profile: TempDir,
}

impl Browser {
    /// None where this machine has no Chromium, which was said; a failure where nothing is optional.
    pub(crate) async fn start() -> Option<Browser> {
        let Some(program) = program() else {
            lacks("chromium");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // The browser reads from its third descriptor and writes to its fourth.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 1>&2 </dev/null", "sh"]).arg(program);
        command.args(ARGUMENTS).arg(format!("--user-data-dir={}", profile.path().display()));
        if is_root() {
            command.arg("--no-sandbox");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.kill_on_drop(true).spawn().unwrap();
        let wire = Wire::new(process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Some(Browser { wire: Arc::new(wire), _process: process, _profile: profile })
    }

    /// An empty page for the console there, with cookies of its own: another person.
    pub(crate) async fn page(&self, origin: String) -> Page {
        let ask = async |method: &str, params| self.wire.ask(None, method, params).await.unwrap();
        let context = ask("Target.createBrowserContext", json!({})).await;
        let context = &context["browserContextId"];
        let blank = json!({ "url": "about:blank", "browserContextId": context });
        let target = ask("Target.createTarget", blank).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = ask("Target.attachToTarget", attach).await;
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        Page::new(self.wire.clone(), session, origin).await
    }
}

/// A program that is missing: said, and a failure where nothing is optional.
pub(crate) fn lacks(program: &str) {
    let words = format!("`{program}` is missing; `scripts/setup --tests` installs it");
    assert!(std::env::var_os("COUNTERMAND_REQUIRE_ALL").is_none(), "{words}");
    eprintln!("skipped: {words}");
}

/// `CHROMIUM` names it, or it is on the path under one of its names.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let folders = || std::env::split_paths(&path);
    names.iter().flat_map(|name| folders().map(move |at| at.join(name))).find(|at| at.is_file())
}

/// Chromium's sandbox does not run as root.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
