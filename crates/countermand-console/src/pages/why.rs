//! Why policy says what it says, and what would make it say something else.

use crate::text::Text;
use countermand_engine::explain::{self, Explanation};

/// A rule that makes the answer.
pub(super) struct Rule {
    pub(super) policy: Text,
    pub(super) reason: Text,
    pub(super) from: Text,
    pub(super) remedy: Option<Text>,
}

/// One kind of evidence that is lacking.
pub(super) struct Step {
    pub(super) missing: Text,
    pub(super) from: String,
    /// Whoever looks could give it.
    pub(super) mine: bool,
}

pub(super) fn rules(explanation: &Explanation) -> Vec<Rule> {
    let rules = explanation.rules.iter().map(|rule| Rule {
        policy: Text::of(&rule.policy),
        reason: Text::of(&rule.reason),
        from: Text::of(&rule.from),
        remedy: rule.remedy.as_ref().map(Text::of),
    });
    rules.collect()
}

pub(super) fn ways(explanation: &Explanation, reader: &str) -> Vec<Vec<Step>> {
    let step = |step: &explain::Step| Step {
        missing: Text::of(&step.missing),
        from: Text::of(step.from.join(", ")).to_string(),
        mine: step.from.iter().any(|name| name == reader),
    };
    explanation.ways.iter().map(|way| way.iter().map(step).collect()).collect()
}
