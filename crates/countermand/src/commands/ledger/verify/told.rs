//! What entries have told so far, and what a statement says of it: a change is decided as it was asked,
//! a standing approval carries what it was signed for, and what was signed counts once.

use super::stated::{at, shown};
use countermand_core::digest::Digest;
use countermand_core::name::AgentName;
use countermand_core::preview::Counts;
use countermand_core::standing::StandingSubject;
use countermand_core::statement::{Act, ReviewSubject, Statement};
use countermand_ledger::keyring;
use countermand_ledger::leaf::Leaf;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What entries have told so far.
#[derive(Default)]
pub(super) struct Told {
    /// Whoever was let in, with the sponsor who signed for that last.
    agents: BTreeMap<String, Value>,
    changes: BTreeMap<u64, Change>,
    standings: BTreeMap<u64, Standing>,
    flows: Flows,
    /// Who signed that writes are taken back, by the entry that says so.
    wishes: BTreeMap<u64, Value>,
    nonces: BTreeSet<String>,
    /// The one that statements name; it stays, once an agent was let in.
    installation: Option<String>,
    /// The entry that put another key in the place of the ledger's, where people signed it.
    new_key: Option<u64>,
}

/// A change.
struct Change {
    /// `agent`, `sponsor`, `target`, `payload` and `shape`.
    request: Value,
    adopter: Value,
    /// What was signed of it, since it was measured last: the subject, whoever adopted it.
    subject: Option<Digest>,
    /// The most rows that each of those who signed it let it lose or change, by table.
    ceilings: Vec<BTreeMap<String, u64>>,
    /// Who takes it back just now.
    restoring: Value,
}

/// A standing approval.
struct Standing {
    signed: Timestamp,
    statement: String,
    subject: StandingSubject,
    ended: bool,
    carried: BTreeSet<u64>,
    last: Option<Timestamp>,
}

/// Writes that flowed: when, and whose in which target.
#[derive(Default)]
struct Flows {
    written: BTreeMap<u64, (Timestamp, usize)>,
    by: BTreeMap<(String, String), usize>,
}

impl Told {
    /// Whether a statement is of what entries before this one tell. `alone` says whether one human may
    /// have been all there was.
    pub(super) fn admits(
        &mut self,
        statement: &Statement,
        leaf: &Leaf,
        alone: bool,
    ) -> Result<(), String> {
        match &statement.act {
            Act::Approve(subject) | Act::Adopt(subject) => {
                let signer = json!(statement.signer);
                let change = self.change(subject.change.0)?;
                change.is_asked(subject)?;
                if json!(subject.adopted) != change.adopter {
                    let adopter = shown(&change.adopter);
                    return Err(format!("the change was adopted by {adopter}"));
                }
                let own = change.is_own_of(&signer) && matches!(statement.act, Act::Approve(_));
                may_be_own(own, alone, &signer)?;
                change.signs(subject)
            }
            Act::Reject { subject, .. } => self.change(subject.change.0)?.is_asked(subject),
            Act::Restore { change, .. } => self.change(change.0).map(drop),
            Act::Resolve { change, .. } => {
                let signer = json!(statement.signer);
                let own = self.change(change.0)?.is_own_of(&signer);
                if *at(leaf, "/event/confirms") != own {
                    return Err("whether its signer answers for the change is told wrongly".into());
                }
                may_be_own(own, alone, &signer)
            }
            Act::ApproveStanding(subject) => {
                let own = subject.sponsor == statement.signer;
                may_be_own(own, alone, &json!(statement.signer))?;
                match leaf.kind() {
                    "standing.approved" => self.stands(statement, subject, leaf),
                    _ => self.carries(statement, leaf),
                }
            }
            Act::TakeBack { agent, target, since, until, .. } => {
                self.flows.are_of((agent.as_str(), target.as_str()), *since, *until, leaf)
            }
            _ => Ok(()),
        }
    }

    /// Whether what was signed still counted, for this installation, and had not counted before.
    pub(super) fn spend(&mut self, statement: &Statement, leaf: &Leaf) -> Result<(), String> {
        let known = self.installation.get_or_insert_with(|| statement.installation.to_string());
        if *known != statement.installation.as_str() {
            let of = &statement.installation;
            return Err(format!("what was signed is for installation `{of}`"));
        }
        // Given beforehand: spent once, and counted for each change until it ends.
        if leaf.kind() == "change.approved" && matches!(statement.act, Act::ApproveStanding(_)) {
            return Ok(());
        }
        if statement.expires.as_millisecond() < leaf.at().as_millisecond() {
            return Err(format!("what was signed had ended at {}", statement.expires));
        }
        if !self.nonces.insert(statement.nonce.clone()) {
            return Err("what was signed counts once, and has counted before".to_owned());
        }
        Ok(())
    }

    /// An entry of the ledger, in its order; its statement, if it takes one, is of what it tells.
    pub(super) fn read(&mut self, leaf: &Leaf) -> Result<(), String> {
        let number = at(leaf, "/change").as_u64().unwrap_or_default();
        match leaf.kind() {
            "agent.added" => {
                let agent = at(leaf, "/agent").as_str().unwrap_or_default().to_owned();
                self.agents.insert(agent, at(leaf, "/sponsor").clone());
                Ok(())
            }
            "change.held" | "change.forbidden" => self.opened(number, leaf),
            "change.voided" => self.change(number).map(Change::void),
            "change.adopted" => {
                self.change(number)?.adopter = at(leaf, "/event/adoption/human").clone();
                Ok(())
            }
            "change.committing" => self.change(number)?.admits(at(leaf, "/event/measured")),
            "change.restore_begun" => {
                self.change(number)?.restoring = at(leaf, "/event/human").clone();
                Ok(())
            }
            "change.restored" | "change.restore_failed" | "change.restore_in_doubt" => {
                self.change(number)?.ends_restore(at(leaf, "/event/human"))
            }
            "standing.ended" => {
                let number = at(leaf, "/standing").as_u64().unwrap_or_default();
                self.standing(number).map(|standing| standing.ended = true)
            }
            "flow.intent" => {
                self.flows.read(leaf);
                Ok(())
            }
            "take_back.intended" => {
                let signer = signer(leaf);
                self.wishes.insert(leaf.index(), signer);
                Ok(())
            }
            "take_back.done" | "take_back.failed" => self.took_back(leaf),
            // Before an agent is let in an installation may still get another name.
            "config.applied" if *at(leaf, "/unsigned") == true => {
                self.installation = None;
                Ok(())
            }
            keyring::CHANGED => {
                self.new_key = leaf.body().get("statement").map(|_| leaf.index());
                Ok(())
            }
            keyring::VOUCHED if self.new_key.is_none_or(|at| at + 1 != leaf.index()) => {
                Err("a key was replaced that still signed, and nobody signed for that".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn opened(&mut self, number: u64, leaf: &Leaf) -> Result<(), String> {
        let mut request = json!({});
        for name in ["agent", "sponsor", "target", "payload", "shape"] {
            request[name] = at(leaf, &format!("/event/request/{name}")).clone();
        }
        self.is_let_in(&request)?;
        let change = Change {
            request,
            adopter: Value::Null,
            subject: None,
            ceilings: Vec::new(),
            restoring: Value::Null,
        };
        match self.changes.insert(number, change) {
            None => Ok(()),
            Some(_) => Err(format!("change {number} was asked for before")),
        }
    }

    /// Who asks was let in by the sponsor who is told, or is a human who asks for themself.
    fn is_let_in(&self, request: &Value) -> Result<(), String> {
        let agent: Option<AgentName> = serde_json::from_value(request["agent"].clone()).ok();
        let own = agent.as_ref().and_then(AgentName::human).map(|human| json!(human));
        let sponsor = own.or_else(|| self.agents.get(agent?.as_str()).cloned());
        match sponsor.as_ref() == Some(&request["sponsor"]) {
            true => Ok(()),
            false => {
                let (agent, sponsor) = (shown(&request["agent"]), shown(&request["sponsor"]));
                Err(format!("{agent} was not let in by {sponsor}"))
            }
        }
    }

    fn took_back(&self, leaf: &Leaf) -> Result<(), String> {
        let wish = at(leaf, "/wish").as_u64().and_then(|wish| self.wishes.get(&wish));
        match wish {
            Some(by) if by == at(leaf, "/by") => Ok(()),
            _ => Err("nobody signed that these writes are taken back".to_owned()),
        }
    }

    fn change(&mut self, number: u64) -> Result<&mut Change, String> {
        let unknown = || format!("no entry before it tells who asked for change {number}");
        self.changes.get_mut(&number).ok_or_else(unknown)
    }

    fn standing(&mut self, number: u64) -> Result<&mut Standing, String> {
        let unknown = || format!("no entry before it tells of standing approval {number}");
        self.standings.get_mut(&number).ok_or_else(unknown)
    }

    /// A standing approval was signed, from an example.
    fn stands(
        &mut self,
        statement: &Statement,
        subject: &StandingSubject,
        leaf: &Leaf,
    ) -> Result<(), String> {
        self.change(subject.example.0)?.is_like(subject)?;
        let number = self.standings.len() as u64 + 1;
        if *at(leaf, "/standing") != number {
            return Err(format!("it would be standing approval {number}"));
        }
        let statement = String::from_utf8_lossy(&statement.to_bytes()).into_owned();
        let standing = Standing {
            signed: leaf.at(),
            statement,
            subject: subject.clone(),
            ended: false,
            carried: BTreeSet::new(),
            last: None,
        };
        self.standings.insert(number, standing);
        Ok(())
    }

    /// A standing approval counts for a change.
    fn carries(&mut self, statement: &Statement, leaf: &Leaf) -> Result<(), String> {
        let number = at(leaf, "/event/approval/standing/number").as_u64().unwrap_or_default();
        let change = at(leaf, "/change").as_u64().unwrap_or_default();
        let standing = self.standing(number)?;
        if standing.statement.as_bytes() != statement.to_bytes() {
            return Err(format!("something else was signed as standing approval {number}"));
        }
        standing.carries(change, leaf)?;
        let subject = standing.subject.clone();
        let change = self.change(change)?;
        change.is_like(&subject)?;
        change
            .is_subject(serde_json::from_value(at(leaf, "/event/approval/subject").clone()).ok())?;
        change.ceilings.push(subject.ceiling);
        Ok(())
    }
}

impl Change {
    fn is(&self, asked: [(&str, Value); 4]) -> Result<(), String> {
        for (name, signed) in asked {
            let told = &self.request[name];
            if *told != signed {
                let (told, signed) = (shown(told), shown(&signed));
                return Err(format!("the change's {name} is {told}, and {signed} was signed for"));
            }
        }
        Ok(())
    }

    /// Whether what was signed is what was asked.
    fn is_asked(&self, subject: &ReviewSubject) -> Result<(), String> {
        self.is([
            ("agent", json!(subject.requester)),
            ("sponsor", json!(subject.sponsor)),
            ("target", json!(subject.identity.target)),
            ("payload", json!(subject.identity.payload)),
        ])
    }

    /// Whether it is asked in what a standing approval is for.
    fn is_like(&self, subject: &StandingSubject) -> Result<(), String> {
        if self.adopter != Value::Null {
            return Err("a human adopted the change: it is signed for itself".to_owned());
        }
        self.is([
            ("agent", json!(subject.requester)),
            ("sponsor", json!(subject.sponsor)),
            ("target", json!(subject.scene.target)),
            ("shape", json!(subject.shape)),
        ])
    }

    fn is_own_of(&self, human: &Value) -> bool {
        self.request["sponsor"] == *human || self.adopter == *human
    }

    /// Takes in what somebody signed of it.
    fn signs(&mut self, subject: &ReviewSubject) -> Result<(), String> {
        let bare = ReviewSubject { seat: None, adopted: None, ..subject.clone() };
        self.is_subject(Some(Digest::of(&bare)))?;
        let rows = subject.ceiling.rows.iter();
        self.ceilings.push(rows.map(|(table, row)| (table.clone(), row.limit)).collect());
        Ok(())
    }

    /// All who sign it sign the same, until it is measured anew.
    fn is_subject(&mut self, digest: Option<Digest>) -> Result<(), String> {
        let digest = digest.ok_or("it does not name what was signed")?;
        match *self.subject.get_or_insert(digest) == digest {
            true => Ok(()),
            false => Err("another signed something else of this change".to_owned()),
        }
    }

    /// Whether all who signed it let it do this much.
    fn admits(&self, measured: &Value) -> Result<(), String> {
        let measured: Counts = serde_json::from_value(measured.clone())
            .map_err(|error| format!("what was measured: {error}"))?;
        for (table, rows) in &measured {
            let most = self.ceilings.iter().map(|most| most.get(table).copied().unwrap_or(0));
            if let Some(most) = most.min().filter(|most| rows > most) {
                let table = shown(&json!(table));
                return Err(format!("{rows} rows of {table}, and {most} were signed for"));
            }
        }
        Ok(())
    }

    fn void(&mut self) {
        (self.adopter, self.subject) = (Value::Null, None);
        self.ceilings.clear();
    }

    fn ends_restore(&mut self, human: &Value) -> Result<(), String> {
        match std::mem::take(&mut self.restoring) {
            Value::Null => Err("nobody signed that it is taken back".to_owned()),
            by if by != *human => Err(format!("{} signed that it is taken back", shown(&by))),
            _ => Ok(()),
        }
    }
}

impl Standing {
    /// Counts one more change, if there is one left to count.
    fn carries(&mut self, change: u64, leaf: &Leaf) -> Result<(), String> {
        let (now, subject) = (leaf.at(), &self.subject);
        if *at(leaf, "/event/approval/standing/signed") != json!(self.signed) {
            return Err("the standing approval was signed at another time".to_owned());
        }
        if self.ended || now >= subject.until {
            return Err("the standing approval had ended".to_owned());
        }
        let since = self.last.map(|last| now.duration_since(last).as_secs());
        let apart = i64::try_from(subject.apart).unwrap_or(i64::MAX);
        let runs = subject.runs.map_or(u64::MAX, u64::from);
        let is_after = change > subject.example.0 && !self.carried.contains(&change);
        if since.is_some_and(|since| since < apart)
            || self.carried.len() as u64 >= runs
            || !is_after
        {
            return Err(
                "the standing approval carries no such change, or not yet, or no more".to_owned()
            );
        }
        self.carried.insert(change);
        self.last = Some(now);
        Ok(())
    }
}

impl Flows {
    fn read(&mut self, leaf: &Leaf) {
        let name = |path| at(leaf, path).as_str().unwrap_or_default().to_owned();
        let next = self.by.len();
        let by = *self.by.entry((name("/agent"), name("/target"))).or_insert(next);
        self.written.insert(leaf.index(), (leaf.at(), by));
    }

    /// Whether the writes that an entry names are this agent's in this target, in this time.
    fn are_of(
        &self,
        (agent, target): (&str, &str),
        since: Timestamp,
        until: Timestamp,
        leaf: &Leaf,
    ) -> Result<(), String> {
        let by = self.by.get(&(agent.to_owned(), target.to_owned()));
        let meant = since.as_millisecond()..=until.as_millisecond();
        let is_meant = |index: &Value| {
            let written = index.as_u64().and_then(|index| self.written.get(&index));
            written.is_some_and(|(at, whose)| {
                by == Some(whose) && meant.contains(&at.as_millisecond())
            })
        };
        let writes = at(leaf, "/writes").as_array().ok_or("it names no writes")?;
        match writes.iter().find(|index| !is_meant(index)) {
            None => Ok(()),
            Some(index) => {
                let index = shown(index);
                Err(format!("entry {index} is no write that was signed to be taken back"))
            }
        }
    }
}

/// Who answers for a change signs it only where nobody else is there.
fn may_be_own(own: bool, alone: bool, signer: &Value) -> Result<(), String> {
    match own && !alone {
        true => Err(format!("{} answers for the change, and is not alone", shown(signer))),
        false => Ok(()),
    }
}

fn signer(leaf: &Leaf) -> Value {
    let statement = at(leaf, "/statement").as_str().unwrap_or_default();
    let statement: Value = serde_json::from_str(statement).unwrap_or_default();
    statement.get("signer").cloned().unwrap_or_default()
}
