//! Which statement an entry takes: what people let happen is told by their own words.

use countermand_core::statement::{Act, Statement};
use countermand_ledger::leaf::Leaf;
use serde_json::Value;

/// Entries that tell of an act of a human's, with the acts that can be it. An approval can have been
/// given beforehand.
const TOLD_BY: [(&str, &[&str]); 9] = [
    ("change.approved", &["approve", "approve_standing"]),
    ("change.adopted", &["adopt"]),
    ("change.rejected", &["reject"]),
    ("change.resolved", &["resolve"]),
    ("agent.added", &["add_agent"]),
    ("freeze.off", &["thaw"]),
    ("config.proposed", &["propose_configuration"]),
    ("config.approved", &["approve_configuration"]),
    ("standing.approved", &["approve_standing"]),
];

fn acts_of(kind: &str) -> Option<&'static [&'static str]> {
    TOLD_BY.iter().find(|(told, _)| *told == kind).map(|(_, acts)| *acts)
}

/// Whether an entry of this kind takes a statement.
pub(super) fn is_needed(kind: &str) -> bool {
    acts_of(kind).is_some()
}

/// Whether a statement is of what its entry tells.
pub(super) fn is_of(statement: &Statement, leaf: &Leaf) -> Result<(), String> {
    let act = statement.act.name();
    if acts_of(leaf.kind()).is_some_and(|acts| !acts.contains(&act)) {
        return Err(format!("`{act}` is no statement for it"));
    }
    let about = match &statement.act {
        Act::Approve(subject) | Act::Adopt(subject) | Act::Reject { subject, .. } => {
            Some(subject.change)
        }
        Act::Restore { change, .. } | Act::Resolve { change, .. } => Some(*change),
        _ => None,
    };
    match (about, leaf.body().get("change").and_then(Value::as_u64)) {
        (Some(about), Some(told)) if about.0 != told => {
            Err(format!("the statement is about change {about}, the entry about {told}"))
        }
        _ => Ok(()),
    }
}
