//! The engine's own work, and its answers to people.

use crate::control::{AgentLine, Command, LedgerEntry, Reply, Status};
use crate::engine::Engine;
use crate::review::ReviewError;
use crate::store::StoreError;
use countermand_core::request::ChangeNumber;
use countermand_ledger::text::SealedText;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long [`Command::Wait`] waits.
const WAIT: Duration = Duration::from_secs(30);
/// Entries in one answer.
const ENTRIES: u64 = 1000;

/// Who is at the other end of the socket, as the kernel says. Recorded, never trusted.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its process, where the kernel knows it.
    pub pid: Option<i32>,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "uid {}", self.uid)?;
        self.pid.map_or(Ok(()), |pid| write!(f, ", pid {pid}"))
    }
}

impl Engine {
    /// Starts the engine's own work.
    pub(crate) fn start_work(&self) {
        tokio::spawn(self.clone().keep_batches());
        tokio::spawn(self.clone().schedule());
        tokio::spawn(self.clone().keep_publishing());
        tokio::spawn(self.clone().keep_erasing());
        tokio::spawn(self.clone().keep_looking_at_disks());
    }

    /// Answers one command. Nothing that lets something happen is done without a signed
    /// statement. `by` says in words who asks; it is recorded where something is done without one.
    pub async fn control(&self, command: Command, by: impl std::fmt::Display) -> Reply {
        match self.answer(command, by.to_string()).await {
            Ok(reply) => reply,
            Err(error) => Reply::Refused { why: error.to_string() },
        }
    }

    async fn answer(&self, command: Command, by: String) -> Result<Reply, ReviewError> {
        Ok(match command {
            Command::Status => Reply::Status(self.status()?),
            Command::Changes { open, wanted } => {
                let (changes, older) = self.apart(move |it| it.found(open, &wanted)).await?;
                Reply::Changes { changes, older }
            }
            Command::Show { change } => self.show(change)?,
            Command::Sample { change } => {
                Reply::Sample { samples: self.sample(change, &by).await? }
            }
            Command::Wait { change, seen } => self.wait(change, seen).await?,
            Command::Prepare { signer, act } => self.prepare_statement(signer, act).await?,
            Command::Submit { statement, signature } => {
                self.submit(statement, signature, by).await?
            }
            Command::Propose { human, target, text } => {
                self.propose(&human, &target, &text, &by).await?
            }
            Command::Withdraw { change } => self.withdraw(change, by).await?,
            Command::StopCooling { change, reason } => {
                self.stop_cooling(change, by, reason).await?
            }
            Command::Freeze { what, reason } => self.freeze(what, by, reason).await,
            Command::Configurations => self.configurations().await?,
            Command::StopConfiguration { number, reason } => {
                self.stop_configuration(number, by, reason).await?
            }
            Command::Agents => Reply::Agents { agents: self.agent_lines() },
            Command::AgentReport { agent, since } => {
                self.flush_batch().await;
                let engine = self.clone();
                let told = move || engine.report(agent.as_ref(), since);
                let told = tokio::task::spawn_blocking(told).await;
                told.map_err(|_| StoreError::Stopped)??
            }
            Command::ObserveReport { target, since } => {
                self.flush_batch().await;
                let engine = self.clone();
                let told = move || engine.observe_report(&target, since);
                let told = tokio::task::spawn_blocking(told).await;
                Reply::ObserveReport(Box::new(told.map_err(|_| StoreError::Stopped)??))
            }
            Command::Standings => Reply::Standings { standings: self.standing_lines()? },
            Command::EndStanding { standing } => self.end_standing(standing, by).await?,
            Command::RevokeAgent { agent } => self.revoke(agent, by).await?,
            Command::PlanTakeBack { writes } => {
                Reply::RestorePlan(self.plan_take_back(&writes).await?)
            }
            Command::PlanRestore { change } => Reply::RestorePlan(self.plan(change).await?),
            Command::Ledger { from, limit } => self.entries(from, limit)?,
            Command::Prove { index } => Reply::Proved(self.apart(move |it| it.prove(index)).await?),
            Command::Incident(wanted) => {
                self.flush_batch().await;
                let told = self.apart(move |it| it.incident(&wanted)).await?;
                Reply::Incident(Box::new(told))
            }
            Command::World => Reply::World(self.authority().policy.world().clone()),
            Command::Explain { what } => {
                let engine = self.clone();
                let told = tokio::task::spawn_blocking(move || engine.explain(&what)).await;
                Reply::Explained(Box::new(told.map_err(|_| StoreError::Stopped)??))
            }
            Command::Checkpoint => Reply::Checkpoint { note: self.publish_checkpoint().await? },
            Command::ConsoleLink { .. } => Reply::Refused {
                why: "this gateway has no console: put `[console]` into its configuration, and \
                      start it again"
                    .to_owned(),
            },
            Command::Backup => self.backup(by).await?,
            Command::Consistency => {
                let engine = self.clone();
                let found = tokio::task::spawn_blocking(move || engine.consistency()).await;
                Reply::Consistency(found.map_err(|_| StoreError::Stopped)??)
            }
        })
    }

    fn status(&self) -> Result<Status, StoreError> {
        Ok(Status {
            installation: self.0.installation.name.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: self.0.clock.now(),
            ledger_size: *self.0.store.size().borrow(),
            open: self.0.store.read(|rows| rows.open_changes())?,
            frozen: self.0.freezer.words(),
            disk: self.0.disks.words(),
            configuration: self.waiting_words()?,
            watches: self.alarms()?,
            backups: self.stale_backups(),
            observed: self.observed(),
            demo: self.0.installation.plain_keys_count,
        })
    }

    /// Reads for long, and keeps nobody else from being answered.
    async fn apart<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let engine = self.clone();
        let read = tokio::task::spawn_blocking(move || read(&engine)).await;
        read.map_err(|_| StoreError::Stopped)?
    }

    fn show(&self, number: ChangeNumber) -> Result<Reply, StoreError> {
        let change = self.0.store.read(|rows| rows.change(number))?;
        Ok(Reply::Change(Box::new(self.view(&change)?)))
    }

    /// Answers when the change is past the version that was seen, or after [`WAIT`].
    async fn wait(&self, number: ChangeNumber, seen: u64) -> Result<Reply, StoreError> {
        let mut moved = self.0.moved.subscribe();
        let _ = tokio::time::timeout(WAIT, async {
            loop {
                moved.borrow_and_update();
                let version = self.0.store.read(|rows| rows.version(number))?.0;
                if version > seen || moved.changed().await.is_err() {
                    return Ok::<(), StoreError>(());
                }
            }
        })
        .await;
        self.show(number)
    }

    fn agent_lines(&self) -> Vec<AgentLine> {
        let joined = |words: Vec<String>| words.join(", ");
        let authority = self.authority();
        let line = |row: &crate::store::AgentRow| AgentLine {
            agent: row.name.clone(),
            sponsor: row.sponsor.clone(),
            grant: format!(
                "{} on {}",
                joined(row.grant.effects.iter().map(ToString::to_string).collect()),
                joined(row.grant.targets.iter().map(ToString::to_string).collect())
            ),
            expires: row.expires,
            revoked: row.revoked,
            probation: self.probations(&row.name),
            observed: self
                .observed()
                .into_iter()
                .filter(|on| row.grant.targets.contains(&on.target))
                .map(|on| (on.target, on.until))
                .collect(),
        };
        authority.agents().map(line).collect()
    }

    /// Entries with the texts that were not erased.
    fn entries(&self, from: u64, limit: u64) -> Result<Reply, StoreError> {
        let limit = limit.min(ENTRIES);
        let lines = self.0.store.read(|rows| rows.leaves(from, limit))?;
        let end = from.saturating_add(lines.len() as u64);
        let mut texts: BTreeMap<u64, BTreeMap<String, String>> = BTreeMap::new();
        for sealed in self.0.store.read(|rows| rows.texts(from, end))? {
            let Ok(sealed) = SealedText::parse(sealed.as_bytes()) else { continue };
            let Ok(open) = self.0.keys.texts().open(&sealed) else { continue };
            let text = String::from_utf8_lossy(open.text()).into_owned();
            texts.entry(sealed.index()).or_default().insert(sealed.name().to_owned(), text);
        }
        let entry =
            |(line, index)| LedgerEntry { line, texts: texts.remove(&index).unwrap_or_default() };
        let entries = lines.into_iter().zip(from..).map(entry).collect();
        Ok(Reply::Ledger { entries, size: *self.0.store.size().borrow() })
    }
}
