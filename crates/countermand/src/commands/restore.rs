//! `restore`: the one command that takes a change back.

use super::{done, json};
use crate::cli::{Global, Restore, Signer};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::show::{self, Page};
use crate::sign;
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{Command, PrepareAct, Reply};

/// Runs `restore`: always shows the plan first.
pub(super) fn run(global: &Global, arguments: Restore) -> Result<Exit, Failure> {
    let change = ChangeNumber(arguments.change);
    let mut client = Client::connect(global)?;
    let Reply::RestorePlan(plan) = client.ask(&Command::PlanRestore { change })? else {
        return Err(unexpected());
    };
    let Some(key) = arguments.key.filter(|_| !arguments.plan) else {
        if global.json {
            json(&plan);
        } else {
            let mut page = Page::stdout();
            show::plan::plan(&mut page, &plan);
            page.print();
        }
        return Ok(Exit::Done);
    };
    let mut page = Page::stderr();
    show::plan::plan(&mut page, &plan);
    page.eprint();
    if !plan.conflicts.is_empty() && !arguments.overwrite {
        return Err(Failure::new(format!(
            "{} things changed since and would be overwritten: look at them, then say --overwrite",
            plan.conflicts.len()
        )));
    }
    let signer = Signer { key, human: arguments.human, typed: arguments.typed };
    let act = PrepareAct::Restore { change, overwrite: arguments.overwrite };
    let reply = sign::act(global, &mut client, &signer, act)?;
    done(&reply, global.json)
}
