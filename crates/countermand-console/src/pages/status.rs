//! How the gateway is: what `doctor` says first.

use super::{Frame, html, scope};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::route::App;
use crate::text::{Text, When, digits};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use countermand_engine::control::Scope;

/// One thing that is looked at.
struct Check {
    what: &'static str,
    /// Whether it is as it should be.
    good: bool,
    words: Vec<Text>,
}

struct Standing {
    number: String,
    human: String,
    agent: String,
    target: String,
    state: Text,
    used: String,
    until: When,
}

#[derive(Template)]
#[template(path = "status.html")]
struct Page {
    frame: Frame,
    version: String,
    open: String,
    size: String,
    checks: Vec<Check>,
    standings: Vec<Standing>,
    configuration: Option<u64>,
    differences: Vec<Text>,
    frozen: Vec<Frozen>,
    /// As an act names it.
    everything: String,
    /// Whether somebody looks further.
    doctor: bool,
}

/// What is frozen.
struct Frozen {
    what: String,
    /// As an act names it.
    scope: String,
}

/// `GET /status`
pub(crate) async fn page(State(app): State<App>, reader: Reader) -> Result<Response, Trouble> {
    let status = reader.status().await?;
    let [in_force, waiting] = reader.configurations().await?;
    let check = |what, found: Vec<Text>, well: &str| {
        let good = found.is_empty();
        Check { what, good, words: if good { vec![Text::of(well)] } else { found } }
    };
    let observed = status.observed.iter().map(|line| {
        format!("OBSERVED, NOTHING IS HELD in {} until {:.0}", line.target, line.until)
    });
    let checks = vec![
        check("Held", Text::each(observed.collect::<Vec<_>>()), "everything that must be"),
        check("Frozen", Text::each(&status.frozen), "nothing: what may flow flows"),
        check("Disks", Text::each(&status.disk), "there is room"),
        check("Watches", Text::each(&status.watches), "none failed within a week"),
        check("Backups", Text::each(&status.backups), "none is known to be too old"),
        check("Configuration", Text::each(&status.configuration), "none waits to be in force"),
    ];
    let standings = reader.standings().await?;
    let standings = standings.iter().map(|line| Standing {
        number: line.number.to_string(),
        human: line.human.to_string(),
        agent: line.subject.requester.to_string(),
        target: line.subject.scene.target.to_string(),
        state: Text::of(&line.state),
        used: match line.subject.runs {
            Some(most) => format!("{} of {most}", line.used),
            None => line.used.to_string(),
        },
        until: When::seen_from(line.subject.until, status.now),
    });
    let differences = waiting.as_ref().map(|view| Text::each(&view.differences));
    html(&Page {
        frame: Frame::of(&reader, &status, "status", "Status"),
        version: status.version.clone(),
        open: digits(status.open),
        size: digits(status.ledger_size),
        checks,
        standings: standings.collect(),
        configuration: in_force.map(|view| view.number),
        differences: differences.unwrap_or_default(),
        everything: scope(&Scope::Everything)?,
        frozen: reader.frozen().into_iter().map(frozen).collect(),
        doctor: app.doctor.is_some(),
    })
}

fn frozen(what: String) -> Frozen {
    let scope = match what.split_once(' ') {
        Some((kind, name)) => serde_json::json!({ kind: name }),
        None => serde_json::json!(what),
    };
    Frozen { what, scope: scope.to_string() }
}
