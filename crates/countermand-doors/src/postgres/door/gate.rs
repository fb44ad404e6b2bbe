//! What the door asks of the engine behind it.

use countermand_core::change::Outcome;
use countermand_core::limits::{Beyond, Limits};
use countermand_core::name::TargetName;
use countermand_core::request::ChangeNumber;
use countermand_engine::control::AgentQuery;
use countermand_engine::metrics::Attended;
use countermand_engine::{Admission, Caller, Engine, Permit, Proposal, Receipt, Refusal, Weighing};
use std::future::Future;

pub use countermand_engine::ScramVerifier;

/// The right to do exactly `T`, as the gate grants it.
pub trait Right<T>: Send {
    /// Gives the right up for the act itself.
    fn spend(self) -> T;
}

impl<T: Send> Right<T> for Permit<T> {
    fn spend(self) -> T {
        Permit::spend(self)
    }
}

/// What a gate says to a proposal: as [`Admission`], with its own permit.
pub enum Admitted<P> {
    /// It flows.
    Allowed(P),
    /// It may run up to its commit, and is weighed then.
    UpToCommit {
        /// The right to run it.
        permit: P,
        /// How much of it may flow.
        limits: Limits,
        /// Nothing of it is stopped for what it is: its target is observed.
        observed: bool,
    },
    /// It was already done.
    Done {
        /// The change it was.
        change: ChangeNumber,
        /// When it was executed, in words; and where nobody but its own human has looked, that too.
        at: String,
        /// What came of it.
        outcome: Outcome,
    },
    /// It does not flow.
    Refused(Refusal),
}

impl<T> From<Admission<T>> for Admitted<Permit<T>> {
    fn from(admission: Admission<T>) -> Self {
        match admission {
            Admission::Allowed(permit) => Admitted::Allowed(permit),
            Admission::UpToCommit { permit, limits, observed } => {
                Admitted::UpToCommit { permit, limits, observed }
            }
            Admission::Done { change, at, confirmed, outcome } => {
                let alone = ", confirmed by its sponsor, not peer-reviewed";
                let at = format!("{at}{}", if confirmed { alone } else { "" });
                Admitted::Done { change, at, outcome }
            }
            Admission::Refused(refusal) => Admitted::Refused(refusal),
        }
    }
}

/// The engine, as the door sees it. There is one implementation beside the tests'.
pub trait Gate: Send + Sync + 'static {
    /// What its yes is.
    type Permit<T: Send>: Right<T>;
    /// What a write that flowed leaves to be settled.
    type Receipt: Send;
    /// What a session that is open is counted by, for as long as it is kept.
    type Attended: Send;

    /// Counts a session that is open.
    fn attended(&self, target: &TargetName) -> Self::Attended;

    /// Counts a login that was refused.
    fn login_refused(&self);

    /// The verifier that this agent's credential must satisfy; never says whether it exists.
    fn scram_verifier(&self, agent: &str) -> ScramVerifier;

    /// Lets a checked agent in to a target.
    fn open_session(
        &self,
        agent: &str,
        target: &str,
        said: &str,
        peer: &str,
    ) -> impl Future<Output = Result<Caller, Refusal>> + Send;

    /// Judges a unit.
    fn admit<T: Send>(
        &self,
        proposal: Proposal,
        act: T,
    ) -> impl Future<Output = (Admitted<Self::Permit<T>>, Self::Receipt)> + Send;

    /// Weighs what a unit did; the permit carries its commit.
    fn weigh<T: Send>(
        &self,
        weighing: Weighing,
        receipts: Vec<Self::Receipt>,
        commit: T,
    ) -> impl Future<Output = (Admitted<Self::Permit<T>>, Self::Receipt)> + Send;

    /// Refuses a unit that was stopped while it ran: it was about to do more than may flow.
    fn too_much(
        &self,
        whole: Proposal,
        beyond: Vec<Beyond>,
    ) -> impl Future<Output = Admitted<Self::Permit<()>>> + Send;

    /// Waits for the end of a change that was held and that nobody need be asked about, and tells
    /// it.
    fn outcome(
        &self,
        caller: &Caller,
        change: ChangeNumber,
    ) -> impl Future<Output = Admitted<Self::Permit<()>>> + Send;

    /// Records how a write that flowed ended; none where that is not known.
    fn settle(
        &self,
        receipt: Self::Receipt,
        ok: Option<bool>,
        words: String,
    ) -> impl Future<Output = ()> + Send;

    /// The agent's own view of its changes, as JSON.
    fn agent_query(
        &self,
        caller: &Caller,
        what: AgentQuery,
    ) -> impl Future<Output = Result<String, Refusal>> + Send;

    /// Why this agent may not act on this target now, if so.
    fn is_frozen(&self, caller: &Caller, target: &TargetName) -> Option<String>;

    /// Ends, with the reason, as soon as this agent may not act on this target.
    fn frozen(&self, caller: &Caller, target: &TargetName) -> impl Future<Output = String> + Send;
}

impl Gate for Engine {
    type Permit<T: Send> = Permit<T>;
    type Receipt = Receipt;
    type Attended = Attended;

    fn attended(&self, target: &TargetName) -> Attended {
        Engine::attended(self, target)
    }

    fn login_refused(&self) {
        Engine::login_refused(self);
    }

    fn scram_verifier(&self, agent: &str) -> ScramVerifier {
        Engine::scram_verifier(self, agent)
    }

    async fn open_session(
        &self,
        agent: &str,
        target: &str,
        said: &str,
        peer: &str,
    ) -> Result<Caller, Refusal> {
        Engine::open_session(self, agent, target, said, peer).await
    }

    async fn admit<T: Send>(&self, proposal: Proposal, act: T) -> (Admitted<Permit<T>>, Receipt) {
        let (admission, receipt) = Engine::admit(self, proposal, act).await;
        (admission.into(), receipt)
    }

    async fn weigh<T: Send>(
        &self,
        weighing: Weighing,
        receipts: Vec<Receipt>,
        commit: T,
    ) -> (Admitted<Permit<T>>, Receipt) {
        let (admission, receipt) = Engine::weigh(self, weighing, receipts, commit).await;
        (admission.into(), receipt)
    }

    async fn too_much(&self, whole: Proposal, beyond: Vec<Beyond>) -> Admitted<Permit<()>> {
        Engine::too_much(self, whole, beyond).await.into()
    }

    async fn outcome(&self, caller: &Caller, change: ChangeNumber) -> Admitted<Permit<()>> {
        Engine::outcome(self, caller, change).await.into()
    }

    async fn settle(&self, receipt: Receipt, ok: Option<bool>, words: String) {
        Engine::settle(self, receipt, ok, words).await;
    }

    async fn agent_query(&self, caller: &Caller, what: AgentQuery) -> Result<String, Refusal> {
        Engine::agent_query(self, caller, what).await
    }

    fn is_frozen(&self, caller: &Caller, target: &TargetName) -> Option<String> {
        self.stops(caller, target)
    }

    async fn frozen(&self, caller: &Caller, target: &TargetName) -> String {
        let mut freezes = self.freezes();
        loop {
            if let Some(why) = Gate::is_frozen(self, caller, target) {
                return why;
            }
            tokio::select! {
                changed = freezes.changed() => if changed.is_err() {
                    return "the gateway has stopped".to_owned();
                },
                () = self.lapses(caller) => {}
            }
        }
    }
}
