//! Takes a change back: definitions from the saved schema, rows from the copies, all in one
//! transaction, and compares what is there then with what was saved.

use super::catalog::{self, Address};
use super::client::Client;
use super::programs::{self, Entry, Section};
use super::save::SCHEMA;
use super::saved::{Content, LostObject, Manifest, SavedRows};
use super::{PostgresTarget, Setup};
use countermand_core::change::RestorePoint;
use countermand_engine::target::{Restore, RestorePlan, Restored, TargetError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

mod rows;

pub(super) use rows::send_to_sleep;

/// What can be dropped to make room, by kind, in an order in which it goes.
const REPLACEABLE: [&str; 8] =
    ["view", "materialized view", "table", "sequence", "function", "procedure", "type", "schema"];

/// A restore point, opened against a server.
struct Work<'a> {
    setup: &'a Setup,
    client: Client,
    folder: PathBuf,
    manifest: Manifest,
    /// What of the saved schema comes back.
    selection: Vec<Entry>,
    /// What of it is there already, under the same name.
    present: Vec<LostObject>,
}

/// What a restore would do. Rolled back.
pub(super) async fn plan(
    target: &PostgresTarget,
    folder: PathBuf,
    known: &RestorePoint,
) -> Result<RestorePlan, TargetError> {
    let mut work = Work::open(target, folder, known).await?;
    // Locks nothing: who asks what would happen keeps nobody waiting.
    work.begin().await?;
    let plan = work.plan().await;
    work.client.batch("ROLLBACK").await?;
    plan
}

/// Takes a change back.
pub(super) async fn restore(
    target: &PostgresTarget,
    restore: Restore,
) -> Result<Restored, TargetError> {
    let Restore { folder, restore_point, overwrite, mut halt, .. } = restore;
    let ready = halt.unless(async {
        let mut work = Work::open(target, folder, &restore_point).await?;
        work.begin_locked().await?;
        let done = work.restore(overwrite).await;
        Ok::<_, TargetError>((work, done))
    });
    // Halted, the connection ends in the middle of its work, and the transaction with it.
    let (mut work, done) = ready.await.unwrap_or_else(|why| Err(TargetError::Halted(why)))?;
    match done {
        Ok(restored) => {
            let tag = work.client.batch("COMMIT").await.map_err(|error| {
                TargetError::Local(format!(
                    "whether it was brought back is not known ({error}): look with --plan"
                ))
            })?;
            if tag == "COMMIT" {
                return Ok(restored);
            }
            Err(TargetError::CannotJudge(format!("the server answered {tag} to COMMIT")))
        }
        Err(error) => {
            let _ = work.client.batch("ROLLBACK").await;
            Err(error)
        }
    }
}

impl<'a> Work<'a> {
    async fn open(
        target: &'a PostgresTarget,
        folder: PathBuf,
        known: &RestorePoint,
    ) -> Result<Work<'a>, TargetError> {
        let setup = target.setup();
        let (at, point) = (folder.clone(), known.clone());
        let opened = tokio::task::spawn_blocking(move || Manifest::open(&at, &point)).await;
        let manifest = opened.map_err(|_| local("reading the restore point was given up"))?;
        let manifest = manifest.map_err(local)?;
        let mut client = target.connect().await?;
        let fingerprint = target.fingerprint_of(&mut client).await?;
        if fingerprint != manifest.fingerprint {
            let words = format!(
                "the restore point is of the server and database {}, this is {fingerprint}",
                manifest.fingerprint
            );
            return Err(TargetError::CannotJudge(words));
        }
        let entries = programs::contents(setup, &folder.join(SCHEMA)).await.map_err(local)?;
        let lost: BTreeSet<Address> = manifest.lost.iter().map(|object| object.address).collect();
        let selection = programs::selection(&entries, &lost);
        Ok(Work { setup, client, folder, manifest, selection, present: Vec::new() })
    }

    async fn begin(&mut self) -> Result<(), TargetError> {
        self.client.batch("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        self.client.patient().await?;
        self.present = self.find_present().await?;
        Ok(())
    }

    /// Locks the tables that stay against writers, then looks: as a run does.
    async fn begin_locked(&mut self) -> Result<(), TargetError> {
        self.client.batch("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        self.client.patient().await?;
        let staying = self.manifest.tables.iter().filter(|saved| !saved.gone);
        let names: BTreeSet<String> =
            staying.map(|saved| format!("ONLY {}", saved.table)).collect();
        if !names.is_empty() {
            let list = names.into_iter().collect::<Vec<_>>().join(", ");
            let sql = format!("LOCK TABLE {list} IN SHARE ROW EXCLUSIVE MODE");
            self.client.batch(&sql).await?;
        }
        self.present = self.find_present().await?;
        Ok(())
    }

    /// Lost objects whose names are taken now.
    async fn find_present(&mut self) -> Result<Vec<LostObject>, TargetError> {
        let named: Vec<&LostObject> =
            self.manifest.lost.iter().filter(|object| !object.name.is_empty()).collect();
        let names: Vec<String> = named.iter().map(|object| object.name.clone()).collect();
        let each: Vec<String> = [
            ("pg_class", 1259),
            ("pg_proc", 1255),
            ("pg_type", 1247),
            ("pg_namespace", 2615),
            ("pg_constraint", 2606),
            ("pg_trigger", 2620),
            ("pg_policy", 3256),
            ("pg_statistic_ext", 3381),
        ]
        .map(|(name, class)| {
            format!("SELECT {class} AS class, c.oid FROM pg_catalog.{name} c WHERE c.oid >= 16384")
        })
        .into();
        let sql = format!(
            "SELECT o.class, i.identity FROM ({}) o,
               LATERAL pg_catalog.pg_identify_object(o.class::pg_catalog.oid, o.oid, 0) i
             WHERE i.identity = ANY ($1::pg_catalog.text[])",
            each.join(" UNION ALL ")
        );
        let rows = self.client.query(&sql, &[&catalog::array(&names)]).await?;
        let taken: BTreeSet<(u32, String)> = rows
            .iter()
            .filter_map(|row| Some((catalog::number(row, 0)?, catalog::text(row, 1).to_owned())))
            .collect();
        let is_taken =
            |object: &&&LostObject| taken.contains(&(object.address.class, object.name.clone()));
        Ok(named.iter().filter(is_taken).map(|object| (*object).clone()).collect())
    }

    async fn plan(&mut self) -> Result<RestorePlan, TargetError> {
        let mut plan = RestorePlan { conflicts: self.taken().await?, ..RestorePlan::default() };
        let files = &self.manifest.files;
        for saved in self.manifest.tables.clone() {
            let rows = files.get(&saved.before).map_or(0, |file| file.rows);
            plan.rows.insert(saved.table.clone(), rows);
        }
        let objects = self.manifest.lost.iter().filter(|object| !object.name.is_empty());
        plan.objects = objects.map(|object| format!("{} {}", object.kind, object.name)).collect();
        for (number, saved) in self.staying().await?.iter().enumerate() {
            let mut merge =
                rows::Merge::load(&mut self.client, &self.folder, saved, number).await?;
            plan.conflicts.extend(merge.conflicts(&mut self.client).await?);
        }
        plan.missing = self
            .manifest
            .refresh
            .iter()
            .map(|view| {
                format!("materialized view {view} is computed again from what is there then")
            })
            .collect();
        Ok(plan)
    }

    /// In words, names that are taken by something else. An existing schema is taken as it is.
    async fn taken(&mut self) -> Result<Vec<String>, TargetError> {
        let mut words = Vec::new();
        for object in self.present.iter().filter(|object| object.kind != "schema") {
            let mut text = format!("{} {} exists now", object.kind, object.name);
            if object.kind == "table" {
                let sql = format!("SELECT pg_catalog.count(*) FROM {}", object.name);
                let rows = self.client.query(&sql, &[]).await?;
                let rows = rows.first().map_or("?", |row| catalog::text(row, 0)).to_owned();
                text = format!("{text}, with {rows} rows");
            }
            words.push(text);
        }
        Ok(words)
    }

    async fn restore(&mut self, overwrite: bool) -> Result<Restored, TargetError> {
        let mut conflicts = self.taken().await?;
        if !conflicts.is_empty() && !overwrite {
            return Err(conflicting(&conflicts));
        }
        self.make_room().await?;
        self.definitions(Section::BeforeRows, false).await?;
        let mut restored = Restored { equal: true, ..Restored::default() };
        let gone: Vec<SavedRows> =
            self.manifest.tables.iter().filter(|saved| saved.gone).cloned().collect();
        for saved in &gone {
            self.fill(saved).await?;
        }
        self.definitions(Section::AfterRows, false).await?;
        self.definitions(Section::BeforeRows, true).await?;
        self.definitions(Section::AfterRows, true).await?;
        for statement in self.manifest.remake.clone() {
            self.client.batch(&statement).await?;
        }
        for saved in &gone {
            self.compare(saved).await?;
            restored.rows.insert(saved.table.clone(), self.rows_of(saved));
        }
        conflicts.extend(self.merge(overwrite, &mut restored).await?);
        self.positions().await?;
        for view in self.manifest.refresh.clone() {
            self.client.batch(&format!("REFRESH MATERIALIZED VIEW {view}")).await?;
        }
        self.client.batch("SET CONSTRAINTS ALL IMMEDIATE").await?;
        restored.overwritten = conflicts;
        Ok(restored)
    }

    fn rows_of(&self, saved: &SavedRows) -> u64 {
        self.manifest.files.get(&saved.before).map_or(0, |file| file.rows)
    }

    /// Drops what has taken the names; never more than that: what depends on it refuses.
    async fn make_room(&mut self) -> Result<(), TargetError> {
        let mut by_kind: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for object in &self.present {
            by_kind.entry(&object.kind).or_default().push(object.name.clone());
        }
        by_kind.remove("schema");
        let other = by_kind.keys().find(|kind| !REPLACEABLE.contains(kind));
        if let Some(kind) = other {
            let words = format!("{kind} {} exists now; drop it by hand", by_kind[kind].join(", "));
            return Err(TargetError::CannotJudge(words));
        }
        let drops = REPLACEABLE.iter().filter_map(|kind| by_kind.get_key_value(kind));
        let drops: Vec<String> = drops
            .map(|(kind, names)| format!("DROP {kind} IF EXISTS {}", names.join(", ")))
            .collect();
        for sql in drops {
            self.client.batch(&sql).await?;
        }
        self.drop_empty_schemas().await
    }

    /// An empty schema that has taken a name gives way, so that owner and permissions come back
    /// with the schema that was lost. One that holds something stays as it is.
    async fn drop_empty_schemas(&mut self) -> Result<(), TargetError> {
        let schemas = self.present.iter().filter(|object| object.kind == "schema");
        let names: Vec<String> = schemas.map(|object| object.name.clone()).collect();
        let sql = "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_namespace n
            WHERE pg_catalog.quote_ident(n.nspname)
                OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                WHERE d.refclassid OPERATOR(pg_catalog.=) 2615::pg_catalog.oid
                  AND d.refobjid OPERATOR(pg_catalog.=) n.oid)";
        let rows = self.client.query(sql, &[&catalog::array(&names)]).await?;
        for row in &rows {
            let name = catalog::text(row, 0).to_owned();
            self.client.batch(&format!("DROP SCHEMA {name}")).await?;
            self.present.retain(|object| object.kind != "schema" || object.name != name);
        }
        Ok(())
    }

    /// Re-creates one half of the definitions, or of what attaches to what has stayed. A schema
    /// that is there stays.
    async fn definitions(&mut self, section: Section, late: bool) -> Result<(), TargetError> {
        let present: BTreeSet<Address> = (self.present.iter())
            .filter(|object| object.kind == "schema")
            .map(|object| object.address)
            .collect();
        let wanted = |entry: &&Entry| entry.late == late && !entry.is_one_of(&present);
        let selection: Vec<Entry> = self.selection.iter().filter(wanted).cloned().collect();
        let dump = self.folder.join(SCHEMA);
        let sql = programs::statements(self.setup, &dump, &selection, section).await;
        let sql = sql.map_err(local)?;
        if !sql.is_empty() {
            self.client.batch(&sql).await?;
            self.client.pin().await?;
        }
        Ok(())
    }

    async fn fill(&mut self, saved: &SavedRows) -> Result<(), TargetError> {
        let path = self.folder.join(&saved.before);
        let mut file = tokio::fs::File::open(&path).await.map_err(local)?;
        let sql = format!("COPY {} {} FROM STDIN", saved.table, rows::list(&saved.columns));
        self.client.copy_in(&sql, &mut file).await?;
        Ok(())
    }

    /// Reads a re-created table back, and refuses unless it is what was saved.
    async fn compare(&mut self, saved: &SavedRows) -> Result<(), TargetError> {
        let path = self.folder.join(&saved.before);
        let wanted = content_of(path).await?;
        let now = rows::content(&mut self.client, &saved.table, &saved.columns).await?;
        if now == wanted {
            return Ok(());
        }
        let words = format!("what came back into {} is not what was saved", saved.table);
        Err(TargetError::CannotJudge(words))
    }

    async fn merge(
        &mut self,
        overwrite: bool,
        restored: &mut Restored,
    ) -> Result<Vec<String>, TargetError> {
        let mut overwritten = Vec::new();
        for (number, saved) in self.staying().await?.iter().enumerate() {
            let mut merge =
                rows::Merge::load(&mut self.client, &self.folder, saved, number).await?;
            let conflicts = merge.conflicts(&mut self.client).await?;
            if !conflicts.is_empty() && !overwrite {
                return Err(conflicting(&conflicts));
            }
            overwritten.extend(conflicts);
            merge.apply(&mut self.client).await?;
            restored.equal &= merge.is_equal(&mut self.client).await?;
            restored.rows.insert(saved.table.clone(), self.rows_of(saved));
        }
        Ok(overwritten)
    }

    /// Tables that stay, those that are referred to first.
    async fn staying(&mut self) -> Result<Vec<SavedRows>, TargetError> {
        let staying: Vec<SavedRows> =
            self.manifest.tables.iter().filter(|saved| !saved.gone).cloned().collect();
        let names: Vec<String> = staying.iter().map(|saved| saved.table.clone()).collect();
        let sql = "SELECT k.conrelid::pg_catalog.regclass, k.confrelid::pg_catalog.regclass
            FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.conrelid <> k.confrelid
              AND k.confrelid = ANY ($1::pg_catalog.regclass[])";
        let rows = self.client.query(sql, &[&catalog::array(&names)]).await?;
        let pair = |row: &Vec<Option<String>>| {
            (catalog::text(row, 0).to_owned(), catalog::text(row, 1).to_owned())
        };
        let keys: Vec<(String, String)> = rows.iter().map(pair).collect();
        let (mut left, mut order) = (staying, Vec::new());
        while !left.is_empty() {
            let waits = |saved: &SavedRows| {
                keys.iter().any(|(from, to)| {
                    *from == saved.table && left.iter().any(|other| other.table == *to)
                })
            };
            // Tables that refer to each other in a ring go as they come; the server decides.
            let next = left.iter().position(|saved| !waits(saved)).unwrap_or(0);
            order.push(left.remove(next));
        }
        Ok(order)
    }

    /// Sequences go on from where the farther of the two was.
    async fn positions(&mut self) -> Result<(), TargetError> {
        for saved in self.manifest.sequences.clone() {
            let sql = format!(
                "SELECT pg_catalog.setval(s.seqrelid::pg_catalog.regclass, $1::pg_catalog.int8,
                   $2::pg_catalog.bool)
                 FROM pg_catalog.pg_sequence s, {} n
                 WHERE s.seqrelid = $3::pg_catalog.regclass AND CASE WHEN s.seqincrement > 0
                   THEN ($1::pg_catalog.int8, $2::pg_catalog.bool) > (n.last_value, n.is_called)
                   ELSE (-$1::pg_catalog.int8, $2::pg_catalog.bool) > (-n.last_value, n.is_called)
                 END",
                saved.name
            );
            let called = if saved.called { "true" } else { "false" };
            self.client.query(&sql, &[&saved.last, called, &saved.name]).await?;
        }
        Ok(())
    }
}

async fn content_of(path: PathBuf) -> Result<Content, TargetError> {
    let read = move || Content::of_file(Path::new(&path));
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|_| local("reading the restore point was given up"))?.map_err(local)
}

fn conflicting(conflicts: &[String]) -> TargetError {
    TargetError::CannotJudge(format!(
        "not taken back, because it would overwrite what came since: {}",
        conflicts.join("; ")
    ))
}

fn local(why: impl std::fmt::Display) -> TargetError {
    TargetError::Local(why.to_string())
}
