//! `policy`: are the policies such that they may be in force, and do they say what they should.

pub(crate) mod explain;
pub(crate) mod prove;

use super::json;
use crate::cli::{Global, Policy as Arguments};
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone, escape};
use countermand_console::Tested;
use countermand_core::limits::Limits;
use countermand_core::name::{AgentName, TargetName};
use countermand_core::policy::{CaseResult, Policy, PolicyError, World, floor_cases, run_cases};
use std::path::Path;

/// The end of the name of a file with cases.
const CASES: &str = ".cases.json";

/// Runs `policy`.
pub(super) fn run(global: &Global, arguments: &Arguments) -> Result<Exit, Failure> {
    let configured = || Config::load(&config::find(global.config.as_deref()));
    match arguments {
        Arguments::Check => {
            let config = configured()?;
            check(global, &config, &load(&config)?)
        }
        Arguments::Test => {
            let config = configured()?;
            test(global, &config, &load(&config)?)
        }
        Arguments::Prove => prove::run(global, &configured()?),
        Arguments::Explain(arguments) => explain::run(global, arguments),
    }
}

/// The policies in force. Agents are in the gateway's store: here every sponsor has one of their
/// own, `agent-of-NAME`, that may do all that they may.
pub(crate) fn load(config: &Config) -> Result<Policy, Failure> {
    load_for(config, &world(config)).map_err(Failure::usage)
}

/// The configured policies in this world.
fn load_for(config: &Config, world: &World) -> Result<Policy, PolicyError> {
    Policy::load(world, &config.installation.policies)
}

fn world(config: &Config) -> World {
    let humans = config.installation.humans.iter();
    World {
        groups: humans.clone().flat_map(|(_, human)| human.groups.clone()).collect(),
        sponsors: humans
            .clone()
            .filter_map(|(name, human)| Some((name.clone(), human.sponsors.clone()?)))
            .collect(),
        agents: humans
            .clone()
            .filter_map(|(name, human)| {
                let agent = AgentName::new(format!("agent-of-{name}")).ok()?;
                Some((agent, (name.clone(), human.sponsors.clone()?)))
            })
            .collect(),
    }
}

fn check(global: &Global, config: &Config, policy: &Policy) -> Result<Exit, Failure> {
    let installation = &config.installation;
    let files: Vec<&str> = installation.policies.iter().map(|(name, _)| name.as_str()).collect();
    if global.json {
        json(&serde_json::json!({
            "installation": installation.name,
            "targets": installation.targets.keys().collect::<Vec<_>>(),
            "people": installation.humans.keys().collect::<Vec<_>>(),
            "policies": files,
            "solo": installation.humans.len() == 1,
            "digest": policy.digest(),
        }));
        return Ok(Exit::Done);
    }
    let mut page = Page::stdout();
    let good = page.paint(Tone::Good, "good");
    page.line(format!("{good}  {}", config.file.display()));
    let names = |names: Vec<String>| names.join(", ");
    page.field("targets", &names(installation.targets.keys().map(|n| n.to_string()).collect()));
    page.field("people", &names(installation.humans.keys().map(|n| n.to_string()).collect()));
    let site = if files.is_empty() { "none beside the floor".to_owned() } else { files.join(", ") };
    page.field("policies", &escape::line(&site));
    page.field("digest", &policy.digest().to_string());
    if installation.humans.len() == 1 {
        let words = "one human: changes are confirmed by their sponsor, not peer-reviewed";
        let words = page.paint(Tone::Warning, words);
        page.field("solo", &words);
    }
    page.print();
    Ok(Exit::Done)
}

/// What `policy test` finds, for pages. It blocks.
pub(crate) fn tested(file: &Path) -> Result<Tested, String> {
    let found = || {
        let config = Config::load(file)?;
        let files = runs(&config, &load(&config)?)?;
        Ok(Tested { policies: config.installation.policies, files })
    };
    found().map_err(|failure: Failure| failure.why)
}

/// The cases of the floor and of the site's files, with how each went.
fn runs(config: &Config, policy: &Policy) -> Result<Vec<(String, Vec<CaseResult>)>, Failure> {
    let mut runs = vec![("floor".to_owned(), floor_cases().map_err(Failure::new)?)];
    if let Some(folder) = &config.policies {
        for (name, text) in case_files(folder)? {
            let results = run_cases(policy, |target, agent| limits(config, target, agent), &text)
                .map_err(|error| Failure::usage(format!("`{name}`: {error}")))?;
            runs.push((name, results));
        }
    }
    Ok(runs)
}

fn test(global: &Global, config: &Config, policy: &Policy) -> Result<Exit, Failure> {
    let runs = runs(config, policy)?;
    let failures = runs.iter().flat_map(|(_, results)| results);
    let failures = failures.filter(|result| result.failure.is_some()).count();
    if global.json {
        json(
            &runs
                .iter()
                .flat_map(|(file, results)| {
                    results.iter().map(move |result| {
                serde_json::json!({ "file": file, "case": result.name, "failure": result.failure })
            })
                })
                .collect::<Vec<_>>(),
        );
    } else {
        show(&runs);
    }
    Ok(if failures == 0 { Exit::Done } else { Exit::Failed })
}

/// How much an agent may change in a target without asking, by the file. A target that the file does
/// not have has what every target has.
fn limits(config: &Config, target: &TargetName, agent: &AgentName) -> Limits {
    let placement = config.installation.targets.get(target);
    placement.map(|placement| placement.limits_for(agent)).unwrap_or_default()
}

fn show(runs: &[(String, Vec<CaseResult>)]) {
    let mut page = Page::stdout();
    for (file, results) in runs {
        let failed = results.iter().filter(|result| result.failure.is_some()).count();
        let words = format!("{} of {} cases as expected", results.len() - failed, results.len());
        let tone = if failed == 0 { Tone::Good } else { Tone::Danger };
        let words = page.paint(tone, &words);
        page.line(format!("{}: {words}", escape::line(file)));
        for result in results {
            if let Some(failure) = &result.failure {
                page.field(&escape::line(&result.name), &escape::line(failure));
            }
        }
    }
    page.print();
}

fn case_files(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(CASES) {
            files.push((name, std::fs::read_to_string(&path)?));
        }
    }
    files.sort();
    Ok(files)
}
