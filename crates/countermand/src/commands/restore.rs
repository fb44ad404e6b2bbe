//! `restore`: the one command that takes a change back.

use super::{json, signed};
use crate::cli::{Global, Restore, Signer};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::show::{self, Page};
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{Command, PrepareAct, Reply};

/// Runs `restore`: always shows the plan first.
pub(super) fn run(global: &Global, arguments: Restore) -> Result<Exit, Failure> {
    let change = ChangeNumber(arguments.change);
    let mut client = Client::connect(global)?;
    let Reply::RestorePlan(plan) = client.ask(&Command::PlanRestore { change })? else {
        return Err(unexpected());
    };
    if arguments.plan {
        if global.json {
            json(&plan);
        } else {
            let mut page = Page::stdout();
            show::plan::plan(&mut page, &plan);
            page.print();
        }
        return Ok(Exit::Done);
    }
    let mut page = Page::stderr();
    show::plan::plan(&mut page, &plan);
    page.eprint();
    if !plan.conflicts.is_empty() && !arguments.overwrite {
        return Err(Failure::new(format!(
            "{} things changed since and would be overwritten: look at them, then say --overwrite",
            plan.conflicts.len()
        )));
    }
    let Restore { overwrite, key, statement, human, typed, .. } = arguments;
    let signer = Signer { key, statement, human, typed };
    signed(global, &mut client, &signer, PrepareAct::Restore { change, overwrite })
}
