//! Before a commit: what the transaction did is measured and put to the gate.
//!
//! A unit that could flow runs up to its commit, with the rows that it changes read first, in the
//! same flight. Then the server's own counters say what it did. What is small and kept commits;
//! anything else is rolled back, and held whole.

use super::flight::{Broken, Report};
use super::gate::{Admitted, Gate, Right as _};
use super::judge::Carried;
use super::kept::{self, Kept};
use super::measure::{self, Counts, Measure, Remains};
use super::run::Ran;
use super::session::Session;
use super::step::Step;
use crate::postgres::interpret::{Before, TransactionStatement};
use crate::postgres::refuse::{self, CANNOT_JUDGE, Said};
use crate::postgres::unit::{Unit, UnitStatement};
use crate::postgres::wire::ErrorResponse;
use countermand_core::action::Action;
use countermand_core::effect::Effect;
use countermand_core::limits::{Beyond, Limits};
use countermand_core::request::{ChangeNumber, RequestKey};
use countermand_engine::{Images, Proposal, Refusal, Weighing};
use std::collections::{BTreeMap, BTreeSet};

/// More deferred work than this many passes brings to light counts as hiding.
const PASSES: usize = 3;
/// As many tables a session remembers how to ask for remaining rows.
const MOST_REMAINS: usize = 256;
/// The largest transaction that is held whole, in bytes of its texts and parameters.
const MAX_WHOLE: usize = 32 * 1024 * 1024;

/// What the open transaction has done that must be weighed.
#[derive(Debug, Default)]
pub(super) struct Scales {
    /// How much of it may flow; none where nothing is to be weighed.
    pub(super) limits: Option<Limits>,
    /// Its target is observed: nothing of it is stopped for what it is.
    pub(super) observed: bool,
    pub(super) actions: BTreeSet<Action>,
    statements: Vec<UnitStatement>,
    settings: BTreeMap<String, String>,
    bytes: usize,
    /// Numbers of subtransactions that were seen before they ended.
    numbers: BTreeSet<u32>,
    /// All of it came in one message.
    one_message: bool,
    /// Not all of it is known: it cannot be held whole.
    partial: bool,
    /// Parts of it change rows that nobody asked for before.
    hides: bool,
    kept: Vec<Kept>,
    savepoints: Vec<Savepoint>,
    /// What was counted and is undone.
    undone: Counts,
}

/// What became of a transaction that was weighed at its commit.
pub(super) enum Weighed {
    /// These steps may commit it.
    Commits(Vec<Step>),
    /// The engine has executed exactly this, and nobody was told yet. Production has it open
    /// still.
    Already(ChangeNumber, String),
    /// The agent has an error, and production was rolled back.
    Refused,
}

/// An open savepoint of the agent's.
#[derive(Debug)]
struct Savepoint {
    name: String,
    /// As many questions had been answered.
    kept: usize,
    /// What had been counted.
    counted: Counts,
    /// What of that had been undone.
    undone: Counts,
}

impl Scales {
    pub(super) fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// Settings as they were before anything of it ran; `whole`: nothing follows it in another
    /// message.
    pub(super) fn begin(&mut self, settings: BTreeMap<String, String>, whole: bool) {
        if self.is_empty() {
            (self.settings, self.one_message) = (settings, whole);
        }
    }

    /// Takes note of what is about to run in the transaction.
    pub(super) fn remember(&mut self, actions: &[Action], statements: Vec<UnitStatement>) {
        self.actions.extend(actions.iter().cloned());
        let size = |statement: &UnitStatement| {
            let values = statement.parameters.iter().filter_map(|p| p.value.as_ref());
            statement.sql.len() + values.map(String::len).sum::<usize>()
        };
        self.bytes += statements.iter().map(size).sum::<usize>();
        if self.bytes > MAX_WHOLE {
            self.partial = true;
            self.statements.clear();
        } else {
            self.statements.extend(statements);
        }
    }

    /// It holds something that is not in its texts.
    pub(super) fn is_partial(&mut self) {
        self.partial = true;
    }

    /// A part of it changes rows that nobody asked for before.
    pub(super) fn hides_changes(&mut self) {
        self.hides = true;
    }

    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept.iter().map(|kept| kept.bytes).fold(0, u64::saturating_add)
    }

    /// A savepoint was made, left or gone back to. What was kept since goes with what was done
    /// since: rows that nobody will see any more would look like rows that were changed. What was
    /// counted since is no change any more.
    fn steer(&mut self, transaction: &TransactionStatement, counted: Counts) {
        use TransactionStatement as T;
        let place = |name: &String| self.savepoints.iter().rposition(|known| known.name == *name);
        match transaction {
            T::Savepoint { name } => self.savepoints.push(Savepoint {
                name: name.clone(),
                kept: self.kept.len(),
                counted,
                undone: self.undone.clone(),
            }),
            T::Release { name } => {
                if let Some(place) = place(name) {
                    self.savepoints.truncate(place);
                }
            }
            T::RollbackTo { name } => {
                if let Some(place) = place(name) {
                    self.savepoints.truncate(place + 1);
                    let to = &self.savepoints[place];
                    self.kept.truncate(to.kept);
                    self.undone = measure::and_between(&to.undone, &to.counted, &counted);
                }
                // Its texts do not tell which of them were undone.
                self.partial = true;
            }
            _ => {}
        }
    }
}

impl<G: Gate> Session<G> {
    /// Takes what a flight has kept.
    pub(super) fn keep(&mut self, report: &mut Report) {
        let kept = report.kept.drain(..);
        self.scales.kept.extend(kept.filter(|kept| kept.takes_any()));
    }

    /// Whether the open transaction waits for a yes before its commit.
    pub(super) fn must_be_weighed(&self) -> bool {
        self.scales.limits.is_some()
    }

    /// Makes, leaves or goes back to a savepoint of the agent's, and counts there.
    pub(super) async fn save_point(
        &mut self,
        transaction: &TransactionStatement,
    ) -> Result<Report, Broken> {
        self.pending.push(measure::so_far());
        let mut report = self.land().await?;
        if report.error.is_none() {
            let measured = Measure::of(std::mem::take(&mut report.rows)).map_err(unreadable)?;
            self.scales.numbers.extend(measured.numbers());
            self.scales.steer(transaction, measured.counts());
        }
        Ok(report)
    }

    /// Weighs the open transaction, and gives `commit` back when it may be done.
    pub(super) async fn weigh(
        &mut self,
        commit: Vec<Step>,
        ran: &mut Ran,
    ) -> Result<Weighed, Broken> {
        let Some((mut measure, seen)) = self.measure(ran).await? else {
            return Ok(Weighed::Refused);
        };
        let mut scales = std::mem::take(&mut self.scales);
        measure.wrote_as(&scales.numbers);
        measure.take_off(&scales.undone);
        if scales.observed {
            self.begin_aside().await?;
        }
        let mut doubt = self.let_go(&measure, seen, &mut scales.kept).await?;
        let asked_to_delete = kept::relations_that_lose(&scales.kept);
        // What cascades and triggers change is searched for; what hides is not.
        if doubt.is_none() && !scales.hides {
            let limits = scales.limits.unwrap_or_default();
            doubt = self.search(&mut measure, &mut scales.kept, &limits).await?;
        }
        if scales.observed {
            self.end_aside().await?;
        }
        let mut written =
            measure.written(&scales.kept, scales.partial || scales.statements.len() > 1);
        written.odd.extend(doubt);
        written.roots = roots(&scales.actions).max(asked_to_delete);
        let whole = self.whole(&scales);
        let images = match measure.is_empty() {
            true => None,
            false => measure.images(scales.kept).map(|images| Images {
                transaction: images.transaction.to_string(),
                body: images.to_body(),
            }),
        };
        let receipts = std::mem::take(&mut self.receipts);
        let key = RequestKey::of(&self.caller.agent, &self.target, &whole.payload);
        let weighing = Weighing { whole, written, images };
        let (admitted, receipt) = self.gate.weigh(weighing, receipts, commit).await;
        self.receipts.push(receipt);
        match admitted {
            Admitted::Allowed(permit) => {
                self.counts_are_old = false;
                Ok(Weighed::Commits(permit.spend()))
            }
            Admitted::Done { change, at, .. } => Ok(Weighed::Already(change, at)),
            other => {
                ran.error = Some("rolled back: it is not small, or could not be taken back".into());
                self.deny(other, key).await?;
                Ok(Weighed::Refused)
            }
        }
    }

    /// Says why a unit that ran does not commit.
    async fn deny<P>(&mut self, admitted: Admitted<P>, key: RequestKey) -> Result<(), Broken> {
        let said = match admitted {
            Admitted::Refused(Refusal::Held { change, carried: true, .. })
                if self.carried == Carried::May =>
            {
                self.carried = Carried::By(change);
                return self.undo().await;
            }
            Admitted::Refused(refusal) => {
                self.note(&refusal, key);
                refuse::refusal(&refusal)
            }
            Admitted::Done { change, at, .. } => {
                let words = format!("executed already as change {change} at {at}");
                Said::error(CANNOT_JUDGE, words).hint("Look at what is there before asking again.")
            }
            _ => Said::error(CANNOT_JUDGE, "what it did could not be weighed"),
        };
        self.fail(said).await
    }

    /// A question for rows failed: the statement was not run, and its transaction is over.
    pub(super) async fn too_much(&mut self, error: &ErrorResponse) -> Result<(), Broken> {
        if std::mem::take(&mut self.stale) {
            let words = "the table was changed meanwhile, and the transaction was rolled back";
            return self.fail(Said::error("40001", words).hint("Run it again.")).await;
        }
        let limit = self.scales.limits.unwrap_or_default().rows;
        let beyond = match error.message.contains(Before::TOO_MANY) {
            true => Beyond::Rows { changed: limit.saturating_add(1), limit },
            false => Beyond::Odd {
                what: format!("the rows that it changes cannot be kept beforehand: {error}"),
            },
        };
        self.hold_unrun(beyond).await
    }

    /// Refuses the open transaction for what it was about to do.
    pub(super) async fn hold_unrun(&mut self, beyond: Beyond) -> Result<(), Broken> {
        let scales = std::mem::take(&mut self.scales);
        let whole = self.whole(&scales);
        let whole = Proposal { approvable: whole.approvable && scales.one_message, ..whole };
        let key = RequestKey::of(&self.caller.agent, &self.target, &whole.payload);
        let admitted = self.gate.too_much(whole, vec![beyond]).await;
        self.deny(admitted, key).await
    }

    fn whole(&self, scales: &Scales) -> Proposal {
        let (statements, settings) = (scales.statements.clone(), scales.settings.clone());
        Proposal {
            caller: self.caller.clone(),
            target: self.target.clone(),
            actions: scales.actions.iter().cloned().collect(),
            payload: Unit { statements, settings }.to_payload(),
            measurable: true,
            transactional: true,
            approvable: !scales.partial,
        }
    }

    /// What the transaction did, with everything deferred already done; and what remains of what
    /// was kept, as far as the session has asked of those tables before. None where something
    /// failed: the agent has the error, or `ran` has what it is to be told.
    async fn measure(&mut self, ran: &mut Ran) -> Result<Option<(Measure, Seen)>, Broken> {
        let mut last: Option<Measure> = None;
        for _ in 0..PASSES {
            let (known, mut prepared) = (self.measures, std::mem::take(&mut self.remains));
            if self.scales.observed {
                // A table can be gone by now, and its question would end the transaction.
                prepared.clear();
            }
            let asked = Remains::of(&self.scales.kept, |table| prepared.get(&table));
            self.forget_ours();
            self.pending.extend(measure::steps(known));
            self.pending.extend(asked.steps(&prepared));
            let mut report = self.land().await?;
            let rows = std::mem::take(&mut report.rows);
            ran.add(report);
            if ran.error.is_some() {
                return Ok(None);
            }
            (self.measures, self.remains) = (true, prepared);
            let (rows, answers) = rows.into_iter().partition(|row| row.len() != Remains::COLUMNS);
            let measured = Measure::of(rows).map_err(unreadable)?;
            if !measured.defers || last.as_ref() == Some(&measured) {
                return Ok(Some((measured, Seen { asked, answers })));
            }
            last = Some(measured);
        }
        let words = "cannot judge: its deferred triggers defer more each time they run";
        ran.error = Some(words.to_owned());
        self.fail(Said::error(CANNOT_JUDGE, words)).await?;
        Ok(None)
    }

    /// Lets go of rows that were kept and not changed. Gives why that cannot be seen, if so.
    pub(super) async fn let_go(
        &mut self,
        measure: &Measure,
        seen: Seen,
        rows: &mut [Kept],
    ) -> Result<Option<String>, Broken> {
        let remains = measure.remains(rows);
        if remains == seen.asked {
            kept::let_go(rows, &seen.answers);
            return Ok(None);
        }
        let prepared = std::mem::take(&mut self.remains);
        let mut steps = remains.steps(&prepared);
        steps.push(Step::sync());
        let report = self.fly_silently(steps).await?;
        if let Some(error) = report.error {
            let words = "whether what is kept is what it changed cannot be seen";
            return Ok(Some(format!("{words}: {error}")));
        }
        kept::let_go(rows, &report.rows);
        let known = remains.tables().map(|(table, readable)| (table, readable.clone()));
        self.remains = prepared.into_iter().take(MOST_REMAINS).chain(known).collect();
        Ok(None)
    }
}

/// What was seen of kept rows together with the measure.
#[derive(Default)]
pub(super) struct Seen {
    asked: Remains,
    answers: Vec<Vec<Option<String>>>,
}

/// Resources that a transaction names to take something from.
fn roots(actions: &BTreeSet<Action>) -> u64 {
    let destroys = actions.iter().filter(|action| action.effect() > Effect::Write);
    destroys.map(|action| &action.object).collect::<BTreeSet<_>>().len() as u64
}

fn unreadable(why: measure::Unreadable) -> Broken {
    Broken::Fatal(Said::fatal(CANNOT_JUDGE, format!("cannot judge: {why}")))
}
