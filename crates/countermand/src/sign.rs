//! A human's signature: what they see is what they sign, and they say back what it costs.

use crate::cli::{Global, Signer};
use crate::client::{Client, unexpected};
use crate::config::{self, Config};
use crate::exit::Failure;
use crate::show::{Page, change, configuration, standing};
use countermand_core::configuration::Configuration;
use countermand_core::digest::Digest;
use countermand_core::name::HumanName;
use countermand_core::request::{ChangeNumber, Payload};
use countermand_core::standing::{Scene, StandingSubject};
use countermand_core::statement::{Act, ConfigurationSubject, NAMESPACE, ReviewSubject, Statement};
use countermand_doors::postgres::unit::Unit;
use countermand_engine::control::{ChangeView, Command, Erasing, PrepareAct, Reply, StandingTerms};
use countermand_engine::key::Key;
use ssh_key::PublicKey;
use std::fs::OpenOptions;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Seconds that an agent's credential may outlast what was asked for: the gateway reads its clock
/// twice.
const SLACK: i64 = 5;

/// What came of an act.
pub(crate) enum Acted {
    /// It was signed and submitted; the gateway answered this.
    Done(Reply),
    /// It is to be signed elsewhere.
    Written {
        /// The file with the statement.
        file: PathBuf,
        /// The SHA-256 of its bytes.
        digest: Digest,
    },
}

/// Lets `act` happen, signed: shows it, asks for its numbers, signs, submits. Where the key is
/// elsewhere, writes what is to be signed instead.
///
/// # Errors
/// [`Failure`] where anything of that was refused; nothing was signed then, or nothing happened.
pub(crate) fn act(
    global: &Global,
    client: &mut Client,
    signer: &Signer,
    act: PrepareAct,
) -> Result<Acted, Failure> {
    let human = who(global, signer)?;
    let command = Command::Prepare { signer: human.clone(), act: act.clone() };
    let Reply::Prepared { statement, type_back, change } = client.ask(&command)? else {
        return Err(unexpected());
    };
    let change = change.map(in_own_words);
    check(&statement, &human, &act, change.as_deref())?;
    compare(client, &statement, &act)?;
    show(&statement, change.as_deref());
    if let Some(numbers) = type_back {
        typed_back(&act, numbers, signer.typed.as_deref())?;
    }
    if let Some(file) = &signer.statement {
        write_new(file, &statement)?;
        let digest = Digest::of_bytes(statement.as_bytes());
        return Ok(Acted::Written { file: file.clone(), digest });
    }
    let signature = ssh_sign(key(signer)?, statement.as_bytes())?;
    client.ask(&Command::Submit { statement, signature }).map(Acted::Done)
}

fn key(signer: &Signer) -> Result<&Path, Failure> {
    let missing = || Failure::usage("say with which key you sign, with --key FILE");
    signer.key.as_deref().ok_or_else(missing)
}

/// Writes a statement. It is no secret, but what is signed is not anybody else's to change.
fn write_new(file: &Path, statement: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    opened.and_then(|mut file| file.write_all(statement.as_bytes())).map_err(|error| {
        Failure::usage(format!(
            "cannot write `{}`: {error}; nothing is overwritten: name a new file",
            file.display()
        ))
    })
}

/// Who signs: whom they name, or whose key it is.
pub(crate) fn who(global: &Global, signer: &Signer) -> Result<HumanName, Failure> {
    if let Some(human) = &signer.human {
        return Ok(human.clone());
    }
    let public = public_file(key(signer)?);
    let key = PublicKey::read_openssh_file(&public).map_err(|error| {
        Failure::usage(format!(
            "cannot tell whose key this is from `{}`: {error}; say who you are, by name",
            public.display()
        ))
    })?;
    let config = Config::load(&config::find(global.config.as_deref()))?;
    let humans = config.installation.humans.iter();
    let mut owners = humans.filter(|(_, human)| {
        let is_it =
            |enrolled: &Key| matches!(enrolled, Key::Ssh(ssh) if ssh.key_data() == key.key_data());
        human.keys.iter().any(is_it)
    });
    owners.next().map(|(name, _)| name.clone()).ok_or_else(|| {
        let why = "nobody in the configuration has this key; enrol it, or say who you are, by name";
        Failure::usage(why)
    })
}

fn public_file(key: &Path) -> PathBuf {
    if key.extension().is_some_and(|extension| extension == "pub") {
        return key.to_owned();
    }
    with_ending(key, ".pub")
}

/// The file beside one, named after it.
pub(crate) fn with_ending(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Whether the statement says what was asked for, of what is shown. The gateway is trusted to
/// hold things back, not to choose what a human signs.
fn check(
    statement: &str,
    human: &HumanName,
    asked: &PrepareAct,
    change: Option<&ChangeView>,
) -> Result<(), Failure> {
    let refuse = |what: &str| {
        let why = format!("the gateway's statement {what}: nothing was signed");
        Err(Failure::new(why))
    };
    let Ok(parsed) = serde_json::from_str::<Statement>(statement) else {
        return refuse("is not one of this version");
    };
    if parsed.to_bytes() != statement.as_bytes() {
        return refuse("is not in canonical form");
    }
    if parsed.signer != *human {
        return refuse("is for another signer");
    }
    if !says(&parsed, asked) {
        return refuse("says something else than was asked for");
    }
    let shown = match (&parsed.act, asked, change) {
        (
            Act::Approve(subject) | Act::Adopt(subject) | Act::Reject { subject, .. },
            _,
            Some(change),
        ) => is_of(subject, change),
        (
            Act::ApproveStanding(subject),
            PrepareAct::ApproveStanding { terms, .. },
            Some(change),
        ) => is_like(subject, change, terms),
        (Act::Resolve { change: number, .. }, _, Some(change)) => *number == change.line.number,
        (Act::Approve(_) | Act::Adopt(_) | Act::Reject { .. } | Act::Resolve { .. }, ..)
        | (Act::ApproveStanding(_), ..) => false,
        (Act::Restore { .. } | Act::TakeBack { .. }, ..)
        | (Act::AddAgent { .. } | Act::Thaw { .. } | Act::RotateKey { .. }, ..)
        | (Act::EraseTexts { .. }, ..)
        | (Act::ProposeConfiguration(_) | Act::ApproveConfiguration { .. }, ..) => true,
    };
    if shown { Ok(()) } else { refuse("is about something else than is shown") }
}

fn says(statement: &Statement, asked: &PrepareAct) -> bool {
    match (&statement.act, asked) {
        (Act::Approve(subject), PrepareAct::Approve { change, seat }) => {
            subject.change == *change && seat.as_ref().is_none_or(|_| subject.seat == *seat)
        }
        (Act::ApproveStanding(subject), PrepareAct::ApproveStanding { change, terms }) => {
            let StandingTerms { runs, apart, until, seat, .. } = terms;
            subject.example == *change
                && (subject.runs, subject.apart, subject.until) == (*runs, *apart, *until)
                && seat.as_ref().is_none_or(|_| subject.seat == *seat)
        }
        (Act::Adopt(subject), PrepareAct::Adopt { change }) => subject.change == *change,
        (Act::Reject { subject, reason }, PrepareAct::Reject { change, reason: asked }) => {
            subject.change == *change && reason == asked
        }
        (
            Act::Resolve { change, committed, reason },
            PrepareAct::Resolve { change: asked, committed: found, reason: why },
        ) => change == asked && committed == found && reason == why,
        (
            Act::Restore { change, overwrite },
            PrepareAct::Restore { change: asked, overwrite: over },
        ) => change == asked && overwrite == over,
        (
            Act::TakeBack { agent, target, since, until, overwrite },
            PrepareAct::TakeBack { writes, overwrite: over },
        ) => {
            *agent == writes.agent
                && writes.target.as_ref().is_none_or(|wanted| wanted == target)
                && *since == writes.since
                && writes.until.is_none_or(|wanted| wanted == *until)
                && overwrite == over
        }
        (
            Act::AddAgent { agent, sponsor, grant, expires },
            PrepareAct::AddAgent { agent: asked, grant: wanted, lifetime },
        ) => {
            let latest = i64::try_from(*lifetime).unwrap_or(i64::MAX).saturating_add(SLACK);
            agent == asked
                && *sponsor == statement.signer
                && expires.duration_since(statement.issued).as_secs() <= latest
                && serde_json::to_value(wanted).is_ok_and(|wanted| wanted == *grant)
        }
        (Act::Thaw { what }, PrepareAct::Thaw { what: asked }) => *what == asked.to_string(),
        (Act::EraseTexts { texts, reason }, PrepareAct::EraseTexts { what, reason: asked }) => {
            let one = |index: &u64| texts.iter().map(|texts| texts.entry).eq([*index]);
            reason == asked && !matches!(what, Erasing::Entry(index) if !one(index))
        }
        (Act::RotateKey { key, .. }, PrepareAct::RotateKey { key: asked }) => key == asked,
        (
            Act::ProposeConfiguration(subject),
            PrepareAct::ProposeConfiguration { configuration },
        ) => subject.digest == configuration.digest(),
        (
            Act::ApproveConfiguration { number, editor, .. },
            PrepareAct::ApproveConfiguration { number: asked },
        ) => number == asked && *editor != statement.signer,
        _ => false,
    }
}

/// Whether what is signed of a configuration says how it really differs from the one in force.
fn compare(client: &mut Client, statement: &str, asked: &PrepareAct) -> Result<(), Failure> {
    let act = serde_json::from_str::<Statement>(statement).map(|statement| statement.act);
    let Ok(Act::ProposeConfiguration(subject) | Act::ApproveConfiguration { subject, .. }) = act
    else {
        return Ok(());
    };
    let Reply::Configurations { in_force: Some(in_force), waiting } =
        client.ask(&Command::Configurations)?
    else {
        return Err(unexpected());
    };
    let wanted = match asked {
        PrepareAct::ProposeConfiguration { configuration } => Some((**configuration).clone()),
        _ => waiting.map(|waiting| waiting.configuration),
    };
    // For how long a target was observed before only the gateway's ledger says.
    let observed = subject.observed.clone();
    let own = |wanted: Configuration| ConfigurationSubject {
        observed,
        ..wanted.subject(&in_force.configuration)
    };
    if wanted.is_some_and(|wanted| own(wanted) == subject) {
        return Ok(());
    }
    let why = "the gateway's statement tells the configurations' differences otherwise than they \
               are: nothing was signed";
    Err(Failure::new(why))
}

/// The unit that is shown, where it is the one that is signed.
fn unit_of(change: &ChangeView) -> Option<Unit> {
    let shown = Payload::exact(change.kind.clone(), change.body.clone(), "");
    let unit = Unit::from_payload(&shown).ok()?;
    (change.preview.identity.payload == shown.digest()).then_some(unit)
}

/// The change with its text for people as it is written here, from what is signed: whatever the
/// gateway wrote, now or in an earlier version, nobody signs by it.
fn in_own_words(mut change: Box<ChangeView>) -> Box<ChangeView> {
    change.payload = unit_of(&change).map(|unit| unit.to_payload().text).unwrap_or_default();
    change
}

fn is_of(subject: &ReviewSubject, change: &ChangeView) -> bool {
    subject.change == change.line.number
        && unit_of(change).is_some()
        && subject.requester == change.line.agent
        && subject.sponsor == change.line.sponsor
        && subject.adopted == change.line.adopted
        && subject.identity == change.preview.identity
        && subject.ceiling == change.preview.ceiling
        && subject.reversibility == change.preview.reversibility
}

/// Whether a standing approval is of what is shown, and no wider than was asked for.
fn is_like(subject: &StandingSubject, change: &ChangeView, terms: &StandingTerms) -> bool {
    let shape = unit_of(change).and_then(|unit| unit.to_payload().shape);
    let shown = &change.preview.ceiling.rows;
    let most = |(table, most): (&String, &u64)| {
        let limit = shown.get(table).map(|row| row.limit);
        limit.is_some_and(|limit| *most == terms.rows.get(table).copied().unwrap_or(limit))
    };
    subject.example == change.line.number
        && shape == Some(subject.shape)
        && subject.requester == change.line.agent
        && subject.sponsor == change.line.sponsor
        && subject.scene == Scene::from(&change.preview.identity)
        && subject.ceiling.len() == shown.len()
        && subject.ceiling.iter().all(most)
        && subject.reversibility == change.preview.reversibility
}

fn show(statement: &str, change: Option<&ChangeView>) {
    let mut page = Page::stderr();
    if let Some(change) = change {
        change::view(&mut page, change);
    }
    let act = serde_json::from_str::<Statement>(statement).map(|statement| statement.act);
    let seat = match &act {
        Ok(Act::ProposeConfiguration(subject) | Act::ApproveConfiguration { subject, .. }) => {
            configuration::differences(&mut page, &subject.differences);
            configuration::observed(&mut page, &subject.observed);
            None
        }
        Ok(Act::Approve(subject)) => subject.seat.as_ref(),
        Ok(Act::ApproveStanding(subject)) => {
            let open = change.and_then(unit_of).map(|unit| unit.open_values());
            standing::terms(&mut page, subject, &open.unwrap_or_default());
            subject.seat.as_ref()
        }
        _ => None,
    };
    if let Some(seat) = seat {
        page.heading("Seat");
        page.words(&format!("you approve for {seat}"));
    }
    page.quoted("What you sign", "names in it may come from the agent", statement);
    page.eprint();
}

/// Has the human type two numbers: the change's and the largest count that was measured, which only
/// who looked knows; of what is approved beforehand the largest that is signed, since nothing is
/// measured yet; the configuration's and how many differences it has.
fn typed_back(
    act: &PrepareAct,
    numbers: (ChangeNumber, u64),
    typed: Option<&str>,
) -> Result<(), Failure> {
    let wanted = [numbers.0.to_string(), numbers.1.to_string()];
    let (question, wrong) = match act {
        PrepareAct::ApproveConfiguration { .. } => (
            "\nTo sign, type the configuration's number and how many differences it has: ",
            "that is not the configuration's number and how many differences it has: nothing was \
             signed",
        ),
        PrepareAct::ApproveStanding { .. } => (
            "\nTo sign, type the change's number and the largest number of rows that each may lose \
             or change: ",
            "that is not the change's number and its largest count: nothing was signed",
        ),
        _ => (
            "\nTo sign, type the change's number and the largest number of rows that was measured: ",
            "that is not the change's number and its largest count: nothing was signed",
        ),
    };
    let typed = match typed {
        Some(typed) => typed.to_owned(),
        None => ask(question)?,
    };
    if typed.split_whitespace().eq(wanted.iter().map(String::as_str)) {
        return Ok(());
    }
    Err(Failure::new(wrong))
}

/// Asks a human at the terminal.
///
/// # Errors
/// [`Failure`] where there is no terminal to ask at.
pub(crate) fn ask(question: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        let why = "there is no terminal to ask at: give the answer as an option (see --help)";
        return Err(Failure::usage(why));
    }
    eprint!("{question}");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Has `ssh-keygen` sign; it asks for a PIN, a touch or a passphrase by itself.
fn ssh_sign(key: &Path, statement: &[u8]) -> Result<String, Failure> {
    let key = std::path::absolute(key)?;
    let mut child = std::process::Command::new("ssh-keygen")
        .args(["-Y", "sign", "-n", NAMESPACE, "-f"])
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Failure::new(format!("cannot run `ssh-keygen`: {error}; install OpenSSH 8.2 or newer"))
        })?;
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    // A child that ends early closes its end; its status says why.
    let _ = stdin.write_all(statement);
    drop(stdin);
    let output = child.wait_with_output()?;
    let signature = String::from_utf8(output.stdout).unwrap_or_default();
    if !output.status.success() || !signature.contains("BEGIN SSH SIGNATURE") {
        return Err(Failure::new("`ssh-keygen` did not sign: nothing was sent"));
    }
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::change::tests::sample;
    use countermand_core::radius::Reversibility;
    use countermand_doors::postgres::unit::UnitStatement;
    use jiff::Timestamp;
    use std::collections::BTreeMap;

    fn statement(change: &ChangeView, signer: &str) -> Statement {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        Statement {
            installation: "acme".parse().unwrap(),
            act: Act::Approve(ReviewSubject {
                change: change.line.number,
                requester: change.line.agent.clone(),
                sponsor: change.line.sponsor.clone(),
                adopted: change.line.adopted.clone(),
                identity: change.preview.identity.clone(),
                ceiling: change.preview.ceiling.clone(),
                reversibility: change.preview.reversibility.clone(),
                seat: None,
            }),
            signer: signer.parse().unwrap(),
            nonce: "00".to_owned(),
            issued: at,
            expires: at,
        }
    }

    fn checked(statement: &Statement, asked: &PrepareAct) -> Result<(), Failure> {
        let text = String::from_utf8(statement.to_bytes()).unwrap();
        check(&text, &"bob".parse().unwrap(), asked, Some(&sample()))
    }

    #[test]
    fn only_what_was_asked_for_and_is_shown_is_signed() {
        let change = sample();
        let number = change.line.number;
        let approve = PrepareAct::Approve { change: number, seat: None };
        assert!(checked(&statement(&change, "bob"), &approve).is_ok());
        assert!(checked(&statement(&change, "carol"), &approve).is_err());
        let other = PrepareAct::Approve { change: ChangeNumber(8), seat: None };
        assert!(checked(&statement(&change, "bob"), &other).is_err());
        let seat = Some("dba".parse().unwrap());
        let seated = PrepareAct::Approve { change: number, seat };
        assert!(checked(&statement(&change, "bob"), &seated).is_err());
        let reject = PrepareAct::Reject { change: number, reason: "no".to_owned() };
        assert!(checked(&statement(&change, "bob"), &reject).is_err());
        let mut adopted = sample();
        adopted.line.adopted = Some("alice".parse().unwrap());
        assert!(checked(&statement(&adopted, "bob"), &approve).is_err());
        let mut wider = sample();
        wider.preview.ceiling.rows.values_mut().for_each(|row| row.limit += 1);
        assert!(checked(&statement(&wider, "bob"), &approve).is_err());
        let mut elsewhere = sample();
        elsewhere.preview.identity.fingerprint.push('1');
        assert!(checked(&statement(&elsewhere, "bob"), &approve).is_err());
        let text = String::from_utf8(statement(&change, "bob").to_bytes()).unwrap();
        let spaced = text.replacen(':', ": ", 1);
        assert!(check(&spaced, &"bob".parse().unwrap(), &approve, Some(&change)).is_err());
        let mut prettier = sample();
        prettier.payload = "SELECT 1;\n".to_owned();
        assert_eq!(in_own_words(Box::new(prettier)).payload, sample().payload);
        let mut other_body = sample();
        other_body.body.push(' ');
        assert!(check(&text, &"bob".parse().unwrap(), &approve, Some(&other_body)).is_err());
    }

    #[test]
    fn what_is_said_of_a_doubt_is_signed_and_nothing_else() {
        let change = sample();
        let number = change.line.number;
        let why = || "seen with psql".to_owned();
        let asked = PrepareAct::Resolve { change: number, committed: true, reason: why() };
        let says = |change, committed, reason| {
            let act = Act::Resolve { change, committed, reason };
            checked(&Statement { act, ..statement(&sample(), "bob") }, &asked)
        };
        assert!(says(number, true, why()).is_ok());
        assert!(says(number, false, why()).is_err());
        assert!(says(ChangeNumber(8), true, why()).is_err());
        assert!(says(number, true, "seen".to_owned()).is_err());
    }

    fn nightly() -> ChangeView {
        let sql = "DELETE FROM billing.invoices WHERE day < '2026-01-01'";
        let unit =
            Unit { statements: vec![UnitStatement::new(sql, Vec::new())], ..Unit::default() };
        let payload = unit.to_payload();
        let mut change = sample();
        change.preview.identity.payload = payload.digest();
        (change.kind, change.body, change.payload) = (payload.kind, payload.body, payload.text);
        change
    }

    #[test]
    fn a_standing_approval_is_of_what_is_shown_and_no_wider_than_was_asked_for() {
        let change = nightly();
        let until = "2026-02-01T00:00:00Z".parse().unwrap();
        let table = change.preview.ceiling.rows.keys().next().unwrap().clone();
        let rows = BTreeMap::from([(table, 400)]);
        let terms = StandingTerms { runs: Some(3), apart: 3600, until, rows, seat: None };
        let asked =
            PrepareAct::ApproveStanding { change: change.line.number, terms: terms.clone() };
        let limits = change.preview.ceiling.rows.iter().map(|(table, row)| (table, row.limit));
        let mut ceiling: BTreeMap<String, u64> =
            limits.map(|(table, limit)| (table.clone(), limit)).collect();
        ceiling.extend(terms.rows.clone());
        let subject = StandingSubject {
            example: change.line.number,
            requester: change.line.agent.clone(),
            sponsor: change.line.sponsor.clone(),
            shape: unit_of(&change).unwrap().to_payload().shape.unwrap(),
            scene: Scene::from(&change.preview.identity),
            ceiling,
            reversibility: change.preview.reversibility.clone(),
            runs: Some(3),
            apart: 3600,
            until,
            seat: None,
        };
        let signed = |subject: StandingSubject| {
            let act = Act::ApproveStanding(subject);
            let statement = Statement { act, ..statement(&change, "bob") };
            let text = String::from_utf8(statement.to_bytes()).unwrap();
            check(&text, &"bob".parse().unwrap(), &asked, Some(&change))
        };
        assert!(signed(subject.clone()).is_ok());
        let wider: [fn(&mut StandingSubject); 10] = [
            |s| s.runs = None,
            |s| s.apart = 1,
            |s| s.until = Timestamp::MAX,
            |s| s.ceiling.values_mut().for_each(|most| *most += 1),
            |s| s.ceiling.extend([("billing.other".to_owned(), 1)]),
            |s| s.shape = Digest::of(&"DELETE FROM billing.invoices"),
            |s| s.example = ChangeNumber(1),
            |s| s.requester = "bot2".parse().unwrap(),
            |s| s.scene.fingerprint.push('1'),
            |s| s.reversibility = Reversibility::Restorable,
        ];
        for (index, widen) in wider.into_iter().enumerate() {
            let mut subject = subject.clone();
            widen(&mut subject);
            assert!(signed(subject).is_err(), "{index}");
        }
    }

    #[test]
    fn the_numbers_must_be_typed_back() {
        let numbers = (ChangeNumber(7), 1_050_000);
        let act = PrepareAct::Approve { change: numbers.0, seat: None };
        assert!(typed_back(&act, numbers, Some("7 1050000")).is_ok());
        assert!(typed_back(&act, numbers, Some("  7   1050000 ")).is_ok());
        for wrong in ["", "7", "1050000", "7 1000000", "8 1050000", "1050000 7", "7 1050000 y"] {
            assert!(typed_back(&act, numbers, Some(wrong)).is_err(), "{wrong}");
        }
    }
}
