//! What each change spends its time on, for whoever traces it: steps with numbers and names, never a
//! payload and nothing that anybody wrote.
//!
//! A step is told once it has ended, and nobody waits for whoever is told: what does not fit is counted
//! and gone. What must not be missed is in the ledger.

use crate::admission::Caller;
use crate::engine::Engine;
use crate::metrics::Metrics;
use countermand_core::change::Change;
use countermand_core::name::{AgentName, TargetName};
use countermand_core::request::{ChangeNumber, Request};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Steps that wait to be taken away.
const ROOM: usize = 1024;

/// What a step was. The words are the names of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// From the request to its number.
    Propose,
    /// What it would do was measured: a part of that.
    Preview,
    /// What policy says of that: a part of it too.
    Decide,
    /// It ran, up to its commit or its rollback.
    Execute,
    /// It was taken back, or that was tried.
    Restore,
}

impl What {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            What::Propose => "propose",
            What::Preview => "preview",
            What::Decide => "decide",
            What::Execute => "execute",
            What::Restore => "restore",
        }
    }
}

/// Something that was done for a change, and is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub what: What,
    /// The change.
    pub change: ChangeNumber,
    /// Who asked for it.
    pub agent: AgentName,
    /// Of which target.
    pub target: TargetName,
    /// When it began, by the wall clock.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// Whether it came to what it was for.
    pub ok: bool,
}

/// Who is told of steps; nobody, until somebody asks.
#[derive(Default)]
pub(crate) struct Traces(OnceLock<Sender<Step>>);

/// A step that goes on. It is told when this is dropped, as failed where nobody said otherwise.
pub(crate) struct Going {
    tell: Option<(Sender<Step>, Arc<Metrics>)>,
    step: Step,
}

impl Going {
    /// It came to what it was for.
    pub(crate) fn came_about(&mut self) {
        self.step.ok = true;
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let Some((sender, metrics)) = self.tell.take() else { return };
        self.step.ended = SystemTime::now();
        if sender.try_send(self.step.clone()).is_err() {
            metrics.lost_steps(1);
        }
    }
}

/// When parts of a proposal began and ended, before it has a number.
#[derive(Default)]
pub(crate) struct Timed(Vec<(What, SystemTime, SystemTime)>);

impl Timed {
    /// Keeps that this part took from `began` until now.
    pub(crate) fn took(&mut self, what: What, began: SystemTime) {
        self.0.push((what, began, SystemTime::now()));
    }
}

impl Engine {
    /// What is done for changes from now on, as it ends. Whoever asks first is told; who is slow misses
    /// some, and is missed by nobody.
    pub fn steps(&self) -> Option<Receiver<Step>> {
        let (sender, receiver) = channel(ROOM);
        self.0.traces.0.set(sender).ok().map(|()| receiver)
    }

    /// Counts steps as lost, with which whoever was told of them could do nothing. It keeps nothing
    /// of the engine open.
    pub fn lost_steps(&self) -> impl Fn(usize) + Send + use<> {
        let metrics = self.0.metrics.clone();
        move |steps| metrics.lost_steps(steps as u64)
    }

    /// A step of this change begins.
    pub(crate) fn begins(&self, what: What, change: &Change) -> Going {
        let began = SystemTime::now();
        let sender = self.0.traces.0.get().cloned();
        let tell = sender.map(|sender| (sender, self.0.metrics.clone()));
        Going { tell, step: step(what, &change.request, began, began, false) }
    }

    /// What led to this change, of which nobody timed the parts.
    pub(crate) fn proposed_since(&self, began: SystemTime, request: &Request, caller: &Caller) {
        let mut timed = Timed::default();
        timed.took(What::Propose, began);
        self.proposed(request, caller, timed);
    }

    /// What led to this change is over. Whoever joined what somebody else had opened meanwhile led to
    /// nothing.
    pub(crate) fn proposed(&self, request: &Request, caller: &Caller, timed: Timed) {
        let Some(sender) = self.0.traces.0.get() else { return };
        if request.session != caller.session {
            return;
        }
        for (what, began, ended) in timed.0 {
            if sender.try_send(step(what, request, began, ended, true)).is_err() {
                self.0.metrics.lost_steps(1);
            }
        }
    }
}

fn step(what: What, request: &Request, began: SystemTime, ended: SystemTime, ok: bool) -> Step {
    Step {
        what,
        change: request.number,
        agent: request.agent.clone(),
        target: request.target.clone(),
        began,
        ended,
        ok,
    }
}
