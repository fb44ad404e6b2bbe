//! Which statement an entry takes, and whether it is of what the entry tells: what people let happen
//! is told by their own words.

use crate::show::escape;
use countermand_core::digest::Digest;
use countermand_core::statement::{Act, ConfigurationSubject, LedgerKey, ReviewSubject, Statement};
use countermand_engine::key::Signed;
use countermand_ledger::erasure::ERASED;
use countermand_ledger::keyring;
use countermand_ledger::leaf::Leaf;
use serde_json::{Value, json};

/// Entries that tell what a human let happen: none of them is without a statement.
const NEEDED: [&str; 12] = [
    "change.approved",
    "change.adopted",
    "change.rejected",
    "change.resolved",
    "change.restore_begun",
    "take_back.intended",
    "standing.approved",
    "agent.added",
    "freeze.off",
    "config.proposed",
    "config.approved",
    "ledger.texts_key_changed",
];

/// A member of an entry's body, as a JSON pointer, and what the statement makes of it.
type Member = (&'static str, Value);

/// Whether this entry takes a statement. What is erased because it is old enough takes none; nor does
/// the entry of a key that was lost, which nobody vouches for.
pub(super) fn is_needed(leaf: &Leaf) -> bool {
    match leaf.kind() {
        ERASED => at(leaf, "/because") != "retention",
        kind => NEEDED.contains(&kind),
    }
}

/// Whether a statement is of what its entry tells.
pub(super) fn is_of(statement: &Statement, signed: &Signed, leaf: &Leaf) -> Result<(), String> {
    let Some(members) = members(leaf.kind(), statement, signed) else {
        return Err(format!("`{}` is no statement for it", statement.act.name()));
    };
    for (path, said) in members {
        let told = at(leaf, path);
        if *told != said {
            let name = path.trim_start_matches('/').replace('/', ".");
            let (told, said) = (shown(told), shown(&said));
            return Err(format!("its `{name}` is {told}, and what was signed makes it {said}"));
        }
    }
    Ok(())
}

/// A member of an entry's body; null where there is none.
pub(super) fn at<'a>(leaf: &'a Leaf, path: &str) -> &'a Value {
    let mut names = path.split('/').skip(1);
    let first = names.next().and_then(|name| leaf.body().get(name));
    let found = names.fold(first, |value, name| value.and_then(|value| value.get(name)));
    found.unwrap_or(&Value::Null)
}

/// A value for an error: in one line, and not all of a long one.
pub(super) fn shown(value: &Value) -> String {
    let text: String = value.to_string().chars().take(100).collect();
    escape::line(&text)
}

/// What an entry of this kind must say for this statement; none where it is no statement for it.
fn members(kind: &str, statement: &Statement, signed: &Signed) -> Option<Vec<Member>> {
    let Statement { act, signer, .. } = statement;
    let (human, key, verified) = (json!(signer), json!(signed.key), json!(signed.user_verified));
    Some(match (kind, act) {
        ("change.approved", Act::Approve(subject)) => vec![
            ("/change", json!(subject.change)),
            ("/event/approval/human", human),
            ("/event/approval/seat", json!(subject.seat)),
            ("/event/approval/subject", digest(subject)),
            ("/event/approval/confirms", json!(is_own(subject, statement))),
            ("/event/approval/standing", Value::Null),
            ("/event/approval/key", key),
            ("/event/approval/user_verified", verified),
        ],
        ("change.approved", Act::ApproveStanding(subject)) => vec![
            ("/event/approval/human", human),
            ("/event/approval/seat", json!(subject.seat)),
            ("/event/approval/confirms", json!(subject.sponsor == *signer)),
            ("/event/approval/standing/until", json!(subject.until)),
            ("/event/approval/key", key),
            ("/event/approval/user_verified", verified),
        ],
        ("change.adopted", Act::Adopt(subject)) => vec![
            ("/change", json!(subject.change)),
            ("/event/adoption/human", human),
            ("/event/adoption/subject", digest(subject)),
            ("/event/adoption/key", key),
            ("/event/adoption/user_verified", verified),
        ],
        ("change.rejected", Act::Reject { subject, .. }) => {
            vec![("/change", json!(subject.change)), ("/event/human", human), ("/event/key", key)]
        }
        ("change.resolved", Act::Resolve { change, committed, .. }) => vec![
            ("/change", json!(change)),
            ("/event/committed", json!(committed)),
            ("/event/human", human),
            ("/event/key", key),
        ],
        ("change.restore_begun", Act::Restore { change, overwrite }) => vec![
            ("/change", json!(change)),
            ("/event/overwrite", json!(overwrite)),
            ("/event/human", human),
        ],
        // Which writes they are is held against the entries of those.
        ("take_back.intended", Act::TakeBack { .. }) => Vec::new(),
        ("standing.approved", Act::ApproveStanding(subject)) => vec![
            ("/example", json!(subject.example)),
            ("/agent", json!(subject.requester)),
            ("/target", json!(subject.scene.target)),
            ("/until", json!(subject.until)),
            ("/runs", json!(subject.runs)),
            ("/human", human),
            ("/key", key),
            ("/user_verified", verified),
        ],
        _ => return of_the_installation(kind, statement, key),
    })
}

/// The same of what is about no change and no write.
fn of_the_installation(kind: &str, statement: &Statement, key: Value) -> Option<Vec<Member>> {
    let Statement { act, signer, .. } = statement;
    let human = json!(signer);
    Some(match (kind, act) {
        ("agent.added", Act::AddAgent { agent, sponsor, grant, expires }) => vec![
            ("/agent", json!(agent)),
            ("/sponsor", json!(sponsor)),
            ("/sponsor", human),
            ("/grant", grant.clone()),
            ("/expires", json!(expires)),
            ("/key", key),
        ],
        ("freeze.off", Act::Thaw { what }) => vec![("/scope", json!(what)), ("/by", human)],
        ("config.proposed", Act::ProposeConfiguration(subject)) => {
            configuration(subject, [("/editor", human), ("/key", key)])
        }
        ("config.approved", Act::ApproveConfiguration { number, editor, subject }) => {
            let mut members = configuration(subject, [("/human", human), ("/key", key)]);
            members.extend([("/configuration", json!(number)), ("/editor", json!(editor))]);
            members
        }
        (ERASED, Act::EraseTexts { texts, .. }) => {
            vec![("/because", json!("signed")), ("/by", human), ("/texts", json!(texts))]
        }
        (keyring::CHANGED, Act::RotateKey { key: LedgerKey::Checkpoints, from, to })
        | ("ledger.texts_key_changed", Act::RotateKey { key: LedgerKey::Texts, from, to }) => {
            vec![("/from", json!(from)), ("/to", json!(to))]
        }
        _ => return None,
    })
}

fn configuration(subject: &ConfigurationSubject, by: [Member; 2]) -> Vec<Member> {
    // What its words say and what it says of them all: who reads the words reads the whole.
    let loosens = subject.differences.iter().any(|words| words.starts_with("loosens: "));
    let members = [
        ("/digest", json!(subject.digest)),
        ("/replaces", json!(subject.replaces)),
        ("/loosens", json!(subject.loosens)),
        ("/loosens", json!(loosens)),
    ];
    members.into_iter().chain(by).collect()
}

/// What a change's approval is named by: the subject without the seat.
fn digest(subject: &ReviewSubject) -> Value {
    json!(Digest::of(&ReviewSubject { seat: None, ..subject.clone() }))
}

/// Whether the signer answers for the change.
fn is_own(subject: &ReviewSubject, statement: &Statement) -> bool {
    subject.sponsor == statement.signer || subject.adopted.as_ref() == Some(&statement.signer)
}
