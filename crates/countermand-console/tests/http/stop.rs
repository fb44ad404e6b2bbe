//! What only stops: by whom a passkey let in, at once, and nobody else.

use crate::client::Served;
use crate::passkeys::{refused, served, state, waiting};
use crate::world::NOBODY;
use countermand_engine::control::{Command, Reply};
use serde_json::json;

/// What the ledger has of this kind, newest last.
async fn entries(served: &Served, kind: &str) -> Vec<String> {
    let command = Command::Ledger { from: 0, limit: 1000 };
    let Reply::Ledger { entries, .. } = served.world.engine.control(command, NOBODY).await else {
        panic!("no ledger")
    };
    let lines = entries.into_iter().map(|entry| entry.line);
    lines.filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).collect()
}

#[tokio::test]
async fn what_only_stops_takes_a_passkeys_session_and_no_signature() {
    let served = served(&["bob", "carol"]).await;
    let number = waiting(&served, "billing").await;
    let (bob, carol) = (served.signer("bob").await, served.signer("carol").await);
    assert_eq!(bob.decide("approve", number).await.status, 200);
    let stop = json!({ "act": "stop_cooling", "change": number, "reason": "wait" });
    let link = served.reader("alice").await;
    refused(&link.post("/api/v1/stop", &stop).await, "passkey");
    assert_eq!(state(&served, number).await.approvals.len(), 1);
    assert_eq!(carol.post("/api/v1/stop", &stop).await.status, 200);
    let change = state(&served, number).await;
    assert!(change.approvals.is_empty());
    let said = change.history.iter().any(|(_, words)| words.contains("carol in the console"));
    assert!(said, "who stopped it is told: {:#?}", change.history);
    let freeze = json!({ "act": "freeze", "what": "everything", "reason": "drill" });
    assert_eq!(carol.post("/api/v1/stop", &freeze).await.status, 200);
    let status = carol.page("/status").await;
    assert!(status.contains("data-act=\"thaw\" data-what=\"everything\""), "{status}");
    let thaw = json!({ "act": "thaw", "what": "everything" });
    assert_eq!(carol.sign(&thaw).await.status, 200);
    assert!(!carol.page("/status").await.contains("data-act=\"thaw\""));
    let withdraw = json!({ "act": "withdraw", "change": number });
    assert_eq!(bob.post("/api/v1/stop", &withdraw).await.status, 200);
    assert_eq!(state(&served, number).await.line.state, "withdrawn");
}

#[tokio::test]
async fn one_agent_or_one_target_is_frozen_from_its_page_and_runs_again_by_a_signature() {
    let served = served(&["bob"]).await;
    let bob = served.signer("bob").await;
    let (agent, target) = ("bot".parse().unwrap(), "prod".parse().unwrap());
    let named = |kind: &str, name: &str| json!({ kind: name });
    for (path, kind, name) in [("/agents/bot", "agent", "bot"), ("/targets/prod", "target", "prod")]
    {
        let page = bob.page(path).await;
        let scope = format!("data-scope=\"{{&#34;{kind}&#34;:&#34;{name}&#34;}}\"");
        assert!(page.contains("data-act=\"freeze\"") && page.contains(&scope), "{page}");
        assert!(!served.reader("carol").await.page(path).await.contains("data-act="), "a reader");
        let wanted = json!({ "act": "freeze", "what": named(kind, name), "reason": "drill" });
        let link = served.reader("carol").await;
        refused(&link.post("/api/v1/stop", &wanted).await, "log in with your passkey");
        assert_eq!(bob.post("/api/v1/stop", &wanted).await.status, 200);
        assert_eq!(served.world.engine.freezes().borrow().len(), 1);
        assert!(bob.page(path).await.contains("<dt>frozen<dd>"));
        let who = entries(&served, "freeze.on").await.pop().unwrap();
        assert!(who.contains("bob in the console, by passkey"), "{who}");
        assert!(served.world.engine.is_frozen(&agent, &target).is_some());
        let thaw = json!({ "act": "thaw", "what": named(kind, name) });
        assert_eq!(bob.sign(&thaw).await.status, 200);
        assert!(served.world.engine.freezes().borrow().is_empty());
    }
    let nobody = json!({ "act": "freeze", "what": named("agent", "spy"), "reason": "drill" });
    refused(&bob.post("/api/v1/stop", &nobody).await, "NOTHING IS FROZEN");
    for what in [json!({}), json!("nothing"), json!(["everything"]), named("human", "alice")] {
        let wrong = json!({ "act": "freeze", "what": what, "reason": "drill" });
        assert_eq!(bob.post("/api/v1/stop", &wrong).await.status, 400, "{wrong}");
    }
    let all = json!({ "act": "freeze", "reason": "drill" });
    assert_eq!(bob.post("/api/v1/stop", &all).await.status, 400, "what is frozen is said");
}

#[tokio::test]
async fn an_agent_is_revoked_by_whom_a_passkey_let_in_and_the_ledger_says_who() {
    let served = served(&["bob"]).await;
    let revoke = |agent: &str| json!({ "act": "revoke_agent", "agent": agent });
    let link = served.reader("bob").await;
    refused(&link.post("/api/v1/stop", &revoke("bot")).await, "log in with your passkey");
    let Reply::Done { credential: Some(credential), .. } = served.world.ask_to_let_in("spy").await
    else {
        panic!("not let in")
    };
    for cookie in [String::new(), format!("countermand={credential}")] {
        let answer = served.post("/api/v1/stop", &cookie, &revoke("bot")).await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    let prepare = json!({ "act": "revoke_agent", "agent": "bot" });
    let bob = served.signer("bob").await;
    assert_eq!(bob.post("/api/v1/prepare", &prepare).await.status, 400, "nothing to sign");
    assert!(entries(&served, "agent.revoked").await.is_empty());
    let page = bob.page("/agents/bot").await;
    assert!(page.contains("data-act=\"revoke_agent\" data-agent=\"bot\""), "{page}");
    refused(&bob.post("/api/v1/stop", &revoke("nobody")).await, "there is no agent");
    assert_eq!(bob.post("/api/v1/stop", &revoke("../bot")).await.status, 400);
    assert_eq!(bob.post("/api/v1/stop", &revoke("bot")).await.status, 200);
    let [entry] = &entries(&served, "agent.revoked").await[..] else { panic!("not one") };
    assert!(entry.contains("bob in the console, by passkey SHA256:"), "{entry}");
    assert!(served.world.engine.open_session("bot", "prod", "psql", "local").await.is_err());
    let page = bob.page("/agents/bot").await;
    assert!(page.contains(">revoked</span>") && !page.contains("revoke_agent"), "{page}");
}

#[tokio::test]
async fn who_stops_is_never_told_to_wait() {
    let served = served(&["bob"]).await;
    let bob = served.signer("bob").await;
    let thaw = json!({ "act": "thaw", "what": "everything" });
    for _ in 0..30 {
        assert_eq!(bob.post("/api/v1/prepare", &thaw).await.status, 200);
    }
    assert_eq!(bob.post("/api/v1/prepare", &thaw).await.status, 429);
    let freeze = json!({ "act": "freeze", "what": "everything", "reason": "drill" });
    assert_eq!(bob.post("/api/v1/stop", &freeze).await.status, 200);
}
