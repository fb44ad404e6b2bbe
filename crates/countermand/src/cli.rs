//! The command line: every command with its options, and the help that is made from them.

use crate::exit::EXIT_CODES;
use crate::moment::{Moment, Until};
use clap::{Args, Parser, Subcommand, ValueEnum};
use countermand_core::effect::Effect;
use countermand_core::name::{AgentName, GroupName, HumanName, InstallationName, TargetName};
use std::path::PathBuf;

/// A change-control gateway between AI agents and production.
///
/// What can be taken back, and is small, flows. What destroys is held as a change, with its blast
/// radius measured, until human peers have signed exactly that; Countermand executes it, once, and
/// one command takes it back.
#[derive(Debug, Parser)]
#[command(name = "countermand", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What all commands understand.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands understand.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The configuration [default: $COUNTERMAND_CONFIG, ./countermand.toml, then
    /// /etc/countermand/countermand.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The gateway's Unix socket, where the configuration cannot be read [default: the one in the
    /// configured state directory]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make keys and a commented configuration; overwrites nothing
    Init(Init),
    /// Run the gateway
    Serve,
    /// Let agents in, and end their credentials
    #[command(subcommand)]
    Agent(Agent),
    /// Propose a file as one unit, as an agent
    Propose(Propose),
    /// See changes, wait for them, take them back
    #[command(subcommand)]
    Changes(Changes),
    /// Approve a change: shows what it would do, asks for its numbers, signs
    Approve(Approve),
    /// Reject a change; the agent is told why
    Reject(Reject),
    /// Approve beforehand what an agent asks again and again, such as a nightly job
    #[command(subcommand)]
    Standing(Standing),
    /// Hand in a statement that was signed on another machine: does what it says
    Submit(Submit),
    /// Take back an executed change, or what an agent wrote without asking
    Restore(Restore),
    /// Stop everything that flows, at once; needs no signature
    Freeze(Freeze),
    /// Let what was frozen run again
    Thaw(Thaw),
    /// Check and test policies
    #[command(subcommand)]
    Policy(Policy),
    /// Verify, read and copy the ledger
    #[command(subcommand)]
    Ledger(Ledger),
    /// Say what a request would do, without a target
    #[command(subcommand)]
    Explain(Explain),
    /// Find what is wrong with this installation
    Doctor(Doctor),
    /// Watch an agent's “delete and recreate the environment” on scratch servers: held, signed,
    /// executed once, taken back
    Demo {
        /// Scripted reviewers decide; nobody is asked.
        #[arg(long)]
        unattended: bool,
    },
    /// Print completions for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual, or write a page for every command
    Man {
        /// Write the pages into this folder.
        #[arg(long, value_name = "FOLDER")]
        directory: Option<PathBuf>,
    },
}

/// `init`
#[derive(Debug, Args)]
pub struct Init {
    /// Where the configuration goes.
    #[arg(default_value = ".", value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The installation's name, as signed statements carry it
    #[arg(long)]
    pub name: Option<InstallationName>,
    /// You, the first human
    #[arg(long, value_name = "NAME")]
    pub human: Option<HumanName>,
    /// Your public SSH key, a `.pub` file
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The target is production: only user-verified security keys count
    #[arg(long, conflicts_with = "staging")]
    pub production: bool,
    /// The target is staging: plain SSH keys count
    #[arg(long)]
    pub staging: bool,
    /// What the target is called
    #[arg(long, value_name = "NAME")]
    pub target: Option<TargetName>,
    /// Where its PostgreSQL is: a name, an address, or the directory of a Unix socket
    #[arg(long)]
    pub host: Option<String>,
    /// Its port
    #[arg(long)]
    pub port: Option<u16>,
    /// Its database
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
}

/// `agent`
#[derive(Debug, Subcommand)]
pub enum Agent {
    /// Let an agent in, under the signer as its sponsor
    Add {
        /// Its name.
        name: AgentName,
        /// What it may reach: a subset of what its sponsor may
        #[arg(long, required = true, value_delimiter = ',', value_name = "NAME")]
        targets: Vec<TargetName>,
        /// What it may ask for
        #[arg(long, required = true, value_delimiter = ',', value_name = "EFFECT", value_parser = effect)]
        effects: Vec<Effect>,
        /// How long its credential lasts, such as `12h` or `30d`
        #[arg(long, default_value = "30d", value_parser = seconds)]
        lifetime: u64,
        /// Who signs.
        #[command(flatten)]
        signer: Signer,
    },
    /// The agents
    List,
    /// End an agent's credential now; needs no signature
    Revoke {
        /// Whose.
        name: AgentName,
    },
}

/// Who signs, with what.
#[derive(Clone, Debug, Args)]
pub struct Signer {
    /// Your SSH key; `ssh-keygen` asks for its PIN, touch or passphrase
    #[arg(long, value_name = "FILE", required_unless_present = "statement")]
    pub key: Option<PathBuf>,
    /// Write what you would sign into this new file, where your key is on another machine; sign it
    /// there, then bring it back with `countermand submit`
    #[arg(long, value_name = "FILE", conflicts_with = "key", requires = "human")]
    pub statement: Option<PathBuf>,
    /// Who you are [default: whose key it is by the configuration]
    #[arg(long = "as", value_name = "HUMAN")]
    pub human: Option<HumanName>,
    /// What would be typed back, for scripts: the change's number and its largest count
    #[arg(long, value_name = "NUMBERS")]
    pub typed: Option<String>,
}

/// `submit`
#[derive(Debug, Args)]
pub struct Submit {
    /// The statement, as `--statement` wrote it.
    pub statement: PathBuf,
    /// Its signature [default: the file beside it that `ssh-keygen -Y sign` wrote, with `.sig`]
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
}

/// How an agent reaches the door. Its credential comes from COUNTERMAND_CREDENTIAL or from a file,
/// never from the command line, which every process can read.
#[derive(Clone, Debug, Args)]
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
#[derive(Debug, Args)]
pub struct Propose {
    /// The file, `-` for standard input; its outer BEGIN and COMMIT are removed
    pub file: PathBuf,
    /// The agent
    #[arg(long = "as", value_name = "AGENT")]
    pub agent: AgentName,
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

/// What is frozen or thawed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One agent
    Agent,
    /// One target
    Target,
    /// The whole installation
    Everything,
}

/// `freeze`
#[derive(Debug, Args)]
pub struct Freeze {
    /// What
    pub kind: Kind,
    /// Its name
    #[arg(required_if_eq_any([("kind", "agent"), ("kind", "target")]))]
    pub name: Option<String>,
    /// Why; it goes into the ledger
    #[arg(long)]
    pub reason: String,
}

/// `thaw`
#[derive(Debug, Args)]
pub struct Thaw {
    /// What
    pub kind: Kind,
    /// Its name
    #[arg(required_if_eq_any([("kind", "agent"), ("kind", "target")]))]
    pub name: Option<String>,
    /// Who signs.
    #[command(flatten)]
    pub signer: Signer,
}

/// `policy`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Load configuration and policies as `serve` would, and say what is wrong where
    Check,
    /// Ask the policies the questions of `*.cases.json` beside them, and the floor its own
    Test,
}

/// `ledger`
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Recompute everything from files and the public key alone, offline
    Verify {
        /// The ledger's folder.
        folder: PathBuf,
        /// The ledger's public key (vkey), from somewhere other than the ledger
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// A checkpoint that was kept elsewhere: shows a ledger that was rewritten and signed again
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// Entries with their texts
    Show {
        /// The first
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: u64,
    },
    /// Publish a checkpoint and copy the ledger with its public key, for an auditor
    Export {
        /// A folder that does not exist yet.
        folder: PathBuf,
    },
}

/// `explain`
#[derive(Debug, Subcommand)]
pub enum Explain {
    /// What SQL would do to a PostgreSQL database
    Postgres {
        /// The SQL, `-` for standard input
        #[arg(required_unless_present = "jsonl", conflicts_with = "jsonl")]
        sql: Option<String>,
        /// Read `{"id","input"}` per line from standard input, answer
        /// `{"id","effect","verbs","objects","why"}` per line
        #[arg(long)]
        jsonl: bool,
    },
}

/// `doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Recompute every change from the ledger and compare
    #[arg(long)]
    pub consistency: bool,
}

fn table_rows(text: &str) -> Result<(String, u64), String> {
    let parts = text.rsplit_once('=').and_then(|(table, rows)| Some((table, rows.parse().ok()?)));
    let parts = parts.filter(|(table, _)| !table.is_empty());
    parts.map(|(table, rows)| (table.to_owned(), rows)).ok_or_else(|| {
        "write a table as it is shown and a number of rows, such as `shop.orders=20000`".to_owned()
    })
}

fn effect(text: &str) -> Result<Effect, String> {
    Effect::ALL.into_iter().find(|effect| effect.as_str() == text).ok_or_else(|| {
        let known: Vec<&str> = Effect::ALL.iter().map(|effect| effect.as_str()).collect();
        format!("use one of {}", known.join(", "))
    })
}

/// Reads a length of time as seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let span: jiff::Span = text.parse().map_err(|_| REMEDY.to_owned())?;
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours());
    let seconds = length.ok().and_then(|length| u64::try_from(length.as_secs()).ok());
    seconds.filter(|&seconds| seconds > 0).ok_or_else(|| REMEDY.to_owned())
}

const REMEDY: &str = "write a length of time such as `90s`, `10m`, `12h` or `30d`";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lengths_of_time() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("30d"), Ok(30 * 24 * 3600));
        for wrong in ["", "0s", "-1h", "1", "1mo", "tomorrow"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
