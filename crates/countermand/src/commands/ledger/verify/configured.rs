//! Configurations as the ledger tells them: whose keys count since when, and that people let each of
//! them be in force.
//!
//! Whoever has the gateway can write an entry. Were one enough to make a key count, every signature
//! after it would be worth nothing: so a configuration comes into force by what people signed, by the
//! same rule that the gateway goes by. Without that one comes only before the first agent, or as the
//! first that the ledger of an older gateway tells of.

use super::stated::{at, shown};
use countermand_core::configuration::{Enrolment, Proposed, Signers, Waits};
use countermand_core::name::HumanName;
use countermand_ledger::leaf::Leaf;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Who is alone is asked for a moment before it is recorded.
const BEFORE: SignedDuration = SignedDuration::from_mins(1);
/// How long who is new waits until they count.
const WAIT: SignedDuration = SignedDuration::from_hours(24);

/// What is in force, and what waits to be.
#[derive(Default)]
pub(super) struct Configured {
    /// Whose keys count, since an entry said so.
    enrolment: Option<Enrolment>,
    /// Them, each with whose it is.
    keys: BTreeSet<(String, String)>,
    /// From when on each person is one.
    people: BTreeMap<String, Timestamp>,
    /// The digest of the one in force, since an entry told of one.
    in_force: Option<Value>,
    waiting: Option<Waiting>,
    /// The number of the last.
    number: u64,
    let_in: bool,
}

struct Waiting {
    digest: Value,
    replaces: Value,
    proposed: Proposed,
    /// How it differs, in the words that each human signed.
    words: Vec<Vec<String>>,
}

impl Configured {
    pub(super) fn enrolment(&self) -> Option<&Enrolment> {
        self.enrolment.as_ref()
    }

    /// Whether one human may have been all there was at this time. Where no entry says who there is,
    /// nobody knows.
    pub(super) fn may_be_alone(&self, now: Timestamp) -> bool {
        let before = now.saturating_sub(BEFORE).unwrap_or(now);
        self.people.values().filter(|since| **since <= before).count() <= 1
    }

    /// An entry of the ledger, in its order; its statement, if it takes one, is of what it tells.
    pub(super) fn read(&mut self, leaf: &Leaf) -> Result<(), String> {
        match leaf.kind() {
            "agent.added" => self.let_in = true,
            "config.proposed" => self.proposed(leaf)?,
            "config.approved" => self.approved(leaf)?,
            "config.stopped" => self.waiting = None,
            "config.applied" => self.applied(leaf)?,
            _ => {}
        }
        Ok(())
    }

    fn proposed(&mut self, leaf: &Leaf) -> Result<(), String> {
        let (digest, replaces) = (at(leaf, "/digest").clone(), at(leaf, "/replaces").clone());
        if self.waiting.is_some() {
            return Err("another configuration waits".to_owned());
        }
        if self.in_force.as_ref() != Some(&replaces) {
            let replaces = shown(&replaces);
            return Err(format!("it replaces configuration {replaces}, which is not in force"));
        }
        let proposed = Proposed {
            editor: human(leaf, "/editor")?,
            at: leaf.at(),
            loosens: at(leaf, "/loosens") != &Value::Bool(false),
            approval: None,
        };
        self.number += 1;
        self.waiting = Some(Waiting { digest, replaces, proposed, words: vec![words(leaf)] });
        Ok(())
    }

    fn approved(&mut self, leaf: &Leaf) -> Result<(), String> {
        let approval = (human(leaf, "/human")?, leaf.at());
        let waiting = waiting(&mut self.waiting, self.number, leaf)?;
        if waiting.proposed.editor != human(leaf, "/editor")? {
            return Err("another human wrote it".to_owned());
        }
        waiting.proposed.approval = Some(approval);
        waiting.words.push(words(leaf));
        Ok(())
    }

    /// Another configuration is in force: whose keys count from now on.
    fn applied(&mut self, leaf: &Leaf) -> Result<(), String> {
        let unsigned = at(leaf, "/unsigned") == &Value::Bool(true);
        match unsigned {
            true => self.may_be_unsigned()?,
            false => self.was_let(leaf)?,
        }
        self.number += u64::from(unsigned);
        let words = self.waiting.take().map(|waiting| waiting.words);
        self.in_force = Some(at(leaf, "/digest").clone());
        self.tells_signers(leaf, words.filter(|_| !unsigned))
    }

    fn may_be_unsigned(&self) -> Result<(), String> {
        if self.let_in && self.in_force.is_some() {
            return Err("nobody signed it, and an agent was let in before: its keys are nobody's"
                .to_owned());
        }
        Ok(())
    }

    /// Whether people let it be in force, as the gateway asks of itself: who wrote it has signed, and
    /// where it loosens another has too, or one human is alone, and it has cooled.
    fn was_let(&mut self, leaf: &Leaf) -> Result<(), String> {
        let alone = self.may_be_alone(leaf.at());
        let Proposed { editor, approval, .. } = {
            let proposed = &waiting(&mut self.waiting, self.number, leaf)?.proposed;
            let waits = |alone| {
                // Nobody can say who reviewed then, and since when a gateway ran.
                let until = proposed.waits(leaf.at(), Timestamp::MIN, alone, |_| true);
                !matches!(until, Waits::Until(then) if then <= leaf.at())
            };
            if waits(false) && (!alone || waits(true)) {
                return Err(
                    "it loosens, and no other human let it be in force, or it did not cool"
                        .to_owned(),
                );
            }
            proposed.clone()
        };
        let by =
            |human: Option<&HumanName>| human.map_or(Value::Null, |human| human.as_str().into());
        let second = approval.as_ref().map(|(human, _)| human);
        if *at(leaf, "/editor") != by(Some(&editor)) || *at(leaf, "/human") != by(second) {
            return Err("others wrote or approved it than signed".to_owned());
        }
        Ok(())
    }

    /// Whose keys count from now on; `words` are those under which people let it be in force.
    fn tells_signers(
        &mut self,
        leaf: &Leaf,
        words: Option<Vec<Vec<String>>>,
    ) -> Result<(), String> {
        let said = match (leaf.body().get("signers"), &self.enrolment) {
            (Some(said), _) => said,
            // Once it is told, it is told each time: else any key would count again.
            (None, Some(_)) => {
                return Err(
                    "it does not say whose keys count, and an entry before it did".to_owned()
                );
            }
            (None, None) => return Ok(()),
        };
        let signers: Signers = serde_json::from_value(said.clone())
            .map_err(|error| format!("its signers: {error}"))?;
        let keys = pairs(said);
        // Of those who are told of for the first time nobody knows which are new.
        let first = self.enrolment.is_none();
        if let Some(words) = words.as_ref().filter(|_| !first) {
            keys.symmetric_difference(&self.keys).try_for_each(|moved| was_said(moved, words))?;
        }
        let enrolment = self.enrolment.get_or_insert_default();
        enrolment.apply_signers(&signers, leaf.at(), words.is_none() || first);
        let from = match words {
            None => Timestamp::MIN,
            Some(_) => leaf.at().saturating_add(WAIT).unwrap_or(Timestamp::MAX),
        };
        let known = std::mem::take(&mut self.people);
        let since = |name: &String| (name.clone(), known.get(name).copied().unwrap_or(from));
        self.people = keys.iter().map(|(name, _)| since(name)).collect();
        self.keys = keys;
        Ok(())
    }
}

/// Humans with each of their keys, as an entry says them.
fn pairs(signers: &Value) -> BTreeSet<(String, String)> {
    let keys = |keys: &Value| -> Vec<String> {
        let keys = keys.as_array().into_iter().flatten().filter_map(Value::as_str);
        keys.map(str::to_owned).collect()
    };
    let of = |(name, lines): (&String, &Value)| {
        let name = name.clone();
        keys(lines).into_iter().map(move |line| (name.clone(), line))
    };
    signers.as_object().into_iter().flatten().flat_map(of).collect()
}

/// How a configuration differs from the one before it, in the words of what was signed.
fn words(leaf: &Leaf) -> Vec<String> {
    let statement = at(leaf, "/statement").as_str().unwrap_or_default();
    let statement: Value = serde_json::from_str(statement).unwrap_or_default();
    let words = statement.pointer("/subject/differences").and_then(Value::as_array);
    words.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether everybody who signed read that this key of this human comes or goes: the configuration's
/// digest is signed, and its text lies sealed, so an entry could tell of other keys than it names.
fn was_said((name, line): &(String, String), words: &[Vec<String>]) -> Result<(), String> {
    let places = [name.clone(), Value::from(name.as_str()).to_string()];
    let place = |words: &str| {
        let said =
            words.strip_prefix("loosens: `people.").and_then(|said| said.split_once(".keys`"));
        said.is_some_and(|(whose, said)| {
            places.iter().any(|at| at == whose)
                && line.split_whitespace().all(|word| said.contains(word))
        })
    };
    match words.iter().all(|signed| signed.iter().any(|words| place(words))) {
        true => Ok(()),
        false => {
            let (name, line) = (shown(&json!(name)), shown(&json!(line)));
            Err(format!("nobody signed that {line} comes to {name}, or goes"))
        }
    }
}

/// The one that waits, if it is what this entry is about.
fn waiting<'a>(
    waiting: &'a mut Option<Waiting>,
    number: u64,
    leaf: &Leaf,
) -> Result<&'a mut Waiting, String> {
    let waiting = waiting.as_mut().ok_or("nobody proposed it")?;
    for (path, said) in [
        ("/configuration", &Value::from(number)),
        ("/digest", &waiting.digest),
        ("/replaces", &waiting.replaces),
    ] {
        let told = at(leaf, path);
        if told != said {
            let (told, said, name) = (shown(told), shown(said), path.trim_start_matches('/'));
            return Err(format!("its `{name}` is {told}, and {said} was proposed"));
        }
    }
    Ok(waiting)
}

fn human(leaf: &Leaf, path: &str) -> Result<HumanName, String> {
    let name = at(leaf, path).as_str().unwrap_or_default();
    HumanName::new(name).map_err(|error| error.to_string())
}
