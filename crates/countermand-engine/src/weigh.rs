//! Weighing: what a unit did, before it may commit.
//!
//! A write that could flow runs up to its commit. What it did is then put to policy again, with
//! every table that it really touched, and to the limits of its agent. Only when its intent is
//! durable, and with it the rows as they were, is there a permit for the commit.

use crate::admission::{Admission, Proposal, Refusal};
use crate::admit::{described, recorded, unavailable};
use crate::batch::Flowed;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::metrics::Counted;
use crate::observe::{LOST, OBSERVED, Would};
use crate::permit::Permit;
use crate::store::{FlowRow, StoreError, Tx};
use countermand_core::action::{Action, Object};
use countermand_core::limits::{Beyond, Tally, Written};
use countermand_core::policy::{Decision, Measured};
use countermand_core::verb::postgres::{DELETE, INSERT, UPDATE};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// How far back an agent's writes count together, and at most a minute more.
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// A unit that ran up to its commit.
#[derive(Clone, Debug)]
pub struct Weighing {
    /// All of it: what would be held, if it is too much.
    pub whole: Proposal,
    /// What it did, as the target counted.
    pub written: Written,
    /// What takes it back; none where it changed nothing.
    pub images: Option<Images>,
}

/// What takes a write back, in the door's own form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The transaction's number in the target.
    pub transaction: String,
    /// The rows as they were.
    pub body: String,
}

/// What a write leaves to be settled: how it ended.
#[derive(Debug)]
#[must_use = "how a write ended must be recorded"]
pub struct Receipt(Left);

#[derive(Debug)]
enum Left {
    Nothing,
    /// It ran and was not weighed: if it ends like this, it ended without effect.
    Unweighed {
        what: Value,
        text: String,
        /// What would have been said to it, were its target not observed.
        would: Box<Would>,
    },
    /// Its intent is durable.
    Intended {
        index: u64,
        flow: bool,
    },
}

impl Receipt {
    pub(crate) fn none() -> Receipt {
        Receipt(Left::Nothing)
    }

    pub(crate) fn unweighed(what: Value, text: String, would: Would) -> Receipt {
        Receipt(Left::Unweighed { what, text, would: Box::new(would) })
    }

    /// What would have been said to it, were its target not observed.
    pub(crate) fn would(&self) -> Would {
        match &self.0 {
            Left::Unweighed { would, .. } => (**would).clone(),
            Left::Nothing | Left::Intended { .. } => Would::default(),
        }
    }

    pub(crate) fn intended(index: u64) -> Receipt {
        Receipt(Left::Intended { index, flow: false })
    }

    /// The record of how it ended.
    fn ended(self, ok: Option<bool>, words: &str) -> Option<Flowed> {
        match self.0 {
            Left::Nothing => None,
            Left::Unweighed { mut what, text, .. } => {
                if let Some(members) = what.as_object_mut() {
                    members.insert("ok".into(), json!(false));
                }
                Some(Flowed { what, text })
            }
            Left::Intended { index, .. } => {
                let what = json!({ "intent": index, "ok": ok });
                Some(Flowed { what, text: recorded(words) })
            }
        }
    }
}

impl Engine {
    /// Weighs what a unit did. `receipts`: those of its parts, which this one replaces. The
    /// permit carries `commit`, and comes when intent and before-images are durable; on any other
    /// answer the unit must be rolled back.
    pub async fn weigh<T: Send>(
        &self,
        weighing: Weighing,
        receipts: Vec<Receipt>,
        commit: T,
    ) -> (Admission<T>, Receipt) {
        let would = self.would_so_far(&weighing.whole, &receipts);
        let parts = Parts { engine: self, receipts };
        let told = match self.weighed(&weighing, would).await {
            Ok(index) => {
                parts.are_replaced();
                let receipt = Receipt(Left::Intended { index, flow: true });
                (Admission::Allowed(Permit::grant(commit)), receipt)
            }
            Err(admission) => (admission, Receipt::none()),
        };
        self.0.metrics.weighed(&Counted::of(&weighing.whole), &told.0);
        told
    }

    /// Refuses a unit that was stopped while it ran: it was about to do more than may flow.
    pub async fn too_much<T>(&self, whole: Proposal, beyond: Vec<Beyond>) -> Admission<T> {
        let told = self.held_whole(&whole, &beyond).await;
        self.0.metrics.weighed(&Counted::of(&whole), &told);
        told
    }

    async fn held_whole<T>(&self, whole: &Proposal, beyond: &[Beyond]) -> Admission<T> {
        self.hold(whole, beyond).await.unwrap_or_else(Admission::Refused)
    }

    /// `would`: of a target that is observed, what would have been said to the parts.
    async fn weighed<T>(
        &self,
        weighing: &Weighing,
        mut would: Option<Would>,
    ) -> Result<u64, Admission<T>> {
        let Weighing { whole, written, .. } = weighing;
        if let Some(why) = self.stops(&whole.caller, &whole.target) {
            return Err(Admission::Refused(Refusal::Frozen { why }));
        }
        if let Some(why) = self.0.disks.stops() {
            return Err(Admission::Refused(Refusal::LowDisk { why }));
        }
        let actions = touched(&whole.actions, written);
        match self.decide_on(whole, &actions, Measured::Within) {
            Decision::Allow { .. } => {}
            Decision::Forbid { reasons } => {
                let all = Proposal { actions, ..whole.clone() };
                let admission = self.forbid(&all, reasons).await;
                return Err(admission.unwrap_or_else(Admission::Refused));
            }
            Decision::Hold { missing, reasons } => match &mut would {
                Some(would) => would.held(&missing, &reasons),
                None => {
                    let all = Proposal { actions, ..whole.clone() };
                    return Err(self.held_whole(&all, &[]).await);
                }
            },
        }
        let over = would.is_some().then(|| self.decide_on(whole, &actions, Measured::Beyond));
        match self.intended(weighing, would, over.clone()).await {
            Ok(Ok(index)) => Ok(index),
            // However much of it there is, what is never allowed does not flow.
            Ok(Err(_)) if let Some(Decision::Forbid { reasons }) = over => {
                let all = Proposal { actions, ..whole.clone() };
                let admission = self.forbid(&all, reasons).await;
                Err(admission.unwrap_or_else(Admission::Refused))
            }
            Ok(Err(beyond)) => Err(self.held_whole(whole, &beyond).await),
            Err(error) => Err(Admission::Refused(unavailable(&error))),
        }
    }

    /// Makes the intent durable, unless it is beyond the limits: counted and recorded in one
    /// transaction, so that two at the same time do not both fit. Where it `would` flow all the
    /// same, `over` is what policy says of so much.
    async fn intended(
        &self,
        weighing: &Weighing,
        would: Option<Would>,
        over: Option<Decision>,
    ) -> Result<Result<u64, Vec<Beyond>>, StoreError> {
        let limits = self.limits(&weighing.whole.caller.agent, &weighing.whole.target);
        let (weighing, what) = (weighing.clone(), described(&weighing.whole));
        let observed = self.observation(&weighing.whole.target);
        let write = self.0.store.write(move |tx| {
            let Weighing { whole, written, images } = &weighing;
            let since = tx.now().checked_sub(WINDOW).unwrap_or(jiff::Timestamp::MIN);
            let before = tx.rows().changed_since(&whole.caller.agent, &whole.target, since)?;
            let beyond = limits.judge(written, before);
            let would = match (would, over) {
                // It has ended while this waited for its turn.
                (Some(_), _) if !observed.is_some_and(|on| on.lasts(tx.now())) => {
                    return Ok(Err(beyond));
                }
                (would, _) if beyond.is_empty() => would,
                (Some(mut would), Some(Decision::Hold { missing, reasons })) => {
                    would.held(&missing, &reasons);
                    would.beyond(beyond);
                    Some(would)
                }
                (Some(mut would), Some(Decision::Allow { .. })) => {
                    would.beyond(beyond);
                    Some(would)
                }
                _ => return Ok(Err(beyond)),
            };
            let would = would.unwrap_or_default();
            intend(tx, what, whole, written, images.as_ref(), &would).map(Ok)
        });
        write.await
    }

    /// Records how a write ended; none where that is not known. `words` are the target's own.
    pub async fn settle(&self, receipt: Receipt, ok: Option<bool>, words: String) {
        if let Left::Intended { index, flow: true } = receipt.0
            && ok == Some(false)
        {
            self.forget(index).await;
        }
        if let Some(flowed) = receipt.ended(ok, &words) {
            self.0.batch.push(flowed);
        }
    }

    /// What was not committed counts in no window. Where that is not known, it counts.
    async fn forget(&self, index: u64) {
        let forgotten = self.0.store.write(move |tx| tx.remove_flow(index)).await;
        if let Err(error) = forgotten {
            tracing::warn!(%error, "a write that was rolled back still counts in its window");
        }
    }
}

/// The parts of a unit that is weighed. They end without effect, also where nobody waits for the
/// answer any more; unless the unit's own receipt replaces theirs.
struct Parts<'a> {
    engine: &'a Engine,
    receipts: Vec<Receipt>,
}

impl Parts<'_> {
    fn are_replaced(mut self) {
        self.receipts.clear();
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        for receipt in self.receipts.drain(..) {
            if let Some(flowed) = receipt.ended(Some(false), "rolled back before its commit") {
                self.engine.0.batch.push(flowed);
            }
        }
    }
}

/// The actions that were asked for, and what was really done to which table.
fn touched(asked: &[Action], written: &Written) -> Vec<Action> {
    let mut actions = asked.to_vec();
    for (table, tally) in &written.tables {
        let object = || Object::new("table", table.clone());
        let Tally { inserted, updated, deleted, .. } = *tally;
        for (verb, rows) in [(INSERT, inserted), (UPDATE, updated), (DELETE, deleted)] {
            if rows > 0 {
                actions.push(Action::new(verb, object()));
            }
        }
    }
    actions.sort();
    actions.dedup();
    actions
}

fn intend(
    tx: &mut Tx<'_>,
    mut what: Value,
    whole: &Proposal,
    written: &Written,
    images: Option<&Images>,
    would: &Would,
) -> Result<u64, StoreError> {
    if let Some(members) = what.as_object_mut() {
        members.insert("written".into(), json!(written.tables));
        if let Some(images) = images {
            members.insert("transaction".into(), json!(images.transaction));
        }
    }
    let mut texts: Vec<(&str, &[u8])> = vec![("payload", whole.payload.body.as_bytes())];
    let beside = would.stand_in(&mut what, written, &whole.payload.text);
    let lost = would.lost();
    match &lost {
        // Half of it would be taken back as if it were all.
        Some(lost) => texts.push((LOST, lost.as_bytes())),
        None => texts.extend(images.map(|images| ("images", images.body.as_bytes()))),
    }
    texts.extend(beside.as_ref().map(|text| (OBSERVED, text.as_bytes())));
    let index = tx.append(Kind::FlowIntent, &what, &texts)?;
    let flow = FlowRow {
        index,
        at: tx.now(),
        session: whole.caller.session.clone(),
        changed: written.changed(),
        inserted: written.inserted(),
    };
    tx.put_flow(&whole.caller.agent, &whole.target, &flow)?;
    Ok(index)
}
