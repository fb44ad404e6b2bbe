//! What happens, in order. Every claim is checked: the story stops at the first that is not true.

use super::browser;
use super::cast::{self, Cast};
use super::stage::{self, Stage};
use super::tell::Teller;
use crate::exit::Failure;
use crate::show::Tone;
use countermand_engine::control::ChangeView;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the agent wants to run, as one message.
const ORDER: &str = "DROP SCHEMA billing CASCADE; CREATE SCHEMA billing;";
/// How long any step may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Tells it.
pub(super) async fn tell(teller: &Teller, in_browser: bool) -> Result<(), Failure> {
    teller.part("Countermand, on real servers");
    let in_browser = in_browser || asked(teller).await?;
    let speed = if in_browser { browser::SPEED } else { cast::SPEED };
    teller.say(&format!(
        "DEMONSTRATION: the clock runs {speed} times as fast, and the reviewers' keys are plain \
         files. In production only user-verified security keys and passkeys count, and `serve` has \
         no fast clock."
    ));
    let (production, staging) = stage::build(teller).await?;
    let console = in_browser.then(browser::port).transpose()?;
    let mut cast = Cast::gather(&production, &staging, speed, console).await?;
    if let Some(port) = console {
        cast = browser::enrol(teller, cast, port).await?;
    }
    let told = acts(teller, &cast, &production).await;
    if told.is_ok() {
        farewell(teller);
    }
    cast.leave().await;
    production.server.stop().await.map_err(Failure::new)?;
    staging.server.stop().await.map_err(Failure::new)?;
    told
}

/// Whether who watches wants to decide in a browser.
async fn asked(teller: &Teller) -> Result<bool, Failure> {
    if !teller.is_watched() {
        return Ok(false);
    }
    let question = "decide in your browser, with a passkey? y, or only [Enter] for here ";
    Ok(matches!(teller.ask(question).await?.as_str(), "y" | "Y" | "yes"))
}

async fn acts(teller: &Teller, cast: &Cast, production: &Stage) -> Result<(), Failure> {
    let untouched = production.content().await?;
    let credential = cast.let_in("claude").await?;
    let agent = "agent `claude` is let in by alice, its sponsor, for 12 hours";
    teller.event("agent", Tone::Plain, agent, json!({ "agent": "claude", "sponsor": "alice" }));
    flows(teller, cast, production, &credential).await?;
    held(teller, cast, production, &credential).await?;
    if !reviewed(teller, cast).await? || !voided(teller, cast, production).await? {
        return Ok(());
    }
    let held = production.content().await?;
    if held == untouched {
        return Err(Failure::new("the agent's own insert is missing"));
    }
    executed(teller, cast, production).await?;
    replayed(teller, cast, production, &credential).await?;
    restored(teller, cast, production, &held).await?;
    verified(teller, cast).await
}

async fn flows(
    teller: &Teller,
    cast: &Cast,
    production: &Stage,
    credential: &str,
) -> Result<(), Failure> {
    teller.part("1  What is harmless flows");
    let sql = "SELECT service, count(*), sum(cents) FROM billing.costs GROUP BY 1 ORDER BY 1";
    let read = cast.agent(production, credential, sql).await?;
    must(read.success, || format!("the read was refused: {}", read.stderr))?;
    teller.quote("psql", &format!("{sql};\n{}", read.stdout));
    teller.event("flowed", Tone::Good, "a read", json!({ "what": "read" }));
    let sql = "INSERT INTO billing.accounts (name) VALUES ('added by the agent')";
    let write = cast.agent(production, credential, sql).await?;
    must(write.success, || format!("the insert was refused: {}", write.stderr))?;
    teller.event("flowed", Tone::Good, "an insert", json!({ "what": "insert" }));
    Ok(())
}

async fn held(
    teller: &Teller,
    cast: &Cast,
    production: &Stage,
    credential: &str,
) -> Result<(), Failure> {
    teller.part("2  “Delete and recreate the environment” is held");
    teller.pause("let the agent try").await?;
    let tables = production.tables().await?;
    let tried = cast.agent(production, credential, ORDER).await?;
    must(!tried.success && tried.stderr.contains("held as change 1"), || {
        format!("it was not held: {}{}", tried.stdout, tried.stderr)
    })?;
    must(production.tables().await? == tables, || "production has seen it".to_owned())?;
    teller.quote("psql", &format!("{ORDER}\n{}", tried.stderr));
    let words = "held as change 1; production has seen nothing of it";
    teller.event("held", Tone::Warning, words, json!({ "change": 1, "error": tried.stderr }));
    let change = wait(cast, 1, "prepared", |change| {
        let failed = change.rehearsal.starts_with("failed");
        (change.trial.is_some() && change.rehearsed.is_some()) || failed
    })
    .await?;
    must(change.rehearsed.is_some(), || change.rehearsal.clone())?;
    let bytes = change.trial.as_ref().map_or(0, |trial| trial.bytes);
    teller.event(
        "prepared",
        Tone::Plain,
        &format!(
            "a trial restore point was taken and read back ({bytes} bytes); {}",
            change.rehearsal
        ),
        json!({ "change": 1, "trial_bytes": bytes, "rehearsal": change.rehearsal }),
    );
    let shown = change.preview.radius.summary();
    teller.say(&format!("measured: would {shown}"));
    Ok(())
}

/// False where the change was rejected.
async fn reviewed(teller: &Teller, cast: &Cast) -> Result<bool, Failure> {
    teller.part("3  Another human decides");
    teller.pause("alice, the agent's sponsor, tries to approve it herself").await?;
    let own = cast.approve("alice", 1).await?;
    must(!own.ok, || "the sponsor's approval counted".to_owned())?;
    teller.event("refused", Tone::Warning, &own.words, json!({ "by": "alice", "why": own.words }));
    if !approve(teller, cast, "bob, a DBA, looks at the blast radius and signs").await? {
        return Ok(false);
    }
    let again = cast.approve("bob", 1).await?;
    must(!again.ok, || "one human filled two seats".to_owned())?;
    teller.event(
        "refused",
        Tone::Warning,
        &again.words,
        json!({ "by": "bob", "why": again.words }),
    );
    Ok(true)
}

/// Bob approves. False where he rejects.
async fn approve(teller: &Teller, cast: &Cast, what: &str) -> Result<bool, Failure> {
    if cast.has_console() {
        return browser::approved(teller, cast).await;
    }
    teller.pause(what).await?;
    let approved = cast.approve("bob", 1).await?;
    must(approved.ok, || format!("bob's approval was refused: {}", approved.words))?;
    let measured = cast.change(1).await?.preview.ceiling.largest_measured();
    let words = format!("by bob, who typed back the {measured} rows; it cools for 60 s");
    teller.event("approved", Tone::Good, &words, json!({ "by": "bob", "measured": measured }));
    Ok(true)
}

/// False where the change was rejected.
async fn voided(teller: &Teller, cast: &Cast, production: &Stage) -> Result<bool, Failure> {
    teller.part("4  What is signed is exactly what runs");
    let sql = "SET ROLE app_owner; CREATE TABLE billing.refunds (id int, cents bigint)";
    production.meanwhile(sql).await?;
    teller.say("meanwhile somebody adds table billing.refunds, which bob never saw");
    let change = wait(cast, 1, "voided", |change| {
        change.approvals.is_empty() && change.line.state == "held"
    })
    .await?;
    let why = change.history.iter().rev().find(|(_, words)| words.contains("void"));
    let why = why.map_or_else(String::new, |(_, words)| words.clone());
    teller.event("voided", Tone::Warning, &why, json!({ "change": 1, "why": why }));
    wait(cast, 1, "prepared again", |change| change.trial.is_some() && change.rehearsed.is_some())
        .await?;
    if !approve(teller, cast, "bob looks again, and signs what is there now").await? {
        return Ok(false);
    }
    let sql = "INSERT INTO billing.invoices \
               SELECT 'late' || n, 1, current_date, n FROM generate_series(1, 40) n";
    production.meanwhile(sql).await?;
    teller.say("meanwhile 40 more invoices arrive: within the headroom that bob signed");
    Ok(true)
}

async fn executed(teller: &Teller, cast: &Cast, production: &Stage) -> Result<(), Failure> {
    teller.part("5  Cooled, backed up, executed once");
    let change = wait(cast, 1, "executed", |change| change.line.state != "held").await?;
    let change = match change.line.state.as_str() {
        "running" | "committing" => {
            wait(cast, 1, "executed", |change| change.outcome.is_some() || change.ended.is_some())
                .await?
        }
        _ => change,
    };
    must(change.line.state == "executed" && change.executions == 1, || {
        format!("it is {}: {:?}", change.line.state, change.history)
    })?;
    let saved = change.restore_point.as_ref().map_or(0, |point| point.bytes);
    must(saved > 0, || "there is no restore point".to_owned())?;
    let left = production.tables().await?;
    must(left == 0, || format!("{left} tables are left"))?;
    let words = format!(
        "by the gateway itself, in one transaction, after a restore point of {saved} bytes was \
         read back in the same snapshot; the environment is gone"
    );
    teller.event("executed", Tone::Danger, &words, json!({ "change": 1, "executions": 1 }));
    Ok(())
}

async fn replayed(
    teller: &Teller,
    cast: &Cast,
    production: &Stage,
    credential: &str,
) -> Result<(), Failure> {
    let again = cast.agent(production, credential, ORDER).await?;
    let told = again.success && again.stderr.contains("executed as change 1");
    must(told, || format!("the outcome was not given: {}{}", again.stdout, again.stderr))?;
    teller.quote("psql", &format!("{ORDER}\n{}{}", again.stderr, again.stdout));
    let words = "the same statement again gets the recorded outcome; it did not run again";
    teller.event("replayed", Tone::Good, words, json!({ "change": 1 }));
    let change = cast.change(1).await?;
    must(change.executions == 1, || "it ran twice".to_owned())
}

async fn restored(
    teller: &Teller,
    cast: &Cast,
    production: &Stage,
    held: &str,
) -> Result<(), Failure> {
    teller.part("6  Taken back, by one command");
    let (how, seconds) = take_back(teller, cast).await?;
    let now = production.content().await?;
    must(now == held, || format!("contents differ:\n{held}\n{now}"))?;
    let words = format!("{how}; every row hashes as before");
    teller.event(
        "restored",
        Tone::Good,
        &words,
        json!({ "change": 1, "seconds": seconds, "equal": true, "content": now }),
    );
    Ok(())
}

/// How it was taken back, and in how many seconds where that was measured.
async fn take_back(teller: &Teller, cast: &Cast) -> Result<(String, Option<f64>), Failure> {
    if cast.has_console() {
        browser::taken_back(teller, cast).await?;
        return Ok(("change 1 is taken back, in his browser".to_owned(), None));
    }
    teller.pause("bob takes it back").await?;
    let began = Instant::now();
    let back = cast.restore("bob", 1).await?;
    let seconds = began.elapsed().as_secs_f64();
    must(back.ok, || format!("it was not taken back: {}", back.words))?;
    Ok((format!("{} in {seconds:.1} s", back.words), Some(seconds)))
}

async fn verified(teller: &Teller, cast: &Cast) -> Result<(), Failure> {
    teller.part("7  Evidence that anyone can verify, offline");
    let copy = cast.folder().join("evidence");
    let copied = cast.command(&["ledger", "export", &copy.display().to_string()]).await?;
    must(copied.ok, || copied.words.clone())?;
    let verify = |folder: &Path| {
        let (folder, key) = (folder.display().to_string(), folder.join("ledger.pub"));
        (folder, key.display().to_string())
    };
    let (folder, key) = verify(&copy);
    let good = cast.command(&["ledger", "verify", &folder, "--key", &key]).await?;
    must(good.ok, || format!("the ledger does not verify: {}", good.words))?;
    teller.event(
        "verified",
        Tone::Good,
        "the exported ledger, from its files and the public key alone",
        good.json,
    );
    tamper(&copy)?;
    let bad = cast.command(&["ledger", "verify", &folder, "--key", &key]).await?;
    must(!bad.ok, || "a tampered ledger verified".to_owned())?;
    let words = format!("one letter changed in the copy, and it fails: {}", bad.words);
    teller.event("tampered", Tone::Good, &words, json!({ "verified": false, "why": bad.words }));
    let checked = cast.command(&["doctor", "--consistency"]).await?;
    must(checked.ok, || format!("the store differs from the ledger: {}", checked.words))?;
    let words = "every change recomputed from the ledger: no differences";
    teller.event("consistent", Tone::Good, words, json!({}));
    Ok(())
}

/// Changes who approved, in the copy.
fn tamper(copy: &Path) -> Result<(), Failure> {
    let segment = copy.join(countermand_ledger::segment::file_name(0));
    let text = std::fs::read_to_string(&segment)?;
    let tampered = text.replacen("\"human\":\"bob\"", "\"human\":\"eve\"", 1);
    must(tampered != text, || "nothing was tampered with".to_owned())?;
    std::fs::write(&segment, tampered)?;
    Ok(())
}

/// Looks at a change until it is as wanted.
async fn wait(
    cast: &Cast,
    number: u64,
    what: &str,
    is: impl Fn(&ChangeView) -> bool,
) -> Result<Box<ChangeView>, Failure> {
    let began = Instant::now();
    loop {
        let change = cast.change(number).await?;
        if is(&change) {
            return Ok(change);
        }
        if began.elapsed() > PATIENCE {
            let history = change.history;
            return Err(Failure::new(format!("change {number} was not {what}: {history:#?}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether it can no longer be decided.
pub(super) fn ended(change: &ChangeView) -> bool {
    change.line.state != "held"
}

pub(super) fn must(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::new(otherwise())) }
}

fn farewell(teller: &Teller) {
    teller.part("Your own database");
    teller.say(
        "countermand init           makes keys and a commented countermand.toml\n\
         countermand doctor         says what is missing\n\
         countermand serve          runs the gateway\n\
         countermand agent add …    lets an agent in; it connects with psql to port 6432",
    );
}
