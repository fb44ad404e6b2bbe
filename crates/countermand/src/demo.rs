//! The demonstration: an agent is about to delete and recreate an environment, on real servers.
//!
//! Nothing in it is played: the servers are PostgreSQL, the agent is `psql`, the humans run the
//! commands of this same binary, the gateway is the one that `serve` runs. Only the clock is
//! faster and the humans' keys are plain, and it says so.

mod browser;
mod cast;
mod stage;
mod story;
mod tell;

use crate::cli::Global;
use crate::exit::{Exit, Failure};
use tell::Teller;

/// Runs the demonstration. `unattended` lets scripted reviewers decide; `in_browser` whoever watches, on
/// the console's pages.
pub(crate) fn run(global: &Global, unattended: bool, in_browser: bool) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let teller = Teller::new(global.json, unattended);
    let ended = runtime.block_on(async {
        tokio::select! {
            told = story::tell(&teller, in_browser) => told.map(|()| Exit::Done),
            // Ends like everything else: what was started is stopped as it is dropped.
            _ = tokio::signal::ctrl_c() => Err(Failure::new("stopped; nothing is left behind")),
        }
    });
    // A question that was left unanswered is not waited for.
    runtime.shutdown_background();
    ended
}
