//! Runs a unit up to, never over, its commit, in the order that makes it safe: lock against
//! writers, then look (so that what is seen, saved and changed is one and the same), then run,
//! then measure, then wait for a verdict.

use super::super::unit::{Unit, UnitStatement};
use super::client::{Client, ClientError};
use super::measure::{self, Catalogue, Counters, Deviation};
use super::reads;
use super::save::{self, SaveError, Saving, Subject};
use super::saved::Sealed;
use super::steps::{self, Step};
use super::survey::{self, Depth, Survey};
use super::{PostgresTarget, preview};
use countermand_core::action::Action;
use countermand_core::change::{Abort, CommitToken, Outcome, RestorePoint};
use countermand_core::preview::Counts;
use countermand_engine::target::{Aborted, Commit, Ended, Ran, Run, TargetError, Verdict};
use std::collections::BTreeSet;
use std::pin::Pin;

/// Settings of a session that a unit may carry: those that change what its texts mean, and
/// nothing that changes what it may do.
const SETTINGS: [&str; 23] = [
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "check_function_bodies",
    "client_encoding",
    "DateStyle",
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "default_toast_compression",
    "extra_float_digits",
    "IntervalStyle",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "row_security",
    "search_path",
    "standard_conforming_strings",
    "TimeZone",
    "transform_null_equals",
    "xmlbinary",
    "xmloption",
    "quote_all_identifiers",
];

/// A unit that has run in an open transaction.
pub(super) struct Executed {
    client: Client,
    /// The server's words for each statement.
    said: Vec<String>,
    /// Rows lost or changed.
    measured: Counts,
    saving: Option<Saving>,
}

/// A run that waits for its verdict. Dropped, its connection closes and the server rolls back.
pub(super) struct Waiting {
    executed: Executed,
    /// The restore point, where one was asked for.
    pub(super) saved: Option<Sealed>,
    /// What proves after a crash whether the commit happened.
    pub(super) token: CommitToken,
}

/// Up to the verdict.
pub(super) async fn run(target: &PostgresTarget, run: Run) -> Result<Waiting, Aborted> {
    let attempt = Attempt::begin(target, &run).await?;
    let mut executed = attempt.execute(&run).await?;
    if let Err(exceeded) = run.ceiling.admits(&executed.measured) {
        return Err(abort(Abort::CeilingExceeded, exceeded));
    }
    let saved = match executed.saving.take() {
        Some(saving) => Some(sealed(saving).await?),
        None => None,
    };
    let sql = "SELECT pg_catalog.pg_current_xact_id()";
    let rows = executed.client.query(sql, &[]).await.map_err(own)?;
    let transaction = rows.first().map(|row| super::catalog::text(row, 0).to_owned());
    let token = CommitToken {
        fingerprint: run.identity.fingerprint,
        transaction: transaction.unwrap_or_default(),
    };
    Ok(Waiting { executed, saved, token })
}

async fn sealed(saving: Saving) -> Result<Sealed, Aborted> {
    let sealed = tokio::task::spawn_blocking(move || saving.seal()).await;
    sealed.unwrap_or(Err(SaveError::GivenUp)).map_err(unsaved)
}

impl Waiting {
    /// What it can be taken back from.
    pub(super) fn restore_point(&self) -> Option<RestorePoint> {
        self.saved.as_ref().map(|saved| saved.point.clone())
    }

    /// As the engine takes it.
    pub(super) fn into_ran(self) -> Ran {
        let restore_point = self.restore_point();
        let measured = self.executed.measured.clone();
        let token = self.token.clone();
        let finish = Box::new(move |verdict: Verdict| {
            let commit = match verdict {
                Verdict::Commit(permit) => Some(permit.spend()),
                Verdict::RollBack => None,
            };
            let settle: Pin<Box<dyn Future<Output = Ended> + Send>> = Box::pin(self.settle(commit));
            settle
        });
        Ran { measured, restore_point, token, finish }
    }

    /// Commits with the right to, for exactly this transaction; otherwise rolls back.
    pub(super) async fn settle(mut self, commit: Option<Commit>) -> Ended {
        let why = match commit {
            Some(commit) if commit.token == self.token => return self.commit().await,
            Some(_) => "the permit is for another transaction",
            None => "the change was not permitted to commit",
        };
        let _ = self.executed.client.batch("ROLLBACK").await;
        Ended::RolledBack(why.to_owned())
    }

    async fn commit(mut self) -> Ended {
        if let Some(saved) = &mut self.saved {
            saved.keep();
        }
        match self.executed.client.batch("COMMIT").await {
            Ok(tag) if tag == "COMMIT" => Ended::Committed(Outcome {
                said: self.executed.said,
                measured: self.executed.measured,
            }),
            Ok(tag) => {
                if let Some(saved) = &mut self.saved {
                    saved.forget();
                }
                Ended::RolledBack(format!("the server answered {tag} to COMMIT"))
            }
            Err(error) => unfinished(error),
        }
    }

    /// Rows lost or changed.
    #[cfg(test)]
    pub(super) fn measured(&self) -> &Counts {
        &self.executed.measured
    }
}

/// What an error of COMMIT says. A constraint or a conflict ends the commit before it is written.
/// After any other error the server itself must say what came of it: it may have written the
/// commit.
pub(super) fn unfinished(error: ClientError) -> Ended {
    match error {
        ClientError::Server { code, message }
            if code.starts_with("23") || code.starts_with("40") =>
        {
            Ended::RolledBack(message)
        }
        error => Ended::Unknown(error.to_string()),
    }
}

/// A run, before its statements.
pub(super) struct Attempt<'a> {
    target: &'a PostgresTarget,
    client: Client,
    unit: Unit,
    steps: Vec<Step>,
    actions: Vec<Action>,
    undone_by_rollback: bool,
}

impl<'a> Attempt<'a> {
    /// Connects, and locks what the unit would touch against writers. Ends outside of any
    /// snapshot: LOCK TABLE takes none, and the first question after it does.
    pub(super) async fn begin(
        target: &'a PostgresTarget,
        run: &Run,
    ) -> Result<Attempt<'a>, Aborted> {
        if run.identity.target != target.setup().name {
            return Err(abort(Abort::IdentityChanged, "the permit is for another target"));
        }
        let unit = super::unit_of(&run.payload).map_err(unjudged)?;
        let mut attempt = Attempt::open(target, unit).await?;
        attempt.lock().await?;
        Ok(attempt)
    }

    async fn open(target: &'a PostgresTarget, unit: Unit) -> Result<Attempt<'a>, Aborted> {
        let reading = preview::read(&unit).map_err(unjudged)?;
        let steps = steps::of(&unit).await;
        let steps = steps.map_err(|why| abort(Abort::IdentityChanged, why))?;
        let client = target.connect().await.map_err(own)?;
        let (actions, undone_by_rollback) = (reading.actions, reading.undone_by_rollback);
        Ok(Attempt { target, client, unit, steps, actions, undone_by_rollback })
    }

    /// What to lock is found in a transaction of its own; what is there is looked at again when
    /// it is locked.
    async fn lock(&mut self) -> Result<(), Aborted> {
        self.client.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(own)?;
        let found = self.survey(Depth::Objects).await?;
        self.client.batch("ROLLBACK").await.map_err(own)?;
        self.client.batch("BEGIN ISOLATION LEVEL REPEATABLE READ").await.map_err(own)?;
        let (tables, read) = (lockable(&found), readable(&found));
        if tables.is_empty() && read.is_empty() {
            return Ok(());
        }
        let budget = self.target.setup().lock_wait.as_millis();
        let limit = self.target.setup().statement_timeout.as_millis();
        let sql = format!(
            "SET LOCAL statement_timeout TO {budget}; {} {}
             SET LOCAL statement_timeout TO {limit}",
            lock_table(&tables, "SHARE ROW EXCLUSIVE"),
            lock_table(&read, "ACCESS SHARE"),
        );
        self.client.batch(&sql).await.map(drop).map_err(|error| match error.code() {
            Some("57014" | "55P03" | "40P01") => abort(Abort::LockNotGranted, error),
            Some("42P01") => abort(Abort::IdentityChanged, error),
            _ => refused(error),
        })
    }

    async fn survey(&mut self, depth: Depth) -> Result<Survey, Aborted> {
        let found =
            survey::survey(&mut self.client, &self.unit, &self.steps, &self.actions, depth).await;
        found.map_err(unjudged)
    }

    /// Looks again, saves, runs, measures.
    async fn execute(self, run: &Run) -> Result<Executed, Aborted> {
        self.execute_after(run, std::future::ready(())).await
    }

    /// As [`Attempt::execute`], with something else in between that a test wants to happen when
    /// the snapshot has been taken.
    pub(super) async fn execute_after<T>(
        mut self,
        run: &Run,
        between: impl Future<Output = T> + Send,
    ) -> Result<Executed, Aborted> {
        let survey = self.unchanged(run).await?;
        between.await;
        let saving = match run.reversible {
            true => Some(self.save(&survey, run).await?),
            false => None,
        };
        self.perform(&survey, saving).await
    }

    /// The survey under the locks, if it is what was signed.
    async fn unchanged(&mut self, run: &Run) -> Result<Survey, Aborted> {
        let survey = self.survey(Depth::Counted).await?;
        let fingerprint = self.target.fingerprint_of(&mut self.client).await.map_err(own)?;
        // What the verbs are follows from the payload, whose digest is compared.
        let verbs = run.identity.verbs.clone();
        let undone = self.undone_by_rollback;
        let now = preview::preview(self.target, fingerprint, &run.payload, verbs, undone, &survey);
        if now.identity != run.identity {
            let words = run.identity.differences(&now.identity).join("; ");
            return Err(abort(Abort::IdentityChanged, words));
        }
        match run.ceiling.admits(&preview::counts(&survey)) {
            Ok(()) => Ok(survey),
            Err(exceeded) => Err(abort(Abort::CeilingExceeded, exceeded)),
        }
    }

    async fn save(&mut self, survey: &Survey, run: &Run) -> Result<Saving, Aborted> {
        let subject = Subject {
            survey,
            fingerprint: run.identity.fingerprint.clone(),
            folder: run.restore_point.clone(),
        };
        save::save(self.target.setup(), &mut self.client, subject).await.map_err(unsaved)
    }

    /// Runs the statements and measures what they did.
    async fn perform(
        mut self,
        survey: &Survey,
        saving: Option<Saving>,
    ) -> Result<Executed, Aborted> {
        let before = measure::catalogue(&mut self.client).await.map_err(own)?;
        measure::sighted(&mut self.client).await.map_err(deviated)?;
        let baseline = measure::counters(&mut self.client).await.map_err(own)?;
        self.apply_settings().await?;
        let mut said = Vec::new();
        let deciding = reads::of(&self.unit).map_err(unjudged)?.deciding;
        for (index, statement) in self.unit.statements.iter().enumerate() {
            self.client.limit().await.map_err(own)?;
            if deciding.contains(&index) {
                foreseen(&mut self.client, statement, survey, &before).await?;
            }
            let tag = self.client.execute(statement).await.map_err(refused)?;
            if !self.client.in_transaction() {
                let why = "a statement ended the transaction; it must not be trusted";
                return Err(abort(Abort::StatementFailed, why));
            }
            said.push(tag);
        }
        let counters = measure::settle(&mut self.client).await.map_err(settled)?;
        self.client.pin().await.map_err(own)?;
        let mut executed = Executed { client: self.client, said, measured: Counts::new(), saving };
        executed.measure(survey, &before, &baseline, &counters).await?;
        Ok(executed)
    }

    async fn apply_settings(&mut self) -> Result<(), Aborted> {
        for (name, value) in &self.unit.settings {
            if !SETTINGS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                let why = format!("a unit may not carry the setting `{name}`");
                return Err(abort(Abort::StatementFailed, why));
            }
            let sql = "SELECT pg_catalog.set_config($1, $2, true)";
            self.client.query(sql, &[name, value]).await.map_err(refused)?;
        }
        Ok(())
    }
}

/// Asks the server itself what a statement is about to read: what stands behind views, rules and
/// policies shows as locks before anything runs. What the functions and triggers read that it
/// calls does not: their code is the owner's, and what it does is measured.
async fn foreseen(
    client: &mut Client,
    statement: &UnitStatement,
    survey: &Survey,
    before: &Catalogue,
) -> Result<(), Aborted> {
    let known = measure::read(client).await.map_err(own)?;
    client.analyse(statement).await.map_err(refused)?;
    let now = measure::read(client).await.map_err(own)?;
    let unsigned = now.iter().find(|(relation, _)| {
        !known.contains_key(relation)
            && !survey.reads.contains_key(relation)
            && measure::was_there(before, **relation)
    });
    match unsigned {
        None => Ok(()),
        Some((_, name)) => {
            let why = format!("it reads {name}, which was not foreseen");
            Err(abort(Abort::IdentityChanged, why))
        }
    }
}

impl Executed {
    /// Rows lost or changed.
    #[cfg(test)]
    pub(super) fn measured(&self) -> &Counts {
        &self.measured
    }

    async fn measure(
        &mut self,
        survey: &Survey,
        before: &Catalogue,
        baseline: &Counters,
        counters: &Counters,
    ) -> Result<(), Aborted> {
        let after = measure::catalogue(&mut self.client).await.map_err(own)?;
        measure::objects(survey, before, &after).map_err(deviated)?;
        let client = &mut self.client;
        let measured = measure::rows(client, survey, before, &after, baseline, counters).await;
        self.measured = measured.map_err(deviated)?;
        if let Some(saving) = &mut self.saving {
            for (table, changed) in saving.left(&mut self.client).await.map_err(unsaved)? {
                let known = self.measured.entry(table).or_insert(0);
                *known = changed.max(*known);
            }
        }
        self.measured.retain(|_, rows| *rows > 0);
        Ok(())
    }
}

/// Runs a unit in the partner, where nothing is kept.
pub(super) async fn rehearse(target: &PostgresTarget, unit: Unit) -> Result<Counts, Aborted> {
    let mut attempt = Attempt::open(target, unit).await?;
    if !attempt.undone_by_rollback {
        let why = "what it does is not undone by rolling back: it is not run just to be measured";
        return Err(abort(Abort::StatementFailed, why));
    }
    attempt.lock().await?;
    let survey = attempt.survey(Depth::Counted).await?;
    let mut executed = attempt.perform(&survey, None).await?;
    let _ = executed.client.batch("ROLLBACK").await;
    Ok(executed.measured)
}

/// Tables, in the one order in which everybody locks them.
fn lockable(survey: &Survey) -> BTreeSet<String> {
    let tables = survey.rows.values().map(|losing| losing.table.name.clone());
    tables.collect()
}

/// What a unit only reads, as far as LOCK TABLE takes it. ACCESS SHARE is enough, and keeps no
/// writer waiting: it holds the definitions, which are read as they are now, and keeps TRUNCATE
/// away; the rows that the unit reads are those of the run's one snapshot, and so are those that
/// the digest is of. What others commit meanwhile, the unit does not see.
fn readable(survey: &Survey) -> BTreeSet<String> {
    let lockable = survey.reads.values().filter(|read| read.table.kind != 'm');
    lockable.map(|read| read.table.name.clone()).collect()
}

fn lock_table(relations: &BTreeSet<String>, mode: &str) -> String {
    if relations.is_empty() {
        return String::new();
    }
    let list: Vec<String> = relations.iter().map(|name| format!("ONLY {name}")).collect();
    format!("LOCK TABLE {} IN {mode} MODE;", list.join(", "))
}

fn abort(abort: Abort, why: impl std::fmt::Display) -> Aborted {
    Aborted { abort, why: why.to_string() }
}

/// A statement of ours failed: the server is going away, or somebody is in the way.
fn own(error: ClientError) -> Aborted {
    by_code(error, Abort::Interrupted)
}

/// A statement of the unit failed.
fn refused(error: ClientError) -> Aborted {
    by_code(error, Abort::StatementFailed)
}

fn by_code(error: ClientError, otherwise: Abort) -> Aborted {
    let kind = match &error {
        ClientError::Lost(_) => Abort::Interrupted,
        ClientError::Local(_) => Abort::RestorePointUnproven,
        ClientError::Server { code, .. } => match code.as_str() {
            "55P03" | "40P01" | "40001" => Abort::LockNotGranted,
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Abort::Interrupted,
            _ => otherwise,
        },
    };
    abort(kind, error)
}

fn unsaved(error: SaveError) -> Aborted {
    match error {
        SaveError::Client(error) => by_code(error, Abort::RestorePointUnproven),
        other => abort(Abort::RestorePointUnproven, other),
    }
}

fn unjudged(error: TargetError) -> Aborted {
    match &error {
        TargetError::Unreachable(_) => abort(Abort::Interrupted, error),
        TargetError::Local(_) => abort(Abort::RestorePointUnproven, error),
        _ => abort(Abort::IdentityChanged, error),
    }
}

fn deviated(deviation: Deviation) -> Aborted {
    match deviation {
        Deviation::Client(error) => own(error),
        unsigned @ Deviation::Unsigned(_) => abort(Abort::CeilingExceeded, unsigned),
        hidden @ Deviation::Hidden(_) => abort(Abort::StatementFailed, hidden),
    }
}

/// Deferred constraints and triggers are the unit's own work.
fn settled(deviation: Deviation) -> Aborted {
    match deviation {
        Deviation::Client(error) => refused(error),
        other => deviated(other),
    }
}
