use super::*;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What the schema's published classes demand: the class, the attributes that are `required` in it,
/// the `activity_id`s that it has, and of some attributes those of which it wants one.
/// <https://schema.ocsf.io/1.3.0/classes/api_activity> and so on; their source is
/// <https://github.com/ocsf/ocsf-schema/tree/main/events>.
type Demands = (u64, &'static [&'static str], &'static [u64], &'static [&'static str]);
const CLASSES: [Demands; 6] = [
    // events/findings/detection_finding.json, finding.json
    (2004, &["finding_info"], &[1, 2, 3], &["finding_info"]),
    // events/iam/account_change.json
    (3001, &["user"], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], &["user"]),
    // events/iam/authentication.json; at least one of service and dst_endpoint
    (3002, &["user"], &[1, 2, 3, 4, 5], &["service", "dst_endpoint"]),
    // events/iam/entity_management.json
    (3004, &["entity"], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13], &["entity"]),
    // events/application/application_lifecycle.json
    (6002, &["app"], &[1, 2, 3, 4], &["app"]),
    // events/application/api_activity.json
    (6003, &["actor", "api", "src_endpoint"], &[1, 2, 3, 4], &["api"]),
];
/// `required` in every class: <https://schema.ocsf.io/1.3.0/classes/base_event>.
const EVERY: [&str; 7] =
    ["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"];
/// What a class has only by a profile, or a later version. We declare no profile:
/// <https://schema.ocsf.io/1.3.0/profiles/host> brings `actor`, 1.4.0 brought `is_alert`.
const FOREIGN: [(u64, &[&str]); 2] = [(2004, &["actor", "is_alert"]), (6002, &["actor"])];
/// Objects, with those attributes of which the schema requires all, and those of which at least one.
/// <https://schema.ocsf.io/1.3.0/objects/actor> and so on.
const OBJECTS: [(&str, &[&str], &[&str]); 8] = [
    ("actor", &[], &["process", "user", "invoked_by", "session", "app_name", "app_uid"]),
    ("api", &["operation"], &["operation"]),
    ("app", &["vendor_name"], &["name", "uid"]),
    ("entity", &[], &["name", "uid"]),
    ("finding_info", &["title", "uid"], &["uid"]),
    ("metadata", &["product", "version"], &["version"]),
    ("src_endpoint", &[], &["ip", "uid", "name", "hostname", "svc_name"]),
    ("user", &[], &["account", "name", "uid"]),
];

fn leaf(kind: &str, body: &Value) -> Leaf {
    let at = Timestamp::from_millisecond(1_767_323_045_678).unwrap();
    Leaf::new(41, at, kind, body, &BTreeMap::new()).unwrap()
}

fn told(kind: &str, body: Value) -> Vec<Value> {
    let lines = events(&leaf(kind, &body), "gate.example").unwrap();
    let read = |line: &String| {
        assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')), "{line}");
        let event = serde_json::from_str(line).unwrap();
        holds(&event);
        event
    };
    lines.iter().map(read).collect()
}

fn one(kind: &str, body: Value) -> Value {
    let mut events = told(kind, body);
    assert_eq!(events.len(), 1);
    events.remove(0)
}

/// Whether it has what its class demands.
fn holds(event: &Value) {
    let has = |value: &Value, name: &str| value.get(name).is_some_and(|value| !value.is_null());
    for name in EVERY {
        assert!(has(event, name), "{name} of {event}");
    }
    let class = event["class_uid"].as_u64().unwrap();
    let (_, required, activities, any) =
        CLASSES.iter().find(|(uid, ..)| *uid == class).unwrap_or_else(|| panic!("{event}"));
    assert!(required.iter().all(|name| has(event, name)), "{event}");
    assert!(any.iter().any(|name| has(event, name)), "{event}");
    let foreign = FOREIGN.iter().filter(|(uid, _)| *uid == class).flat_map(|(_, names)| *names);
    assert!(foreign.into_iter().all(|name| !has(event, name)), "{event}");
    assert_eq!(event["metadata"]["version"], "1.3.0");
    let activity = event["activity_id"].as_u64().unwrap();
    assert!(activity == 99 || activities.contains(&activity), "{event}");
    assert_eq!(event["type_uid"], class * 100 + activity);
    assert_eq!(event["category_uid"], class / 1000);
    assert!((1..=5).contains(&event["severity_id"].as_u64().unwrap()), "{event}");
    assert_eq!(event["time"], 1_767_323_045_678_u64);
    let product = &event["metadata"]["product"];
    assert!(has(product, "name") && has(product, "vendor_name"), "{event}");
    let resources = event["resources"].as_array();
    assert!(resources.into_iter().flatten().all(|one| has(one, "uid") || has(one, "name")));
    for (name, required, any) in OBJECTS {
        let users = [&event["actor"]["user"], &event[name]];
        for object in if name == "user" { &users[..] } else { &users[1..] } {
            let there = object.is_null() || required.iter().all(|name| has(object, name));
            assert!(
                there && (object.is_null() || any.iter().any(|name| has(object, name))),
                "{event}"
            );
        }
    }
}

/// Even an entry that says nothing makes an event that is one.
#[test]
fn every_kind_has_all_that_its_class_demands() {
    for kind in Kind::ALL {
        let event = one(kind.name(), json!({}));
        assert_eq!(event["metadata"]["event_code"], kind.name());
        assert_eq!(event["unmapped"]["ledger"]["entry"], 41);
    }
    assert!(events(&leaf("change.undone", &json!({})), "gate.example").is_err());
}

/// No activity of the table falls to 99 by an oversight.
#[test]
fn what_is_called_other_has_its_own_name() {
    for kind in Kind::ALL {
        let Place { class, activity, .. } = place::of(*kind);
        let other = matches!(activity, place::Activity::Other(_));
        assert_eq!(activity.of(class).0 == 99, other, "{kind:?}");
    }
}

#[test]
fn the_page_shows_the_table() {
    let row = |name: &str, place: Place| {
        let Place { class, activity, severity, .. } = place;
        let (id, activity) = activity.of(class);
        let (uid, class) = (class.uid(), class.name());
        let (severity, number) = (severity.name(), severity as u64);
        format!("| {name} | {class} {uid} | {id} {activity} | {number} {severity} |\n")
    };
    let by_content = [Kind::FlowBatch, Kind::FlowIntent];
    let named = Kind::ALL.iter().filter(|kind| !by_content.contains(kind));
    let mut rows: Vec<String> =
        named.map(|kind| row(&format!("`{}`", kind.name()), place::of(*kind))).collect();
    for effect in Effect::ALL {
        let name = |what: &str| format!("`flow.batch`: {what}, {effect}");
        rows.push(row(&name("flowed"), place::flowed(Some(effect), false, true)));
        rows.push(row(&name("observed"), place::flowed(Some(effect), true, true)));
        rows.push(row(&name("refused"), place::refused(Some(effect))));
        let intent = |what: &str| format!("`flow.intent`{what}: {effect}");
        rows.push(row(&intent(""), place::intended(Some(effect), false)));
        rows.push(row(&intent(", observed"), place::intended(Some(effect), true)));
    }
    rows.push(row("`flow.batch`: how a write ended", place::ended(Some(true))));
    rows.push(row("`flow.batch`: nobody knows how it ended", place::ended(None)));
    rows.push(row("`flow.batch`: a circuit opened", place::CIRCUIT));
    rows.sort();
    let page = include_str!("../../../../docs/siem.md");
    let shown: String = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(shown, rows.concat());
}

#[test]
fn what_flowed_is_an_event_for_each_thing() {
    let bot = |more: Value| {
        let mut item = json!({
            "agent": "bot", "sponsor": "alice", "session": "s1", "target": "shop",
            "verbs": ["postgres:Select"],
        });
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    };
    let events = told(
        "flow.batch",
        json!({ "flowed": [
            bot(json!({})),
            bot(json!({ "verbs": ["postgres:DropTable", "postgres:Select"], "refused": true })),
            bot(json!({ "verbs": ["postgres:Insert"], "ok": false })),
            { "intent": 40, "ok": true },
            { "intent": 39, "ok": null },
            { "circuit": "opened", "agent": "bot", "target": "shop" },
            "nothing that is known",
        ] }),
    );
    let of =
        |name: &str| events.iter().map(|event| event[name].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(of("type_uid"), [600_302, 600_304, 600_303, 600_399, 600_399, 600_399, 600_399]);
    assert_eq!(of("status_id")[..6], [1, 2, 2, 1, 0, 1]);
    assert_eq!(events[5]["activity_name"], "Circuit Opened");
    assert_eq!(events[5]["actor"]["user"]["name"], "bot");
    assert_eq!(events[1]["api"]["operation"], "postgres:DropTable,postgres:Select");
    assert_eq!(events[0]["actor"]["user"]["name"], "bot");
    assert_eq!(events[3]["metadata"]["correlation_uid"], "write 40");
    let uids: BTreeSet<_> =
        events.iter().map(|event| event["metadata"]["uid"].to_string()).collect();
    assert_eq!(uids.len(), 7, "each can be told from the others");
    assert_eq!(events[6]["unmapped"]["ledger"]["next"], "42");
    assert_eq!(events[5]["unmapped"]["ledger"]["next"], "41.6");
}

#[test]
fn who_did_it_is_whoever_signed_asked_or_nobody() {
    let statement = json!({ "signer": "bob" }).to_string();
    let approved = json!({
        "change": 7, "statement": statement, "event": { "approval": { "human": "bob" } },
    });
    let event = one("change.approved", approved);
    assert_eq!(event["actor"]["user"]["name"], "bob");
    assert_eq!(event["metadata"]["correlation_uid"], "change 7");
    assert_eq!(event["resources"][0], json!({ "type": "change", "uid": "7" }));
    let request = json!({
        "agent": "bot", "sponsor": "alice", "target": "shop", "session": "s1",
        "actions": [{ "verb": "postgres:DropTable", "object": { "kind": "table", "name": "t" } }],
    });
    let event = one("change.held", json!({ "change": 7, "event": { "request": request } }));
    assert_eq!(event["actor"]["user"]["type"], "Agent");
    assert_eq!(event["api"]["operation"], "postgres:DropTable");
    assert_eq!(event["resources"][0]["name"], "shop");
    let event = one("change.executed", json!({ "change": 7, "event": {} }));
    assert_eq!(event["actor"], json!({ "app_name": "Countermand" }));
    // An agent is what was let in, stopped or approved, and not who did that.
    let added = json!({ "agent": "bot", "sponsor": "alice", "statement": statement });
    let event = one("agent.added", added);
    assert_eq!(
        (&event["user"]["name"], &event["actor"]["user"]["name"]),
        (&json!("bot"), &json!("bob"))
    );
    let standing =
        json!({ "standing": 1, "agent": "bot", "human": "carol", "statement": statement });
    assert_eq!(one("standing.approved", standing)["actor"]["user"]["name"], "bob");
    let event = one("freeze.on", json!({ "scope": "agent bot", "by": "uid 1000" }));
    assert_eq!(event["entity"]["uid"], "agent bot");
    assert_eq!(event["actor"]["user"]["type_id"], 0, "what the socket knows is no name");
    let own = json!({ "change": 8, "event": { "request": { "agent": "human:alice" } } });
    let event = one("change.held", own);
    assert!(event["actor"]["user"]["name"].is_string());
}

/// A DROP that flows since its target is observed is no everyday write.
#[test]
fn an_intent_is_placed_by_what_it_does() {
    let intent = |verb: &str, observed: bool| {
        let mut body = json!({
            "agent": "bot", "sponsor": "alice", "session": "s1", "target": "shop", "verbs": [verb],
            "written": {},
        });
        if observed {
            body["observed"] = json!({ "would": "held", "policies": ["floor/hard-stop"] });
        }
        let event = one("flow.intent", body);
        (event["type_uid"].as_u64().unwrap(), event["severity"].as_str().unwrap().to_owned())
    };
    for (verb, observed, uid, severity) in [
        ("postgres:Insert", false, 600_303, "Informational"),
        ("postgres:Insert", true, 600_303, "High"),
        ("postgres:DropTable", false, 600_304, "Medium"),
        ("postgres:DropTable", true, 600_304, "High"),
        ("postgres:Unheard", false, 600_399, "Medium"),
    ] {
        assert_eq!(intent(verb, observed), (uid, severity.to_owned()), "{verb} {observed}");
    }
}

/// Whoever signed gave their reasons in it: told is a digest, by which it is held against the ledger.
#[test]
fn what_people_signed_is_told_by_its_digest() {
    let subject = json!({ "agent": "bot", "target": "shop", "reason": "carol said so" });
    let statement =
        json!({ "act": "take_back", "subject": subject, "signer": "bob", "nonce": "n" })
            .to_string();
    let body = json!({ "statement": statement, "signature": "-----BEGIN", "writes": [40] });
    let event = one("take_back.intended", body);
    assert!(!event.to_string().contains("carol said so"), "{event}");
    assert_eq!(
        event["unmapped"]["body"],
        json!({
            "statement_sha256": Digest::of_bytes(statement.as_bytes()).to_string(),
            "signature_sha256": Digest::of_bytes(b"-----BEGIN").to_string(),
            "writes": [40],
        })
    );
    assert_eq!(event["actor"]["user"]["name"], "bob");
    assert_eq!(event["resources"][0], json!({ "type": "target", "name": "shop" }));
    assert_eq!(event["metadata"]["correlation_uid"], "take back 41");
    let done = one("take_back.done", json!({ "wish": 41, "by": "bob", "rows": {}, "equal": true }));
    assert_eq!(done["metadata"]["correlation_uid"], "take back 41");
}

#[test]
fn whoever_needed_no_signature_is_told_as_far_as_it_is_known() {
    let gateway = json!({ "app_name": "Countermand" });
    for by in ["restore", "lost key", "the gateway was restored from a copy of 2026-01-01"] {
        let frozen = one("freeze.on", json!({ "scope": "everything", "by": by }));
        assert_eq!(frozen["actor"], gateway, "{by}");
        let revoked = one("agent.revoked", json!({ "agent": "bot", "by": by }));
        assert_eq!(revoked["actor"], gateway, "{by}");
    }
    let withdrawn = |by: &str| {
        let event = one("change.withdrawn", json!({ "change": 7, "event": { "by": by } }));
        let user = &event["actor"]["user"];
        (user["name"].as_str().unwrap().to_owned(), user["type_id"].as_u64().unwrap())
    };
    assert_eq!(withdrawn("agent bot"), ("bot".to_owned(), 99));
    assert_eq!(withdrawn("alice in the console, by passkey K"), ("alice".to_owned(), 1));
    assert_eq!(withdrawn("uid 0, pid 7"), ("uid 0, pid 7".to_owned(), 0));
}

/// It has a uid, and what closes it has the same one; everything else is told once.
#[test]
fn each_finding_can_be_closed() {
    let uid = |kind: &str| {
        let event = one(kind, json!({ "change": 7, "target": "shop", "event": {} }));
        assert_eq!(event["class_uid"], 2004);
        event["finding_info"]["uid"].as_str().unwrap().to_owned()
    };
    assert_eq!(uid("change.in_doubt"), uid("change.resolved"));
    assert_eq!(uid("target.backup_stale"), uid("target.backup_fresh"));
    let findings =
        Kind::ALL.iter().filter(|kind| place::of(**kind).class == Class::DetectionFinding);
    assert_eq!(findings.count(), 4);
}

#[test]
fn where_a_session_came_from_is_told() {
    let opened = |peer: &str| {
        let body = json!({ "agent": "bot", "target": "shop", "session": "s1", "peer": peer });
        one("session.opened", body)["src_endpoint"].clone()
    };
    assert_eq!(opened("[::1]:5432"), json!({ "ip": "::1", "port": 5432 }));
    assert_eq!(opened("10.0.0.7:1"), json!({ "ip": "10.0.0.7", "port": 1 }));
    assert_eq!(opened("a\u{202e}b"), json!({ "name": "a\u{202e}b" }));
}

/// What an agent calls a table cannot end a line, a string, or look like something else.
#[test]
fn hostile_text_stays_in_strings_on_one_line_of_ascii() {
    let hostile =
        "t\",\"severity_id\":1}\r\n{\u{85}\u{2028}\u{202e}\u{7f}\0\u{1b}[31m\u{e9}\u{1f4a3}";
    let object = json!({ "kind": "table", "name": hostile });
    let action = json!({ "verb": "postgres:DropTable", "object": object });
    let request = json!({ "agent": hostile, "target": "shop", "actions": [action] });
    let body = json!({ "change": 7, "event": { "request": request } });
    let leaf = leaf("change.held", &body);
    let lines = events(&leaf, "gate.example").unwrap();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].bytes().all(|b| matches!(b, b' '..=b'~')), "{}", lines[0]);
    let event: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(event["actor"]["user"]["name"], hostile);
    assert_eq!(event["unmapped"]["body"], body);
    assert_eq!(event["severity_id"], 3);
}

#[test]
fn of_sealed_texts_the_digest_is_told() {
    let digest = countermand_ledger::text::Digest::of(&[7; 32], b"DROP TABLE t");
    let texts = BTreeMap::from([("payload".to_owned(), digest)]);
    let leaf = Leaf::new(0, Timestamp::UNIX_EPOCH, "flow.intent", &json!({}), &texts).unwrap();
    let line = events(&leaf, "gate.example").unwrap().remove(0);
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["unmapped"]["texts"], json!({ "payload": digest.to_string() }));
    assert_eq!(event["metadata"]["uid"], leaf.hash().to_string());
}

#[test]
fn positions_are_read_as_they_are_written() {
    for (text, entry, part) in [("0", 0, 0), ("41", 41, 0), ("41.3", 41, 3)] {
        let position: Position = text.parse().unwrap();
        assert_eq!((position.entry, position.part), (entry, part));
        assert_eq!(position.to_string(), text);
    }
    for text in ["", ".", "1.", "-1", "+1", "1.2.3", "a", "1.x", "99999999999999999999"] {
        assert!(text.parse::<Position>().is_err(), "{text}");
    }
}
