//! `policy explain`: why, by which rule, and what would make it pass.

use crate::cli::{ExplainPolicy, Global};
use crate::client::{Client, unexpected};
use crate::commands::json;
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone, escape};
use countermand_core::action::Action;
use countermand_core::policy::Decision;
use countermand_core::request::ChangeNumber;
use countermand_doors::postgres::interpret::{Settings, interpret};
use countermand_engine::control::{Command, Reply};
use countermand_engine::explain::{Explained, Explanation, Step};

/// Runs `policy explain`.
pub(super) fn run(global: &Global, arguments: &ExplainPolicy) -> Result<Exit, Failure> {
    let what = what(arguments)?;
    let reply = Client::connect(global)?.ask(&Command::Explain { what })?;
    let Reply::Explained(explanation) = reply else { return Err(unexpected()) };
    if global.json {
        json(&explanation);
    } else {
        let mut page = Page::stdout();
        draw(&mut page, &explanation);
        page.print();
    }
    Ok(Exit::Done)
}

fn what(arguments: &ExplainPolicy) -> Result<Explained, Failure> {
    let ExplainPolicy { what, agent, target } = arguments;
    let (Some(agent), Some(target)) = (agent, target) else {
        let number = what.parse().map_err(|_| {
            let what = escape::line(&what.chars().take(80).collect::<String>());
            Failure::usage(format!(
                "`{what}` is no change's number: for SQL, say who would send it where with \
                 `--agent NAME --target NAME`"
            ))
        })?;
        return Ok(Explained::Change(ChangeNumber(number)));
    };
    let sql = match what.as_str() {
        "-" => std::io::read_to_string(std::io::stdin().lock())?,
        sql => sql.to_owned(),
    };
    Ok(Explained::Request { agent: agent.clone(), target: target.clone(), actions: actions(&sql) })
}

/// What this would do, as a server with its standard settings would read it.
pub(crate) fn actions(sql: &str) -> Vec<Action> {
    let statements = interpret(sql, Settings::default()).statements;
    statements.into_iter().flat_map(|statement| statement.actions).collect()
}

fn draw(page: &mut Page, told: &Explanation) {
    let (tone, answer) = match &told.decision {
        Decision::Allow { .. } => (Tone::Good, "allow"),
        Decision::Hold { .. } => (Tone::Warning, "hold"),
        Decision::Forbid { .. } => (Tone::Danger, "forbid"),
    };
    let answer = page.paint(tone, answer);
    page.field("answer", &answer);
    if let Some((number, state)) = &told.change {
        page.field("change", &format!("{number}, {state}"));
    }
    page.field("agent", &format!("{} for {}", told.agent, told.sponsor));
    page.field("target", &format!("{} in {}", told.target, told.environment));
    for does in &told.does {
        page.field("would", &escape::line(does));
    }
    for rule in &told.rules {
        let from = escape::line(&format!("({}, {})", rule.policy, rule.from));
        page.field("because", &format!("{} {from}", escape::line(&rule.reason)));
        if let Some(remedy) = &rule.remedy {
            page.field("", &escape::line(remedy));
        }
    }
    for (nth, way) in told.ways.iter().enumerate() {
        page.heading(if nth == 0 { "It passes with all of" } else { "or with all of" });
        for Step { missing, from } in way {
            let from = if from.is_empty() { "nobody here".to_owned() } else { from.join(", ") };
            page.item("  - ", &format!("{}: {}", escape::line(missing), escape::line(&from)));
        }
    }
    if !told.notes.is_empty() {
        page.heading("Note");
        for note in &told.notes {
            page.words(&escape::line(note));
        }
    }
}
