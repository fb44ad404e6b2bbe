//! A human signs with a passkey: with exactly the meaning, and the limits, of any other key.

use crate::soft_passkey::{PRESENT, SoftPasskey};
use crate::world::{self, NOBODY, World, configuration_of, refused};
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{Command, PrepareAct, Reply, Scope};
use countermand_engine::key::{Key, Origin, PasskeyFault};
use countermand_engine::{Installation, Passkeys, PasskeysError};
use jiff::SignedDuration;
use serde_json::Value;

const HERE: &str = "http://localhost:6480";

fn here() -> Origin {
    HERE.parse().unwrap()
}

fn of(person: &str) -> SoftPasskey {
    SoftPasskey::seeded(HERE, person.as_bytes()[0])
}

/// In production, where everybody has an SSH key that does not count there, and a passkey.
fn installation(folder: &std::path::Path, with_passkey: &[&str]) -> Installation {
    let mut installation = world::installation(folder);
    for placement in installation.targets.values_mut() {
        placement.environment = "production".parse().unwrap();
    }
    for person in with_passkey {
        let human = installation.humans.get_mut(&person.parse().unwrap()).unwrap();
        human.keys.push(of(person).line().parse().unwrap());
    }
    installation.configuration = configuration_of(&installation);
    installation
}

async fn world(with_passkey: &[&str]) -> World {
    let folder = tempfile::tempdir().unwrap();
    let installation = installation(folder.path(), with_passkey);
    let world = World::built(folder, installation).await;
    let act = PrepareAct::AddAgent {
        agent: "bot".parse().unwrap(),
        grant: world::grant(),
        lifetime: 7 * 86400,
    };
    let statement = world.statement("alice", act).await;
    let let_in = world.submit(&statement, of("alice").sign(&statement)).await;
    assert!(matches!(let_in, Reply::Done { credential: Some(_), .. }), "{let_in:?}");
    world
}

fn approve(number: u64) -> PrepareAct {
    PrepareAct::Approve { change: ChangeNumber(number), seat: None }
}

impl World {
    async fn statement(&self, person: &str, act: PrepareAct) -> String {
        match self.prepare(person, act).await {
            Reply::Prepared { statement, .. } => statement,
            other => panic!("{other:?}"),
        }
    }

    async fn submit(&self, statement: &str, signature: String) -> Reply {
        let statement = statement.to_owned();
        self.engine.control(Command::Submit { statement, signature }, NOBODY).await
    }

    /// A change that waits for nothing but people.
    async fn waiting(&self, schema: &str) -> u64 {
        let number = self.held(schema).await;
        self.prepared(number).await;
        number
    }
}

#[tokio::test]
async fn a_passkey_counts_in_production_and_the_whole_of_it_is_evidence() {
    let world = world(&["alice", "bob"]).await;
    let number = world.waiting("billing").await;
    let statement = world.statement("bob", approve(number)).await;
    let plain = world.submit(&statement, World::signature("bob", &statement)).await;
    assert!(refused(&plain).contains("user-verified key"), "{plain:?}");
    let signature = of("bob").sign(&statement);
    let done = world.submit(&statement, signature.clone()).await;
    assert!(matches!(done, Reply::Done { .. }), "{done:?}");
    world.cool();
    let change = world.until(number, |change| change.line.state == "executed").await;
    assert_eq!(change.executions, 1);
    let ledger = Command::Ledger { from: 0, limit: 1000 };
    let Reply::Ledger { entries, .. } = world.engine.control(ledger, NOBODY).await else {
        panic!()
    };
    let approved = entries.iter().find(|entry| entry.line.contains("change.approved")).unwrap();
    let leaf: Value = serde_json::from_str(&approved.line).unwrap();
    assert_eq!(leaf["body"]["signature"], Value::from(signature));
    assert_eq!(leaf["body"]["statement"], Value::from(statement));
    // And what it is to be held against, without comments.
    let applied = entries.iter().find(|entry| entry.line.contains("config.applied")).unwrap();
    let leaf: Value = serde_json::from_str(&applied.line).unwrap();
    let bobs = &leaf["body"]["signers"]["bob"];
    assert!(bobs.as_array().unwrap().contains(&Value::from(of("bob").line())), "{bobs}");
}

#[tokio::test]
async fn an_assertion_is_good_once_for_its_statement_and_its_human() {
    let world = world(&["alice", "bob", "carol"]).await;
    let (first, second) = (world.waiting("billing").await, world.waiting("shop").await);
    let statement = world.statement("bob", approve(first)).await;
    let other = world.statement("bob", approve(second)).await;
    let signature = of("bob").sign(&statement);
    let for_another = world.submit(&other, signature.clone()).await;
    assert!(refused(&for_another).contains("did not sign this statement"), "{for_another:?}");
    let by_another = world.submit(&statement, of("carol").sign(&statement)).await;
    assert!(refused(&by_another).contains("not enrolled"), "{by_another:?}");
    let mut lying = of("bob");
    let touched = lying.lying(|scene| scene.flags = PRESENT, |passkey| passkey.sign(&statement));
    let touched = world.submit(&statement, touched).await;
    assert!(refused(&touched).contains("did not verify who you are"), "{touched:?}");
    // Whoever failed has not used it up.
    assert!(matches!(world.submit(&statement, signature.clone()).await, Reply::Done { .. }));
    let again = world.submit(&statement, signature).await;
    assert!(refused(&again).contains("one human, one seat"), "{again:?}");
    let change = world.show(first).await;
    assert_eq!(change.approvals.len(), 1);
    assert!(world.show(second).await.approvals.is_empty());
}

#[tokio::test]
async fn an_assertion_that_was_used_lets_nothing_happen_again() {
    let world = world(&["alice", "bob"]).await;
    let freeze = || Command::Freeze { what: Scope::Everything, reason: "drill".into() };
    world.engine.control(freeze(), NOBODY).await;
    let statement = world.statement("bob", PrepareAct::Thaw { what: Scope::Everything }).await;
    let signature = of("bob").sign(&statement);
    let thawed = world.submit(&statement, signature.clone()).await;
    assert!(matches!(thawed, Reply::Done { .. }), "{thawed:?}");
    world.engine.control(freeze(), NOBODY).await;
    let again = world.submit(&statement, signature).await;
    assert!(refused(&again).contains("used before"), "{again:?}");
}

#[tokio::test]
async fn a_sponsor_is_no_peer_with_a_passkey_either() {
    let world = world(&["alice", "bob"]).await;
    let number = world.waiting("billing").await;
    let statement = world.statement("alice", approve(number)).await;
    let own = world.submit(&statement, of("alice").sign(&statement)).await;
    assert!(refused(&own).contains("sponsor"), "{own:?}");
}

#[tokio::test]
async fn a_passkey_that_is_new_counts_after_a_day() {
    let before = world(&["alice", "bob"]).await;
    let wanted = installation(before.folder.path(), &["alice", "bob", "carol"]);
    let configuration = Box::new(wanted.configuration.clone());
    let act = PrepareAct::ProposeConfiguration { configuration };
    let statement = before.statement("alice", act).await;
    let proposed = before.submit(&statement, of("alice").sign(&statement)).await;
    let Reply::Done { words, .. } = &proposed else { panic!("{proposed:?}") };
    assert!(words.contains("waits for the signature of a reviewer"), "{words}");
    let statement = before.statement("bob", PrepareAct::ApproveConfiguration { number: 2 }).await;
    assert!(
        statement.contains("passkey http://localhost:6480"),
        "who signs sees where it was made"
    );
    let approved = before.submit(&statement, of("bob").sign(&statement)).await;
    assert!(matches!(approved, Reply::Done { .. }), "{approved:?}");
    before.clock.advance(SignedDuration::from_secs(60));
    let moved = before.engine.reconfigured().wait_for(|other| *other).await.map(|now| *now);
    assert!(moved.unwrap());
    let world = before.again(wanted).await.unwrap();
    let passkeys = Passkeys::new(world.engine.clone());
    let number = world.waiting("billing").await;
    let login = |passkeys: &Passkeys| {
        let text = passkeys.login(&here(), None)["text"].as_str().unwrap().to_owned();
        passkeys.logged_in(&here(), &text, &of("carol").sign(&text))
    };
    let statement = world.statement("carol", approve(number)).await;
    let early = world.submit(&statement, of("carol").sign(&statement)).await;
    assert!(refused(&early).contains("not enrolled"), "{early:?}");
    assert_eq!(login(&passkeys), Err(PasskeysError::Unknown));
    assert_eq!(passkeys.request(&"carol".parse().unwrap(), &here()), None);
    world.clock.advance(SignedDuration::from_hours(24));
    let statement = world.statement("carol", approve(number)).await;
    let late = world.submit(&statement, of("carol").sign(&statement)).await;
    assert!(matches!(late, Reply::Done { .. }), "{late:?}");
    assert_eq!(login(&passkeys).unwrap().human.as_str(), "carol");
    assert!(passkeys.request(&"carol".parse().unwrap(), &here()).is_some());
}

#[tokio::test]
async fn statements_end_with_the_configuration_they_were_given_out_under() {
    let before = world(&["alice", "bob"]).await;
    let statement = before.statement("bob", approve(before.waiting("billing").await)).await;
    let mut wanted = installation(before.folder.path(), &["alice", "bob"]);
    let tags = &mut wanted.configuration.settings["targets"]["prod"];
    tags["tags"] = serde_json::json!(["critical"]);
    let configuration = Box::new(wanted.configuration.clone());
    let act = PrepareAct::ProposeConfiguration { configuration };
    let tightens = before.statement("alice", act).await;
    before.submit(&tightens, of("alice").sign(&tightens)).await;
    let signature = of("bob").sign(&statement);
    let at_once = before.submit(&statement, signature.clone()).await;
    assert!(refused(&at_once).contains("another configuration is in force"), "{at_once:?}");
    let world = before.again(wanted).await.unwrap();
    let later = world.submit(&statement, signature).await;
    assert!(refused(&later).contains("prepare it again"), "{later:?}");
}

#[tokio::test]
async fn a_browser_makes_a_passkey_and_its_line_is_what_people_sign() {
    let world = World::new().await;
    let passkeys = Passkeys::new(world.engine.clone());
    let bob = "bob".parse().unwrap();
    let asked = passkeys.creation(&bob, &here());
    let options = &asked["options"];
    assert_eq!(options["rp"]["id"], "localhost");
    assert_eq!(options["attestation"], "none");
    assert_eq!(options["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(options["excludeCredentials"], serde_json::json!([]));
    assert_ne!(
        options["user"],
        passkeys.creation(&"carol".parse().unwrap(), &here())["options"]["user"]
    );
    let text = asked["text"].as_str().unwrap();
    let credential = of("bob").create(text).to_string();
    let made = passkeys.created(&bob, &here(), text, &credential).unwrap();
    assert_eq!(made.line, of("bob").line());
    assert_eq!(made.fingerprint, made.line.parse::<Key>().unwrap().fingerprint());
    let created = |human: &str, origin: &Origin, text: &str| {
        passkeys.created(&human.parse().unwrap(), origin, text, &of("bob").create(text).to_string())
    };
    assert_eq!(created("bob", &here(), text), Err(PasskeysError::Stale), "once");
    let text = || passkeys.creation(&bob, &here())["text"].as_str().unwrap().to_owned();
    assert_eq!(created("carol", &here(), &text()), Err(PasskeysError::Stale), "for bob");
    let elsewhere = "http://localhost:3000".parse().unwrap();
    assert_eq!(created("bob", &elsewhere, &text()), Err(PasskeysError::Stale), "made here");
    let old = text();
    world.clock.advance(SignedDuration::from_mins(5));
    assert_eq!(created("bob", &here(), &old), Err(PasskeysError::Stale));
    let text = text();
    let endless = format!("{}{}", of("bob").create(&text), " ".repeat(10_000_000));
    let endless = passkeys.created(&bob, &here(), &text, &endless);
    assert_eq!(endless, Err(PasskeyFault::ClientData.into()));
}

#[tokio::test]
async fn who_has_a_passkey_logs_in_with_it_once_for_each_text() {
    let world = world(&["alice", "bob"]).await;
    let passkeys = Passkeys::new(world.engine.clone());
    let text = || passkeys.login(&here(), None)["text"].as_str().unwrap().to_owned();
    let asked = passkeys.login(&here(), None);
    assert_eq!(asked["options"]["allowCredentials"], serde_json::json!([]), "strangers ask");
    assert_eq!(asked["options"]["userVerification"], "required");
    let login = |text: &str, signature: String| passkeys.logged_in(&here(), text, &signature);
    let first = text();
    let who = login(&first, of("bob").sign(&first)).unwrap();
    let key: Key = of("bob").line().parse().unwrap();
    assert_eq!((who.human.as_str(), who.key), ("bob", key.fingerprint()));
    assert_eq!(login(&first, of("bob").sign(&first)), Err(PasskeysError::Stale), "once");
    let (second, third) = (text(), text());
    let other = login(&second, of("bob").sign(&third));
    assert_eq!(other, Err(PasskeyFault::Challenge.into()));
    let stranger = login(&second, of("mallory").sign(&second));
    assert_eq!(stranger, Err(PasskeysError::Unknown));
    let ssh = login(&second, World::signature("bob", &second));
    assert_eq!(ssh, Err(PasskeysError::Unknown));
    // Made for another use.
    let made = passkeys.creation(&"bob".parse().unwrap(), &here())["text"].to_string();
    assert_eq!(login(&made, of("bob").sign(&made)), Err(PasskeysError::Stale));
    // What logs in signs nothing, and what was signed logs nobody in.
    let number = world.waiting("billing").await;
    let statement = world.statement("bob", approve(number)).await;
    refused(&world.submit(&statement, of("bob").sign(&second)).await);
    assert_eq!(login(&statement, of("bob").sign(&statement)), Err(PasskeysError::Stale));
    // At another port nothing of this is known.
    let elsewhere: Origin = "http://localhost:3000".parse().unwrap();
    let text = passkeys.login(&elsewhere, None)["text"].as_str().unwrap().to_owned();
    let there = passkeys.logged_in(&elsewhere, &text, &of("bob").sign(&text));
    assert_eq!(there, Err(PasskeysError::Unknown));
    assert_eq!(passkeys.request(&"bob".parse().unwrap(), &elsewhere), None);
}

#[tokio::test]
async fn a_browser_is_asked_for_the_signers_own_passkeys_only() {
    let world = world(&["alice", "bob"]).await;
    let passkeys = Passkeys::new(world.engine.clone());
    let asked = passkeys.request(&"bob".parse().unwrap(), &here()).unwrap();
    let Key::Passkey(bobs) = of("bob").line().parse().unwrap() else { panic!() };
    let only = serde_json::json!([{ "type": "public-key", "id": bobs.id() }]);
    assert_eq!(asked["allowCredentials"], only);
    assert_eq!(
        (&asked["rpId"], &asked["userVerification"]),
        (&"localhost".into(), &"required".into())
    );
    for nobody in ["carol", "mallory"] {
        assert_eq!(passkeys.request(&nobody.parse().unwrap(), &here()), None, "{nobody}");
    }
    // Where they have one, no second is made on the same device.
    let excluded = passkeys.creation(&"bob".parse().unwrap(), &here());
    assert_eq!(excluded["options"]["excludeCredentials"], only);
}
