//! A unit before it runs: put to the gate whole, with everything that would run.

use super::flight::Broken;
use super::gate::{Admitted, Gate, Right as _};
use super::piece::{Class, Piece};
use super::session::{Session, Tx};
use super::step::{Kind, Step};
use super::weigh::Scales;
use crate::postgres::interpret::{SessionStatement, TransactionStatement};
use crate::postgres::refuse::{self, CANNOT_JUDGE, HELD, Said};
use crate::postgres::unit::{SETTINGS, Unit};
use crate::postgres::wire;
use countermand_core::action::Action;
use countermand_core::change::Outcome;
use countermand_core::effect::Effect;
use countermand_core::request::{ChangeNumber, RequestKey};
use countermand_core::verb::postgres::LOCK_ADVISORY;
use countermand_engine::{Proposal, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// A change that this session's request was held as: it writes nothing else meanwhile.
#[derive(Debug)]
pub(super) struct Held {
    change: ChangeNumber,
    keys: BTreeSet<RequestKey>,
}

impl<G: Gate> Session<G> {
    /// Judges the pieces whole and runs them, if they may. False where the agent got an error.
    pub(super) async fn judge_and_run(
        &mut self,
        mut pieces: Vec<Piece>,
        texts: &[String],
        last: bool,
    ) -> Result<bool, Broken> {
        if let Some(why) = self.gate.is_frozen(&self.caller, &self.target) {
            return Err(Broken::Fatal(refuse::frozen_session(&why)));
        }
        if let Err(said) = self.may_run_together(&pieces, texts) {
            return self.refuse(said, &pieces).await;
        }
        self.strings_touched |= pieces.iter().any(touches_strings);
        if !pieces.iter().any(Piece::is_judged) {
            return self.run(pieces, last).await.map(|ran| ran.error.is_none());
        }
        self.find_existing(&mut pieces).await?;
        let (proposal, unit) = self.proposal(&pieces).await?;
        let effect = Effect::worst(proposal.actions.iter().map(Action::effect));
        let key = RequestKey::of(&self.caller.agent, &self.target, &proposal.payload);
        if let Some(said) = self.waits(&proposal, key) {
            return self.refuse(said, &pieces).await;
        }
        let shape = Shape::of(&pieces, self.tx);
        let echo = if effect > Effect::Read { Echo::of(&pieces) } else { Echo::default() };
        let rest = if effect > Effect::Read { Echo::rest(&pieces, self.tx) } else { None };
        self.remember(&proposal, unit, &pieces, shape).await?;
        let (admitted, receipt) = self.gate.admit(proposal, pieces).await;
        match admitted {
            Admitted::Allowed(permit) => {
                if effect > Effect::Read {
                    self.receipts.push(receipt);
                }
                self.run_allowed(permit.spend(), last).await
            }
            Admitted::UpToCommit { permit, limits, observed } => {
                self.scales.limits = Some(limits);
                self.scales.observed = observed;
                self.receipts.push(receipt);
                self.carried = Carried::may(rest.is_some());
                let went_well = self.run_allowed(permit.spend(), last).await?;
                match (std::mem::take(&mut self.carried), rest) {
                    (Carried::By(change), Some(rest)) => self.carry(change, key, rest).await,
                    _ => Ok(went_well),
                }
            }
            Admitted::Done { change, at, outcome } => {
                self.forget_unit();
                self.tell(change, &at, echo.steps(&outcome)).await?;
                Ok(true)
            }
            Admitted::Refused(Refusal::Held { change, carried: true, .. }) if !shape.inside => {
                self.forget_unit();
                self.end_reading().await?;
                self.carry(change, key, echo).await
            }
            Admitted::Refused(refusal) => {
                self.forget_unit();
                self.note(&refusal, key);
                self.refuse_in(refuse::refusal(&refusal), shape).await
            }
        }
    }

    /// Waits for a change that nobody need be asked about, and answers `echo` with what came of
    /// it. False where the agent got an error.
    async fn carry(
        &mut self,
        change: ChangeNumber,
        key: RequestKey,
        echo: Echo,
    ) -> Result<bool, Broken> {
        // A long job reads nothing meanwhile; what it was told before must not wait as well.
        self.output.flush().await?;
        match self.gate.outcome(&self.caller, change).await {
            Admitted::Done { change, at, outcome } => {
                self.tell(change, &at, echo.steps(&outcome)).await?;
                Ok(true)
            }
            Admitted::Refused(refusal) => {
                self.note(&refusal, key);
                self.fail(refuse::refusal(&refusal)).await?;
                Ok(false)
            }
            Admitted::Allowed(_) | Admitted::UpToCommit { .. } => {
                let words = "cannot judge: the change has no end yet";
                self.fail(Said::error(CANNOT_JUDGE, words)).await?;
                Ok(false)
            }
        }
    }

    /// A unit that does not run is no part of the next one.
    fn forget_unit(&mut self) {
        if !matches!(self.tx, Tx::Open(_)) {
            self.scales = Scales::default();
        }
    }

    async fn run_allowed(&mut self, pieces: Vec<Piece>, last: bool) -> Result<bool, Broken> {
        let ran = self.run(pieces, last).await?;
        if !matches!(self.tx, Tx::Open(_)) {
            let words = ran.error.clone().unwrap_or_else(|| ran.tags.join(", "));
            self.settle(ran.error.is_none(), &words).await;
        }
        Ok(ran.error.is_none())
    }

    /// Takes note of what is put to the gate, for when the whole transaction is weighed.
    async fn remember(
        &mut self,
        proposal: &Proposal,
        unit: Unit,
        pieces: &[Piece],
        shape: Shape,
    ) -> Result<(), Broken> {
        let effect = Effect::worst(proposal.actions.iter().map(Action::effect));
        let session = pieces.iter().any(|piece| matches!(piece.class, Class::Session(_)));
        if effect == Effect::Read && !session {
            return Ok(());
        }
        let settings = match shape.inside {
            true if self.is_well() && self.scales.is_empty() => self.settings(false).await?,
            _ => unit.settings,
        };
        self.scales.begin(settings, shape.whole);
        self.scales.remember(&proposal.actions, unit.statements);
        if pieces.iter().any(|piece| matches!(piece.class, Class::CopyIn)) {
            self.scales.is_partial();
        }
        if pieces.iter().any(|piece| piece.hides_changes) {
            self.scales.hides_changes();
        }
        Ok(())
    }

    async fn proposal(&mut self, pieces: &[Piece]) -> Result<(Proposal, Unit), Broken> {
        let actions: BTreeSet<Action> =
            pieces.iter().flat_map(|piece| piece.actions.iter().cloned()).collect();
        let effect = Effect::worst(actions.iter().map(Action::effect));
        let shape = Shape::of(pieces, self.tx);
        let settings = match effect {
            Effect::Read => BTreeMap::new(),
            _ if shape.inside => BTreeMap::new(),
            Effect::Write => self.settings(false).await?,
            _ => self.settings(true).await?,
        };
        let statements = pieces.iter().flat_map(|piece| piece.payload.iter().cloned()).collect();
        let unit = Unit { statements, settings };
        let payload = unit.to_payload();
        // Rows that come over COPY are not in the payload: nobody could approve them.
        let copies = pieces.iter().any(|piece| matches!(piece.class, Class::CopyIn));
        let proposal = Proposal {
            caller: self.caller.clone(),
            target: self.target.clone(),
            actions: actions.into_iter().collect(),
            payload,
            measurable: pieces.iter().all(|piece| piece.measurable),
            transactional: !pieces.iter().any(|piece| matches!(piece.class, Class::Alone)),
            approvable: shape.whole && !copies,
        };
        Ok((proposal, unit))
    }

    /// The settings of the session, asked again where they may be others by now.
    async fn settings(&mut self, again: bool) -> Result<BTreeMap<String, String>, Broken> {
        if let Some(known) = self.settings.as_ref().filter(|_| !again) {
            return Ok(known.clone());
        }
        let report = self.fly_silently(vec![Step::own(SETTINGS), Step::sync()]).await?;
        if let Some(why) = report.error {
            let words = format!("cannot judge: the session's settings cannot be read: {why}");
            return Err(Broken::Fatal(Said::fatal(CANNOT_JUDGE, words)));
        }
        let pairs = report.rows.into_iter().filter_map(|row| match <[_; 2]>::try_from(row) {
            Ok([Some(name), Some(value)]) => Some((name, value)),
            _ => None,
        });
        let settings: BTreeMap<String, String> = pairs.collect();
        self.settings = Some(settings.clone());
        Ok(settings)
    }

    /// Rules about what one message may hold.
    fn may_run_together(&self, pieces: &[Piece], texts: &[String]) -> Result<(), Said> {
        for piece in pieces {
            if let Class::Session(SessionStatement::Set { name, value, .. }) = &piece.class {
                if self.keeps(piece) {
                    continue;
                }
                self.limits.allow(name, value.as_deref())?;
            }
        }
        // The texts were read under one meaning of `\`; the server must not read them under
        // another.
        let may_change = self.strings_touched || pieces.iter().any(touches_strings);
        if pieces.len() > 1 && may_change && texts.iter().any(|text| text.contains('\\')) {
            let words = "cannot judge: standard_conforming_strings may change between statements \
                         with a backslash";
            return Err(Said::error(CANNOT_JUDGE, words).hint("Send them one by one."));
        }
        let (mut inside, mut ended) = (self.tx != Tx::None, false);
        let steers = pieces.iter().any(|piece| matches!(piece.class, Class::Transaction(_)));
        for piece in pieces {
            match &piece.class {
                Class::Transaction(TransactionStatement::Begin(_)) => inside = true,
                Class::Transaction(
                    TransactionStatement::Commit { .. } | TransactionStatement::Rollback { .. },
                ) => (inside, ended) = (false, true),
                // What is weighed at a commit is all that was admitted.
                _ if piece.writes() && ended => {
                    let words = "cannot judge: one message that writes after the end of a \
                                 transaction in it";
                    let hint = "Send each transaction by itself.";
                    return Err(Said::error(CANNOT_JUDGE, words).hint(hint));
                }
                _ if piece.writes() && steers && !inside => {
                    let words = "cannot judge: one message that writes inside and outside a \
                                 transaction block";
                    let hint = "Send BEGIN, the statements and COMMIT one by one.";
                    return Err(Said::error(CANNOT_JUDGE, words).hint(hint));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the piece is a `SET` that would raise a limit, and is answered without being done.
    pub(super) fn keeps(&self, piece: &Piece) -> bool {
        let Class::Session(SessionStatement::Set { name, value, .. }) = &piece.class else {
            return false;
        };
        let text = piece.payload.first().map_or("", |statement| statement.sql.trim_start());
        let is_set = text.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("set"));
        is_set && self.limits.raises(name, value.as_deref())
    }

    /// After a hold nothing else is written here: a script must not run on over the gap.
    fn waits(&self, proposal: &Proposal, key: RequestKey) -> Option<Said> {
        let held = self.held.as_ref()?;
        // Locks are of the session, and a pool releases them before it resets the rest.
        let writes =
            |action: &Action| action.effect() != Effect::Read && action.verb != LOCK_ADVISORY;
        if !proposal.actions.iter().any(writes) || held.keys.contains(&key) {
            return None;
        }
        let change = held.change;
        Some(
            Said::error(
                HELD,
                format!("this session holds change {change}: it writes nothing else"),
            )
            .detail("The statement was not judged and did not run.")
            .hint(format!(
                "Wait for change {change}, or leave it behind with ROLLBACK, DISCARD ALL or a \
                     new connection."
            )),
        )
    }

    pub(super) fn note(&mut self, refusal: &Refusal, key: RequestKey) {
        if let Refusal::Held { change, .. } = refusal {
            let keys = self.held.take().map(|held| held.keys).unwrap_or_default();
            let mut held = Held { change: *change, keys };
            held.keys.insert(key);
            self.held = Some(held);
        }
    }

    async fn refuse(&mut self, said: Said, pieces: &[Piece]) -> Result<bool, Broken> {
        let shape = Shape::of(pieces, self.tx);
        self.refuse_in(said, shape).await
    }

    async fn refuse_in(&mut self, said: Said, shape: Shape) -> Result<bool, Broken> {
        self.end_reading().await?;
        self.fail(said).await?;
        if shape.begins && self.tx == Tx::None {
            // The agent believes that it is in a transaction: it is in one that failed.
            self.tx = Tx::Aborted;
        }
        Ok(false)
    }

    /// The recorded outcome of a change, in the place of running it again.
    pub(super) async fn tell(
        &mut self,
        change: ChangeNumber,
        at: &str,
        steps: Vec<Step>,
    ) -> Result<(), Broken> {
        if self.held.as_ref().is_some_and(|held| held.change == change) {
            self.held = None;
        }
        let notice = Said::notice(format!("executed as change {change} at {at}"));
        self.output.put(|out| notice.encode(out));
        self.fly_quietly(steps).await.map(drop)
    }
}

/// What became of a unit that ran up to its commit and was held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Carried {
    /// The agent is told that it is held.
    #[default]
    No,
    /// If nobody need be asked about the change, the agent waits for its end.
    May,
    /// It is this change, and production is rolled back; the agent has been told nothing.
    By(ChangeNumber),
}

impl Carried {
    fn may(may: bool) -> Carried {
        if may { Carried::May } else { Carried::No }
    }
}

/// A unit's steps, kept for the case that it was executed already: how many statements each
/// piece holds, and what it answers.
#[derive(Default)]
struct Echo(Vec<(usize, Vec<Step>)>);

/// Stands in for a tag until the outcome is known.
const NO_TAG: &str = "OK";

impl Echo {
    fn of(pieces: &[Piece]) -> Echo {
        let pieces = pieces.iter().map(|piece| {
            let tag = match &piece.class {
                Class::Transaction(TransactionStatement::Begin(_)) => "BEGIN",
                Class::Transaction(_) => "COMMIT",
                _ => NO_TAG,
            };
            (piece.payload.len(), piece.steps.iter().filter_map(|step| step.echo(tag)).collect())
        });
        Echo(pieces.collect())
    }

    /// What is still to be said of a unit that ran up to its commit and is done as a change: its
    /// one statement's end, and what follows that. None where the agent has heard more already.
    fn rest(pieces: &[Piece], tx: Tx) -> Option<Echo> {
        let steers = pieces.iter().any(|piece| matches!(piece.class, Class::Transaction(_)));
        let mut judged = pieces.iter().filter(|piece| piece.is_judged());
        let only = matches!(
            (judged.next(), judged.next()),
            (Some(Piece { class: Class::Write, payload, .. }), None) if payload.len() == 1
        );
        if !only || steers || tx != Tx::None {
            return None;
        }
        let mut rest = Vec::new();
        for piece in pieces {
            let from = match (piece.is_judged(), rest.is_empty()) {
                (true, _) => {
                    piece.steps.iter().position(|step| matches!(step.kind, Kind::Execute))?
                }
                (false, true) => continue,
                (false, false) => 0,
            };
            let steps = piece.steps[from..].iter().filter_map(|step| step.echo(NO_TAG));
            rest.push((piece.payload.len(), steps.collect()));
        }
        Some(Echo(rest))
    }

    /// The steps with the tags of the outcome.
    fn steps(self, outcome: &Outcome) -> Vec<Step> {
        let mut said = outcome.said.iter();
        let mut steps = Vec::new();
        for (statements, echo) in self.0 {
            let tag = statements.checked_sub(1).and_then(|last| said.nth(last));
            steps.extend(echo.into_iter().map(|step| match (&step.kind, tag) {
                (Kind::Say(bytes), Some(tag)) if bytes.first() == Some(&b'C') => {
                    Step::say(|out| wire::put_complete(out, tag))
                }
                _ => step,
            }));
        }
        steps
    }
}

/// How a unit stands to transactions.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// In a transaction of the agent's, or in its ruins.
    inside: bool,
    /// All that would be committed together: no transaction, or from BEGIN to COMMIT.
    whole: bool,
    /// It leaves a transaction open.
    begins: bool,
}

impl Shape {
    fn of(pieces: &[Piece], tx: Tx) -> Shape {
        let controls: Vec<(usize, &TransactionStatement)> = pieces
            .iter()
            .enumerate()
            .filter_map(|(index, piece)| match &piece.class {
                Class::Transaction(transaction) => Some((index, transaction)),
                _ => None,
            })
            .collect();
        let wrapped = match controls.as_slice() {
            [
                (0, TransactionStatement::Begin(modes)),
                (end, TransactionStatement::Commit { .. }),
            ] => *modes == Default::default() && end + 1 == pieces.len(),
            _ => false,
        };
        let inside = tx != Tx::None;
        let begins = controls.iter().rev().find_map(|(_, control)| match control {
            TransactionStatement::Begin(_) => Some(true),
            TransactionStatement::Commit { .. } | TransactionStatement::Rollback { .. } => {
                Some(false)
            }
            _ => None,
        });
        let whole = !inside && (controls.is_empty() || wrapped);
        Shape { inside, whole, begins: begins.unwrap_or(false) }
    }
}

fn touches_strings(piece: &Piece) -> bool {
    match &piece.class {
        Class::Session(SessionStatement::Set { name, .. } | SessionStatement::Reset { name }) => {
            name == "standard_conforming_strings"
        }
        Class::Session(SessionStatement::ResetAll | SessionStatement::DiscardAll) => true,
        _ => false,
    }
}
