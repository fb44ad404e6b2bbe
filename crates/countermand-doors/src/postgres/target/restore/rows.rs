//! Rows back into a table that stayed, told apart by key: what the change took or overwrote comes
//! back where nobody has touched it since, and what others did is left alone or named.

use super::super::catalog;
use super::super::client::{Client, ClientError};
use super::super::saved::{Content, Counting, SavedRows};
use super::local;
use crate::postgres::quoting::quoted;
use countermand_engine::target::TargetError;
use std::path::Path;

/// A table's saved rows, loaded beside it for as long as the transaction.
pub(super) struct Merge<'a> {
    saved: &'a SavedRows,
    before: String,
    after: String,
    now: Content,
}

/// Columns in parentheses, or nothing for a table that has none.
pub(super) fn list(columns: &[String]) -> String {
    if columns.is_empty() { String::new() } else { format!("({})", names(columns)) }
}

fn names(columns: &[String]) -> String {
    columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")
}

/// What a table holds now.
pub(super) async fn content(
    client: &mut Client,
    table: &str,
    columns: &[String],
) -> Result<Content, ClientError> {
    let mut counting = Counting::default();
    let sql = format!("COPY {table} {} TO STDOUT", list(columns));
    client.copy_out(&sql, &mut counting).await?;
    Ok(counting.content())
}

/// Switches off a table's triggers and rules; returns what switches each back to exactly what it
/// was: `ENABLE TRIGGER USER` would turn ENABLE ALWAYS into plain.
pub(in super::super) async fn send_to_sleep(
    client: &mut Client,
    table: &str,
) -> Result<Vec<String>, ClientError> {
    let sql = "SELECT 'TRIGGER', pg_catalog.quote_ident(t.tgname), t.tgenabled
        FROM pg_catalog.pg_trigger t
        WHERE t.tgrelid = $1::pg_catalog.regclass AND NOT t.tgisinternal AND t.tgenabled <> 'D'
        UNION ALL
        SELECT 'RULE', pg_catalog.quote_ident(r.rulename), r.ev_enabled FROM pg_catalog.pg_rewrite r
        WHERE r.ev_class = $1::pg_catalog.regclass AND r.ev_enabled <> 'D' AND r.ev_type <> '1'";
    let mut awake = Vec::new();
    for row in client.query(sql, &[table]).await? {
        let (what, name) = (catalog::text(&row, 0), catalog::text(&row, 1));
        let how = match catalog::text(&row, 2) {
            "A" => "ENABLE ALWAYS",
            "R" => "ENABLE REPLICA",
            _ => "ENABLE",
        };
        client.batch(&format!("ALTER TABLE {table} DISABLE {what} {name}")).await?;
        awake.push(format!("ALTER TABLE {table} {how} {what} {name}"));
    }
    Ok(awake)
}

impl<'a> Merge<'a> {
    pub(super) async fn load(
        client: &mut Client,
        folder: &Path,
        saved: &'a SavedRows,
        number: usize,
    ) -> Result<Merge<'a>, TargetError> {
        let (before, after) = (format!("countermand_b{number}"), format!("countermand_a{number}"));
        let files = [(&before, Some(&saved.before)), (&after, saved.after.as_ref())];
        for (name, file) in files {
            client
                .batch(&format!(
                    "CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS
                     SELECT {} FROM ONLY {} WITH NO DATA",
                    names(&saved.columns),
                    saved.table
                ))
                .await?;
            if let Some(file) = file {
                let mut file = tokio::fs::File::open(folder.join(file)).await.map_err(local)?;
                let columns = list(&saved.columns);
                client
                    .copy_in(&format!("COPY pg_temp.{name} {columns} FROM STDIN"), &mut file)
                    .await?;
            }
        }
        let now = content(client, &saved.table, &saved.columns).await?;
        Ok(Merge { saved, before, after, now })
    }

    /// In words, what changed since and would be overwritten.
    pub(super) async fn conflicts(
        &mut self,
        client: &mut Client,
    ) -> Result<Vec<String>, ClientError> {
        let table = &self.saved.table;
        if self.saved.key.is_empty() {
            let known = [&self.saved.left, &self.saved.was];
            let untouched = known.iter().any(|content| content.as_ref() == Some(&self.now));
            return Ok(if untouched {
                Vec::new()
            } else {
                vec![format!("{table} has no key and has changed since")]
            });
        }
        let sql = format!(
            "{} SELECT pg_catalog.count(*) FROM sides s
             WHERE s.now IS DISTINCT FROM s.after AND s.now IS DISTINCT FROM s.before",
            self.sides()
        );
        let rows = client.query(&sql, &[]).await?;
        let count: u64 = rows.first().and_then(|row| catalog::number(row, 0)).unwrap_or(u64::MAX);
        let words = || format!("{count} rows of {table} have changed since");
        Ok(if count > 0 { vec![words()] } else { Vec::new() })
    }

    /// Every saved row by its key: as it was, as the change left it, as it is now.
    fn sides(&self) -> String {
        let (columns, key) = (names(&self.saved.columns), names(&self.saved.key));
        let side = |from: &str, column: &str| {
            format!(
                "(SELECT {key}, \"whole row\"::pg_catalog.text AS {column}
                  FROM (SELECT {columns} FROM {from}) AS \"whole row\")"
            )
        };
        format!(
            "WITH sides AS (SELECT {key}, b.before, a.after, n.now
             FROM {} b FULL JOIN {} a USING ({key}) LEFT JOIN {} n USING ({key}))",
            side(&format!("pg_temp.{}", self.before), "before"),
            side(&format!("pg_temp.{}", self.after), "after"),
            side(&format!("ONLY {}", self.saved.table), "now"),
        )
    }

    /// Puts the rows back, with the table's own triggers and rules asleep.
    pub(super) async fn apply(&mut self, client: &mut Client) -> Result<(), ClientError> {
        if self.saved.was.as_ref() == Some(&self.now) {
            return Ok(());
        }
        let awake = send_to_sleep(client, &self.saved.table).await?;
        let statements = match self.saved.key.is_empty() {
            true => self.without_key(),
            false => self.by_key(client).await?,
        };
        for sql in statements {
            client.batch(&sql).await?;
        }
        for sql in awake {
            client.batch(&sql).await?;
        }
        Ok(())
    }

    async fn by_key(&self, client: &mut Client) -> Result<Vec<String>, ClientError> {
        let (table, columns) = (&self.saved.table, names(&self.saved.columns));
        let same = |left: &str, right: &str| {
            let each = self.saved.key.iter().map(|column| quoted(column));
            let each = each.map(|column| format!("{left}.{column} = {right}.{column}"));
            each.collect::<Vec<_>>().join(" AND ")
        };
        let (before, after) = (&self.before, &self.after);
        let mut statements = vec![format!(
            "DELETE FROM ONLY {table} t USING pg_temp.{after} a WHERE {}
             AND NOT EXISTS (SELECT 1 FROM pg_temp.{before} b WHERE {})",
            same("t", "a"),
            same("b", "a"),
        )];
        let settable = self.settable(client).await?;
        if !settable.is_empty() {
            let sets = settable.iter().map(|column| quoted(column));
            let sets = sets.map(|column| format!("{column} = b.{column}")).collect::<Vec<_>>();
            statements.push(format!(
                "UPDATE ONLY {table} t SET {} FROM pg_temp.{before} b WHERE {}",
                sets.join(", "),
                same("t", "b"),
            ));
        }
        statements.push(format!(
            "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
             SELECT {columns} FROM pg_temp.{before} b
             WHERE NOT EXISTS (SELECT 1 FROM ONLY {table} t WHERE {})",
            same("t", "b"),
        ));
        Ok(statements)
    }

    /// Columns that UPDATE may set: not the key, which is equal, and no identity ALWAYS.
    async fn settable(&self, client: &mut Client) -> Result<Vec<String>, ClientError> {
        let sql = "SELECT a.attname FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = $1::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
              AND a.attidentity <> 'a' AND a.attgenerated = ''";
        let rows = client.query(sql, &[&self.saved.table]).await?;
        let names = rows.iter().map(|row| catalog::text(row, 0).to_owned());
        Ok(names
            .filter(|name| self.saved.columns.contains(name) && !self.saved.key.contains(name))
            .collect())
    }

    /// Rows that only all of their columns tell apart.
    fn without_key(&self) -> Vec<String> {
        let (table, columns) = (&self.saved.table, names(&self.saved.columns));
        let (before, after) = (&self.before, &self.after);
        vec![
            format!(
                "DELETE FROM ONLY {table} WHERE ctid IN (
                   SELECT n.place FROM
                     (SELECT r.ctid AS place, r.line, pg_catalog.row_number() OVER (PARTITION BY r.line) AS nth
                      FROM (SELECT \"whole row\".ctid,
                              (SELECT x::pg_catalog.text FROM (SELECT {qualified}) x) AS line
                            FROM ONLY {table} \"whole row\") r) n
                   JOIN (SELECT \"whole row\"::pg_catalog.text AS line, pg_catalog.count(*) AS times
                         FROM (SELECT {columns} FROM pg_temp.{after}) \"whole row\" GROUP BY 1) a
                     ON a.line = n.line AND n.nth <= a.times)",
                qualified = self
                    .saved
                    .columns
                    .iter()
                    .map(|column| format!("\"whole row\".{}", quoted(column)))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            format!(
                "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
                 SELECT {columns} FROM pg_temp.{before}"
            ),
        ]
    }

    /// Whether what the change touched is as it was.
    pub(super) async fn is_equal(&self, client: &mut Client) -> Result<bool, ClientError> {
        if self.saved.key.is_empty() {
            let now = content(client, &self.saved.table, &self.saved.columns).await?;
            return Ok(self.saved.was.as_ref() == Some(&now));
        }
        let sql = format!(
            "{} SELECT pg_catalog.count(*) FROM sides s WHERE s.now IS DISTINCT FROM s.before",
            self.sides()
        );
        let rows = client.query(&sql, &[]).await?;
        Ok(rows.first().map(|row| catalog::text(row, 0)) == Some("0"))
    }
}
