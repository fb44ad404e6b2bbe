//! How two configurations differ, in words, and which differences allow more than before.
//!
//! What is not known to take something away is taken to loosen.

use super::Configuration;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use std::collections::{BTreeMap, BTreeSet};

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What and how. Values are as somebody wrote them.
    pub words: String,
    /// Whether it may allow anything that was not allowed.
    pub loosens: bool,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.loosens { "loosens" } else { "tightens" };
        write!(f, "{way}: {}", self.words)
    }
}

/// A place in the settings: names of tables, then of the key.
type Path<'a> = Vec<&'a str>;

/// Everything that differs, in the order of the settings, then the policies.
pub fn difference(old: &Configuration, new: &Configuration) -> Vec<Difference> {
    let (before, after) = (leaves(old), leaves(new));
    let paths: BTreeSet<&Path<'_>> = before.keys().chain(after.keys()).collect();
    // A table with nothing in it says nothing that its former members do not say.
    let tells = |path: &&Path<'_>| {
        let within = |other: &&Path<'_>| other.len() > path.len() && other.starts_with(path);
        !before.keys().chain(after.keys()).any(|other| within(&other))
    };
    let settings = paths.into_iter().filter(tells).filter_map(|path| {
        let change = Change { path, old: before.get(path).copied(), new: after.get(path).copied() };
        change.difference(old, new)
    });
    let mut all: Vec<Difference> = settings.collect();
    all.extend(policies(old, new));
    all.extend(alone(old, new));
    all
}

/// Every value that is no table with something in it.
fn leaves(configuration: &Configuration) -> BTreeMap<Path<'_>, &Value> {
    fn collect<'a>(path: &Path<'a>, value: &'a Value, into: &mut BTreeMap<Path<'a>, &'a Value>) {
        match value {
            Value::Object(table) if !table.is_empty() => {
                for (name, value) in table {
                    let mut path = path.clone();
                    path.push(name);
                    collect(&path, value, into);
                }
            }
            leaf => {
                into.insert(path.clone(), leaf);
            }
        }
    }
    let mut into = BTreeMap::new();
    for (name, value) in &configuration.settings {
        collect(&vec![name.as_str()], value, &mut into);
    }
    into
}

/// One value as it was and as it is to be; not both are nothing.
struct Change<'a> {
    path: &'a Path<'a>,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
}

impl Change<'_> {
    fn difference(&self, old: &Configuration, new: &Configuration) -> Option<Difference> {
        if self.old == self.new {
            return None;
        }
        let shown = shown(self.path);
        let mut words = match (self.old, self.new) {
            (Some(Value::Array(old)), Some(Value::Array(new))) => {
                format!("{shown}: {}", members(old, new))
            }
            (Some(old), Some(new)) => format!("{shown}: {old} becomes {new}"),
            (None, Some(new)) => format!("{shown}: {new} is set"),
            (Some(old), None) => format!("{shown}: {old} is no longer set"),
            (None, None) => return None,
        };
        if let Some(consequence) = self.consequence(old, new) {
            words.push_str("; ");
            words.push_str(consequence);
        }
        Some(Difference { words, loosens: !self.tightens(new) })
    }

    /// Whether it is known to only take something away.
    fn tightens(&self, new: &Configuration) -> bool {
        let gone = |table: &str, name: &str| !new.table(table).any(|(known, _)| known == name);
        match self.path.as_slice() {
            ["sponsors", sponsor, ..] if gone("sponsors", sponsor) => true,
            ["sponsors", _, "targets" | "effects"] => self.only_removes(),
            ["targets", _, "disposable"] => self.new != Some(&Value::Bool(true)),
            ["targets", _, "tags"] | ["targets", _, "object_tags", _] => self.only_adds_critical(),
            ["targets", _, "writes", _] | ["targets", _, "writes_of", _, _] => self.is_less(),
            // What is left of it without its days would be no observation at all.
            ["targets", _, "observe", "days"] => self.new.is_none() || self.is_less(),
            ["targets", _, "observe", "session_may_own"] => self.new != Some(&Value::Bool(true)),
            ["targets", _, "observe"] => self.new.is_none(),
            _ => false,
        }
    }

    fn only_removes(&self) -> bool {
        let (old, new) = (set(self.old), set(self.new));
        new.is_subset(&old)
    }

    /// A policy may ask less of what has a tag, but never of what is critical.
    fn only_adds_critical(&self) -> bool {
        let (old, new) = (set(self.old), set(self.new));
        let critical = Value::from("critical").to_string();
        old.is_subset(&new) && new.difference(&old).all(|tag| *tag == critical)
    }

    fn is_less(&self) -> bool {
        let (old, new) = (self.old.and_then(Value::as_u64), self.new.and_then(Value::as_u64));
        matches!((old, new), (Some(old), Some(new)) if new <= old)
    }

    /// What follows from it that its words do not say.
    fn consequence(&self, old: &Configuration, new: &Configuration) -> Option<&'static str> {
        let is_new = |table: &str, name: &str| !old.table(table).any(|(known, _)| known == name);
        let is_gone = |table: &str, name: &str| !new.table(table).any(|(known, _)| known == name);
        Some(match self.path.as_slice() {
            ["people", name, ..] if is_new("people", name) => {
                "a new person, who counts after 24 hours"
            }
            ["people", name, ..] if is_gone("people", name) => "this person can sign nothing more",
            ["people", _, "keys"] => "a key that is new counts after 24 hours",
            ["reviewers", name, ..] if is_gone("reviewers", name) => "no longer a reviewer",
            ["reviewers", ..] => "what is new of it counts after 24 hours",
            ["targets", name, ..] if is_gone("targets", name) => {
                "nobody reaches it by this name; whatever else names the same database is no longer \
                 refused for it"
            }
            ["targets", name, ..] if is_new("targets", name) => "a new target",
            ["targets", _, "disposable"] if self.new == Some(&Value::Bool(true)) => {
                "the floor does not bind there"
            }
            ["targets", _, "observe", "days"] if self.old.is_none() => {
                "OBSERVED: nothing is held there from then on, only what is forbidden is refused"
            }
            ["targets", _, "observe", "days"] if self.new.is_none() => "it is held again there",
            ["targets", _, "observe", "session_may_own"]
                if self.new == Some(&Value::Bool(true)) =>
            {
                "agents' sessions may run as the owner of what they change"
            }
            ["targets", _, "environment"] => "where plain keys count goes by its name",
            ["targets", _, "host" | "port" | "database"] => "another database may be meant",
            _ => return None,
        })
    }
}

/// The members of a list as they are written.
fn set(value: Option<&Value>) -> BTreeSet<String> {
    value.and_then(Value::as_array).into_iter().flatten().map(Value::to_string).collect()
}

/// What a list has more and less than before.
fn members(old: &[Value], new: &[Value]) -> String {
    let list = |title: &str, of: &[Value], not_in: &[Value]| {
        let of: Vec<String> =
            of.iter().filter(|value| !not_in.contains(value)).map(Value::to_string).collect();
        (!of.is_empty()).then(|| format!("{title} {}", of.join(", ")))
    };
    let parts = [list("also", new, old), list("no longer", old, new)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "another order".to_owned() } else { parts.join("; ") }
}

/// A path as it is written in the file.
fn shown(path: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name = |name: &&str| match name.chars().all(plain) && !name.is_empty() {
        true => (*name).to_owned(),
        false => Value::from(*name).to_string(),
    };
    format!("`{}`", path.iter().map(name).collect::<Vec<_>>().join("."))
}

/// A site's policies only forbid: one more takes away, and any other difference may give.
fn policies(old: &Configuration, new: &Configuration) -> Vec<Difference> {
    let files: BTreeSet<&String> = old.policies.keys().chain(new.policies.keys()).collect();
    let difference = |file: &String| {
        let (before, after) = (old.policies.get(file), new.policies.get(file));
        let (how, loosens) = match (before, after) {
            (Some(before), Some(after)) if before == after => return Vec::new(),
            (None, Some(_)) => ("is added", false),
            (Some(_), None) => ("is removed", true),
            _ => ("is another text", true),
        };
        let name = Value::from(file.as_str());
        let text = |text: Option<&String>| text.cloned().unwrap_or_default();
        let whole = Difference { words: format!("policies {name} {how}"), loosens };
        let lines = lines(&name, &text(before), &text(after));
        let lines = lines.into_iter().map(|words| Difference { words, loosens });
        std::iter::once(whole).chain(lines).collect()
    };
    files.into_iter().flat_map(difference).collect()
}

/// What one text has more and less than another, line by line: who signs must see what it says.
fn lines(name: &Value, before: &str, after: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(before, after);
    let changes = diff.iter_all_changes().filter_map(|change| {
        let line = change.value().trim_end();
        let (how, at) = match change.tag() {
            ChangeTag::Equal => return None,
            ChangeTag::Insert => ("now", change.new_index()),
            ChangeTag::Delete => ("no longer", change.old_index()),
        };
        let at = at.map_or(0, |at| at + 1);
        (!line.is_empty()).then(|| format!("policies {name} line {at} {how}: {line}"))
    });
    changes.collect()
}

/// One human who is left alone confirms their own agents' changes.
fn alone(old: &Configuration, new: &Configuration) -> Option<Difference> {
    let words = "one human is left: they confirm their own agents' changes";
    let becomes = old.people().count() != 1 && new.people().count() == 1;
    becomes.then(|| Difference { words: words.to_owned(), loosens: true })
}
