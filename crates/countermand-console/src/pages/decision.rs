//! One change: what a reviewer reads before they decide, and anyone afterwards.

use super::why::{Rule, Step, rules, ways};
use super::{Frame, Line, html};
use crate::api::numbered;
use crate::picture;
use crate::problem::Trouble;
use crate::radius::{self, Row};
use crate::reader::Reader;
use crate::text::{Listing, Markup, Text, When, count, digits, length, listing};
use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use countermand_core::radius::{Reversibility, human_bytes};
use countermand_engine::control::{ChangeLine, ChangeView};
use countermand_engine::explain::Explanation;
use jiff::Timestamp;
use tokio::sync::Semaphore;

/// So many others of the agent's are shown here; its own page has more.
const OTHERS: usize = 8;
/// So many of its acts stand above the picture; the table below has every object.
const DOES: usize = 12;

/// Who draws a page now.
static DRAWING: Semaphore = Semaphore::const_new(2);

/// What can be done: with a command where the reader's key is, and some of it on the page.
struct Act {
    words: &'static str,
    command: String,
    here: Option<Here>,
}

/// How the page itself does it.
struct Here {
    /// As `act.rs` knows it.
    act: &'static str,
    /// Whether it only stops, and is done without a signature.
    stops: bool,
    /// Whether what is signed is compared with what is shown here.
    compares: bool,
    /// Whether it asks why.
    why: bool,
    /// Whether it lets something happen that cannot be undone by stopping.
    danger: bool,
}

struct Lock {
    object: Text,
    mode: Text,
    blocks: Text,
    millis: String,
}

struct Past {
    at: When,
    words: Text,
}

/// Words of a fact, and whether they are good news.
struct Fact {
    good: bool,
    words: Vec<Text>,
}

#[derive(Template)]
#[template(path = "decision.html")]
struct Page {
    frame: Frame,
    line: Line,
    version: u64,
    adopted: Option<String>,
    own: bool,
    environment: String,
    target_tags: Vec<Text>,
    critical_target: bool,
    session: Text,
    said: Text,
    payload: Listing,
    kind: Text,
    /// Of all that is signed: what a statement is compared with before it is shown to be signed.
    subject: String,
    digest: String,
    /// Verb, effect and object of everything it does.
    does: Vec<Text>,
    rows: String,
    bytes: String,
    objects: String,
    picture: Markup,
    table: Vec<Row>,
    rehearsed: bool,
    signed: bool,
    locks: Vec<Lock>,
    unavailable: bool,
    reads: Vec<Text>,
    way_back: Fact,
    rehearsal: Fact,
    /// What forbade it when it was asked for.
    recorded: Vec<Text>,
    rules: Vec<Rule>,
    ways: Vec<Vec<Step>>,
    notes: Vec<Text>,
    approvals: Vec<Text>,
    cools: Option<When>,
    starts_by_itself: bool,
    /// It can still be decided about.
    waits: bool,
    forbidden_now: bool,
    acts: Vec<Act>,
    /// The seats that whoever looks could fill: where they are several, an approval says which.
    seats: Vec<String>,
    /// Who looks cannot approve it, and why.
    not_you: Option<&'static str>,
    ended: Option<Text>,
    outcome: Vec<Text>,
    others: Vec<Line>,
    tally: Vec<(String, usize)>,
    history: Vec<Past>,
}

/// `GET /changes/N`
pub(crate) async fn page(reader: Reader, Path(number): Path<String>) -> Result<Response, Trouble> {
    let (change, explanation) = reader.explained(numbered(&number)?).await?;
    let status = reader.status().await?;
    let others = reader.beside(&change.line).await?;
    let title = format!("Change {} {}", change.line.number, change.line.state);
    let frame = Frame::of(&reader, &status, "changes", title);
    let own = reader.human().as_str();
    // Other tasks of this process serve agents: a large page is made beside them, two at a time.
    let _turn = DRAWING.acquire().await.map_err(|_| Trouble::Unexpected)?;
    let (own, now) = (own.to_owned(), status.now);
    let drawn = tokio::task::spawn_blocking(move || {
        html(&build(frame, &change, &explanation, &others, &own, now))
    });
    drawn.await.map_err(|_| Trouble::Unexpected)?
}

fn build(
    frame: Frame,
    change: &ChangeView,
    explanation: &Explanation,
    others: &[ChangeLine],
    reader: &str,
    now: Timestamp,
) -> Page {
    let (line, preview) = (&change.line, &change.preview);
    let kept = matches!(line.state.as_str(), "forbidden" | "unsigned");
    let table = radius::rows(preview, change.rehearsed.as_ref());
    let objects = preview.radius.nodes.len() as u64;
    let lock = |lock: &countermand_core::radius::Lock| Lock {
        object: Text::of(lock.object.to_string()),
        mode: Text::of(&lock.mode),
        blocks: Text::of(&lock.blocks),
        millis: digits(lock.millis),
    };
    let past = |(at, words): &(Timestamp, String)| Past {
        at: When::seen_from(*at, now),
        words: Text::of(words),
    };
    Page {
        frame,
        line: Line::of(line, now),
        version: change.version,
        adopted: line.adopted.as_ref().map(ToString::to_string),
        own: line.agent.human().is_some(),
        environment: change.environment.to_string(),
        target_tags: Text::each(&change.target_tags),
        critical_target: change.target_tags.contains(radius::CRITICAL),
        session: Text::of(&change.session),
        said: Text::of(&change.said),
        payload: listing(&change.payload),
        kind: Text::of(&change.kind),
        subject: change.subject.to_string(),
        digest: preview.identity.payload.to_string(),
        does: Text::each(explanation.does.iter().take(DOES)),
        rows: count(preview.radius.rows(), "row"),
        bytes: human_bytes(preview.radius.bytes()),
        objects: count(objects, "object"),
        picture: picture::draw(&preview.radius),
        signed: table.iter().any(|row| !row.limit.is_empty()),
        table,
        rehearsed: change.rehearsed.is_some(),
        locks: preview.radius.locks.iter().map(lock).collect(),
        unavailable: preview.unavailable,
        reads: Text::each(preview.identity.reads.keys()),
        way_back: way_back(change),
        rehearsal: rehearsal(change),
        recorded: Text::each(kept.then_some(&change.reasons).into_iter().flatten()),
        rules: rules(explanation),
        ways: ways(explanation, reader),
        notes: Text::each(&explanation.notes),
        approvals: Text::each(&change.approvals),
        cools: change.cools_until.map(|until| When::seen_from(until, now)),
        starts_by_itself: change.starts_by_itself,
        waits: kept || line.state == "held",
        forbidden_now: change.forbidden_now && (kept || line.state == "held"),
        acts: acts(line, change.forbidden_now, change.cools_until.is_some()),
        seats: explanation.seats(reader).iter().map(ToString::to_string).collect(),
        not_you: not_you(line, explanation, reader),
        ended: change.ended.as_ref().map(Text::of),
        outcome: outcome(change),
        others: others.iter().take(OTHERS).map(|other| Line::of(other, now)).collect(),
        tally: tally(others),
        history: change.history.iter().rev().map(past).collect(),
    }
}

/// Whether, from what, and how fast it can be taken back.
fn way_back(change: &ChangeView) -> Fact {
    let estimates = &change.preview.estimates;
    let restorable = change.preview.reversibility == Reversibility::Restorable;
    let mut words = vec![change.preview.reversibility.to_string()];
    if !restorable {
        return Fact { good: false, words: Text::each(words) };
    }
    if change.preview.takes_nothing() {
        words
            .insert(0, "a restore does not remove what it makes; it takes nothing away".to_owned());
        return Fact { good: false, words: Text::each(words) };
    }
    match (&change.restore_point, &change.trial) {
        (Some(point), _) => words.push(format!(
            "kept in {}: {}, {}, read back",
            point.folder,
            count(point.tables.len() as u64, "table"),
            human_bytes(point.bytes)
        )),
        (None, Some(trial)) => words.push(format!(
            "tried and read back: {}, {}, in {} ms ({})",
            count(trial.tables.len() as u64, "table"),
            human_bytes(trial.bytes),
            digits(trial.millis),
            trial.folder
        )),
        // What is only hoped for does not stand first.
        (None, None) => words.insert(0, "no restore point was tried yet".to_owned()),
    }
    words.push(format!("taking it back takes about {}", length(estimates.recovery_seconds)));
    let proven = change.restore_point.is_some() || change.trial.is_some();
    Fact { good: proven, words: Text::each(words) }
}

/// What the engine saw in staging, beside what was measured here.
fn rehearsal(change: &ChangeView) -> Fact {
    let mut words = vec![change.rehearsal.clone()];
    if let Some(counts) = &change.rehearsed {
        let there = counts.values().fold(0, |sum: u64, rows| sum.saturating_add(*rows));
        let here = change.preview.radius.rows();
        words.push(format!("{} there, {} here", count(there, "row"), digits(here)));
    }
    Fact { good: change.rehearsed.is_some(), words: Text::each(words) }
}

/// What can be done, in the order in which it should come to mind: what stops first.
fn acts(line: &ChangeLine, forbidden_now: bool, cools: bool) -> Vec<Act> {
    let number = line.number;
    let act = |words, command, here| Act { words, command, here };
    let signed = |act, why, danger| {
        Some(Here {
            act,
            stops: false,
            compares: matches!(act, "reject" | "approve" | "adopt"),
            why,
            danger,
        })
    };
    let stops = |act, why| Some(Here { act, stops: true, compares: false, why, danger: false });
    let reject = || {
        let command = format!("countermand reject {number} --reason \"…\" --key KEY");
        act("Reject", command, signed("reject", true, false))
    };
    let withdraw = || {
        let command = format!("countermand changes withdraw {number}");
        act("Withdraw", command, stops("withdraw", false))
    };
    let stop = || {
        let command = format!("countermand changes stop {number} --reason \"…\"");
        act("Stop the cooling", command, stops("stop_cooling", true))
    };
    let adopt = |words| {
        let command = format!("countermand adopt {number} --key KEY");
        act(words, command, signed("adopt", false, true))
    };
    let resolve = |words, found, here| {
        let command = format!("countermand resolve {number} --{found} --reason \"…\" --key KEY");
        act(words, command, signed(here, true, true))
    };
    match line.state.as_str() {
        "held" => {
            let approve = format!("countermand approve {number} --key KEY");
            let approve = act("Approve", approve, signed("approve", false, true));
            let first = cools.then(stop).into_iter().chain([reject()]);
            first.chain((!forbidden_now).then_some(approve)).chain([withdraw()]).collect()
        }
        "forbidden" => vec![reject(), adopt("Adopt")],
        "unsigned" => vec![withdraw(), adopt("Sign")],
        "in doubt" => vec![
            resolve("You looked, and it was not committed", "rolled-back", "resolve_rolled_back"),
            resolve("You looked, and it was committed", "committed", "resolve_committed"),
        ],
        "executed" => vec![
            act(
                "See what taking it back does",
                format!("countermand restore {number} --plan"),
                None,
            ),
            act(
                "Take it back",
                format!("countermand restore {number} --key KEY"),
                signed("restore", false, true),
            ),
        ],
        _ => Vec::new(),
    }
}

fn not_you(line: &ChangeLine, explanation: &Explanation, reader: &str) -> Option<&'static str> {
    if line.state != "held" {
        return None;
    }
    let could =
        explanation.ways.iter().flatten().any(|step| step.from.iter().any(|it| it == reader));
    match (could, line.sponsor.as_str() == reader) {
        (true, _) => None,
        (false, true) => Some("It is your own agent's: somebody else approves it."),
        (false, false) => Some("Your approval is not what it lacks."),
    }
}

fn outcome(change: &ChangeView) -> Vec<Text> {
    let Some(outcome) = &change.outcome else { return Vec::new() };
    let said = format!("the target said: {}", outcome.said.join(", "));
    let rows =
        outcome.measured.iter().map(|(table, rows)| format!("{} in {table}", count(*rows, "row")));
    Text::each(std::iter::once(said).chain(rows.take(20)))
}

/// How often which end came of the agent's other changes.
fn tally(others: &[ChangeLine]) -> Vec<(String, usize)> {
    let mut tally: Vec<(String, usize)> = Vec::new();
    for other in others {
        match tally.iter_mut().find(|(state, _)| *state == other.state) {
            Some((_, count)) => *count += 1,
            None => tally.push((other.state.clone(), 1)),
        }
    }
    tally.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    tally
}

#[cfg(test)]
mod tests;
