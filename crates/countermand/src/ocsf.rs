//! The ledger for a SIEM: each entry as an event of the Open Cybersecurity Schema Framework.
//!
//! An entry alone makes its event, whatever was exported before: the same entry gives the same bytes
//! again. Texts that lie sealed beside it are not looked at; their digests are told, as of what people
//! signed, whose words stand in it.

pub(crate) mod place;
#[cfg(test)]
mod tests;

use countermand_core::digest::Digest;
use countermand_core::effect::Effect;
use countermand_core::name::{AgentName, HumanName};
use countermand_core::verb::Verb;
use countermand_engine::{Kind, UnknownKind};
use countermand_ledger::leaf::Leaf;
use place::{Class, Place, Status};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::str::FromStr;

/// The version of the schema that events are written in: <https://schema.ocsf.io/1.3.0/>.
const SCHEMA: &str = "1.3.0";
const PRODUCT: &str = "Countermand";
/// What stands in entries where the gateway did it by itself.
const GATEWAY: [&str; 2] = ["restore", "lost key"];
const RESTORED: &str = "the gateway was restored";
/// What stands behind the name of a human who logged in to the console.
const IN_THE_CONSOLE: &str = " in the console, ";
/// What of an entry's body is told by its digest: whoever signed wrote their reasons there, and how
/// configurations differ.
const SIGNED: [&str; 2] = ["statement", "signature"];

/// Where an export stands: the next event is part `part` of entry `entry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The entry.
    pub entry: u64,
    /// Which of its events, from 0. Only what flowed has several.
    pub part: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.part {
            0 => write!(f, "{}", self.entry),
            part => write!(f, "{}.{part}", self.entry),
        }
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Position, String> {
        let (entry, part) = text.split_once('.').unwrap_or((text, "0"));
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|_| plain)
        };
        match (number(entry), number(part)) {
            (Some(entry), Some(part)) => Ok(Position { entry, part }),
            _ => Err(format!("`{text}` is not an entry's number, such as `41`, or `41.3`")),
        }
    }
}

/// The events of an entry, each a line of ASCII without its newline. `ledger` is the origin of the
/// ledger's checkpoints.
///
/// # Errors
/// The entry's kind is unknown here.
pub(crate) fn events(leaf: &Leaf, ledger: &str) -> Result<Vec<String>, UnknownKind> {
    let kind = leaf.kind().parse()?;
    let body = leaf.body();
    let flowed = body.get("flowed").and_then(Value::as_array).filter(|_| kind == Kind::FlowBatch);
    let told = match flowed {
        Some(items) if !items.is_empty() => items.iter().map(of_flowed).collect(),
        _ => vec![Told::of(kind, place_of(kind, body), body, leaf.index())],
    };
    let parts = told.len() as u64;
    let event = |(part, told)| event(leaf, ledger, told, part, parts);
    Ok((0..parts).zip(told).map(event).map(|event| ascii(&event)).collect())
}

fn place_of(kind: Kind, body: &Map<String, Value>) -> Place {
    match kind {
        Kind::FlowIntent => place::intended(effect(body), body.contains_key("observed")),
        _ => place::of(kind),
    }
}

/// What an event tells, before it stands in its class.
struct Told<'a> {
    kind: Kind,
    place: Place,
    body: &'a Map<String, Value>,
    /// What the schema knows: of the class's own attributes, and of those that every class may have.
    attributes: Map<String, Value>,
    correlation: Option<String>,
}

impl<'a> Told<'a> {
    fn of(kind: Kind, place: Place, body: &'a Map<String, Value>, index: u64) -> Told<'a> {
        let correlation = correlation(kind, body, index);
        let mut told = Told { kind, place, body, attributes: Map::new(), correlation };
        match place.class {
            Class::ApiActivity => told.api(),
            Class::Authentication => told.authentication(),
            Class::AccountChange => told.account(),
            Class::EntityManagement => told.entity(),
            Class::DetectionFinding => told.finding(),
            Class::ApplicationLifecycle => {
                let mut app = product();
                if let Some(version) = word(body, "version") {
                    app["version"] = json!(version);
                }
                told.put("app", app);
            }
        }
        told
    }

    fn put(&mut self, name: &str, value: Value) {
        self.attributes.insert(name.to_owned(), value);
    }

    fn human_if_known(&mut self) {
        if let Some(actor) = human(self.body) {
            self.put("actor", actor);
        }
    }

    fn api(&mut self) {
        let verbs = verbs(self.body);
        let operation =
            if verbs.is_empty() { self.kind.name().to_owned() } else { verbs.join(",") };
        self.put("api", json!({ "operation": operation, "service": { "name": "countermand" } }));
        // Of what nobody asked for, the gateway is the actor.
        self.put("actor", actor(self.body).unwrap_or_else(|| json!({ "app_name": PRODUCT })));
        self.put("src_endpoint", json!({ "svc_name": "countermand" }));
        let mut resources = Vec::new();
        if let Some(target) = target(self.body) {
            resources.push(json!({ "type": "target", "name": target }));
        }
        if let Some(change) = number(self.body, "change") {
            resources.push(json!({ "type": "change", "uid": change.to_string() }));
        }
        if !resources.is_empty() {
            self.put("resources", Value::Array(resources));
        }
    }

    fn authentication(&mut self) {
        self.put("user", agent(word(self.body, "agent").unwrap_or("unknown")));
        let target = word(self.body, "target").unwrap_or("unknown");
        self.put("service", json!({ "name": target }));
        self.put("auth_protocol_id", json!(99));
        self.put("auth_protocol", json!("SCRAM"));
        if let Some(session) = word(self.body, "session") {
            self.put("session", json!({ "uid": session }));
        }
        let peer = word(self.body, "peer");
        if let Some(address) = peer.and_then(|peer| peer.parse::<SocketAddr>().ok()) {
            let (ip, port) = (address.ip().to_string(), address.port());
            self.put("src_endpoint", json!({ "ip": ip, "port": port }));
        } else if let Some(peer) = peer {
            self.put("src_endpoint", json!({ "name": peer }));
        }
    }

    fn account(&mut self) {
        self.put("user", agent(word(self.body, "agent").unwrap_or("unknown")));
        // The agent is what is changed, and never who changes it.
        let who = human(self.body).unwrap_or_else(|| json!({ "app_name": PRODUCT }));
        self.put("actor", who);
    }

    fn entity(&mut self) {
        let body = self.body;
        let digest = || word(body, "digest").map(str::to_owned);
        let (of, uid) = match self.kind {
            Kind::FreezeOn | Kind::FreezeOff => ("scope", word(body, "scope").map(str::to_owned)),
            Kind::StandingApproved | Kind::StandingEnded => {
                ("standing approval", number(body, "standing").map(|n| n.to_string()))
            }
            Kind::LedgerKeyChanged | Kind::LedgerKeyVouched | Kind::LedgerTextsKeyChanged => {
                ("ledger key", word(body, "to").map(str::to_owned))
            }
            Kind::TextsErased => ("texts", None),
            _ => {
                let number = number(body, "configuration").map(|n| n.to_string());
                ("configuration", number.or_else(digest))
            }
        };
        let entity = match uid {
            Some(uid) => json!({ "type": of, "uid": uid }),
            None => json!({ "type": of, "name": of }),
        };
        self.put("entity", entity);
        self.human_if_known();
    }

    fn finding(&mut self) {
        let change = number(self.body, "change").map_or("unknown".to_owned(), |n| n.to_string());
        let target = word(self.body, "target").unwrap_or("unknown");
        // What closes a finding names it by the same uid.
        let (uid, title) = match self.kind {
            Kind::ChangeInDoubt | Kind::ChangeResolved => (
                format!("in doubt: change {change}"),
                format!("nobody knows whether change {change} was committed"),
            ),
            _ => (
                format!("backup too old: {target}"),
                format!("the newest of {target}'s own backups is too old"),
            ),
        };
        self.put("finding_info", json!({ "uid": uid, "title": title }));
    }
}

/// One thing of those that flowed together.
fn of_flowed(item: &Value) -> Told<'_> {
    static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    let body = item.as_object().unwrap_or(&NOTHING);
    let effect = effect(body);
    let place = if body.contains_key("circuit") {
        place::CIRCUIT
    } else if let Some(intent) = number(body, "intent") {
        let ok = body.get("ok").and_then(Value::as_bool);
        let mut told = Told::of(Kind::FlowBatch, place::ended(ok), body, intent);
        told.correlation = Some(format!("write {intent}"));
        return told;
    } else if body.get("refused").and_then(Value::as_bool) == Some(true) {
        place::refused(effect)
    } else {
        let ok = body.get("ok").and_then(Value::as_bool) != Some(false);
        place::flowed(effect, body.contains_key("observed"), ok)
    };
    Told::of(Kind::FlowBatch, place, body, 0)
}

fn event(leaf: &Leaf, ledger: &str, told: Told<'_>, part: u64, parts: u64) -> Value {
    let Told { kind, place, body, attributes, correlation } = told;
    let Place { class, activity, severity, status } = place;
    let (activity, activity_name) = activity.of(class);
    let hash = leaf.hash().to_string();
    let uid = if parts == 1 { hash.clone() } else { format!("{hash}.{part}") };
    let last = part + 1 == parts;
    let next = match last {
        true => Position { entry: leaf.index() + 1, part: 0 },
        false => Position { entry: leaf.index(), part: part + 1 },
    };
    let mut metadata = json!({
        "version": SCHEMA, "product": product(), "uid": uid,
        "sequence": leaf.index(), "event_code": kind.name(), "log_name": "ledger",
        "log_provider": ledger, "original_time": leaf.at().to_string(),
    });
    if let Some(correlation) = correlation {
        metadata["correlation_uid"] = json!(correlation);
    }
    let (status, status_name) = status_of(class, activity, status);
    let mut event = json!({
        "activity_id": activity, "activity_name": activity_name,
        "category_uid": class.uid() / 1000, "category_name": class.category(),
        "class_uid": class.uid(), "class_name": class.name(),
        "type_uid": class.uid() * 100 + activity,
        "type_name": format!("{}: {activity_name}", class.name()),
        "severity_id": severity as u64, "severity": severity.name(),
        "status_id": status, "status": status_name,
        "time": leaf.at().as_millisecond(), "message": kind.name(), "metadata": metadata,
        "unmapped": {
            "ledger": { "entry": leaf.index(), "hash": hash, "part": part, "parts": parts, "next": next.to_string() },
            "body": unsigned(body), "texts": leaf.texts().iter().map(|(name, digest)| (name.clone(), json!(digest.to_string()))).collect::<Map<_, _>>(),
        },
    });
    if let Some(members) = event.as_object_mut() {
        members.extend(attributes);
    }
    event
}

/// A body without what was signed: of that its digest is told.
fn unsigned(body: &Map<String, Value>) -> Map<String, Value> {
    let told = |(name, value): (&String, &Value)| {
        let text = value.as_str().filter(|_| SIGNED.contains(&name.as_str()));
        let digest = |text: &str| json!(Digest::of_bytes(text.as_bytes()).to_string());
        match text {
            Some(text) => (format!("{name}_sha256"), digest(text)),
            None => (name.clone(), value.clone()),
        }
    };
    body.iter().map(told).collect()
}

/// `status_id` with its caption: of a finding it says where that stands.
fn status_of(class: Class, activity: u64, status: Status) -> (u64, &'static str) {
    match (class, status) {
        (Class::DetectionFinding, _) if activity == 3 => (4, "Resolved"),
        (Class::DetectionFinding, _) => (1, "New"),
        (_, Status::Unknown) => (0, "Unknown"),
        (_, Status::Success) => (1, "Success"),
        (_, Status::Failure) => (2, "Failure"),
    }
}

/// What belongs together: all of a change, a write and its end, a session.
fn correlation(kind: Kind, body: &Map<String, Value>, index: u64) -> Option<String> {
    let numbered = |name: &str| number(body, name).map(|n| format!("{name} {n}"));
    match kind {
        Kind::FlowIntent => return Some(format!("write {index}")),
        Kind::TakeBackIntended => return Some(format!("take back {index}")),
        Kind::TakeBackDone | Kind::TakeBackFailed => {
            return number(body, "wish").map(|wish| format!("take back {wish}"));
        }
        _ => {}
    }
    let session = || word(body, "session").map(|session| format!("session {session}"));
    ["change", "configuration", "standing"].iter().find_map(|name| numbered(name)).or_else(session)
}

/// Who did it, if the entry tells: an agent, or a human.
fn actor(body: &Map<String, Value>) -> Option<Value> {
    let request = request(body);
    if let Some(name) = request.get("agent").and_then(Value::as_str) {
        let mut actor = json!({ "user": agent(name) });
        if let Some(session) = request.get("session").and_then(Value::as_str) {
            actor["session"] = json!({ "uid": session });
        }
        return Some(actor);
    }
    human(body)
}

/// Which human did it, if the entry tells.
fn human(body: &Map<String, Value>) -> Option<Value> {
    let event = body.get("event").and_then(Value::as_object);
    let of_event = || {
        let event = event?;
        let inner = ["approval", "adoption"].iter().find_map(|name| event.get(*name)?.as_object());
        let who = inner.and_then(|inner| word(inner, "human"));
        who.or_else(|| word(event, "human")).or_else(|| word(event, "by"))
    };
    let of_body = || ["human", "by", "editor"].iter().find_map(|name| word(body, name));
    let who = of_event().map(str::to_owned).or_else(|| signer(body));
    who.or_else(|| of_body().map(str::to_owned)).map(|who| of_person(&who))
}

/// Whoever signed what the entry tells.
fn signer(body: &Map<String, Value>) -> Option<String> {
    Some(statement(body)?.get("signer")?.as_str()?.to_owned())
}

fn statement(body: &Map<String, Value>) -> Option<Value> {
    serde_json::from_str(word(body, "statement")?).ok()
}

/// The target that an entry tells of, or that whoever signed it named.
fn target(body: &Map<String, Value>) -> Option<String> {
    if let Some(target) = word(request(body), "target") {
        return Some(target.to_owned());
    }
    Some(statement(body)?.get("subject")?.get("target")?.as_str()?.to_owned())
}

/// Who is named where nobody signed: the gateway itself, an agent, a human in the console, or what the
/// socket knew, which is more than a name.
fn of_person(who: &str) -> Value {
    if GATEWAY.contains(&who) || who.starts_with(RESTORED) {
        return json!({ "app_name": PRODUCT });
    }
    if let Some(name) = who.strip_prefix("agent ") {
        return json!({ "user": agent(name) });
    }
    let who = who.split_once(IN_THE_CONSOLE).map_or(who, |(who, _)| who);
    let (of, id) = if HumanName::new(who).is_ok() { ("User", 1) } else { ("Unknown", 0) };
    json!({ "user": { "name": who, "type": of, "type_id": id } })
}

fn agent(name: &str) -> Value {
    // A human who asks for a change of their own stands in an agent's place.
    match AgentName::new(name).ok().and_then(|agent| agent.human()) {
        Some(human) => json!({ "name": human.as_str(), "type": "User", "type_id": 1 }),
        None => json!({ "name": name, "type": "Agent", "type_id": 99 }),
    }
}

/// The request that an entry tells of; of what flowed, the entry or its part itself.
fn request(body: &Map<String, Value>) -> &Map<String, Value> {
    let event = body.get("event").and_then(Value::as_object);
    event.and_then(|event| event.get("request")?.as_object()).unwrap_or(body)
}

/// The verbs of what was asked for, each once.
fn verbs(body: &Map<String, Value>) -> Vec<&str> {
    let request = request(body);
    let list = |name: &str| request.get(name).and_then(Value::as_array).into_iter().flatten();
    let named = list("verbs").filter_map(Value::as_str);
    let acted = list("actions").filter_map(|action| action.get("verb")?.as_str());
    let mut verbs: Vec<_> = named.chain(acted).collect();
    verbs.sort_unstable();
    verbs.dedup();
    verbs
}

/// The worst that they do; none where one of them is unknown here.
fn effect(body: &Map<String, Value>) -> Option<Effect> {
    let effects: Option<Vec<_>> =
        verbs(body).iter().map(|verb| Verb::named(verb).map(Verb::effect)).collect();
    effects.filter(|effects| !effects.is_empty()).map(Effect::worst)
}

/// No version: another one exports the same entry as the same bytes.
fn product() -> Value {
    json!({ "name": PRODUCT, "vendor_name": PRODUCT })
}

fn word<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

fn number(members: &Map<String, Value>, name: &str) -> Option<u64> {
    members.get(name).and_then(Value::as_u64)
}

/// JSON on one line of printable ASCII: what is beyond it can only stand in a string.
fn ascii(value: &Value) -> String {
    let text = value.to_string();
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ' '..='~') {
            line.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(line, "\\u{unit:04x}");
        }
    }
    line
}
