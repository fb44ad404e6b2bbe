//! From texts to policies that may be put in force.

use super::proof::Text;
use super::rule::{self, Fault};
use super::shown::Threshold;
use crate::name::{AgentName, GroupName, HumanName};
use cedar_policy::{
    Effect, Policy as CedarPolicy, PolicyId, PolicySet, Schema, ValidationMode, Validator, pst,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Bytes that one policy file may have.
const LARGEST_FILE: usize = 256 * 1024;
/// Bytes that an `@id` may have.
const LONGEST_ID: usize = 100;

/// Why policies are not loaded. The ones in force stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not Cedar.
    #[error("`{file}`: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// What Cedar says about it.
        message: String,
    },
    /// Longer than any policy that people can read.
    #[error("`{file}` has more than {LARGEST_FILE} bytes: split it")]
    TooLarge {
        /// The file.
        file: String,
    },
    /// A template.
    #[error("`{file}` has a template: write policies without `?principal` and `?resource`")]
    Template {
        /// The file.
        file: String,
    },
    /// A policy that nobody could name in a refusal.
    #[error("`{file}`: policy {nth} has no `@id(\"…\")`: give it one")]
    NoId {
        /// The file.
        file: String,
        /// Its place in the file, from 1.
        nth: usize,
    },
    /// An `@id` that is no name.
    #[error(
        "`{file}`: `{id}` is not an id: use 1 to {LONGEST_ID} of a-z, A-Z, 0-9, `-`, `_`, `.` and `/`"
    )]
    BadId {
        /// The file.
        file: String,
        /// The id, shortened.
        id: String,
    },
    /// An `@id` of Countermand's own.
    #[error(
        "`{file}`: policy `{id}`: ids that start with `floor/`, `grant/` or `countermand/` are \
         Countermand's own"
    )]
    ReservedId {
        /// The file.
        file: String,
        /// The id.
        id: String,
    },
    /// Two policies with one `@id`.
    #[error("`{file}`: policy `{id}` is there already, in `{other}`: give one another id")]
    DuplicateId {
        /// The second file.
        file: String,
        /// The id.
        id: String,
        /// The first file.
        other: String,
    },
    /// A forbid that could not say why.
    #[error("`{file}`: policy `{id}` has no `@reason(\"…\")`: say why it forbids")]
    NoReason {
        /// The file.
        file: String,
        /// The id.
        id: String,
    },
    /// A permit outside the compiled grants.
    #[error(
        "`{file}`: policy `{id}` is a permit: what agents may do comes from their grants alone; \
         change a grant, or forbid"
    )]
    Permit {
        /// The file.
        file: String,
        /// The id.
        id: String,
    },
    /// Evidence, or an expression, that is not accepted.
    #[error("`{file}`: policy `{id}`: {fault}")]
    Refused {
        /// The file.
        file: String,
        /// The id.
        id: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Not valid under the schema.
    #[error("policy `{id}`: {message}")]
    Invalid {
        /// The id.
        id: String,
        /// What Cedar says about it.
        message: String,
    },
    /// An agent of nobody.
    #[error("agent `{agent}` acts for `{sponsor}`, who is not among the sponsors: add a grant")]
    UnknownSponsor {
        /// The agent.
        agent: AgentName,
        /// The human it names.
        sponsor: HumanName,
    },
}

/// A forbid in force.
#[derive(Clone)]
pub(super) struct Rule {
    pub(super) policy: CedarPolicy,
    pub(super) reason: String,
    pub(super) thresholds: BTreeSet<Threshold>,
    pub(super) file: String,
}

impl Rule {
    /// What judges, as text.
    pub(super) fn text(&self) -> Text {
        Text { file: Some(self.file.clone()), text: self.policy.to_string() }
    }
}

/// The forbids of several files, by `@id`.
pub(super) type Rules = BTreeMap<String, Rule>;

/// Who wrote a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    Countermand,
    Site,
}

/// Adds the forbids of one file.
pub(super) fn read(
    rules: &mut Rules,
    (author, file, text): (Author, &str, &str),
    groups: &BTreeSet<GroupName>,
) -> Result<(), PolicyError> {
    let file = file.to_owned();
    if text.len() > LARGEST_FILE {
        return Err(PolicyError::TooLarge { file });
    }
    let set: PolicySet = text.parse().map_err(|error: cedar_policy::ParseErrors| {
        PolicyError::Syntax { file: file.clone(), message: explained(&error) }
    })?;
    if set.templates().next().is_some() {
        return Err(PolicyError::Template { file });
    }
    for (index, policy) in set.policies().enumerate() {
        let id = id_of(policy, author, &file, index + 1)?;
        let rule = rule_of(policy, &id, &file, groups)?;
        if let Some(other) = rules.get(&id).map(|rule| rule.file.clone()) {
            return Err(PolicyError::DuplicateId { file, id, other });
        }
        rules.insert(id, rule);
    }
    Ok(())
}

fn id_of(
    policy: &CedarPolicy,
    author: Author,
    file: &str,
    nth: usize,
) -> Result<String, PolicyError> {
    let file = file.to_owned();
    let Some(id) = policy.annotation("id") else {
        return Err(PolicyError::NoId { file, nth });
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if id.is_empty() || id.len() > LONGEST_ID || !id.chars().all(allowed) {
        return Err(PolicyError::BadId { file, id: id.chars().take(LONGEST_ID).collect() });
    }
    if is_own(id) && author == Author::Site {
        return Err(PolicyError::ReservedId { file, id: id.to_owned() });
    }
    Ok(id.to_owned())
}

/// Whether an id is one of those that no site may use.
fn is_own(id: &str) -> bool {
    ["floor/", "grant/", "countermand/"].iter().any(|prefix| id.starts_with(prefix))
}

fn rule_of(
    policy: &CedarPolicy,
    id: &str,
    file: &str,
    groups: &BTreeSet<GroupName>,
) -> Result<Rule, PolicyError> {
    let named = || (file.to_owned(), id.to_owned());
    if policy.effect() == Effect::Permit {
        let (file, id) = named();
        return Err(PolicyError::Permit { file, id });
    }
    let reason = policy.annotation("reason").unwrap_or("").trim().to_owned();
    if reason.is_empty() {
        let (file, id) = named();
        return Err(PolicyError::NoReason { file, id });
    }
    let refused = |fault| {
        let (file, id) = named();
        PolicyError::Refused { file, id, fault }
    };
    let unreadable = |error: pst::PstConstructionError| {
        let (file, id) = named();
        PolicyError::Syntax { file, message: format!("policy `{id}`: {error}") }
    };
    let tree = policy.new_id(PolicyId::new(id)).to_pst().map_err(unreadable)?;
    let thresholds = rule::thresholds(tree.body(), groups).map_err(refused)?;
    // What judges is built from the very tree that was walked, not from the text once more.
    let policy = CedarPolicy::from_pst(tree).map_err(unreadable)?;
    Ok(Rule { policy, reason, thresholds, file: file.to_owned() })
}

/// Adds Countermand's own policy, whose `@id` is its Cedar id too.
pub(super) fn own(text: &str) -> CedarPolicy {
    let policy = CedarPolicy::parse(None, text).expect("a compiled grant is Cedar");
    let id = PolicyId::new(policy.annotation("id").expect("a compiled grant has an id"));
    policy.new_id(id)
}

/// Checks every policy against the schema, strictly. In what the site wrote, Cedar's warnings
/// (it applies to nothing; letters that look like others) are errors too.
pub(super) fn validate(
    schema: &Schema,
    policies: impl IntoIterator<Item = CedarPolicy>,
) -> Result<(), PolicyError> {
    let set = PolicySet::from_policies(policies).expect("ids are different by now");
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    if let Some(error) = result.validation_errors().next() {
        return Err(invalid(error.policy_id(), error));
    }
    let mut warnings = result.validation_warnings();
    match warnings.find(|warning| !is_own(warning.policy_id().as_ref())) {
        Some(warning) => Err(invalid(warning.policy_id(), warning)),
        None => Ok(()),
    }
}

fn invalid(id: &PolicyId, error: &(impl std::fmt::Display + ?Sized)) -> PolicyError {
    PolicyError::Invalid { id: id.to_string(), message: error.to_string() }
}

fn explained(errors: &cedar_policy::ParseErrors) -> String {
    let mut text = errors.to_string();
    for error in errors.iter().skip(1) {
        write!(text, "; {error}").expect("writing to a string does not fail");
    }
    text
}
