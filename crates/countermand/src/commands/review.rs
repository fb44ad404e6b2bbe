//! `approve`, `adopt`, `reject` and `resolve`: a human's signed word on a change; `submit`: one that was signed elsewhere.

use super::{done, signed};
use crate::cli::{Adopt, Approve, Global, Reject, Resolve, Submit};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::sign::with_ending;
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{Command, PrepareAct};
use std::path::Path;

/// Runs `approve`.
pub(super) fn approve(global: &Global, arguments: Approve) -> Result<Exit, Failure> {
    let Approve { change, seat, signer } = arguments;
    let act = PrepareAct::Approve { change: ChangeNumber(change), seat };
    signed(global, &mut Client::connect(global)?, &signer, act)
}

/// Runs `adopt`.
pub(super) fn adopt(global: &Global, arguments: Adopt) -> Result<Exit, Failure> {
    let Adopt { change, signer } = arguments;
    let act = PrepareAct::Adopt { change: ChangeNumber(change) };
    signed(global, &mut Client::connect(global)?, &signer, act)
}

/// Runs `reject`.
pub(super) fn reject(global: &Global, arguments: Reject) -> Result<Exit, Failure> {
    let Reject { change, reason, signer } = arguments;
    let act = PrepareAct::Reject { change: ChangeNumber(change), reason };
    signed(global, &mut Client::connect(global)?, &signer, act)
}

/// Runs `resolve`.
pub(super) fn resolve(global: &Global, arguments: Resolve) -> Result<Exit, Failure> {
    let Resolve { change, found, reason, signer } = arguments;
    let (change, committed) = (ChangeNumber(change), found.committed);
    let act = PrepareAct::Resolve { change, committed, reason };
    signed(global, &mut Client::connect(global)?, &signer, act)
}

/// Runs `submit`. The gateway checks everything: here nothing is known of what was signed.
pub(super) fn submit(global: &Global, arguments: Submit) -> Result<Exit, Failure> {
    let Submit { statement: file, signature } = arguments;
    let beside = || with_ending(&file, ".sig");
    let signature = read(&signature.unwrap_or_else(beside))?;
    let command = Command::Submit { statement: read(&file)?, signature };
    done(&Client::connect(global)?.ask(&command)?, global.json)
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", file.display())))
}
