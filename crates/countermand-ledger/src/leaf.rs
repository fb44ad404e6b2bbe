//! One entry of the ledger: one line of canonical JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::instant;
use crate::text::Digest;
use crate::tree::Hash;

/// The only version of the leaf format there is.
pub const VERSION: u64 = 1;

/// The longest leaf line, in bytes without its newline. Anything larger belongs into a text.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// The largest integer that every JSON reader keeps exactly: 2⁵³ − 1.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// The longest kind or text name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// One entry. A value of this type is always valid and in canonical form, so its [`line`](Self::line)
/// is the only line that says what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    index: u64,
    at: Timestamp,
    kind: String,
    body: Map<String, Value>,
    texts: BTreeMap<String, Digest>,
    line: String,
}

/// Why something is not a leaf. The fault is the writer's (or that of whoever altered the line).
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// The line is longer than [`MAX_LINE_BYTES`].
    #[error("the line has {0} bytes, more than {MAX_LINE_BYTES}: put large content into a text")]
    TooLong(usize),
    /// The line is not JSON, or not an object with exactly the known members.
    #[error("not a ledger entry: {0}")]
    Json(#[source] serde_json::Error),
    /// The line is JSON in another spelling than RFC 8785 gives it.
    #[error(
        "not in canonical form (RFC 8785): the line was not written by a ledger, or was altered"
    )]
    NotCanonical,
    /// The entry's version is not [`VERSION`].
    #[error("version `{0}` is unknown: verify with a newer release")]
    Version(String),
    /// The index is too large to be an exact JSON number.
    #[error("index {0} is beyond 2^53 - 1")]
    Index(u64),
    /// The time is not spelled `2026-01-02T03:04:05.678Z`.
    #[error("`{0}` is not a time in UTC with milliseconds, such as `2026-01-02T03:04:05.678Z`")]
    At(String),
    /// The kind is not dotted lower-case words.
    #[error("kind `{0}` is not two or more dotted lower-case words, such as `change.held`")]
    Kind(String),
    /// The body is not a JSON object.
    #[error("the body is not a JSON object")]
    Body,
    /// A number in the body would not survive every JSON reader.
    #[error(
        "the number at `{0}` in the body is not an integer within ±(2^53 - 1): write it as a string"
    )]
    Number(String),
    /// A text's name has other characters than it may.
    #[error(
        "text name `{0}` is not lower-case letters, digits, `.`, `_` and `-`, starting with a letter"
    )]
    TextName(String),
    /// A text's digest is not 64 lower-case hexadecimal digits.
    #[error("the digest of text `{0}` is not 64 lower-case hexadecimal digits")]
    TextDigest(String),
}

impl Leaf {
    /// Makes the entry at position `index` (counted from 0). `at` is cut to milliseconds. `body`
    /// must be an object whose numbers are integers within ±(2⁵³ − 1); `texts` maps the names of the
    /// texts that lie beside this entry to their salted digests.
    pub fn new(
        index: u64,
        at: Timestamp,
        kind: &str,
        body: &Value,
        texts: &BTreeMap<String, Digest>,
    ) -> Result<Self, LeafError> {
        let texts: BTreeMap<_, _> = texts.iter().map(|(k, v)| (k, v.to_string())).collect();
        let line = serde_json_canonicalizer::to_vec(&json!({
            "v": VERSION, "index": index, "at": instant::render(at),
            "kind": kind, "body": body, "texts": texts,
        }))
        .map_err(LeafError::Json)?;
        // What cannot be read back must not be written: the writer passes the auditor's own gate.
        let leaf = Self::parse(&line)?;
        if leaf.index == index { Ok(leaf) } else { Err(LeafError::Index(index)) }
    }

    /// Reads a line (without its newline). Accepts exactly what [`Leaf::new`] writes.
    pub fn parse(line: &[u8]) -> Result<Self, LeafError> {
        if line.len() > MAX_LINE_BYTES {
            return Err(LeafError::TooLong(line.len()));
        }
        let value: Value = serde_json::from_slice(line).map_err(LeafError::Json)?;
        // Also what rejects repeated members: only one of them is in `value`.
        let canonical = serde_json_canonicalizer::to_string(&value).map_err(LeafError::Json)?;
        if canonical.as_bytes() != line {
            return Err(LeafError::NotCanonical);
        }
        // Before the members are looked at, since another version may have others.
        match value.get("v") {
            Some(v) if *v == VERSION => {}
            Some(v) => return Err(LeafError::Version(v.to_string())),
            None => return Err(LeafError::Version("none".to_owned())),
        }
        Self::from_members(serde_json::from_value(value).map_err(LeafError::Json)?, canonical)
    }

    fn from_members(members: Members, line: String) -> Result<Self, LeafError> {
        let Members { at, body, index, kind, texts, v: _ } = members;
        if index > MAX_INTEGER {
            return Err(LeafError::Index(index));
        }
        if !is_kind(&kind) {
            return Err(LeafError::Kind(kind));
        }
        let Value::Object(body) = body else { return Err(LeafError::Body) };
        if let Some(pointer) = body.iter().find_map(|(name, value)| inexact_number(value, name)) {
            return Err(LeafError::Number(pointer));
        }
        let at = instant::parse(&at).ok_or(LeafError::At(at))?;
        let texts = texts.into_iter().map(checked_text).collect::<Result<_, _>>()?;
        Ok(Self { index, at, kind, body, texts, line })
    }

    /// The position in the ledger, counted from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// When the entry was written, by the writer's clock, in whole milliseconds.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// What kind of event this is, such as `change.held`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What the event says.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// The salted digests of the texts that lie beside this entry, by name.
    pub fn texts(&self) -> &BTreeMap<String, Digest> {
        &self.texts
    }

    /// The canonical line, without a newline: the bytes that are hashed and stored.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The RFC 6962 leaf hash: SHA-256 of 0x00 followed by the line.
    pub fn hash(&self) -> Hash {
        Hash::of_leaf(self.line.as_bytes())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    at: String,
    body: Value,
    index: u64,
    kind: String,
    texts: BTreeMap<String, String>,
    // Checked before, and named here only because every member must be known.
    #[allow(dead_code)]
    v: u64,
}

fn checked_text((name, digest): (String, String)) -> Result<(String, Digest), LeafError> {
    if !is_text_name(&name) {
        return Err(LeafError::TextName(name));
    }
    match Digest::from_hex(&digest) {
        Some(digest) => Ok((name, digest)),
        None => Err(LeafError::TextDigest(name)),
    }
}

/// Where in `value` a number is that another reader could take for a different one.
fn inexact_number(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Number(number) => {
            let exact = number.as_i64().is_some_and(|n| n.unsigned_abs() <= MAX_INTEGER);
            (!exact).then(|| path.to_owned())
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(at, item)| inexact_number(item, &format!("{path}/{at}"))),
        Value::Object(members) => members
            .iter()
            .find_map(|(name, member)| inexact_number(member, &format!("{path}/{name}"))),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

fn is_kind(kind: &str) -> bool {
    let word = |w: &str| {
        w.starts_with(|c: char| c.is_ascii_lowercase())
            && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    kind.len() <= MAX_NAME_BYTES && kind.contains('.') && kind.split('.').all(word)
}

pub(crate) fn is_text_name(name: &str) -> bool {
    let allowed =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = concat!(
        r#"{"at":"2026-01-02T03:04:05.678Z","body":{"change":7,"who":"agent/ci"},"index":41,"#,
        r#""kind":"change.held","texts":{"payload":"#,
        r#""00000000000000000000000000000000000000000000000000000000000000ff"},"v":1}"#
    );

    fn leaf(body: Value) -> Result<Leaf, LeafError> {
        Leaf::new(0, Timestamp::UNIX_EPOCH, "change.held", &body, &BTreeMap::new())
    }

    #[test]
    fn writes_exactly_this_line() {
        let mut digest = [0; 32];
        digest[31] = 0xff;
        let texts = BTreeMap::from([("payload".to_owned(), Digest::from_bytes(digest))]);
        let at = "2026-01-02T03:04:05.678999Z".parse().unwrap();
        let body = json!({"who": "agent/ci", "change": 7});
        let leaf = Leaf::new(41, at, "change.held", &body, &texts).unwrap();
        assert_eq!(leaf.line(), LINE);
        assert_eq!(leaf, Leaf::parse(LINE.as_bytes()).unwrap());
        assert_eq!((leaf.index(), leaf.kind()), (41, "change.held"));
        assert_eq!(leaf.at().as_millisecond(), 1_767_323_045_678);
        assert_eq!(leaf.body()["change"], 7);
        assert_eq!(leaf.texts(), &texts);
    }

    #[test]
    fn hash_is_sha256_of_zero_and_the_line() {
        use sha2::{Digest as _, Sha256};
        let mut bytes = vec![0];
        bytes.extend_from_slice(LINE.as_bytes());
        let expected: [u8; 32] = Sha256::digest(&bytes).into();
        assert_eq!(Leaf::parse(LINE.as_bytes()).unwrap().hash().as_bytes(), &expected);
    }

    #[test]
    fn refuses_every_other_spelling() {
        for (from, to) in [
            ("{\"at\"", "{ \"at\""),
            ("\"index\":41", "\"index\":41.0"),
            ("\"index\":41", "\"index\":4.1e1"),
            ("\"index\":41", "\"index\":041"),
            ("\"index\":41", "\"index\":\"41\""),
            ("\"index\":41", "\"index\":-1"),
            ("\"index\":41", "\"index\":41,\"index\":41"),
            ("\"index\":41", "\"index\":9007199254740992"),
            ("\"index\":41", "\"index\":41,\"indez\":41"),
            ("agent/ci", "agent\\/ci"),
            ("agent/ci", "agent\\u002fci"),
            ("\"v\":1", "\"v\":2"),
            (",\"v\":1", ""),
            (",\"kind\":\"change.held\"", ""),
            ("change.held", "change"),
            ("change.held", "Change.held"),
            ("change.held", "change..held"),
            ("678Z", "67Z"),
            ("payload", "Payload"),
            ("00ff\"", "00FF\""),
            ("00ff\"", "00f\""),
            ("{\"change\":7,\"who\":\"agent/ci\"}", "[]"),
            ("\"change\":7", "\"change\":7.5"),
            ("\"v\":1}", "\"v\":1}\n"),
            ("\"v\":1}", "\"v\":1}{}"),
        ] {
            let altered = LINE.replace(from, to);
            assert_ne!(altered, LINE);
            assert!(Leaf::parse(altered.as_bytes()).is_err(), "accepted {altered}");
        }
        assert!(Leaf::parse(b"").is_err());
        assert!(Leaf::parse(&[b'['; 4000]).is_err());
        assert!(Leaf::parse(b"{\"\xff\":1}").is_err());
    }

    #[test]
    fn another_version_is_named_before_its_members() {
        let altered = LINE.replace("\"v\":1", "\"v\":2,\"w\":3");
        let error = Leaf::parse(altered.as_bytes()).unwrap_err();
        assert!(matches!(error, LeafError::Version(v) if v == "2"));
    }

    #[test]
    fn numbers_that_readers_disagree_on_are_refused() {
        let inexact = |body| match leaf(body).unwrap_err() {
            LeafError::Number(pointer) => pointer,
            other => panic!("{other}"),
        };
        assert_eq!(inexact(json!({"a": [1, {"b": 1.5}]})), "a/1/b");
        assert_eq!(inexact(json!({"a": 9_007_199_254_740_992_u64})), "a");
        assert_eq!(inexact(json!({"a": 9_007_199_254_740_993_u64})), "a");
        assert_eq!(inexact(json!({"a": u64::MAX})), "a");
        assert_eq!(inexact(json!({"a": -9_007_199_254_740_992_i64})), "a");
        leaf(json!({"a": 9_007_199_254_740_991_u64, "b": -9_007_199_254_740_991_i64})).unwrap();
    }

    #[test]
    fn an_index_too_large_for_json_is_refused() {
        let at = Timestamp::UNIX_EPOCH;
        for index in [1 << 53, (1 << 53) + 1, u64::MAX] {
            let made = Leaf::new(index, at, "a.b", &json!({}), &BTreeMap::new());
            assert!(matches!(made, Err(LeafError::Index(_) | LeafError::Json(_))), "{made:?}");
        }
    }

    #[test]
    fn large_content_is_refused() {
        let error = leaf(json!({"a": "x".repeat(MAX_LINE_BYTES)})).unwrap_err();
        assert!(matches!(error, LeafError::TooLong(_)));
    }

    #[test]
    fn newlines_never_break_a_line() {
        let made = leaf(json!({"a": "one\ntwo\r\u{2028}\u{85}\0"})).unwrap();
        assert!(!made.line().contains(['\n', '\r', '\0']));
    }
}
