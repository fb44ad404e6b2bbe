//! One flight: messages that go to production together, and what becomes of each answer.
//!
//! A flight is a list of steps. A step is what is sent, which answers it has, and who sees them.
//! Rows are passed on as they arrive, byte for byte; nothing waits for the end of a result.

use super::output::Output;
use crate::postgres::interpret::Before;
use crate::postgres::target::connection::{CancelKey, ConnectionError, Reader, Writer};
use crate::postgres::wire::{self, ErrorResponse, Frame, Framer, Streamed};
use bytes::BytesMut;
use std::time::Duration;

use super::kept::Kept;
use super::step::{Kind, Learn, OURS, Show, Step, Unnamed};
use crate::postgres::refuse::Said;

/// How long what the agent may have waits for what is about to come: most flights then end in
/// one write.
const SOON: Duration = Duration::from_millis(2);

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The agent is gone.
    #[error("the agent's connection: {0}")]
    Client(ConnectionError),
    /// Production is gone, and the agent may have been told why by itself.
    #[error("the target's connection: {0}")]
    Upstream(ConnectionError),
    /// It must not go on.
    #[error("{}", .0.message())]
    Fatal(Said),
    /// The agent said goodbye.
    #[error("the agent ended the session")]
    Terminated,
}

/// Whether the agent sees the first error of a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errors {
    /// It does.
    Shown,
    /// It does not: the flight is ours alone.
    Kept,
}

/// What a flight brought back.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The server's error, `SQLSTATE: message`; the agent has it already.
    pub(super) error: Option<String>,
    /// The status of the last `ReadyForQuery`; 0 where there was none.
    pub(super) status: u8,
    /// Rows of our own statements.
    pub(super) rows: Vec<Vec<Option<String>>>,
    /// The command tags that the agent gets.
    pub(super) tags: Vec<String>,
    /// The last step waits for rows from the agent.
    pub(super) copy_in: bool,
    /// What the steps that were done teach.
    pub(super) learned: Vec<Learn>,
    /// Rows as they were, question by question.
    pub(super) kept: Vec<Kept>,
    /// What they all take, those rows included that were too many to be kept.
    pub(super) kept_bytes: u64,
    /// Why such a question failed, where that was its own fault.
    pub(super) not_kept: Option<ErrorResponse>,
}

/// The session's connection to production.
pub(super) struct Line {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) cancel: CancelKey,
    /// Which statement is the server's unnamed one.
    unnamed: u64,
    /// As the server last reported it.
    pub(super) standard_conforming_strings: bool,
    /// What the agent hears when its unit is committed, and not before.
    withheld: Option<BytesMut>,
}

impl Line {
    pub(super) fn new(reader: Reader, writer: Writer, cancel: CancelKey, strings: bool) -> Line {
        Line {
            reader,
            writer,
            cancel,
            unnamed: OURS,
            standard_conforming_strings: strings,
            withheld: None,
        }
    }

    /// Sends all steps at once and handles the answers as they come. Ends with the last step, or
    /// where production waits for rows.
    pub(super) async fn fly(
        &mut self,
        steps: Vec<Step>,
        output: &mut Output,
        errors: Errors,
    ) -> Result<Report, Broken> {
        let steps = self.in_place(steps);
        let mut bytes = BytesMut::with_capacity(steps.iter().map(|s| s.sends.len()).sum());
        for step in &steps {
            bytes.extend_from_slice(&step.sends);
        }
        let Line { reader, writer, standard_conforming_strings, withheld, .. } = self;
        let send = async {
            match bytes.is_empty() {
                true => Ok(()),
                false => writer.send(&bytes).await.map_err(Broken::Upstream),
            }
        };
        let mut landing = Landing {
            output,
            strings: standard_conforming_strings,
            steps: steps.into_iter().collect(),
            errors,
            failed: false,
            withheld,
            report: Report::default(),
        };
        let receive = landing.receive(reader);
        tokio::try_join!(send, receive)?;
        let report = landing.report;
        if report.error.is_some() {
            // A Parse may have been skipped: what the unnamed statement is, is not known.
            self.unnamed = OURS;
        }
        Ok(report)
    }

    /// What waited for a commit that does not come is not said.
    pub(super) fn forget_withheld(&mut self) {
        self.withheld = None;
    }

    /// Puts a Parse before each step that needs an unnamed statement that is not there.
    fn in_place(&mut self, steps: Vec<Step>) -> Vec<Step> {
        let mut placed = Vec::with_capacity(steps.len());
        for step in steps {
            match &step.unnamed {
                Unnamed::Untouched => {}
                Unnamed::Becomes(id) => self.unnamed = *id,
                Unnamed::MustBe(id, parse) => {
                    if self.unnamed != *id {
                        placed.push(Step::new(Kind::Parse, Show::Nobody, parse.clone()));
                        self.unnamed = *id;
                    }
                }
            }
            placed.push(step);
        }
        placed
    }
}

/// Answers to a flight, as they come.
struct Landing<'a> {
    output: &'a mut Output,
    strings: &'a mut bool,
    steps: std::collections::VecDeque<Step>,
    errors: Errors,
    /// Production skips everything up to the next Sync.
    failed: bool,
    withheld: &'a mut Option<BytesMut>,
    report: Report,
}

impl Landing<'_> {
    async fn receive(&mut self, reader: &mut Reader) -> Result<(), Broken> {
        loop {
            self.skip_and_say();
            if self.steps.is_empty() || self.report.copy_in {
                return Ok(());
            }
            let next = match tokio::time::timeout(SOON, reader.stream()).await {
                Ok(next) => next,
                Err(_) => {
                    self.output.flush().await?;
                    reader.stream().await
                }
            };
            match next.map_err(Broken::Upstream)? {
                Streamed::Part(part) => self.long_row(&part)?,
                Streamed::Frame(frame) => self.answer(frame)?,
            }
            self.output.drain_if_large().await?;
        }
    }

    /// Leaves out what production leaves out, and says what is due.
    fn skip_and_say(&mut self) {
        while let Some(step) = self.steps.front() {
            match &step.kind {
                Kind::Sync | Kind::Query => return,
                Kind::Say(bytes) if !self.failed => {
                    let bytes = bytes.clone();
                    self.show(&bytes);
                    self.done();
                }
                _ if self.failed => drop(self.steps.pop_front()),
                _ => return,
            }
        }
    }

    fn answer(&mut self, frame: Frame) -> Result<(), Broken> {
        let Some(step) = self.steps.front() else {
            return Err(unexpected(&frame));
        };
        let visible = step.show != Show::Nobody;
        match (frame.tag(), &step.kind) {
            (b'S', _) => self.parameter(&frame)?,
            (b'A', _) => self.output.push(frame.bytes()),
            (b'N', _) => {
                if visible {
                    self.show(frame.bytes());
                }
            }
            (b'E', _) => self.error(&frame),
            (b'Z', Kind::Sync | Kind::Query) => {
                self.report.status = wire::ready(&frame).map_err(|_| unexpected(&frame))?;
                self.failed = false;
                self.done();
            }
            (_, Kind::Query) => {}
            (b'1' | b'2' | b'3' | b'n' | b'T', Kind::Own) => {}
            (b'D', Kind::Own) => {
                let row = wire::row(&frame).map_err(|_| unexpected(&frame))?;
                self.report.rows.push(row);
            }
            (b'C' | b'I', Kind::Own | Kind::Keep(_)) => self.done(),
            (b'1' | b'2' | b'3', Kind::Keep(_)) => {}
            (b'T', Kind::Keep(asked)) => {
                let columns = wire::columns(&frame).map_err(|_| unexpected(&frame))?;
                let kept = Kept::new(asked.clone(), columns);
                self.report.kept_bytes = self.report.kept_bytes.saturating_add(kept.bytes);
                self.report.kept.push(kept);
            }
            (b'D', Kind::Keep(_)) => self.keep(&frame)?,
            (tag, kind) => match progress(tag, kind) {
                Some(Progress::Part) => self.part(&frame)?,
                Some(Progress::Done) => {
                    self.part(&frame)?;
                    self.done();
                }
                None => return Err(unexpected(&frame)),
            },
        }
        Ok(())
    }

    /// An answer that belongs to the step at the front.
    fn part(&mut self, frame: &Frame) -> Result<(), Broken> {
        let Some(step) = self.steps.front() else { return Ok(()) };
        let (show, withholds) = (step.show, step.withholds);
        match frame.tag() {
            b'C' => {
                let tag = wire::command_tag(frame).map_err(|_| unexpected(frame))?;
                self.report.tags.push(tag);
                if withholds && self.withheld.is_none() {
                    *self.withheld = Some(BytesMut::new());
                }
            }
            b'G' => self.report.copy_in = true,
            b't' => {
                if let Some(prepared) = &step.describes {
                    let types = wire::parameters(frame).map_err(|_| unexpected(frame))?;
                    // A statement has its types from its Parse on: a second answer is the same.
                    let _ = prepared.types.set(types);
                }
            }
            _ => {}
        }
        let wanted = match show {
            Show::Agent => true,
            Show::Rows => frame.tag() != b'n',
            Show::Nobody => false,
        };
        if wanted {
            self.show(frame.bytes());
        }
        Ok(())
    }

    /// Counts bytes of a row as it was; false where they are too many to be kept.
    fn takes(&mut self, bytes: usize) -> bool {
        let Report { kept, kept_bytes, .. } = &mut self.report;
        let Some(kept) = kept.last_mut() else { return false };
        kept.bytes = kept.bytes.saturating_add(bytes as u64);
        *kept_bytes = kept_bytes.saturating_add(bytes as u64);
        *kept_bytes <= kept.asked.most
    }

    /// A row as it was.
    fn keep(&mut self, frame: &Frame) -> Result<(), Broken> {
        let fits = self.takes(frame.bytes().len());
        let Some(kept) = self.report.kept.last_mut() else { return Err(unexpected(frame)) };
        if fits {
            kept.rows.push(wire::values(frame).map_err(|_| unexpected(frame))?);
        }
        Ok(())
    }

    /// Part of a row as it was, that is too long to come in one.
    fn keep_part(&mut self, part: &[u8]) -> Result<(), Broken> {
        let wrong = || {
            let why = "a long row that is none".to_owned();
            Broken::Upstream(ConnectionError::Protocol(why))
        };
        let fits = self.takes(part.len());
        let kept = self.report.kept.last_mut().ok_or_else(wrong)?;
        if !fits {
            kept.partial.clear();
            return Ok(());
        }
        kept.partial.extend_from_slice(part);
        let whole = Framer::new(usize::MAX).next(&mut kept.partial).map_err(|_| wrong())?;
        if let Some(frame) = whole {
            kept.rows.push(wire::values(&frame).map_err(|_| wrong())?);
        }
        Ok(())
    }

    /// A part of a long row: of the agent's, or nobody knows where it should go.
    fn long_row(&mut self, part: &[u8]) -> Result<(), Broken> {
        if self.steps.front().is_some_and(|step| matches!(step.kind, Kind::Keep(_))) {
            return self.keep_part(part);
        }
        let executed = |step: &Step| matches!(step.kind, Kind::Execute) && step.show == Show::Agent;
        if !self.steps.front().is_some_and(executed) {
            let why = "a long row out of place".to_owned();
            return Err(Broken::Upstream(ConnectionError::Protocol(why)));
        }
        self.show(part);
        Ok(())
    }

    fn done(&mut self) {
        let Some(step) = self.steps.pop_front() else { return };
        self.report.learned.extend(step.learn);
        if step.releases
            && let Some(withheld) = self.withheld.take()
        {
            self.output.push(&withheld);
        }
    }

    /// The server's error goes to the agent, whoever's statement it was; only the first one: what
    /// follows is about our own way out.
    fn error(&mut self, frame: &Frame) {
        *self.withheld = None;
        self.failed = true;
        if self.report.error.is_some() {
            return;
        }
        let error = ErrorResponse::read(frame);
        let keeps = self.steps.front().is_some_and(|step| matches!(step.kind, Kind::Keep(_)));
        self.report.error = Some(error.to_string());
        if keeps && is_of_the_question(&error) {
            self.report.not_kept = Some(error);
        } else if self.errors == Errors::Shown {
            self.output.push(frame.bytes());
        }
    }

    fn parameter(&mut self, frame: &Frame) -> Result<(), Broken> {
        let (name, value) = wire::parameter_status(frame).map_err(|_| unexpected(frame))?;
        if name == "standard_conforming_strings" {
            *self.strings = value == "on";
        }
        self.output.push(frame.bytes());
        Ok(())
    }

    fn show(&mut self, bytes: &[u8]) {
        match self.withheld.as_mut() {
            Some(withheld) => withheld.extend_from_slice(bytes),
            None => self.output.push(bytes),
        }
    }
}

/// Whether a question for rows failed for what it is. What the server says of its time, its locks
/// or its connection it would have said of the agent's statement too.
fn is_of_the_question(error: &ErrorResponse) -> bool {
    error.code.starts_with("42")
        || error.code.starts_with("0A")
        || error.message.contains(Before::TOO_MANY)
}

enum Progress {
    Part,
    Done,
}

/// What an answer means for a step of the agent's; none where it is no answer to it.
fn progress(tag: u8, kind: &Kind) -> Option<Progress> {
    match (kind, tag) {
        (Kind::Parse, b'1') | (Kind::Bind, b'2') | (Kind::Close, b'3') => Some(Progress::Done),
        (Kind::DescribeStatement, b't') => Some(Progress::Part),
        (Kind::DescribeStatement | Kind::DescribePortal, b'T' | b'n') => Some(Progress::Done),
        (Kind::Execute, b'D' | b'd' | b'H' | b'c' | b'G') => Some(Progress::Part),
        (Kind::Execute, b'C' | b'I' | b's') => Some(Progress::Done),
        _ => None,
    }
}

fn unexpected(frame: &Frame) -> Broken {
    let tag = char::from(frame.tag()).escape_default();
    Broken::Upstream(ConnectionError::Protocol(format!("message `{tag}` out of place")))
}
