//! A question as Cedar takes it: entities, context, request.

use super::schema;
use super::shown::{Dimension, Shown};
use super::{Measured, Question};
use crate::action::Action;
use crate::effect::Effect;
use crate::evidence::Facts;
use crate::name::GroupName;
use crate::verb::Verb;
use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
    Schema,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Cedar gives no answer to rely on. Nothing an agent sends can cause it; whoever meets it
/// refuses.
#[derive(Debug, thiserror::Error)]
#[error("policy has no answer: {0}")]
pub(super) struct Unaskable(String);

impl Unaskable {
    /// A policy failed, and Cedar has answered without it.
    pub(super) fn failed(error: &cedar_policy::AuthorizationError) -> Unaskable {
        unaskable(error)
    }

    /// Permitted with full evidence, and with no part of it that the policies ask for.
    pub(super) fn contradiction() -> Unaskable {
        Unaskable(String::from(
            "it is permitted with full evidence, but with none that is asked for",
        ))
    }
}

fn unaskable(error: impl std::fmt::Display) -> Unaskable {
    Unaskable(error.to_string())
}

/// What every question needs and no question changes.
pub(super) struct Vocabulary {
    groups: BTreeSet<GroupName>,
    actions: BTreeMap<&'static str, Entity>,
    types: Types,
}

struct Types {
    sponsor: EntityTypeName,
    agent: EntityTypeName,
    environment: EntityTypeName,
    target: EntityTypeName,
    resource: EntityTypeName,
}

impl Vocabulary {
    /// The actions of this schema, and the groups that approvals are counted by.
    pub(super) fn new(schema: &Schema, groups: &BTreeSet<GroupName>) -> Vocabulary {
        let entities = schema.action_entities().expect("the schema's actions form a hierarchy");
        let named = |name: &str| name.parse().expect("a plain identifier is a type name");
        let action: EntityTypeName = named("Action");
        let within = Verb::all().filter_map(schema::within_limits).map(|(name, _)| name);
        let actions = Verb::all().map(Verb::name).chain(within).map(|name| {
            let uid = uid(&action, name);
            (name, entities.get(&uid).expect("the schema has every action").clone())
        });
        Vocabulary {
            groups: groups.clone(),
            actions: actions.collect(),
            types: Types {
                sponsor: named("Sponsor"),
                agent: named("Agent"),
                environment: named("Environment"),
                target: named("Target"),
                resource: named("Resource"),
            },
        }
    }

    /// One action of a question.
    pub(super) fn subject(
        &self,
        question: &Question<'_>,
        action: &Action,
        tags: &BTreeSet<String>,
    ) -> Result<Subject, Unaskable> {
        let (name, _) = judged_as(action.verb, question.measured);
        let asked = self.actions.get(name).expect("every action is in the vocabulary");
        let sponsor = uid(&self.types.sponsor, question.sponsor.as_str());
        let agent = uid(&self.types.agent, question.agent.as_str());
        let environment = uid(&self.types.environment, question.environment.as_str());
        let target = uid(&self.types.target, question.target.as_str());
        let resource = uid(&self.types.resource, &action.object.to_string());
        let in_environment = [
            ("name", string(question.environment.as_str())),
            ("disposable", RestrictedExpression::new_bool(question.disposable)),
        ];
        let in_target =
            [("name", string(question.target.as_str())), ("tags", strings(question.tags))];
        let in_resource = [
            ("kind", string(&action.object.kind)),
            ("name", string(&action.object.name)),
            ("environment", RestrictedExpression::new_entity_uid(environment.clone())),
            ("target", RestrictedExpression::new_entity_uid(target.clone())),
            ("tags", strings(tags)),
        ];
        let entities = [
            asked.clone(),
            Entity::new_no_attrs(sponsor.clone(), HashSet::new()),
            Entity::new_no_attrs(agent.clone(), HashSet::from([sponsor])),
            entity(&environment, in_environment, None)?,
            entity(&target, in_target, Some(environment))?,
            entity(&resource, in_resource, Some(target))?,
        ];
        let entities = Entities::from_entities(entities, None).map_err(unaskable)?;
        Ok(Subject { principal: agent, action: asked.uid(), resource, entities })
    }

    /// The facts of a unit, and this evidence.
    pub(super) fn context(
        &self,
        facts: &Facts,
        measured: Measured,
        shown: &Shown,
    ) -> Result<Context, Unaskable> {
        let long = |n: u64| RestrictedExpression::new_long(i64::try_from(n).unwrap_or(i64::MAX));
        let bool = RestrictedExpression::new_bool;
        // Without `..`: a new fact is one that policies can use.
        let Facts {
            roots,
            reversible,
            recovery_seconds,
            rehearsable,
            unavailable,
            solo,
            adopted,
            // It says only what evidence there can be.
            backups: _,
        } = facts;
        let fields = [
            ("evidence", self.evidence(shown)?),
            ("solo", bool(*solo)),
            ("roots", long(u64::from(*roots))),
            ("reversible", bool(*reversible)),
            ("recovery_seconds", long(*recovery_seconds)),
            ("rehearsable", bool(*rehearsable)),
            ("unavailable", bool(*unavailable)),
            ("beyond_limits", bool(measured == Measured::Beyond)),
            ("adopted", bool(*adopted)),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        Context::from_pairs(fields).map_err(unaskable)
    }

    fn evidence(&self, shown: &Shown) -> Result<RestrictedExpression, Unaskable> {
        let count = |dimension| RestrictedExpression::new_long(shown.get(&dimension));
        let flag = |dimension| RestrictedExpression::new_bool(shown.has(&dimension));
        let groups = self
            .groups
            .iter()
            .map(|group| (group.as_str(), count(Dimension::Group(group.clone()))));
        let approvals = [("peers", count(Dimension::Peers)), ("groups", record(groups)?)];
        let restore_point =
            [("trial", flag(Dimension::Trial)), ("verified", flag(Dimension::Verified))];
        record([
            ("approvals", record(approvals)?),
            ("cooled_seconds", count(Dimension::Cooled)),
            ("restore_point", record(restore_point)?),
            ("rehearsed", flag(Dimension::Rehearsed)),
            ("confirmed", flag(Dimension::Confirmed)),
            ("backup_fresh", flag(Dimension::BackupFresh)),
        ])
    }
}

/// The Cedar action and the effect that a verb is judged as.
pub(super) fn judged_as(verb: Verb, measured: Measured) -> (&'static str, Effect) {
    let lowered = match measured {
        Measured::Within => schema::within_limits(verb),
        Measured::NotYet | Measured::Beyond => None,
    };
    lowered.unwrap_or((verb.name(), verb.effect()))
}

/// Everything of a request but the context, which the search for missing evidence varies.
pub(super) struct Subject {
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    pub(super) entities: Entities,
}

impl Subject {
    /// The request in this context, checked against the schema.
    pub(super) fn request(&self, context: Context, schema: &Schema) -> Result<Request, Unaskable> {
        let Subject { principal, action, resource, .. } = self;
        let (principal, action, resource) = (principal.clone(), action.clone(), resource.clone());
        Request::new(principal, action, resource, context, Some(schema)).map_err(unaskable)
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn entity<const N: usize>(
    uid: &EntityUid,
    attributes: [(&str, RestrictedExpression); N],
    parent: Option<EntityUid>,
) -> Result<Entity, Unaskable> {
    let attributes: HashMap<_, _> =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Entity::new(uid.clone(), attributes, parent.into_iter().collect()).map_err(unaskable)
}

fn string(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn strings(items: &BTreeSet<String>) -> RestrictedExpression {
    RestrictedExpression::new_set(items.iter().map(|item| string(item)))
}

fn record<'a>(
    fields: impl IntoIterator<Item = (&'a str, RestrictedExpression)>,
) -> Result<RestrictedExpression, Unaskable> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    RestrictedExpression::new_record(fields).map_err(unaskable)
}
