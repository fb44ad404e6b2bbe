//! Targets in which nothing is held for a while.

use crate::moment::Moment;
use clap::Subcommand;
use countermand_core::name::TargetName;

/// `observe`
#[derive(Debug, Subcommand)]
pub enum Observe {
    /// Where nothing is held now, and until when
    List,
    /// What would have been held in a target, against what, and the limits that would have let it
    /// pass
    Report {
        /// Which.
        target: TargetName,
        /// From then on: `14d` ago, `10:40` today, or `2026-01-31T10:40:00Z`
        #[arg(long, default_value = "14d", value_name = "WHEN")]
        since: Moment,
    },
}
