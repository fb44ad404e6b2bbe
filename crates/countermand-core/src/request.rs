//! What an agent asked for, and the key under which the same request joins an open change.

use crate::action::Action;
use crate::digest::Digest;
use crate::limits::Beyond;
use crate::name::{AgentName, EnvironmentName, HumanName, TargetName};
use serde::{Deserialize, Serialize};

/// The number people and clients call a change by; counts up from 1 in one installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeNumber(pub u64);

impl std::fmt::Display for ChangeNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A unit as it was judged and as it will be run: the two are the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// The protocol that understands `body`: `postgres`.
    pub kind: String,
    /// The exact request in the door's own canonical form: statements, parameters, and the
    /// session settings that change what they mean.
    pub body: String,
    /// The same for people, complete and untruncated. Hostile text: escape what is shown.
    pub text: String,
    /// What is asked, however it is spelled: the request key is made of this. None where the door
    /// knows only one spelling, or it was kept before there was more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<Digest>,
    /// The same without the values that only say which rows are meant; none where every value
    /// counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Digest>,
}

impl Payload {
    /// A payload with one spelling and no shape.
    pub fn exact(
        kind: impl Into<String>,
        body: impl Into<String>,
        text: impl Into<String>,
    ) -> Payload {
        let (kind, body, text) = (kind.into(), body.into(), text.into());
        Payload { kind, body, text, asks: None, shape: None }
    }

    /// The digest that identity names: of everything that is run.
    pub fn digest(&self) -> Digest {
        Digest::of(&(&self.kind, &self.body))
    }
}

/// Names a request by what it asks: while a change with this key is open, the same request
/// joins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestKey(Digest);

impl RequestKey {
    /// The key of this agent asking this of that target, however it is spelled.
    pub fn of(agent: &AgentName, target: &TargetName, payload: &Payload) -> RequestKey {
        let asks = payload.asks.unwrap_or_else(|| payload.digest());
        RequestKey(Digest::of(&(agent, target, &payload.kind, asks)))
    }
}

impl std::fmt::Display for RequestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What an agent asked for, as the change keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The change's number.
    pub number: ChangeNumber,
    /// Who asked.
    pub agent: AgentName,
    /// On whose behalf.
    pub sponsor: HumanName,
    /// Of what.
    pub target: TargetName,
    /// The target's environment when it was asked.
    pub environment: EnvironmentName,
    /// Joins the same request to this change.
    pub key: RequestKey,
    /// Digest of the payload, which is kept beside.
    pub payload: Digest,
    /// What it asks without the values that only say which rows; none where every value counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Digest>,
    /// What it would do, as read from the request.
    pub actions: Vec<Action>,
    /// The connection it came over, as the door numbers them.
    pub session: String,
    /// What was measured of it against which limit, where it would have flowed if it did less.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<Beyond>,
}
