//! What a target is asked after a change, and what comes of the answers.

use crate::world::{self, NOBODY, World};
use countermand_core::request::ChangeNumber;
use countermand_core::watch::{Expectation, Probe, Question};
use countermand_engine::control::{AgentQuery, Command, PrepareAct, Reply, Status};
use countermand_engine::{Admission, Home, Installation};
use jiff::SignedDuration;
use serde_json::Value;
use std::path::Path;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn at_least(table: &str, rows: i64, lasts: SignedDuration) -> Probe {
    Probe {
        question: Question::Target(format!("rows of {table}")),
        expected: Expectation::Within(Some(rows), None),
        lasts,
        every: SignedDuration::from_secs(10),
    }
}

/// For five minutes there must be an order, and for one some more.
fn watched(folder: &Path) -> Installation {
    let mut installation = world::installation(folder);
    let prod = installation.targets.get_mut(&"prod".parse().unwrap()).unwrap();
    prod.watch = [
        ("orders".parse().unwrap(), at_least("shop.orders", 1, MINUTE * 5)),
        ("soon".parse().unwrap(), at_least("shop.orders", 2, MINUTE)),
    ]
    .into();
    installation
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let installation = watched(folder.path());
    let world = World::built(folder, installation).await;
    world.let_in().await;
    world
}

impl World {
    /// A change that is approved and cooled.
    async fn due(&self) -> u64 {
        let number = self.held("billing").await;
        self.prepared(number).await;
        assert!(matches!(self.approve("bob", number).await, Reply::Done { .. }));
        self.cool();
        number
    }

    async fn executed(&self) -> u64 {
        let number = self.due().await;
        self.until(number, |change| change.line.state == "executed").await;
        number
    }

    fn orders(&self, rows: u64) {
        self.prod.data.lock().unwrap().tables.insert("shop.orders".into(), rows);
    }

    /// Until the target has answered so many probes in all.
    async fn asked(&self, probes: u64) {
        let asked = async {
            while self.prod.data.lock().unwrap().probes < probes {
                tokio::task::yield_now().await;
            }
        };
        let within = std::time::Duration::from_secs(30);
        tokio::time::timeout(within, asked).await.expect("the target is not asked");
    }

    async fn status(&self) -> Status {
        match self.engine.control(Command::Status, NOBODY).await {
            Reply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// What the agent is shown of its change.
    async fn shown_to_bot(&self, change: u64) -> String {
        let caller = self.caller().await;
        let query = AgentQuery::Show(ChangeNumber(change));
        self.engine.agent_query(&caller, query).await.unwrap()
    }

    async fn restart(self, edit: impl FnOnce(&mut Installation), away: SignedDuration) -> World {
        self.engine.shutdown().await;
        let World { folder, clock, prod, engine, free } = self;
        drop(engine);
        clock.advance(away);
        let mut installation = watched(folder.path());
        edit(&mut installation);
        let home = Home::at(folder.path().join("state"));
        let engine = world::reopened(installation, home, &clock, &prod).await;
        World { folder, clock, prod, engine, free }
    }

    async fn said(&self, change: u64, words: &str) -> String {
        let is = |line: &Option<String>| line.as_ref().is_some_and(|said| said.contains(words));
        let within = std::time::Duration::from_secs(30);
        let said = tokio::time::timeout(within, self.until(change, |view| is(&view.line.watch)));
        let view = said.await.unwrap_or_else(|_| panic!("the watch never says `{words}`"));
        assert_eq!(view.executions, 1);
        view.line.watch.unwrap_or_default()
    }
}

#[tokio::test]
async fn a_watch_passes_once_every_probe_was_asked_at_its_end() {
    let world = world().await;
    let number = world.executed().await;
    // Before it, and after it.
    world.asked(4).await;
    world.clock.advance(MINUTE * 5 - SignedDuration::from_secs(1));
    world.asked(6).await;
    world.orders(1);
    world.said(number, "watched until").await;
    world.clock.advance(SignedDuration::from_secs(1));
    world.said(number, "as expected").await;
    assert!(world.status().await.watches.is_empty());
    assert_eq!(world.consistency().await.differences, Vec::<String>::new());
}

#[tokio::test]
async fn what_fails_is_an_event_is_shown_everywhere_and_offers_take_back() {
    let world = world().await;
    let number = world.executed().await;
    world.asked(4).await;
    world.orders(0);
    world.clock.advance(MINUTE / 2);
    let said = world.said(number, "failed").await;
    let offer = format!("countermand restore {number} --key KEY");
    assert!(said.starts_with("watch `orders` failed at 20") && said.ends_with(&offer), "{said}");
    assert!(said.contains(": 0, expected at least 1; take it back"), "{said}");
    let view = world.show(number).await;
    assert_eq!(view.line.state, "executed");
    let told = |words: &str| view.history.iter().any(|(_, said)| said.contains(words));
    assert!(told("watch begun: `orders`, `soon`") && told("watch `orders` failed: 0"));
    let status = world.status().await;
    assert!(status.watches[0].contains(&said), "{:?}", status.watches);

    let shown: Value = serde_json::from_str(&world.shown_to_bot(number).await).unwrap();
    let told = shown["change"]["watch"].as_str().unwrap();
    assert!(told.contains("watch `orders` failed") && !told.contains("expected"), "{told}");
    assert!(!shown.to_string().contains("restore"), "{shown}");

    // It is over: what holds again later makes it no better.
    world.orders(5);
    world.clock.advance(MINUTE * 10);
    assert_eq!(world.said(number, "failed").await, said);
    let restarted = world.restart(|_| {}, MINUTE).await;
    assert_eq!(restarted.status().await.watches, status.watches);
    assert_eq!(restarted.consistency().await.differences, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_taken_back_is_watched_anew_and_alarms_no_longer() {
    let world = world().await;
    let number = world.executed().await;
    world.orders(0);
    world.clock.advance(MINUTE);
    world.said(number, "failed").await;
    world.orders(3);
    let act = PrepareAct::Restore { change: ChangeNumber(number), overwrite: false };
    let reply = world.sign("bob", act).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    assert!(world.status().await.watches.is_empty());
    world.said(number, "watched until").await;
    world.orders(0);
    world.clock.advance(MINUTE);
    let said = world.said(number, "failed").await;
    assert!(!said.contains("countermand restore"), "it is taken back already: {said}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_had_is_a_failure() {
    for (what, words) in
        [("gone", "no value"), ("hostile", "\\u{202e}"), ("no question", "SQLSTATE 42601")]
    {
        let world = world().await;
        let number = match what {
            "no question" => {
                let edit = |installation: &mut Installation| {
                    let prod = installation.targets.get_mut(&"prod".parse().unwrap()).unwrap();
                    prod.watch.get_mut(&"orders".parse().unwrap()).unwrap().question =
                        Question::Target("?".into());
                };
                let number = world.executed().await;
                let world = world.restart(edit, MINUTE / 10).await;
                assert!(world.said(number, "failed").await.contains(words));
                continue;
            }
            _ => world.executed().await,
        };
        world.asked(4).await;
        match what {
            "gone" => drop(world.prod.data.lock().unwrap().tables.remove("shop.orders")),
            _ => world.prod.data.lock().unwrap().says = Some("5\u{202e}\u{1b}[2J\n".into()),
        }
        world.clock.advance(MINUTE);
        let said = world.said(number, "failed").await;
        assert!(said.contains(words) && !said.contains('\u{1b}'), "{said}");
    }
}

#[tokio::test]
async fn a_gateway_that_stops_goes_on_watching_or_says_that_it_could_not() {
    let world = world().await;
    let number = world.executed().await;
    world.asked(4).await;
    let world = world.restart(|_| {}, MINUTE * 2).await;
    world.said(number, "watched until").await;
    world.clock.advance(MINUTE * 3);
    world.said(number, "as expected").await;

    let world = self::world().await;
    let number = world.executed().await;
    world.asked(4).await;
    let world = world.restart(|_| {}, MINUTE * 5).await;
    let said = world.said(number, "not watched to the end").await;
    assert!(said.contains("was not running"), "{said}");
    assert_eq!(world.status().await.watches.len(), 1);

    // What fails at the late look is a failure all the same.
    let world = self::world().await;
    let number = world.executed().await;
    world.asked(4).await;
    world.orders(0);
    let world = world.restart(|_| {}, MINUTE * 60).await;
    world.said(number, "watch `orders` failed").await;
}

#[tokio::test]
async fn a_probe_that_is_no_longer_configured_is_no_pass() {
    let world = world().await;
    let number = world.executed().await;
    world.asked(4).await;
    let edit = |installation: &mut Installation| {
        let prod = installation.targets.get_mut(&"prod".parse().unwrap()).unwrap();
        prod.watch.remove(&"orders".parse().unwrap());
    };
    let world = world.restart(edit, MINUTE).await;
    let said = world.said(number, "not watched to the end").await;
    assert!(said.contains("`orders` is no longer configured"), "{said}");
}

#[tokio::test]
async fn what_fails_already_before_the_change_keeps_it_waiting_in_words() {
    let world = world().await;
    world.orders(1);
    let number = world.due().await;
    let waits =
        |words: &[String]| words.iter().any(|said| said.contains("watch `soon` fails already"));
    let view = world.until(number, |view| waits(&view.line.missing)).await;
    assert_eq!(view.line.state, "held");
    let missing = view.line.missing.join(", ");
    assert!(missing.contains("already: 1, expected at least 2"), "{missing}");
    let asked = world.prod.data.lock().unwrap().probes;
    let shown = world.shown_to_bot(number).await;
    assert!(shown.contains("watch `soon` fails already") && !shown.contains("expected"), "{shown}");
    world.clock.advance(SignedDuration::from_secs(10));
    world.asked(asked + 2).await;
    assert_eq!(world.prod.data.lock().unwrap().runs, 0);
    world.orders(2);
    world.clock.advance(SignedDuration::from_secs(10));
    let done = world.until(number, |view| view.line.state == "executed").await;
    assert!(done.line.missing.is_empty());
    let said = done.history.iter().filter(|(_, said)| said.starts_with("not started"));
    assert_eq!(said.count(), 1, "it is said once");
}

#[tokio::test]
async fn a_slow_probe_is_in_nobodys_way_and_all_watches_have_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = watched(folder.path());
    let prod = installation.targets.get_mut(&"prod".parse().unwrap()).unwrap();
    prod.watch.remove(&"soon".parse().unwrap());
    let world = World::built(folder, installation).await;
    world.let_in().await;
    let first = world.executed().await;
    assert!(matches!(world.ask("billing").await, Admission::Done { .. }));
    world.prod.data.lock().unwrap().tables.insert("billing.costs".into(), 1);
    let second = world.executed().await;
    // Before each, and after each.
    world.asked(4).await;
    let slow = world.prod.data.lock().unwrap().slow.clone();
    let answers = slow.lock().await;
    world.clock.advance(SignedDuration::from_secs(20));
    world.asked(5).await;
    let act = PrepareAct::Restore { change: ChangeNumber(first), overwrite: false };
    let reply = world.sign("bob", act).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    drop(answers);
    // The one question for both, and one for what was taken back meanwhile.
    world.asked(6).await;
    world.clock.advance(MINUTE * 5);
    world.said(first, "as expected").await;
    world.said(second, "as expected").await;
    let asked = world.prod.data.lock().unwrap().probes;
    assert!(asked <= 8, "asked {asked} times: not once for both");
}

#[tokio::test]
async fn an_answer_that_is_not_as_expected_is_asked_for_again() {
    let world = world().await;
    let number = world.executed().await;
    world.asked(4).await;
    world.prod.data.lock().unwrap().says_once = Some("0".into());
    world.clock.advance(SignedDuration::from_secs(10));
    world.asked(7).await;
    world.clock.advance(MINUTE * 5);
    world.said(number, "as expected").await;
}

#[tokio::test]
async fn probes_that_fail_in_turn_are_named_once_each() {
    let world = world().await;
    let number = world.due().await;
    for round in 0..6 {
        world.orders(round % 2);
        let asked = world.prod.data.lock().unwrap().probes;
        world.clock.advance(SignedDuration::from_secs(10));
        world.asked(asked + 1).await;
    }
    world.orders(5);
    world.clock.advance(SignedDuration::from_secs(10));
    let done = world.until(number, |view| view.line.state == "executed").await;
    let said = done.history.iter().filter(|(_, said)| said.starts_with("not started")).count();
    assert_eq!(said, 2, "{:?}", done.history);
}

#[tokio::test]
async fn a_web_server_that_does_not_answer_is_a_failure() {
    // Bound and closed again: nobody listens there.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = world().await;
    let number = world.executed().await;
    world.asked(4).await;
    let edit = |installation: &mut Installation| {
        let prod = installation.targets.get_mut(&"prod".parse().unwrap()).unwrap();
        let probe = prod.watch.get_mut(&"orders".parse().unwrap()).unwrap();
        probe.question = Question::Http(format!("http://{gone}/health"));
        probe.expected = Expectation::Anything;
    };
    let world = world.restart(edit, MINUTE / 10).await;
    let said = world.said(number, "failed").await;
    assert!(said.contains(&format!("`http://{gone}/health` cannot be asked")), "{said}");
}

#[tokio::test]
async fn a_program_is_told_what_failed_and_how_to_take_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("told");
    let script = format!("cat > '{0}.new' && mv '{0}.new' '{0}'", out.display());
    let mut installation = watched(folder.path());
    let prod = installation.targets.get_mut(&"prod".parse().unwrap()).unwrap();
    prod.notify = Some(["sh", "-c", &script].map(str::to_owned).into());
    let world = World::built(folder, installation).await;
    world.let_in().await;
    let number = world.executed().await;
    world.asked(4).await;
    world.prod.data.lock().unwrap().says = Some("\u{202e}\"}".into());
    world.clock.advance(MINUTE);
    world.said(number, "failed").await;
    let written = async {
        loop {
            match std::fs::read_to_string(&out) {
                Ok(told) => return told,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(60), written).await.unwrap();
    assert!(told.is_ascii(), "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["watch"], &told["probe"]), (&"failed".into(), &"orders".into()));
    assert_eq!(told["change"], number);
    assert_eq!(told["take_back"], format!("countermand restore {number} --key KEY"));
}
