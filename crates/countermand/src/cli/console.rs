//! The web console.

use clap::Subcommand;
use countermand_core::name::HumanName;

/// `console`
#[derive(Debug, Subcommand)]
pub enum Console {
    /// Print a link that lets one person read for an hour; good once, for five minutes
    Link {
        /// Whose
        #[arg(long = "as", value_name = "HUMAN")]
        human: HumanName,
    },
}
