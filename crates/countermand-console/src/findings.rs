//! What the binary finds for pages: `countermand doctor`, `countermand policy test`.

use countermand_core::policy::CaseResult;
use std::sync::Arc;

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// It guards less than it should, or does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// What was looked at.
    pub what: String,
    /// How it is in words; the remedy, where it is not good.
    pub words: String,
}

/// Looks at the whole installation. It blocks: files are read and targets logged in to.
pub type Doctor = Arc<dyn Fn() -> Vec<Finding> + Send + Sync>;

/// What `countermand policy test` finds.
#[derive(Clone, Debug)]
pub struct Tested {
    /// The site's policies that were asked: their files as they are now, by name.
    pub policies: Vec<(String, String)>,
    /// Files of cases, with how each case went.
    pub files: Vec<(String, Vec<CaseResult>)>,
}

/// Runs the cases of the floor and of the site's policies. It blocks. The error says, in words, why
/// they cannot be run.
pub type Tests = Arc<dyn Fn() -> Result<Tested, String> + Send + Sync>;
