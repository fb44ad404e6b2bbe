//! `completions` and `man`, both made from the command line's own definition.

use crate::cli::Cli;
use crate::exit::{Exit, Failure};
use clap::CommandFactory as _;
use std::io::Write as _;
use std::path::Path;

/// Runs `completions`.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "countermand", &mut script);
    let _ = std::io::stdout().write_all(&script);
    Ok(Exit::Done)
}

/// Runs `man`.
pub(super) fn pages(directory: Option<&Path>) -> Result<Exit, Failure> {
    match directory {
        Some(directory) => {
            std::fs::create_dir_all(directory)?;
            clap_mangen::generate_to(Cli::command(), directory)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            let _ = std::io::stdout().write_all(&page);
        }
    }
    Ok(Exit::Done)
}
