//! Before-images: what takes a write back that flowed.
//!
//! Rows are kept as the server sent them in its binary format, which depends on no setting of the
//! session that wrote.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that takes one transaction back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Images {
    /// The transaction's full number (`xid8`), by which the server knows whether it committed.
    pub(super) transaction: u64,
    /// What `xmin` shows of rows that the transaction wrote: its own number and those of its
    /// subtransactions, without epoch. A row with another one was written by somebody else since.
    pub(super) numbers: Vec<u32>,
    /// The rows that it changed, statement by statement, in order: of a row that is there twice
    /// the first is the older.
    pub(super) changed: Vec<ChangedRows>,
    /// Tables that it added rows to, by OID: qualified and quoted name, and how many.
    pub(super) inserted: BTreeMap<u32, (String, u64)>,
}

/// Rows of one table as they were before one statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChangedRows {
    /// The table that holds them, a partition rather than what it is part of.
    pub(super) table: u32,
    /// Its qualified and quoted name then.
    pub(super) name: String,
    /// Its columns then, without those that are computed from others.
    pub(super) columns: Vec<ImageColumn>,
    /// The columns of its primary key; empty where it has none, and then no row was updated. No
    /// statement that flowed changed them.
    pub(super) key: Vec<String>,
    /// Whether the statement deleted them; it updated them otherwise. A row that is not there now
    /// was deleted by somebody else since, unless this says who it was.
    pub(super) deleted: bool,
    /// The rows.
    pub(super) rows: Vec<KeptRow>,
}

/// A row as it was before one statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptRow {
    /// What `xmin` showed of it, read with the values: a row that the agent itself had added
    /// before is told from one that was there, and one that somebody else changed between two of
    /// its writes from one that nobody did.
    pub(super) xmin: u32,
    /// Its values, column by column.
    pub(super) values: Vec<Value>,
}

/// A column of kept rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImageColumn {
    /// Its name.
    pub(super) name: String,
    /// Its type's OID.
    pub(super) kind: u32,
}

/// A value in the server's binary format; none is NULL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Value(#[serde(with = "hexadecimal")] pub(super) Option<Vec<u8>>);

mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Vec<u8>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(hex::encode).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| hex::decode(text).map_err(serde::de::Error::custom)).transpose()
    }
}

impl Images {
    /// As the engine keeps it.
    pub(super) fn to_body(&self) -> String {
        serde_json::to_string(self).expect("maps with integers as keys and plain values are JSON")
    }

    /// The images of a body.
    ///
    /// # Errors
    /// Words, where it is none of ours.
    pub(super) fn from_body(body: &str) -> Result<Images, String> {
        serde_json::from_str(body)
            .map_err(|error| format!("before-images that cannot be read: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back() {
        let images = Images {
            transaction: u64::MAX,
            numbers: vec![u32::MAX],
            changed: vec![ChangedRows {
                table: 16_400,
                name: "shop.\"T\"".into(),
                columns: vec![ImageColumn { name: "id".into(), kind: 23 }],
                key: vec!["id".into()],
                deleted: true,
                rows: vec![
                    KeptRow { xmin: 7, values: vec![Value(Some(vec![0, 0, 0, 1]))] },
                    KeptRow { xmin: u32::MAX, values: vec![Value(None)] },
                ],
            }],
            inserted: [(16_400, ("shop.\"T\"".to_owned(), 3))].into(),
        };
        assert_eq!(Images::from_body(&images.to_body()).unwrap(), images);
        assert!(Images::from_body("{}").is_err());
    }
}
