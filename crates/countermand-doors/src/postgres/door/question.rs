//! The question for the rows that a statement changes, asked in the same flight before it.

use super::gate::Gate;
use super::piece::Question;
use super::session::Session;
use super::step::{Asked, Kind, Show, Step};
use crate::postgres::interpret::Before;
use crate::postgres::unit::Parameter;
use bytes::{Bytes, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

/// What a question is called on the server that is asked once.
const NAME: &str = "countermand_before";
/// The type of a parameter that a question does not use: `text`.
const TEXT: u32 = 25;
/// As many questions of statements that have a name keep their plans.
const MOST_PLANNED: usize = 64;

/// The questions whose plans the server keeps: those of statements that clients prepared.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// For which statement, and for how many rows.
    slots: Vec<(u64, u64)>,
    next: usize,
}

impl Planned {
    /// The name for the question of a statement, and whether it is prepared.
    fn name(&mut self, statement: u64, most: u64) -> (String, bool) {
        let wanted = (statement, most);
        let known = self.slots.iter().position(|slot| *slot == wanted);
        let slot = known.unwrap_or_else(|| {
            let slot = self.next % MOST_PLANNED;
            self.next = slot + 1;
            match self.slots.get_mut(slot) {
                Some(old) => *old = wanted,
                None => self.slots.push(wanted),
            }
            slot
        });
        (format!("{NAME}_{slot}"), known.is_some())
    }

    /// None is prepared any more, or nobody knows. Says whether there were any.
    pub(super) fn forget(&mut self) -> bool {
        self.next = 0;
        !std::mem::take(&mut self.slots).is_empty()
    }
}

impl<G: Gate> Session<G> {
    /// The question for the rows that a piece changes, as a step before it runs. None where the
    /// types of its parameters are not known, and their bytes could be read as something else.
    pub(super) fn question(&mut self, question: &Question) -> Option<Step> {
        let limits = self.scales.limits?;
        let Question { before, parameters, prepared } = question;
        let learned = prepared.as_ref().and_then(|prepared| prepared.types.get());
        let values = values(before, parameters, learned)?;
        // A statement has one question as long as the types in it are the same.
        let lasts = values.iter().all(|value| value.kind != 0);
        let named = prepared.as_ref().filter(|prepared| lasts && prepared.is_named);
        let (name, known) = match named {
            Some(prepared) => self.planned.name(prepared.id, limits.rows),
            None => (NAME.to_owned(), false),
        };
        let question = match self.scales.observed {
            true => Before::sample,
            false => Before::question,
        };
        let sql = (!known).then(|| question(before, limits.rows));
        let sends = asks(&name, sql.as_deref(), values).ok()?;
        let asked = Asked {
            sets: before.sets().clone(),
            deletes: before.sets().is_empty(),
            most: limits.kept_bytes.saturating_sub(self.scales.kept_bytes()),
        };
        Some(Step::new(Kind::Keep(asked), Show::Nobody, sends))
    }

    /// After an error nobody knows which questions are prepared.
    pub(super) fn forget_questions(&mut self) {
        self.planned.forget();
    }
}

/// The end of a question: as long as it is open, nobody can drop what it reads, not even the agent.
pub(super) fn close() -> Step {
    let mut out = BytesMut::new();
    frontend::close(b'P', NAME, &mut out).expect("a fixed text");
    Step::new(Kind::Close, Show::Nobody, out.freeze())
}

/// A parameter of a question.
struct Value {
    kind: u32,
    format: i16,
    bytes: Option<Vec<u8>>,
}

fn values(
    before: &Before,
    parameters: &[Parameter],
    learned: Option<&Vec<u32>>,
) -> Option<Vec<Value>> {
    let count = before.parameters() as usize;
    let value = |(index, number): (usize, u32)| {
        if !before.uses(number) {
            return Some(Value { kind: TEXT, format: 0, bytes: None });
        }
        let given = parameters.get(index)?;
        let declared = Some(given.oid).filter(|oid| *oid != 0);
        let kind = declared.or_else(|| learned?.get(index).copied()).unwrap_or(0);
        if kind == 0 && given.format != 0 {
            return None;
        }
        let bytes = given.value.as_ref().map(hex::decode).transpose().ok()?;
        Some(Value { kind, format: given.format, bytes })
    };
    (1..).take(count).enumerate().map(value).collect()
}

/// The messages of a question; without `sql` where it is prepared under this name.
fn asks(name: &str, sql: Option<&str>, values: Vec<Value>) -> std::io::Result<Bytes> {
    let mut out = BytesMut::new();
    if let Some(sql) = sql {
        frontend::close(b'S', name, &mut out)?;
        frontend::parse(name, sql, values.iter().map(|value| value.kind), &mut out)?;
    }
    frontend::close(b'P', NAME, &mut out)?;
    let formats: Vec<i16> = values.iter().map(|value| value.format).collect();
    let put = |value: Value, out: &mut BytesMut| {
        Ok(match value.bytes {
            None => IsNull::Yes,
            Some(bytes) => {
                out.extend_from_slice(&bytes);
                IsNull::No
            }
        })
    };
    let bound = frontend::bind(NAME, name, formats, values, put, [1], &mut out);
    bound.map_err(|_| std::io::Error::other("a parameter is too long"))?;
    frontend::describe(b'P', NAME, &mut out)?;
    frontend::execute(NAME, 0, &mut out)?;
    Ok(out.freeze())
}
