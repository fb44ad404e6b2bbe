//! Copies what a unit would lose, out of one snapshot, and reads the copies back.

use super::Setup;
use super::catalog::{self, Address, CONSTRAINT, DEFAULT, Table};
use super::client::{Client, ClientError};
use super::programs::{self, ProgramError};
use super::saved::{
    Folder, LostObject, Manifest, SavedError, SavedRows, SavedSequence, Sealed, difference,
};
use super::survey::Survey;
use crate::postgres::quoting::quoted;
use countermand_core::change::RestorePoint;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::time::Instant;

/// The file that holds every definition.
pub(super) const SCHEMA: &str = "schema.dump";

/// Why there is no restore point.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaveError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Saved(#[from] SavedError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("the copy of {table} has {copied} rows, the table had {counted}")]
    Short { table: String, copied: u64, counted: u64 },
    #[error("the work was given up")]
    GivenUp,
}

/// A restore point that lacks only what the unit leaves.
#[derive(Debug)]
pub(super) struct Saving {
    folder: Folder,
    manifest: Manifest,
    began: Instant,
    /// Tables that stay, with the whole copy of each.
    staying: Vec<(Table, SavedRows, String)>,
}

/// What is to be saved.
pub(super) struct Subject<'a> {
    /// Everything that goes.
    pub(super) survey: &'a Survey,
    /// The server and database.
    pub(super) fingerprint: String,
    /// A folder that does not exist.
    pub(super) folder: PathBuf,
}

/// Saves what the snapshot of this client's transaction sees.
pub(super) async fn save(
    setup: &Setup,
    client: &mut Client,
    subject: Subject<'_>,
) -> Result<Saving, SaveError> {
    let mut saving = Saving {
        folder: Folder::create(subject.folder)?,
        manifest: Manifest::new(subject.fingerprint),
        began: Instant::now(),
        staying: Vec::new(),
    };
    client.patient().await?;
    saving.definitions(setup, client, subject.survey).await?;
    saving.sequences(client, subject.survey).await?;
    for (number, losing) in subject.survey.rows.values().enumerate() {
        let name = format!("{number:05}");
        saving.table(client, &losing.table, losing.gone, &name).await?;
    }
    client.impatient().await?;
    Ok(saving)
}

impl Saving {
    async fn definitions(
        &mut self,
        setup: &Setup,
        client: &mut Client,
        survey: &Survey,
    ) -> Result<(), SaveError> {
        let rows = client.query("SELECT pg_catalog.pg_export_snapshot()", &[]).await?;
        let snapshot = rows.first().map_or("", |row| catalog::text(row, 0)).to_owned();
        // The program writes into what is there, with our mode.
        drop(self.folder.file(SCHEMA)?);
        programs::dump_schema(setup, &snapshot, &self.folder.at(SCHEMA)).await?;
        self.folder.sync(SCHEMA)?;
        let entries = programs::contents(setup, &self.folder.at(SCHEMA)).await?;
        let known = programs::selection(&entries, &survey.lost);
        tracing::debug!(entries = entries.len(), lost = known.len(), "saved definitions");
        self.keep(SCHEMA).await?;
        self.manifest.lost = survey.lost.iter().map(|at| lost(survey, *at)).collect();
        self.manifest.remake = remake(client, survey).await?;
        self.manifest.refresh = refresh(client, survey).await?;
        Ok(())
    }

    async fn sequences(&mut self, client: &mut Client, survey: &Survey) -> Result<(), SaveError> {
        let sequences = survey.objects.values().filter(|seen| seen.kind == "sequence");
        for sequence in sequences {
            let sql = format!("SELECT s.last_value, s.is_called FROM {} s", sequence.name);
            for row in client.query(&sql, &[]).await? {
                self.manifest.sequences.push(SavedSequence {
                    name: sequence.name.clone(),
                    last: catalog::text(&row, 0).to_owned(),
                    called: catalog::text(&row, 1) == "t",
                });
            }
        }
        Ok(())
    }

    async fn table(
        &mut self,
        client: &mut Client,
        table: &Table,
        gone: bool,
        name: &str,
    ) -> Result<(), SaveError> {
        let saved = |before: String, after| SavedRows {
            table: table.name.clone(),
            columns: table.columns.clone(),
            key: table.key.clone(),
            gone,
            before,
            after,
            was: None,
            left: None,
        };
        let before = format!("{name}.rows");
        let copied = if gone {
            self.copy(client, &copy_rows(table), &before).await?;
            self.manifest.tables.push(saved(before.clone(), None));
            self.keep(&before).await?
        } else {
            let scan = format!("{name}.scan");
            self.copy(client, &copy_places(table), &scan).await?;
            let rows = saved(before, Some(format!("{name}.after")));
            self.staying.push((table.clone(), rows, scan.clone()));
            self.read_back(&scan).await?.rows
        };
        let sql = format!("SELECT pg_catalog.count(*) FROM ONLY {}", table.name);
        let counted = client.query(&sql, &[]).await?;
        let counted = counted.first().and_then(|row| catalog::number(row, 0)).unwrap_or(u64::MAX);
        if copied == counted {
            return Ok(());
        }
        Err(SaveError::Short { table: table.name.clone(), copied, counted })
    }

    /// Copies rows into a file of the folder, onto the disk.
    async fn copy(&self, client: &mut Client, sql: &str, name: &str) -> Result<(), SaveError> {
        let file = tokio::fs::File::from_std(self.folder.file(name)?);
        let mut file = BufWriter::with_capacity(256 * 1024, file);
        client.copy_out(sql, &mut file).await?;
        let path = self.folder.at(name);
        file.flush().await.map_err(super::saved::io("write", &path))?;
        file.get_ref().sync_all().await.map_err(super::saved::io("sync", &path))?;
        Ok(())
    }

    async fn read_back(&self, name: &str) -> Result<super::saved::SavedFile, SaveError> {
        let (path, name) = (self.folder.at(name), name.to_owned());
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        let read = move || Folder::existing(folder).read_back(&name);
        Ok(tokio::task::spawn_blocking(read).await.map_err(|_| SaveError::GivenUp)??)
    }

    /// Reads a file back into the manifest; returns its rows.
    async fn keep(&mut self, name: &str) -> Result<u64, SaveError> {
        let file = self.read_back(name).await?;
        let rows = file.rows;
        self.manifest.files.insert(name.to_owned(), file);
        Ok(rows)
    }

    /// After the unit has run: keeps, of the tables that stay, what it took and what it left.
    /// Returns the rows that went or changed, by table.
    pub(super) async fn left(
        &mut self,
        client: &mut Client,
    ) -> Result<BTreeMap<String, u64>, SaveError> {
        let mut changed = BTreeMap::new();
        client.patient().await?;
        for (table, mut saved, scan) in std::mem::take(&mut self.staying) {
            let now = format!("{scan}.now");
            self.copy(client, &copy_places(&table), &now).await?;
            let after = saved.after.clone().unwrap_or_default();
            let (old, new) = (self.folder.at(&scan), self.folder.at(&now));
            let (before_path, after_path) = (self.folder.at(&saved.before), self.folder.at(&after));
            let files = (self.folder.file(&saved.before)?, self.folder.file(&after)?);
            let compare =
                move || difference(&old, &new, (&before_path, files.0), (&after_path, files.1));
            let (was, left) =
                tokio::task::spawn_blocking(compare).await.map_err(|_| SaveError::GivenUp)??;
            (saved.was, saved.left) = (Some(was), Some(left));
            self.folder.remove(&scan)?;
            self.folder.remove(&now)?;
            let rows = self.keep(&saved.before).await?;
            self.keep(&after).await?;
            changed.insert(saved.table.clone(), rows);
            self.manifest.tables.push(saved);
        }
        client.impatient().await?;
        Ok(changed)
    }

    /// The finished restore point.
    pub(super) fn seal(self) -> Result<Sealed, SaveError> {
        let mut sealed = self.folder.seal(&self.manifest)?;
        sealed.point.millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(sealed)
    }

    /// What it showed, once: the rows are deleted again, so that copies of production do not lie
    /// about while people review.
    pub(super) fn seal_trial(mut self) -> Result<RestorePoint, SaveError> {
        for (_, mut saved, scan) in std::mem::take(&mut self.staying) {
            let file = self.folder.read_back(&scan)?;
            saved.before = scan.clone();
            self.manifest.files.insert(scan, file);
            self.manifest.tables.push(saved);
        }
        self.manifest.trial = true;
        let rows: Vec<String> = self.manifest.tables.iter().map(|t| t.before.clone()).collect();
        for name in rows {
            self.folder.remove(&name)?;
        }
        let mut sealed = self.seal()?;
        sealed.keep();
        Ok(sealed.point.clone())
    }
}

fn lost(survey: &Survey, address: Address) -> LostObject {
    let seen = survey.objects.get(&address);
    LostObject {
        address,
        kind: seen.map(|seen| seen.kind.clone()).unwrap_or_default(),
        name: seen.map(|seen| seen.name.clone()).unwrap_or_default(),
    }
}

/// A table's own rows.
fn copy_rows(table: &Table) -> String {
    match table.columns.is_empty() {
        true => format!("COPY {} TO STDOUT", table.name),
        false => format!("COPY {} ({}) TO STDOUT", table.name, table.column_list()),
    }
}

/// A table's own rows in the order of their places, each behind its place.
fn copy_places(table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| quoted(column)).collect();
    let all = ["ctid", "xmin"].map(str::to_owned).into_iter().chain(columns);
    let list = all.collect::<Vec<_>>().join(", ");
    format!("COPY (SELECT {list} FROM ONLY {}) TO STDOUT", table.name)
}

/// Statements for constraints and defaults that go out of tables that stay: the saved schema has
/// them only as parts of their tables.
async fn remake(client: &mut Client, survey: &Survey) -> Result<Vec<String>, ClientError> {
    let of = |class: u32| {
        let of_class = survey.lost.iter().filter(move |at| at.class == class);
        catalog::oids(&of_class.map(|at| at.object).collect::<BTreeSet<u32>>())
    };
    let whole = survey.lost.iter().filter(|at| at.class == catalog::RELATION && at.part == 0);
    let gone = catalog::oids(&whole.map(|at| at.object).collect());
    let sql = "SELECT pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.conrelid::pg_catalog.regclass,
          k.conname, pg_catalog.pg_get_constraintdef(k.oid)) FROM pg_catalog.pg_constraint k
        WHERE k.contype = 'c' AND k.conrelid <> 0 AND k.coninhcount = 0
          AND k.oid = ANY ($1::pg_catalog.oid[]) AND k.conrelid <> ALL ($3::pg_catalog.oid[])
        UNION ALL
        SELECT pg_catalog.format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT %s', d.adrelid::pg_catalog.regclass,
          a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid)) FROM pg_catalog.pg_attrdef d
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE a.attgenerated = '' AND d.oid = ANY ($2::pg_catalog.oid[])
          AND d.adrelid <> ALL ($3::pg_catalog.oid[])";
    let rows = client.query(sql, &[&of(CONSTRAINT), &of(DEFAULT), &gone]).await?;
    Ok(rows.iter().map(|row| catalog::text(row, 0).to_owned()).collect())
}

/// Materialized views that go and have been computed.
async fn refresh(client: &mut Client, survey: &Survey) -> Result<Vec<String>, ClientError> {
    let relations = survey.lost.iter().filter(|at| at.class == catalog::RELATION && at.part == 0);
    let relations = catalog::oids(&relations.map(|at| at.object).collect());
    let sql = "SELECT pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname))
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'm' AND c.relispopulated AND c.oid = ANY ($1::pg_catalog.oid[]) ORDER BY c.oid";
    let rows = client.query(sql, &[&relations]).await?;
    Ok(rows.iter().map(|row| catalog::text(row, 0).to_owned()).collect())
}
