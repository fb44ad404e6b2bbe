//! The DevTools protocol over a pair of pipes: no port that somebody else could connect to.
//!
//! Messages are JSON, each ended by a zero byte.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{oneshot, watch};

/// A browser that has not answered by then hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What the browser told of one page, unasked.
#[derive(Default)]
pub(crate) struct Told {
    /// Documents that were loaded, with all that belongs to them, as the browser calls them.
    pub(crate) loads: Vec<String>,
    /// Errors: of scripts, of requests, of the content security policy.
    pub(crate) troubles: Vec<String>,
}

/// The connection.
pub(crate) struct Wire {
    next: AtomicU64,
    out: tokio::sync::Mutex<ChildStdin>,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    asked: HashMap<u64, oneshot::Sender<Value>>,
    pages: HashMap<String, watch::Sender<Told>>,
}

impl Wire {
    pub(crate) fn new(out: ChildStdin, from: ChildStdout) -> Wire {
        let inside = Arc::new(Mutex::new(Inside::default()));
        tokio::spawn(listen(from, inside.clone()));
        Wire { next: AtomicU64::new(1), out: out.into(), inside }
    }

    /// Asks, of the browser or of a page. The error is the browser's own.
    pub(crate) async fn ask(
        &self,
        page: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.inside.lock().unwrap().asked.insert(id, sender);
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(page) = page {
            message["sessionId"] = page.into();
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.out.lock().await.write_all(&bytes).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let Ok(Ok(mut answer)) = answer else { panic!("the browser does not answer {method}") };
        match answer["error"]["message"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["result"].take()),
        }
    }

    /// What is told of a page from now on.
    pub(crate) fn of_page(&self, session: &str) -> watch::Receiver<Told> {
        let (sender, told) = watch::channel(Told::default());
        self.inside.lock().unwrap().pages.insert(session.to_owned(), sender);
        told
    }

    /// The troubles of a page that nobody took yet.
    pub(crate) fn take_troubles(&self, session: &str) -> Vec<String> {
        let mut taken = Vec::new();
        let inside = self.inside.lock().unwrap();
        inside.pages[session].send_modify(|told| taken = std::mem::take(&mut told.troubles));
        taken
    }
}

async fn listen(from: ChildStdout, inside: Arc<Mutex<Inside>>) {
    let (mut from, mut bytes) = (BufReader::new(from), Vec::new());
    while from.read_until(0, &mut bytes).await.is_ok_and(|read| read > 0) {
        if let Ok(message) = serde_json::from_slice(bytes.strip_suffix(&[0]).unwrap_or(&bytes)) {
            take(message, &mut inside.lock().unwrap());
        }
        bytes.clear();
    }
    // Whoever still waits is told that no answer comes.
    inside.lock().unwrap().asked.clear();
}

fn take(message: Value, inside: &mut Inside) {
    if let Some(id) = message["id"].as_u64() {
        if let Some(asker) = inside.asked.remove(&id) {
            let _ = asker.send(message);
        }
        return;
    }
    let page = message["sessionId"].as_str().and_then(|session| inside.pages.get(session));
    let (Some(page), Some(method)) = (page, message["method"].as_str()) else { return };
    if method == "Page.lifecycleEvent" && message["params"]["name"] == "load" {
        let document = message["params"]["loaderId"].as_str().unwrap_or_default();
        page.send_modify(|told| told.loads.push(document.to_owned()));
    }
    if let Some(trouble) = trouble(method, &message["params"]) {
        page.send_modify(|told| told.troubles.push(trouble));
    }
}

/// What of this is something that no page of ours may cause.
fn trouble(method: &str, params: &Value) -> Option<String> {
    match method {
        "Runtime.exceptionThrown" => {
            Some(format!("exception: {}", params["exceptionDetails"]["exception"]["description"]))
        }
        "Runtime.consoleAPICalled" if params["type"] == "error" => {
            Some(format!("console: {}", params["args"]))
        }
        "Log.entryAdded" if params["entry"]["level"] == "error" => {
            Some(format!("{} {}", params["entry"]["text"], params["entry"]["url"]))
        }
        "Audits.issueAdded" => Some(format!("issue: {}", params["issue"])),
        _ => None,
    }
}
