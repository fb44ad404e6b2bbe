//! The command line: every command with its options, and the help that is made from them.

mod changes;
mod console;
mod incident;
mod observe;
mod upkeep;

pub use changes::{
    Adopt, Approve, AtDoor, Changes, Propose, Reject, Resolve, Restore, Standing, Viewer,
};
pub use console::Console;
pub use incident::Incident;
pub use observe::Observe;
pub use upkeep::{
    Config, Doctor, EventFormat, Explain, ExplainPolicy, Export, Gateway, Init, InitOf,
    InitPostgres, Ledger, Policy, WhichKey,
};

use crate::exit::EXIT_CODES;
use crate::moment::Moment;
use clap::{Args, Parser, Subcommand, ValueEnum};
use countermand_core::effect::Effect;
use countermand_core::name::{AgentName, HumanName, TargetName};
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
    /// Make your own what was forbidden to an agent: shows it, asks for its numbers, signs; then
    /// another human approves it
    Adopt(Adopt),
    /// Reject a change; the agent is told why
    Reject(Reject),
    /// Approve beforehand what an agent asks again and again, such as a nightly job
    #[command(subcommand)]
    Standing(Standing),
    /// Hand in a statement that was signed on another machine: does what it says
    Submit(Submit),
    /// Take back an executed change, or what an agent wrote without asking
    Restore(Restore),
    /// Say what came of a change that is in doubt, once you have looked at the target
    Resolve(Resolve),
    /// Stop everything that flows, at once; needs no signature
    Freeze(Freeze),
    /// Let what was frozen run again
    Thaw(Thaw),
    /// See where nothing is held for a while, and what would have been
    #[command(subcommand)]
    Observe(Observe),
    /// See what is in force, propose another configuration, let one be in force
    #[command(subcommand)]
    Config(Config),
    /// Check, test, prove and explain policies
    #[command(subcommand)]
    Policy(Policy),
    /// Copy all that the gateway must not lose, and go on from a copy
    #[command(subcommand)]
    Gateway(Gateway),
    /// Verify, read and copy the ledger
    #[command(subcommand)]
    Ledger(Ledger),
    /// Say what happened, who took part and what was taken back, from the ledger alone
    Incident(Incident),
    /// Let people into the web console
    #[command(subcommand)]
    Console(Console),
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
        /// Decide in a browser, with a passkey; without it you are asked.
        #[arg(long, conflicts_with = "unattended")]
        browser: bool,
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
    /// What agents may do beside what they did, and the grant that would have been enough
    Report {
        /// Whose [default: all whose credential is good]
        name: Option<AgentName>,
        /// From then on: `30d` ago, `10:40` today, or `2026-01-31T10:40:00Z`
        #[arg(long, default_value = "30d", value_name = "WHEN")]
        since: Moment,
    },
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
    /// What would be typed back, for scripts: the change's number and the largest count that was
    /// measured
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
