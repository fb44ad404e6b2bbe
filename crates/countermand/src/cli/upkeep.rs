//! The installation itself: making it, its policies, its ledger, its health.

use super::{AtDoor, Signer};
use crate::init::Place;
use crate::moment::Moment;
use crate::ocsf::Position;
use clap::{Args, Subcommand, ValueEnum};
use countermand_core::name::{AgentName, HumanName, InstallationName, TargetName};
use countermand_core::statement::LedgerKey;
use std::path::PathBuf;
use std::str::FromStr;

/// `init`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Init {
    /// Or something else than a new installation.
    #[command(subcommand)]
    pub of: Option<InitOf>,
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
    /// Another human who reviews, with their public SSH key; once for each. They count at once
    #[arg(long, value_name = "NAME=FILE")]
    pub with: Vec<Colleague>,
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
    /// The staging database of the same shape in which its changes are rehearsed. It becomes a target
    /// of its own
    #[arg(long, value_name = "HOST:PORT/DATABASE")]
    pub rehearse_in: Option<Place>,
}

/// A human with the file of their public key: `bob=bob.pub`.
#[derive(Clone, Debug)]
pub struct Colleague {
    /// Who.
    pub human: HumanName,
    /// Where their key is.
    pub key: PathBuf,
}

impl FromStr for Colleague {
    type Err = String;

    fn from_str(text: &str) -> Result<Colleague, String> {
        let (human, key) = text.split_once('=').ok_or("say it as `bob=bob.pub`")?;
        let human = human.parse().map_err(|error| format!("{error}"))?;
        Ok(Colleague { human, key: key.into() })
    }
}

/// `config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// What is in force, and what waits
    Show,
    /// How the file differs from what is in force, in words
    Diff,
    /// Propose what the file says. What only tightens is in force at once; what loosens needs the
    /// signature of another human and 60 s, or alone an hour
    Apply {
        /// Who signs.
        #[command(flatten)]
        signer: Signer,
    },
    /// Let a configuration that somebody else wrote be in force: shows how it differs, asks for its
    /// numbers, signs
    Approve {
        /// Its number
        number: u64,
        /// Who signs.
        #[command(flatten)]
        signer: Signer,
    },
    /// End the wait of a configuration; needs no signature
    Stop {
        /// Its number
        number: u64,
        /// Why; it goes into the ledger
        #[arg(long)]
        reason: String,
    },
}

/// `init postgres`
#[derive(Debug, Subcommand)]
pub enum InitOf {
    /// Print the SQL that makes a target's two roles, or removes them
    Postgres(InitPostgres),
}

/// `init postgres`
#[derive(Debug, Args)]
pub struct InitPostgres {
    /// The target [default: the only one]
    pub target: Option<TargetName>,
    /// For a server without a superuser of yours, as providers run them
    #[arg(long)]
    pub managed: bool,
    /// Print the SQL that removes both roles and what they were given
    #[arg(long)]
    pub uninstall: bool,
    /// Log in as this role to find schemas and their owners; else nobody is asked, and the owners
    /// stand there as `<owner>`
    #[arg(long, value_name = "ROLE")]
    pub ask: Option<String>,
    /// The file with that role's password [default: $PGPASSWORD itself]
    #[arg(long, value_name = "FILE", requires = "ask")]
    pub password_file: Option<PathBuf>,
    /// Make random passwords where the configuration names files for them that are not there yet
    #[arg(long, conflicts_with = "uninstall")]
    pub make_secrets: bool,
}

/// `policy`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Load configuration and policies as `serve` would, and say what is wrong where
    Check,
    /// Ask the policies the questions of `*.cases.json` beside them, and the floor its own
    Test,
    /// Prove what they promise, for every request there could be; needs `countermand-policy-prover`
    /// and cvc5
    Prove,
    /// Say why, and what would make it pass: of a change, or of SQL that an agent might send
    Explain(ExplainPolicy),
}

/// `policy explain`
#[derive(Debug, Args)]
pub struct ExplainPolicy {
    /// The number of a change, or with `--agent` the SQL, `-` for standard input
    #[arg(value_name = "CHANGE|SQL")]
    pub what: String,
    /// Who would send it; nothing is sent
    #[arg(long, value_name = "NAME", requires = "target")]
    pub agent: Option<AgentName>,
    /// Where to
    #[arg(long, value_name = "NAME", requires = "agent")]
    pub target: Option<TargetName>,
}

/// `gateway`
#[derive(Debug, Subcommand)]
pub enum Gateway {
    /// Copy store, keys, ledger, configuration and policies of the running gateway, and read the
    /// copy back
    Backup {
        /// A folder that does not exist yet. It will hold the keys: keep it as you keep them
        folder: PathBuf,
    },
    /// Bring a copy back into an empty state directory: frozen, with nothing open and no agent
    Restore {
        /// The copy.
        folder: PathBuf,
        /// The newest checkpoint that was kept elsewhere: shows what the copy does not have
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Go on without that many entries, which `--checkpoint` showed to be lost
        #[arg(long, value_name = "ENTRIES", requires = "checkpoint")]
        without: Option<u64>,
    },
}

/// `ledger`
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Recompute everything from files and the public key alone, offline
    Verify {
        /// The ledger's folder, and those that segments were moved to
        #[arg(required = true, value_name = "FOLDER")]
        folders: Vec<PathBuf>,
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
    /// Prove one entry to somebody who has nothing but the public key: prints one JSON object
    Prove {
        /// Its number, as `ledger show` has it
        entry: u64,
    },
    /// Verify such a proof offline, and show the entry that it proves
    Check {
        /// The proof, as `ledger prove` printed it
        #[arg(value_name = "FILE")]
        proof: PathBuf,
        /// The ledger's public key (vkey), from somewhere other than the proof
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Have a fresh key take the place of the ledger's: signed by you, vouched for by the old key
    RotateKey {
        /// Which
        #[arg(default_value = "checkpoints")]
        which: WhichKey,
        /// Who signs.
        #[command(flatten)]
        signer: Signer,
    },
    /// Erase what an agent asked and people wrote, where the law asks for it: signed by a reviewer, and
    /// an entry of its own. Digests stay, and the ledger verifies
    Erase {
        /// All texts of this change
        #[arg(required_unless_present = "entry", conflicts_with = "entry")]
        change: Option<u64>,
        /// Or those of this entry; of a write that flowed also the rows as they were
        #[arg(long, value_name = "INDEX")]
        entry: Option<u64>,
        /// Why. It stays for good: a reference, and nobody's name
        #[arg(long)]
        reason: String,
        /// Who signs.
        #[command(flatten)]
        signer: Signer,
    },
    /// Make another key where one was lost, with the gateway stopped. Nothing vouches for it: the
    /// gateway starts frozen, and says so in the ledger for good
    ReplaceKey {
        /// Which
        which: WhichKey,
    },
    /// Move published segments that are full to another disk: copied, read back, then removed here
    Move {
        /// The folder that they go to
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
        /// Those whose entries are all older: `90d` ago, or `2026-01-31T10:40:00Z`
        #[arg(long, value_name = "WHEN")]
        before: Moment,
    },
    /// Publish a checkpoint and copy the ledger with its public key, for an auditor; or write it as
    /// events for a SIEM
    Export(Export),
}

/// `ledger export`
#[derive(Debug, Args)]
pub struct Export {
    /// A folder that does not exist yet
    #[arg(required_unless_present = "format", conflicts_with = "format")]
    pub folder: Option<PathBuf>,
    /// Print what a signed checkpoint covers as events, one JSON object per line
    #[arg(long)]
    pub format: Option<EventFormat>,
    /// The first, to go on where an export ended: `unmapped.ledger.next` of its last whole line
    #[arg(long, value_name = "ENTRY", requires = "format", default_value = "0")]
    pub from: Position,
    /// Go on as the gateway publishes more, until stopped
    #[arg(long, requires = "format")]
    pub follow: bool,
    /// A copy of the ledger, and folders that segments were moved to, the one with the checkpoint
    /// first; else the gateway's own
    #[arg(long, value_name = "FOLDER", requires = "format")]
    pub ledger: Vec<PathBuf>,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EventFormat {
    /// The Open Cybersecurity Schema Framework
    Ocsf,
}

/// A key of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhichKey {
    /// The one that signs checkpoints
    Checkpoints,
    /// The one that seals texts
    Texts,
}

impl From<WhichKey> for LedgerKey {
    fn from(which: WhichKey) -> LedgerKey {
        match which {
            WhichKey::Checkpoints => LedgerKey::Checkpoints,
            WhichKey::Texts => LedgerKey::Texts,
        }
    }
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
#[derive(Debug, Default, Args)]
pub struct Doctor {
    /// Recompute every change from the ledger and compare; nothing else is looked at
    #[arg(long, conflicts_with_all = ["agent", "try_direct", "agent_uid"])]
    pub consistency: bool,
    /// Also ask for something forbidden at every target's door, as this agent; nothing is left of
    /// it. Its credential is tried at the servers themselves too
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentName>,
    /// How the agent reaches its door.
    #[command(flatten)]
    pub door: AtDoor,
    /// Also try the credentials of this file (addresses, .pgpass, service file) at the servers
    /// themselves: whatever gets in goes round the gateway
    #[arg(long, value_name = "FILE")]
    pub try_direct: Vec<PathBuf>,
    /// The number of the user that agents run as, on this machine
    #[arg(long, value_name = "UID")]
    pub agent_uid: Option<u32>,
}
