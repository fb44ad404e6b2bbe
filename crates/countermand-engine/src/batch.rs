//! What flows is recorded too: reads, and how writes ended, within 50 ms and together.

use crate::engine::Engine;
use crate::kind::Kind;
use serde_json::json;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a read may wait for its entry.
const WITHIN: Duration = Duration::from_millis(50);
/// As many, and as many bytes of descriptions and of payloads, as one entry takes; more make
/// another. Well below what a leaf may have.
const ENTRY: usize = 500;
const ENTRY_BYTES: usize = 256 * 1024;

/// One thing that flowed.
pub(crate) struct Flowed {
    /// `{agent, target, session, verbs, …}`.
    pub(crate) what: serde_json::Value,
    /// The payload, which lies beside.
    pub(crate) text: String,
}

/// What flowed and has no entry yet. Never dropped: the gateway writes it before it stops, and
/// refuses everything when it cannot.
#[derive(Default)]
pub(crate) struct Batch {
    waiting: Mutex<Vec<Flowed>>,
    /// Held by whoever writes: who asks for it too has to see what is on its way.
    writing: tokio::sync::Mutex<()>,
}

impl Batch {
    pub(crate) fn push(&self, flowed: Flowed) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(flowed);
    }

    fn take(&self) -> Vec<Flowed> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let fits = |flowed: &&Flowed| {
            let first = bytes == 0;
            bytes += flowed.text.len() + flowed.what.to_string().len();
            first || bytes <= ENTRY_BYTES
        };
        let n = waiting.iter().take(ENTRY).take_while(fits).count();
        waiting.drain(..n).collect()
    }
}

impl Engine {
    /// Writes what flowed, until told to stop or the store stops.
    pub(crate) async fn keep_batches(self) {
        let mut stopping = self.0.stopping.subscribe();
        loop {
            tokio::select! {
                () = tokio::time::sleep(WITHIN) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            if !self.flush_batch().await {
                return;
            }
        }
    }

    /// Writes what has flowed so far. Says whether the store took it.
    pub(crate) async fn flush_batch(&self) -> bool {
        let _turn = self.0.batch.writing.lock().await;
        loop {
            let flowed = self.0.batch.take();
            if flowed.is_empty() {
                return true;
            }
            let what: Vec<_> = flowed.iter().map(|flowed| flowed.what.clone()).collect();
            let texts: Vec<_> = flowed.iter().map(|flowed| flowed.text.as_str()).collect();
            let body = json!({ "flowed": what });
            let texts = json!(texts).to_string();
            let written = self
                .0
                .store
                .write(move |tx| {
                    tx.append(Kind::FlowBatch, &body, &[("payloads", texts.as_bytes())])
                })
                .await;
            if let Err(error) = written {
                tracing::error!(%error, "what flowed could not be recorded: nothing flows now");
                self.0.freezer.sick("the ledger cannot be written");
                return false;
            }
        }
    }
}
