//! Before a solver is believed it shows that it knows a claim that holds from one that does not,
//! through everything that is used of it: numbers, strings, sets, records, and a model.

use crate::claim::{ClaimFault, Prover};
use countermand_core::policy::World;
use countermand_core::policy::proof::{Answer, Bound, Claim, Holds, Outcome, Proof, Text};
use std::collections::{BTreeMap, BTreeSet};

const POLICY: &str = "permit (principal, action, resource) when { context.roots > 5 && \
     resource.target.tags.contains(\"a\") && resource.name like \"b*\" };";
const HOLDS: &str = "forbid (principal, action, resource) unless { context.roots > 4 && \
     !resource.target.tags.isEmpty() && resource.name != \"c\" };";
const DOES_NOT: &str = "forbid (principal, action, resource) unless { context.roots > 6 };";
const OVERFLOWS: &str = "forbid (principal, action, resource) when { context.roots + 1 > 5 };";

/// What a solver got wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelfTestFault {
    /// The test's own texts.
    #[error(transparent)]
    Claims(#[from] ClaimFault),
    /// A wrong verdict, or none.
    #[error("of `{claim}` it should have said that it {expected}, and said {said}")]
    Wrong {
        /// The claim.
        claim: String,
        /// What is so.
        expected: &'static str,
        /// What it said.
        said: String,
    },
}

/// Puts three claims to it whose truth is known, and replays what it refutes.
pub(crate) async fn run() -> Result<(), SelfTestFault> {
    let proof = known();
    let verdicts = Prover::new(&proof)?.verdicts().await?;
    let answer = Answer { solver: String::new(), questions: 0, verdicts };
    for finding in proof.read(&answer) {
        let (right, expected) = match (finding.claim.as_str(), &finding.outcome) {
            ("holds", outcome) => (*outcome == Outcome::Proved, "holds"),
            (_, outcome) => (matches!(outcome, Outcome::Refuted(_)), "does not hold"),
        };
        if !right {
            let said = format!("{:?}", finding.outcome);
            return Err(SelfTestFault::Wrong { claim: finding.claim, expected, said });
        }
    }
    Ok(())
}

fn known() -> Proof {
    let actions = BTreeSet::from([String::from("postgres:DropTable")]);
    let within = |forbids: &str| {
        Holds::Within(vec![Bound { actions: actions.clone(), forbids: forbids.to_owned() }])
    };
    let claim = |id: &str, policy: &str, holds| Claim {
        id: id.to_owned(),
        says: String::new(),
        about: BTreeSet::from([policy.to_owned()]),
        holds,
    };
    let text = |text: &str| Text { file: None, text: text.to_owned() };
    let policies = [("policy", POLICY), ("overflows", OVERFLOWS)];
    let policies: BTreeMap<_, _> =
        policies.into_iter().map(|(id, policy)| (id.to_owned(), text(policy))).collect();
    let claims = vec![
        claim("holds", "policy", within(HOLDS)),
        claim("does not", "policy", within(DOES_NOT)),
        claim("fails", "overflows", Holds::Answers(actions.clone())),
    ];
    Proof { claims, ..Proof::of(&World::default(), policies) }
}
