//! Texts that somebody else wrote, as a page may have them; numbers and times as people read them.

use countermand_core::visible::{self, Stretch};
use jiff::Timestamp;
use std::fmt::{self, Display, Write as _};

/// A text in which nothing is hidden. Templates escape it for HTML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn of(text: impl AsRef<str>) -> Text {
        Text(visible::told(text.as_ref()))
    }

    pub(crate) fn each(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Text> {
        texts.into_iter().map(Text::of).collect()
    }

    /// At most so many characters, its middle left out. Only where the whole is shown as well.
    pub(crate) fn cut(&self, most: usize) -> String {
        let length = self.0.chars().count();
        if length <= most {
            return self.0.clone();
        }
        let head: String = self.0.chars().take(most / 2).collect();
        let tail: String = self.0.chars().skip(length - (most - most / 2 - 1)).collect();
        format!("{head}…{tail}")
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// HTML or SVG that was made here, from escaped parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Markup(String);

impl Markup {
    /// Markup of ours. Nothing from outside may be in it.
    pub(crate) fn put(&mut self, own: impl Display) {
        let _ = write!(self.0, "{own}");
    }

    /// A text from outside, escaped.
    pub(crate) fn text(&mut self, text: &str) {
        for part in text.split_inclusive(['&', '<', '>', '"', '\'']) {
            let (plain, special) = match part.char_indices().next_back() {
                Some((at, c @ ('&' | '<' | '>' | '"' | '\''))) => (&part[..at], Some(c)),
                _ => (part, None),
            };
            self.0.push_str(plain);
            self.0.push_str(match special {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('"') => "&quot;",
                Some(_) => "&#39;",
                None => "",
            });
        }
    }
}

impl Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A payload, whole, line by line, and what of it a reader may overlook.
#[derive(Default)]
pub(crate) struct Listing {
    /// List items, in groups that a browser need not lay out before they are seen.
    pub(crate) markup: Markup,
    /// Lines.
    pub(crate) lines: usize,
    /// What a reader may overlook, in words.
    pub(crate) notes: Vec<String>,
}

/// Lines in one group.
const GROUP: usize = 200;
/// More empty lines than this are said as a number: nothing is pushed out of sight.
const BLANK: usize = 4;
/// So are so many spaces.
const WIDE: usize = 24;
/// A tab counts as so many.
const TAB: usize = 4;
/// Of a run of lookalikes so many are named.
const ALIKE: usize = 16;

/// See [`Listing`].
pub(crate) fn listing(text: &str) -> Listing {
    let mut listing = Listing::default();
    let mut seen = Seen::default();
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    listing.lines = lines.len();
    let mut at = 0;
    let mut in_group = 0;
    while at < lines.len() {
        if in_group == 0 {
            let begins = format_args!("<ol start=\"{}\">", at + 1);
            listing.markup.put(begins);
        }
        let blank = lines[at..].iter().take_while(|line| is_blank(line)).count();
        if blank > BLANK {
            seen.blank += blank;
            let (first, last) = (at + 1, at + blank);
            let gap = format_args!("<li class=\"gap\">lines {first} to {last} are empty");
            listing.markup.put(gap);
            at += blank;
            // What follows is counted on from there.
            in_group = GROUP;
        } else {
            listing.markup.put("<li>");
            put_line(&mut listing.markup, lines[at], &mut seen);
            at += 1;
            in_group += 1;
        }
        if in_group >= GROUP || at >= lines.len() {
            listing.markup.put("</ol>");
            in_group = 0;
        }
    }
    listing.notes = seen.notes();
    listing
}

fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b' ' | b'\t'))
}

#[derive(Default)]
struct Seen {
    blank: usize,
    spaces: usize,
    hidden: usize,
    foreign: usize,
    lookalikes: usize,
}

impl Seen {
    fn notes(&self) -> Vec<String> {
        let notes = [
            (self.hidden, "written out that nobody would see", "character"),
            (self.lookalikes, "marked that looks like another", "character"),
            (self.foreign, "underlined as not ASCII", "character"),
            (self.spaces, "of spaces said as a number", "wide gap"),
            (self.blank, "said as a number, in long runs of empty ones", "line"),
        ];
        let found = notes.into_iter().filter(|(number, ..)| *number > 0);
        found.map(|(number, words, of)| format!("{} {words}", count(number as u64, of))).collect()
    }
}

fn put_line(markup: &mut Markup, line: &str, seen: &mut Seen) {
    let mut rest = line;
    while let Some(at) = rest.find(is_gap) {
        let gap = &rest[at..rest.len() - rest[at..].trim_start_matches(is_gap).len()];
        put_words(markup, &rest[..at], seen);
        put_gap(markup, gap, seen);
        rest = &rest[at + gap.len()..];
    }
    put_words(markup, rest, seen);
}

fn is_gap(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// Spaces and tabs: a tab is seen, and of a wide gap, how wide it is.
fn put_gap(markup: &mut Markup, gap: &str, seen: &mut Seen) {
    let tabs = gap.matches('\t').count();
    let width = gap.len() - tabs + tabs * TAB;
    if width < WIDE {
        for part in gap.split_inclusive('\t') {
            markup.text(part.trim_end_matches('\t'));
            markup.put(if part.ends_with('\t') { "<span class=\"tab\">\t</span>" } else { "" });
        }
        return;
    }
    seen.spaces += 1;
    let spaces = match tabs {
        0 => format!("{width} spaces"),
        tabs => format!(
            "{} and {}",
            count(tabs as u64, "tab"),
            count((gap.len() - tabs) as u64, "space")
        ),
    };
    markup.put(format_args!("<mark class=\"hid\">{spaces}</mark>"));
}

/// What has neither in it. Characters of one sort that follow each other are marked together: a
/// text that is all marks is not many times as long.
fn put_words(markup: &mut Markup, text: &str, seen: &mut Seen) {
    let mut stretches = visible::stretches(text).peekable();
    while let Some(stretch) = stretches.next() {
        match stretch {
            Stretch::Plain(text) => markup.text(text),
            Stretch::Foreign(c) => {
                let mut run = String::from(c);
                while let Some(Stretch::Foreign(c)) =
                    stretches.next_if(|next| matches!(next, Stretch::Foreign(_)))
                {
                    run.push(c);
                }
                seen.foreign += run.chars().count();
                markup.put("<u>");
                markup.text(&run);
                markup.put("</u>");
            }
            Stretch::Lookalike(c, ascii) => {
                let (mut run, mut taken_for) = (String::from(c), String::from(ascii));
                while let Some(Stretch::Lookalike(c, ascii)) =
                    stretches.next_if(|next| matches!(next, Stretch::Lookalike(..)))
                {
                    run.push(c);
                    taken_for.push(ascii);
                }
                seen.lookalikes += run.chars().count();
                put_alike(markup, &run, &taken_for);
            }
            Stretch::Hidden(number) => {
                let mut run = number;
                seen.hidden += 1;
                while let Some(Stretch::Hidden(number)) =
                    stretches.next_if(|next| matches!(next, Stretch::Hidden(_)))
                {
                    seen.hidden += 1;
                    run.push_str(&number);
                }
                markup.put("<mark class=\"hid\">");
                markup.text(&run);
                markup.put("</mark>");
            }
        }
    }
}

fn put_alike(markup: &mut Markup, run: &str, taken_for: &str) {
    let numbers: Vec<String> =
        run.chars().take(ALIKE).map(|c| format!("U+{:04X}", u32::from(c))).collect();
    let more = if run.chars().count() > ALIKE { " …" } else { "" };
    let taken_for: String = taken_for.chars().take(ALIKE).collect();
    markup.put(format_args!("<mark class=\"alike\" data-is=\"{}{more}, not ", numbers.join(" ")));
    markup.text(&taken_for);
    markup.put(format_args!("{more}\">"));
    markup.text(run);
    markup.put("</mark>");
}

/// `1204331` as `1,204,331`.
pub(crate) fn digits(number: u64) -> String {
    let plain = number.to_string();
    let mut grouped = String::with_capacity(plain.len() + plain.len() / 3);
    for (nth, digit) in plain.chars().enumerate() {
        if nth > 0 && (plain.len() - nth).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 row`, `2 rows`.
pub(crate) fn count(number: u64, word: &str) -> String {
    format!("{} {word}{}", digits(number), if number == 1 { "" } else { "s" })
}

/// So many seconds, as people say them.
pub(crate) fn length(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", (seconds + 30) / 60),
        7200..172_800 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} days", (seconds + 43_200) / 86_400),
    }
}

/// A moment, on the ledger's clock.
#[derive(Clone, Debug)]
pub(crate) struct When {
    /// For programs.
    pub(crate) iso: String,
    /// For people.
    pub(crate) words: String,
    /// The time of day alone, where the day is known.
    pub(crate) clock: String,
    /// How long ago, or how long until then.
    pub(crate) away: String,
}

impl When {
    pub(crate) fn seen_from(at: Timestamp, now: Timestamp) -> When {
        let away = now.duration_since(at).as_secs();
        let long = length(away.unsigned_abs());
        When {
            iso: format!("{at:.3}"),
            words: at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            clock: at.strftime("%H:%M UTC").to_string(),
            away: if away < 0 { format!("in {long}") } else { format!("{long} ago") },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_text_is_only_text() {
        let listing = listing("</ol><script>alert(1)</script>\u{202e}\n'\"&\u{1b}[2J d\u{440}op");
        let shown = listing.markup.to_string();
        assert_eq!(
            shown,
            "<ol start=\"1\"><li>&lt;/ol&gt;&lt;script&gt;alert(1)&lt;/script&gt;\
             <mark class=\"hid\">\\u{202e}</mark><li>&#39;&quot;&amp;\
             <mark class=\"hid\">\\u{1b}</mark>[2J d\
             <mark class=\"alike\" data-is=\"U+0440, not p\">\u{440}</mark>op</ol>"
        );
        assert_eq!(listing.lines, 2);
        assert_eq!(listing.notes.len(), 2, "{:?}", listing.notes);
    }

    #[test]
    fn nothing_is_pushed_out_of_sight() {
        let text = format!(
            "select 1;{}drop table a;{}drop table b;",
            " ".repeat(3000),
            "\n \n".repeat(500)
        );
        let listing = listing(&text);
        let shown = listing.markup.to_string();
        assert!(shown.contains("3000 spaces"), "{shown}");
        assert!(shown.contains("lines 2 to 1000 are empty"), "{shown}");
        assert!(shown.contains("<ol start=\"1001\"><li>drop table b;</ol>"), "{shown}");
        assert!(shown.len() < 400, "{shown}");
    }

    #[test]
    fn tabs_push_nothing_out_of_sight_either_and_are_seen() {
        let shown = listing(&format!("a{}b\tc", "\t".repeat(3000))).markup.to_string();
        assert!(shown.contains("<mark class=\"hid\">3,000 tabs and 0 spaces</mark>b"), "{shown}");
        assert!(shown.ends_with("b<span class=\"tab\">\t</span>c</ol>"), "{shown}");
    }

    #[test]
    fn a_text_that_is_all_marks_does_not_grow_beyond_measure() {
        let text = "\u{440}".repeat(1_000_000);
        let length = listing(&text).markup.to_string().len();
        assert!(length < text.len() + 1000, "{length}");
    }

    #[test]
    fn names_that_are_made_of_lookalikes_are_told_apart() {
        assert_eq!(Text::of("\u{43e}rders").to_string(), "\\u{43e}rders");
        assert_eq!(Text::of("\u{441}\u{43e}\u{440}\u{443}").to_string().matches("\\u{").count(), 4);
        let russian = "\u{43f}\u{440}\u{438}\u{43a}\u{430}\u{437}";
        assert_eq!(Text::of(russian).to_string(), russian);
    }

    #[test]
    fn every_line_is_there_under_its_number() {
        let text: String = (1..=1000).map(|n| format!("line {n}\n")).collect();
        let shown = listing(&text).markup.to_string();
        assert_eq!(shown.matches("<li>").count(), 1000);
        for group in shown.split("<ol start=\"").skip(1) {
            let (start, rest) = group.split_once("\"><li>line ").unwrap();
            assert!(rest.starts_with(&format!("{start}<")), "{group}");
        }
    }

    #[test]
    fn numbers_and_times_are_said_as_people_say_them() {
        assert_eq!([0, 999, 1000, 1_204_331].map(digits), ["0", "999", "1,000", "1,204,331"]);
        assert_eq!(
            [59, 119, 120, 7200, 172_800].map(length),
            ["59 s", "119 s", "2 min", "2 h", "2 days"]
        );
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let later = Timestamp::from_second(1_800_000_060).unwrap();
        assert_eq!(When::seen_from(later, now).away, "in 60 s");
        assert_eq!(When::seen_from(now, later).away, "60 s ago");
        assert_eq!(Text::of("abcdefghij").cut(5), "ab…ij");
    }
}
