//! Rows as they were, which a question of ours brought back: which versions, and where.

use super::step::Asked;
use crate::postgres::wire::Column;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};

/// The columns before those of the table, in a question for rows as they are: table, place, and
/// the transaction that wrote the version.
pub(super) const SYSTEM: usize = 3;
/// The columns after them: the number of the row, and the guard of its limit.
pub(super) const OWN: usize = 2;

/// Rows as they were before a statement.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) asked: Asked,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Option<Bytes>>>,
    /// What it takes, those rows included that were too many to be kept.
    pub(super) bytes: u64,
    /// A long row that is coming in.
    pub(super) partial: BytesMut,
}

impl Kept {
    pub(super) fn new(asked: Asked, columns: Vec<Column>) -> Kept {
        let bytes = columns.iter().map(|column| column.name.len() as u64).sum();
        Kept { asked, columns, rows: Vec::new(), bytes, partial: BytesMut::new() }
    }

    /// Whether there is anything in it.
    pub(super) fn takes_any(&self) -> bool {
        !self.rows.is_empty() || !self.is_whole()
    }

    /// Whether all rows fitted.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes <= self.asked.most
    }

    /// With rows of the same kind, of which it is known whether they were deleted.
    pub(super) fn like(&self, deletes: bool, rows: Vec<Vec<Option<Bytes>>>) -> Kept {
        let asked = Asked { deletes, ..self.asked.clone() };
        let values = rows.iter().flatten().flatten();
        let bytes = values.map(|value| value.len() as u64).sum();
        let columns = self.columns.clone();
        Kept { asked, columns, rows, bytes, partial: BytesMut::new() }
    }

    /// Takes out the rows of one table.
    pub(super) fn take_of(&mut self, table: u32) -> Kept {
        let of = |row: &Vec<Option<Bytes>>| number(row.first()) == Some(table);
        let (taken, rest) = std::mem::take(&mut self.rows).into_iter().partition(of);
        self.rows = rest;
        self.like(self.asked.deletes, taken)
    }

    /// Lets go of rows that are not the same versions as these.
    pub(super) fn retain_versions_of(&mut self, others: &Kept) {
        let versions: BTreeSet<&[Option<Bytes>]> =
            others.rows.iter().filter_map(|row| row.get(..SYSTEM)).collect();
        self.rows.retain(|row| row.get(..SYSTEM).is_some_and(|row| versions.contains(row)));
    }

    /// Where its rows are, as the server reads an array.
    pub(super) fn places_as_text(&self) -> String {
        let places = self.rows.iter().filter_map(|row| version(row));
        let places: Vec<String> =
            places.map(|(_, place)| format!("\"{}\"", words(place))).collect();
        format!("{{{}}}", places.join(","))
    }

    /// The numbers of the transactions that wrote the rows.
    pub(super) fn writers(&self) -> impl Iterator<Item = u32> {
        self.rows.iter().filter_map(|row| writer(row))
    }

    /// Where among the table's columns these are; none where one is missing.
    pub(super) fn places(&self, names: &[String]) -> Option<Vec<usize>> {
        let last = self.columns.len().saturating_sub(OWN);
        let own = self.columns.get(SYSTEM..last).unwrap_or_default();
        let place = |name: &String| own.iter().position(|column| column.name == *name);
        names.iter().map(place).collect()
    }
}

/// How many relations were named by statements that delete rows of them. A name alone is not one:
/// it can mean another relation later.
pub(super) fn relations_that_lose(kept: &[Kept]) -> u64 {
    let losing = kept.iter().filter(|kept| kept.asked.deletes && !kept.rows.is_empty());
    let named = losing.filter_map(|kept| kept.columns.get(SYSTEM).map(|column| column.table));
    named.collect::<BTreeSet<u32>>().len() as u64
}

/// The number of the transaction that wrote a version.
pub(super) fn writer(row: &[Option<Bytes>]) -> Option<u32> {
    number(row.get(2))
}

/// Where a version of a row is: block and offset.
pub(super) type Place = [u8; 6];

/// The versions of rows that are kept, table and place; and whether the last statement that meant
/// one of them deletes.
pub(super) fn versions(kept: &[Kept]) -> BTreeMap<(u32, Place), bool> {
    let of = |kept: &Kept| {
        let deletes = kept.asked.deletes;
        let versions = kept.rows.iter().filter_map(|row| version(row));
        versions.map(|version| (version, deletes)).collect::<Vec<_>>()
    };
    kept.iter().flat_map(of).collect()
}

/// A version that was kept several times (a join can give it so) is kept once, by the last that
/// asked for it: that one changed it.
pub(super) fn once(kept: &mut [Kept]) {
    let mut seen = BTreeSet::new();
    for kept in kept.iter_mut().rev() {
        kept.rows.retain(|row| version(row).is_none_or(|version| seen.insert(version)));
    }
}

pub(super) fn version(row: &[Option<Bytes>]) -> Option<(u32, Place)> {
    let place = row.get(1)?.as_deref()?.try_into().ok()?;
    Some((number(row.first())?, place))
}

/// Lets go of rows that were not changed. `visible`: table and place of each, as text.
pub(super) fn let_go(kept: &mut [Kept], visible: &[Vec<Option<String>>]) {
    let visible: BTreeSet<(u32, &str)> = visible
        .iter()
        .filter_map(|row| match row.as_slice() {
            [Some(table), Some(place)] => Some((table.parse().ok()?, place.as_str())),
            _ => None,
        })
        .collect();
    let is_visible = |row: &[Option<Bytes>]| {
        version(row).is_some_and(|(table, place)| visible.contains(&(table, &words(place))))
    };
    for kept in kept {
        kept.rows.retain(|row| !is_visible(row));
    }
}

pub(super) fn number(value: Option<&Option<Bytes>>) -> Option<u32> {
    Some(u32::from_be_bytes(value?.as_deref()?.try_into().ok()?))
}

/// A place as the server writes it: `(block,offset)`.
pub(super) fn words([a, b, c, d, e, f]: Place) -> String {
    format!("({},{})", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f]))
}
