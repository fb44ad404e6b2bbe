//! The one rule about evidence: it can only help.
//!
//! Evidence appears as `context.evidence.x >= literal` or as a bare flag, un-negated, under the
//! `unless` of a forbid, joined with `&&` and `||` to anything else. Then what a forbid stops
//! can only shrink as evidence grows, and "held" has a meaning: not permitted yet.
//!
//! The same walk refuses what could fail while it is evaluated (arithmetic that overflows,
//! attributes of entities that a question does not bring), because Cedar skips a policy that
//! fails. What is left, once it validates strictly, always has an answer.

use super::shown::{Dimension, Threshold};
use crate::name::GroupName;
use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, Template, UnaryOp, Var};
use std::collections::{BTreeMap, BTreeSet};

/// Levels of nesting an expression may have.
const DEPTH: usize = 256;
/// The largest number that evidence may be compared with: 31 years, or more reviewers than any
/// installation has.
const LARGEST: i64 = 1_000_000_000;
/// Combinations of thresholds one policy may distinguish: the search for the smallest missing
/// evidence tries each at most once.
const COMBINATIONS: usize = 256;

/// Why a policy is not accepted, though Cedar understands it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Evidence in a place where more of it could hurt, or where nobody can tell.
    #[error(
        "`{0}` stands where evidence could do harm: use it only under `unless`, not negated, as \
         `context.evidence.… >= number` or as a bare flag, joined with `&&` and `||`"
    )]
    Misplaced(String),
    /// A count without `>=`, or a flag with it.
    #[error("`{path}` is {is}: write {remedy}")]
    Shape {
        /// The evidence as written.
        path: String,
        /// What it is.
        is: &'static str,
        /// How to use it.
        remedy: &'static str,
    },
    /// Evidence that does not exist.
    #[error("there is no evidence `{0}`")]
    UnknownEvidence(String),
    /// A reviewer group that does not exist.
    #[error("the reviewer group `{group}` is not configured: {known}")]
    UnknownGroup {
        /// The group as written.
        group: String,
        /// The groups that are, in words.
        known: String,
    },
    /// A comparison that is always true, or one that nothing can satisfy.
    #[error("`{path} >= {number}`: compare with a number from 1 to {LARGEST}")]
    Number {
        /// The evidence as written.
        path: String,
        /// The number as written.
        number: i64,
    },
    /// `context` without a field.
    #[error("`context` as a whole can hide evidence: name the field, as in `context.roots`")]
    WholeContext,
    /// Something whose evaluation can fail.
    #[error(
        "`{0}` can fail while a request is judged, and Cedar skips a policy that fails: compare \
         fields with literals instead"
    )]
    CanFail(String),
    /// An attribute of something that need not be there.
    #[error(
        "`.{0}` is read from an expression: attributes are read from `resource`, `principal` or \
         `context` only, because a question brings no other entities"
    )]
    Elsewhere(String),
    /// More nesting than the walk follows.
    #[error("the expression is nested more than {DEPTH} levels deep: split the policy")]
    TooDeep,
    /// More combinations than the search tries.
    #[error("it distinguishes more than {COMBINATIONS} combinations of evidence: split the policy")]
    TooMany,
}

/// Walks a forbid and finds what it asks for, or why it cannot be accepted.
pub(super) fn thresholds(
    forbid: &Template,
    groups: &BTreeSet<GroupName>,
) -> Result<BTreeSet<Threshold>, Fault> {
    let mut walk = Walk { groups, found: BTreeSet::new() };
    for clause in forbid.clauses() {
        match clause {
            Clause::When(expr) => free(expr, DEPTH)?,
            Clause::Unless(expr) => walk.helpful(expr, DEPTH)?,
        }
    }
    bounded(&walk.found)?;
    Ok(walk.found)
}

fn bounded(found: &BTreeSet<Threshold>) -> Result<(), Fault> {
    let mut steps: BTreeMap<&Dimension, usize> = BTreeMap::new();
    for threshold in found {
        *steps.entry(&threshold.dimension).or_insert(1) += 1;
    }
    let product = steps.values().try_fold(1_usize, |product, n| product.checked_mul(*n));
    if product.is_some_and(|n| n <= COMBINATIONS) { Ok(()) } else { Err(Fault::TooMany) }
}

struct Walk<'a> {
    groups: &'a BTreeSet<GroupName>,
    found: BTreeSet<Threshold>,
}

impl Walk<'_> {
    /// An expression whose truth can only help: the one kind of place that evidence may be in.
    fn helpful(&mut self, expr: &Expr, depth: usize) -> Result<(), Fault> {
        let deeper = depth.checked_sub(1).ok_or(Fault::TooDeep)?;
        match expr {
            Expr::BinaryOp { op: BinaryOp::And | BinaryOp::Or, left, right } => {
                self.helpful(left, deeper)?;
                self.helpful(right, deeper)
            }
            Expr::BinaryOp { op: BinaryOp::GreaterEq, left, right } => {
                match (evidence_path(left), &**right) {
                    (Some(path), Expr::Literal(Literal::Long(number))) => {
                        self.count(&path, *number)
                    }
                    _ => free(expr, depth),
                }
            }
            _ => match evidence_path(expr) {
                Some(path) => self.flag(&path),
                None => free(expr, depth),
            },
        }
    }

    fn count(&mut self, path: &[&str], number: i64) -> Result<(), Fault> {
        let dimension = self.dimension(path)?;
        let written = written(path);
        if dimension.is_flag() {
            return Err(Fault::Shape { path: written, is: "a flag", remedy: "it bare" });
        }
        if !(1..=LARGEST).contains(&number) {
            return Err(Fault::Number { path: written, number });
        }
        self.found.insert(Threshold { dimension, need: number });
        Ok(())
    }

    fn flag(&mut self, path: &[&str]) -> Result<(), Fault> {
        let dimension = self.dimension(path)?;
        if !dimension.is_flag() {
            return Err(Fault::Shape {
                path: written(path),
                is: "a count",
                remedy: "`>=` and a number behind it",
            });
        }
        self.found.insert(Threshold { dimension, need: 1 });
        Ok(())
    }

    fn dimension(&self, path: &[&str]) -> Result<Dimension, Fault> {
        Ok(match path {
            ["approvals", "peers"] => Dimension::Peers,
            ["approvals", "groups", group] => Dimension::Group(self.group(group)?),
            ["cooled_seconds"] => Dimension::Cooled,
            ["restore_point", "trial"] => Dimension::Trial,
            ["restore_point", "verified"] => Dimension::Verified,
            ["rehearsed"] => Dimension::Rehearsed,
            ["confirmed"] => Dimension::Confirmed,
            ["backup_fresh"] => Dimension::BackupFresh,
            _ => return Err(Fault::UnknownEvidence(written(path))),
        })
    }

    fn group(&self, group: &str) -> Result<GroupName, Fault> {
        let known = GroupName::new(group).ok().filter(|name| self.groups.contains(name));
        known.ok_or_else(|| {
            let names: Vec<String> = self.groups.iter().map(|name| format!("`{name}`")).collect();
            let known = match names.as_slice() {
                [] => String::from("there are no groups"),
                _ => format!("there are {}", names.join(", ")),
            };
            Fault::UnknownGroup { group: group.chars().take(80).collect(), known }
        })
    }
}

/// An expression without evidence, and that cannot fail.
fn free(expr: &Expr, depth: usize) -> Result<(), Fault> {
    let deeper = depth.checked_sub(1).ok_or(Fault::TooDeep)?;
    match expr {
        Expr::Var(Var::Context) => Err(Fault::WholeContext),
        Expr::Var(_) | Expr::Literal(_) => Ok(()),
        Expr::GetAttr { expr: inner, attr } => attribute(expr, inner, attr, deeper),
        Expr::HasAttr { expr, .. } | Expr::Like { expr, .. } => free(expr, deeper),
        Expr::UnaryOp { op: UnaryOp::Not | UnaryOp::IsEmpty, expr } => free(expr, deeper),
        Expr::UnaryOp { op, .. } => Err(Fault::CanFail(op.to_string())),
        Expr::BinaryOp { op, left, right } if always_answers(*op) => {
            free(left, deeper)?;
            free(right, deeper)
        }
        Expr::BinaryOp { op, .. } => Err(Fault::CanFail(op.to_string())),
        Expr::Is { expr, in_expr, .. } => {
            free(expr, deeper)?;
            in_expr.as_ref().map_or(Ok(()), |expr| free(expr, deeper))
        }
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            [cond, then_expr, else_expr].into_iter().try_for_each(|expr| free(expr, deeper))
        }
        Expr::Set(items) => items.iter().try_for_each(|expr| free(expr, deeper)),
        Expr::Record(fields) => fields.values().try_for_each(|expr| free(expr, deeper)),
        // Slots, unknowns, and whatever a later Cedar adds.
        _ => Err(Fault::CanFail(String::from("this expression"))),
    }
}

fn attribute(whole: &Expr, inner: &Expr, attr: &str, depth: usize) -> Result<(), Fault> {
    if let Some(path) = evidence_path(whole) {
        return Err(Fault::Misplaced(written(&path)));
    }
    match inner {
        Expr::Var(_) => Ok(()),
        Expr::GetAttr { .. } => free(inner, depth),
        _ => Err(Fault::Elsewhere(attr.chars().take(80).collect())),
    }
}

/// Operators that have a value for all operands of the types that strict validation lets through.
fn always_answers(op: BinaryOp) -> bool {
    use BinaryOp::{
        And, Contains, ContainsAll, ContainsAny, Eq, Greater, GreaterEq, In, Less, LessEq, NotEq,
        Or,
    };
    matches!(
        op,
        And | Or
            | Eq
            | NotEq
            | Less
            | LessEq
            | Greater
            | GreaterEq
            | In
            | Contains
            | ContainsAll
            | ContainsAny
    )
}

/// The fields below `context.evidence`, if that is what the expression reads. Empty for
/// `context.evidence` itself.
fn evidence_path(mut expr: &Expr) -> Option<Vec<&str>> {
    let mut path = Vec::new();
    while let Expr::GetAttr { expr: inner, attr } = expr {
        path.push(attr.as_str());
        expr = inner;
    }
    let of_context = matches!(expr, Expr::Var(Var::Context));
    (of_context && path.pop() == Some("evidence")).then(|| {
        path.reverse();
        path
    })
}

fn written(path: &[&str]) -> String {
    let mut text = String::from("context.evidence");
    for field in path {
        text.push('.');
        text.extend(field.chars().take(80));
    }
    text
}
