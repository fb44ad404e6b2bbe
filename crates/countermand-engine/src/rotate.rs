//! A key of the ledger takes the place of another: signed by a human, vouched for by the old key.
//!
//! What is believed of the ledger rests on its key, so that another one counts is a signed statement
//! like everything else that lets something be believed. A key that was lost signs for nothing: then
//! the gateway starts frozen, and the human who thaws it is who answers for the new one.

use crate::control::{Reply, Scope};
use crate::engine::{Engine, EngineError};
use crate::home::Home;
use crate::key::Signed;
use crate::keys::{Keys, NewKey};
use crate::kind::Kind;
use crate::review::{ReviewError, Spent, no};
use crate::store::{Store, StoreError, Tx};
use countermand_core::statement::{Act, LedgerKey, Statement};
use countermand_ledger::checkpoint::{CheckpointError, SigningKey};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::PoisonError;

/// New keys that somebody was given to sign for, at a time.
const MOST_NEW: usize = 8;

/// Keys that were made and not signed for yet, the oldest first. They are in no file.
pub(crate) type NewKeys = VecDeque<NewKey>;

/// What is signed for, and by whom it is said.
struct Change {
    key: NewKey,
    from: String,
    to: String,
    proof: Value,
}

impl Engine {
    /// What a human would sign to have a fresh key take the place of this one.
    pub(crate) fn new_key(&self, which: LedgerKey) -> Result<Act, ReviewError> {
        let signing = self.0.keys.signing();
        let Some(key) = NewKey::generate(which, signing.verifying_key().origin()) else {
            return no("the ledger's name is none that a key can have");
        };
        let act = Act::RotateKey { key: which, from: self.present(which), to: key.name() };
        let mut waiting = self.0.new_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST_NEW {
            waiting.pop_front();
        }
        waiting.push_back(key);
        Ok(act)
    }

    fn present(&self, which: LedgerKey) -> String {
        match which {
            LedgerKey::Checkpoints => self.0.keys.signing().verifying_key().vkey().to_owned(),
            LedgerKey::Texts => self.0.keys.texts().current().id().to_owned(),
        }
    }

    /// Does it. Nobody signs a checkpoint meanwhile, so that the old key signs nothing after.
    pub(crate) async fn rotate_key(
        &self,
        statement: &Statement,
        signed: Signed,
        proof: Value,
    ) -> Result<Reply, ReviewError> {
        let Act::RotateKey { key: which, from, to } = statement.act.clone() else {
            return no("that statement replaces no key");
        };
        self.key_counts(self.0.installation.targets.keys(), &signed)?;
        let made = {
            let waiting = self.0.new_keys.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.iter().find(|key| key.name() == to).cloned()
        };
        let Some(key) = made else {
            return no("the new key is forgotten, since the gateway began anew; prepare it again");
        };
        let change = Change { key, from, to: to.clone(), proof };
        let (engine, spent) = (self.clone(), Spent::of(statement));
        let replaced = tokio::task::spawn_blocking(move || engine.replace(which, change, spent));
        let index = replaced.await.map_err(|_| StoreError::Stopped)??;
        self.0
            .new_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|key| key.name() != to);
        self.publish_checkpoint().await?;
        Ok(Reply::Done { words: in_words(which, &to, index), credential: None })
    }

    fn replace(&self, which: LedgerKey, change: Change, spent: Spent) -> Result<u64, ReviewError> {
        let _still = self.0.publisher.still();
        if change.from != self.present(which) {
            return no("the key was replaced meanwhile; prepare it again");
        }
        let unwritten = |error: crate::home::HomeError| ReviewError::No(error.to_string());
        let (home, keys) = (&self.0.home, &self.0.keys);
        home.put_beside(&change.key, keys).map_err(unwritten)?;
        let old = keys.signing();
        let recorded = self.0.store.write(move |tx| {
            spent.take(tx)?;
            record(tx, &change, &old)
        });
        let recorded = tokio::runtime::Handle::current().block_on(recorded);
        if matches!(recorded, Err(StoreError::Refused(_))) {
            home.forget_beside(which).map_err(unwritten)?;
        }
        let index = recorded?;
        // What fails from here on is settled at the next start; until then nothing may be signed with
        // a key that the ledger has retired.
        let placed = home.put_in_place(which).and_then(|()| keys.reload(home));
        if let Err(error) = placed {
            self.0.freezer.sick("a key that was replaced is not in its place");
            self.0.publisher.halt();
            return Err(unwritten(error));
        }
        Ok(index)
    }
}

/// The entries of a change, and what the old key signs for the new one.
fn record(tx: &mut Tx<'_>, change: &Change, old: &SigningKey) -> Result<u64, StoreError> {
    let mut body = json!({ "from": change.from, "to": change.to });
    if let (Value::Object(body), Value::Object(proof)) = (&mut body, &change.proof) {
        body.extend(proof.clone());
    }
    let NewKey::Checkpoints(new) = &change.key else {
        return tx.append(Kind::LedgerTextsKeyChanged, &body, &[]);
    };
    let index = tx.append(Kind::LedgerKeyChanged, &body, &[])?;
    let (size, root) = tx.head();
    let note = old.hand_over(new, size, root, tx.now());
    let note = note.map_err(|error| StoreError::Leaf(error.to_string()))?;
    tx.append(Kind::LedgerKeyVouched, &json!({ "checkpoint": note }), &[])?;
    Ok(index)
}

fn in_words(which: LedgerKey, to: &str, index: u64) -> String {
    match which {
        LedgerKey::Checkpoints => format!(
            "from entry {index} on, checkpoints are signed by\n{to}\nThe old key vouches for it. Hand \
             it to your auditors, and make a copy: countermand gateway backup FOLDER"
        ),
        LedgerKey::Texts => format!(
            "from entry {index} on, texts are sealed with key {to}. Older ones need the keys before it, \
             which stay. Make a copy: countermand gateway backup FOLDER"
        ),
    }
}

/// Brings what the ledger says and what lies in the files together, before anything is signed.
pub(crate) async fn settle(store: &Store, keys: &Keys, home: &Home) -> Result<(), EngineError> {
    let named = store.named_keys().clone();
    for (which, named) in
        [(LedgerKey::Checkpoints, named.signing.as_ref()), (LedgerKey::Texts, named.texts.as_ref())]
    {
        let beside = home.name_beside(which);
        if beside.is_some() && beside.as_ref() == named {
            home.put_in_place(which)?;
            keys.reload(home)?;
        }
        home.forget_beside(which)?;
    }
    let signing = keys.signing();
    let vkey = signing.verifying_key().vkey().to_owned();
    let other = match &named.signing {
        Some(named) => *named != vkey,
        None => is_other(store, &signing)?,
    };
    if other {
        tracing::error!(key = vkey, "the ledger's key is another one, and nobody vouches for it");
        store.write(move |tx| unvouched(tx, named.signing.as_deref(), &vkey)).await?;
    }
    Ok(())
}

/// Whether another key signed last, where the ledger does not say which did.
fn is_other(store: &Store, signing: &SigningKey) -> Result<bool, StoreError> {
    let Some(note) = store.read(|rows| rows.newest_checkpoint())? else { return Ok(false) };
    match signing.verifying_key().open(&note) {
        Ok(_) => Ok(false),
        Err(CheckpointError::NotSigned(_)) => Ok(true),
        Err(error) => Err(StoreError::Unreadable(error.to_string())),
    }
}

/// Nothing flows until a human has said, by thawing it, that they know of this.
fn unvouched(tx: &mut Tx<'_>, from: Option<&str>, to: &str) -> Result<(), StoreError> {
    tx.append(Kind::LedgerKeyChanged, &json!({ "from": from, "to": to }), &[])?;
    let why = "the ledger's key is another one, which the old one did not vouch for";
    let scope = Scope::Everything.to_string();
    tx.put_frozen(&scope, why)?;
    let body = json!({ "scope": scope, "by": "lost key" });
    tx.append(Kind::FreezeOn, &body, &[("reason", why.as_bytes())]).map(drop)
}
