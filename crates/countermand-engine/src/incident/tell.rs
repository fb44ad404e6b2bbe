//! From entries to what they say.

use super::{Affected, Flowed, Incident, Moment};
use crate::control::IncidentWanted;
use crate::record;
use crate::view;
use countermand_core::change::{Change, Event, Recorded, State};
use countermand_core::limits::Tally;
use countermand_core::name::AgentName;
use countermand_core::request::ChangeNumber;
use countermand_ledger::leaf::Leaf;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Moments in a timeline. What is beyond is counted.
const MOST: usize = 2000;
/// Characters of a text that somebody else wrote, in a moment. Its entry has it whole.
const WORDS: usize = 300;

/// An entry with its texts that were not erased.
pub(super) struct Entry {
    pub(super) leaf: Leaf,
    pub(super) texts: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    fn word(&self, member: &str) -> Option<&str> {
        self.leaf.body().get(member).and_then(Value::as_str)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.texts.get(name).map(|text| cut(&String::from_utf8_lossy(text)))
    }

    fn change(&self) -> Option<ChangeNumber> {
        let number = self.leaf.body().get("change").and_then(Value::as_u64).map(ChangeNumber);
        number.filter(|_| self.leaf.kind().starts_with("change."))
    }

    fn event(&self) -> Option<Recorded> {
        let leaf = &self.leaf;
        record::event_of(leaf.kind(), leaf.at(), leaf.body(), &self.texts).ok()
    }
}

/// Whom a change is of.
#[derive(Clone)]
struct Owner {
    agent: AgentName,
    sponsor: String,
}

/// What was told so far.
pub(super) struct Teller {
    agent: Option<AgentName>,
    subject: String,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    owners: BTreeMap<ChangeNumber, Owner>,
    concerned: BTreeSet<ChangeNumber>,
    /// Writes that may have flowed, by the entry of their intent, and whether it is known how each
    /// ended.
    intents: BTreeMap<u64, (BTreeMap<String, Tally>, Option<bool>)>,
    incident: Parts,
}

#[derive(Default)]
struct Parts {
    involved: BTreeMap<String, BTreeSet<String>>,
    changes: Vec<Affected>,
    flowed: Flowed,
    timeline: Vec<Moment>,
    left_out: u64,
    taken_back: Vec<String>,
    questions: Vec<String>,
}

impl Teller {
    pub(super) fn of(wanted: &IncidentWanted, since: Timestamp, until: Timestamp) -> Teller {
        let subject = match (&wanted.change, &wanted.agent) {
            (Some(change), _) => format!("change {change}"),
            (None, Some(agent)) => format!("agent {agent}"),
            (None, None) => "everything".to_owned(),
        };
        Teller {
            agent: wanted.agent.clone().filter(|_| wanted.change.is_none()),
            subject,
            since,
            until,
            owners: BTreeMap::new(),
            concerned: BTreeSet::new(),
            intents: BTreeMap::new(),
            incident: Parts::default(),
        }
    }

    /// The change of an entry, if nobody knows yet whose it is.
    pub(super) fn unknown_change(&self, entry: &Entry) -> Option<ChangeNumber> {
        entry.change().filter(|number| !self.owners.contains_key(number))
    }

    /// Takes in the first entry of a change.
    pub(super) fn learn(&mut self, number: ChangeNumber, first: &Entry) {
        let request = &first.leaf.body()["event"]["request"];
        let word = |member: &str| request[member].as_str().unwrap_or_default().to_owned();
        if let Ok(agent) = AgentName::new(word("agent")) {
            self.owners.insert(number, Owner { agent, sponsor: word("sponsor") });
        }
    }

    /// The changes that are told of.
    pub(super) fn changes(&self) -> Vec<ChangeNumber> {
        self.concerned.iter().copied().collect()
    }

    /// Takes in the next entry.
    pub(super) fn take(&mut self, entry: &Entry) {
        if let Some(number) = entry.change() {
            if matches!(entry.leaf.kind(), "change.held" | "change.forbidden") {
                self.learn(number, entry);
            }
            return self.take_event(number, entry);
        }
        let body = entry.leaf.body();
        match entry.leaf.kind() {
            "flow.batch" => {
                let all = body.get("flowed").and_then(Value::as_array);
                self.take_batch(entry, all.map_or(&[][..], Vec::as_slice));
            }
            "flow.intent" => self.take_intent(entry),
            kind if kind.starts_with("take_back.") => self.take_taken_back(entry),
            _ => self.take_other(entry),
        }
    }

    fn is_wanted(&self, agent: Option<&str>) -> bool {
        self.agent.as_ref().is_none_or(|wanted| agent == Some(wanted.as_str()))
    }

    fn did(&mut self, who: impl Into<String>, what: impl Into<String>) {
        self.incident.involved.entry(who.into()).or_default().insert(what.into());
    }

    fn happened(&mut self, entry: &Entry, change: Option<ChangeNumber>, words: String) {
        if self.incident.timeline.len() >= MOST {
            self.incident.left_out += 1;
            return;
        }
        self.incident.timeline.push(Moment {
            at: entry.leaf.at(),
            entry: entry.leaf.index(),
            kind: entry.leaf.kind().to_owned(),
            hash: entry.leaf.hash().to_string(),
            change,
            words,
        });
    }

    fn take_event(&mut self, number: ChangeNumber, entry: &Entry) {
        let owner = self.owners.get(&number).cloned();
        if !self.is_wanted(owner.as_ref().map(|owner| owner.agent.as_str())) {
            return;
        }
        self.concerned.insert(number);
        if let Some(Owner { agent, sponsor }) = owner {
            if agent.human().is_none() {
                self.did(agent.as_str(), format!("agent, for {sponsor}"));
            }
            self.did(sponsor, format!("answers for change {number}"));
        }
        let words = match entry.event() {
            Some(recorded) => {
                self.took_part(number, &recorded.event);
                cut(&view::words(&recorded))
            }
            None => "its texts were erased; their digests stand in the entry".to_owned(),
        };
        self.happened(entry, Some(number), words);
    }

    /// Which human did what.
    fn took_part(&mut self, number: ChangeNumber, event: &Event) {
        match event {
            Event::Approved { approval } => {
                let how = if approval.confirms { "confirmed" } else { "approved" };
                self.did(approval.human.as_str(), format!("{how} change {number}"));
            }
            Event::Rejected { human, .. } => {
                self.did(human.as_str(), format!("rejected change {number}"));
            }
            Event::Adopted { adoption } => {
                self.did(adoption.human.as_str(), format!("adopted change {number}"));
            }
            Event::RestoreBegun { human, .. } => {
                self.did(human.as_str(), format!("took change {number} back"));
            }
            Event::Withdrawn { by } => self.did(by, format!("withdrew change {number}")),
            Event::CoolingStopped { by, .. } => {
                self.did(by, format!("stopped the cooling of change {number}"));
            }
            _ => {}
        }
    }

    fn take_intent(&mut self, entry: &Entry) {
        if !self.is_wanted(entry.word("agent")) {
            return;
        }
        let (agent, target) = (entry.word("agent"), entry.word("target").unwrap_or_default());
        let tables: BTreeMap<String, Tally> = entry
            .leaf
            .body()
            .get("written")
            .and_then(|written| serde_json::from_value(written.clone()).ok())
            .unwrap_or_default();
        let rows = tables.iter().map(|(table, tally)| {
            let Tally { inserted, updated, deleted, .. } = tally;
            format!("{table}: {inserted} added, {updated} changed, {deleted} removed")
        });
        let rows = rows.collect::<Vec<_>>().join("; ");
        let what = entry.text("payload").unwrap_or_else(|| "(erased)".to_owned());
        let words = format!("{} wrote to {target}: {rows} {what}", agent.unwrap_or("?"));
        let tables = tables.into_iter().map(|(table, tally)| (format!("{target} {table}"), tally));
        let tables = tables.collect();
        let (agent, sponsor) = (agent.map(str::to_owned), entry.word("sponsor"));
        if let (Some(agent), Some(sponsor)) = (agent, sponsor) {
            self.did(agent, format!("agent, for {sponsor}"));
        }
        self.intents.insert(entry.leaf.index(), (tables, None));
        self.happened(entry, None, words);
    }

    fn take_batch(&mut self, entry: &Entry, all: &[Value]) {
        let mut refused: BTreeMap<String, u64> = BTreeMap::new();
        for what in all {
            if let Some(intent) = what["intent"].as_u64() {
                if let Some((_, ended)) = self.intents.get_mut(&intent) {
                    *ended = what["ok"].as_bool();
                }
                continue;
            }
            let Some(agent) = what["agent"].as_str().filter(|agent| self.is_wanted(Some(agent)))
            else {
                continue;
            };
            if what["refused"] == true {
                self.incident.flowed.refused += 1;
                let words = format!("{agent} in {}", what["target"].as_str().unwrap_or_default());
                *refused.entry(words).or_default() += 1;
            } else if what["ok"] == false {
                self.incident.flowed.undone += 1;
            } else {
                self.incident.flowed.read += 1;
            }
        }
        for (whose, times) in refused {
            self.happened(entry, None, format!("refused {times} of {whose}"));
        }
    }

    fn take_taken_back(&mut self, entry: &Entry) {
        let body = entry.leaf.body();
        let by = entry.word("by").or(entry.word("human")).unwrap_or_default();
        let rows = body.get("rows").map(ToString::to_string).unwrap_or_default();
        let why = entry.text("why").unwrap_or_default();
        let kind = entry.leaf.kind().replace(['.', '_'], " ");
        let words = format!("{kind} {by} {rows} {why}");
        if entry.leaf.kind() == "take_back.done" {
            self.did(by, "took writes back");
            let index = entry.leaf.index();
            self.incident.taken_back.push(format!("writes, by {by} (entry {index}): rows {rows}"));
        }
        self.happened(entry, None, words);
    }

    /// What is not about a request: sessions, freezes, configurations, agents, the gateway.
    fn take_other(&mut self, entry: &Entry) {
        let body = entry.leaf.body();
        if body.contains_key("agent") && !self.is_wanted(entry.word("agent")) {
            return;
        }
        let scope = entry.word("scope").unwrap_or_default();
        let named = scope.strip_prefix("agent ");
        if named.is_some() && !self.is_wanted(named) {
            return;
        }
        let kind = entry.leaf.kind();
        for member in ["by", "human", "editor", "sponsor"] {
            if let Some(who) = entry.word(member) {
                self.did(who, format!("{} ({kind})", member_words(member)));
            }
        }
        let told: Vec<String> = body.iter().filter_map(told).collect();
        let texts = ["reason", "why", "said"].iter().filter_map(|name| entry.text(name));
        let words: Vec<String> = told.into_iter().chain(texts).collect();
        self.happened(entry, None, words.join(", "));
    }

    /// Takes in a change, by all entries that it has.
    pub(super) fn whole(&mut self, number: ChangeNumber, entries: &[Entry]) {
        let events: Option<Vec<Recorded>> = entries.iter().map(Entry::event).collect();
        let folded = events.as_deref().and_then(Change::fold).and_then(Result::ok);
        let (Some(change), Some(first)) = (folded, entries.first()) else {
            let words = format!("of change {number} texts were erased: what it did is not told");
            self.incident.questions.push(words);
            return;
        };
        for recorded in events.iter().flatten() {
            self.went_back(number, recorded);
        }
        self.ask_about(&change);
        let rows = match &change.state {
            State::Executed(outcome) | State::Restored(outcome) => outcome.measured.clone(),
            _ => BTreeMap::new(),
        };
        let payload = first.texts.get("payload");
        self.incident.changes.push(Affected {
            number,
            state: view::word(&change).to_owned(),
            agent: change.request.agent.clone(),
            sponsor: change.request.sponsor.clone(),
            adopted: change.adopter().cloned(),
            target: change.request.target.clone(),
            environment: change.request.environment.to_string(),
            summary: change.preview.radius.summary(),
            way_back: change.preview.reversibility.to_string(),
            rows,
            payload: payload.map(|text| String::from_utf8_lossy(text).into_owned()),
            entry: first.leaf.index(),
        });
    }

    fn went_back(&mut self, number: ChangeNumber, recorded: &Recorded) {
        let Recorded { at, event } = recorded;
        let words = match event {
            Event::Restored { human, rows, equal, overwritten } => {
                let rows: u64 = rows.values().fold(0, |sum, rows| sum.saturating_add(*rows));
                let compared = if *equal { "equal to the restore point" } else { "NOT equal" };
                let over = overwritten.join(", ");
                let over = if over.is_empty() { over } else { format!("; overwritten: {over}") };
                format!("by {human}: {rows} rows brought back, contents {compared}{over}")
            }
            Event::RestoreFailed { human, why } => format!("tried by {human}, and failed: {why}"),
            Event::RestoreInDoubt { human, why } => format!("tried by {human}, in doubt: {why}"),
            _ => return,
        };
        self.incident.taken_back.push(cut(&format!("change {number} at {at:.0} {words}")));
    }

    /// What stays open about a change.
    fn ask_about(&mut self, change: &Change) {
        let number = change.request.number;
        let executed = matches!(change.state, State::Executed(_));
        let mut ask = |is: bool, words: &str| {
            if is {
                self.incident.questions.push(format!("change {number} {words}"));
            }
        };
        ask(
            matches!(change.state, State::InDoubt { .. }),
            "is in doubt: was it committed? Look in the target",
        );
        ask(executed, "was executed and not taken back: is what it did wanted?");
        ask(change.is_confirmed(), "was confirmed by its own sponsor: who else has looked at it?");
        let failed = change.watch.as_ref().is_some_and(countermand_core::watch::Watch::alarms);
        ask(failed, "was executed and its watch did not end well: what does the target say now?");
        ask(change.state.is_open(), "is still open: reject it, or let it end");
    }

    /// All of it.
    pub(super) fn told(
        mut self,
        installation: &str,
        now: Timestamp,
        checkpoint: Option<String>,
    ) -> Incident {
        self.count_writes();
        let Parts { involved, changes, flowed, timeline, left_out, taken_back, mut questions } =
            self.incident;
        let why = "why was it asked for? The ledger has what was asked and by whom, not why";
        questions.push(why.to_owned());
        Incident {
            installation: installation.to_owned(),
            subject: self.subject,
            since: self.since,
            until: self.until,
            told: now,
            involved: involved
                .into_iter()
                .map(|(who, did)| (who, did.into_iter().collect()))
                .collect(),
            changes,
            flowed,
            timeline,
            left_out,
            taken_back,
            questions,
            checkpoint,
        }
    }

    fn count_writes(&mut self) {
        let mut unknown = 0;
        for (tables, ended) in std::mem::take(&mut self.intents).into_values() {
            if ended == Some(false) {
                self.incident.flowed.undone += 1;
                continue;
            }
            unknown += u64::from(ended.is_none());
            self.incident.flowed.written += 1;
            for (table, tally) in tables {
                let rows = self.incident.flowed.rows.entry(table).or_default();
                for (sum, rows) in
                    rows.iter_mut().zip([tally.inserted, tally.updated, tally.deleted])
                {
                    *sum = sum.saturating_add(rows);
                }
            }
        }
        if unknown > 0 {
            let words = format!(
                "of {unknown} writes the ledger does not say how they ended: look in the target"
            );
            self.incident.questions.push(words);
        }
    }
}

/// A member of an entry's body in words, where it says something to people.
fn told((name, value): (&String, &Value)) -> Option<String> {
    const SAYS: [&str; 12] = [
        "agent",
        "target",
        "scope",
        "by",
        "human",
        "editor",
        "sponsor",
        "configuration",
        "version",
        "until",
        "expires",
        "peer",
    ];
    let said = match value {
        Value::String(text) => cut(text),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    SAYS.contains(&name.as_str()).then(|| format!("{name} {said}"))
}

fn member_words(member: &str) -> &'static str {
    match member {
        "editor" => "edited",
        "sponsor" => "sponsor",
        _ => "did",
    }
}

/// At most so many characters of a text, which its entry has whole.
fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(WORDS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("é"), "é");
        assert_eq!(cut(&"é".repeat(WORDS + 1)).chars().count(), WORDS + 1);
    }
}
