//! Taking back what an agent wrote: everything that flowed within a time, in one target.

use crate::control::{Reply, Writes};
use crate::engine::Engine;
use crate::key::Signed;
use crate::kind::Kind;
use crate::observe::LOST;
use crate::permit::Permit;
use crate::review::{ReviewError, Spent};
use crate::store::{FlowRow, StoreError};
use crate::target::{KeptWrite, RestorePlan, Restored, TakeBack, Target};
use countermand_core::name::{AgentName, TargetName};
use countermand_core::statement::{Act, Statement};
use countermand_ledger::leaf::Leaf;
use countermand_ledger::text::SealedText;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

/// Which writes, exactly.
struct Span<'a> {
    agent: &'a AgentName,
    target: &'a TargetName,
    since: Timestamp,
    until: Timestamp,
}

impl Engine {
    /// What taking back these writes would do.
    pub(crate) async fn plan_take_back(&self, writes: &Writes) -> Result<RestorePlan, ReviewError> {
        let (target, until) = self.bounds_of(writes)?;
        let Writes { agent, since, .. } = writes;
        let kept = self.kept(&Span { agent, target: &target, since: *since, until })?;
        let planned = self.writable(&target)?.plan_take_back(kept).await;
        planned.map_err(|error| ReviewError::No(error.to_string()))
    }

    /// The one target that is meant, and the end of the time.
    pub(crate) fn bounds_of(
        &self,
        writes: &Writes,
    ) -> Result<(TargetName, Timestamp), ReviewError> {
        let Writes { agent, target, since, until } = writes;
        let until = until.unwrap_or_else(|| self.0.clock.now());
        if let Some(target) = target {
            return Ok((target.clone(), until));
        }
        let targets = self.0.store.read(|rows| rows.written_targets(agent, *since, until))?;
        match targets.as_slice() {
            [only] => Ok((only.clone(), until)),
            [] => Err(ReviewError::No(format!("agent `{agent}` wrote nothing in that time"))),
            several => {
                let names: Vec<_> = several.iter().map(ToString::to_string).collect();
                let names = names.join(", ");
                Err(ReviewError::No(format!("say which target with --target: {names}")))
            }
        }
    }

    /// Takes back, after the signed wish is durable.
    pub(crate) async fn take_back(
        &self,
        statement: &Statement,
        signed: Signed,
        proof: Value,
    ) -> Result<Reply, ReviewError> {
        let Act::TakeBack { agent, target, since, until, overwrite } = statement.act.clone() else {
            return Err(ReviewError::No("that statement takes nothing back".into()));
        };
        self.key_counts(std::iter::once(&target), &signed)?;
        self.may_overwrite(statement, &agent, &target, overwrite)?;
        let lane = self.0.lanes.get(&target).map(Arc::clone);
        let _alone = match lane {
            Some(lane) => Some(lane.lock_owned().await),
            None => None,
        };
        let writes = self.kept(&Span { agent: &agent, target: &target, since, until })?;
        let wish = self.intend_take_back(statement, &writes, proof).await?;
        let to = self.writable(&target)?;
        // A frozen agent is just what one takes back.
        let halt = self.halt_all(&target);
        let done = to.take_back(Permit::grant(TakeBack { writes, overwrite, halt })).await;
        self.took_back(wish, &statement.signer.to_string(), &done).await?;
        let word = if done.is_ok() { "writes taken back" } else { "writes not taken back" };
        tracing::info!(%agent, target_name = %target, "{word}");
        match done {
            Ok(done) => Ok(Reply::Done { words: in_words(&agent, &done), credential: None }),
            Err(error) => Err(ReviewError::No(format!("nothing was taken back: {error}"))),
        }
    }

    fn may_overwrite(
        &self,
        statement: &Statement,
        agent: &AgentName,
        target: &TargetName,
        overwrite: bool,
    ) -> Result<(), ReviewError> {
        // A frozen agent is just what one takes back.
        if let Some(why) = self.0.freezer.stops_all(target) {
            return Err(ReviewError::No(why));
        }
        let sponsor = self.authority().agent(agent).map(|row| row.sponsor.clone());
        let reviews = self.people().seats().contains_key(&statement.signer);
        let alone = sponsor.as_ref() == Some(&statement.signer) && !self.people().is_solo();
        if overwrite && (!reviews || alone) {
            let why = "taking back over what changed since destroys: a reviewer who is not the \
                       sponsor signs it";
            return Err(ReviewError::No(why.into()));
        }
        Ok(())
    }

    async fn intend_take_back(
        &self,
        statement: &Statement,
        writes: &[KeptWrite],
        mut proof: Value,
    ) -> Result<u64, ReviewError> {
        let spent = Spent::of(statement);
        if let Some(members) = proof.as_object_mut() {
            let indices: Vec<u64> = writes.iter().map(|write| write.index).collect();
            members.insert("writes".into(), json!(indices));
        }
        let intent = self.0.store.write(move |tx| {
            spent.take(tx)?;
            tx.append(Kind::TakeBackIntended, &proof, &[])
        });
        Ok(intent.await?)
    }

    async fn took_back(
        &self,
        wish: u64,
        by: &str,
        done: &Result<Restored, crate::target::TargetError>,
    ) -> Result<(), StoreError> {
        let (kind, body, text) = match done {
            Ok(done) => {
                let body =
                    json!({ "wish": wish, "by": by, "rows": done.rows, "equal": done.equal });
                let text = json!({ "left": done.left, "overwritten": done.overwritten });
                (Kind::TakeBackDone, body, text.to_string())
            }
            Err(error) => {
                (Kind::TakeBackFailed, json!({ "wish": wish, "by": by }), error.to_string())
            }
        };
        let write =
            self.0.store.write(move |tx| tx.append(kind, &body, &[("why", text.as_bytes())]));
        write.await.map(drop)
    }

    fn writable(&self, target: &TargetName) -> Result<&Arc<dyn Target>, ReviewError> {
        let found = self.0.targets.get(target);
        found.ok_or_else(|| ReviewError::No(format!("there is no target `{target}`")))
    }

    /// The before-images of these writes, in order.
    fn kept(&self, span: &Span<'_>) -> Result<Vec<KeptWrite>, ReviewError> {
        let Span { agent, target, since, until } = *span;
        let flows = self.0.store.read(|rows| rows.flows(agent, target, since, until))?;
        let mut writes = Vec::new();
        for flow in flows {
            // Its digest stays, however long its words are kept.
            let line = self.0.store.read(|rows| rows.leaves(flow.index, 1))?.pop();
            let leaf = Leaf::parse(line.unwrap_or_default().as_bytes())
                .map_err(|error| StoreError::Unreadable(error.to_string()))?;
            if leaf.texts().contains_key(LOST) {
                let (at, index) = (flow.at, flow.index);
                let why = format!(
                    "the write at {at} was let through while its target was observed, and not all of \
                     it is kept (ledger entry {index}): choose a time without it"
                );
                return Err(ReviewError::No(why));
            }
            let sealed = self.0.store.read(|rows| rows.text(flow.index, "images"))?;
            let Some(sealed) = sealed else {
                let changed = flow.changed + flow.inserted;
                if changed == 0 {
                    continue;
                }
                let erased = self.0.store.read(|rows| rows.erasure_of(flow.index, "images"))?;
                return Err(ReviewError::No(gone(&flow, erased)));
            };
            let images = SealedText::parse(sealed.as_bytes())
                .and_then(|sealed| self.0.keys.texts().open(&sealed))
                .map_err(|error| StoreError::Unreadable(error.to_string()))?;
            let images = String::from_utf8(images.text().to_vec())
                .map_err(|error| StoreError::Unreadable(error.to_string()))?;
            writes.push(KeptWrite { index: flow.index, images });
        }
        if writes.is_empty() {
            return Err(ReviewError::No(format!("agent `{agent}` wrote nothing in that time")));
        }
        Ok(writes)
    }
}

/// Why a write cannot be taken back any more.
fn gone(flow: &FlowRow, erased: Option<(u64, Timestamp)>) -> String {
    let at = flow.at;
    match erased {
        Some((entry, on)) => format!(
            "the rows as they were before the write at {at} were erased on {on:.0}, under entry {entry}: \
             it cannot be taken back; name a later --since to take back what came after it"
        ),
        None => format!(
            "the rows as they were before the write at {at} are missing, and no entry says that they \
             were erased: it cannot be taken back; look at the store with doctor --consistency"
        ),
    }
}

fn in_words(agent: &AgentName, done: &Restored) -> String {
    let rows: u64 = done.rows.values().sum();
    let mut words = format!("{rows} rows of agent `{agent}` are as they were before");
    if !done.left.is_empty() {
        words.push_str(&format!("; left, because changed since: {}", done.left.join("; ")));
    }
    if !done.overwritten.is_empty() {
        words.push_str(&format!("; overwritten: {}", done.overwritten.join("; ")));
    }
    words
}
