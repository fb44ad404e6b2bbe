//! Adoption: what is forbidden to an agent becomes a human's own change, and every way to have
//! that let through what it should not.

use crate::world::{self, NOBODY, World, refused};
use countermand_core::action::{Action, Object};
use countermand_core::effect::Effect;
use countermand_core::policy::Grant;
use countermand_core::request::ChangeNumber;
use countermand_core::verb::postgres;
use countermand_engine::control::{AgentQuery, Command, PrepareAct, Reply, Scope};
use countermand_engine::trace::What;
use countermand_engine::{Admission, Home, Installation, Kept, Refusal};
use jiff::SignedDuration;

/// The schema's table is critical, and both alice and bob may destroy; only alice lets agents in.
fn critical(folder: &std::path::Path) -> Installation {
    let mut installed = world::installation(folder);
    let prod = installed.targets.get_mut(&"prod".parse().unwrap()).unwrap();
    prod.object_tags.insert("billing".into(), ["critical".to_owned()].into());
    let grant = installed.humans[&"alice".parse().unwrap()].sponsors.clone();
    installed.humans.get_mut(&"bob".parse().unwrap()).unwrap().sponsors = grant;
    installed.configuration = world::configuration_of(&installed);
    installed
}

async fn world_of(edit: impl FnOnce(&mut Installation)) -> World {
    let folder = tempfile::tempdir().unwrap();
    let mut installed = critical(folder.path());
    edit(&mut installed);
    installed.configuration = world::configuration_of(&installed);
    let world = World::built(folder, installed).await;
    world.let_in().await;
    world
}

async fn world() -> World {
    world_of(|_| {}).await
}

fn adopt(change: u64) -> PrepareAct {
    PrepareAct::Adopt { change: ChangeNumber(change) }
}

/// Why it is forbidden, and as what it is kept.
fn forbidden(admission: Admission<()>) -> (Vec<String>, Option<Kept>) {
    match admission {
        Admission::Refused(Refusal::Forbidden { reasons, kept }) => {
            (reasons.into_iter().map(|reason| reason.policy).collect(), kept)
        }
        Admission::Refused(other) => panic!("not forbidden: {other:?}"),
        _ => panic!("it flowed"),
    }
}

impl World {
    /// The agent asks to drop the critical schema, and is refused.
    async fn kept(&self) -> u64 {
        let (reasons, kept) = forbidden(self.ask("billing").await);
        assert_eq!(reasons, ["floor/critical"]);
        kept.expect("it is kept").change.0
    }

    async fn adopted(&self, person: &str) -> u64 {
        let number = self.kept().await;
        let reply = self.sign(person, adopt(number)).await;
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        self.prepared(number).await;
        number
    }

    async fn approved_and_cooled(&self, person: &str, number: u64) {
        let reply = self.approve(person, number).await;
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        self.cool();
    }

    fn rows(&self) -> Option<u64> {
        self.prod.data.lock().unwrap().tables.get("billing.costs").copied()
    }

    async fn state(&self, number: u64) -> String {
        self.show(number).await.line.state
    }
}

/// What is done for a change has a root in its trace, whoever asked for it.
#[tokio::test]
async fn what_is_kept_for_a_human_begins_its_trace() {
    let world = world().await;
    let mut steps = world.engine.steps().unwrap();
    let number = world.kept().await;
    let root = steps.try_recv().unwrap();
    assert_eq!((root.what, root.change.0), (What::Propose, number));
    assert!(matches!(own(&world, "alice", "shop").await, Reply::Change(_)));
    let told: Vec<_> = std::iter::from_fn(|| steps.try_recv().ok()).collect();
    let whats: Vec<_> = told.iter().map(|step| step.what).collect();
    assert_eq!(whats, [What::Preview, What::Propose]);
    assert!(told.iter().all(|step| step.agent.human().is_some()));
}

#[tokio::test]
async fn what_is_forbidden_to_an_agent_is_adopted_signed_and_executed_once() {
    let world = world().await;
    let number = world.kept().await;
    assert_eq!(world.kept().await, number, "asking again is the same refusal");
    assert_eq!(world.show(number).await.line.missing, ["a human who adopts it"]);
    assert!(refused(&world.approve("carol", number).await).contains("is forbidden"));
    let reply = world.sign("alice", adopt(number)).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    let (_, kept) = forbidden(world.ask("billing").await);
    assert_eq!(kept.unwrap().adopted, Some("alice".parse().unwrap()), "it stays a refusal");
    world.prepared(number).await;
    assert!(refused(&world.approve("alice", number).await).contains("adopted this change"));
    world.approved_and_cooled("bob", number).await;
    let done = world.until(number, |change| change.line.state == "executed").await;
    assert_eq!((done.executions, world.rows()), (1, None));
    assert_eq!(done.line.adopted, Some("alice".parse().unwrap()));
    assert!(done.restore_point.is_some());
    assert!(matches!(world.ask("billing").await, Admission::Done { .. }), "told once");
    let found = world.consistency().await;
    assert_eq!((found.differences, found.executed), (vec![], 1));
    let ledger = Command::Ledger { from: 0, limit: 1000 };
    let Reply::Ledger { entries, .. } = world.engine.control(ledger, NOBODY).await else {
        panic!()
    };
    let entry = |kind: &str| entries.iter().find(|entry| entry.line.contains(kind)).unwrap();
    assert!(entry("change.forbidden").line.contains("floor/critical"));
    let adopted = entry("change.adopted");
    assert!(adopted.line.contains("\"human\":\"alice\"") && adopted.line.contains("SIGNATURE"));
}

#[tokio::test]
async fn neither_who_adopts_nor_the_agents_sponsor_approves() {
    let world = world().await;
    let number = world.adopted("bob").await;
    assert!(refused(&world.approve("bob", number).await).contains("adopted this change"));
    assert!(refused(&world.approve("alice", number).await).contains("sponsor"));
    world.cool();
    assert_eq!(world.state(number).await, "held");
    world.approved_and_cooled("carol", number).await;
    world.until(number, |change| change.line.state == "executed").await;
}

#[tokio::test]
async fn nobody_adopts_what_nobody_could_approve_then() {
    let world = world_of(|installed| {
        installed.humans.remove(&"carol".parse().unwrap());
    })
    .await;
    let number = world.kept().await;
    assert!(refused(&world.sign("bob", adopt(number)).await).contains("nobody could approve"));
    assert!(matches!(world.sign("alice", adopt(number)).await, Reply::Done { .. }));
}

#[tokio::test]
async fn only_a_sponsor_adopts_and_a_statement_does_it_once() {
    let world = world().await;
    let number = world.kept().await;
    assert!(refused(&world.sign("bot", adopt(number)).await).contains("not a person"));
    assert!(refused(&world.sign("carol", adopt(number)).await).contains("no sponsor"));
    let Reply::Prepared { statement, .. } = world.prepare("alice", adopt(number)).await else {
        panic!()
    };
    let submit = |signature: String| {
        let statement = statement.clone();
        world.engine.control(Command::Submit { statement, signature }, NOBODY)
    };
    assert!(refused(&submit(World::signature("bot", &statement)).await).contains("not enrolled"));
    let signature = World::signature("alice", &statement);
    assert!(matches!(submit(signature.clone()).await, Reply::Done { .. }));
    world.prepared(number).await;
    // It falls back to the agent's, and the old statement does not bring it back.
    world.prod.data.lock().unwrap().tables.insert("billing.refunds".into(), 1);
    world.approved_and_cooled("bob", number).await;
    world.until(number, |change| change.line.state == "forbidden").await;
    world.prod.data.lock().unwrap().tables.remove("billing.refunds");
    refused(&submit(signature).await);
    assert_eq!((world.state(number).await.as_str(), world.rows()), ("forbidden", Some(1000)));
}

#[tokio::test]
async fn what_moved_since_it_was_seen_is_adopted_anew() {
    let world = world().await;
    let number = world.kept().await;
    let Reply::Prepared { statement, .. } = world.prepare("alice", adopt(number)).await else {
        panic!()
    };
    world.prod.data.lock().unwrap().tables.insert("billing.refunds".into(), 1);
    let signature = World::signature("alice", &statement);
    let stale = world.engine.control(Command::Submit { statement, signature }, NOBODY).await;
    assert!(refused(&stale).contains("billing.refunds was added"), "{stale:?}");
    assert_eq!(world.state(number).await, "forbidden");
    world.adopted("alice").await;
    // And what moves afterwards takes the adoption with the approvals.
    world.prod.data.lock().unwrap().tables.insert("billing.more".into(), 1);
    world.approved_and_cooled("bob", number).await;
    let back = world.until(number, |change| change.line.state == "forbidden").await;
    assert!(back.approvals.is_empty() && back.line.adopted.is_none(), "{back:#?}");
    assert_eq!(world.prod.data.lock().unwrap().runs, 0);
    assert_eq!(world.consistency().await.differences, Vec::<String>::new());
}

#[tokio::test]
async fn an_adopted_change_does_no_more_than_was_signed() {
    let world = world().await;
    let number = world.adopted("alice").await;
    world.prod.data.lock().unwrap().hidden_rows = 1;
    world.approved_and_cooled("bob", number).await;
    let back = world.until(number, |change| change.line.state == "forbidden").await;
    assert!(back.history.iter().any(|(_, words)| words.contains("elsewhere")));
    let data = world.prod.data.lock().unwrap();
    assert_eq!((data.runs, data.commits), (1, 0));
}

#[tokio::test]
async fn two_who_adopt_at_once_are_one() {
    let world = world().await;
    let number = world.kept().await;
    let replies = tokio::join!(
        world.sign("alice", adopt(number)),
        world.sign("bob", adopt(number)),
        world.sign("alice", adopt(number)),
    );
    let done = |reply: &Reply| matches!(reply, Reply::Done { .. });
    let replies = [replies.0, replies.1, replies.2];
    assert_eq!(replies.iter().filter(|reply| done(reply)).count(), 1, "{replies:?}");
}

#[tokio::test]
async fn what_was_not_adopted_in_time_is_gone() {
    let world = world().await;
    let number = world.kept().await;
    let early = world.prepare("alice", adopt(number)).await;
    assert!(matches!(early, Reply::Prepared { .. }));
    world.clock.advance(SignedDuration::from_hours(24));
    let late = world.sign("alice", adopt(number)).await;
    let why = refused(&late);
    assert!(why.contains("in time") || why.contains("expired"), "{why}");
    world.until(number, |change| change.line.state == "expired").await;
}

#[tokio::test]
async fn what_adoption_does_not_lift_is_kept_for_nobody() {
    let never = "@id(\"site/never\") @reason(\"nobody drops here\")\n\
                 forbid (principal, action in Action::\"Destroy\", resource);";
    let plain = world_of(|installed| {
        installed.policies = vec![("site.cedar".into(), never.into())];
    })
    .await;
    let (reasons, kept) = forbidden(plain.ask("billing").await);
    assert_eq!(
        (reasons.as_slice(), kept),
        (&["floor/critical".into(), "site/never".into()][..], None)
    );

    let world = world().await;
    let mut eleven = world.proposal(postgres::DROP_SCHEMA, "schema", "billing", "drop b").await;
    let roots = (0..11).map(|n| Object::new("table", format!("billing.t{n}")));
    eleven.actions.extend(roots.map(|object| Action::new(postgres::DROP_TABLE, object)));
    for n in 0..11 {
        world.prod.data.lock().unwrap().tables.insert(format!("billing.t{n}"), 1);
    }
    world.prod.data.lock().unwrap().all_are_roots = true;
    let (reasons, kept) = forbidden(world.engine.admit(eleven, ()).await.0);
    assert_eq!(reasons, ["floor/critical", "floor/ten-resources"]);
    assert_eq!(kept, None);
}

#[tokio::test]
async fn what_an_agent_was_never_granted_is_not_kept() {
    let world = world_of(|installed| {
        let mut placed = installed.targets.clone();
        placed.values_mut().for_each(|target| target.object_tags.clear());
        installed.targets = placed;
    })
    .await;
    let grant = world.proposal(postgres::GRANT, "role", "root", "drop shop").await;
    let (reasons, kept) = forbidden(world.engine.admit(grant, ()).await.0);
    assert!(reasons.contains(&"floor/grant".to_owned()), "{reasons:?}");
    assert_eq!(kept, None, "no human here has a grant for it");
    let revoke = Command::RevokeAgent { agent: "bot".parse().unwrap() };
    world.engine.control(revoke, NOBODY).await;
    let grant = Grant { targets: ["prod".parse().unwrap()].into(), effects: [Effect::Read].into() };
    let agent = "bot".parse().unwrap();
    world.sign("alice", PrepareAct::AddAgent { agent, grant, lifetime: 86400 }).await;
    let (reasons, kept) = forbidden(world.ask("shop").await);
    assert_eq!((reasons.as_slice(), kept), (&["grant/agent/bot".to_owned()][..], None));
}

#[tokio::test]
async fn a_rule_that_came_meanwhile_and_a_grant_that_is_too_small_are_named() {
    let world = world().await;
    let number = world.kept().await;
    world.engine.shutdown().await;
    let World { folder, clock, prod, engine, free } = world;
    drop(engine);
    let mut installed = critical(folder.path());
    let never = "@id(\"site/never\") @reason(\"nobody drops here\")\n\
                 forbid (principal, action in Action::\"Destroy\", resource);";
    installed.policies = vec![("site.cedar".into(), never.into())];
    let bob = installed.humans.get_mut(&"bob".parse().unwrap()).unwrap();
    bob.sponsors.as_mut().unwrap().effects = [Effect::Read].into();
    let home = Home::at(folder.path().join("state"));
    let engine = world::reopened(installed, home, &clock, &prod).await;
    let world = World { folder, clock, prod, engine, free };
    let alice = world.sign("alice", adopt(number)).await;
    assert!(refused(&alice).contains("nobody drops here (site/never)"), "{alice:?}");
    let bob = world.sign("bob", adopt(number)).await;
    assert!(refused(&bob).contains("no grant for destroy"), "{bob:?}");
    assert_eq!(world.state(number).await, "forbidden");
}

#[tokio::test]
async fn an_agent_leaves_a_few_and_each_stays_a_refusal() {
    let world = world().await;
    let ask = async |n: u64| {
        let body = format!("drop billing {n}");
        let drop = world.proposal(postgres::DROP_SCHEMA, "schema", "billing", &body).await;
        forbidden(world.engine.admit(drop, ()).await.0).1
    };
    for n in 0..5 {
        assert_eq!(ask(n).await.unwrap().change.0, n + 1);
    }
    assert_eq!(ask(5).await, None, "it is refused all the same");
    let caller = world.caller().await;
    let withdraw = AgentQuery::Withdraw(ChangeNumber(1));
    world.engine.agent_query(&caller, withdraw).await.unwrap();
    assert_eq!(ask(6).await.unwrap().change.0, 6);
    assert!(matches!(world.sign("alice", adopt(2)).await, Reply::Done { .. }));
    let withdraw = AgentQuery::Withdraw(ChangeNumber(2));
    let Err(Refusal::CannotJudge { why }) = world.engine.agent_query(&caller, withdraw).await
    else {
        panic!("it took back what is alice's")
    };
    assert!(why.contains("alice's own"), "{why}");
}

#[tokio::test]
async fn what_is_inside_a_transaction_is_not_kept() {
    let world = world().await;
    let mut drop = world.proposal(postgres::DROP_SCHEMA, "schema", "billing", "drop billing").await;
    drop.approvable = false;
    assert_eq!(forbidden(world.engine.admit(drop, ()).await.0).1, None);
}

#[tokio::test]
async fn it_outlives_the_agents_credential_and_not_its_revocation() {
    let world = world().await;
    let number = world.adopted("alice").await;
    let revoke = Command::RevokeAgent { agent: "bot".parse().unwrap() };
    world.engine.control(revoke, NOBODY).await;
    world.approved_and_cooled("bob", number).await;
    let change = world.show(number).await;
    assert_eq!(change.line.state, "held");
    assert!(change.reasons[0].contains("agent `bot` is not known"), "{:?}", change.reasons);
    // The human's own change is not one of the agent's earlier credential.
    world.let_in().await;
    world.until(number, |change| change.line.state == "executed").await;
}

#[tokio::test]
async fn alone_it_is_confirmed_cools_ten_times_as_long_and_says_so() {
    let world = world_of(|installed| {
        installed.humans.retain(|name, _| name.as_str() == "alice");
    })
    .await;
    let number = world.adopted("alice").await;
    let reply = world.approve("alice", number).await;
    let Reply::Done { words, .. } = reply else { panic!("{reply:?}") };
    assert!(words.contains("not peer-reviewed"), "{words}");
    world.clock.advance(SignedDuration::from_secs(599));
    assert_eq!(world.state(number).await, "held");
    world.clock.advance(SignedDuration::from_secs(1));
    let done = world.until(number, |change| change.line.state == "executed").await;
    assert!(done.approvals[0].contains("confirmed by its sponsor, not peer-reviewed"));
    assert!(done.history.iter().any(|(_, words)| words.contains("not peer-reviewed")));
    assert!(done.line.not_peer_reviewed);
    let told = world.ask("billing").await;
    assert!(matches!(told, Admission::Done { confirmed: true, .. }), "the agent hears it too");
}

#[tokio::test]
async fn a_stop_leaves_it_adopted() {
    let world = world().await;
    let number = world.adopted("alice").await;
    world.engine.shutdown().await;
    let World { folder, clock, prod, engine, free } = world;
    drop(engine);
    let home = Home::at(folder.path().join("state"));
    let engine = world::reopened(critical(folder.path()), home, &clock, &prod).await;
    let world = World { folder, clock, prod, engine, free };
    assert_eq!(world.show(number).await.line.adopted, Some("alice".parse().unwrap()));
    world.approved_and_cooled("bob", number).await;
    world.until(number, |change| change.line.state == "executed").await;
}

/// A human asks for it, and nothing comes of it before they sign.
async fn own(world: &World, human: &str, schema: &str) -> Reply {
    let (human, target) = (human.parse().unwrap(), "prod".parse().unwrap());
    let command = Command::Propose { human, target, text: format!("drop {schema}") };
    world.engine.control(command, NOBODY).await
}

#[tokio::test]
async fn a_humans_own_change_is_signed_by_them_and_by_another() {
    let world = World::new().await;
    let Reply::Change(asked) = own(&world, "alice", "billing").await else { panic!("refused") };
    let number = asked.line.number;
    assert_eq!((asked.line.state.as_str(), asked.line.agent.as_str()), ("unsigned", "human:alice"));
    let Reply::Change(again) = own(&world, "alice", "billing").await else { panic!("refused") };
    assert_eq!(again.line.number, number, "the same request is the same change");

    let adopt = || PrepareAct::Adopt { change: number };
    for other in ["bob", "carol"] {
        let reply = world.sign(other, adopt()).await;
        assert!(refused(&reply).contains("`alice`'s own request"), "{reply:?}");
    }
    let early = world.sign("bob", PrepareAct::Approve { change: number, seat: None }).await;
    assert!(refused(&early).contains("not signed by `alice`"), "{early:?}");
    let reply = world.sign("alice", adopt()).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    world.prepared(number.0).await;
    let reply = world.approve("alice", number.0).await;
    assert!(refused(&reply).contains("adopted this change"), "{reply:?}");
    assert!(matches!(world.approve("bob", number.0).await, Reply::Done { .. }));
    world.cool();
    let done = world.until(number.0, |change| change.line.state == "executed").await;
    assert_eq!(done.executions, 1);
    assert!(done.history[0].1.contains("asked for by alice"), "{:?}", done.history);
    assert_eq!(world.consistency().await.differences, Vec::<String>::new());
}

#[tokio::test]
async fn who_has_no_grant_asks_for_nothing_and_a_rejection_stands() {
    let world = World::new().await;
    let reply = own(&world, "bob", "billing").await;
    assert!(refused(&reply).contains("`bob` is no sponsor"), "{reply:?}");
    let reply = own(&world, "mallory", "billing").await;
    assert!(refused(&reply).contains("no sponsor"), "{reply:?}");

    let Reply::Change(asked) = own(&world, "alice", "billing").await else { panic!("refused") };
    let reason = "use the archive job".to_owned();
    let reply = world.sign("bob", PrepareAct::Reject { change: asked.line.number, reason }).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    let reply = own(&world, "alice", "billing").await;
    assert!(refused(&reply).contains("use the archive job"), "{reply:?}");
    world.clock.advance(SignedDuration::from_hours(24));
    assert!(matches!(own(&world, "alice", "billing").await, Reply::Change(_)));

    let freeze = Command::Freeze { what: Scope::Everything, reason: "drill".into() };
    world.engine.control(freeze, NOBODY).await;
    let reply = own(&world, "alice", "shop").await;
    assert!(refused(&reply).contains("frozen"), "{reply:?}");
}

#[tokio::test]
async fn what_nobody_signs_is_limited_and_expires() {
    let world = World::new().await;
    for schema in ["a", "b", "c", "d", "e"] {
        assert!(matches!(own(&world, "alice", schema).await, Reply::Change(_)));
    }
    let reply = own(&world, "alice", "f").await;
    assert!(refused(&reply).contains("5 of them unsigned"), "{reply:?}");
    world.clock.advance(SignedDuration::from_hours(24));
    world.until(1, |change| change.line.state == "expired").await;

    // Asked and taken back, again and again, it tells nobody how many rows there are.
    let mut told = 0;
    for round in 0..20 {
        if let Reply::Change(change) = own(&world, "alice", &format!("x{round}")).await {
            told += 1;
            let withdraw = Command::Withdraw { change: change.line.number };
            world.engine.control(withdraw, NOBODY).await;
        }
    }
    assert!(told <= 10, "{told}");
    let reply = own(&world, "alice", "y").await;
    assert!(refused(&reply).contains("too much was asked"), "{reply:?}");
}

#[tokio::test]
async fn what_is_not_theirs_is_not_measured() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = world::installation(folder.path());
    let alice = installation.humans.get_mut(&"alice".parse().unwrap()).unwrap();
    alice.sponsors.as_mut().unwrap().effects = [Effect::Read].into();
    let world = World::built(folder, installation).await;
    let reply = own(&world, "alice", "billing").await;
    assert!(refused(&reply).contains("forbidden to `alice`"), "{reply:?}");
    let Reply::Changes { changes, .. } = world
        .engine
        .control(Command::Changes { open: false, wanted: Default::default() }, NOBODY)
        .await
    else {
        panic!()
    };
    assert!(changes.is_empty());
}

#[tokio::test]
async fn whoever_else_asked_first_what_is_signed_is_the_humans_own_spelling() {
    let world = World::new().await;
    let Reply::Change(first) = own(&world, "alice", "billing").await else { panic!("refused") };
    assert!(first.said.contains("uid"), "who asked is shown: {}", first.said);
    let frozen =
        Scope::Agent(countermand_core::name::AgentName::of_human(&"alice".parse().unwrap()));
    let freeze = Command::Freeze { what: frozen.clone(), reason: "drill".into() };
    world.engine.control(freeze, NOBODY).await;
    assert!(refused(&own(&world, "alice", "shop").await).contains("frozen"));
    let thawed = world.sign("carol", PrepareAct::Thaw { what: frozen }).await;
    assert!(matches!(thawed, Reply::Done { .. }), "{thawed:?}");
    assert!(matches!(own(&world, "alice", "shop").await, Reply::Change(_)));
}

#[tokio::test]
async fn no_agent_is_let_in_under_a_humans_name() {
    let world = World::new().await;
    let name = countermand_core::name::AgentName::of_human(&"alice".parse().unwrap());
    let grant = Grant { targets: ["prod".parse().unwrap()].into(), effects: [].into() };
    let act = PrepareAct::AddAgent { agent: name, grant, lifetime: 60 };
    let reply = world.sign("alice", act).await;
    assert!(refused(&reply).contains("is a human's name"), "{reply:?}");
    let session = world.engine.open_session("human:alice", "prod", "psql", "local").await;
    assert!(session.is_err());
}
