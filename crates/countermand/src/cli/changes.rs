//! Changes: asking for them, seeing them, deciding them, taking them back.

use super::{Signer, seconds};
use crate::moment::{Moment, Until};
use clap::{Args, Subcommand};
use countermand_core::name::{AgentName, GroupName, HumanName, TargetName};
use std::path::PathBuf;

/// How an agent reaches the door. Its credential comes from COUNTERMAND_CREDENTIAL or from a file,
/// never from the command line, which every process can read.
#[derive(Clone, Debug, Default, Args)]
pub struct AtDoor {
    /// The target it works on
    #[arg(long, value_name = "NAME")]
    pub target: Option<TargetName>,
    /// The file with its credential [default: $COUNTERMAND_CREDENTIAL itself]
    #[arg(long, value_name = "FILE")]
    pub credential_file: Option<PathBuf>,
    /// The door's address [default: $COUNTERMAND_DOOR, then the configured one, then
    /// 127.0.0.1:6432]
    #[arg(long, value_name = "HOST:PORT")]
    pub door: Option<String>,
    /// Certificates that the door's must come from, where it is not on this machine
    #[arg(long, value_name = "FILE")]
    pub door_roots: Option<PathBuf>,
}

/// `propose`
#[derive(Clone, Debug, Args)]
pub struct Propose {
    /// The file, `-` for standard input; its outer BEGIN and COMMIT are removed
    pub file: PathBuf,
    /// The agent, over its door
    #[arg(long = "as", value_name = "AGENT", required_unless_present_any = ["key", "statement"])]
    pub agent: Option<AgentName>,
    /// Your own change: your SSH key. Another human approves it
    #[arg(long, value_name = "FILE", conflicts_with = "agent", requires = "target")]
    pub key: Option<PathBuf>,
    /// Your own change: write what you would sign into this new file; see `countermand submit`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["agent", "key"],
          requires_all = ["human", "target"])]
    pub statement: Option<PathBuf>,
    /// Who you are [default: whose key it is by the configuration]
    #[arg(long, value_name = "HUMAN", conflicts_with = "agent")]
    pub human: Option<HumanName>,
    /// What would be typed back, for scripts: the change's number and the largest count that was
    /// measured
    #[arg(long, value_name = "NUMBERS", conflicts_with = "agent")]
    pub typed: Option<String>,
    /// Where.
    #[command(flatten)]
    pub door: AtDoor,
}

/// `changes`
#[derive(Debug, Subcommand)]
pub enum Changes {
    /// Changes, newest first
    List {
        /// Only those that can still run
        #[arg(long)]
        open: bool,
        /// As whom.
        #[command(flatten)]
        viewer: Viewer,
    },
    /// One change, whole
    Show {
        /// Its number.
        change: u64,
        /// As whom.
        #[command(flatten)]
        viewer: Viewer,
    },
    /// Some of the rows that a change which waits would delete or change, read from its target now
    Rows {
        /// Its number.
        change: u64,
    },
    /// Wait until a change has ended
    Wait {
        /// Its number.
        change: u64,
        /// Give up after this long, such as `10m`
        #[arg(long, default_value = "1h", value_parser = seconds)]
        timeout: u64,
        /// As whom.
        #[command(flatten)]
        viewer: Viewer,
    },
    /// Take a change back before it runs; needs no signature
    Withdraw {
        /// Its number.
        change: u64,
        /// As whom.
        #[command(flatten)]
        viewer: Viewer,
    },
    /// Stop a change that is cooling: its approvals are void; needs no signature
    Stop {
        /// Its number.
        change: u64,
        /// Why; it goes into the ledger
        #[arg(long)]
        reason: String,
    },
}

/// As whom changes are looked at.
#[derive(Clone, Debug, Args)]
pub struct Viewer {
    /// As this agent, over its door: sees and withdraws its own changes only
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentName>,
    /// Where.
    #[command(flatten)]
    pub door: AtDoor,
}

/// `approve`
#[derive(Debug, Args)]
pub struct Approve {
    /// The change's number
    pub change: u64,
    /// The group whose seat you take, where you are in several
    #[arg(long, value_name = "GROUP")]
    pub seat: Option<GroupName>,
    /// Who signs.
    #[command(flatten)]
    pub signer: Signer,
}

/// `adopt`
#[derive(Debug, Args)]
pub struct Adopt {
    /// The change's number
    pub change: u64,
    /// Who signs.
    #[command(flatten)]
    pub signer: Signer,
}

/// `reject`
#[derive(Debug, Args)]
pub struct Reject {
    /// The change's number
    pub change: u64,
    /// Why; the agent is told
    #[arg(long)]
    pub reason: String,
    /// Who signs.
    #[command(flatten)]
    pub signer: Signer,
}

/// `resolve`
#[derive(Debug, Args)]
pub struct Resolve {
    /// The change's number
    pub change: u64,
    /// What you found.
    #[command(flatten)]
    pub found: Found,
    /// What shows it. It stays in the ledger for good, in what you sign
    #[arg(long)]
    pub reason: String,
    /// Who signs.
    #[command(flatten)]
    pub signer: Signer,
}

/// What came of a change, as a human found who looked.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Found {
    /// What it was to do is done: it counts as executed, and is taken back like that
    #[arg(long)]
    pub committed: bool,
    /// Nothing of it is there: it may be asked for again
    #[arg(long)]
    pub rolled_back: bool,
}

/// `standing`
#[derive(Debug, Subcommand)]
pub enum Standing {
    /// Approve later changes that are like this one but for the values that say which rows; shows
    /// it, asks for its numbers, signs
    Approve {
        /// The example: a change that is held, or was executed
        change: u64,
        /// At most this many changes [default: as many as there are until then]
        #[arg(long, value_name = "N")]
        runs: Option<u32>,
        /// So long between two of them, at least
        #[arg(long, default_value = "20h", value_parser = seconds, value_name = "LENGTH")]
        apart: u64,
        /// When it ends, within 90 days: `30d` from now, `2026-03-31` (as the day begins in UTC),
        /// or `2026-03-31T06:00:00Z`
        #[arg(long, value_name = "DATE")]
        until: Until,
        /// The most rows of a table that each may lose or change [default: the example's ceiling]
        #[arg(long, value_name = "TABLE=N", value_parser = table_rows)]
        rows: Vec<(String, u64)>,
        /// The group whose seat you take, where you are in several
        #[arg(long, value_name = "GROUP")]
        seat: Option<GroupName>,
        /// Who signs.
        #[command(flatten)]
        signer: Signer,
    },
    /// The standing approvals, newest first
    List,
    /// End a standing approval now; needs no signature
    Revoke {
        /// Its number
        number: u64,
    },
}

/// `restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// The change's number
    #[arg(required_unless_present = "agent", conflicts_with = "agent")]
    pub change: Option<u64>,
    /// Take back what this agent wrote without asking
    #[arg(long, value_name = "NAME", requires = "since")]
    pub agent: Option<AgentName>,
    /// From then on: `10:40` today, `30m` ago, or `2026-01-31T10:40:00Z`
    #[arg(long, value_name = "WHEN", requires = "agent")]
    pub since: Option<Moment>,
    /// Up to then [default: now]
    #[arg(long, value_name = "WHEN", requires = "agent")]
    pub until: Option<Moment>,
    /// In this target [default: the only one that it wrote to]
    #[arg(long, value_name = "NAME", requires = "agent")]
    pub target: Option<TargetName>,
    /// Only show what it would do
    #[arg(long)]
    pub plan: bool,
    /// Also over what changed since
    #[arg(long)]
    pub overwrite: bool,
    /// Your SSH key; `ssh-keygen` asks for its PIN, touch or passphrase
    #[arg(long, value_name = "FILE", required_unless_present_any = ["plan", "statement"])]
    pub key: Option<PathBuf>,
    /// Write what you would sign into this new file, where your key is on another machine
    #[arg(long, value_name = "FILE", conflicts_with = "key", requires = "human")]
    pub statement: Option<PathBuf>,
    /// Who you are [default: whose key it is by the configuration]
    #[arg(long = "as", value_name = "HUMAN")]
    pub human: Option<HumanName>,
    /// What would be typed back, for scripts
    #[arg(long, value_name = "NUMBERS")]
    pub typed: Option<String>,
}

fn table_rows(text: &str) -> Result<(String, u64), String> {
    let parts = text.rsplit_once('=').and_then(|(table, rows)| Some((table, rows.parse().ok()?)));
    let parts = parts.filter(|(table, _)| !table.is_empty());
    parts.map(|(table, rows)| (table.to_owned(), rows)).ok_or_else(|| {
        "write a table as it is shown and a number of rows, such as `shop.orders=20000`".to_owned()
    })
}
