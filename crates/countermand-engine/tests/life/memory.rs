//! A target in memory: tables with row counts, one transaction at a time, and a commit that can
//! be lost. Everything a target promises, nothing of a database.

use async_trait::async_trait;
use countermand_core::action::{Action, Object};
use countermand_core::change::{Abort, CommitToken, Outcome, Rehearsal, RestorePoint, SavedTable};
use countermand_core::digest::Digest;
use countermand_core::preview::{Ceiling, Counts, Estimates, Identity, Preview};
use countermand_core::radius::{BlastRadius, Fate as Becomes, Node, Reversibility};
use countermand_core::request::Payload;
use countermand_core::verb::postgres;
use countermand_engine::Permit;
use countermand_engine::target::{
    Aborted, Cell, Ended, Fate, KeptWrite, Ran, Rehearse, Restore, RestorePlan, Restored, Run,
    Sample, TakeBack, Target, TargetError, Verdict, Which,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the database holds, and what it remembers of transactions.
#[derive(Default)]
pub(crate) struct Data {
    pub(crate) tables: BTreeMap<String, u64>,
    pub(crate) tags: BTreeMap<String, BTreeSet<String>>,
    pub(crate) committed: BTreeSet<String>,
    pub(crate) transactions: u64,
    pub(crate) commits: u64,
    pub(crate) runs: u64,
    /// Before-images that were taken back, in order.
    pub(crate) taken_back: Vec<String>,
    /// The next commit happens, and its answer is lost.
    pub(crate) lose_answer: bool,
    /// Probes that were asked.
    pub(crate) probes: u64,
    /// Probes are not answered while somebody holds this.
    pub(crate) slow: Arc<tokio::sync::Mutex<()>>,
    /// What it answers the next probe only.
    pub(crate) says_once: Option<String>,
    /// What it answers every probe, where it is not the truth.
    pub(crate) says: Option<String>,
    /// The next restore is asked for, and never answered.
    pub(crate) stall_restore: bool,
    /// Restores that were asked for.
    pub(crate) restores: u64,
    /// What was done to a definition.
    pub(crate) altered: BTreeMap<String, String>,
    /// Runs wait before they answer.
    pub(crate) stall_run: bool,
    /// Trials wait before they answer.
    pub(crate) stall_trial: bool,
    /// Trials that were asked for.
    pub(crate) trials: u64,
    /// What it says that it is, where it is not what it is called.
    pub(crate) is_really: Option<String>,
    /// What its partner says that it is, where it is not what it is called.
    pub(crate) partner_is: Option<String>,
    /// It no longer knows how transactions ended.
    pub(crate) forgot: bool,
    /// It answers nobody who asks what it is.
    pub(crate) is_down: bool,
    /// Rehearsals fail.
    pub(crate) partner_fails: bool,
    /// Rehearsals that were asked for.
    pub(crate) rehearsals: u64,
    /// What the run does more than its preview says.
    pub(crate) hidden_rows: u64,
    /// A request names all that it touches.
    pub(crate) all_are_roots: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) name: String,
    pub(crate) data: Arc<Mutex<Data>>,
    /// Of whose changes it is the partner.
    pub(crate) rehearses: Option<Arc<Mutex<Data>>>,
}

impl Memory {
    pub(crate) fn new(name: &str, tables: &[(&str, u64)]) -> Memory {
        let memory = Memory { name: name.into(), ..Memory::default() };
        memory.data.lock().unwrap().tables =
            tables.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect();
        memory
    }

    /// `drop NAME`, and after that whatever tells two requests apart: every table whose name
    /// begins with it.
    fn measure(&self, payload: &Payload, actions: &[Action]) -> Result<Preview, TargetError> {
        let data = self.data.lock().unwrap();
        let root = payload.body.strip_prefix("drop ").ok_or_else(|| {
            TargetError::CannotJudge(format!("`{}` is not understood", payload.body))
        })?;
        let root = root.split(' ').next().unwrap_or(root);
        let named = |object: Object, root: bool, rows: Option<u64>| Node {
            tags: data.tags.get(&object.name).cloned().unwrap_or_default(),
            fate: Becomes::Lost,
            root,
            rows,
            bytes: rows,
            definition: Digest::of(&(&object.name, data.altered.get(&object.name))),
            object,
        };
        let mut nodes = vec![named(Object::new("schema", root), true, None)];
        let lost = data.tables.iter().filter(|(table, _)| table.starts_with(root));
        let counts: Counts = lost.map(|(table, rows)| (table.clone(), *rows)).collect();
        for (table, rows) in &counts {
            let root = data.all_are_roots;
            nodes.push(named(Object::new("table", table), root, Some(*rows)));
        }
        let identity = Identity {
            target: self.name.parse().unwrap(),
            fingerprint: format!("memory/{}", self.name),
            payload: payload.digest(),
            verbs: actions.iter().map(|action| action.verb).collect(),
            objects: nodes.iter().map(|n| (n.object.to_string(), n.definition)).collect(),
            reads: Default::default(),
            tags: nodes.iter().map(|n| (n.object.to_string(), n.tags.clone())).collect(),
        };
        Ok(Preview {
            identity,
            ceiling: Ceiling::over(&counts, false),
            estimates: Estimates::default(),
            radius: BlastRadius { nodes, ..BlastRadius::default() },
            reversibility: Reversibility::Restorable,
            undone_by_rollback: true,
            unavailable: false,
        })
    }
}

fn restore_point(folder: &Path, tables: &Counts) -> RestorePoint {
    let saved = |rows: u64| SavedTable { rows, content: Digest::of(&rows) };
    RestorePoint {
        folder: folder.iter().rev().take(2).collect::<PathBuf>().display().to_string(),
        manifest: Digest::of(tables),
        tables: tables.iter().map(|(table, rows)| (table.clone(), saved(*rows))).collect(),
        bytes: tables.values().sum(),
        millis: 1,
    }
}

#[async_trait]
impl Target for Memory {
    async fn sample(
        &self,
        payload: &Payload,
        actions: &[Action],
    ) -> Result<Vec<Sample>, TargetError> {
        let counts = self.measure(payload, actions)?.ceiling.rows;
        let row = || vec![Cell::Text("<b>\u{202e}ann".to_owned()), Cell::Masked, Cell::Null];
        let sample = |table: &String| Sample {
            table: table.clone(),
            which: Which::Found,
            columns: ["name", "email", "left"].map(str::to_owned).to_vec(),
            rows: vec![row(), row()],
        };
        Ok(counts.keys().map(sample).collect())
    }

    async fn fingerprint(&self) -> Result<String, TargetError> {
        let data = self.data.lock().unwrap();
        match data.is_down {
            true => Err(TargetError::CannotJudge("it is down".to_owned())),
            false => {
                let of = self.rehearses.as_ref().map(|of| of.lock().unwrap());
                let said = of.map_or_else(|| data.is_really.clone(), |of| of.partner_is.clone());
                Ok(said.unwrap_or_else(|| format!("memory/{}", self.name)))
            }
        }
    }

    async fn preview(&self, payload: &Payload, actions: &[Action]) -> Result<Preview, TargetError> {
        self.measure(payload, actions)
    }

    async fn trial(&self, preview: &Preview, folder: PathBuf) -> Result<RestorePoint, TargetError> {
        self.data.lock().unwrap().trials += 1;
        while self.data.lock().unwrap().stall_trial {
            tokio::task::yield_now().await;
        }
        let rows = preview.ceiling.rows.iter().map(|(table, row)| (table.clone(), row.measured));
        Ok(restore_point(&folder, &rows.collect()))
    }

    async fn rehearse(&self, permit: Permit<Rehearse>) -> Result<Rehearsal, TargetError> {
        let act = permit.spend();
        assert_eq!(act.partner.as_str(), self.name, "a rehearsal is good for its partner only");
        if let Some(of) = &self.rehearses {
            let mut of = of.lock().unwrap();
            of.rehearsals += 1;
            if of.partner_fails {
                return Err(TargetError::Unreachable("staging is down".into()));
            }
        }
        Ok(Rehearsal { partner: act.partner, measured: Counts::new(), millis: 1 })
    }

    async fn run(&self, permit: Permit<Run>) -> Result<Ran, Aborted> {
        let run = permit.spend();
        let actions: Vec<Action> = run
            .identity
            .verbs
            .iter()
            .map(|verb| Action::new(*verb, Object::new("schema", "x")))
            .collect();
        let fresh = self
            .measure(&run.payload, &actions)
            .map_err(|e| Aborted { abort: Abort::Interrupted, why: e.to_string() })?;
        if fresh.identity != run.identity {
            let why = "something else is there".to_owned();
            return Err(Aborted { abort: Abort::IdentityChanged, why });
        }
        let (token, stalls) = {
            let mut data = self.data.lock().unwrap();
            data.runs += 1;
            data.transactions += 1;
            let fingerprint = format!("memory/{}", self.name);
            let transaction = data.transactions.to_string();
            (CommitToken { fingerprint, transaction }, data.stall_run)
        };
        while stalls && self.data.lock().unwrap().stall_run {
            tokio::task::yield_now().await;
        }
        let data = self.data.lock().unwrap();
        let mut measured: Counts =
            fresh.ceiling.rows.iter().map(|(table, row)| (table.clone(), row.measured)).collect();
        let saved = restore_point(&run.restore_point, &measured);
        if data.hidden_rows > 0 {
            measured.insert("elsewhere".into(), data.hidden_rows);
        }
        drop(data);
        let (memory, transaction) = (self.clone(), token.transaction.clone());
        let gone: Vec<String> = saved.tables.keys().cloned().collect();
        Ok(Ran {
            measured: measured.clone(),
            restore_point: run.reversible.then_some(saved),
            token,
            finish: Box::new(move |verdict| {
                Box::pin(async move {
                    let Verdict::Commit(permit) = verdict else {
                        return Ended::RolledBack("as told".into());
                    };
                    assert_eq!(permit.spend().token.transaction, transaction);
                    let mut data = memory.data.lock().unwrap();
                    data.tables.retain(|table, _| !gone.contains(table));
                    data.committed.insert(transaction);
                    data.commits += 1;
                    if std::mem::take(&mut data.lose_answer) {
                        return Ended::Unknown("the connection was lost".into());
                    }
                    Ended::Committed(Outcome { said: vec!["DROP SCHEMA".into()], measured })
                })
            }),
        })
    }

    async fn read(&self, text: &str) -> Result<(Payload, Vec<Action>), TargetError> {
        let Some(schema) = text.strip_prefix("drop ") else {
            return Err(TargetError::CannotJudge(format!("`{text}` is not understood")));
        };
        let dropped = Action::new(postgres::DROP_SCHEMA, Object::new("schema", schema));
        Ok((Payload::exact("memory", text, text), vec![dropped]))
    }

    async fn probe(&self, question: &str, _: Duration) -> Result<Option<String>, TargetError> {
        let slow = {
            let mut data = self.data.lock().unwrap();
            data.probes += 1;
            data.slow.clone()
        };
        let _answers = slow.lock().await;
        let mut data = self.data.lock().unwrap();
        if let Some(once) = data.says_once.take() {
            return Ok(Some(once));
        }
        let Some(table) = question.strip_prefix("rows of ") else {
            let message = format!("`{question}` is no question (SQLSTATE 42601)");
            return Err(TargetError::Refused { code: "42601".into(), message });
        };
        Ok(data.says.clone().or_else(|| data.tables.get(table).map(u64::to_string)))
    }

    async fn fate(&self, token: &CommitToken) -> Result<Fate, TargetError> {
        let data = self.data.lock().unwrap();
        if data.forgot {
            return Ok(Fate::Unknown);
        }
        if data.is_down {
            return Err(TargetError::Local("nobody answers".to_owned()));
        }
        let committed = data.committed.contains(&token.transaction);
        Ok(if committed { Fate::Committed } else { Fate::RolledBack })
    }

    async fn plan_restore(
        &self,
        _: PathBuf,
        restore_point: &RestorePoint,
    ) -> Result<RestorePlan, TargetError> {
        let rows = restore_point.tables.iter().map(|(table, saved)| (table.clone(), saved.rows));
        Ok(RestorePlan { rows: rows.collect(), ..RestorePlan::default() })
    }

    async fn restore(&self, permit: Permit<Restore>) -> Result<Restored, TargetError> {
        let mut act = permit.spend();
        let stalls = {
            let mut data = self.data.lock().unwrap();
            data.restores += 1;
            std::mem::take(&mut data.stall_restore)
        };
        if stalls {
            let never = act.halt.unless(std::future::pending::<()>()).await;
            return Err(TargetError::Halted(never.unwrap_err()));
        }
        let mut data = self.data.lock().unwrap();
        let mut rows = Counts::new();
        for (table, saved) in act.restore_point.tables {
            data.tables.insert(table.clone(), saved.rows);
            rows.insert(table, saved.rows);
        }
        Ok(Restored { rows, equal: true, ..Restored::default() })
    }

    async fn plan_take_back(&self, writes: Vec<KeptWrite>) -> Result<RestorePlan, TargetError> {
        let rows = writes.iter().map(|write| (write.images.clone(), 1)).collect();
        Ok(RestorePlan { rows, ..RestorePlan::default() })
    }

    async fn take_back(&self, permit: Permit<TakeBack>) -> Result<Restored, TargetError> {
        let writes = permit.spend().writes;
        let mut data = self.data.lock().unwrap();
        data.taken_back.extend(writes.iter().map(|write| write.images.clone()));
        let rows = writes.into_iter().map(|write| (write.images, 1)).collect();
        Ok(Restored { rows, equal: true, ..Restored::default() })
    }
}
