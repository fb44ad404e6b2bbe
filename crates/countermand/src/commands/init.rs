//! `init`: asks where somebody can answer, and takes options where nobody can.

mod postgres;

use super::json;
use crate::cli::{Global, Init, InitOf};
use crate::exit::{Exit, Failure};
use crate::init::{self, Answers, InitError, MAKE_KEY, Made, Place};
use crate::show::{Page, Tone};
use crate::sign::ask;
use ssh_key::PublicKey;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

/// Runs `init`.
pub(super) fn run(global: &Global, arguments: Init) -> Result<Exit, Failure> {
    if let Some(InitOf::Postgres(arguments)) = &arguments.of {
        return postgres::run(global, arguments);
    }
    let folder = arguments.folder.clone();
    let answers = answers(arguments)?;
    let made = init::create(&folder, &answers).map_err(|error| match error {
        InitError::Key { .. } | InitError::Exists(_) | InitError::Config(_) => {
            Failure::usage(error)
        }
        InitError::File { .. } | InitError::Home(_) => Failure::new(error),
    })?;
    if global.json {
        json(&serde_json::json!({
            "config": made.config,
            "ledger_key": made.vkey,
            "secrets": made.secrets,
            "environment": if answers.production { "production" } else { "staging" },
        }));
    } else {
        next_steps(&answers, &made);
    }
    Ok(Exit::Done)
}

fn answers(given: Init) -> Result<Answers, Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    let folder = std::path::absolute(&given.folder).unwrap_or(here);
    let usual = folder.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let installation = name(given.name, "--name", "What is this installation called", usual)?;
    let user = std::env::var("USER").ok();
    let human = name(given.human, "--human", "Who are you", user)?;
    let key = read_key(given.key)?;
    let others = given.with.iter().map(|other| Ok((other.human.clone(), public_key(&other.key)?)));
    let others = others.collect::<Result<_, Failure>>()?;
    let production = environment(given.production, given.staging, &key)?;
    let word = if production { "production" } else { "staging" };
    let usual = Some(word.to_owned());
    let target = name(given.target, "--target", "What is the database called here", usual)?;
    let host = given.host.map_or_else(|| text("--host", "Its host", "127.0.0.1"), Ok)?;
    let database =
        given.database.map_or_else(|| text("--database", "Its database", "postgres"), Ok)?;
    let port = given.port.unwrap_or(5432);
    let place = Place { host, port, database };
    let partner = given.rehearse_in;
    Ok(Answers { installation, human, key, others, production, target, place, partner })
}

/// A name: as given, as answered, or an error that names the option.
fn name<N: std::str::FromStr>(
    given: Option<N>,
    option: &str,
    question: &str,
    usual: Option<String>,
) -> Result<N, Failure>
where
    N::Err: std::fmt::Display,
{
    if let Some(given) = given {
        return Ok(given);
    }
    let usual = usual.filter(|usual| usual.parse::<N>().is_ok()).unwrap_or_default();
    text(option, question, &usual)?.parse().map_err(Failure::usage)
}

fn text(option: &str, question: &str, usual: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "there is no terminal to ask at: say it with {option} (see `countermand init --help`)"
        )));
    }
    let answer = match usual {
        "" => ask(&format!("{question}? "))?,
        usual => ask(&format!("{question}? [{usual}] "))?,
    };
    match (answer.is_empty(), usual) {
        (false, _) => Ok(answer),
        (true, "") => Err(Failure::usage(format!("no answer: say it with {option}"))),
        (true, usual) => Ok(usual.to_owned()),
    }
}

fn read_key(given: Option<PathBuf>) -> Result<PublicKey, Failure> {
    let path = match given {
        Some(path) => path,
        None => text("--key", "Where is your public SSH key", &usual_key())?.into(),
    };
    public_key(&path)
}

fn public_key(path: &Path) -> Result<PublicKey, Failure> {
    PublicKey::read_openssh_file(path).map_err(|error| {
        Failure::usage(format!("`{}` is not a public SSH key: {error}", path.display()))
    })
}

/// A security key's file where there is one.
fn usual_key() -> String {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let files = ["id_ed25519_sk.pub", "id_ecdsa_sk.pub", "id_ed25519.pub"];
    let found = files.into_iter().map(|file| home.join(".ssh").join(file)).find(|f| f.is_file());
    found.map(|file| file.display().to_string()).unwrap_or_default()
}

fn environment(production: bool, staging: bool, key: &PublicKey) -> Result<bool, Failure> {
    if production || staging {
        return Ok(production);
    }
    let wanted = text("--production or --staging", "Is the database production", "no")?;
    if !wanted.starts_with(['y', 'Y']) {
        return Ok(false);
    }
    if init::counts_in_production(key) {
        return Ok(true);
    }
    let mut page = Page::stderr();
    page.words(&format!(
        "In production only a security key counts that verifies its user, by PIN or fingerprint: \
         whoever has your laptop must not have your signature. Yours is {}. Make one with:",
        key.algorithm()
    ));
    page.line(format!("\n    {MAKE_KEY}\n"));
    page.eprint();
    let instead = text("--staging", "Guard a staging database first instead", "yes")?;
    if instead.starts_with(['y', 'Y']) {
        return Ok(false);
    }
    Err(Failure::usage("nothing was made: run `countermand init` again with that key"))
}

fn next_steps(answers: &Answers, made: &Made) {
    let mut page = Page::stdout();
    let good = page.paint(Tone::Good, "made");
    page.line(format!("{good} {}", made.config.display()));
    page.quoted("The ledger's public key", "keep a copy elsewhere: auditors need it", &made.vkey);
    page.heading("Next");
    let config = shown(&made.config);
    roles(&mut page, &config, answers);
    page.item("  2. ", &format!("countermand --config {config} doctor"));
    page.item("  3. ", &format!("countermand --config {config} serve"));
    let target = &answers.target;
    page.item(
        "  4. ",
        &format!(
            "countermand --config {config} agent add NAME --targets {target} \
             --effects read,write,destroy --key KEY"
        ),
    );
    if answers.production && answers.others.is_empty() {
        page.words("Enrol a second human as soon as you can: until then nothing is peer-reviewed.");
    }
    page.print();
}

/// How the two roles of each database are made.
fn roles(page: &mut Page, config: &str, answers: &Answers) {
    page.item("  1. ", "Make the two roles of each database; read the SQL first:");
    for (target, place) in answers.databases() {
        page.line(format!(
            "       countermand --config {config} init postgres {target} --make-secrets > \
             {target}.sql"
        ));
        let Place { host, port, database } = place;
        page.line(format!(
            "       psql -X -v ON_ERROR_STOP=1 -h {host} -p {port} -d {database} -f {target}.sql"
        ));
    }
    page.words(
        "     Say --managed where you are no superuser, and --ask ROLE to fill in the owners.",
    );
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
