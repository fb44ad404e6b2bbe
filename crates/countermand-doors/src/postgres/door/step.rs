//! One step of a flight: what is sent, what answers it, and who sees that.

use super::names::{Bound, Prepared};
use crate::postgres::interpret::SessionStatement;
use crate::postgres::wire;
use bytes::{Bytes, BytesMut};
use postgres_protocol::message::frontend;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is sent, which decides what answers it.
#[derive(Debug)]
pub(super) enum Kind {
    Parse,
    Bind,
    DescribeStatement,
    DescribePortal,
    Execute,
    Close,
    Sync,
    /// Parse, Bind and Execute of a statement of ours.
    Own,
    /// A question of ours for rows as they are, answered in binary. An error that is its own and
    /// not the agent's is not shown.
    Keep(Asked),
    /// A simple query of ours, answered up to its own `ReadyForQuery`.
    Query,
    /// Nothing is sent; the agent gets this when everything before is done.
    Say(Bytes),
}

/// What rows as they are were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Columns that the statement sets; none where it deletes.
    pub(super) sets: BTreeSet<String>,
    /// Whether rows are deleted.
    pub(super) deletes: bool,
    /// As many bytes are kept, of all questions of one flight.
    pub(super) most: u64,
}

/// Who sees the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// The agent, as they come.
    Agent,
    /// The agent, but not that there are no rows: a simple query has no such message.
    Rows,
    /// Nobody. An error goes to the agent all the same.
    Nobody,
}

/// What a session knows when a step was done.
#[derive(Clone, Debug)]
pub(super) enum Learn {
    /// A statement has a name now.
    Prepared(String, Arc<Prepared>),
    /// A portal has a name now.
    Portal(String, Arc<Bound>),
    /// A statement's (`S`) or portal's (`P`) name is free again.
    Closed(u8, String),
    /// A statement about the session ran.
    Session(SessionStatement),
}

/// What the step does to the server's one statement without a name.
#[derive(Clone, Debug, Default)]
pub(super) enum Unnamed {
    #[default]
    Untouched,
    /// Takes its place.
    Becomes(u64),
    /// Works only if it is this one; the Parse message makes it so.
    MustBe(u64, Bytes),
}

/// One step of a flight.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) show: Show,
    pub(super) sends: Bytes,
    pub(super) unnamed: Unnamed,
    pub(super) learn: Option<Learn>,
    /// Whose parameters the answer tells the types of.
    pub(super) describes: Option<Arc<Prepared>>,
    /// From its `CommandComplete` on, the agent's messages wait…
    pub(super) withholds: bool,
    /// … until this one is done.
    pub(super) releases: bool,
}

/// The place of the unnamed statement that no client message has.
pub(super) const OURS: u64 = 0;

impl Step {
    pub(super) fn new(kind: Kind, show: Show, sends: Bytes) -> Step {
        let unnamed = Unnamed::Untouched;
        Step {
            kind,
            show,
            sends,
            unnamed,
            learn: None,
            describes: None,
            withholds: false,
            releases: false,
        }
    }

    /// A statement of ours, run like any other: after an error before it, it is skipped.
    pub(super) fn own(sql: &str) -> Step {
        let mut out = BytesMut::new();
        put_statement(&mut out, sql);
        frontend::execute("", 0, &mut out).expect("a fixed text");
        let unnamed = Unnamed::Becomes(OURS);
        Step { unnamed, ..Step::new(Kind::Own, Show::Nobody, out.freeze()) }
    }

    /// As [`Step::own`], of a statement that keeps its plan under a name of ours; `known` where it
    /// is there already. `values`: its parameters, as text.
    pub(super) fn planned(name: &str, sql: &str, values: &[String], known: bool) -> Step {
        let mut out = BytesMut::new();
        let fixed = "a fixed text";
        if !known {
            frontend::close(b'S', name, &mut out).expect(fixed);
            frontend::parse(name, sql, [], &mut out).expect(fixed);
        }
        let empty: [i16; 0] = [];
        let value = |value: &String, out: &mut BytesMut| {
            out.extend_from_slice(value.as_bytes());
            Ok(postgres_protocol::IsNull::No)
        };
        let bound = frontend::bind("", name, empty, values, value, empty, &mut out);
        bound.map_err(|_| ()).expect(fixed);
        frontend::execute("", 0, &mut out).expect(fixed);
        Step::new(Kind::Own, Show::Nobody, out.freeze())
    }

    pub(super) fn sync() -> Step {
        let mut out = BytesMut::new();
        frontend::sync(&mut out);
        Step::new(Kind::Sync, Show::Nobody, out.freeze())
    }

    /// A simple query of ours: it runs whatever failed before it.
    pub(super) fn query(sql: &str) -> Step {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).expect("a fixed text");
        let unnamed = Unnamed::Becomes(OURS);
        Step { unnamed, ..Step::new(Kind::Query, Show::Nobody, out.freeze()) }
    }

    pub(super) fn say(encode: impl FnOnce(&mut BytesMut)) -> Step {
        let mut out = BytesMut::new();
        encode(&mut out);
        Step::new(Kind::Say(out.freeze()), Show::Agent, Bytes::new())
    }

    /// What the agent hears in the place of this step when its statement does not run: the tag is
    /// that of the statement. Names are made and freed all the same.
    pub(super) fn echo(&self, tag: &str) -> Option<Step> {
        let kept = |kind| Step {
            unnamed: self.unnamed.clone(),
            learn: self.learn.clone(),
            ..Step::new(kind, self.show, self.sends.clone())
        };
        match (&self.kind, self.show) {
            (_, Show::Nobody) | (Kind::DescribePortal, Show::Rows) => None,
            (Kind::Bind, _) => Some(Step::say(|out| wire::put(out, b'2', &[]))),
            (Kind::DescribePortal, _) => Some(Step::say(|out| wire::put(out, b'n', &[]))),
            (Kind::Execute, _) => Some(Step::say(|out| wire::put_complete(out, tag))),
            (Kind::Parse, _) => Some(kept(Kind::Parse)),
            (Kind::Close, _) => Some(kept(Kind::Close)),
            (Kind::DescribeStatement, _) => Some(kept(Kind::DescribeStatement)),
            (Kind::Sync | Kind::Own | Kind::Keep(_) | Kind::Query | Kind::Say(_), _) => None,
        }
    }

    /// The steps of one statement that came as text, its result in text.
    pub(super) fn statement(sql: &str) -> std::io::Result<[Step; 4]> {
        let sends = |encode: &dyn Fn(&mut BytesMut) -> std::io::Result<()>| {
            let mut out = BytesMut::new();
            encode(&mut out).map(|()| out.freeze())
        };
        let parse = sends(&|out| frontend::parse("", sql, [], out))?;
        let bind = sends(&|out| {
            put_bind(out);
            Ok(())
        })?;
        let describe = sends(&|out| frontend::describe(b'P', "", out))?;
        let execute = sends(&|out| frontend::execute("", 0, out))?;
        let mut prepare = Step::new(Kind::Parse, Show::Nobody, parse);
        prepare.unnamed = Unnamed::Becomes(OURS);
        Ok([
            prepare,
            Step::new(Kind::Bind, Show::Nobody, bind),
            Step::new(Kind::DescribePortal, Show::Rows, describe),
            Step::new(Kind::Execute, Show::Agent, execute),
        ])
    }
}

fn put_statement(out: &mut BytesMut, sql: &str) {
    frontend::parse("", sql, [], out).expect("a fixed text");
    put_bind(out);
}

/// Binds the unnamed statement to the unnamed portal, without parameters, for text.
fn put_bind(out: &mut BytesMut) {
    wire::put(out, b'B', &[0, 0, 0, 0, 0, 0, 0, 0]);
}
