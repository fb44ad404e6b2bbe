//! `approve` and `reject`: a human's signed word on a change.

use super::done;
use crate::cli::{Approve, Global, Reject};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::sign;
use countermand_core::request::ChangeNumber;
use countermand_engine::control::PrepareAct;

/// Runs `approve`.
pub(super) fn approve(global: &Global, arguments: Approve) -> Result<Exit, Failure> {
    let Approve { change, seat, signer } = arguments;
    let act = PrepareAct::Approve { change: ChangeNumber(change), seat };
    let reply = sign::act(global, &mut Client::connect(global)?, &signer, act)?;
    done(&reply, global.json)
}

/// Runs `reject`.
pub(super) fn reject(global: &Global, arguments: Reject) -> Result<Exit, Failure> {
    let Reject { change, reason, signer } = arguments;
    let act = PrepareAct::Reject { change: ChangeNumber(change), reason };
    let reply = sign::act(global, &mut Client::connect(global)?, &signer, act)?;
    done(&reply, global.json)
}
