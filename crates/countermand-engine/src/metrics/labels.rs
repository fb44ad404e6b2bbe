//! Sets of labels. Every value is a name that was checked, or a word of this code.

use prometheus_client::encoding::EncodeLabelSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What can be a set of labels.
pub(super) trait Labels:
    EncodeLabelSet + Clone + Eq + Hash + Debug + Send + Sync + 'static
{
}

impl<T: EncodeLabelSet + Clone + Eq + Hash + Debug + Send + Sync + 'static> Labels for T {}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Decided {
    pub(super) target: String,
    pub(super) agent: String,
    pub(super) effect: &'static str,
    pub(super) decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Timed {
    pub(super) target: String,
    pub(super) flows: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Of {
    pub(super) target: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfKind {
    pub(super) kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Event {
    pub(super) target: String,
    pub(super) event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Written {
    pub(super) target: String,
    pub(super) agent: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Rows {
    pub(super) target: String,
    pub(super) agent: String,
    pub(super) action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct InState {
    pub(super) state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Folder {
    pub(super) folder: &'static str,
}
