//! What a gateway runs under, and every way to have it run under something else.

use crate::world::{self, NOBODY, World, configuration_of, key, refused};
use countermand_core::configuration::Configuration;
use countermand_engine::control::{Command, ConfigurationView, PrepareAct, Reply};
use countermand_engine::{EngineError, Home, Human, Installation};
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

/// With one more person, who reviews.
fn with(person: &str, folder: &std::path::Path) -> Installation {
    let mut installation = world::installation(folder);
    let keys = vec![key(person).public_key().clone().into()];
    let human = Human { reviewer: true, keys, ..Human::default() };
    installation.humans.insert(person.parse().unwrap(), human);
    installation.configuration = configuration_of(&installation);
    installation
}

fn propose(configuration: &Configuration) -> PrepareAct {
    PrepareAct::ProposeConfiguration { configuration: Box::new(configuration.clone()) }
}

fn said(reply: &Reply) -> &str {
    match reply {
        Reply::Done { words, .. } => words,
        other => panic!("{other:?}"),
    }
}

impl World {
    fn more(&self) -> Configuration {
        with("dave", self.folder.path()).configuration
    }

    /// A configuration with a setting that only says something.
    fn set(&self, path: &str, value: Value) -> Configuration {
        let mut configuration = world::installation(self.folder.path()).configuration;
        let mut whole = Value::Object(configuration.settings);
        let (parent, name) = path.rsplit_once('/').unwrap();
        whole.pointer_mut(parent).unwrap()[name] = value;
        configuration.settings = whole.as_object().unwrap().clone();
        configuration
    }

    async fn configurations(&self) -> (Box<ConfigurationView>, Option<Box<ConfigurationView>>) {
        match self.engine.control(Command::Configurations, NOBODY).await {
            Reply::Configurations { in_force: Some(in_force), waiting } => (in_force, waiting),
            other => panic!("{other:?}"),
        }
    }

    /// Whoever looks has what is due applied.
    async fn is_reconfigured_by_now(&self) -> bool {
        self.configurations().await;
        *self.engine.reconfigured().borrow()
    }

    async fn reconfigured(&self) {
        self.engine.reconfigured().wait_for(|other| *other).await.unwrap();
    }

    async fn second(&self, person: &str, number: u64) -> Reply {
        self.sign(person, PrepareAct::ApproveConfiguration { number }).await
    }
}

#[tokio::test]
async fn a_new_reviewer_takes_another_human_a_minute_and_a_day() {
    let world = World::new().await;
    let wanted = with("dave", world.folder.path());
    let told = world.sign("alice", propose(&wanted.configuration)).await;
    assert!(said(&told).contains("waits for the signature of a reviewer"), "{told:?}");
    assert!(refused(&world.second("alice", 1).await).contains("does not wait"));
    let (_, waiting) = world.configurations().await;
    let waiting = waiting.unwrap();
    assert!(waiting.differences.iter().any(|words| words.starts_with("loosens: `people.dave")));
    let number = waiting.number;
    assert!(refused(&world.second("alice", number).await).contains("wrote configuration"));
    assert!(refused(&world.second("dave", number).await).contains("not a person"));
    assert!(said(&world.second("bob", number).await).contains("waits until"));
    world.clock.advance(SignedDuration::from_secs(59));
    assert!(!world.is_reconfigured_by_now().await);
    world.clock.advance(SignedDuration::from_secs(1));
    world.reconfigured().await;
    assert!(refused(&world.sign("alice", propose(&world.more())).await).contains("starting under"));
    let world = world.again(wanted).await.unwrap();
    assert_eq!(world.consistency().await.differences, Vec::<String>::new());
    let change = world.held("billing").await;
    world.prepared(change).await;
    assert!(refused(&world.approve("dave", change).await).contains("does not count yet"));
    world.clock.advance(SignedDuration::from_hours(23));
    assert!(refused(&world.approve("dave", change).await).contains("does not count yet"));
    world.clock.advance(SignedDuration::from_hours(1));
    let later = world
        .sign("dave", PrepareAct::Thaw { what: countermand_engine::control::Scope::Everything })
        .await;
    assert!(refused(&later).contains("is not frozen"), "they count: {later:?}");
}

#[tokio::test]
async fn a_gateway_runs_under_nothing_that_nobody_signed() {
    let world = World::new().await;
    let wanted = with("mallory", world.folder.path());
    let folder = world.folder.path().to_owned();
    let home = Home::at(folder.join("state"));
    let in_force = world::installation(&folder).configuration;
    assert_eq!(home.binding_configuration().unwrap(), Some(in_force));
    let refused = world.again(wanted).await.err();
    assert!(matches!(refused, Some(EngineError::NotApplied(_))), "{refused:?}");
}

#[tokio::test]
async fn before_any_agent_the_file_is_in_force_and_its_people_count_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let installation = world::installation(folder.path());
    let world = World::built(folder, installation).await;
    assert!(refused(&world.sign("alice", propose(&world.more())).await).contains("no agent"));
    let wanted = with("dave", world.folder.path());
    let state = Home::at(world.folder.path().join("state"));
    assert_eq!(state.binding_configuration().unwrap(), None);
    let world = world.again(wanted).await.unwrap();
    world.let_in().await;
    let change = world.held("billing").await;
    assert!(said(&world.approve("dave", change).await).contains("approved by dave"));
}

#[tokio::test]
async fn a_store_that_was_written_into_is_not_run_under() {
    let writes = [
        // Another text under the one that was signed, and no agent that would bind the gateway.
        "UPDATE configuration SET document = ?1",
        "DELETE FROM agent WHERE ?1 = ?1",
        // As if it had been there before the first agent, or for longer.
        "UPDATE configuration SET editor = 'bob', proposed = 0 WHERE ?1 = ?1",
        "UPDATE configuration SET applied = 0 WHERE ?1 = ?1",
    ];
    for sql in writes {
        let world = World::new().await;
        let folder = world.folder.path().to_owned();
        let wanted = with("mallory", &folder);
        let connection = rusqlite::Connection::open(folder.join("state/store.sqlite")).unwrap();
        let document = serde_json::to_string(&wanted.configuration).unwrap();
        connection.execute(sql, [document]).unwrap();
        let found = world.consistency().await.differences;
        assert!(found.iter().any(|words| words.contains("configuration")), "{sql}: {found:?}");
        assert!(world.again(wanted).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn nobody_counts_sooner_for_what_the_store_says() {
    let world = World::new().await;
    let wanted = with("dave", world.folder.path());
    world.sign("alice", propose(&wanted.configuration)).await;
    world.second("bob", 2).await;
    world.clock.advance(SignedDuration::from_secs(60));
    world.reconfigured().await;
    let store = world.folder.path().join("state/store.sqlite");
    let connection = rusqlite::Connection::open(store).unwrap();
    let sooner =
        "UPDATE configuration SET editor = NULL, proposed = NULL, applied = 0 WHERE number = 2";
    assert_eq!(connection.execute(sooner, []).unwrap(), 1);
    let world = world.again(wanted).await.unwrap();
    let change = world.held("billing").await;
    world.prepared(change).await;
    assert!(refused(&world.approve("dave", change).await).contains("does not count yet"));
}

#[tokio::test]
async fn while_the_gateway_was_down_nothing_cooled() {
    let world = World::new().await;
    let installation = world::installation(world.folder.path());
    world.sign("alice", propose(&world.more())).await;
    world.second("bob", 2).await;
    world.clock.advance(SignedDuration::from_secs(50));
    let world = world.again(installation).await.unwrap();
    world.clock.advance(SignedDuration::from_secs(59));
    assert!(!world.is_reconfigured_by_now().await);
    world.clock.advance(SignedDuration::from_secs(1));
    assert!(world.is_reconfigured_by_now().await);
}

/// With another key for one of them, in place of the one they had.
fn rekeyed(person: &str, mut installation: Installation) -> Installation {
    let keys = vec![key("another").public_key().clone().into()];
    installation.humans.get_mut(&person.parse().unwrap()).unwrap().keys = keys;
    installation.configuration = configuration_of(&installation);
    installation
}

#[tokio::test]
async fn who_changes_the_others_only_key_is_not_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = world::installation(folder.path());
    two.humans.retain(|name, _| name.as_str() != "carol");
    two.configuration = configuration_of(&two);
    let wanted = rekeyed("bob", two.clone());
    let world = World::built(folder, two).await;
    world.let_in().await;
    world.sign("alice", propose(&wanted.configuration)).await;
    world.second("bob", 2).await;
    world.clock.advance(SignedDuration::from_secs(60));
    world.reconfigured().await;
    let world = world.again(wanted).await.unwrap();
    let change = world.held("billing").await;
    assert!(refused(&world.approve("alice", change).await).contains("is the sponsor"));
    let told = world.sign("alice", propose(&world.more())).await;
    assert!(said(&told).contains("waits for the signature"), "{told:?}");
}

#[tokio::test]
async fn nobody_is_locked_out_by_what_they_sign() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = world::installation(folder.path());
    one.humans.retain(|name, _| name.as_str() == "alice");
    one.configuration = configuration_of(&one);
    let world = World::built(folder, one.clone()).await;
    world.let_in().await;
    let wanted = rekeyed("alice", one).configuration;
    let told = world.sign("alice", propose(&wanted)).await;
    assert!(refused(&told).contains("nobody could sign anything for 24 hours"));
    let mut unreviewed = world.more();
    unreviewed.settings.remove("reviewers");
    let told = world.sign("alice", propose(&unreviewed)).await;
    assert!(refused(&told).contains("two people must review"), "{told:?}");
    let mut one = world.more();
    one.settings["reviewers"].as_object_mut().unwrap().retain(|name, _| name == "bob");
    let told = world.sign("alice", propose(&one)).await;
    assert!(said(&told).contains("waits until"), "one who reviews is enough: {told:?}");
}

#[tokio::test]
async fn what_only_tightens_is_in_force_at_once() {
    let world = World::new().await;
    let tighter = world.set("/targets/prod/tags", json!(["critical"]));
    let told = world.sign("alice", propose(&tighter)).await;
    assert!(said(&told).contains("is in force"), "{told:?}");
    world.reconfigured().await;
    assert_eq!(world.configurations().await.0.configuration, tighter);
}

#[tokio::test]
async fn in_production_plain_keys_configure_nothing() {
    let world = World::new().await;
    let production = world.set("/targets/staging/environment", json!("production"));
    let told = world.sign("alice", propose(&production)).await;
    assert!(refused(&told).contains("user-verified"), "the new one has production: {told:?}");
    assert!(world.configurations().await.1.is_none());
}

#[tokio::test]
async fn anyone_stops_a_configuration_and_it_expires_by_itself() {
    let world = World::new().await;
    world.sign("alice", propose(&world.more())).await;
    world.second("bob", 2).await;
    let stop = Command::StopConfiguration { number: 2, reason: "look first".to_owned() };
    assert!(said(&world.engine.control(stop, NOBODY).await).contains("will not be in force"));
    world.clock.advance(SignedDuration::from_secs(60));
    assert!(refused(&world.second("bob", 2).await).contains("does not wait"));
    world.sign("alice", propose(&world.more())).await;
    assert!(refused(&world.sign("carol", propose(&world.more())).await).contains("3 waits"));
    world.clock.advance(SignedDuration::from_hours(24));
    while world.configurations().await.1.is_some() {
        tokio::task::yield_now().await;
    }
    assert!(!world.is_reconfigured_by_now().await);
}

#[tokio::test]
async fn a_statement_counts_once_for_exactly_what_it_says() {
    let world = World::new().await;
    let Reply::Prepared { statement, .. } = world.prepare("alice", propose(&world.more())).await
    else {
        panic!()
    };
    let softer = statement.replace("loosens: `people.dave", "tightens: `people.dave");
    assert_ne!(softer, statement);
    let submit = |statement: &str, signer: &str| {
        let signature = World::signature(signer, statement);
        let statement = statement.to_owned();
        world.engine.control(Command::Submit { statement, signature }, NOBODY)
    };
    refused(&submit(&softer, "alice").await);
    refused(&submit(&statement, "bob").await);
    assert!(said(&submit(&statement, "alice").await).contains("configuration 2 waits"));
    refused(&submit(&statement, "alice").await);
    let Reply::Prepared { statement, .. } =
        world.prepare("bob", PrepareAct::ApproveConfiguration { number: 2 }).await
    else {
        panic!()
    };
    let stop = Command::StopConfiguration { number: 2, reason: "again".to_owned() };
    world.engine.control(stop, NOBODY).await;
    world.sign("alice", propose(&world.set("/targets/prod/tags", json!(["safe"])))).await;
    assert!(refused(&submit(&statement, "bob").await).contains("2 does not wait"));
}

#[tokio::test]
async fn alone_it_takes_an_hour_and_ends_when_a_second_human_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = world::installation(folder.path());
    installation.humans.retain(|name, _| name.as_str() == "alice");
    installation.configuration = configuration_of(&installation);
    let world = World::built(folder, installation).await;
    world.let_in().await;
    let wanted = {
        let mut wanted = world::installation(world.folder.path());
        wanted.humans.retain(|name, _| name.as_str() != "carol");
        wanted.configuration = configuration_of(&wanted);
        wanted
    };
    assert!(said(&world.sign("alice", propose(&wanted.configuration)).await).contains("until"));
    world.clock.advance(SignedDuration::from_secs(3599));
    assert!(!world.is_reconfigured_by_now().await);
    world.clock.advance(SignedDuration::from_secs(1));
    world.reconfigured().await;
    let world = world.again(wanted).await.unwrap();
    let change = world.held("billing").await;
    let alone = world.approve("alice", change).await;
    assert!(said(&alone).contains("confirmed by its sponsor, not peer-reviewed"), "{alone:?}");
    world.clock.advance(SignedDuration::from_hours(25));
    let other = world.held("shop").await;
    assert!(refused(&world.approve("alice", other).await).contains("is the sponsor"));
    assert!(said(&world.approve("bob", other).await).contains("approved by bob"));
}

/// What somebody does to a configuration.
#[derive(Clone, Debug)]
enum Act {
    Propose(&'static str, bool),
    Second(&'static str),
    Stop,
    Pass(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let person = || prop::sample::select(vec!["alice", "bob", "carol", "dave"]);
    prop::collection::vec(
        prop_oneof![
            (person(), any::<bool>()).prop_map(|(person, loosens)| Act::Propose(person, loosens)),
            person().prop_map(Act::Second),
            Just(Act::Stop),
            prop::sample::select(vec![1, 30, 59, 60, 3600, 86_400]).prop_map(Act::Pass),
        ],
        1..12,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever people do in whatever order: what loosens is in force only after two humans signed
    /// it, the second a minute ago.
    #[test]
    fn no_order_of_acts_puts_in_force_what_loosens_without_two_humans(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            for act in &acts {
                match act {
                    Act::Propose(person, true) => drop(world.sign(person, propose(&world.more())).await),
                    Act::Propose(person, false) => {
                        let tighter = world.set("/targets/prod/tags", json!(["critical"]));
                        drop(world.sign(person, propose(&tighter)).await);
                    }
                    Act::Second(person) => {
                        let number = world.configurations().await.1.map_or(9, |waiting| waiting.number);
                        drop(world.second(person, number).await);
                    }
                    Act::Stop => {
                        let number = world.configurations().await.1.map_or(9, |waiting| waiting.number);
                        let stop = Command::StopConfiguration { number, reason: "no".to_owned() };
                        drop(world.engine.control(stop, NOBODY).await);
                    }
                    Act::Pass(seconds) => {
                        world.clock.advance(SignedDuration::from_secs(*seconds));
                        world.configurations().await;
                    }
                }
            }
            let (in_force, _) = world.configurations().await;
            if in_force.configuration == world.more() {
                let (human, at) = in_force.approved.unwrap();
                let applied = in_force.applied.unwrap();
                assert!(Some(&human) != in_force.editor.as_ref() && human.as_str() != "dave");
                assert!(applied.duration_since(at) >= SignedDuration::from_secs(60));
            }
            assert_eq!(world.consistency().await.differences, Vec::<String>::new());
        });
    }
}
