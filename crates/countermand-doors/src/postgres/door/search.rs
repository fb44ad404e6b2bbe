//! Rows that a transaction changed and nobody had asked for: by cascades, triggers, upserts.
//!
//! Until the transaction ends, others see them as they were, and the transaction does not. So they
//! are what a second connection sees, then the transaction does not see, and then the second
//! connection sees still: what somebody else took away is not there the third time. Only rows that
//! anybody has superseded or locked at all are looked at.
//!
//! What became of them shows in a sum. What the transaction's own connection sees of its writing
//! is what it added and every row that it changed, less what it deleted; however often it changed
//! one.

use super::Upstream;
use super::flight::{Broken, Errors, Line, Report};
use super::gate::Gate;
use super::kept::{Kept, SYSTEM, writer};
use super::measure::{Measure, Wanted};
use super::output::Output;
use super::session::Session;
use super::step::{Asked, Kind, OURS, Show, Step, Unnamed};
use super::weigh::Seen;
use crate::postgres::quoting::quoted;
use crate::postgres::target::connection::Connection;
use bytes::{Bytes, BytesMut};
use countermand_core::limits::Limits;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use std::collections::{BTreeMap, BTreeSet};

/// What a search that is not done says, before its reason.
const NOT_FOUND: &str = "not all rows that it changed are found";

/// Rows that somebody has locked or superseded take no more than this to be named, in bytes.
const TOUCHED_BYTES: u64 = 8 * 1024 * 1024;

/// The values of a row's primary key.
type Key = Vec<Option<Bytes>>;

impl<G: Gate> Session<G> {
    /// Finds what the open transaction changed and no question had asked for, and keeps it. Gives
    /// why that cannot be, if so.
    pub(super) async fn search(
        &mut self,
        measure: &mut Measure,
        kept: &mut Vec<Kept>,
        limits: &Limits,
    ) -> Result<Option<String>, Broken> {
        let wanted = measure.wanted(kept);
        // What is too much anyway is not searched for.
        let small = measure.changed() <= limits.rows && !measure.is_odd();
        let (Some(first), true) = (measure.number(), small && !wanted.is_empty()) else {
            return Ok(None);
        };
        if measure.fixed_snapshot() {
            // What others committed since is not seen there, and would be taken for its own doing.
            return Ok(Some(format!("{NOT_FOUND}: its isolation is stricter than READ COMMITTED")));
        }
        if let Some(part) = wanted.iter().find(|table| !table.is_read_alone()) {
            let name = &part.name;
            return Ok(Some(format!(
                "{NOT_FOUND}: the session role may not read {name} by itself"
            )));
        }
        if let Some(large) = wanted.iter().find(|table| table.size > limits.searched_bytes) {
            let Wanted { name, size, .. } = large;
            let most = limits.searched_bytes;
            return Ok(Some(format!(
                "{NOT_FOUND}: {name} has {size} bytes, and tables of up to {most} are searched"
            )));
        }
        let bytes = kept.iter().map(|kept| kept.bytes).fold(0, u64::saturating_add);
        let most = limits.kept_bytes.saturating_sub(bytes);
        let mut beside = match self.beside().await {
            Ok(beside) => beside,
            Err(why) => return Ok(Some(why)),
        };
        let numbers = match beside.next_number().await {
            Ok(next) => Numbers { first, next },
            Err(why) => return Ok(Some(why)),
        };
        let questions = wanted.iter().map(|table| keep(&live(table, numbers), most));
        let report = self.fly_silently(questions.chain([Step::sync()]).collect()).await?;
        let live = match answers(report, wanted.len()) {
            Ok(live) => live,
            Err(why) => return Ok(Some(why)),
        };
        measure.wrote_as(&live.iter().flat_map(Kept::writers).collect());
        let found = match self.superseded(&mut beside, measure, &wanted, most).await? {
            Ok(found) => found,
            Err(why) => return Ok(Some(why)),
        };
        beside.line.writer.terminate().await;
        for ((table, live), found) in wanted.iter().zip(live).zip(found) {
            if let Err(why) = settle(table, &live, found, measure.numbers(), kept) {
                return Ok(Some(why));
            }
            measure.is_found(table.oid);
        }
        Ok(None)
    }

    /// The rows of these tables as they were that the transaction has superseded.
    async fn superseded(
        &mut self,
        beside: &mut Beside,
        measure: &Measure,
        wanted: &[Wanted],
        most: u64,
    ) -> Result<Result<Vec<Kept>, String>, Broken> {
        let questions = wanted.iter().map(|table| keep(&touched(table), TOUCHED_BYTES));
        let report = beside.ask(questions.chain([Step::sync()]).collect()).await;
        let mut touched = match report.and_then(|report| answers(report, wanted.len())) {
            Ok(touched) => touched,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(doubt) = self.let_go(measure, Seen::default(), &mut touched).await? {
            return Ok(Err(doubt));
        }
        let questions = wanted.iter().zip(&touched);
        let questions = questions.map(|(table, touched)| keep(&still_there(table, touched), most));
        let report = beside.ask(questions.chain([Step::sync()]).collect()).await;
        let found = report.and_then(|report| answers(report, wanted.len())).map(|mut found| {
            // Another row can have come to the place of one that is gone.
            for (found, touched) in found.iter_mut().zip(&touched) {
                found.retain_versions_of(touched);
            }
            found
        });
        Ok(found)
    }

    /// A connection as the session role, which sees nothing of the open transaction. Row security
    /// that would hide rows is an error there.
    async fn beside(&mut self) -> Result<Beside, String> {
        let Upstream { address, login, settings, .. } = &self.upstream;
        // Whoever waits here makes its own transaction, and everybody behind it, wait.
        let own = [
            ("default_transaction_read_only", "on"),
            ("row_security", "off"),
            ("lock_timeout", "500"),
            ("statement_timeout", "10000"),
        ];
        let mut settings: BTreeMap<String, String> = settings.clone();
        settings.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let name = format!("countermand {} {} search", self.caller.agent, self.caller.session);
        settings.insert("application_name".to_owned(), name);
        let settings: Vec<(String, String)> = settings.into_iter().collect();
        let opened = Connection::open(address, login, &settings).await;
        let (reader, writer, greeting) = opened.map_err(|error| cannot(&error))?.split();
        let line = Line::new(reader, writer, greeting.cancel, true);
        Ok(Beside { line, nobody: Output::new(tokio::io::sink()) })
    }
}

/// A connection beside the session's own.
struct Beside {
    line: Line,
    nobody: Output,
}

impl Beside {
    async fn ask(&mut self, steps: Vec<Step>) -> Result<Report, String> {
        let report = self.line.fly(steps, &mut self.nobody, Errors::Kept).await;
        report.map_err(|error| cannot(&error))
    }

    /// A transaction number that is later than any the session's transaction has by now.
    async fn next_number(&mut self) -> Result<u64, String> {
        const NEXT: &str = "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text";
        let report = self.ask(vec![Step::own(NEXT), Step::sync()]).await?;
        let number = report.rows.first().and_then(|row| row.first()?.as_ref()?.parse().ok());
        number.ok_or_else(|| cannot(&report.error.unwrap_or_default()))
    }
}

/// What went wrong between the gateway and production is not the agent's business.
fn cannot(error: &dyn std::fmt::Display) -> String {
    tracing::warn!(%error, "rows that were changed could not be searched for");
    format!("{NOT_FOUND}: they could not be searched for now")
}

/// Numbers of transactions: those that the session's transaction can have are among them.
#[derive(Clone, Copy)]
struct Numbers {
    first: u64,
    next: u64,
}

impl Numbers {
    /// The condition that a column like `xmin` shows one of these, which has not ended. Numbers of
    /// subtransactions that the server has forgotten are found like this.
    fn in_progress(self, column: &str) -> String {
        let Numbers { first, next } = self;
        let low = first & u64::from(u32::MAX);
        let after = format!(
            "pg_catalog.int8mod(pg_catalog.int8pl(pg_catalog.int8mi(\
             {column}::pg_catalog.text::pg_catalog.int8, {low}), 4294967296), 4294967296)"
        );
        format!(
            "CASE WHEN pg_catalog.int8lt({after}, {}) THEN pg_catalog.pg_xact_status(\
             pg_catalog.int8pl({first}, {after})::pg_catalog.text::pg_catalog.xid8) \
             OPERATOR(pg_catalog.=) 'in progress' ELSE false END",
            next.saturating_sub(first)
        )
    }
}

/// Rows of a table that the transaction has written and not superseded: whoever wrote them has not
/// ended, and they are to be seen all the same.
fn live(table: &Wanted, numbers: Numbers) -> String {
    let keys: String = table.key.iter().map(|column| format!("x.{}, ", quoted(column))).collect();
    let Wanted { oid, readable, .. } = table;
    format!(
        "SELECT x.tableoid, x.ctid, x.xmin, {keys}0, 0 FROM {readable} x \
         WHERE x.tableoid OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid AND {}",
        numbers.in_progress("x.xmin")
    )
}

/// Rows of a table that somebody has superseded or locked, whatever became of it: where they are.
fn touched(table: &Wanted) -> String {
    let Wanted { oid, readable, .. } = table;
    format!(
        "SELECT x.tableoid, x.ctid, x.xmin, 0, 0 FROM {readable} x \
         WHERE x.tableoid OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid \
         AND x.xmax OPERATOR(pg_catalog.<>) '0'::pg_catalog.xid"
    )
}

/// Those of these rows that are still to be seen, whole.
fn still_there(table: &Wanted, touched: &Kept) -> String {
    let Wanted { oid, readable, .. } = table;
    format!(
        "SELECT x.tableoid, x.ctid, x.xmin, x.*, 0, 0 FROM {readable} x \
         WHERE x.tableoid OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid \
         AND x.ctid OPERATOR(pg_catalog.=) ANY ('{}'::pg_catalog.tid[])",
        touched.places_as_text()
    )
}

/// A question whose rows are kept, in binary.
fn keep(sql: &str, most: u64) -> Step {
    let asked = Asked { sets: BTreeSet::new(), deletes: false, most };
    let mut out = BytesMut::new();
    let fixed = "a text without zero bytes";
    frontend::parse("", sql, [], &mut out).expect(fixed);
    let nothing = |(): (), _: &mut BytesMut| Ok(IsNull::Yes);
    let bound = frontend::bind("", "", [], [(); 0], nothing, [1], &mut out);
    bound.map_err(|_| ()).expect(fixed);
    frontend::describe(b'P', "", &mut out).expect(fixed);
    frontend::execute("", 0, &mut out).expect(fixed);
    let step = Step::new(Kind::Keep(asked), Show::Nobody, out.freeze());
    Step { unnamed: Unnamed::Becomes(OURS), ..step }
}

/// The answers, if they are all there and whole.
fn answers(report: Report, questions: usize) -> Result<Vec<Kept>, String> {
    if let Some(error) = &report.error {
        return Err(format!("{NOT_FOUND}: {error}"));
    }
    // They share what may be kept: a later one can be cut short by those before it.
    let whole = report.kept.iter().all(|kept| report.kept_bytes <= kept.asked.most);
    if whole && report.kept.len() == questions {
        return Ok(report.kept);
    }
    Err(format!("{NOT_FOUND}: they take more than may be kept"))
}

/// Puts what was found of one table in the place of what was kept of it, if the sum is right: rows
/// as they were before the transaction, each with what became of it.
fn settle(
    table: &Wanted,
    live: &Kept,
    found: Kept,
    numbers: &[u32],
    kept: &mut Vec<Kept>,
) -> Result<(), String> {
    let width = table.key.len();
    let alive: BTreeSet<Key> = live.rows.iter().map(|row| row_key(row, 0..width)).collect();
    let mut sources: Vec<Kept> = kept.iter_mut().map(|kept| kept.take_of(table.oid)).collect();
    sources.push(found);
    let (mut seen, mut before, mut gone) = (BTreeSet::new(), 0, 0);
    for source in sources.into_iter().filter(|source| !source.rows.is_empty()) {
        let places = source.places(&table.key).ok_or_else(|| {
            format!("{NOT_FOUND}: the primary key of {} is not among its columns", table.name)
        })?;
        // What it wrote itself and superseded again nobody wants back.
        let own = |row: &[Option<Bytes>]| writer(row).is_none_or(|by| numbers.contains(&by));
        let rows = source.rows.iter().filter(|row| !own(row) && seen.insert(row.get(1).cloned()));
        let is_alive = |row: &&Vec<Option<Bytes>>| {
            width > 0 && alive.contains(&row_key(row, places.iter().copied()))
        };
        let (changed, deleted): (Vec<_>, Vec<_>) = rows.partition(is_alive);
        before += (changed.len() + deleted.len()) as u64;
        gone += deleted.len() as u64;
        let rows = [(false, changed), (true, deleted)]
            .map(|(gone, rows)| source.like(gone, rows.into_iter().cloned().collect()));
        kept.extend(rows.into_iter().filter(|kept| !kept.rows.is_empty()));
    }
    let tally = table.tally;
    let adds_up = live.rows.len() as u64 + tally.deleted == before + tally.inserted;
    match adds_up && gone == tally.deleted {
        true => Ok(()),
        false => Err(format!(
            "{NOT_FOUND}: of {} rows of {} that it changed, {before} are found as they were",
            tally.changed(),
            table.name
        )),
    }
}

fn row_key(row: &[Option<Bytes>], places: impl Iterator<Item = usize>) -> Key {
    places.map(|place| row.get(SYSTEM + place).cloned().flatten()).collect()
}
