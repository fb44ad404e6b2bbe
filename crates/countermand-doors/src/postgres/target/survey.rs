//! What a unit would do, found in the catalogue as it is now: a walk over its steps in order, so
//! that a later statement meets what the earlier ones leave. Nothing of the unit is run.

use super::super::unit::Unit;
use super::catalog::{self, Address, Described, Table};
use super::client::{Client, ClientError};
use super::reads;
use super::steps::{DropStep, Name, Named, Part, Step};
use countermand_core::action::Action;
use countermand_core::digest::Digest;
use countermand_core::effect::Effect;
use countermand_core::preview::Preview;
use countermand_core::radius::Fate;
use countermand_engine::target::TargetError;
use std::collections::{BTreeMap, BTreeSet};

mod behind;
mod count;
mod resolve;
mod sample;

pub(super) use behind::Read;
use count::Meant;
use resolve::Resolved;
pub(super) use sample::sample;

/// Everything a unit would touch.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Objects that people see, by their places.
    pub(super) objects: BTreeMap<Address, Touched>,
    /// What the unit names, in its order.
    pub(super) roots: Vec<Address>,
    /// Why one object pulls in another.
    pub(super) edges: BTreeSet<(Address, Address, &'static str)>,
    /// Every place in the catalogue that would be empty afterwards, internal ones too.
    pub(super) lost: BTreeSet<Address>,
    /// Tables that lose or change rows, by OID.
    pub(super) rows: BTreeMap<u32, Losing>,
    /// Tables that are altered and keep their rows, with how many those are.
    pub(super) altered: BTreeMap<u32, u64>,
    /// Relations that its statements only read, by OID.
    pub(super) reads: BTreeMap<u32, Read>,
}

/// An object in the radius.
#[derive(Clone, Debug)]
pub(super) struct Touched {
    /// The server's word for its kind.
    pub(super) kind: String,
    /// Its qualified name.
    pub(super) name: String,
    /// What becomes of it.
    pub(super) fate: Fate,
    /// Of its definition.
    pub(super) definition: Digest,
    /// On disk.
    pub(super) bytes: Option<u64>,
}

/// A table that loses or changes rows.
#[derive(Clone, Debug)]
pub(super) struct Losing {
    /// Which.
    pub(super) table: Table,
    /// How many rows, at most.
    pub(super) rows: u64,
    /// Whether the unit names them by key.
    pub(super) by_key: bool,
    /// What becomes of its rows.
    pub(super) fate: Fate,
    /// Whether counters do not show it: all rows go or are written anew.
    pub(super) wholly: bool,
    /// Whether the table itself goes.
    pub(super) gone: bool,
    /// Which rows, where statements name some of them: one condition, or several things at once.
    pub(super) meant: Option<Option<Meant>>,
    /// Whether a statement means every row.
    pub(super) every: bool,
}

/// Whether rows are to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Exact counts of everything.
    Counted,
    /// Which objects only.
    Objects,
}

/// Walks a unit's steps.
pub(super) async fn survey(
    client: &mut Client,
    unit: &Unit,
    steps: &[Step],
    actions: &[Action],
    depth: Depth,
) -> Result<Survey, TargetError> {
    let mut walk = Walk { client, unit, depth, made: Vec::new(), found: Survey::default() };
    for step in steps {
        match step {
            Step::Drop(step) => walk.drop(step).await?,
            Step::Truncate { tables, cascade, restart } => {
                walk.truncate(tables, *cascade, *restart).await?;
            }
            Step::Rows(step) => walk.rows(step).await?,
            Step::Alter { relation, missing_ok, drops, rewrites } => {
                walk.alter(relation, *missing_ok, drops, *rewrites).await?;
            }
            Step::Make(name) => walk.made.push(name.clone()),
        }
    }
    walk.touch(actions).await?;
    walk.read(&reads::of(unit)?).await?;
    walk.finish().await?;
    Ok(walk.found)
}

/// The tables and sequences that a preview names, as they are now: what a trial copies.
pub(super) async fn named(client: &mut Client, preview: &Preview) -> Result<Survey, TargetError> {
    let names: Vec<String> = preview.ceiling.rows.keys().cloned().collect();
    let sql = "SELECT n.name, pg_catalog.to_regclass(n.name)::pg_catalog.oid
        FROM pg_catalog.unnest($1::pg_catalog.text[]) n(name)";
    let mut found = Survey::default();
    let mut relations = BTreeSet::new();
    for row in client.query(sql, &[&catalog::array(&names)]).await? {
        let gone = || TargetError::Refused {
            code: "42P01".to_owned(),
            message: format!("relation {} is gone since the preview", catalog::text(&row, 0)),
        };
        relations.insert(catalog::number(&row, 1).ok_or_else(gone)?);
    }
    for table in catalog::tables(client, &relations).await? {
        let gone = preview
            .radius
            .nodes
            .iter()
            .any(|node| node.object.name == table.name && node.fate == Fate::Lost && node.root);
        let losing = Losing {
            table,
            rows: 0,
            by_key: false,
            fate: Fate::Lost,
            wholly: gone,
            gone,
            meant: None,
            every: false,
        };
        found.rows.insert(losing.table.oid, losing);
    }
    Ok(found)
}

struct Walk<'a> {
    client: &'a mut Client,
    unit: &'a Unit,
    depth: Depth,
    made: Vec<Name>,
    found: Survey,
}

impl Walk<'_> {
    async fn drop(&mut self, step: &DropStep) -> Result<(), TargetError> {
        let mut roots = Vec::new();
        for object in &step.objects {
            roots.extend(self.find(step.kind, object, step.missing_ok).await?);
        }
        if !roots.is_empty() {
            self.lose(&roots, step.cascade).await?;
        }
        Ok(())
    }

    /// What a name means at this point of the unit; none where the unit made it itself, or where
    /// it need not exist and does not.
    async fn find(
        &mut self,
        kind: &'static str,
        named: &Named,
        missing_ok: bool,
    ) -> Result<Option<Address>, TargetError> {
        let resolved = resolve::resolve(self.client, self.unit, kind, named).await?;
        let made = || self.made.iter().any(|made| made.may_be(&named.name));
        match resolved {
            Resolved::At(address) if !self.found.lost.contains(&address) => Ok(Some(address)),
            _ if made() => Ok(None),
            _ if missing_ok => Ok(None),
            Resolved::At(_) => Err(TargetError::Refused {
                code: "42704".to_owned(),
                message: format!("{kind} `{}` is dropped twice in this unit", named.name.join(".")),
            }),
            Resolved::Missing { code, message } => Err(TargetError::Refused { code, message }),
        }
    }

    async fn lose(&mut self, roots: &[Address], cascade: bool) -> Result<(), TargetError> {
        let going = catalog::cascade(self.client, roots).await?;
        let members: Vec<Address> = going.iter().map(|object| object.address).collect();
        let dependencies = catalog::dependencies(self.client, &members).await?;
        if !cascade {
            self.unrestricted(roots, &going, &dependencies)?;
        }
        self.found.roots.extend(roots);
        self.found.lost.extend(&members);
        let visible: BTreeMap<Address, Address> = representatives(&going);
        for object in &going {
            if visible.get(&object.address) == Some(&object.address) {
                self.see(object, Fate::Lost);
            }
        }
        let internal: BTreeSet<Address> =
            going.iter().filter(|object| object.internal).map(|object| object.address).collect();
        for dependency in dependencies {
            // The triggers behind a foreign key sit on both tables and say nothing new.
            if dependency.by.class == catalog::TRIGGER && internal.contains(&dependency.by) {
                continue;
            }
            let end = |at: Address| visible.get(&at).or_else(|| visible.get(&at.whole())).copied();
            if let (Some(on), Some(by)) = (end(dependency.on), end(dependency.by))
                && on != by
                && !roots.contains(&by)
            {
                self.found.edges.insert((on, by, why(&dependency)));
            }
        }
        self.gone_tables(&members).await
    }

    /// Refuses as the server would: without CASCADE nothing may go but the parts of what goes.
    fn unrestricted(
        &self,
        roots: &[Address],
        going: &[Described],
        dependencies: &[catalog::Dependency],
    ) -> Result<(), TargetError> {
        let mut parts: BTreeSet<Address> = roots.iter().copied().collect();
        loop {
            let before = parts.len();
            for dependency in dependencies {
                let (on, by) = (dependency.on.whole(), dependency.by.whole());
                if dependency.kind != 'n' && parts.contains(&on) {
                    parts.insert(by);
                }
                if dependency.kind == 'i' && parts.contains(&by) {
                    parts.insert(on);
                }
            }
            if parts.len() == before {
                break;
            }
        }
        let other = going.iter().find(|object| {
            !parts.contains(&object.address)
                && !parts.contains(&object.address.whole())
                && !object.internal
                && object.parent.is_none_or(|parent| !parts.contains(&Address::relation(parent)))
        });
        let Some(other) = other else { return Ok(()) };
        let root = going.iter().find(|object| roots.contains(&object.address));
        let root = root.map_or_else(String::new, |root| format!("{} {}", root.kind, root.name));
        Err(TargetError::Refused {
            code: "2BP01".to_owned(),
            message: format!(
                "cannot drop {root} because other objects depend on it: {} {}",
                other.kind, other.name
            ),
        })
    }

    async fn gone_tables(&mut self, members: &[Address]) -> Result<(), TargetError> {
        let relations = members.iter().filter(|at| at.class == catalog::RELATION && at.part == 0);
        let relations: BTreeSet<u32> = relations.map(|at| at.object).collect();
        for table in catalog::tables(self.client, &relations).await? {
            if let Some(seen) = self.found.objects.get_mut(&Address::relation(table.oid)) {
                seen.bytes = (table.bytes > 0).then_some(table.bytes);
            }
            if table.has_rows() {
                let rows = self.count_all(&table).await?;
                let losing = Losing {
                    table,
                    rows,
                    by_key: false,
                    fate: Fate::Lost,
                    wholly: true,
                    gone: true,
                    meant: None,
                    every: false,
                };
                self.found.rows.insert(losing.table.oid, losing);
            }
        }
        Ok(())
    }

    async fn truncate(
        &mut self,
        tables: &[(Name, bool)],
        cascade: bool,
        restart: bool,
    ) -> Result<(), TargetError> {
        let mut all = BTreeSet::new();
        for (name, inherit) in tables {
            let Some(at) = self.relation(name, false).await? else { continue };
            self.found.roots.push(at);
            all.insert(at.object);
            if *inherit {
                let heirs = catalog::descendants(self.client, &[at.object].into()).await?;
                self.connect(at.object, &heirs, "partition or heir of");
                all.extend(heirs);
            }
        }
        loop {
            let keys = catalog::foreign_keys(self.client, &all).await?;
            let outside: Vec<_> = keys.iter().filter(|key| !all.contains(&key.from)).collect();
            if outside.is_empty() {
                break;
            }
            if !cascade {
                return Err(TargetError::Refused {
                    code: "0A000".to_owned(),
                    message: "cannot truncate a table referenced in a foreign key constraint"
                        .to_owned(),
                });
            }
            for key in outside {
                let heirs = catalog::descendants(self.client, &[key.from].into()).await?;
                self.connect(key.to, &heirs, "foreign key");
                all.extend(heirs);
            }
        }
        self.lose_all_rows(&all).await?;
        if restart { self.restart(&all).await } else { Ok(()) }
    }

    async fn lose_all_rows(&mut self, all: &BTreeSet<u32>) -> Result<(), TargetError> {
        for table in catalog::tables(self.client, all).await? {
            let rows = if table.has_rows() { self.count_all(&table).await? } else { 0 };
            self.losing(table, rows, false, Fate::Lost, true);
        }
        Ok(())
    }

    async fn restart(&mut self, tables: &BTreeSet<u32>) -> Result<(), TargetError> {
        let sql = "SELECT DISTINCT d.objid, d.refobjid FROM pg_catalog.pg_depend d
            JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'
            WHERE d.classid = 1259 AND d.refclassid = 1259 AND d.deptype IN ('a', 'i')
              AND d.refobjid = ANY ($1::pg_catalog.oid[])";
        let rows = self.client.query(sql, &[&catalog::oids(tables)]).await?;
        for row in rows {
            let (Some(sequence), Some(table)) =
                (catalog::number(&row, 0), catalog::number(&row, 1))
            else {
                continue;
            };
            self.connect(table, &[sequence].into(), "restarted with");
            self.changes(Address::relation(sequence)).await?;
        }
        Ok(())
    }

    async fn alter(
        &mut self,
        relation: &Name,
        missing_ok: bool,
        drops: &[Part],
        rewrites: bool,
    ) -> Result<(), TargetError> {
        let Some(at) = self.relation(relation, missing_ok).await? else { return Ok(()) };
        self.found.roots.push(at);
        self.changes(at).await?;
        for part in drops {
            if let Some(at) = resolve::part(self.client, at.object, part).await? {
                self.lose(&[at], true).await?;
                // The request names the table; its part goes with that.
                self.found.roots.retain(|root| *root != at);
                self.found.edges.insert((Address::relation(at.object), at, "part of"));
            }
        }
        let family = catalog::descendants(self.client, &[at.object].into()).await?;
        for table in catalog::tables(self.client, &family).await? {
            let rows = if table.has_rows() { self.count_all(&table).await? } else { 0 };
            if rewrites {
                self.losing(table, rows, false, Fate::Changed, true);
            } else {
                self.found.altered.insert(table.oid, rows);
            }
        }
        Ok(())
    }

    /// A table, view or the like that a statement names.
    async fn relation(
        &mut self,
        name: &Name,
        missing_ok: bool,
    ) -> Result<Option<Address>, TargetError> {
        let named = Named { name: name.parts(), arguments: Some(Vec::new()) };
        self.find("relation", &named, missing_ok).await
    }

    /// What the request names beyond what its steps have found.
    async fn touch(&mut self, actions: &[Action]) -> Result<(), TargetError> {
        for action in actions.iter().filter(|action| action.effect() != Effect::Read) {
            let at = resolve::object(self.client, self.unit, &action.object).await?;
            let Some(at) = at.filter(|at| !self.found.lost.contains(at)) else { continue };
            if !self.found.roots.contains(&at) {
                self.found.roots.push(at);
                self.changes(at).await?;
            }
        }
        Ok(())
    }

    async fn changes(&mut self, at: Address) -> Result<(), TargetError> {
        for object in catalog::describe(self.client, &[at]).await? {
            self.see(&object, Fate::Changed);
        }
        Ok(())
    }

    /// An object in the radius; what is lost stays lost.
    fn see(&mut self, object: &Described, fate: Fate) {
        let touched = Touched {
            kind: object.kind.clone(),
            name: object.name.clone(),
            fate,
            definition: Digest::of_bytes(b""),
            bytes: None,
        };
        let seen = self.found.objects.entry(object.address).or_insert(touched);
        seen.fate = seen.fate.min(fate);
    }

    fn connect(&mut self, from: u32, to: &BTreeSet<u32>, why: &'static str) {
        let ends = to.iter().filter(|to| **to != from);
        let edges = ends.map(|to| (Address::relation(from), Address::relation(*to), why));
        self.found.edges.extend(edges);
    }

    fn losing(&mut self, table: Table, rows: u64, by_key: bool, fate: Fate, wholly: bool) {
        let at = Address::relation(table.oid);
        let object = Described {
            address: at,
            kind: kind_of(&table).to_owned(),
            name: table.name.clone(),
            parent: None,
            internal: false,
        };
        self.see(&object, fate);
        if let Some(seen) = self.found.objects.get_mut(&at) {
            seen.bytes = (table.bytes > 0).then_some(table.bytes);
        }
        if !table.has_rows() {
            return;
        }
        let new = Losing {
            table,
            rows: 0,
            by_key: true,
            fate,
            wholly,
            gone: false,
            meant: None,
            every: false,
        };
        let known = self.found.rows.entry(at.object).or_insert(new);
        known.rows = known.rows.saturating_add(rows);
        known.by_key &= by_key;
        known.fate = known.fate.min(fate);
        known.wholly |= wholly;
    }

    /// Definitions, and what is left dangling.
    async fn finish(&mut self) -> Result<(), TargetError> {
        self.dangling().await?;
        let addresses: Vec<Address> = self.found.objects.keys().copied().collect();
        for (at, digest) in catalog::definitions(self.client, &addresses).await? {
            if let Some(object) = self.found.objects.get_mut(&at) {
                object.definition = digest;
            }
        }
        Ok(())
    }

    async fn dangling(&mut self) -> Result<(), TargetError> {
        let lost = self.found.objects.iter().filter(|(at, object)| {
            object.fate == Fate::Lost && self.found.lost.contains(at) && at.part == 0
        });
        let called: BTreeMap<String, Address> = lost
            .filter(|(at, _)| matches!(at.class, catalog::RELATION | catalog::FUNCTION))
            .map(|(at, object)| (resolve::last_part(&object.name), *at))
            .collect();
        let names = called.keys().cloned().collect();
        for (function, name) in catalog::mentioning(self.client, &names).await? {
            let at = Address { class: catalog::FUNCTION, object: function, part: 0 };
            if self.found.lost.contains(&at) {
                continue;
            }
            for object in catalog::describe(self.client, &[at]).await? {
                self.see(&object, Fate::Dangling);
            }
            if let Some(lost) = called.get(&name) {
                self.found.edges.insert((*lost, at, "named in the body of"));
            }
        }
        Ok(())
    }
}

/// The server's word for a relation of this kind.
fn kind_of(table: &Table) -> &'static str {
    match table.kind {
        'v' => "view",
        'm' => "materialized view",
        'f' => "foreign table",
        'S' => "sequence",
        _ => "table",
    }
}

/// For each object that goes, the one that people see it as: itself, or the relation that it is
/// a part of; none for details that nobody names.
fn representatives(going: &[Described]) -> BTreeMap<Address, Address> {
    let by_address: BTreeMap<Address, &Described> =
        going.iter().map(|object| (object.address, object)).collect();
    let mut seen = BTreeMap::new();
    for object in going {
        let mut at = object;
        let mut hops = 0;
        while let Some(owner) =
            at.parent.and_then(|parent| by_address.get(&Address::relation(parent)))
            && owner.address != at.address
            && hops < 3
        {
            at = owner;
            hops += 1;
        }
        if !at.internal {
            seen.insert(object.address, at.address);
        }
    }
    seen
}

fn why(dependency: &catalog::Dependency) -> &'static str {
    match (dependency.on.class, dependency.by.class, dependency.kind) {
        (2615, ..) => "contains",
        (_, catalog::CONSTRAINT, _) => "foreign key",
        (_, catalog::TRIGGER, _) => "run by a trigger of",
        (_, _, 'P' | 'S') => "partition",
        (_, _, 'i' | 'a') => "owns",
        _ => "used by",
    }
}

impl From<ClientError> for TargetError {
    fn from(error: ClientError) -> TargetError {
        match error {
            ClientError::Lost(why) => TargetError::Unreachable(why),
            ClientError::Local(why) => TargetError::Local(why),
            ClientError::Server { code, message } => match code.as_str() {
                "57014" => TargetError::CannotJudge(format!("{message}; measuring took too long")),
                "55P03" => TargetError::CannotJudge(format!("{message}; others hold it now")),
                _ => TargetError::Refused { code, message },
            },
        }
    }
}
