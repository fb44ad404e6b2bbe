//! `config`: what is in force, and how something else comes to be.

use super::{done, json, policy, signed};
use crate::cli::{self, Global};
use crate::client::{Client, unexpected};
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone, configuration};
use countermand_core::configuration::difference;
use countermand_engine::control::{Command, ConfigurationView, PrepareAct, Reply};

/// Runs `config`.
pub(super) fn run(global: &Global, arguments: cli::Config) -> Result<Exit, Failure> {
    let mut client = Client::connect(global)?;
    match arguments {
        cli::Config::Show => show(global, &mut client),
        cli::Config::Diff => diff(global, &mut client),
        cli::Config::Apply { signer } => {
            let config = draft(global)?;
            policy::prove::before_signing(&config)?;
            let configuration = Box::new(config.installation.configuration);
            let act = PrepareAct::ProposeConfiguration { configuration };
            signed(global, &mut client, &signer, act)
        }
        cli::Config::Approve { number, signer } => {
            let act = PrepareAct::ApproveConfiguration { number };
            signed(global, &mut client, &signer, act)
        }
        cli::Config::Stop { number, reason } => {
            done(&client.ask(&Command::StopConfiguration { number, reason })?, global.json)
        }
    }
}

/// What the file says; what is odd about it is said beside.
fn draft(global: &Global) -> Result<Config, Failure> {
    let config = Config::load(&config::find(global.config.as_deref()))?;
    let mut page = Page::stderr();
    for shared in config.shared_roles() {
        let tone = if shared.is_bad { Tone::Danger } else { Tone::Warning };
        let words = page.paint(tone, &shared.words);
        page.words(&words);
    }
    page.eprint();
    Ok(config)
}

fn show(global: &Global, client: &mut Client) -> Result<Exit, Failure> {
    let reply = client.ask(&Command::Configurations)?;
    let Reply::Configurations { in_force, waiting } = &reply else { return Err(unexpected()) };
    if global.json {
        json(&reply);
        return Ok(Exit::Done);
    }
    let mut page = Page::stdout();
    for view in [in_force, waiting].into_iter().flatten() {
        configuration::view(&mut page, view);
    }
    page.print();
    Ok(Exit::Done)
}

/// Ends with success where nothing differs.
fn diff(global: &Global, client: &mut Client) -> Result<Exit, Failure> {
    let drafted = draft(global)?.installation.configuration;
    let Reply::Configurations { in_force: Some(in_force), .. } =
        client.ask(&Command::Configurations)?
    else {
        return Err(unexpected());
    };
    let ConfigurationView { configuration: now, .. } = *in_force;
    let found = difference(&now, &drafted);
    if global.json {
        let differences: Vec<_> = found
            .iter()
            .map(|one| serde_json::json!({ "words": one.words, "loosens": one.loosens }))
            .collect();
        json(&serde_json::json!({
            "in_force": now.digest(), "file": drafted.digest(), "differences": differences,
        }));
    } else {
        let mut page = Page::stdout();
        let words: Vec<String> = found.iter().map(ToString::to_string).collect();
        configuration::differences(&mut page, &words);
        page.print();
    }
    Ok(if found.is_empty() { Exit::Done } else { Exit::Failed })
}
