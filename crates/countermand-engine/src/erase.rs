//! Texts that are kept no longer: by age in the background, or because the law asks for it, signed.
//!
//! The entry stays, with the digest; the text goes with its salt, from the store's file, from its log
//! and from the published files. What was erased is an entry of its own, so that a text which is
//! missing for any other reason shows.

use crate::control::{Erasing, Reply};
use crate::engine::Engine;
use crate::key::Signed;
use crate::kind::Kind;
use crate::review::{ReviewError, Spent, no, own_words};
use crate::store::{Rows, Store, StoreError, TextRow, Tx};
use countermand_core::change::{Change, State};
use countermand_core::name::HumanName;
use countermand_core::request::ChangeNumber;
use countermand_core::statement::{Act, Statement, TextsOf};
use countermand_ledger::leaf::Leaf;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often it is looked what is old enough.
const EVERY: Duration = Duration::from_secs(3600);
/// As many texts in one transaction, and in one entry.
const STEP: u64 = 500;
/// Texts that are never erased: a change is the fold of its previews, and what was in force is in
/// force for years. Neither holds what is in a row.
const KEPT: [&str; 2] = ["preview", "configuration"];
/// Rows as they were before a write.
const IMAGES: &str = "images";
/// Entries of what only read, and of sessions.
const OF_READS: [&str; 3] = ["flow.batch", "session.opened", "session.refused"];
/// No window of limits reaches further back.
const MINUTES: SignedDuration = SignedDuration::from_hours(2);

/// For how many days texts are kept; for ever where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// What agents asked and people wrote.
    pub texts: Option<u32>,
    /// The same of reads; as the others where it does not say.
    pub reads: Option<u32>,
    /// Rows as they were before writes that flowed: what takes those back.
    pub rows: Option<u32>,
}

impl Retention {
    fn days_of(&self, text: &TextRow) -> Option<u32> {
        match text.name.as_str() {
            IMAGES => self.rows,
            name if KEPT.contains(&name) => None,
            _ if OF_READS.contains(&text.leaf.kind()) => self.reads.or(self.texts),
            _ => self.texts,
        }
    }

    /// Whether a text is older than it may become.
    fn is_over(&self, text: &TextRow, now: Timestamp) -> bool {
        self.days_of(text).is_some_and(|days| text.leaf.at() < before(now, days))
    }

    fn shortest(&self) -> Option<u32> {
        [self.texts, self.reads, self.rows].into_iter().flatten().min()
    }
}

fn before(now: Timestamp, days: u32) -> Timestamp {
    now.saturating_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MIN)
}

/// Texts by their entry.
type Texts = BTreeMap<u64, BTreeSet<String>>;

impl Engine {
    /// Erases what is old enough, until told to stop.
    pub(crate) async fn keep_erasing(self) {
        let mut stopping = self.0.stopping.subscribe();
        loop {
            if let Err(error) = self.erase_what_is_over().await {
                tracing::error!(%error, "what is to be erased could not be");
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Erases what is older than it may become, in small steps. Gives how many texts that were.
    ///
    /// # Errors
    /// [`StoreError`]; what was erased so far stays so.
    pub async fn erase_what_is_over(&self) -> Result<u64, StoreError> {
        let now = self.0.clock.now();
        let minutes = now.saturating_sub(MINUTES).unwrap_or(Timestamp::MIN);
        if self.0.store.read(|rows| rows.has_minutes(minutes))? {
            self.0.store.write(move |tx| tx.forget_minutes(minutes)).await?;
        }
        let retention = self.0.installation.retention;
        let Some(shortest) = retention.shortest() else { return Ok(0) };
        let size = *self.0.store.size().borrow();
        let until = self.0.store.read(|rows| rows.first_since(before(now, shortest), size))?;
        let (mut from, mut erased) = (0, 0);
        while from < until {
            let Found { mut texts, next } = self.0.store.read(|rows| step(rows, from, until))?;
            texts.retain(|text| retention.is_over(text, now));
            from = next;
            if !texts.is_empty() {
                erased += self.erase_unneeded(texts).await?;
            }
        }
        if self.0.unclean.load(Ordering::Relaxed) {
            self.clean_up().await?;
        }
        Ok(erased)
    }

    async fn erase_unneeded(&self, texts: Vec<TextRow>) -> Result<u64, StoreError> {
        let restore_points = self.0.installation.restore_points.clone();
        let erased = self.0.store.write(move |tx| {
            let mut over = Texts::new();
            for TextRow { name, leaf } in texts {
                if !is_needed(&tx.rows(), &leaf, &restore_points)? {
                    over.entry(leaf.index()).or_default().insert(name);
                }
            }
            erase(tx, &over, json!({ "because": "retention" }))?;
            Ok(over)
        });
        let erased = erased.await?;
        self.outdate(&erased);
        Ok(erased.values().map(|names| names.len() as u64).sum())
    }

    /// Remembers that log and published files still have these.
    fn outdate(&self, erased: &Texts) {
        if !erased.is_empty() {
            self.0.unclean.store(true, Ordering::Relaxed);
            self.0.publisher.outdate(erased.keys().copied());
        }
    }

    /// Takes what was erased out of the store's log and out of the published files.
    async fn clean_up(&self) -> Result<(), StoreError> {
        let engine = self.clone();
        let cleaned = tokio::task::spawn_blocking(move || Store::fold_log(&engine.0.home.store()));
        let cleaned = cleaned.await.map_err(|_| StoreError::Stopped)?;
        self.publish_checkpoint().await?;
        cleaned?;
        self.0.unclean.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// What a human would sign to have these texts erased.
    pub(crate) fn erasure(
        &self,
        signer: &HumanName,
        what: Erasing,
        reason: String,
    ) -> Result<Act, ReviewError> {
        let entries = match what {
            Erasing::Change(number) => self.0.store.read(|rows| rows.entries_of(number))?,
            Erasing::Entry(index) => vec![index],
        };
        let texts = self.0.store.read(|rows| erasable(rows, &entries))?;
        if texts.is_empty() {
            return no("there is no text that could be erased; the rest of an entry stays");
        }
        self.may_erase(signer, &entries)?;
        let texts = texts.into_iter().map(|(entry, names)| TextsOf { entry, names }).collect();
        Ok(Act::EraseTexts { texts, reason })
    }

    /// A reviewer, and nobody who answers for what would be forgotten.
    fn may_erase(&self, signer: &HumanName, entries: &[u64]) -> Result<(), ReviewError> {
        let people = self.people();
        if !people.seats().contains_key(signer) {
            return no(format!("`{signer}` is not a reviewer: a reviewer signs what is erased"));
        }
        for index in entries {
            let line = self.0.store.read(|rows| rows.leaves(*index, 1))?.pop().unwrap_or_default();
            let Ok(leaf) = Leaf::parse(line.as_bytes()) else { continue };
            if let Some(change) = self.0.store.read(|rows| change_of(rows, &leaf))? {
                if let State::InDoubt { .. } = change.state {
                    let number = change.request.number;
                    return no(format!("change {number} is in doubt: resolve it first"));
                }
                if change.state.is_open() {
                    let number = change.request.number;
                    return no(format!("change {number} is open: withdraw it first"));
                }
                if change.is_own_of(signer) && !people.is_solo() {
                    return no(own_words(&change, signer).replace("approves", "erases"));
                }
            }
            if !people.is_solo() && self.concerns(&leaf, signer)? {
                return no(format!(
                    "`{signer}` is the sponsor of an agent that entry {index} is about, or may be \
                     about: another human erases it"
                ));
            }
        }
        Ok(())
    }

    /// Whether an entry is about an agent of this human: by whom it names as the sponsor, then or
    /// now. An entry that names neither a sponsor nor an agent may be about anybody's.
    fn concerns(&self, leaf: &Leaf, signer: &HumanName) -> Result<bool, ReviewError> {
        let mut parts: Vec<Value> = vec![Value::Object(leaf.body().clone())];
        let flowed = leaf.body().get("flowed").and_then(Value::as_array);
        for part in flowed.into_iter().flatten() {
            parts.push(part.clone());
            // How something ended is about whoever meant to do it.
            if let Some(intent) = part.get("intent").and_then(Value::as_u64) {
                let line = self.0.store.read(|rows| rows.leaves(intent, 1))?.pop();
                let intent = Leaf::parse(line.unwrap_or_default().as_bytes());
                parts.push(intent.map_or(Value::Null, |leaf| Value::Object(leaf.body().clone())));
            }
        }
        let named = |part: &Value, member: &str| {
            part.get(member).and_then(Value::as_str).map(str::to_owned)
        };
        let (mut anybody, authority) = (true, self.authority());
        for part in &parts {
            let sponsor = named(part, "sponsor");
            let agent = named(part, "agent");
            anybody &= sponsor.is_none() && agent.is_none();
            let now = agent
                .and_then(|agent| authority.agent_named(&agent).map(|row| row.sponsor.to_string()));
            if sponsor.into_iter().chain(now).any(|sponsor| sponsor == signer.as_str()) {
                return Ok(true);
            }
        }
        let sponsors_any = authority.agents().any(|row| row.sponsor == *signer);
        Ok(anybody && sponsors_any && leaf.body().get("change").is_none())
    }

    /// Erases what a signed statement names.
    pub(crate) async fn erase_texts(
        &self,
        statement: &Statement,
        signed: Signed,
        mut proof: Value,
    ) -> Result<Reply, ReviewError> {
        let Act::EraseTexts { texts, .. } = statement.act.clone() else {
            return no("that statement erases nothing");
        };
        self.key_counts(self.0.installation.targets.keys(), &signed)?;
        let texts: Texts = texts.into_iter().map(|texts| (texts.entry, texts.names)).collect();
        let entries: Vec<u64> = texts.keys().copied().collect();
        self.may_erase(&statement.signer, &entries)?;
        if let Some(members) = proof.as_object_mut() {
            members.insert("because".into(), json!("signed"));
            members.insert("by".into(), json!(statement.signer));
        }
        let spent = Spent::of(statement);
        let erased = self.0.store.write(move |tx| {
            spent.take(tx)?;
            for index in &entries {
                let line = tx.rows().leaves(*index, 1)?.pop().unwrap_or_default();
                let open =
                    Leaf::parse(line.as_bytes()).ok().map(|leaf| change_of(&tx.rows(), &leaf));
                if open.transpose()?.flatten().is_some_and(|change| change.state.is_open()) {
                    return Err(StoreError::Refused(format!("entry {index} is of an open change")));
                }
            }
            erase(tx, &texts, proof)?;
            Ok((tx.head().0.saturating_sub(1), texts))
        });
        let (index, texts) = erased.await?;
        self.outdate(&texts);
        let mut words = format!("erased, under entry {index}; the digests stay");
        if let Err(error) = self.clean_up().await {
            words = format!("{words}. NOT YET GONE FROM THE FILES: {error}; tried again by itself");
        }
        words.push_str(". Copies that were made before, exports and restore points still have it");
        Ok(Reply::Done { words, credential: None })
    }
}

/// Erases these, and says so in an entry that begins with `body`.
fn erase(tx: &mut Tx<'_>, texts: &Texts, mut body: Value) -> Result<(), StoreError> {
    if texts.is_empty() {
        return Ok(());
    }
    for (index, names) in texts {
        for name in names {
            tx.erase_text(*index, name)?;
        }
    }
    let list = texts.iter().map(|(entry, names)| json!({ "entry": entry, "names": names }));
    body["texts"] = list.collect();
    tx.append(Kind::TextsErased, &body, &[]).map(drop)
}

/// Some texts, and where to go on.
struct Found {
    texts: Vec<TextRow>,
    next: u64,
}

/// A step ends between entries.
fn step(rows: &Rows<'_>, from: u64, until: u64) -> Result<Found, StoreError> {
    let mut texts = rows.text_rows(from, until, STEP)?;
    if (texts.len() as u64) < STEP {
        return Ok(Found { texts, next: until });
    }
    let last = texts.last().map_or(until, |text| text.leaf.index());
    if texts.first().is_some_and(|first| first.leaf.index() < last) {
        texts.retain(|text| text.leaf.index() < last);
        return Ok(Found { texts, next: last });
    }
    Ok(Found { texts, next: last + 1 })
}

/// Whether somebody may still need the words of this entry: its change is open, in doubt, or can be
/// restored.
fn is_needed(rows: &Rows<'_>, leaf: &Leaf, restore_points: &Path) -> Result<bool, StoreError> {
    let Some(change) = change_of(rows, leaf)? else { return Ok(false) };
    let restorable = |change: &Change| match (&change.state, &change.restore_point) {
        (State::Executed(_), Some(point)) => restore_points.join(&point.folder).exists(),
        _ => false,
    };
    let in_doubt = matches!(change.state, State::InDoubt { .. });
    Ok(change.state.is_open() || in_doubt || change.is_watched() || restorable(&change))
}

fn change_of(rows: &Rows<'_>, leaf: &Leaf) -> Result<Option<Change>, StoreError> {
    if !leaf.kind().starts_with("change.") {
        return Ok(None);
    }
    let number = leaf.body().get("change").and_then(Value::as_u64);
    number.map(|number| rows.change(ChangeNumber(number))).transpose()
}

fn erasable(rows: &Rows<'_>, entries: &[u64]) -> Result<Texts, StoreError> {
    let mut texts = Texts::new();
    for index in entries {
        for text in rows.text_rows(*index, index.saturating_add(1), u64::from(u32::MAX))? {
            if !KEPT.contains(&text.name.as_str()) {
                texts.entry(*index).or_default().insert(text.name);
            }
        }
    }
    Ok(texts)
}
