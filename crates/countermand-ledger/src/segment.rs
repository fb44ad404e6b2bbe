//! How entries lie in files: segments of [`SEGMENT_LEAVES`] lines, each ended by a newline.

/// Entries in a full segment. A power of two, so that a full segment is one whole subtree.
pub const SEGMENT_LEAVES: u64 = 4096;

/// The file that holds entry `index`: `segments/000000000000.jsonl`, named after the first index in
/// it, padded with zeros to 12 digits.
pub fn file_name(index: u64) -> String {
    format!("segments/{:012}.jsonl", first_index(index))
}

/// The index of the first entry in the segment that holds entry `index`.
pub fn first_index(index: u64) -> u64 {
    index - index % SEGMENT_LEAVES
}

/// The first index in the segment called `name`, if that is the name of a segment.
pub fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segments/")?.strip_suffix(".jsonl")?;
    let first = digits.parse().ok()?;
    (file_name(first) == name && first_index(first) == first).then_some(first)
}

/// What lies in the place of a segment that was moved: a file that says where it is.
pub fn moved_name(name: &str) -> String {
    format!("{name}.moved")
}

/// The segment that this file speaks for, if it is the name of such a file.
pub fn parse_moved_name(name: &str) -> Option<String> {
    let name = name.strip_suffix(".moved")?;
    parse_file_name(name).map(file_name)
}

/// The lines of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines<'a> {
    /// The finished lines, without their newlines.
    pub lines: Vec<&'a [u8]>,
    /// What follows the last newline. Not empty only when a write was cut short: legal in the newest
    /// segment alone, where the entry's writer must finish or remove it.
    pub torn: Option<&'a [u8]>,
}

/// A segment has more lines than [`SEGMENT_LEAVES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("more than {SEGMENT_LEAVES} lines in one segment: lines were added, or files were joined")]
pub struct TooManyLines;

/// Splits a segment's bytes into lines. What the lines hold is not looked at.
pub fn parse(bytes: &[u8]) -> Result<Lines<'_>, TooManyLines> {
    let lines = split_lines(bytes);
    let count = lines.lines.len() as u64 + u64::from(lines.torn.is_some());
    if count <= SEGMENT_LEAVES { Ok(lines) } else { Err(TooManyLines) }
}

/// Splits at each newline; what follows the last one is torn.
pub(crate) fn split_lines(bytes: &[u8]) -> Lines<'_> {
    let mut lines: Vec<_> = bytes.split(|&byte| byte == b'\n').collect();
    let torn = lines.pop().filter(|rest| !rest.is_empty());
    Lines { lines, torn }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(file_name(0), "segments/000000000000.jsonl");
        assert_eq!(file_name(4095), "segments/000000000000.jsonl");
        assert_eq!(file_name(4096), "segments/000000004096.jsonl");
        assert_eq!(file_name(u64::MAX), "segments/18446744073709547520.jsonl");
        for index in [0, 1, 4095, 4096, 4097, 999_999_999_999, 1 << 53, u64::MAX] {
            assert_eq!(parse_file_name(&file_name(index)), Some(first_index(index)));
        }
        for other in [
            "segments/0.jsonl",
            "segments/000000000001.jsonl",
            "segments/0000000004096.jsonl",
            "segments/+00000004096.jsonl",
            "segments/000000004096.json",
            "000000004096.jsonl",
            "../segments/000000004096.jsonl",
            "segments/99999999999999999999.jsonl",
            "segments/.jsonl",
            "",
        ] {
            assert_eq!(parse_file_name(other), None, "`{other}`");
        }
    }

    #[test]
    fn names_of_what_was_moved() {
        let name = file_name(4096);
        assert_eq!(parse_moved_name(&moved_name(&name)), Some(name.clone()));
        assert_eq!(parse_moved_name(&name), None);
        assert_eq!(parse_moved_name("segments/1.jsonl.moved"), None);
    }

    #[test]
    fn lines() {
        let read = |bytes: &'static str| {
            let Lines { lines, torn } = parse(bytes.as_bytes()).unwrap();
            (lines, torn)
        };
        assert_eq!(read(""), (vec![], None));
        assert_eq!(read("a\n"), (vec![&b"a"[..]], None));
        assert_eq!(read("a\nb\n"), (vec![&b"a"[..], b"b"], None));
        assert_eq!(read("a\nb"), (vec![&b"a"[..]], Some(&b"b"[..])));
        assert_eq!(read("a"), (vec![], Some(&b"a"[..])));
        assert_eq!(read("\n"), (vec![&b""[..]], None));
        assert_eq!(read("a\r\n"), (vec![&b"a\r"[..]], None));
    }

    #[test]
    fn no_more_than_a_segment_holds() {
        let mut bytes = b"a\n".repeat(4096);
        assert_eq!(parse(&bytes).unwrap().lines.len(), 4096);
        bytes.push(b'a');
        assert_eq!(parse(&bytes), Err(TooManyLines));
        bytes.push(b'\n');
        assert_eq!(parse(&bytes), Err(TooManyLines));
    }
}
