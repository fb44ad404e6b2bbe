//! The side of PostgreSQL that faces production: what a change would do, its restore point, its
//! execution, and taking it back. The only writes are those that a permit opens.
//!
//! ```text
//! unit → steps → survey → preview        reads, under ACCESS SHARE, always rolled back
//!                  permit → run          lock → survey equal? → save → run → measure → verdict
//!                           saved        what a restore point is on disk
//!                  permit → restore      definitions from the saved schema, rows from the copies
//! ```

mod catalog;
mod client;
pub mod connection;
mod measure;
mod own;
mod preview;
mod probe;
mod programs;
mod reads;
mod restore;
mod run;
mod save;
mod saved;
mod steps;
mod survey;
mod take_back;

#[cfg(test)]
mod tests;

use super::unit::Unit;
use async_trait::async_trait;
use client::{Client, ClientError, Limits};
use connection::{Address, Login};
use countermand_core::action::Action;
use countermand_core::change::{Abort, CommitToken, Rehearsal, RestorePoint};
use countermand_core::name::TargetName;
use countermand_core::preview::Preview;
use countermand_core::request::Payload;
use countermand_engine::Permit;
use countermand_engine::target::{
    Aborted, Fate, KeptWrite, Ran, Rehearse, Restore, RestorePlan, Restored, Run, Sample, Tags,
    TakeBack, Target, TargetError,
};
use std::path::PathBuf;
use std::time::Duration;
use survey::Depth;

/// One PostgreSQL database that changes are made to, and how it is reached.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its configured name.
    pub name: TargetName,
    /// Where it is.
    pub address: Address,
    /// The role that executes what was approved; it must own, or be a member of the owners of,
    /// what it is to change and bring back. No agent's statement runs as it but a judged unit.
    pub executor: Login,
    /// The role that agents' statements run as, and that the conditions of their statements are
    /// counted as. The executor must be a member of it, or conditions are not counted: then any
    /// row of the table may be meant. Probes log in as it.
    pub session: Login,
    /// The site's tags.
    pub tags: Tags,
    /// One statement takes no longer: of a unit, and of a measurement.
    pub statement_timeout: Duration,
    /// How long a lock is waited for. Whoever comes later queues behind the one who waits.
    pub lock_wait: Duration,
    /// How long a lock stronger than row locks may be held before the object counts as made
    /// unavailable.
    pub lock_hold: Duration,
    /// The directory of `pg_dump` and `pg_restore`, not older than the server.
    pub programs: PathBuf,
}

/// A [`Setup`] in use. Every act has connections of its own.
#[derive(Clone, Debug)]
pub struct PostgresTarget {
    setup: Setup,
}

impl PostgresTarget {
    /// A target; nothing is connected yet.
    pub fn new(setup: Setup) -> PostgresTarget {
        PostgresTarget { setup }
    }

    fn setup(&self) -> &Setup {
        &self.setup
    }

    async fn connect(&self) -> Result<Client, ClientError> {
        let limits = Limits {
            statement: self.setup.statement_timeout,
            lock: self.setup.lock_wait,
            // Longer than any decision, shorter than a night.
            idle: Duration::from_secs(120),
        };
        let mut client = Client::open(&self.setup.address, &self.setup.executor, limits).await?;
        client.counts_as = Some(self.setup.session.user.clone());
        Ok(client)
    }

    /// What tells this server and database from every other, restarts included: the server's
    /// own identifier, its timeline, and the database's OID and name. A copy of the data files
    /// has the same identifier until it is promoted: give production and staging different
    /// names all the same.
    async fn fingerprint_of(&self, client: &mut Client) -> Result<String, ClientError> {
        let sql = "SELECT pg_catalog.concat_ws('/', s.system_identifier, c.timeline_id, d.oid,
              d.datname)
            FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c,
              pg_catalog.pg_database d
            WHERE d.datname = pg_catalog.current_database()";
        let rows = client.query(sql, &[]).await?;
        Ok(rows.first().map_or_else(String::new, |row| catalog::text(row, 0).to_owned()))
    }

    /// Looks, in a transaction that ends in ROLLBACK whatever happened.
    async fn look(&self, payload: &Payload, actions: &[Action]) -> Result<Preview, TargetError> {
        let unit = unit_of(payload)?;
        let reading = preview::read(&unit)?;
        let steps = steps::of(&unit).await.map_err(TargetError::CannotJudge)?;
        let mut client = self.connect().await?;
        let fingerprint = self.fingerprint_of(&mut client).await?;
        client.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let survey = survey::survey(&mut client, &unit, &steps, actions, Depth::Counted).await;
        client.batch("ROLLBACK").await?;
        let survey = survey?;
        let verbs = actions.iter().map(|action| action.verb).collect();
        let undone = reading.undone_by_rollback;
        Ok(preview::preview(self, fingerprint, payload, verbs, undone, &survey))
    }

    /// Reads some of the rows, in such a transaction.
    async fn show_rows(
        &self,
        payload: &Payload,
        actions: &[Action],
    ) -> Result<Vec<Sample>, TargetError> {
        let unit = unit_of(payload)?;
        preview::read(&unit)?;
        let steps = steps::of(&unit).await.map_err(TargetError::CannotJudge)?;
        let mut client = self.connect().await?;
        client.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let tags = &self.setup.tags;
        let sample = survey::sample(&mut client, &unit, &steps, actions, tags).await;
        client.batch("ROLLBACK").await?;
        sample
    }

    /// Copies and reads back what the unit would lose, and deletes the copies.
    async fn try_out(
        &self,
        preview: &Preview,
        folder: PathBuf,
    ) -> Result<RestorePoint, TargetError> {
        let mut client = self.connect().await?;
        client.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let fingerprint = self.fingerprint_of(&mut client).await?;
        let survey = survey::named(&mut client, preview).await?;
        let subject = save::Subject { survey: &survey, fingerprint, folder };
        let saving = save::save(&self.setup, &mut client, subject).await;
        client.batch("ROLLBACK").await?;
        let seal = move || saving.and_then(save::Saving::seal_trial);
        let sealed = tokio::task::spawn_blocking(seal).await;
        let sealed = sealed.unwrap_or(Err(save::SaveError::GivenUp));
        sealed.map_err(|error| match error {
            save::SaveError::Client(error) => error.into(),
            other => TargetError::Local(other.to_string()),
        })
    }

    async fn practise(&self, rehearse: Rehearse) -> Result<Rehearsal, TargetError> {
        if rehearse.partner != self.setup.name {
            let words = format!(
                "the rehearsal is for `{}`, this is `{}`",
                rehearse.partner, self.setup.name
            );
            return Err(TargetError::CannotJudge(words));
        }
        let began = tokio::time::Instant::now();
        let measured = run::rehearse(self, unit_of(&rehearse.payload)?).await;
        let measured = measured.map_err(|aborted| match aborted.abort {
            Abort::Interrupted => TargetError::Unreachable(aborted.why),
            Abort::StatementFailed => {
                TargetError::Refused { code: String::new(), message: aborted.why }
            }
            _ => TargetError::CannotJudge(aborted.why),
        })?;
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Rehearsal { partner: rehearse.partner, measured, millis })
    }

    async fn settled(&self, token: &CommitToken) -> Result<Fate, TargetError> {
        let mut client = self.connect().await?;
        if self.fingerprint_of(&mut client).await? != token.fingerprint {
            return Ok(Fate::Unknown);
        }
        let sql = "SELECT pg_catalog.pg_xact_status($1::pg_catalog.xid8)";
        let rows = match client.query(sql, &[&token.transaction]).await {
            Ok(rows) => rows,
            // In the future, or no number: not a transaction of this server.
            Err(ClientError::Server { code, .. }) if code.starts_with("22") => {
                return Ok(Fate::Unknown);
            }
            Err(error) => return Err(error.into()),
        };
        Ok(match rows.first().map(|row| catalog::text(row, 0)) {
            Some("committed") => Fate::Committed,
            Some("aborted") => Fate::RolledBack,
            Some("in progress") => Fate::InProgress,
            _ => Fate::Unknown,
        })
    }
}

fn unit_of(payload: &Payload) -> Result<Unit, TargetError> {
    Unit::from_payload(payload).map_err(|error| TargetError::CannotJudge(error.to_string()))
}

#[async_trait]
impl Target for PostgresTarget {
    async fn fingerprint(&self) -> Result<String, TargetError> {
        let mut client = self.connect().await?;
        Ok(self.fingerprint_of(&mut client).await?)
    }

    async fn preview(&self, payload: &Payload, actions: &[Action]) -> Result<Preview, TargetError> {
        self.look(payload, actions).await
    }

    async fn sample(
        &self,
        payload: &Payload,
        actions: &[Action],
    ) -> Result<Vec<Sample>, TargetError> {
        self.show_rows(payload, actions).await
    }

    async fn trial(&self, preview: &Preview, folder: PathBuf) -> Result<RestorePoint, TargetError> {
        self.try_out(preview, folder).await
    }

    async fn rehearse(&self, permit: Permit<Rehearse>) -> Result<Rehearsal, TargetError> {
        self.practise(permit.spend()).await
    }

    async fn run(&self, permit: Permit<Run>) -> Result<Ran, Aborted> {
        run::run(self, permit.spend()).await.map(run::Waiting::into_ran)
    }

    async fn read(&self, text: &str) -> Result<(Payload, Vec<Action>), TargetError> {
        own::read(self, text).await
    }

    async fn probe(&self, question: &str, within: Duration) -> Result<Option<String>, TargetError> {
        probe::probe(self, question, within).await
    }

    async fn fate(&self, token: &CommitToken) -> Result<Fate, TargetError> {
        self.settled(token).await
    }

    async fn plan_restore(
        &self,
        folder: PathBuf,
        restore_point: &RestorePoint,
    ) -> Result<RestorePlan, TargetError> {
        restore::plan(self, folder, restore_point).await
    }

    async fn restore(&self, permit: Permit<Restore>) -> Result<Restored, TargetError> {
        restore::restore(self, permit.spend()).await
    }

    async fn plan_take_back(&self, writes: Vec<KeptWrite>) -> Result<RestorePlan, TargetError> {
        take_back::plan(self, &writes).await
    }

    async fn take_back(&self, permit: Permit<TakeBack>) -> Result<Restored, TargetError> {
        take_back::take_back(self, permit.spend()).await
    }
}
