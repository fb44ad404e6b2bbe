//! How a command ends: what it says, and the code that scripts rely on.

use std::process::ExitCode;

/// What scripts may rely on; the text stands in `countermand --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Refused, or failed.
    Failed = 1,
    /// The command line, or the configuration, is wrong.
    Usage = 2,
    /// Held: it waits for evidence. Nothing was done yet.
    Held = 3,
    /// The gateway cannot be reached.
    Unreachable = 4,
    /// A program that it needs is missing.
    Lacking = 5,
}

/// The codes, for the help.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused, or failed
  2  the command line or the configuration is wrong
  3  held: it waits for evidence, and nothing was done yet
  4  the gateway cannot be reached
  5  a program that it needs is missing";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it was asked, in words with a remedy.
#[derive(Debug)]
pub struct Failure {
    /// The code it ends with.
    pub exit: Exit,
    /// Why.
    pub why: String,
}

impl Failure {
    /// It was refused, or went wrong.
    pub fn new(why: impl std::fmt::Display) -> Failure {
        Failure { exit: Exit::Failed, why: why.to_string() }
    }

    /// The command line or the configuration is wrong.
    pub fn usage(why: impl std::fmt::Display) -> Failure {
        Failure { exit: Exit::Usage, why: why.to_string() }
    }

    /// The gateway cannot be reached.
    pub fn unreachable(why: impl std::fmt::Display) -> Failure {
        Failure { exit: Exit::Unreachable, why: why.to_string() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Failure {}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Failure {
        Failure::usage(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(error)
    }
}
