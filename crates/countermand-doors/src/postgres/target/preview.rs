//! A survey in the engine's words: identity, ceiling, estimates, radius.

use super::super::interpret::{self, Role, interpret};
use super::super::unit::Unit;
use super::catalog::{self, Address};
use super::survey::{Losing, Survey};
use super::{PostgresTarget, Setup};
use countermand_core::action::{Action, Object};
use countermand_core::effect::Effect;
use countermand_core::preview::{Ceiling, Counts, Estimates, Identity, Preview};
use countermand_core::radius::{BlastRadius, Edge, Fate, Lock, Node, Reversibility};
use countermand_core::request::Payload;
use countermand_core::verb::{Verb, postgres as verb};
use countermand_engine::target::{TargetError, tags_of};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes per second that copying out and reading back is sure to make.
const BACKUP_RATE: u64 = 20 * 1024 * 1024;
/// Bytes per second that bringing rows back, with their indexes, is sure to make.
const RECOVERY_RATE: u64 = 5 * 1024 * 1024;
/// Milliseconds that a statement holds its own lock until the commit has been decided.
const DECIDING: u64 = 250;

/// What the text of a unit shows without a server.
#[derive(Debug)]
pub(super) struct Reading {
    /// What it does.
    pub(super) actions: Vec<Action>,
    /// Whether rolling back leaves nothing behind.
    pub(super) undone_by_rollback: bool,
}

/// Reads a unit again, and refuses what cannot run as a part of one transaction.
pub(super) fn read(unit: &Unit) -> Result<Reading, TargetError> {
    let standard = unit.settings.get("standard_conforming_strings").is_none_or(|on| on != "off");
    let settings = interpret::Settings { standard_conforming_strings: standard };
    let mut reading = Reading { actions: Vec::new(), undone_by_rollback: true };
    for statement in &unit.statements {
        for part in interpret(&statement.sql, settings).statements {
            if matches!(part.role, Role::Transaction(_)) || !part.transactional {
                let words = "a unit runs as one transaction of the gateway's own: leave out what \
                             begins, ends or cannot be part of one";
                return Err(TargetError::CannotJudge(words.to_owned()));
            }
            reading.undone_by_rollback &= part.undone_by_rollback;
            reading.actions.extend(part.actions);
        }
    }
    Ok(reading)
}

/// Everything measured, as the engine wants it.
pub(super) fn preview(
    target: &PostgresTarget,
    fingerprint: String,
    payload: &Payload,
    verbs: BTreeSet<Verb>,
    undone_by_rollback: bool,
    survey: &Survey,
) -> Preview {
    let setup = target.setup();
    let (radius, places) = radius(setup, survey);
    let bytes =
        survey.rows.values().fold(0_u64, |sum, losing| sum.saturating_add(losing.table.bytes));
    let backup_seconds = 1 + bytes / BACKUP_RATE;
    let locks = locks(setup, survey, &places, &radius.nodes, backup_seconds);
    let stays = |lock: &Lock| {
        let node = radius.nodes.iter().find(|node| node.object == lock.object);
        node.is_none_or(|node| node.fate != Fate::Lost) || !is_gone(survey, &lock.object)
    };
    let budget = u64::try_from(setup.lock_hold.as_millis()).unwrap_or(u64::MAX);
    let unavailable = locks.iter().any(|lock| lock.millis > budget && stays(lock));
    let objects = radius.nodes.iter().map(|node| (node.object.to_string(), node.definition));
    let tags = radius.nodes.iter().filter(|node| !node.tags.is_empty());
    Preview {
        identity: Identity {
            target: setup.name.clone(),
            fingerprint,
            payload: payload.digest(),
            objects: objects.collect(),
            reads: survey.reads.values().map(|read| (read.to_string(), read.digest)).collect(),
            tags: tags.map(|node| (node.object.to_string(), node.tags.clone())).collect(),
            verbs: verbs.clone(),
        },
        ceiling: ceiling(survey),
        estimates: Estimates { bytes, backup_seconds, recovery_seconds: 2 + bytes / RECOVERY_RATE },
        reversibility: reversibility(&verbs, survey),
        radius: BlastRadius { locks, ..radius },
        undone_by_rollback,
        unavailable,
    }
}

fn is_gone(survey: &Survey, object: &Object) -> bool {
    let same =
        |seen: &&super::survey::Touched| seen.kind == object.kind && seen.name == object.name;
    let found = survey.objects.iter().find(|(_, seen)| same(seen));
    found.is_some_and(|(at, _)| survey.lost.contains(at))
}

/// Rows by table name.
pub(super) fn counts(survey: &Survey) -> Counts {
    survey.rows.values().map(|losing| (losing.table.name.clone(), losing.rows)).collect()
}

/// Each table under its own headroom.
fn ceiling(survey: &Survey) -> Ceiling {
    let limit = |losing: &Losing| {
        let one = Counts::from([(losing.table.name.clone(), losing.rows)]);
        Ceiling::over(&one, losing.by_key).rows
    };
    Ceiling { rows: survey.rows.values().flat_map(limit).collect() }
}

fn radius(setup: &Setup, survey: &Survey) -> (BlastRadius, BTreeMap<Address, usize>) {
    let mut order: Vec<Address> = Vec::new();
    for root in &survey.roots {
        if survey.objects.contains_key(root) && !order.contains(root) {
            order.push(*root);
        }
    }
    let roots = order.len();
    let mut others: Vec<_> =
        survey.objects.iter().filter(|(at, _)| !order[..roots].contains(at)).collect();
    others.sort_by(|(_, a), (_, b)| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    order.extend(others.iter().map(|(at, _)| **at));
    let places: BTreeMap<Address, usize> =
        order.iter().enumerate().map(|(place, at)| (*at, place)).collect();
    let node = |(place, at): (usize, &Address)| {
        let seen = &survey.objects[at];
        let losing = survey.rows.get(&at.object).filter(|_| at.class == catalog::RELATION);
        Node {
            object: Object::new(&seen.kind, &seen.name),
            fate: seen.fate,
            root: place < roots,
            rows: losing.filter(|_| at.part == 0).map(|losing| losing.rows),
            bytes: seen.bytes,
            tags: tags_of(&setup.tags, &seen.name),
            definition: seen.definition,
        }
    };
    let edge = |(from, to, why): &(Address, Address, &'static str)| {
        let (from, to) = (*places.get(from)?, *places.get(to)?);
        Some(Edge { from, to, why: (*why).to_owned() })
    };
    let radius = BlastRadius {
        nodes: order.iter().enumerate().map(node).collect(),
        edges: survey.edges.iter().filter_map(edge).collect(),
        locks: Vec::new(),
    };
    (radius, places)
}

/// What would be locked: first against writers while the restore point is taken, then as each
/// statement does.
fn locks(
    setup: &Setup,
    survey: &Survey,
    places: &BTreeMap<Address, usize>,
    nodes: &[Node],
    backup_seconds: u64,
) -> Vec<Lock> {
    let wait = u64::try_from(setup.lock_wait.as_millis()).unwrap_or(u64::MAX);
    let mut locks = Vec::new();
    let mut lock = |at: &Address, mode: &str, blocks: &str, millis: u64| {
        if let Some(node) = places.get(at).and_then(|place| nodes.get(*place)) {
            let (mode, blocks) = (mode.to_owned(), blocks.to_owned());
            locks.push(Lock { object: node.object.clone(), mode, blocks, millis });
        }
    };
    for (oid, losing) in &survey.rows {
        let at = Address::relation(*oid);
        let held = backup_seconds.saturating_mul(1000).saturating_add(DECIDING);
        lock(&at, "SHARE ROW EXCLUSIVE", "writes", held);
        if losing.wholly {
            lock(&at, "ACCESS EXCLUSIVE", "reads and writes", DECIDING.saturating_add(wait));
        }
    }
    for (at, seen) in &survey.objects {
        let relation = at.class == catalog::RELATION && at.part == 0;
        let counted = survey.rows.contains_key(&at.object);
        if relation && !counted && seen.fate != Fate::Dangling {
            lock(at, "ACCESS EXCLUSIVE", "reads and writes", DECIDING.saturating_add(wait));
        }
    }
    locks
}

/// Verbs whose loss a restore point holds.
const RESTORABLE: [Verb; 28] = [
    verb::INSERT,
    verb::UPDATE,
    verb::UPDATE_ALL,
    verb::DELETE,
    verb::DELETE_ALL,
    verb::MERGE_DELETE,
    verb::TRUNCATE,
    verb::LOCK_ROWS,
    verb::LOCK_TABLE,
    verb::ADVANCE_SEQUENCE,
    verb::CREATE_TABLE,
    verb::CREATE_VIEW,
    verb::CREATE_MATERIALIZED_VIEW,
    verb::CREATE_INDEX,
    verb::CREATE_SEQUENCE,
    verb::CREATE_SCHEMA,
    verb::CREATE_TYPE,
    verb::CREATE_STATISTICS,
    verb::DROP_TABLE,
    verb::DROP_VIEW,
    verb::DROP_MATERIALIZED_VIEW,
    verb::DROP_INDEX,
    verb::DROP_SEQUENCE,
    verb::DROP_SCHEMA,
    verb::DROP_TYPE,
    verb::DROP_FUNCTION,
    verb::DROP_TRIGGER,
    verb::DROP_CONSTRAINT,
];

fn reversibility(verbs: &BTreeSet<Verb>, survey: &Survey) -> Reversibility {
    let restorable = |verb: &Verb| verb.effect() == Effect::Read || RESTORABLE.contains(verb);
    let other: Vec<&str> =
        verbs.iter().filter(|verb| !restorable(verb)).map(|verb| verb.doc()).collect();
    if !other.is_empty() {
        return Reversibility::CannotBeTakenBack(other.join("; "));
    }
    let of_others = |at: &&Address| at.part != 0 && !survey.lost.contains(&at.whole());
    let column = survey.lost.iter().filter(of_others).find_map(|at| survey.objects.get(at));
    if let Some(column) = column {
        let words = format!("{} {} goes out of a relation that stays", column.kind, column.name);
        return Reversibility::CannotBeTakenBack(words);
    }
    let outside = ["extension", "event trigger", "subscription", "server", "foreign table"];
    let lost = survey.objects.values().filter(|seen| seen.fate == Fate::Lost);
    match lost.into_iter().find(|seen| outside.contains(&seen.kind.as_str())) {
        Some(seen) => Reversibility::CannotBeTakenBack(format!(
            "{} {} is more than its definition",
            seen.kind, seen.name
        )),
        None => Reversibility::Restorable,
    }
}
