//! Two copies of a table in the order of its pages, before and after a unit: which rows went or
//! changed, and which came in their place.
//!
//! Every line begins with the row's place and the transaction that wrote it. While a
//! transaction that sees a row is open its place is not used again, so a row is untouched
//! exactly where both lines are equal.

use super::{Content, SavedError, io};
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

/// Writes the lines of `old` that `new` does not have to `before`, and those of `new` that `old`
/// does not have to `after`, each without its first two fields. Returns what all of `old` and all
/// of `new` are.
pub(in super::super) fn difference(
    old: &Path,
    new: &Path,
    before: (&Path, File),
    after: (&Path, File),
) -> Result<(Content, Content), SavedError> {
    let (mut old, mut new) = (Lines::open(old)?, Lines::open(new)?);
    let (mut before, mut after) = (Output::new(before), Output::new(after));
    let (mut left, mut right) = (old.next()?, new.next()?);
    loop {
        match (&left, &right) {
            (None, None) => break,
            (Some(line), None) => {
                before.row(line)?;
                left = old.next()?;
            }
            (None, Some(line)) => {
                after.row(line)?;
                right = new.next()?;
            }
            (Some(was), Some(is)) if was.place < is.place => {
                before.row(was)?;
                left = old.next()?;
            }
            (Some(was), Some(is)) if was.place > is.place => {
                after.row(is)?;
                right = new.next()?;
            }
            (Some(was), Some(is)) => {
                if was.text != is.text {
                    before.row(was)?;
                    after.row(is)?;
                }
                (left, right) = (old.next()?, new.next()?);
            }
        }
    }
    before.finish()?;
    after.finish()?;
    Ok((old.content, new.content))
}

struct Line {
    place: (u32, u16),
    text: Vec<u8>,
}

impl Line {
    /// The row alone; a table without columns has rows without fields.
    fn row(&self) -> &[u8] {
        self.text.splitn(3, |byte| *byte == b'\t').nth(2).unwrap_or(b"\n")
    }
}

struct Lines<'a> {
    from: BufReader<File>,
    path: &'a Path,
    last: Option<(u32, u16)>,
    content: Content,
}

impl Lines<'_> {
    fn open(path: &Path) -> Result<Lines<'_>, SavedError> {
        let file = File::open(path).map_err(io("open", path))?;
        Ok(Lines { from: BufReader::new(file), path, last: None, content: Content::default() })
    }

    fn next(&mut self) -> Result<Option<Line>, SavedError> {
        let mut text = Vec::new();
        let read = self.from.read_until(b'\n', &mut text).map_err(io("read", self.path))?;
        if read == 0 {
            return Ok(None);
        }
        let place = place(&text).filter(|place| self.last.is_none_or(|last| last < *place));
        let Some(place) = place else {
            let why = "its rows did not come in the order of their places".to_owned();
            return Err(SavedError::Unusable { path: self.path.to_owned(), why });
        };
        self.last = Some(place);
        let line = Line { place, text };
        self.content.add(line.row());
        Ok(Some(line))
    }
}

/// `(12,3)` at the start of a line.
fn place(line: &[u8]) -> Option<(u32, u16)> {
    let end = line.iter().position(|byte| *byte == b')')?;
    let text = std::str::from_utf8(line.get(1..end)?).ok()?;
    let (page, row) = text.split_once(',')?;
    Some((page.parse().ok()?, row.parse().ok()?))
}

struct Output<'a> {
    to: BufWriter<File>,
    path: &'a Path,
}

impl<'a> Output<'a> {
    fn new((path, file): (&'a Path, File)) -> Output<'a> {
        Output { to: BufWriter::new(file), path }
    }

    fn row(&mut self, line: &Line) -> Result<(), SavedError> {
        self.to.write_all(line.row()).map_err(io("write", self.path))
    }

    fn finish(self) -> Result<(), SavedError> {
        let path = self.path;
        let file = self.to.into_inner().map_err(|error| io("write", path)(error.into_error()))?;
        file.sync_all().map_err(io("sync", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(old: &str, new: &str) -> Result<(String, String), SavedError> {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        std::fs::write(at("old"), old).unwrap();
        std::fs::write(at("new"), new).unwrap();
        let (before, after) = (at("before"), at("after"));
        let file = |path: &Path| File::create(path).unwrap();
        difference(&at("old"), &at("new"), (&before, file(&before)), (&after, file(&after)))?;
        let read = |path| std::fs::read_to_string(path).unwrap();
        Ok((read(before), read(after)))
    }

    #[test]
    fn only_what_went_and_what_came_is_kept() {
        let old = "(0,1)\t7\ta\n(0,2)\t7\tb\n(0,10)\t7\tc\n";
        let new = "(0,1)\t7\ta\n(0,10)\t7\tc\n(1,1)\t9\tB\n";
        assert_eq!(run(old, new).unwrap(), ("b\n".to_owned(), "B\n".to_owned()));
        assert_eq!(run(old, old).unwrap(), (String::new(), String::new()));
        assert_eq!(run(old, "").unwrap().0, "a\nb\nc\n");
    }

    #[test]
    fn a_place_that_was_written_again_counts_as_both() {
        let again = run("(0,1)\t7\ta\n", "(0,1)\t9\ta\n").unwrap();
        assert_eq!(again, ("a\n".to_owned(), "a\n".to_owned()));
    }

    #[test]
    fn rows_out_of_order_are_refused() {
        assert!(run("(0,2)\t7\ta\n(0,1)\t7\tb\n", "").is_err());
        assert!(run("nonsense\n", "").is_err());
    }
}
