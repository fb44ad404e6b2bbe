//! One agent's session: its messages become units, units are judged, and run.

use super::Upstream;
use super::flight::{Broken, Line, Report};
use super::gate::Gate;
use super::judge::{Carried, Held};
use super::limits::Limits;
use super::names::Names;
use super::output::Output;
use super::patience::lapse;
use super::piece::{self, Builder, Unfit};
use super::question::Planned;
use super::step::{Learn, Step};
use super::weigh::Scales;
use crate::postgres::interpret::{Interpretation, SessionStatement, Settings};
use crate::postgres::refuse::Said;
use crate::postgres::target::connection::{ConnectionError, Reader};
use crate::postgres::wire::{self, Frame, Streamed};
use countermand_core::name::TargetName;
use countermand_engine::Caller;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio::time::Instant;

/// What gives SQL its class. A parameter, so that a test can show what still holds when it is
/// wrong.
pub(super) type Interpret = Arc<dyn Fn(&str, Settings) -> Interpretation + Send + Sync>;

/// All messages of one unit together, in bytes.
const MAX_UNIT: usize = 64 * 1024 * 1024;
/// A longer text is interpreted where it holds up nobody else, in bytes.
const LONG: usize = 16 * 1024;

/// The agent's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tx {
    /// None.
    None,
    /// One that production has open.
    Open(Open),
    /// One that was refused something: production has rolled it back, and the agent has yet to
    /// say so.
    Aborted,
}

/// An open transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    /// The agent began it as read only: it ends in a rollback, whatever the agent says.
    pub(super) read_only: bool,
    /// Reads go on behind a savepoint, in read-only mode.
    pub(super) guard: bool,
    /// A statement failed; only its end will be heard.
    pub(super) failed: bool,
    /// Something that writes went into it.
    pub(super) wrote: bool,
    /// It is ours, around one unit of the agent's.
    pub(super) ours: bool,
}

/// One agent's session.
pub(super) struct Session<G: Gate> {
    pub(super) gate: Arc<G>,
    pub(super) interpret: Interpret,
    pub(super) caller: Caller,
    pub(super) target: TargetName,
    pub(super) input: Reader,
    pub(super) output: Output,
    pub(super) line: Line,
    pub(super) tx: Tx,
    /// A read-only transaction of ours is open for the unit that is coming in.
    pub(super) reading: bool,
    /// Steps that go with the next flight.
    pub(super) pending: Vec<Step>,
    pub(super) names: Names,
    pub(super) limits: Limits,
    pub(super) held: Option<Held>,
    /// Whether the unit that runs may end as a change that nobody need be asked about.
    pub(super) carried: Carried,
    /// Settings that change what statements mean; none where they may have changed.
    pub(super) settings: Option<BTreeMap<String, String>>,
    /// `standard_conforming_strings` was ever touched here.
    pub(super) strings_touched: bool,
    /// `standard_conforming_strings` as the unnamed statement was read under it.
    strings: bool,
    /// What the open transaction has done that must be weighed.
    pub(super) scales: Scales,
    /// A commit was sent, and its answer has not come.
    pub(super) committing: bool,
    /// The measuring statement is prepared.
    pub(super) measures: bool,
    /// The tables for whose remaining rows a question is prepared, and what it reads.
    pub(super) remains: BTreeMap<u32, String>,
    /// Questions that are prepared.
    pub(super) planned: Planned,
    /// A question was prepared for a table that has changed since.
    pub(super) stale: bool,
    /// A transaction that wrote has ended, and the server's counters still show it.
    pub(super) counts_are_old: bool,
    /// Writes whose end is not known yet.
    pub(super) receipts: Vec<G::Receipt>,
    /// When the open transaction must have ended; none where it holds nothing that others write.
    pub(super) due: watch::Sender<Option<Instant>>,
    /// Whether something of the agent's runs, which a cancel may stop.
    pub(super) busy: Arc<AtomicBool>,
    /// For a second connection to the target.
    pub(super) upstream: Upstream,
    batch: Vec<Frame>,
    batch_bytes: usize,
    /// After an error, up to Sync.
    skipping: bool,
}

/// What a new session stands on.
pub(super) struct Parts<G: Gate> {
    pub(super) gate: Arc<G>,
    pub(super) interpret: Interpret,
    pub(super) caller: Caller,
    pub(super) target: TargetName,
    pub(super) input: Reader,
    pub(super) output: Output,
    pub(super) line: Line,
    pub(super) limits: Limits,
    pub(super) busy: Arc<AtomicBool>,
    pub(super) upstream: Upstream,
}

impl<G: Gate> Session<G> {
    pub(super) fn new(parts: Parts<G>) -> Session<G> {
        let Parts { gate, interpret, caller, target, input, output, line, limits, busy, upstream } =
            parts;
        let strings = line.standard_conforming_strings;
        Session {
            gate,
            interpret,
            caller,
            target,
            input,
            output,
            line,
            tx: Tx::None,
            reading: false,
            pending: Vec::new(),
            names: Names::default(),
            limits,
            held: None,
            carried: Carried::No,
            settings: None,
            strings_touched: false,
            strings,
            scales: Scales::default(),
            committing: false,
            measures: false,
            remains: BTreeMap::new(),
            planned: Planned::default(),
            stale: false,
            counts_are_old: false,
            receipts: Vec::new(),
            due: watch::Sender::new(None),
            busy,
            upstream,
            batch: Vec::new(),
            batch_bytes: 0,
            skipping: false,
        }
    }

    /// Serves the agent until it leaves or must.
    pub(super) async fn serve(&mut self) -> Result<(), Broken> {
        let mut due = self.due.subscribe();
        loop {
            self.rest();
            tokio::select! {
                biased;
                frame = self.input.receive() => {
                    let frame = frame.map_err(client)?;
                    self.busy.store(true, Ordering::Relaxed);
                    let taken = tokio::select! {
                        biased;
                        late = lapse(&mut due) => Err(late),
                        taken = self.take(frame) => taken,
                    };
                    // A session that breaks here was at work, and stays so for whoever ends it.
                    if !matches!(&taken, Err(broken) if !matches!(broken, Broken::Terminated)) {
                        self.busy.store(false, Ordering::Relaxed);
                    }
                    taken?;
                }
                // Notifications, and the end of the connection.
                news = self.line.reader.stream() => self.news(news)?,
                late = lapse(&mut due) => return Err(late),
            }
            if !self.input.has_more() {
                self.output.flush().await?;
            }
        }
    }

    fn news(&mut self, news: Result<Streamed, ConnectionError>) -> Result<(), Broken> {
        match news.map_err(Broken::Upstream)? {
            Streamed::Frame(frame) if matches!(frame.tag(), b'A' | b'N' | b'S' | b'E') => {
                self.output.push(frame.bytes());
                Ok(())
            }
            _ => {
                let why = "a message that nobody asked for".to_owned();
                Err(Broken::Upstream(ConnectionError::Protocol(why)))
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Broken> {
        if self.skipping && !matches!(frame.tag(), b'S' | b'X') {
            return Ok(());
        }
        match frame.tag() {
            b'Q' if self.batch.is_empty() => {
                let sql = wire::query(&frame).map_err(|_| malformed())?;
                self.query(&sql).await
            }
            b'P' | b'B' | b'D' | b'E' | b'C' => {
                self.batch_bytes += frame.bytes().len();
                self.batch.push(frame);
                if self.batch_bytes > MAX_UNIT {
                    let words = "the messages up to Sync are too long; send fewer at a time";
                    self.batch.clear();
                    self.fail(Said::error("54000", words)).await?;
                    self.skipping = true;
                }
                Ok(())
            }
            b'H' => {
                self.run_batch(false).await?;
                self.output.flush().await
            }
            b'S' => self.sync().await,
            b'F' => {
                let words = "forbidden: a function call message, which says nothing to judge";
                self.fail(Said::error(crate::postgres::refuse::FORBIDDEN, words)).await?;
                self.ready();
                Ok(())
            }
            // Left over from a COPY that has failed.
            b'd' | b'c' | b'f' => Ok(()),
            b'X' => Err(Broken::Terminated),
            _ => Err(malformed()),
        }
    }

    async fn sync(&mut self) -> Result<(), Broken> {
        if !self.skipping {
            self.run_batch(true).await?;
        }
        self.skipping = false;
        self.batch.clear();
        self.batch_bytes = 0;
        self.end_reading().await?;
        if self.tx == Tx::None {
            self.names.forget_portals();
        }
        self.ready();
        Ok(())
    }

    /// Tells the agent that it may go on.
    fn ready(&mut self) {
        let status = match self.tx {
            Tx::None => b'I',
            Tx::Open(Open { failed: false, .. }) => b'T',
            Tx::Open(_) | Tx::Aborted => b'E',
        };
        self.output.put(|out| wire::put_ready(out, status));
    }

    /// Judges and runs what came since the last Sync or Flush.
    async fn run_batch(&mut self, last: bool) -> Result<(), Broken> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let settings = self.reading_settings();
        let interpret = self.interpret.clone();
        let interpret = move |sql: &str| interpret(sql, settings);
        let mut builder = Builder::new(&mut self.names, &interpret);
        let mut unfit = None;
        for frame in &batch {
            if let Err(why) = builder.add(frame) {
                unfit = Some(why);
                break;
            }
        }
        let broken = builder.broken.take();
        let (pieces, texts) = builder.finish();
        // The server says best what is wrong with a text, and parsing runs nothing.
        if let Some(sql) = broken
            && !self.parses(&sql).await?
        {
            self.skipping = true;
            return Ok(());
        }
        let went_well = match unfit {
            Some(Unfit::Malformed) => return Err(malformed()),
            Some(Unfit::Said(said)) => {
                self.fail(said).await?;
                false
            }
            None => self.judge_and_run(pieces, &texts, last).await?,
        };
        self.skipping = !went_well;
        Ok(())
    }

    async fn query(&mut self, sql: &str) -> Result<(), Broken> {
        self.names.close(b'S', "");
        self.names.close(b'P', "");
        self.run_query(sql).await?;
        self.end_reading().await?;
        self.ready();
        Ok(())
    }

    async fn run_query(&mut self, sql: &str) -> Result<(), Broken> {
        let meaning = meaning(self.interpret.clone(), sql, self.reading_settings()).await?;
        if meaning.statements.is_empty() && meaning.syntax_error.is_none() {
            self.output.put(|out| wire::put(out, b'I', &[]));
            return Ok(());
        }
        // The server says best what is wrong with a text, and parsing runs nothing.
        if meaning.syntax_error.is_some() && !self.parses(sql).await? {
            return Ok(());
        }
        match piece::of_query(meaning, &mut self.names) {
            Ok(pieces) => {
                self.judge_and_run(pieces, &[sql.to_owned()], true).await?;
                Ok(())
            }
            Err(said) => self.fail(said).await,
        }
    }

    fn reading_settings(&self) -> Settings {
        Settings { standard_conforming_strings: self.line.standard_conforming_strings }
    }

    /// Whether production can parse the text; if not, the agent has its error.
    async fn parses(&mut self, sql: &str) -> Result<bool, Broken> {
        if self.tx == Tx::Aborted {
            return Ok(true);
        }
        let Ok([parse, ..]) = Step::statement(sql) else {
            self.fail(Said::error("54000", "the statement is too long")).await?;
            return Ok(false);
        };
        self.pending.push(parse);
        Ok(self.land().await?.error.is_none())
    }

    /// Says no. An open transaction is rolled back in production, and has failed for the agent.
    pub(super) async fn fail(&mut self, said: Said) -> Result<(), Broken> {
        if said.is_fatal() {
            return Err(Broken::Fatal(said));
        }
        self.output.put(|out| said.encode(out));
        self.undo().await
    }

    /// Rolls back what is open in production, and forgets what was still to be said of it.
    pub(super) async fn undo(&mut self) -> Result<(), Broken> {
        self.line.forget_withheld();
        // A question among them is not prepared then.
        self.planned.forget();
        self.pending.clear();
        if let Tx::Open(open) = self.tx {
            self.roll_back("refused").await?;
            self.tx = if open.ours { Tx::None } else { Tx::Aborted };
        }
        Ok(())
    }

    /// Takes note of what a flight did.
    pub(super) fn learn(&mut self, report: &mut Report) {
        self.keep(report);
        for learned in std::mem::take(&mut report.learned) {
            match learned {
                Learn::Prepared(name, prepared) => self.names.prepare(name, prepared),
                Learn::Portal(name, bound) => self.names.bind(name, bound),
                Learn::Closed(kind, name) => self.names.close(kind, &name),
                Learn::Session(statement) => self.learn_session(statement),
            }
        }
        // A text that was read under one meaning of `\` must not be sent again under another;
        // a named statement was parsed once and keeps its meaning.
        if self.strings != self.line.standard_conforming_strings {
            self.strings = self.line.standard_conforming_strings;
            self.names.close(b'S', "");
        }
    }

    /// Our own statements are not prepared any more, or nobody knows.
    pub(super) fn forget_ours(&mut self) {
        self.measures = false;
        self.remains.clear();
    }

    fn learn_session(&mut self, statement: SessionStatement) {
        match statement {
            SessionStatement::Deallocate { name: Some(name) } => self.names.close(b'S', &name),
            SessionStatement::Deallocate { name: None } => {
                self.forget_ours();
                self.planned.forget();
                self.names.deallocate_all();
            }
            SessionStatement::DiscardAll => {
                self.forget_ours();
                self.planned.forget();
                self.names.deallocate_all();
                self.names.close(b'S', "");
                self.names.forget_portals();
                self.held = None;
            }
            // What a pool does with a connection that comes back.
            SessionStatement::ResetAll => self.held = None,
            _ => {}
        }
        self.settings = None;
    }
}

async fn meaning(
    interpret: Interpret,
    sql: &str,
    settings: Settings,
) -> Result<Interpretation, Broken> {
    if sql.len() < LONG {
        return Ok(interpret(sql, settings));
    }
    let sql = sql.to_owned();
    let meaning = tokio::task::spawn_blocking(move || interpret(&sql, settings)).await;
    meaning.map_err(|_| {
        let words = "cannot judge: reading the statement failed";
        Broken::Fatal(Said::fatal(crate::postgres::refuse::CANNOT_JUDGE, words))
    })
}

fn client(error: ConnectionError) -> Broken {
    Broken::Client(error)
}

pub(super) fn malformed() -> Broken {
    Broken::Fatal(Said::fatal("08P01", "invalid message format"))
}
