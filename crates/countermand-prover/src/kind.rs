//! Actions that policies cannot tell apart need one question, not one each.
//!
//! Two actions in the same groups, neither of which any policy at hand names, can change places
//! in every request without changing an answer: actions have no attributes, and a policy reaches
//! one only by its name or its groups. So what is proved of the one is proved of the other.

use crate::claim::{self, ClaimFault};
use cedar_policy::{EntityUid, Policy, Schema};
use std::collections::{BTreeMap, BTreeSet};

/// The hierarchy of a schema's actions.
pub(crate) struct Kinds {
    groups: BTreeMap<String, BTreeSet<String>>,
}

impl Kinds {
    pub(crate) fn of_schema(schema: &Schema) -> Result<Kinds, ClaimFault> {
        let actions = schema.action_entities().map_err(|error| claim::fault("schema", &error))?;
        let groups = actions.iter().map(|action| {
            let groups = actions.ancestors(&action.uid()).into_iter().flatten();
            (name(&action.uid()), groups.map(name).collect())
        });
        Ok(Kinds { groups: groups.collect() })
    }

    /// One of each kind. Actions that differ in `apart` are never of one kind, and neither is one
    /// that the schema does not have.
    pub(crate) fn of<'a, 'p, K: Ord>(
        &self,
        policies: impl Iterator<Item = &'p Policy>,
        actions: impl Iterator<Item = &'a str>,
        apart: impl Fn(&str) -> K,
    ) -> Vec<&'a str> {
        let named: BTreeSet<String> =
            policies.flat_map(Policy::entity_literals).map(|uid| name(&uid)).collect();
        let mut kinds = BTreeMap::new();
        for action in actions {
            let groups = self.groups.get(action).filter(|_| !named.contains(action));
            let alone = groups.is_none().then_some(action);
            kinds.entry((apart(action), groups, alone)).or_insert(action);
        }
        kinds.into_values().collect()
    }
}

/// An id by itself, whatever its type: that can only find more names than there are.
fn name(uid: &EntityUid) -> String {
    uid.id().unescaped().to_owned()
}
