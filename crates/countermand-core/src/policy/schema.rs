//! The Cedar schema: generated from the catalogue of verbs and the configured reviewer groups,
//! so that a policy cannot name an action or a group that does not exist.

use crate::effect::Effect;
use crate::name::GroupName;
use crate::verb::{Verb, postgres};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Everything but the actions and the groups.
const ENTITIES: &str = "\
entity Sponsor;
entity Agent in [Sponsor];
entity Environment { name: String, disposable: Bool };
entity Target in [Environment] { name: String, tags: Set<String> };
entity Resource in [Target] {
  kind: String,
  name: String,
  environment: Environment,
  target: Target,
  tags: Set<String>,
};
";

/// The facts of a unit beside its evidence; the names are those of [`crate::evidence::Facts`],
/// and `beyond_limits` is [`super::Measured::Beyond`].
const FACTS: &str = "\
  evidence: Evidence,
  solo: Bool,
  roots: Long,
  reversible: Bool,
  recovery_seconds: Long,
  rehearsable: Bool,
  unavailable: Bool,
  beyond_limits: Bool,
  adopted: Bool,
";

/// The schema as Cedar writes it.
pub(super) fn text(groups: &BTreeSet<GroupName>) -> String {
    let mut text = String::from(ENTITIES);
    text.push_str(&evidence(groups));
    text.push_str("type Question = {\n");
    text.push_str(FACTS);
    text.push_str("};\n");
    for effect in Effect::ALL {
        text.push_str(&action(effect.group(), judged_as(effect)));
    }
    for verb in Verb::all() {
        text.push_str(&action(verb.name(), Some(verb.effect())));
        if let Some((name, effect)) = within_limits(verb) {
            text.push_str(&action(name, Some(effect)));
        }
    }
    text
}

/// The action and the effect that a verb has instead of its own once its unit is measured within
/// limits, and its before-images are kept. The only way for measurement to lower an effect.
pub(super) fn within_limits(verb: Verb) -> Option<(&'static str, Effect)> {
    (verb == postgres::DELETE).then_some(("postgres:DeleteWithinLimits", Effect::Write))
}

/// The group that holds an effect's own group: what is not understood is judged as what
/// destroys, in every policy that names `Action::"Destroy"`.
fn judged_as(effect: Effect) -> Option<Effect> {
    (effect == Effect::Opaque).then_some(Effect::Destroy)
}

/// An action. Groups apply to requests too (none is ever made with one), so that a policy about
/// a group whose verbs are still to come is not refused as applying to nothing.
fn action(name: &str, group: Option<Effect>) -> String {
    let parent = group.map_or(String::new(), |effect| format!(" in [\"{}\"]", effect.group()));
    format!(
        "action \"{name}\"{parent} appliesTo \
         {{ principal: [Agent], resource: [Resource], context: Question }};\n"
    )
}

fn evidence(groups: &BTreeSet<GroupName>) -> String {
    let mut counts = String::new();
    for group in groups {
        // Names may hold `-` and `.`, so they are always quoted.
        write!(counts, " \"{group}\": Long,").expect("writing to a string does not fail");
    }
    format!(
        "type Evidence = {{\n  approvals: {{ peers: Long, groups: {{{counts} }} }},\n  \
         cooled_seconds: Long,\n  restore_point: {{ trial: Bool, verified: Bool }},\n  \
         rehearsed: Bool,\n  confirmed: Bool,\n  backup_fresh: Bool,\n}};\n"
    )
}
