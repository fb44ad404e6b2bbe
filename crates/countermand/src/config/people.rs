//! Who is who: people with their keys, reviewers with their groups, sponsors with their grants.

use super::fault::{ConfigError, Source};
use super::file;
use countermand_core::name::{HumanName, TargetName};
use countermand_core::policy::Grant;
use countermand_engine::key::Key;
use countermand_engine::{Human, Placement};
use std::collections::BTreeMap;

/// Everybody, or the first thing that cannot be so.
pub(super) fn read(
    source: &Source<'_>,
    people: BTreeMap<HumanName, file::Person>,
    reviewers: BTreeMap<HumanName, file::Reviewer>,
    sponsors: BTreeMap<HumanName, file::Sponsor>,
    targets: &BTreeMap<TargetName, Placement>,
) -> Result<BTreeMap<HumanName, Human>, ConfigError> {
    if people.is_empty() {
        let why = "there is nobody: name at least one human as `[people.NAME]` with `keys`";
        return Err(source.at(&["people"], why));
    }
    let mut humans = BTreeMap::new();
    for (name, person) in people {
        let keys = keys(source, &name, &person.keys)?;
        humans.insert(name, Human { keys, ..Human::default() });
    }
    different_keys(source, &humans)?;
    for (name, reviewer) in reviewers {
        let human = known(source, &mut humans, "reviewers", &name)?;
        human.reviewer = true;
        human.groups = reviewer.groups;
    }
    for (name, sponsor) in sponsors {
        if let Some(target) = sponsor.targets.iter().find(|t| !targets.contains_key(*t)) {
            let path = ["sponsors", name.as_str(), "targets"];
            return Err(source.at(
                &path,
                format!("there is no `[targets.{target}]`: add it, or correct the name"),
            ));
        }
        let human = known(source, &mut humans, "sponsors", &name)?;
        human.sponsors = Some(Grant { targets: sponsor.targets, effects: sponsor.effects });
    }
    // Alone, the one human there is confirms their own agent's changes.
    if humans.len() == 1 {
        humans.values_mut().for_each(|human| human.reviewer = true);
    }
    Ok(humans)
}

fn known<'h>(
    source: &Source<'_>,
    humans: &'h mut BTreeMap<HumanName, Human>,
    table: &str,
    name: &HumanName,
) -> Result<&'h mut Human, ConfigError> {
    let unknown = || {
        let why = format!("there is no `[people.{name}]`: add it with their `keys`");
        source.at(&[table, name.as_str()], why)
    };
    humans.get_mut(name).ok_or_else(unknown)
}

fn keys(source: &Source<'_>, name: &HumanName, lines: &[String]) -> Result<Vec<Key>, ConfigError> {
    let path = ["people", name.as_str(), "keys"];
    if lines.is_empty() {
        let why = format!(
            "`{name}` has no key and could sign nothing: add the line of their `.pub` file, or of a \
             passkey"
        );
        return Err(source.at(&path, why));
    }
    let read = |(nth, line): (usize, &String)| {
        line.parse::<Key>()
            .map_err(|error| source.at(&path, format!("key {} of `{name}` {error}", nth + 1)))
    };
    lines.iter().enumerate().map(read).collect()
}

/// Two humans with one key would be one human in two seats.
fn different_keys(
    source: &Source<'_>,
    humans: &BTreeMap<HumanName, Human>,
) -> Result<(), ConfigError> {
    let mut owners: BTreeMap<String, &HumanName> = BTreeMap::new();
    for (name, human) in humans {
        for key in &human.keys {
            match owners.insert(key.fingerprint(), name) {
                // At a second address it would sign for whoever serves that one.
                Some(_) if matches!(key, Key::Passkey(_)) => {
                    let why = format!(
                        "a passkey of `{name}` stands here twice: it signs at the one address that it \
                         was made at"
                    );
                    return Err(source.at(&["people", name.as_str(), "keys"], why));
                }
                Some(other) if other != name => {
                    let why = format!(
                        "`{name}` and `{other}` have the same key: one human fills one seat, so \
                         each needs a key of their own"
                    );
                    return Err(source.at(&["people", name.as_str(), "keys"], why));
                }
                _ => {}
            }
        }
    }
    Ok(())
}
