//! Running what was allowed, inside the transaction it belongs in.
//!
//! Reads run in a read-only transaction that ends in a rollback and took no transaction id; in
//! a transaction of the agent's they run behind a savepoint, in read-only mode. READ ONLY alone
//! is no wall (`RESET transaction_read_only` makes it writable); the rollback is. Rows may
//! already be with the agent when a read is found to have written: then nothing it wrote stays,
//! and the session ends.

use super::flight::{Broken, Report};
use super::gate::Gate;
use super::land::{lost_track, took_no_xid};
use super::measure;
use super::piece::{Class, Piece};
use super::session::{Open, Session, Tx};
use super::step::{Kind, Step};
use super::weigh::{Scales, Weighed};
use crate::postgres::interpret::{Modes, SessionStatement, TransactionStatement};
use crate::postgres::refuse::Said;
use crate::postgres::wire::ErrorResponse;
use countermand_core::request::ChangeNumber;

const BEGIN_READING: &str = "BEGIN READ ONLY";
const NO_XID: &str = "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NULL";
const GUARD: [&str; 2] = ["SAVEPOINT countermand_read", "SET LOCAL transaction_read_only = on"];
const UNGUARD: [&str; 2] =
    ["ROLLBACK TO SAVEPOINT countermand_read", "RELEASE SAVEPOINT countermand_read"];

/// How the pieces of a unit ended.
#[derive(Debug, Default)]
pub(super) struct Ran {
    /// The server's error; the agent has it.
    pub(super) error: Option<String>,
    /// What the server said of each statement.
    pub(super) tags: Vec<String>,
    /// Why the rows that a statement would change could not be kept; it was not run, and the agent
    /// does not know yet.
    not_kept: Option<ErrorResponse>,
}

impl Ran {
    pub(super) fn add(&mut self, report: Report) {
        self.tags.extend(report.tags);
        self.error = self.error.take().or(report.error);
        self.not_kept = self.not_kept.take().or(report.not_kept);
    }
}

impl<G: Gate> Session<G> {
    /// Runs pieces in order, up to the first error. `last`: nothing more of this unit comes.
    pub(super) async fn run(&mut self, pieces: Vec<Piece>, last: bool) -> Result<Ran, Broken> {
        let mut ran = Ran::default();
        let mut pieces = pieces.into_iter().peekable();
        while let Some(piece) = pieces.next() {
            let is_last = last && pieces.peek().is_none();
            match self.tx {
                _ if self.passes_over(&piece) => ran.add(self.pass_over(piece).await?),
                Tx::None => self.run_outside(piece, is_last, &mut ran).await?,
                Tx::Open(open) if open.failed => self.run_failed(piece, &mut ran).await?,
                Tx::Open(open) => self.run_inside(piece, open, &mut ran).await?,
                Tx::Aborted => self.run_aborted(piece, &mut ran).await?,
            }
            let ends = pieces.peek().is_none_or(|next| matches!(next.class, Class::Transaction(_)));
            if ran.error.is_none() && ends && matches!(self.tx, Tx::Open(Open { ours: true, .. })) {
                self.commit_ours(&mut ran).await?;
            }
            if ran.error.is_some() {
                break;
            }
        }
        if ran.error.is_none() && !self.pending.is_empty() {
            ran.add(self.land().await?);
        }
        if let Some(error) = ran.not_kept.take() {
            self.too_much(&error).await?;
        }
        if let (Some(why), Tx::Open(Open { ours: true, .. })) = (&ran.error, self.tx) {
            let why = why.clone();
            self.roll_back(&why).await?;
            self.tx = Tx::None;
        }
        Ok(ran)
    }

    /// Whether statements are heard: no transaction has failed.
    pub(super) fn is_well(&self) -> bool {
        matches!(self.tx, Tx::None | Tx::Open(Open { failed: false, .. }))
    }

    /// Whether a piece is answered as if it had run, and does not.
    fn passes_over(&self, piece: &Piece) -> bool {
        (piece.is_there || self.keeps(piece)) && self.is_well()
    }

    /// What is there is not created, and a limit stays as it is; the client goes on.
    async fn pass_over(&mut self, piece: Piece) -> Result<Report, Broken> {
        let mut landed = self.land().await?;
        if landed.error.is_none() {
            let (notice, tag) = match piece.creates.as_ref().filter(|_| piece.is_there) {
                Some(creates) => {
                    let (code, words) = creates.notice();
                    (Said::notice(words).coded(code), creates.tag())
                }
                None => {
                    let words = "the limit stays as it is: an agent may only lower it";
                    (Said::notice(words), "SET")
                }
            };
            self.output.put(|out| notice.encode(out));
            let said = self.say_instead(piece, tag).await?;
            landed.tags.extend(said.tags);
            landed.error = said.error;
        }
        Ok(landed)
    }

    async fn run_outside(
        &mut self,
        piece: Piece,
        is_last: bool,
        ran: &mut Ran,
    ) -> Result<(), Broken> {
        match piece.class {
            Class::Gateway(_) => ran.add(self.answer(piece).await?),
            Class::Quiet => {
                self.pending.extend(piece.steps);
                ran.add(self.land().await?);
            }
            Class::Read => self.read(piece, is_last, ran).await?,
            Class::Write | Class::CopyIn => self.write_in_ours(piece, ran).await?,
            // It means what follows in the same message, which needs a transaction for that.
            Class::Session(SessionStatement::Set { local: true, .. }) if !is_last => {
                self.write_in_ours(piece, ran).await?;
            }
            Class::Alone | Class::Session(_) => {
                self.end_reading().await?;
                self.pending.extend(piece.steps);
                ran.add(self.land().await?);
            }
            Class::Transaction(TransactionStatement::Begin(Modes { read_only, .. })) => {
                self.end_reading().await?;
                self.forget_counts();
                self.pending.extend(piece.steps);
                let read_only = read_only == Some(true);
                self.tx = Tx::Open(Open { read_only, ..Open::default() });
            }
            Class::Transaction(transaction) => {
                self.end_reading().await?;
                self.pending.extend(piece.steps);
                ran.add(self.land().await?);
                if matches!(transaction, TransactionStatement::Rollback { .. }) {
                    self.held = None;
                }
            }
        }
        Ok(())
    }

    /// The first that writes outside any transaction of the agent's: from here to the end of the
    /// unit, all is one.
    async fn write_in_ours(&mut self, piece: Piece, ran: &mut Ran) -> Result<(), Broken> {
        self.end_reading().await?;
        self.forget_counts();
        self.pending.push(Step::own("BEGIN"));
        self.tx = Tx::Open(Open { ours: true, wrote: true, ..Open::default() });
        self.hurry();
        self.write(piece, ran).await
    }

    /// Before a transaction begins: the server's counters show nothing of those before it.
    fn forget_counts(&mut self) {
        if std::mem::take(&mut self.counts_are_old) {
            self.pending.push(measure::forget());
        }
    }

    /// A read, outside any transaction of the agent's: all in one flight where nothing follows.
    async fn read(&mut self, piece: Piece, is_last: bool, ran: &mut Ran) -> Result<(), Broken> {
        let mut steps = Vec::with_capacity(piece.steps.len() + 4);
        if !self.reading {
            steps.push(Step::own(BEGIN_READING));
        }
        self.reading = true;
        steps.extend(piece.steps);
        if is_last {
            steps.extend([Step::own(NO_XID), Step::sync(), Step::query("ROLLBACK")]);
            let mut report = self.fly(steps).await?;
            self.reading = false;
            self.expect(&report, b"I")?;
            took_no_xid(&mut report)?;
            ran.add(report);
            return Ok(());
        }
        steps.push(Step::sync());
        let report = self.fly(steps).await?;
        self.expect(&report, b"TE")?;
        ran.add(report);
        if ran.error.is_some() {
            self.end_reading().await?;
        }
        Ok(())
    }

    /// Ends the read-only transaction of the unit.
    pub(super) async fn end_reading(&mut self) -> Result<(), Broken> {
        if !std::mem::take(&mut self.reading) {
            return Ok(());
        }
        let steps = vec![Step::own(NO_XID), Step::sync(), Step::query("ROLLBACK")];
        // In a transaction that has failed the question fails too: nothing of it stays anyway.
        let mut report = self.fly_silently(steps).await?;
        self.expect(&report, b"I")?;
        took_no_xid(&mut report)
    }

    async fn run_inside(&mut self, piece: Piece, open: Open, ran: &mut Ran) -> Result<(), Broken> {
        match &piece.class {
            Class::Gateway(_) => {
                ran.add(self.land().await?);
                ran.add(self.answer(piece).await?);
            }
            Class::Quiet => {
                self.pending.extend(piece.steps);
                if !open.ours {
                    ran.add(self.land().await?);
                }
            }
            _ if open.read_only && !matches!(piece.class, Class::Transaction(_)) => {
                self.pending.extend(piece.steps);
                ran.add(self.land().await?);
            }
            Class::Read => {
                if !open.guard {
                    self.pending.extend(GUARD.map(Step::own));
                    self.update(|open| open.guard = true);
                }
                self.pending.extend(piece.steps);
                ran.add(self.land().await?);
            }
            Class::Write | Class::CopyIn | Class::Alone | Class::Session(_) => {
                let writes = piece.writes();
                self.unguard(open);
                self.update(|open| open.wrote |= writes);
                if writes {
                    self.hurry();
                }
                self.write(piece, ran).await?;
            }
            Class::Transaction(transaction) => {
                let transaction = transaction.clone();
                self.steer(piece, &transaction, open, ran).await?;
            }
        }
        Ok(())
    }

    /// Something that may stay: it goes with what follows, where nothing must be known first.
    async fn write(&mut self, piece: Piece, ran: &mut Ran) -> Result<(), Broken> {
        let copies = matches!(piece.class, Class::CopyIn);
        self.counts_are_old |= self.must_be_weighed();
        let aside = piece.before.as_ref().filter(|_| self.scales.observed);
        if let Some(question) = aside
            && !self.keep_aside(question, ran).await?
        {
            return Ok(());
        }
        let question = match &piece.before {
            Some(question) if aside.is_none() => self.question(question),
            _ => None,
        };
        if aside.is_none() && piece.before.is_some() && question.is_none() {
            self.scales.hides_changes();
        }
        let mut steps = piece.steps;
        let runs = |step: &Step| matches!(step.kind, Kind::Execute);
        if let (true, Some(place)) = (piece.bulk, steps.iter().position(runs)) {
            let before: Vec<Step> = steps.drain(..place).collect();
            self.pending.extend(before);
            if let Some(statement) = piece.payload.last()
                && !self.looks_small(statement, ran).await?
            {
                return Ok(());
            }
        }
        if let (Some(question), Some(place)) = (question, steps.iter().position(runs)) {
            steps.insert(place, question);
        }
        self.pending.extend(steps);
        if copies {
            ran.add(self.copy_in().await?);
        }
        Ok(())
    }

    /// A statement about the agent's open transaction.
    async fn steer(
        &mut self,
        piece: Piece,
        transaction: &TransactionStatement,
        open: Open,
        ran: &mut Ran,
    ) -> Result<(), Broken> {
        use TransactionStatement as T;
        match transaction {
            T::Commit { .. } if open.read_only => {
                ran.add(self.land().await?);
                if ran.error.is_none() {
                    self.end_read_only().await?;
                    ran.add(self.say_instead(piece, "COMMIT").await?);
                }
            }
            T::Commit { .. } | T::Rollback { .. } => {
                let commits = matches!(transaction, T::Commit { .. });
                let mut steps = piece.steps;
                if commits {
                    self.unguard(open);
                    if self.must_be_weighed() {
                        let echo = steps.iter().filter_map(|step| step.echo("COMMIT")).collect();
                        steps = match self.weigh(steps, ran).await? {
                            Weighed::Commits(steps) => steps,
                            Weighed::Already(change, at) => {
                                return self.end_already(change, &at, echo).await;
                            }
                            Weighed::Refused => return self.end_unweighed(ran).await,
                        };
                    }
                }
                self.pending.extend(steps);
                self.committing = commits;
                ran.add(self.land_for_good().await?);
                self.committing = false;
                if self.tx == Tx::None {
                    let committed = commits && ran.error.is_none();
                    let words = ran.error.clone().unwrap_or_else(|| ran.tags.join(", "));
                    self.settle(committed, &words).await;
                }
                if !commits {
                    self.held = None;
                }
            }
            T::Set { modes, session: false } | T::Begin(modes) => {
                let narrows = modes.read_only == Some(true) && !open.wrote;
                self.unguard(open);
                self.pending.extend(piece.steps);
                let report = self.land().await?;
                if report.error.is_none() && narrows {
                    self.update(|open| open.read_only = true);
                }
                ran.add(report);
            }
            _ => {
                self.unguard(open);
                if matches!(transaction, T::Release { .. }) {
                    self.pending.push(measure::so_far());
                }
                self.pending.extend(piece.steps);
                ran.add(self.save_point(transaction).await?);
            }
        }
        Ok(())
    }

    /// What would be committed is there: the engine has done it, and it is not done twice.
    async fn end_already(
        &mut self,
        change: ChangeNumber,
        at: &str,
        steps: Vec<Step>,
    ) -> Result<(), Broken> {
        self.roll_back(&format!("rolled back: it was executed as change {change}")).await?;
        self.tx = Tx::None;
        self.tell(change, at, steps).await
    }

    /// The agent's COMMIT ends its transaction, whatever became of it.
    async fn end_unweighed(&mut self, ran: &mut Ran) -> Result<(), Broken> {
        if let Some(error) = ran.not_kept.take() {
            self.too_much(&error).await?;
        } else if matches!(self.tx, Tx::Open(_)) {
            self.roll_back("failed before its commit").await?;
        }
        self.tx = Tx::None;
        Ok(())
    }

    /// In a failed transaction production refuses all but its end; savepoints may revive it.
    async fn run_failed(&mut self, piece: Piece, ran: &mut Ran) -> Result<(), Broken> {
        use TransactionStatement as T;
        let class = piece.class;
        self.pending.extend(piece.steps);
        let ends = matches!(class, Class::Transaction(T::Commit { .. } | T::Rollback { .. }));
        let report = match &class {
            _ if ends => self.land_for_good().await?,
            Class::Transaction(back @ T::RollbackTo { .. }) => self.save_point(back).await?,
            _ => self.land().await?,
        };
        ran.add(report);
        if let Class::Transaction(transaction) = class {
            match transaction {
                T::Rollback { .. } => self.held = None,
                // The savepoint that reads stood behind is gone with what came after the agent's.
                T::RollbackTo { .. } => self.update(|open| open.guard = false),
                _ => {}
            }
            if self.tx == Tx::None {
                self.settle(false, "rolled back").await;
            }
        }
        Ok(())
    }

    /// Production has forgotten the transaction; the agent has not.
    async fn run_aborted(&mut self, piece: Piece, ran: &mut Ran) -> Result<(), Broken> {
        use TransactionStatement as T;
        match &piece.class {
            Class::Transaction(end @ (T::Commit { .. } | T::Rollback { .. })) => {
                if matches!(end, T::Rollback { .. }) {
                    self.held = None;
                }
                self.tx = Tx::None;
                ran.add(self.say_instead(piece, "ROLLBACK").await?);
            }
            Class::Quiet => {
                let report = self.fly_quietly(piece.steps).await?;
                ran.add(report);
            }
            _ => {
                let words = "current transaction is aborted, commands ignored until end of \
                             transaction block";
                self.output.put(|out| Said::error("25P02", words).encode(out));
                ran.error = Some(words.to_owned());
            }
        }
        Ok(())
    }

    /// Prepares and closes what the piece prepares and closes, and answers its statement with
    /// this tag: production ends the transaction otherwise than the agent said.
    async fn say_instead(&mut self, piece: Piece, tag: &str) -> Result<Report, Broken> {
        let steps = piece.steps.iter().filter_map(|step| step.echo(tag)).collect();
        self.fly_quietly(steps).await
    }

    /// Steps that run nothing.
    pub(super) async fn fly_quietly(&mut self, mut steps: Vec<Step>) -> Result<Report, Broken> {
        if steps.iter().any(|step| !step.sends.is_empty()) {
            steps.push(Step::sync());
        }
        self.fly(steps).await
    }

    /// Ends a transaction that was begun as read only.
    async fn end_read_only(&mut self) -> Result<(), Broken> {
        let steps = vec![Step::own(NO_XID), Step::sync(), Step::query("ROLLBACK")];
        let mut report = self.fly_silently(steps).await?;
        self.tx = Tx::None;
        self.scales = Scales::default();
        self.names.forget_portals();
        self.expect(&report, b"I")?;
        took_no_xid(&mut report)
    }

    /// Ends the guard of reads: whatever they did is undone.
    fn unguard(&mut self, open: Open) {
        if open.guard {
            self.pending.extend(UNGUARD.map(Step::own));
            self.update(|open| open.guard = false);
        }
    }

    /// Commits the transaction that we put around the unit. The agent hears of the last statement
    /// when it is committed, not before.
    async fn commit_ours(&mut self, ran: &mut Ran) -> Result<(), Broken> {
        if let Tx::Open(open) = self.tx {
            self.unguard(open);
        }
        self.withhold();
        let mut commit = vec![Step::own("COMMIT")];
        commit[0].releases = true;
        if self.must_be_weighed() {
            commit = match self.weigh(commit, ran).await? {
                Weighed::Commits(commit) => commit,
                Weighed::Already(change, at) => {
                    let release = Step { releases: true, ..Step::say(|_| {}) };
                    return self.end_already(change, &at, vec![release]).await;
                }
                Weighed::Refused => return Ok(()),
            };
        }
        self.pending.extend(commit);
        self.committing = true;
        ran.add(self.land_for_good().await?);
        self.committing = false;
        if self.tx == Tx::None {
            let words = ran.error.clone().unwrap_or_else(|| ran.tags.join(", "));
            self.settle(ran.error.is_none(), &words).await;
        }
        Ok(())
    }

    /// The last statement's end waits for the commit.
    fn withhold(&mut self) {
        let executes = |step: &&mut Step| matches!(step.kind, Kind::Execute);
        if let Some(last) = self.pending.iter_mut().rev().find(executes) {
            last.withholds = true;
        }
    }

    /// Rolls production back, after something went wrong.
    pub(super) async fn roll_back(&mut self, why: &str) -> Result<(), Broken> {
        let report = self.fly_silently(vec![Step::query("ROLLBACK")]).await?;
        self.names.forget_portals();
        self.settle(false, why).await;
        if report.status == b'I' { Ok(()) } else { Err(lost_track()) }
    }

    /// Writes whose end is known now.
    pub(super) async fn settle(&mut self, ok: bool, words: &str) {
        self.scales = Scales::default();
        // A commit that was sent and not answered may have been done.
        let ok = (!self.committing).then_some(ok);
        for receipt in std::mem::take(&mut self.receipts) {
            self.gate.settle(receipt, ok, words.to_owned()).await;
        }
    }

    fn update(&mut self, change: impl FnOnce(&mut Open)) {
        if let Tx::Open(open) = &mut self.tx {
            change(open);
        }
    }
}
