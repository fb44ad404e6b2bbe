//! A piece of a unit: the messages around one statement, and what that statement does.

use super::names::{Bound, Names, Overlay, Prepared, only};
use super::step::{Kind, Learn, Show, Step, Unnamed};
use crate::postgres::interpret::{
    Before, CopyDirection, Creates, Interpretation, Role, SessionStatement, Statement,
    TransactionStatement,
};
use crate::postgres::quoting::quoted;
use crate::postgres::refuse::{CANNOT_JUDGE, FORBIDDEN, Said};
use crate::postgres::unit::{Parameter, UnitStatement};
use crate::postgres::wire::{self, Bind, Frame, Malformed, Parse};
use countermand_core::action::Action;
use countermand_core::effect::Effect;
use countermand_core::verb::Verb;
use countermand_core::verb::postgres::{
    ADVANCE_SEQUENCE, ASSIGN_TRANSACTION_ID, DELETE, EXECUTE, INSERT, LOCK_ADVISORY, LOCK_ROWS,
    NOTIFY, UPDATE,
};
use std::sync::{Arc, OnceLock};

/// The largest unit that is judged, in bytes of its texts and parameters: a few messages can name
/// a text many times.
const MAX_PAYLOAD: usize = 32 * 1024 * 1024;

/// What a piece is to the transaction it runs in.
#[derive(Debug)]
pub(super) enum Class {
    /// Runs nothing: Parse, Describe, Close.
    Quiet,
    /// Runs in a read-only transaction.
    Read,
    /// Runs in a transaction that commits.
    Write,
    /// As [`Class::Write`], and its rows come from the agent.
    CopyIn,
    /// Runs outside any transaction block, because it must.
    Alone,
    /// About the session.
    Session(SessionStatement),
    /// About the transaction.
    Transaction(TransactionStatement),
    /// For the gateway itself.
    Gateway(SessionStatement),
}

/// The messages around one statement.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) class: Class,
    pub(super) steps: Vec<Step>,
    pub(super) actions: Vec<Action>,
    /// What of it a change would hold.
    pub(super) payload: Vec<UnitStatement>,
    /// The rows that it changes, as a question for before.
    pub(super) before: Option<Question>,
    /// Whether a part of it changes rows that nobody asks for.
    pub(super) hides_changes: bool,
    /// What it creates only where that is not there.
    pub(super) creates: Option<Creates>,
    /// Whether it adds or locks as many rows as a query finds.
    pub(super) bulk: bool,
    /// That is there: it does nothing.
    pub(super) is_there: bool,
    /// Whether all that it does is to rows, and undone by a rollback: it can be measured.
    pub(super) measurable: bool,
}

/// The question of a piece, with what it needs of the piece's parameters.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) before: Before,
    pub(super) parameters: Vec<Parameter>,
    /// What its parameters are, where the client did not say: known when it runs.
    pub(super) prepared: Option<Arc<Prepared>>,
}

/// Why messages do not become pieces.
pub(super) enum Unfit {
    /// The protocol is broken.
    Malformed,
    /// It is refused, or the server would refuse it.
    Said(Said),
}

impl From<Malformed> for Unfit {
    fn from(_: Malformed) -> Unfit {
        Unfit::Malformed
    }
}

impl Piece {
    fn quiet() -> Piece {
        Piece {
            class: Class::Quiet,
            steps: Vec::new(),
            actions: Vec::new(),
            payload: Vec::new(),
            before: None,
            hides_changes: false,
            creates: None,
            bulk: false,
            is_there: false,
            measurable: true,
        }
    }

    /// Whether it may do anything at all that must be judged.
    pub(super) fn is_judged(&self) -> bool {
        !matches!(self.class, Class::Quiet | Class::Transaction(_) | Class::Gateway(_))
    }

    pub(super) fn writes(&self) -> bool {
        matches!(self.class, Class::Write | Class::CopyIn | Class::Alone)
    }

    /// How much a change would hold of it.
    fn payload_bytes(&self) -> usize {
        let parameters = |statement: &UnitStatement| -> usize {
            let values = statement.parameters.iter().filter_map(|p| p.value.as_ref());
            values.map(String::len).sum()
        };
        self.payload.iter().map(|statement| statement.sql.len() + parameters(statement)).sum()
    }

    /// Gives it what a statement does, and what of it a change would hold.
    fn take(
        &mut self,
        statement: &Statement,
        mut ran: UnitStatement,
        names: &Names,
        over: &Overlay,
    ) -> Result<(), Said> {
        ran.spelling = Some(statement.spelling.clone());
        if let Role::Session(SessionStatement::Execute { name }) = &statement.role {
            let prepared = names.prepared(over, name).ok_or_else(|| no_statement(name))?;
            let Some(inner) = &prepared.statement else { return Ok(()) };
            let prepare = prepared.prepare.clone();
            let prepare =
                prepare.unwrap_or_else(|| format!("PREPARE {} AS {}", quoted(name), prepared.sql));
            self.payload.push(UnitStatement::new(prepare, Vec::new()));
            self.payload.push(ran);
            // What its arguments call runs too.
            let mut whole = inner.clone();
            let arguments = statement.actions.iter().filter(|action| action.verb != EXECUTE);
            whole.actions.extend(arguments.cloned());
            self.class = class_of(&whole)?;
            self.measurable = is_measurable(&whole);
            self.hides_changes = true;
            self.bulk = whole.bulk;
            self.actions = whole.actions;
            return Ok(());
        }
        self.class = class_of(statement)?;
        self.measurable = is_measurable(statement);
        self.hides_changes = statement.hides_changes;
        self.actions = statement.actions.clone();
        self.creates = statement.creates.clone();
        self.bulk = statement.bulk;
        if !matches!(self.class, Class::Transaction(_)) {
            self.payload.push(ran);
        }
        Ok(())
    }
}

/// The pieces of one simple query.
pub(super) fn of_query(meaning: Interpretation, names: &mut Names) -> Result<Vec<Piece>, Said> {
    let mut over = Overlay::default();
    let mut pieces = Vec::new();
    let mut bytes = 0;
    for statement in meaning.statements {
        let steps = Step::statement(&statement.sql)
            .map_err(|_| Said::error("54000", "the statement is too long"))?;
        let mut piece = Piece { steps: steps.into(), ..Piece::quiet() };
        let ran = UnitStatement::new(statement.sql.clone(), Vec::new());
        piece.take(&statement, ran, names, &over)?;
        piece.before = statement.before.clone().map(|before| Question {
            before,
            parameters: Vec::new(),
            prepared: None,
        });
        if let Role::Session(session) = &statement.role {
            let last = piece.steps.last_mut().expect("a statement has steps");
            last.learn = Some(learn_session(session, &statement.sql, names, &mut over));
        }
        bytes += piece.payload_bytes();
        if bytes > MAX_PAYLOAD {
            return Err(too_large());
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

fn learn_session(
    session: &SessionStatement,
    sql: &str,
    names: &mut Names,
    over: &mut Overlay,
) -> Learn {
    if let SessionStatement::Prepare { name, inner } = session {
        let prepared = Arc::new(Prepared {
            id: names.next_id(),
            is_named: true,
            sql: inner.sql.clone(),
            prepare: Some(sql.to_owned()),
            oids: Vec::new(),
            statement: Some((**inner).clone()),
            parse: bytes::Bytes::new(),
            types: OnceLock::new(),
        });
        over.prepared.insert(name.clone(), Some(prepared.clone()));
        return Learn::Prepared(name.clone(), prepared);
    }
    if let SessionStatement::Deallocate { name: Some(name) } = session {
        over.prepared.insert(name.clone(), None);
    }
    Learn::Session(session.clone())
}

/// Makes pieces of the messages of the extended protocol.
pub(super) struct Builder<'a> {
    names: &'a mut Names,
    interpret: &'a (dyn Fn(&str) -> Interpretation + Sync),
    over: Overlay,
    pieces: Vec<Piece>,
    /// The portal that the last piece runs.
    bound: Option<Arc<Bound>>,
    /// What a change would hold of them, in bytes.
    bytes: usize,
    /// All texts that were parsed.
    texts: Vec<String>,
    /// The first that is no SQL for our grammar.
    pub(super) broken: Option<String>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        names: &'a mut Names,
        interpret: &'a (dyn Fn(&str) -> Interpretation + Sync),
    ) -> Builder<'a> {
        let (over, texts) = (Overlay::default(), Vec::new());
        let pieces = vec![Piece::quiet()];
        Builder { names, interpret, over, pieces, bound: None, bytes: 0, texts, broken: None }
    }

    pub(super) fn add(&mut self, frame: &Frame) -> Result<(), Unfit> {
        match frame.tag() {
            b'P' => self.parse(frame),
            b'B' => self.bind(frame),
            b'D' => self.describe(frame),
            b'E' => self.execute(frame),
            b'C' => self.close(frame),
            _ => Err(Unfit::Malformed),
        }
    }

    pub(super) fn finish(self) -> (Vec<Piece>, Vec<String>) {
        let pieces = self.pieces.into_iter().filter(|piece| !piece.steps.is_empty()).collect();
        (pieces, self.texts)
    }

    fn current(&mut self) -> &mut Piece {
        self.pieces.last_mut().expect("there is always one")
    }

    fn push(&mut self, kind: Kind, frame: &Frame) -> &mut Step {
        let step = Step::new(kind, Show::Agent, frame.bytes().clone());
        let steps = &mut self.current().steps;
        steps.push(step);
        steps.last_mut().expect("one was pushed")
    }

    fn parse(&mut self, frame: &Frame) -> Result<(), Unfit> {
        let Parse { name, sql, oids } = Parse::read(frame)?;
        if name.starts_with(OURS) {
            return Err(Unfit::Said(reserved(&name)));
        }
        if self.names.is_full() {
            let words = "this session has too many prepared statements; close some";
            return Err(Unfit::Said(Said::error("54000", words)));
        }
        let meaning = (self.interpret)(&sql);
        if meaning.syntax_error.is_some() {
            self.broken.get_or_insert_with(|| sql.clone());
        }
        let statement = only(meaning);
        self.texts.push(sql.clone());
        let id = self.names.next_id();
        // A copy: the frame would keep the whole buffer that it came in.
        let parse = bytes::Bytes::copy_from_slice(frame.bytes());
        let types = OnceLock::new();
        let asks = statement.as_ref().and_then(|statement| statement.before.as_ref());
        // What the client leaves open the server decides; the question needs to know it too.
        let open = asks.is_some_and(|before| before.parameters() > 0) && !name.is_empty();
        let is_named = !name.is_empty();
        let prepare = None;
        let prepared =
            Arc::new(Prepared { id, is_named, sql, prepare, oids, statement, parse, types });
        self.over.prepared.insert(name.clone(), Some(prepared.clone()));
        let unnamed = if name.is_empty() { Unnamed::Becomes(id) } else { Unnamed::Untouched };
        let step = self.push(Kind::Parse, frame);
        step.unnamed = unnamed;
        step.learn = Some(Learn::Prepared(name.clone(), prepared.clone()));
        if open {
            let sends = described(&name).map_err(|_| Unfit::Malformed)?;
            let mut step = Step::new(Kind::DescribeStatement, Show::Nobody, sends);
            step.describes = Some(prepared);
            self.current().steps.push(step);
        }
        Ok(())
    }

    fn bind(&mut self, frame: &Frame) -> Result<(), Unfit> {
        let bind = Bind::read(frame)?;
        if bind.portal.starts_with(OURS) {
            return Err(Unfit::Said(reserved(&bind.portal)));
        }
        let prepared = self.named(&bind.statement)?;
        let mut parameters = Vec::with_capacity(bind.values.len());
        for (index, value) in bind.values.iter().enumerate() {
            let oid = prepared.oids.get(index).copied().unwrap_or(0);
            let value = value.as_ref().map(hex::encode);
            parameters.push(Parameter { oid, format: bind.format(index), value });
        }
        let bound = Arc::new(Bound { prepared, parameters });
        if !matches!(self.current().class, Class::Quiet) || !self.current().payload.is_empty() {
            self.pieces.push(Piece::quiet());
        }
        self.run(&bound).map_err(Unfit::Said)?;
        // A portal that is run again later has changed its rows already.
        let asks = bound.prepared.statement.as_ref().and_then(|ran| ran.before.clone());
        self.current().before = asks.map(|before| Question {
            before,
            parameters: bound.parameters.clone(),
            prepared: Some(bound.prepared.clone()),
        });
        self.over.portals.insert(bind.portal.clone(), Some(bound.clone()));
        self.bound = Some(bound.clone());
        let unnamed = must_be(&bind.statement, &bound.prepared);
        let step = self.push(Kind::Bind, frame);
        step.unnamed = unnamed;
        step.learn = Some(Learn::Portal(bind.portal, bound));
        Ok(())
    }

    /// The current piece runs this: planning alone may already call functions.
    fn run(&mut self, bound: &Bound) -> Result<(), Said> {
        let piece = self.pieces.last_mut().expect("there is always one");
        let Some(statement) = &bound.prepared.statement else {
            piece.class = Class::Read;
            return Ok(());
        };
        let ran = UnitStatement::new(bound.prepared.sql.clone(), bound.parameters.clone());
        piece.take(statement, ran, self.names, &self.over)?;
        self.bytes += piece.payload_bytes();
        if self.bytes > MAX_PAYLOAD { Err(too_large()) } else { Ok(()) }
    }

    fn describe(&mut self, frame: &Frame) -> Result<(), Unfit> {
        match wire::named(frame)? {
            (b'S', name) => {
                let prepared = self.named(&name)?;
                let unnamed = must_be(&name, &prepared);
                let step = self.push(Kind::DescribeStatement, frame);
                (step.unnamed, step.describes) = (unnamed, Some(prepared));
            }
            (_, name) => {
                // A cursor is a portal too, which only the server knows; to describe it runs nothing.
                if name.is_empty() {
                    self.portal(&name)?;
                }
                self.push(Kind::DescribePortal, frame);
            }
        }
        Ok(())
    }

    fn execute(&mut self, frame: &Frame) -> Result<(), Unfit> {
        let portal = wire::executed(frame)?;
        let bound = self.portal(&portal)?;
        let is_last = self.bound.take().is_some_and(|last| Arc::ptr_eq(&last, &bound));
        if !is_last {
            // A portal from before: nothing that was said of another one goes for it.
            self.pieces.push(Piece::quiet());
            self.run(&bound).map_err(Unfit::Said)?;
            let ran = bound.prepared.statement.as_ref();
            self.current().hides_changes |= ran.is_some_and(|ran| ran.before.is_some());
        }
        let learn = match bound.prepared.statement.as_ref().map(|s| (&s.role, &s.sql)) {
            Some((Role::Session(session), sql)) => {
                Some(learn_session(session, sql, self.names, &mut self.over))
            }
            _ => None,
        };
        self.push(Kind::Execute, frame).learn = learn;
        self.pieces.push(Piece::quiet());
        Ok(())
    }

    fn close(&mut self, frame: &Frame) -> Result<(), Unfit> {
        let (kind, name) = wire::named(frame)?;
        if name.starts_with(OURS) {
            return Err(Unfit::Said(reserved(&name)));
        }
        match kind {
            b'S' => drop(self.over.prepared.insert(name.clone(), None)),
            _ => drop(self.over.portals.insert(name.clone(), None)),
        }
        self.push(Kind::Close, frame).learn = Some(Learn::Closed(kind, name));
        Ok(())
    }

    fn named(&self, name: &str) -> Result<Arc<Prepared>, Unfit> {
        let known = self.names.prepared(&self.over, name);
        known.ok_or_else(|| Unfit::Said(no_statement(name)))
    }

    fn portal(&self, name: &str) -> Result<Arc<Bound>, Unfit> {
        let known = self.names.portal(&self.over, name);
        known.ok_or_else(|| {
            Unfit::Said(Said::error("34000", format!("portal \"{name}\" does not exist")))
        })
    }
}

/// The unnamed statement must be this one; a named one is there. A statement of `PREPARE` has a
/// name, always.
fn must_be(name: &str, prepared: &Prepared) -> Unnamed {
    match name.is_empty() {
        true => Unnamed::MustBe(prepared.id, prepared.parse.clone()),
        false => Unnamed::Untouched,
    }
}

/// Asks what the parameters of a named statement are.
fn described(name: &str) -> std::io::Result<bytes::Bytes> {
    let mut out = bytes::BytesMut::new();
    postgres_protocol::message::frontend::describe(b'S', name, &mut out)?;
    Ok(out.freeze())
}

/// How the names of our own statements begin.
const OURS: &str = "countermand_";

fn reserved(name: &str) -> Said {
    Said::error("42939", format!("the name \"{name}\" is reserved"))
        .hint("Names that begin with `countermand_` are the gateway's own.")
}

fn too_large() -> Said {
    Said::error("54000", "what this unit would run is larger than 32 MiB").hint("Send it in parts.")
}

fn no_statement(name: &str) -> Said {
    Said::error("26000", format!("prepared statement \"{name}\" does not exist"))
}

/// Verbs whose effect is rows that the server counts, or nothing that stays.
const MEASURABLE: [Verb; 8] = [
    ADVANCE_SEQUENCE,
    ASSIGN_TRANSACTION_ID,
    DELETE,
    INSERT,
    LOCK_ADVISORY,
    LOCK_ROWS,
    NOTIFY,
    UPDATE,
];

fn is_measurable(statement: &Statement) -> bool {
    let counted =
        |action: &Action| action.effect() == Effect::Read || MEASURABLE.contains(&action.verb);
    // Of these verbs only an advisory lock outlives a rollback, and it changes no row.
    statement.transactional && statement.actions.iter().all(counted)
}

/// What a statement is to its transaction. What no transaction of ours could contain is refused.
fn class_of(statement: &Statement) -> Result<Class, Said> {
    use SessionStatement as S;
    let effect = statement.effect();
    Ok(match &statement.role {
        Role::Plain if !statement.transactional => Class::Alone,
        Role::Plain if effect == Effect::Read => Class::Read,
        Role::Plain if statement.copy == Some(CopyDirection::In) => Class::CopyIn,
        Role::Plain => Class::Write,
        Role::Session(
            S::Prepare { name, .. }
            | S::Deallocate { name: Some(name) }
            | S::DeclareCursor { name, .. },
        )
        | Role::Transaction(
            TransactionStatement::Savepoint { name }
            | TransactionStatement::Release { name }
            | TransactionStatement::RollbackTo { name },
        ) if name.starts_with(OURS) => {
            return Err(reserved(name));
        }
        Role::Transaction(transaction) => {
            refuse_transaction(transaction, effect)?;
            Class::Transaction(transaction.clone())
        }
        Role::Session(session) => match session {
            S::Set { name, .. } | S::Show { name } if name.starts_with("countermand.") => {
                Class::Gateway(session.clone())
            }
            S::Set { name, .. } | S::Reset { name } if effect > Effect::Read => {
                let words = format!("the setting `{name}` cannot be changed here to that");
                return Err(Said::error(FORBIDDEN, words).hint("Leave it as it is."));
            }
            S::DeclareCursor { hold: true, .. } => {
                let words = "cannot judge: a cursor WITH HOLD runs its query inside COMMIT";
                let hint = "Declare it without WITH HOLD, after BEGIN READ ONLY.";
                return Err(Said::error(CANNOT_JUDGE, words).hint(hint));
            }
            S::DeclareCursor { .. } | S::Fetch { .. } | S::CloseCursor { .. } => {
                if effect == Effect::Read { Class::Read } else { Class::Write }
            }
            _ => Class::Session(session.clone()),
        },
    })
}

fn refuse_transaction(transaction: &TransactionStatement, effect: Effect) -> Result<(), Said> {
    use TransactionStatement as T;
    let why = match transaction {
        T::Commit { chain: true } | T::Rollback { chain: true } => "AND CHAIN",
        T::PrepareTransaction { .. } | T::CommitPrepared { .. } | T::RollbackPrepared { .. } => {
            "two-phase commit"
        }
        T::Set { .. } | T::Begin(_) if effect > Effect::Read => "loosening a read-only transaction",
        _ => return Ok(()),
    };
    Err(Said::error(FORBIDDEN, format!("forbidden: {why}"))
        .hint("Use plain BEGIN, COMMIT and ROLLBACK."))
}
