//! What the engine asks of production: the side of a protocol that a permit opens.

use crate::halt::Halt;
use crate::permit::Permit;
use async_trait::async_trait;
use countermand_core::action::Action;
use countermand_core::change::{Abort, CommitToken, Outcome, Rehearsal, RestorePoint};
use countermand_core::preview::{Ceiling, Counts, Identity, Preview};
use countermand_core::request::{ChangeNumber, Payload};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

/// Why a target could not do what it was asked. Nothing was committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TargetError {
    /// It cannot be reached, or ended the connection.
    #[error("cannot reach the target: {0}")]
    Unreachable(String),
    /// The request cannot be measured, so it cannot be judged.
    #[error("cannot judge: {0}")]
    CannotJudge(String),
    /// The target refused; its own words.
    #[error("the target refused: {message}")]
    Refused {
        /// The target's own code, such as a SQLSTATE.
        code: String,
        /// The target's own message.
        message: String,
    },
    /// A freeze came first: what ran was stopped.
    #[error("stopped: {0}")]
    Halted(String),
    /// Something on the gateway's side failed: a backup tool, a disk.
    #[error("{0}")]
    Local(String),
}

/// A run that did not get as far as its commit, and was rolled back.
#[derive(Debug, Clone, thiserror::Error)]
#[error("rolled back: {why}")]
pub struct Aborted {
    /// What kind of reason.
    pub abort: Abort,
    /// In words.
    pub why: String,
}

/// Site tags by object: what `[[targets.tags]]` of the configuration says.
///
/// Keys are patterns over qualified names: exact (`billing.invoices`), all of a schema
/// (`billing.*`) or everything (`*`). A schema's tags are those of its own name (`billing`).
pub type Tags = BTreeMap<String, BTreeSet<String>>;

/// The tags that these patterns give an object of this qualified name.
pub fn tags_of(tags: &Tags, name: &str) -> BTreeSet<String> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    };
    tags.iter().filter(|(p, _)| matches(p)).flat_map(|(_, tags)| tags.clone()).collect()
}

/// The tag of a column whose values nobody is shown: the pattern names it, `schema.table.column`.
pub const SENSITIVE: &str = "sensitive";

/// A value of a [`Sample`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// There is none.
    Null,
    /// It is nobody's to see: it was not even read.
    Masked,
    /// The whole of it, as the target writes it.
    Text(String),
    /// Its beginning; there is more.
    Cut(String),
    /// Too large to be read for this; its bytes, as they are stored.
    Large(u64),
}

/// Which rows a [`Sample`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// All of the table's are meant; these are some of them.
    All,
    /// A condition finds them now. When it runs it may find others: after an earlier statement, in
    /// another session, at another time.
    Found,
    /// Any of the table's: which are meant cannot be told without running it.
    Any,
}

/// Some of the rows of one table that a unit would delete or change, as they are now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The table, as the radius names it.
    pub table: String,
    /// Which rows these are.
    pub which: Which,
    /// The columns.
    pub columns: Vec<String>,
    /// The rows, a cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// The right to run a unit in the partner, measure it, and roll it back: never to commit.
#[derive(Debug)]
pub struct Rehearse {
    /// What runs.
    pub payload: Payload,
    /// The partner it may run in, by configured name; a target refuses another's.
    pub partner: countermand_core::name::TargetName,
}

/// The right to run a change up to, never over, its commit.
#[derive(Debug)]
pub struct Run {
    /// The change.
    pub change: ChangeNumber,
    /// Which attempt.
    pub attempt: u32,
    /// What runs: exactly what was judged.
    pub payload: Payload,
    /// What must be there.
    pub identity: Identity,
    /// The most it may do.
    pub ceiling: Ceiling,
    /// Whether a restore point must be taken and read back.
    pub reversible: bool,
    /// Where this attempt's restore point goes: a folder that does not exist yet, outside the
    /// target's lifecycle.
    pub restore_point: PathBuf,
}

/// The right to commit what ran. Granted after the run was measured, decided again, and its
/// intent made durable.
#[derive(Debug)]
pub struct Commit {
    /// The transaction that may commit.
    pub token: CommitToken,
}

/// The right to bring back what a change took.
#[derive(Debug)]
pub struct Restore {
    /// The change that is taken back.
    pub change: ChangeNumber,
    /// Where its restore point is.
    pub folder: PathBuf,
    /// What the ledger says of it: a copy that differs is refused.
    pub restore_point: RestorePoint,
    /// Also over what changed since.
    pub overwrite: bool,
    /// Until its commit is sent.
    pub halt: Halt,
}

/// A write that flowed, as the door kept it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptWrite {
    /// Its entry in the ledger: later writes have higher ones.
    pub index: u64,
    /// What takes it back, in the door's own form.
    pub images: String,
}

/// The right to take back what an agent wrote.
#[derive(Debug)]
pub struct TakeBack {
    /// The writes, in the order in which they were made.
    pub writes: Vec<KeptWrite>,
    /// Also over what changed since.
    pub overwrite: bool,
    /// Until its commit is sent.
    pub halt: Halt,
}

/// What is to become of a run.
pub enum Verdict {
    /// Commit it.
    Commit(Permit<Commit>),
    /// Roll it back.
    RollBack,
}

/// How a commit ended, as far as this connection could see.
#[derive(Debug)]
pub enum Ended {
    /// The target said it committed.
    Committed(Outcome),
    /// The target said it rolled back, with its words: a deferred constraint, a conflict.
    RolledBack(String),
    /// The connection was lost after the commit was sent: ask [`Target::fate`].
    Unknown(String),
}

/// What settles a run.
pub type Finish = Box<dyn FnOnce(Verdict) -> Pin<Box<dyn Future<Output = Ended> + Send>> + Send>;

/// A unit that ran, was measured, and waits in its open transaction for a verdict. Dropped
/// without one, it is rolled back.
pub struct Ran {
    /// Rows it lost or changed, by table, with everything deferred already done.
    pub measured: Counts,
    /// The restore point, read back; none exactly where [`Run::reversible`] was false.
    pub restore_point: Option<RestorePoint>,
    /// What proves after a crash whether the commit happened.
    pub token: CommitToken,
    /// Settles it.
    pub finish: Finish,
}

/// Whether a transaction was committed, as the target itself knows afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was.
    Committed,
    /// It was not, and will not be.
    RolledBack,
    /// It is not decided yet: ask again.
    InProgress,
    /// The target no longer knows, or is not the same target.
    Unknown,
}

/// What bringing back would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RestorePlan {
    /// What comes back: rows by table.
    pub rows: Counts,
    /// What an agent added and goes again: rows by table. Only where writes are taken back.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub removed: Counts,
    /// What is re-created, in the target's words.
    pub objects: Vec<String>,
    /// What changed since and would be overwritten. Not empty: refused unless told to.
    pub conflicts: Vec<String>,
    /// What cannot be brought back, in words.
    pub missing: Vec<String>,
}

/// What was brought back.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Restored {
    /// Rows by table.
    pub rows: Counts,
    /// Whether every table's content was read back and equals the restore point.
    pub equal: bool,
    /// What was overwritten that had changed since.
    pub overwritten: Vec<String>,
    /// What was left as it is, because it changed since: only where writes are taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// One thing in production that changes are made to.
///
/// What is dropped before it answers stops: the target has what runs there for it cancelled, in the
/// middle of a statement, and rolled back. What commits by itself takes a [`Halt`] instead, since
/// only it knows when it can no longer stop.
#[async_trait]
pub trait Target: Send + Sync {
    /// What tells this target from every other, under whatever name and address it is reached.
    async fn fingerprint(&self) -> Result<String, TargetError>;

    /// Measures what a unit would do, holding nothing that anybody waits for.
    async fn preview(&self, payload: &Payload, actions: &[Action]) -> Result<Preview, TargetError>;

    /// Some of the rows that the unit would delete or change, for a human who decides. Nothing runs, and
    /// what is [`SENSITIVE`] is not read.
    async fn sample(
        &self,
        payload: &Payload,
        actions: &[Action],
    ) -> Result<Vec<Sample>, TargetError>;

    /// Takes a restore point of what the unit would lose, as of now, and reads it back: shows
    /// before anyone reviews that it can be done. Writes nothing to the target.
    async fn trial(&self, preview: &Preview, folder: PathBuf) -> Result<RestorePoint, TargetError>;

    /// Runs the unit here, measures it, rolls it back. Only ever asked of a partner.
    async fn rehearse(&self, permit: Permit<Rehearse>) -> Result<Rehearsal, TargetError>;

    /// Lock within a budget, identity equal, restore point in the same snapshot and read back,
    /// run, measure against the ceiling; then wait for the verdict.
    async fn run(&self, permit: Permit<Run>) -> Result<Ran, Aborted>;

    /// Reads what a human asks for as one unit, with the settings of a fresh session: what would
    /// run, and what it would do. Nothing runs.
    async fn read(&self, text: &str) -> Result<(Payload, Vec<Action>), TargetError>;

    /// Answers a question of the site's with one value, or none, as agents' statements run: with
    /// their rights, writing nothing, within this time.
    async fn probe(&self, question: &str, within: Duration) -> Result<Option<String>, TargetError>;

    /// Whether a commit that nobody saw the end of happened.
    async fn fate(&self, token: &CommitToken) -> Result<Fate, TargetError>;

    /// What [`Target::restore`] would do.
    async fn plan_restore(
        &self,
        folder: PathBuf,
        restore_point: &RestorePoint,
    ) -> Result<RestorePlan, TargetError>;

    /// Brings back what a change took, in one transaction, and compares contents.
    async fn restore(&self, permit: Permit<Restore>) -> Result<Restored, TargetError>;

    /// What [`Target::take_back`] would do. What changed since is named as a conflict.
    async fn plan_take_back(&self, writes: Vec<KeptWrite>) -> Result<RestorePlan, TargetError>;

    /// Takes back what an agent wrote, in one transaction: rows that nobody has touched since are
    /// as they were before the first of these writes, the others are left or, if told so,
    /// overwritten.
    async fn take_back(&self, permit: Permit<TakeBack>) -> Result<Restored, TargetError>;
}
