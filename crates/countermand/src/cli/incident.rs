//! `incident`: what happened, from the ledger alone.

use crate::moment::Moment;
use clap::Args;
use countermand_core::name::AgentName;

/// `incident`
#[derive(Debug, Args)]
pub struct Incident {
    /// Of this change alone
    #[arg(long, value_name = "N", conflicts_with_all = ["agent", "since", "until"])]
    pub change: Option<u64>,
    /// Of what this agent did
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentName>,
    /// From then on: `10:40` today, `2h` ago, or `2026-01-31T10:40:00Z` [default: a day before the end]
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,
    /// Until then [default: now]
    #[arg(long, value_name = "WHEN")]
    pub until: Option<Moment>,
    /// Print a report in Markdown, in the manner of a Correction of Error
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}
