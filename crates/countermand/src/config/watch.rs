//! What a target is asked after a change: as it is written, and what it means.

use super::fault::{ConfigError, Source};
use countermand_core::backups;
use countermand_core::name::{ProbeName, TargetName};
use countermand_core::watch::{self, Expectation, Question};
use jiff::SignedDuration;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// More would keep a target's own changes waiting.
const MOST_PROBES: usize = 16;
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
const USUALLY: SignedDuration = SignedDuration::from_mins(5);
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
const USUALLY_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// One probe as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Probe {
    #[serde(default)]
    sql: Option<String>,
    #[serde(default)]
    http: Option<String>,
    #[serde(default)]
    equals: Option<String>,
    #[serde(default)]
    at_least: Option<i64>,
    #[serde(default)]
    at_most: Option<i64>,
    #[serde(default)]
    lasts: Option<SignedDuration>,
    #[serde(default)]
    every: Option<SignedDuration>,
}

/// Who is told.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notify {
    command: Vec<String>,
}

/// What one target's probes mean, or the first that means nothing.
pub(super) fn probes(
    source: &Source<'_>,
    target: &TargetName,
    written: &BTreeMap<ProbeName, Probe>,
) -> Result<BTreeMap<ProbeName, watch::Probe>, ConfigError> {
    let path = ["targets", target.as_str(), "watch"];
    if written.len() > MOST_PROBES {
        let why = format!("there are more than {MOST_PROBES} probes: ask several things in one");
        return Err(source.at(&path, why));
    }
    let meant = |(name, probe): (&ProbeName, &Probe)| match probe.meant() {
        Ok(probe) => Ok((name.clone(), probe)),
        Err((key, why)) => Err(source.at(&[&path[..], &[name.as_str(), key]].concat(), why)),
    };
    written.iter().map(meant).collect()
}

impl Probe {
    /// What it means, or the key at fault and why.
    fn meant(&self) -> Result<watch::Probe, (&'static str, &'static str)> {
        let question = match (&self.sql, &self.http) {
            (Some(sql), None) => asked_of_target(sql)?,
            (None, Some(url)) => asked_of_web(url)?,
            (Some(_), Some(_)) => {
                return Err(("http", "ask one of `sql` and `http`: two probes ask both"));
            }
            (None, None) => {
                return Err((
                    "sql",
                    "say what is asked: `sql = \"SELECT …\"` or `http = \"https://…\"`",
                ));
            }
        };
        let is_web = matches!(question, Question::Http(_));
        let expected = match (&self.equals, self.at_least, self.at_most) {
            (None, None, None) if is_web => Expectation::Anything,
            (Some(text), None, None) => Expectation::Equals(text.clone()),
            (None, Some(least), Some(most)) if least > most => {
                return Err(("at_least", "no number is at least `at_least` and at most `at_most`"));
            }
            (None, None, None) | (Some(_), ..) => {
                return Err((
                    "equals",
                    "say what the answer must be: `equals = \"…\"`, or `at_least = 1`, \
                    `at_most = 9` or both of these",
                ));
            }
            (None, least, most) => Expectation::Within(least, most),
        };
        let (lasts, every) = (self.lasts.unwrap_or(USUALLY), self.every.unwrap_or(USUALLY_EVERY));
        if every < SHORTEST || lasts < every || lasts > LONGEST {
            return Err((
                "every",
                "a probe is asked every second at most, and for 24 hours at most: \
                `every = \"10s\"`, `lasts = \"5m\"`",
            ));
        }
        Ok(watch::Probe { question, expected, lasts, every })
    }
}

/// A question, or the key at fault and why.
type Asked = Result<Question, (&'static str, &'static str)>;

fn asked_of_target(sql: &str) -> Asked {
    match sql.trim().is_empty() {
        true => Err(("sql", "`sql` is empty: write a SELECT of one value")),
        false => Ok(Question::Target(sql.to_owned())),
    }
}

/// A secret in a URL would stand in every configuration that people sign.
fn asked_of_web(url: &str) -> Asked {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(authority) = rest.and_then(|rest| rest.split(['/', '?', '#']).next()) else {
        return Err(("http", "write a whole URL: `http = \"https://shop.example/health\"`"));
    };
    if authority.contains('@') {
        return Err(("http", "no user or password in a URL: ask what needs none"));
    }
    let plain = !url.contains(|c: char| c.is_whitespace() || c.is_control());
    match plain && !authority.is_empty() {
        true => Ok(Question::Http(url.to_owned())),
        false => Err(("http", "write a whole URL: `http = \"https://shop.example/health\"`")),
    }
}

/// Whether nobody on the way can forge the answer.
fn is_private(url: &str) -> bool {
    let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
    let on_this_machine = |prefix: &str| {
        let rest = url.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?', '#']))
    };
    url.starts_with("https://") || local.into_iter().any(on_this_machine)
}

/// How a target's own backups are known, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backups {
    #[serde(default)]
    sql: Option<String>,
    #[serde(default)]
    http: Option<String>,
    #[serde(default)]
    newest_in: Option<PathBuf>,
    within: SignedDuration,
    #[serde(default)]
    every: Option<SignedDuration>,
}

/// What it means; a relative folder starts at the file's.
pub(super) fn backups(
    source: &Source<'_>,
    folder: &Path,
    target: &TargetName,
    written: Option<&Backups>,
) -> Result<Option<backups::Backups>, ConfigError> {
    let Some(written) = written else { return Ok(None) };
    let fault = |(key, why): (&'static str, &'static str)| {
        source.at(&["targets", target.as_str(), "backups", key], why)
    };
    let question = match (&written.sql, &written.http, &written.newest_in) {
        (Some(sql), None, None) => asked_of_target(sql),
        (None, Some(url), None) if !is_private(url) => {
            Err(("http", "a backup's age is evidence: ask over `https`, or on this machine"))
        }
        (None, Some(url), None) => asked_of_web(url),
        (None, None, Some(newest)) if newest.as_os_str().is_empty() => {
            Err(("newest_in", "`newest_in` is empty: name the folder of the backups"))
        }
        (None, None, Some(newest)) => {
            Ok(Question::Newest(folder.join(newest).to_string_lossy().into_owned()))
        }
        _ => Err((
            "sql",
            "say who knows when the newest backup was made: one of `sql`, `http` and `newest_in`",
        )),
    };
    let question = question.map_err(fault)?;
    let every = written.every.unwrap_or(USUALLY);
    if written.within < SHORTEST || every < SHORTEST || every > LONGEST {
        let why = "a backup is asked after every second at most and every 24 hours at least: \
            `within = \"26h\"`, `every = \"5m\"`";
        return Err(fault(("within", why)));
    }
    Ok(Some(backups::Backups { question, within: written.within, every }))
}

/// The program that is told, with its arguments; a relative path starts at the file's folder.
pub(super) fn notify(
    source: &Source<'_>,
    folder: &Path,
    target: &TargetName,
    written: Option<&Notify>,
) -> Result<Option<Vec<String>>, ConfigError> {
    let Some(Notify { command }) = written else { return Ok(None) };
    let Some((program, arguments)) = command.split_first().filter(|(name, _)| name.contains('/'))
    else {
        let why = "name the program by its path, and its arguments after it: \
            `notify = { command = [\"/usr/local/bin/page\", \"dba\"] }`";
        return Err(source.at(&["targets", target.as_str(), "notify"], why));
    };
    let program = folder.join(program).to_string_lossy().into_owned();
    Ok(Some([&[program], arguments].concat()))
}
