//! `restore`: the one command that takes back, a change or what an agent wrote without asking.

use super::{json, signed};
use crate::cli::{Global, Restore, Signer};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::moment::Moment;
use crate::show::{self, Page};
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{Command, PrepareAct, Reply, Writes};
use countermand_engine::target::RestorePlan;
use jiff::tz::TimeZone;

/// Runs `restore`: always shows the plan first.
pub(super) fn run(global: &Global, arguments: Restore) -> Result<Exit, Failure> {
    let mut client = Client::connect(global)?;
    match arguments.change.map(ChangeNumber) {
        Some(change) => of_change(global, &mut client, arguments, change),
        None => of_writes(global, &mut client, arguments),
    }
}

fn of_change(
    global: &Global,
    client: &mut Client,
    arguments: Restore,
    change: ChangeNumber,
) -> Result<Exit, Failure> {
    let plan = ask(client, &Command::PlanRestore { change })?;
    let on = |page: &mut Page| show::plan::plan(page, &plan);
    if shown(global, &arguments, &plan, on) {
        return Ok(Exit::Done);
    }
    if !plan.conflicts.is_empty() && !arguments.overwrite {
        return Err(Failure::new(format!(
            "{} things changed since and would be overwritten: look at them, then say --overwrite",
            plan.conflicts.len()
        )));
    }
    let overwrite = arguments.overwrite;
    let act = PrepareAct::Restore { change, overwrite };
    signed(global, client, &signer(arguments), act)
}

/// What changed since stops nothing here: it is left, and named.
fn of_writes(global: &Global, client: &mut Client, arguments: Restore) -> Result<Exit, Failure> {
    let writes = writes(client, &arguments)?;
    let plan = ask(client, &Command::PlanTakeBack { writes: writes.clone() })?;
    let on = |page: &mut Page| show::plan::writes(page, &writes, &plan);
    if shown(global, &arguments, &plan, on) {
        return Ok(Exit::Done);
    }
    let overwrite = arguments.overwrite;
    if plan.rows.is_empty() && plan.removed.is_empty() && !overwrite {
        let why = match plan.conflicts.is_empty() {
            true => "there is nothing to take back: everything is as it was",
            false => "all of it changed since: look at it, then say --overwrite",
        };
        return Err(Failure::new(why));
    }
    signed(global, client, &signer(arguments), PrepareAct::TakeBack { writes, overwrite })
}

/// Which writes, up to now by the gateway's clock: what is planned is what is signed, also if the
/// agent writes on.
fn writes(client: &mut Client, arguments: &Restore) -> Result<Writes, Failure> {
    let Reply::Status(status) = client.ask(&Command::Status)? else {
        return Err(unexpected());
    };
    let (now, zone) = (status.now, TimeZone::system());
    let seen = |moment: Moment| moment.seen_from(now, &zone).map_err(Failure::usage);
    let missing = || Failure::usage("say whose writes, and since when: --agent and --since");
    let (agent, since) = arguments.agent.clone().zip(arguments.since).ok_or_else(missing)?;
    let until = arguments.until.map(seen).transpose()?.unwrap_or(now);
    let since = seen(since)?;
    if since > until {
        return Err(Failure::usage("that time ends before it begins"));
    }
    Ok(Writes { agent, target: arguments.target.clone(), since, until: Some(until) })
}

fn ask(client: &mut Client, command: &Command) -> Result<RestorePlan, Failure> {
    match client.ask(command)? {
        Reply::RestorePlan(plan) => Ok(plan),
        _ => Err(unexpected()),
    }
}

/// Shows the plan; whether that was all that was wanted.
fn shown(global: &Global, arguments: &Restore, plan: &RestorePlan, on: impl Fn(&mut Page)) -> bool {
    let mut page = if arguments.plan { Page::stdout() } else { Page::stderr() };
    on(&mut page);
    match (arguments.plan, global.json) {
        (true, true) => json(plan),
        (true, false) => page.print(),
        (false, _) => page.eprint(),
    }
    arguments.plan
}

fn signer(arguments: Restore) -> Signer {
    let Restore { key, statement, human, typed, .. } = arguments;
    Signer { key, statement, human, typed }
}
