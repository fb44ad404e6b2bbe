//! Texts that an agent, or whoever it listened to, wrote: shown so that they cannot be anything
//! but what they are.
//!
//! A terminal obeys control characters; bidirectional and zero-width ones make a text look like
//! another one, on a page too. Every text from outside goes through here before it is shown.

use std::fmt::Write as _;

/// A text on one line: whatever is not plainly visible becomes `\u{…}`, line ends included.
pub fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut shown, c));
    shown
}

/// A text of names and words on one line, as by [`line()`], where a letter that is taken for another
/// one is written out by its number too: beside letters of ASCII, or where a word has no others.
pub fn told(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    for (is_word, part) in words(text) {
        let alike = |c: char| lookalike(c).is_some();
        let deceives = is_word
            && part.chars().any(alike)
            && (part.chars().any(|c| c.is_ascii_alphanumeric())
                || part.chars().all(|c| alike(c) || !c.is_alphabetic()));
        for c in part.chars() {
            match deceives && alike(c) {
                true => {
                    let _ = write!(told, "\\u{{{:x}}}", u32::from(c));
                }
                false => push(&mut told, c),
            }
        }
    }
    told
}

/// The words of a text and what stands between them, in order.
fn words(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        let is_word = in_word(rest.chars().next()?);
        let length = rest.find(|c| in_word(c) != is_word).unwrap_or(rest.len());
        let (part, left) = rest.split_at(length);
        rest = left;
        Some((is_word, part))
    })
}

/// The lines of a text, each as by `line`. Only a newline ends one; nothing is left out.
pub fn lines(text: &str) -> Vec<String> {
    text.strip_suffix('\n').unwrap_or(text).split('\n').map(line).collect()
}

fn push(shown: &mut String, c: char) {
    match c {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("    "),
        c if is_plain(c) => shown.push(c),
        c => {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// A stretch of a line, as it is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stretch<'a> {
    /// Plain ASCII.
    Plain(&'a str),
    /// Plainly visible, and outside ASCII.
    Foreign(char),
    /// Outside ASCII, and easily taken for this.
    Lookalike(char, char),
    /// Not visible, or changes what is: shown by its number, as by [`line()`].
    Hidden(String),
}

/// The stretches of a line. What they show, put together, is what [`line()`] shows.
pub fn stretches(text: &str) -> impl Iterator<Item = Stretch<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let plain = |c: char| (' '..='~').contains(&c);
        let length = rest.find(|c| !plain(c)).unwrap_or(rest.len());
        let taken = if length > 0 { length } else { first.len_utf8() };
        let (stretch, left) = rest.split_at(taken);
        rest = left;
        Some(match first {
            c if plain(c) => Stretch::Plain(stretch),
            '\t' => Stretch::Plain("    "),
            c if !is_plain(c) => Stretch::Hidden(line(stretch)),
            c => lookalike(c).map_or(Stretch::Foreign(c), |ascii| Stretch::Lookalike(c, ascii)),
        })
    })
}

/// The ASCII letter, digit or sign that this character is easily taken for.
fn lookalike(c: char) -> Option<char> {
    // The whole of ASCII once more, wide.
    if let '\u{ff01}'..='\u{ff5e}' = c {
        return char::from_u32(u32::from(c) - 0xfee0);
    }
    LOOKALIKES.iter().find(|(foreign, _)| foreign.contains(c)).map(|(_, ascii)| *ascii)
}

/// Letters of other scripts by what they are taken for, and signs that end or begin what they do
/// not. The most common ones: whatever is not ASCII is marked as such in any case.
const LOOKALIKES: [(&str, char); 51] = [
    ("аɑα", 'a'),
    ("АΑ", 'A'),
    ("ВΒ", 'B'),
    ("сϲ", 'c'),
    ("СϹ", 'C'),
    ("ԁ", 'd'),
    ("еҽ", 'e'),
    ("ЕΕ", 'E'),
    ("ɡ", 'g'),
    ("һ", 'h'),
    ("НΗ", 'H'),
    ("іıɩι", 'i'),
    ("ІΙ", 'I'),
    ("ј", 'j'),
    ("Ј", 'J'),
    ("кκ", 'k'),
    ("КΚ", 'K'),
    ("ӏ", 'l'),
    ("МΜ", 'M'),
    ("ոп", 'n'),
    ("Ν", 'N'),
    ("оοօ", 'o'),
    ("ОΟ", 'O'),
    ("рρ", 'p'),
    ("РΡ", 'P'),
    ("ԛ", 'q'),
    ("Ԛ", 'Q'),
    ("г", 'r'),
    ("ѕ", 's'),
    ("Ѕ", 'S'),
    ("т", 't'),
    ("ТΤ", 'T'),
    ("υս", 'u'),
    ("νѵ", 'v'),
    ("ѡԝ", 'w'),
    ("Ԝ", 'W'),
    ("хχ", 'x'),
    ("ХΧ", 'X'),
    ("уγ", 'y'),
    ("УΥҮ", 'Y'),
    ("Ζ", 'Z'),
    ("З", '3'),
    ("ʼ’‘´′", '\''),
    ("“”″", '"'),
    ("‐‑‒–—−", '-'),
    ("\u{37e}", ';'),
    ("։", ':'),
    ("∗", '*'),
    ("⁄∕", '/'),
    ("‚", ','),
    ("․", '.'),
];

/// Whether a character looks like itself and moves nothing but the cursor by its own width.
fn is_plain(c: char) -> bool {
    !c.is_control() && !INVISIBLE.iter().any(|&(first, last)| (first..=last).contains(&c))
}

/// What is not seen, or changes how others are seen, beside the control characters: Unicode's
/// `Default_Ignorable_Code_Point`, bidirectional and other format characters, separators that are
/// not a space, spaces of other widths, fillers, and what has no agreed look (private use).
const INVISIBLE: [(char, char); 31] = [
    ('\u{a0}', '\u{a0}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2000}', '\u{200f}'),
    ('\u{2028}', '\u{202f}'),
    ('\u{205f}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{e000}', '\u{f8ff}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffc}'),
    ('\u{110bd}', '\u{110cd}'),
    ('\u{13430}', '\u{1345f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d159}', '\u{1d159}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
    ('\u{f0000}', '\u{10ffff}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_or_hides() {
        let hostile = "a\u{1b}[2Kb\u{202e}c\u{200b}d\re\u{feff}f\u{e0041}g\u{85}h\u{2028}i\u{7f}";
        assert_eq!(
            line(hostile),
            "a\\u{1b}[2Kb\\u{202e}c\\u{200b}d\\re\\u{feff}f\\u{e0041}g\\u{85}h\\u{2028}i\\u{7f}"
        );
        assert_eq!(lines("a\n\u{9b}1m\n\nb\n"), ["a", "\\u{9b}1m", "", "b"]);
    }

    #[test]
    fn stretches_hide_nothing_and_tell_what_is_taken_for_something_else() {
        use Stretch::{Foreign, Hidden, Lookalike, Plain};
        let found: Vec<_> = stretches("dr\u{43e}p ä\u{202e}\tx\u{ff1b}").collect();
        let expected = [
            Plain("dr"),
            Lookalike('\u{43e}', 'o'),
            Plain("p "),
            Foreign('ä'),
            Hidden("\\u{202e}".to_owned()),
            Plain("    "),
            Plain("x"),
            Lookalike('\u{ff1b}', ';'),
        ];
        assert_eq!(found, expected);
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let text = format!("a{c}b");
            let mut shown = String::new();
            for stretch in stretches(&text) {
                match stretch {
                    Plain(text) => shown.push_str(text),
                    Foreign(c) | Lookalike(c, _) => shown.push(c),
                    Hidden(number) => shown.push_str(&number),
                }
            }
            assert_eq!(shown, line(&text));
        }
        for (foreign, ascii) in LOOKALIKES {
            assert!(ascii.is_ascii() && foreign.chars().all(|c| !c.is_ascii() && is_plain(c)));
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in ["select 'ä€漢'", "naïve — “quotes”", "emoji 🦀"] {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn every_character_that_is_escaped_can_be_told_apart() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|&c| !is_plain(c)) {
            let shown = line(&c.to_string());
            assert!(shown.is_ascii() && shown.chars().all(|c| !c.is_control()), "{:x}", c as u32);
        }
    }
}
