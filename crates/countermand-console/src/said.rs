//! What a statement says, for people: line by line, with nothing hidden in it.

use crate::text::{Text, count};
use countermand_core::digest::Digest;
use countermand_core::preview::Ceiling;
use countermand_core::statement::{Act, ConfigurationSubject, ReviewSubject, Statement};
use countermand_engine::control::ChangeView;
use countermand_engine::target::RestorePlan;

/// What a page that showed this change calls all that is signed of it. The seat is the signer's.
pub(crate) fn seen(subject: &ReviewSubject) -> Digest {
    Digest::of(&ReviewSubject { seat: None, ..subject.clone() })
}

/// The statement in words: names and what they are.
pub(crate) fn in_words(
    statement: &Statement,
    change: Option<&ChangeView>,
) -> Vec<(&'static str, String)> {
    let mut said = Vec::new();
    let mut say = |name, words: String| said.push((name, Text::of(words).to_string()));
    match &statement.act {
        // Only alone in an installation: anywhere else it is refused.
        Act::Approve(subject) if subject.sponsor == statement.signer => {
            say(
                "you confirm",
                format!("change {}: it runs, once, and no peer looked", subject.change),
            );
            of_change(&mut say, subject, change);
        }
        Act::Approve(subject) => {
            say("you approve", format!("change {}: it runs, once", subject.change));
            of_change(&mut say, subject, change);
        }
        Act::Adopt(subject) => {
            say("you adopt", format!("change {}: it becomes your own", subject.change));
            of_change(&mut say, subject, change);
        }
        Act::Reject { subject, reason } => {
            say("you reject", format!("change {}: it never runs", subject.change));
            say("because", reason.clone());
            of_change(&mut say, subject, change);
        }
        Act::Restore { change: number, overwrite } => {
            say("you take back", format!("change {number}"));
            let stays = "what changed since stays, and nothing is taken back then";
            let goes = "also what changed since is overwritten";
            say("over others", if *overwrite { goes } else { stays }.to_owned());
            measured(&mut say, change.map(|change| &change.preview.ceiling));
        }
        Act::Resolve { change: number, committed, reason } => {
            let found = if *committed { "was committed" } else { "was not committed" };
            say("you resolve", format!("change {number}: you looked, and it {found}"));
            say("because", reason.clone());
            measured(&mut say, change.map(|change| &change.preview.ceiling));
        }
        Act::Thaw { what } => say("you let run again", what.clone()),
        Act::ApproveConfiguration { number, editor, subject } => {
            say("you approve", format!("configuration {number}, which {editor} wrote"));
            of_configuration(&mut say, subject);
        }
        other => say("you sign", other.name().replace('_', " ")),
    }
    say("as", statement.signer.to_string());
    say("installation", statement.installation.to_string());
    say("good until", statement.expires.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    said
}

/// What taking a change back would do.
pub(crate) fn of_plan(plan: &RestorePlan) -> Vec<(&'static str, String)> {
    let rows = plan
        .rows
        .iter()
        .map(|(table, rows)| ("comes back", format!("{} of {table}", count(*rows, "row"))));
    let each = |name, words: &[String]| -> Vec<_> {
        words.iter().map(|words| (name, words.clone())).collect()
    };
    let lists = [
        each("made again", &plan.objects),
        each("changed since", &plan.conflicts),
        each("stays lost", &plan.missing),
    ];
    let said = rows.chain(lists.into_iter().flatten());
    said.map(|(name, words)| (name, Text::of(words).to_string())).collect()
}

fn of_change(
    say: &mut impl FnMut(&'static str, String),
    subject: &ReviewSubject,
    change: Option<&ChangeView>,
) {
    if let Some(change) = change {
        say("what", change.line.summary.clone());
    }
    say("in", subject.identity.target.to_string());
    let asked = match subject.requester.human() {
        Some(human) => format!("{human}, for themself"),
        None => format!("{}, for {}", subject.requester, subject.sponsor),
    };
    say("asked by", asked);
    if let Some(human) = &subject.adopted {
        say("adopted by", human.to_string());
    }
    if let Some(seat) = &subject.seat {
        say("your seat", seat.to_string());
    }
    for (table, limit) in &subject.ceiling.rows {
        say("at most", format!("{} of {table}", count(limit.limit, "row")));
    }
    if subject.ceiling.rows.is_empty() {
        say("at most", "no row lost or changed".to_owned());
    }
    measured(say, Some(&subject.ceiling));
    say("way back", subject.reversibility.to_string());
    say("payload", subject.identity.payload.to_string());
    say("all of it", seen(subject).to_string());
}

/// What was counted: the largest of it is typed back.
fn measured(say: &mut impl FnMut(&'static str, String), ceiling: Option<&Ceiling>) {
    for (table, limit) in ceiling.into_iter().flat_map(|ceiling| &ceiling.rows) {
        say("measured", format!("{} of {table}", count(limit.measured, "row")));
    }
}

fn of_configuration(say: &mut impl FnMut(&'static str, String), subject: &ConfigurationSubject) {
    for words in &subject.differences {
        say("difference", words.clone());
    }
    for words in &subject.observed {
        say("observed", words.clone());
    }
    say("digest", subject.digest.to_string());
}
