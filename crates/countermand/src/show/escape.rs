//! Texts that an agent, or whoever it listened to, wrote: shown so that they cannot be anything
//! but what they are.
//!
//! A terminal obeys control characters; bidirectional and zero-width ones make a text look like
//! another one. Every text from outside goes through here before it is shown.

use std::fmt::Write as _;

/// A text on one line: whatever is not plainly visible becomes `\u{…}`, line ends included.
pub fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut shown, c));
    shown
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
