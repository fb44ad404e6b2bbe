//! `policy prove`: what the policies promise, for every request there could be.

use super::{load_for, world};
use crate::cli::Global;
use crate::client::Client;
use crate::commands::json;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone, escape};
use countermand_core::policy::World;
use countermand_core::policy::proof::{Answer, Finding, Outcome, Proof, Refutation};
use countermand_engine::control::{Command as Ask, Reply};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program that proves.
const PROVER: &str = "countermand-policy-prover";
/// The solver that it asks.
const SOLVER: &str = "cvc5";

/// What came of all claims.
#[derive(Debug, Serialize)]
pub(crate) struct Proved {
    /// Whether every claim holds.
    pub(crate) proved: bool,
    /// The solver, as it names itself.
    solver: String,
    /// Questions that were put to it.
    questions: u64,
    /// Whether the grants of agents are those in the gateway's store, and not one for each
    /// sponsor that may do all that they may.
    agents_of_gateway: bool,
    /// One for each claim.
    findings: Vec<Finding>,
}

/// Why nothing was proved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProveError {
    /// The program that proves.
    #[error(
        "`{PROVER}` is missing: build it (`cargo build --manifest-path \
         crates/countermand-prover/Cargo.toml`) and put it beside `countermand` or on the PATH, or \
         set COUNTERMAND_PROVER"
    )]
    NoProver,
    /// The solver.
    #[error("`{SOLVER}` is missing: install the package `cvc5` (Debian, Ubuntu), or set CVC5")]
    NoSolver,
    /// It could not be run, or gave no answer.
    #[error("`{prover}` did not answer: {why}")]
    NoAnswer {
        /// The program.
        prover: String,
        /// What it said, escaped.
        why: String,
    },
    /// The policies cannot be loaded at all.
    #[error(transparent)]
    Policy(#[from] countermand_core::policy::PolicyError),
}

impl From<ProveError> for Failure {
    fn from(error: ProveError) -> Failure {
        let exit = match error {
            ProveError::NoProver | ProveError::NoSolver => Exit::Lacking,
            ProveError::NoAnswer { .. } => Exit::Failed,
            ProveError::Policy(_) => Exit::Usage,
        };
        Failure { exit, why: error.to_string() }
    }
}

/// Runs `policy prove`.
pub(super) fn run(global: &Global, config: &Config) -> Result<Exit, Failure> {
    let proved = prove_for(config)?;
    if global.json {
        json(&proved);
    } else {
        show(&proved);
    }
    Ok(if proved.proved { Exit::Done } else { Exit::Failed })
}

/// Nobody is asked to sign policies that do not keep what they promise. Where nothing can be proved
/// for want of a program, that is said.
pub(crate) fn before_signing(config: &Config) -> Result<(), Failure> {
    match prove_for(config) {
        Ok(proved) if proved.proved => {
            let mut page = Page::stderr();
            let words = page.paint(Tone::Good, "the policies keep what they promise");
            page.words(&format!("{words}: {} questions proved", proved.questions));
            page.eprint();
            Ok(())
        }
        Ok(proved) => {
            show(&proved);
            Err(Failure::new("the policies do not keep what they promise: nothing was signed"))
        }
        Err(error @ (ProveError::NoProver | ProveError::NoSolver)) => {
            let mut page = Page::stderr();
            page.words(&format!("The policies are not proved: {error}."));
            page.eprint();
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Proves what the policies of this configuration promise, with the agents that the gateway knows
/// where it can be asked.
///
/// # Errors
/// [`ProveError`] where nothing could be put to the solver. A claim that does not hold, or that
/// nobody knows of, is no error: see [`Proved::proved`].
pub(crate) fn prove_for(config: &Config) -> Result<Proved, ProveError> {
    let (world, agents_of_gateway) = present(config);
    let proof = load_for(config, &world)?.proof();
    let prover = found("COUNTERMAND_PROVER", PROVER, true).ok_or(ProveError::NoProver)?;
    let solver = found("CVC5", SOLVER, false).ok_or(ProveError::NoSolver)?;
    let answer = ask(&prover, &solver, &proof)
        .map_err(|why| ProveError::NoAnswer { prover: prover.display().to_string(), why })?;
    let findings = proof.read(&answer);
    let proved = findings.iter().all(|finding| finding.outcome == Outcome::Proved);
    let Answer { solver, questions, .. } = answer;
    Ok(Proved { proved, solver, questions, agents_of_gateway, findings })
}

/// The sponsors and groups of the configuration, with the gateway's agents where it answers.
fn present(config: &Config) -> (World, bool) {
    let mut world = world(config);
    let asked = Client::at(&config.socket()).and_then(|mut client| client.ask(&Ask::World));
    let Ok(Reply::World(known)) = asked else { return (world, false) };
    world.agents = known.agents;
    world.agents.retain(|_, (sponsor, _)| world.sponsors.contains_key(sponsor));
    (world, true)
}

/// The program that a variable names, else the one beside this executable, else on the PATH.
fn found(variable: &str, program: &str, beside: bool) -> Option<PathBuf> {
    let runs = |path: &Path| {
        let metadata = path.metadata().ok();
        metadata.is_some_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    let on_path = || std::env::var_os("PATH").unwrap_or_default();
    let in_folders = |name: &OsString| {
        std::env::split_paths(&on_path()).map(|folder| folder.join(name)).find(|path| runs(path))
    };
    if let Some(named) = std::env::var_os(variable).filter(|named| !named.is_empty()) {
        let path = PathBuf::from(&named);
        let bare = path.components().count() == 1;
        return if bare { in_folders(&named) } else { Some(path).filter(|path| runs(path)) };
    }
    let own = std::env::current_exe().ok().filter(|_| beside);
    let own = own.and_then(|own| Some(own.parent()?.join(program))).filter(|path| runs(path));
    own.or_else(|| in_folders(&program.into()))
}

fn ask(prover: &Path, solver: &Path, proof: &Proof) -> Result<Answer, String> {
    #[derive(Deserialize)]
    struct Refused {
        error: String,
    }
    let words = |error: std::io::Error| error.to_string();
    let mut command = Command::new(prover);
    command.env("CVC5", solver).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(words)?;
    let document = serde_json::to_vec(proof).map_err(|error| error.to_string())?;
    // It reads all before it says anything; one that does not read says why.
    let _ = child.stdin.take().map(|mut input| input.write_all(&document));
    let output = child.wait_with_output().map_err(words)?;
    if let Ok(Refused { error }) = serde_json::from_slice(&output.stdout) {
        return Err(escape::line(&error));
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("it ended with {}: {}", output.status, escape::line(said.trim())));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| {
        format!("its answer is not understood: {error}; use the prover of this version")
    })
}

fn show(proved: &Proved) {
    let mut page = Page::stdout();
    let (answers, others): (Vec<&Finding>, Vec<&Finding>) =
        proved.findings.iter().partition(|finding| finding.claim.starts_with("answers/"));
    for finding in &others {
        claim(&mut page, &finding.outcome, &finding.says);
    }
    if answers.iter().all(|finding| finding.outcome == Outcome::Proved) {
        let says = format!("each of {} policies has an answer for every request", answers.len());
        claim(&mut page, &Outcome::Proved, &says);
    } else {
        for finding in answers.iter().filter(|finding| finding.outcome != Outcome::Proved) {
            claim(&mut page, &finding.outcome, &finding.says);
        }
    }
    let good = proved.findings.iter().filter(|one| one.outcome == Outcome::Proved).count();
    let agents = match proved.agents_of_gateway {
        true => "with the gateway's agents",
        false => "with an agent for each sponsor, that may do all that they may",
    };
    page.line(format!(
        "\n{good} of {} claims proved by {} in {} questions, {agents}",
        proved.findings.len(),
        escape::line(&proved.solver),
        proved.questions
    ));
    page.print();
}

fn claim(page: &mut Page, outcome: &Outcome, says: &str) {
    let says = escape::line(says);
    match outcome {
        Outcome::Proved => {
            let mark = page.paint(Tone::Good, "proved      ");
            page.item(&mark, &says);
        }
        Outcome::Refuted(found) => {
            let mark = page.paint(Tone::Danger, "refuted     ");
            page.item(&mark, &says);
            refutation(page, found);
        }
        Outcome::NotProved { why } => {
            let mark = page.paint(Tone::Warning, "not proved  ");
            page.item(&mark, &says);
            page.field("why", &escape::line(why));
        }
    }
}

fn refutation(page: &mut Page, found: &Refutation) {
    let list = |items: &[String], none: &str| match items {
        [] => none.to_owned(),
        _ => escape::line(&items.join(", ")),
    };
    page.field("who", &escape::line(&found.who));
    page.field("may", &escape::line(&found.action));
    page.field("of", &escape::line(&found.resource));
    page.field("in target", &escape::line(&found.target));
    page.field("environment", &escape::line(&found.environment));
    page.field("where", &list(&found.facts, "everything is ordinary"));
    page.field("having shown", &list(&found.evidence, "nothing"));
    page.field("permitted by", &list(&found.permitted_by, "that grant alone"));
    if !found.failed.is_empty() {
        page.field("skipped", &format!("{} (failed)", list(&found.failed, "")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counterexample_is_shown_escaped() {
        let mut page = Page::plain(200);
        let found: Counter = serde_json::from_value(serde_json::json!({
            "principal": {}, "action": {}, "resource": {}, "context": {}, "entities": [],
        }))
        .unwrap();
        refutation(
            &mut page,
            &Refutation {
                who: "agent `a\u{1b}[2J`".into(),
                action: "postgres:DropTable (destroy)".into(),
                resource: "table `t\u{202e}`".into(),
                target: "`shop`".into(),
                environment: "`production`, not disposable".into(),
                facts: Vec::new(),
                evidence: Vec::new(),
                failed: vec!["site/x\n (a.cedar)".into()],
                permitted_by: Vec::new(),
                question: Box::new(found),
            },
        );
        let bad = |c: char| c == '\u{202e}' || (c.is_control() && c != '\n');
        assert!(!page.text().contains(bad), "{:?}", page.text());
        assert_eq!(page.text().lines().count(), 9, "{}", page.text());
    }

    type Counter = countermand_core::policy::proof::Counterexample;
}
