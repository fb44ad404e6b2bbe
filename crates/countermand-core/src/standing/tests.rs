use super::*;
use crate::action::{Action, Object};
use crate::change::{Adoption, Event, Recorded};
use crate::preview::{Ceiling, Counts, Estimates};
use crate::radius::BlastRadius;
use crate::request::{Payload, Request, RequestKey};
use crate::verb::postgres;

fn preview(rows: u64) -> Preview {
    Preview {
        identity: Identity {
            target: "prod".parse().unwrap(),
            fingerprint: "f".into(),
            payload: Digest::of(&rows),
            verbs: [postgres::DELETE].into(),
            objects: [("table a".to_owned(), Digest::of(&"a"))].into(),
            reads: BTreeMap::new(),
            tags: BTreeMap::new(),
        },
        ceiling: Ceiling::over(&Counts::from([("a".into(), rows)]), true),
        estimates: Estimates::default(),
        radius: BlastRadius::default(),
        reversibility: Reversibility::Restorable,
        undone_by_rollback: true,
        unavailable: false,
    }
}

fn change(rows: u64) -> Change {
    let payload = Payload::exact("postgres", rows.to_string(), "");
    let (agent, target) = ("bot".parse().unwrap(), "prod".parse().unwrap());
    let request = Request {
        number: ChangeNumber(8),
        key: RequestKey::of(&agent, &target, &payload),
        agent,
        sponsor: "alice".parse().unwrap(),
        target,
        environment: "production".parse().unwrap(),
        payload: payload.digest(),
        shape: Some(Digest::of(&"delete from a where d < ?")),
        actions: vec![Action::new(postgres::DELETE, Object::new("table", "a"))],
        session: "s".into(),
        beyond: Vec::new(),
    };
    let event = Event::Held { request: Box::new(request), preview: Box::new(preview(rows)) };
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    Change::open(&Recorded { at, event }).unwrap()
}

fn subject() -> StandingSubject {
    let example = change(10);
    StandingSubject {
        example: ChangeNumber(7),
        requester: example.request.agent,
        sponsor: example.request.sponsor,
        shape: example.request.shape.unwrap(),
        scene: Scene::from(&example.preview.identity),
        ceiling: [("a".to_owned(), 100)].into(),
        reversibility: Reversibility::Restorable,
        runs: None,
        apart: 0,
        until: Timestamp::MAX,
        seat: None,
    }
}

#[test]
fn other_rows_within_the_ceiling_are_carried() {
    for rows in [0, 10, 100] {
        assert_eq!(subject().admits(&change(rows)), Ok(()));
    }
    assert!(subject().admits(&change(101)).unwrap_err().contains("100 were signed for"));
}

fn adoption() -> Adoption {
    let (human, subject) = ("alice".parse().unwrap(), Digest::of(&1));
    Adoption { human, subject, key: "k".into(), user_verified: true }
}

/// One way in which a change is not what was signed for.
type Difference = fn(&mut Change);

#[test]
fn whatever_else_differs_is_not_carried() {
    let differences: [Difference; 15] = [
        |c| c.request.number = ChangeNumber(7),
        |c| c.request.agent = "bot2".parse().unwrap(),
        |c| c.request.sponsor = "bob".parse().unwrap(),
        |c| c.adopted = Some(adoption()),
        |c| c.request.shape = Some(Digest::of(&"delete from a where d > ?")),
        |c| c.request.shape = None,
        |c| c.preview.identity.target = "other".parse().unwrap(),
        |c| c.preview.identity.fingerprint = "g".into(),
        |c| c.preview.identity.verbs = [postgres::DELETE, postgres::UPDATE].into(),
        |c| *c.preview.identity.objects.get_mut("table a").unwrap() = Digest::of(&"altered"),
        |c| c.preview.identity.objects = BTreeMap::new(),
        |c| c.preview.identity.reads = [("b".to_owned(), Digest::of(&1))].into(),
        |c| c.preview.identity.tags = [("table a".to_owned(), BTreeSet::new())].into(),
        |c| c.preview.ceiling = Ceiling::over(&Counts::from([("b".into(), 1)]), true),
        |c| c.preview.reversibility = Reversibility::CannotBeTakenBack("no".into()),
    ];
    for (index, differ) in differences.into_iter().enumerate() {
        let mut change = change(10);
        differ(&mut change);
        assert!(subject().admits(&change).is_err(), "difference {index}");
    }
}
