//! What a statement asks, however it is spelled: a digest of its syntax tree.
//!
//! The server acts on the tree alone, so two texts with one tree ask the same thing: white space,
//! comments, the case of keywords and needless parentheses are not in it. Places in the text are
//! left out, and nothing else. Deparsing would bring in what a printer gets wrong, and
//! libpg_query's fingerprint is no digest: it lets different statements be alike on purpose.
//!
//! The *shape* is the same tree without the values that only say which rows an UPDATE or DELETE
//! means: what is compared in its WHERE. Values that are written, that a function is called with,
//! or that name or count something stay in it.

use std::collections::BTreeSet;

use countermand_core::digest::Digest;
use pg_query::protobuf::{self, AExprKind, Node, a_const};
use pg_query::{NodeEnum, NodeRef};

use super::scribe::{Scribe, Spell as _};

/// A statement apart from how it is spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// The same for every text that asks exactly this.
    pub exact: Digest,
    /// The same for every text that asks this of other rows; none where no value may be another.
    pub shape: Option<Shape>,
}

/// A statement without the values that only say which rows it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Of what is left.
    pub digest: Digest,
    /// The literals that were taken out, in order. Hostile text.
    pub taken: Vec<String>,
    /// Parameters whose values are taken out as well, 1 for `$1`.
    pub parameters: BTreeSet<i32>,
}

impl Spelling {
    /// Of what has no tree: its text.
    pub(crate) fn of_text(sql: &str) -> Spelling {
        Spelling { exact: Digest::of_bytes(&[b"text\0", sql.as_bytes()].concat()), shape: None }
    }

    /// Of a statement with this tree.
    pub(super) fn of(sql: &str, node: &Node) -> Spelling {
        let mut writer = Writer::new(node);
        node.spell(&mut writer);
        if writer.needs_text {
            return Spelling::of_text(sql);
        }
        let parameters = writer.free.difference(&writer.pinned).copied().collect();
        let shape =
            Shape { digest: Digest::of_bytes(&writer.shape), taken: writer.taken, parameters };
        Spelling {
            exact: Digest::of_bytes(&writer.exact),
            shape: writer.has_shape.then_some(shape),
        }
    }
}

/// Whether values may be taken out below a node, and below the field of it that is being written.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    kind: &'static str,
    /// What is compared here only says which rows.
    free: bool,
    /// So does what is compared in the WHERE of a query below.
    queries: bool,
    below: bool,
    queries_below: bool,
    /// The shape is silent since this node.
    silences: bool,
}

struct Writer {
    exact: Vec<u8>,
    shape: Vec<u8>,
    places: Vec<Place>,
    /// A field whose value has not come yet: one that is empty is not written.
    field: Option<&'static str>,
    silent: bool,
    has_shape: bool,
    needs_text: bool,
    taken: Vec<String>,
    free: BTreeSet<i32>,
    pinned: BTreeSet<i32>,
}

impl Writer {
    fn new(root: &Node) -> Writer {
        let changes_rows = matches!(
            root.node,
            Some(
                NodeEnum::DeleteStmt(_)
                    | NodeEnum::UpdateStmt(_)
                    | NodeEnum::InsertStmt(_)
                    | NodeEnum::SelectStmt(_)
            )
        );
        Writer {
            exact: b"tree\0".to_vec(),
            shape: b"shape\0".to_vec(),
            places: Vec::new(),
            field: None,
            silent: false,
            has_shape: changes_rows,
            needs_text: false,
            taken: Vec::new(),
            free: BTreeSet::new(),
            pinned: BTreeSet::new(),
        }
    }

    /// Every piece says how long it is: no two sequences of pieces are the same bytes.
    fn put(&mut self, tag: u8, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_le_bytes();
        for out in [Some(&mut self.exact), Some(&mut self.shape).filter(|_| !self.silent)] {
            let Some(out) = out else { continue };
            out.push(tag);
            out.extend_from_slice(&length);
            out.extend_from_slice(bytes);
        }
    }

    fn put_field(&mut self) {
        if let Some(field) = self.field.take() {
            self.put(b'f', field.as_bytes());
        }
    }

    fn value(&mut self, is_default: bool, tag: u8, bytes: &[u8]) {
        if is_default {
            self.field = None;
            return;
        }
        self.put_field();
        self.put(tag, bytes);
    }

    fn place(&self, kind: &'static str, node: NodeRef<'_>) -> Place {
        let above = self.places.last().copied().unwrap_or_default();
        let queries = match kind {
            "DeleteStmt" => self.has_shape,
            "InsertStmt" | "UpdateStmt" | "MergeStmt" => false,
            _ => above.queries_below,
        };
        let free = above.below && compares(node);
        Place { kind, free, queries, below: free, queries_below: queries, silences: false }
    }
}

impl Scribe for Writer {
    fn enter(&mut self, kind: &'static str, node: NodeRef<'_>) {
        let mut place = self.place(kind, node);
        self.put_field();
        self.put(b'(', kind.as_bytes());
        match node {
            NodeRef::AConst(literal) if place.free => {
                self.put(b'?', value_kind(literal).as_bytes());
                self.taken.push(words(literal));
                place.silences = !self.silent;
                self.silent = true;
            }
            NodeRef::ParamRef(parameter) if place.free => {
                self.free.insert(parameter.number);
            }
            NodeRef::ParamRef(parameter) => {
                self.pinned.insert(parameter.number);
            }
            // It gives back the text, which is then part of what the statement does.
            NodeRef::FuncCall(call) => {
                self.needs_text |= last_name(&call.funcname) == Some("current_query");
            }
            _ => {}
        }
        self.places.push(place);
    }

    fn field(&mut self, name: &'static str) {
        // An empty field before this one was not written.
        self.field = Some(name);
        let has_shape = self.has_shape;
        let Some(place) = self.places.last_mut() else { return };
        (place.below, place.queries_below) = match (place.kind, name) {
            ("DeleteStmt" | "UpdateStmt", "where_clause") => (has_shape, has_shape),
            ("SelectStmt", "where_clause") => (place.queries, place.queries),
            _ => (place.free, place.queries),
        };
    }

    fn list(&mut self, length: usize) {
        self.value(length == 0, b'[', &(length as u64).to_le_bytes());
    }

    fn item(&mut self) {
        self.field = None;
        self.put(b',', &[]);
    }

    fn number(&mut self, value: i64) {
        self.value(value == 0, b'i', &value.to_le_bytes());
    }

    fn bits(&mut self, value: u64) {
        self.value(value == 0, b'b', &value.to_le_bytes());
    }

    fn text(&mut self, value: &str) {
        self.value(value.is_empty(), b's', value.as_bytes());
    }

    fn leave(&mut self) {
        self.field = None;
        if self.places.pop().is_some_and(|place| place.silences) {
            self.silent = false;
        }
        self.put(b')', &[]);
    }
}

/// Operators that compare, or that move a point in time.
const OPERATORS: [&str; 8] = ["=", "<>", "<", "<=", ">", ">=", "+", "-"];

/// Types whose values are only themselves: no name of anything is among them.
const PLAIN: [&str; 18] = [
    "bool",
    "bpchar",
    "date",
    "float4",
    "float8",
    "int2",
    "int4",
    "int8",
    "interval",
    "numeric",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "uuid",
    "varchar",
    "name",
];

/// Whether a value below this node is compared and nothing else is done with it.
fn compares(node: NodeRef<'_>) -> bool {
    match node {
        NodeRef::BoolExpr(_)
        | NodeRef::NullTest(_)
        | NodeRef::BooleanTest(_)
        | NodeRef::List(_)
        | NodeRef::AArrayExpr(_)
        | NodeRef::AConst(_)
        | NodeRef::ParamRef(_)
        | NodeRef::SubLink(_) => true,
        NodeRef::AExpr(expression) => {
            let kind = AExprKind::try_from(expression.kind).unwrap_or(AExprKind::Undefined);
            let operator = match expression.name.as_slice() {
                [one] => text_of(one),
                _ => None,
            };
            match kind {
                AExprKind::AexprOp | AExprKind::AexprOpAny | AExprKind::AexprOpAll => {
                    operator.is_some_and(|name| OPERATORS.contains(&name))
                }
                AExprKind::AexprIn
                | AExprKind::AexprLike
                | AExprKind::AexprIlike
                | AExprKind::AexprBetween
                | AExprKind::AexprNotBetween
                | AExprKind::AexprDistinct
                | AExprKind::AexprNotDistinct => operator.is_some(),
                _ => false,
            }
        }
        NodeRef::TypeCast(cast) => {
            let names = cast.type_name.as_ref().map_or(&[][..], |name| name.names.as_slice());
            let (schema, name) = match names {
                [name] => (None, name),
                [schema, name] => (text_of(schema), name),
                _ => return false,
            };
            schema.is_none_or(|schema| schema == "pg_catalog")
                && text_of(name).is_some_and(|name| PLAIN.contains(&name))
        }
        _ => false,
    }
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(text)) => Some(&text.sval),
        _ => None,
    }
}

fn last_name(names: &[Node]) -> Option<&str> {
    names.last().and_then(text_of)
}

fn value_kind(literal: &protobuf::AConst) -> &'static str {
    match &literal.val {
        None => "null",
        Some(a_const::Val::Ival(_)) => "integer",
        Some(a_const::Val::Fval(_)) => "decimal",
        Some(a_const::Val::Boolval(_)) => "boolean",
        Some(a_const::Val::Sval(_)) => "text",
        Some(a_const::Val::Bsval(_)) => "bits",
    }
}

/// A literal, for people.
fn words(literal: &protobuf::AConst) -> String {
    match &literal.val {
        None => "NULL".to_owned(),
        Some(a_const::Val::Ival(number)) => number.ival.to_string(),
        Some(a_const::Val::Fval(number)) => number.fval.clone(),
        Some(a_const::Val::Boolval(value)) => value.boolval.to_string(),
        Some(a_const::Val::Sval(text)) => format!("'{}'", text.sval.replace('\'', "''")),
        Some(a_const::Val::Bsval(bits)) => bits.bsval.clone(),
    }
}
