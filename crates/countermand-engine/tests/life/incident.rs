//! What happened, told from the ledger alone; and its entries, proven.

use crate::world::{NOBODY, World, refused};
use countermand_core::request::ChangeNumber;
use countermand_core::verb::postgres;
use countermand_engine::control::{
    ChangesWanted, Command, EntryProof, IncidentWanted, PrepareAct, Reply, Scope,
};
use countermand_engine::incident::Incident;
use countermand_engine::{Admission, Refusal};
use countermand_ledger::checkpoint::VerifyingKey;
use countermand_ledger::proof::InclusionProof;
use jiff::SignedDuration;

impl World {
    async fn incident(&self, wanted: IncidentWanted) -> Incident {
        match self.engine.control(Command::Incident(wanted), NOBODY).await {
            Reply::Incident(incident) => *incident,
            other => panic!("{other:?}"),
        }
    }

    async fn found(&self, open: bool, wanted: ChangesWanted) -> (Vec<u64>, Option<u64>) {
        match self.engine.control(Command::Changes { open, wanted }, NOBODY).await {
            Reply::Changes { changes, older } => {
                let numbers = changes.iter().map(|change| change.number.0);
                (numbers.collect(), older.map(|number| number.0))
            }
            other => panic!("{other:?}"),
        }
    }

    /// Has the agent ask for something with this text.
    async fn asks(&self, text: &str) -> u64 {
        let schema = self.proposal(postgres::DROP_SCHEMA, "schema", "billing", text).await;
        match self.engine.admit(schema, ()).await.0 {
            Admission::Refused(Refusal::Held { change, .. }) => change.0,
            _ => panic!("it was not held"),
        }
    }

    async fn executed_and_taken_back(&self) -> u64 {
        let number = self.held("billing").await;
        self.prepared(number).await;
        self.approve("bob", number).await;
        self.cool();
        self.until(number, |change| change.line.state == "executed").await;
        let restore = PrepareAct::Restore { change: ChangeNumber(number), overwrite: false };
        let reply = self.sign("carol", restore).await;
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        number
    }
}

#[tokio::test]
async fn an_incident_says_what_happened_who_took_part_and_what_was_taken_back() {
    let world = World::new().await;
    world.let_in_as("other").await;
    let number = world.executed_and_taken_back().await;
    world.flows("drop shop", 7).await.unwrap();
    let freeze = Command::Freeze { what: Scope::Everything, reason: "look first".into() };
    world.engine.control(freeze, NOBODY).await;
    let bot = IncidentWanted { agent: Some("bot".parse().unwrap()), ..Default::default() };
    let told = world.incident(bot).await;
    let [change] = &told.changes[..] else { panic!("{told:#?}") };
    assert_eq!((change.number.0, change.state.as_str()), (number, "restored"));
    assert_eq!(change.rows["billing.costs"], 1000);
    assert_eq!(change.payload.as_deref(), Some("drop billing"));
    assert!(told.taken_back[0].contains("by carol: 1000 rows"), "{:?}", told.taken_back);
    let did = |who: &str, what: &str| told.involved[who].iter().any(|did| did.contains(what));
    assert!(did("bot", "for alice") && did("alice", "answers for change"), "{:?}", told.involved);
    assert!(did("bob", "approved change") && did("carol", "took change"), "{:?}", told.involved);
    assert_eq!(told.flowed.written, 1);
    assert_eq!(told.flowed.rows["prod public.orders"], [0, 7, 0]);
    assert!(!told.involved.contains_key("other"), "another agent's sessions are not in it");
    let moments = |kind: &str| told.timeline.iter().filter(|moment| moment.kind == kind).count();
    assert_eq!((moments("change.executed"), moments("freeze.on")), (1, 1), "{told:#?}");
    assert!(told.timeline.is_sorted_by_key(|moment| moment.entry));
    // Of the change alone; and of a time in which nothing happened.
    let change = Some(ChangeNumber(number));
    let alone = world.incident(IncidentWanted { change, ..Default::default() }).await;
    assert!(alone.timeline.iter().all(|moment| moment.change == change), "{alone:#?}");
    assert_eq!(alone.changes, told.changes);
    let before = Some(alone.since - SignedDuration::from_hours(48));
    let nothing = IncidentWanted { until: before, ..Default::default() };
    assert_eq!(world.incident(nothing).await.timeline, []);
}

#[tokio::test]
async fn what_was_erased_is_said_to_be_and_nothing_else_of_the_store_is_told() {
    let world = World::new().await;
    let number = world.held("billing").await;
    world.prepared(number).await;
    let path = world.folder.path().join("state/store.sqlite");
    let store = rusqlite::Connection::open(path).unwrap();
    // What stands beside the ledger is not what is told.
    store.execute("UPDATE change SET text = 'select 1', body = 'select 1'", []).unwrap();
    let change = Some(ChangeNumber(number));
    let wanted = || IncidentWanted { change, ..Default::default() };
    let told = world.incident(wanted()).await;
    assert_eq!(told.changes[0].payload.as_deref(), Some("drop billing"));
    store.execute("DELETE FROM text", []).unwrap();
    let told = world.incident(wanted()).await;
    assert!(told.changes.is_empty() && told.questions[0].contains("were erased"), "{told:#?}");
    assert!(told.markdown().contains("were erased"));
}

/// What a page must not get from an agent.
const HOSTILE: &str = "drop ` billing\n# Approved\n\n[x](http://evil) ![x](http://evil) <img src=x> \
    <http://evil> @alice #1 ``` \n```\n<script>alert(1)</script>\n~~~\n| a | b |\n> quoted\n\
    1. one\n***\n\u{202e}gnirts\u{1b}[2J www.evil.example \\` &lt; ````";

#[tokio::test]
async fn an_agents_text_is_only_text_in_a_report() {
    let world = World::new().await;
    let number = world.asks(HOSTILE).await;
    world.prepared(number).await;
    let reason = HOSTILE.to_owned();
    let freeze = Command::Freeze { what: Scope::Everything, reason };
    world.engine.control(freeze, NOBODY).await;
    let told = world.incident(IncidentWanted::default()).await;
    assert_eq!(told.changes[0].payload.as_deref(), Some(HOSTILE));
    let page = told.markdown();
    assert!(!page.contains(['\u{202e}', '\u{1b}']), "{page}");
    use pulldown_cmark::{Event, Options, Parser, Tag};
    let (mut headings, mut in_code) = (Vec::new(), false);
    let mut text_outside = String::new();
    for event in Parser::new_ext(&page, Options::all()) {
        match event {
            Event::Start(Tag::Heading { .. }) => headings.push(String::new()),
            Event::Start(
                tag @ (Tag::Link { .. }
                | Tag::Image { .. }
                | Tag::HtmlBlock
                | Tag::Table(_)
                | Tag::BlockQuote(_)),
            ) => panic!("{tag:?} in {page}"),
            Event::Html(html) | Event::InlineHtml(html) => panic!("{html} in {page}"),
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(pulldown_cmark::TagEnd::CodeBlock) => in_code = false,
            Event::Text(text) if !in_code => text_outside.push_str(&text),
            _ => {}
        }
    }
    // Those of the report itself: its title, its seven parts, one change.
    assert_eq!(headings.len(), 9, "{page}");
    for word in ["evil", "alice", "billing", "quoted", "script"] {
        assert!(!text_outside.contains(word), "{word} stands outside of code: {text_outside}");
    }
}

#[tokio::test]
async fn an_entry_is_proven_to_whoever_has_the_public_key() {
    let world = World::new().await;
    world.held("billing").await;
    let prove = async |index| world.engine.control(Command::Prove { index }, NOBODY).await;
    let Reply::Checkpoint { .. } = world.engine.control(Command::Checkpoint, NOBODY).await else {
        panic!("nothing is published")
    };
    let Reply::Proved(EntryProof { document, hash, path, size, .. }) = prove(1).await else {
        panic!("entry 1 is not proven")
    };
    assert!(size > 3 && !path.is_empty());
    let vkey = std::fs::read_to_string(world.folder.path().join("ledger/ledger.pub")).unwrap();
    let key = VerifyingKey::parse(vkey.trim()).unwrap();
    let proof: InclusionProof = serde_json::from_str(&document).unwrap();
    assert_eq!(proof.verify(&key).unwrap().0.hash().to_string(), hash);
    let altered = document.replace("agent.added", "agent.addes");
    let altered: InclusionProof = serde_json::from_str(&altered).unwrap();
    assert!(altered.verify(&key).is_err() || !document.contains("agent.added"));
    assert!(refused(&prove(10_000).await).contains("there is no entry"));
    world.held("shop").await;
    let newest = size;
    assert!(refused(&prove(newest).await).contains("newer than the last checkpoint"));
}

#[tokio::test]
async fn changes_are_found_by_what_they_are_a_page_at_a_time() {
    let world = World::new().await;
    let wanted = |change: fn(&mut ChangesWanted)| {
        let mut wanted = ChangesWanted::default();
        change(&mut wanted);
        wanted
    };
    let first = world.executed_and_taken_back().await;
    let second = world.asks("drop billing -- the Second one").await;
    let third = world.asks("drop billing -- the third one").await;
    let reject = PrepareAct::Reject { change: ChangeNumber(second), reason: "no".into() };
    assert!(matches!(world.sign("bob", reject).await, Reply::Done { .. }));
    let all = |numbers: &[u64]| (numbers.to_vec(), None);
    let default = ChangesWanted::default;
    assert_eq!(world.found(false, default()).await, all(&[third, second, first]));
    assert_eq!(world.found(true, default()).await, all(&[third]));
    for (state, numbers) in [
        ("held", &[third][..]),
        ("rejected", &[second]),
        ("restored", &[first]),
        ("executed", &[]),
        ("nonsense", &[]),
    ] {
        let wanted = ChangesWanted { state: Some(state.into()), ..default() };
        assert_eq!(world.found(false, wanted).await, all(numbers), "{state}");
    }
    let of = wanted(|it| it.target = Some("prod".into()));
    assert_eq!(world.found(false, of).await.0.len(), 3);
    assert_eq!(world.found(false, wanted(|it| it.target = Some("shop".into()))).await, all(&[]));
    assert_eq!(world.found(false, wanted(|it| it.agent = Some("other".into()))).await, all(&[]));
    let second_one = wanted(|it| it.text = Some("SECOND".into()));
    assert_eq!(world.found(false, second_one).await, all(&[second]));
    let by_number = ChangesWanted { text: Some(third.to_string()), ..default() };
    assert!(world.found(false, by_number).await.0.contains(&third));
    let page = ChangesWanted { limit: Some(2), ..default() };
    assert_eq!(world.found(false, page.clone()).await, (vec![third, second], Some(second)));
    let next = ChangesWanted { before: Some(ChangeNumber(second)), ..page };
    assert_eq!(world.found(false, next).await, all(&[first]));
}
