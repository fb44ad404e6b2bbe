//! As much of Rust's syntax as the rules need: which paths does the code name, and where?

/// Rust source in which comments and literals are blank. Lines stay where they were.
pub(crate) struct Code(Vec<char>);

/// A path that the code names, `std::fs::File`, with groups of a `use` taken apart.
#[derive(Debug, PartialEq)]
pub(crate) struct NamedPath {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

impl NamedPath {
    /// Whether the path is this one or goes on from it. A lone name is no crate: it may be a
    /// variable.
    pub(crate) fn starts_with(&self, prefix: &[&str]) -> bool {
        self.segments.len() > 1
            && self.segments.len() >= prefix.len()
            && self.segments.iter().zip(prefix).all(|(segment, wanted)| segment == wanted)
    }

    /// Whether these segments stand next to each other anywhere in it.
    pub(crate) fn contains(&self, run: &[&str]) -> bool {
        self.segments.windows(run.len()).any(|window| window == run)
    }
}

impl Code {
    pub(crate) fn of(source: &str) -> Code {
        let mut chars: Vec<char> = source.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let end = literal_or_comment(&chars, at);
            blank(&mut chars[at..end]);
            at = end.max(at + 1);
        }
        Code(chars)
    }

    pub(crate) fn without_tests(mut self) -> Code {
        let attribute: Vec<char> = "#[cfg(test)]".chars().collect();
        let mut at = 0;
        while at + attribute.len() <= self.0.len() {
            if self.0[at..].starts_with(&attribute) {
                let end = end_of_item(&self.0, at + attribute.len());
                blank(&mut self.0[at..end]);
                at = end;
            } else {
                at += 1;
            }
        }
        self
    }

    /// The text, with everything else blank, line by line.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.iter().collect::<String>().lines().map(str::to_owned).collect()
    }

    pub(crate) fn paths(&self) -> Vec<NamedPath> {
        let tokens = self.tokens();
        let mut paths = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let (line, token) = &tokens[at];
            if token == "use" {
                at = use_tree(&tokens, at + 1, Vec::new(), &mut paths);
            } else if is_name(token) {
                let mut segments = vec![token.clone()];
                while at + 2 < tokens.len()
                    && tokens[at + 1].1 == "::"
                    && is_name(&tokens[at + 2].1)
                {
                    segments.push(tokens[at + 2].1.clone());
                    at += 2;
                }
                paths.push(NamedPath { line: *line, segments });
                at += 1;
            } else {
                at += 1;
            }
        }
        paths
    }

    fn tokens(&self) -> Vec<(usize, String)> {
        let mut tokens = Vec::new();
        let (mut line, mut at) = (1, 0);
        while let Some(&c) = self.0.get(at) {
            let rest = &self.0[at..];
            let length = match c {
                c if is_name_char(c) => rest.iter().take_while(|c| is_name_char(**c)).count(),
                ':' if rest.get(1) == Some(&':') => 2,
                _ => 1,
            };
            if c == '\n' {
                line += 1;
            } else if !c.is_whitespace() {
                tokens.push((line, rest[..length].iter().collect()));
            }
            at += length;
        }
        tokens
    }
}

/// Reads one tree of a `use`, adds the paths in it, and returns where it ends.
fn use_tree(
    tokens: &[(usize, String)],
    mut at: usize,
    mut prefix: Vec<String>,
    paths: &mut Vec<NamedPath>,
) -> usize {
    let line = tokens.get(at).map_or(0, |(line, _)| *line);
    while let Some((_, token)) = tokens.get(at) {
        match token.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|(_, token)| token != "}" && token != ";") {
                    at = use_tree(tokens, at, prefix.clone(), paths);
                    at += usize::from(tokens.get(at).is_some_and(|(_, token)| token == ","));
                }
                return at + 1;
            }
            "}" | "," | ";" => break,
            "as" => at += 2,
            name if is_name(name) || name == "*" => {
                prefix.push(name.to_owned());
                at += 1;
            }
            _ => at += 1,
        }
    }
    paths.push(NamedPath { line, segments: prefix });
    at
}

/// Where the comment or literal that starts here ends; here, if none does.
fn literal_or_comment(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1);
    let after_name = at > 0 && is_name_char(chars[at - 1]);
    match chars[at] {
        '/' if next == Some(&'/') => find(chars, at, '\n'),
        '/' if next == Some(&'*') => end_of_block_comment(chars, at),
        'r' if !after_name || matches!(chars[at - 1], 'b' | 'c') => end_of_raw_string(chars, at),
        '"' => end_of_quoted(chars, at, '"'),
        // Otherwise a lifetime.
        '\'' if next == Some(&'\\') || chars.get(at + 2) == Some(&'\'') => {
            end_of_quoted(chars, at, '\'')
        }
        _ => at,
    }
}

fn find(chars: &[char], from: usize, wanted: char) -> usize {
    chars[from..].iter().position(|c| *c == wanted).map_or(chars.len(), |offset| from + offset)
}

fn end_of_quoted(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// `r"…"`, `r#"…"#`; `r#name` is none.
fn end_of_raw_string(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return start;
    }
    let mut at = open + 1;
    while at < chars.len() {
        let closes = chars[at] == '"'
            && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        if closes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    chars.len()
}

/// Where the item that starts here ends: at its semicolon or with its body.
fn end_of_item(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    for (at, c) in chars.iter().enumerate().skip(start) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    chars.len()
}

fn blank(chars: &mut [char]) {
    for c in chars.iter_mut().filter(|c| **c != '\n') {
        *c = ' ';
    }
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_name(token: &str) -> bool {
    token.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        let paths = Code::of(source).without_tests().paths();
        paths.into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn groups_of_a_use_are_taken_apart() {
        let expected = ["std::fs::File", "std::io::self", "std::io::Read", "std::net::*", "f"];
        assert_eq!(paths("use std::{fs::File as F, io::{self, Read}, net::*}; f"), expected);
    }

    #[test]
    fn a_path_has_the_line_it_stands_on() {
        let found = Code::of("\n\nuse std::{\n    fs,\n    net,\n};\nlet x = a::b();").paths();
        let at = |name: &str| found.iter().find(|p| p.segments.last().unwrap() == name).unwrap();
        assert_eq!((at("fs").line, at("net").line, at("b").line), (4, 5, 7));
    }

    #[test]
    fn comments_and_literals_name_nothing() {
        let source = r####"// a::a
            /* b::b /* c::c */ d::d */ e("f::f \" g::g", r#"h::h " "#, 'i', '\'', b"j", br"k");"####;
        assert_eq!(paths(source), ["e", "b", "b"]);
    }

    #[test]
    fn a_lifetime_opens_no_literal() {
        assert_eq!(paths("fn f<'a>(x: &'a str) { std::fs::read(x) }")[6], "std::fs::read");
    }

    #[test]
    fn what_is_for_tests_only_is_left_out_and_what_follows_is_not() {
        let source = "#[cfg(test)]\n#[derive(D)]\nmod t { fn f() { a::b(); } }\nc::d();\
                      #[cfg(test)] use e::f; g::h";
        assert_eq!(paths(source), ["c::d", "g::h"]);
        assert_eq!(paths("#[cfg(not(test))] a::b"), ["cfg", "not", "test", "a::b"]);
    }

    #[test]
    fn unfinished_source_is_read_to_its_end() {
        for source in [
            "use a::{b",
            "use",
            "use {,};",
            "use a::{b;",
            "\"",
            "r#\"",
            "/*",
            "'",
            "#[cfg(test)]",
            "use }",
        ] {
            paths(source);
        }
    }
}
