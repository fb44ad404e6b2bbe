//! What a request would do, and to what.

use crate::effect::Effect;
use crate::verb::Verb;
use serde::{Deserialize, Serialize};

/// Something in a target that an action touches, as the target itself names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Object {
    /// `table`, `schema`, `view`, `function`, `database`, …: the target's own word.
    pub kind: String,
    /// The name, qualified where the request qualified it: `billing.invoices`. Hostile text
    /// when it comes from a request.
    pub name: String,
}

impl Object {
    /// An object of this kind and name.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Object {
        Object { kind: kind.into(), name: name.into() }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// One verb on one object. What one request does is a list of these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Action {
    /// What is done.
    pub verb: Verb,
    /// To what; where a verb has no object of its own, the target's `database`.
    pub object: Object,
}

impl Action {
    /// This verb on this object.
    pub fn new(verb: Verb, object: Object) -> Action {
        Action { verb, object }
    }

    /// The effect of the verb.
    pub fn effect(&self) -> Effect {
        self.verb.effect()
    }
}
