//! Acting in the browser: with the session of a passkey, and a signature by it each time.

use crate::client::{Answer, Served};
use crate::soft_passkey::{PRESENT, SoftPasskey};
use crate::world::{self, World, configuration_of};
use countermand_engine::Installation;
use countermand_engine::control::{ChangeView, PrepareAct};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Somebody's passkey, made at the console that serves at this port.
fn of(person: &str, port: u16) -> SoftPasskey {
    SoftPasskey::seeded(&format!("http://localhost:{port}"), person.as_bytes()[0])
}

/// A port that was free just now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A world in which these people have passkeys, and its console.
pub(crate) async fn served(with_passkey: &[&str]) -> Served {
    served_where(with_passkey, |_| ()).await
}

/// The same, where this is so besides.
pub(crate) async fn served_where(
    with_passkey: &[&str],
    so: impl FnOnce(&mut Installation),
) -> Served {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut installation = world::installation(folder.path());
    so(&mut installation);
    for person in with_passkey {
        let human = installation.humans.get_mut(&person.parse().unwrap()).unwrap();
        human.keys.push(of(person, port).line().parse().unwrap());
    }
    installation.configuration = configuration_of(&installation);
    let world = World::built(folder, installation).await;
    world.let_in().await;
    Served::at(world, port).await
}

/// Somebody with a browser.
pub(crate) struct Browser<'s> {
    pub(crate) served: &'s Served,
    pub(crate) cookie: String,
    passkey: SoftPasskey,
}

impl Served {
    /// Somebody's passkey.
    fn of(&self, person: &str) -> SoftPasskey {
        of(person, self.port)
    }

    fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    async fn send(&self, head: &str, body: &str) -> Answer {
        let length = body.len();
        self.raw(&format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await
    }

    pub(crate) async fn post(&self, path: &str, cookie: &str, body: &Value) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nOrigin: {}\r\nCookie: {cookie}\r\n\
             Content-Type: application/json",
            self.host(),
            self.origin()
        );
        self.send(&head, &body.to_string()).await
    }

    /// A browser that a link let in.
    pub(crate) async fn reader(&self, person: &str) -> Browser<'_> {
        let cookie = self.login(person).await;
        Browser { served: self, cookie, passkey: self.of(person) }
    }

    /// A browser that a passkey let in.
    pub(crate) async fn signer(&self, person: &str) -> Browser<'_> {
        let mut browser = Browser { served: self, cookie: String::new(), passkey: self.of(person) };
        let entered = browser.enter().await;
        assert_eq!(entered.status, 200, "{entered:?}");
        browser.cookie = entered.cookie();
        browser
    }
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

impl Browser<'_> {
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.served.post(path, &self.cookie, body).await
    }

    pub(crate) async fn page(&self, path: &str) -> String {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {}",
            self.served.host(),
            self.cookie
        );
        let answer = self.served.send(&head, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    async fn enter(&self) -> Answer {
        let asked = json_of(&self.post("/api/v1/login/ask", &Value::Null).await);
        let text = asked["text"].as_str().unwrap();
        let proof = json!({ "text": text, "credential": self.passkey.get(text) });
        self.post("/api/v1/login/proof", &proof).await
    }

    /// What the page of a change says that it shows.
    pub(crate) async fn seen(&self, change: u64) -> String {
        let page = self.page(&format!("/changes/{change}")).await;
        let (_, seen) = page.split_once("data-seen=\"").unwrap();
        seen.split_once('"').unwrap().0.to_owned()
    }

    /// Has an act prepared.
    pub(crate) async fn prepared(&self, act: &Value) -> Value {
        let answer = self.post("/api/v1/prepare", act).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        json_of(&answer)
    }

    pub(crate) async fn submit(&self, statement: &Value) -> Answer {
        let credential = self.passkey.get(statement.as_str().unwrap());
        let body = json!({ "statement": statement, "credential": credential });
        self.post("/api/v1/submit", &body).await
    }

    /// Prepares, signs and submits.
    pub(crate) async fn sign(&self, act: &Value) -> Answer {
        let prepared = self.prepared(act).await;
        self.submit(&prepared["statement"]).await
    }

    pub(crate) async fn decide(&self, act: &str, change: u64) -> Answer {
        let mut wanted = json!({ "act": act, "change": change, "seen": self.seen(change).await });
        if act == "reject" {
            wanted["reason"] = json!("use the archive job");
        }
        self.sign(&wanted).await
    }
}

pub(crate) fn refused(answer: &Answer, with: &str) {
    assert!(answer.status >= 400 && answer.body.contains(with), "{with}: {answer:?}");
}

/// A change that waits for nothing but people.
pub(crate) async fn waiting(served: &Served, schema: &str) -> u64 {
    let number = served.world.held(schema).await;
    served.world.prepared(number).await;
    number
}

pub(crate) async fn state(served: &Served, change: u64) -> Box<ChangeView> {
    served.world.show(change).await
}

#[tokio::test]
async fn a_held_change_is_read_approved_with_a_passkey_and_executed() {
    let served = served(&["bob"]).await;
    let number = waiting(&served, "billing").await;
    let bob = served.signer("bob").await;
    let page = bob.page(&format!("/changes/{number}")).await;
    let (reject, approve) =
        (page.find("data-act=\"reject\"").unwrap(), page.find("data-act=\"approve\"").unwrap());
    assert!(reject < approve, "what stops comes first");
    assert!(approve < page.find("</article>").unwrap());
    assert!(page.contains("reads and signs"));
    let seen = bob.seen(number).await;
    let prepared = bob.prepared(&json!({ "act": "approve", "change": number, "seen": seen })).await;
    let said = prepared["said"].to_string();
    let signed = state(&served, number).await.subject.to_string();
    for words in ["it runs, once", "bot, for alice", "1,100 rows of billing.costs", &signed] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert_eq!(
        prepared["type_back"].as_str().unwrap().split(' ').next().unwrap(),
        number.to_string()
    );
    assert_eq!(prepared["options"]["userVerification"], "required");
    let done = bob.submit(&prepared["statement"]).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert!(json_of(&done)["words"].as_str().unwrap().contains("approved by bob"));
    let page = bob.page(&format!("/changes/{number}")).await;
    assert!(page.contains("data-act=\"stop_cooling\""), "it cools, and is stopped here");
    served.world.cool();
    served.world.until(number, |change| change.line.state == "executed").await;
    let back = bob.prepared(&json!({ "act": "restore", "change": number })).await;
    assert!(back["said"].to_string().contains("comes back"), "{back}");
    let done = bob.submit(&back["statement"]).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(state(&served, number).await.line.state, "restored");
}

#[tokio::test]
async fn a_rejection_takes_a_reason_and_a_signature() {
    let served = served(&["bob"]).await;
    let number = waiting(&served, "billing").await;
    let bob = served.signer("bob").await;
    let seen = bob.seen(number).await;
    for reason in ["", " \n ", &"x".repeat(1001)] {
        let wanted = json!({ "act": "reject", "change": number, "seen": seen, "reason": reason });
        assert_eq!(bob.post("/api/v1/prepare", &wanted).await.status, 400, "{reason:?}");
    }
    let none = json!({ "act": "reject", "change": number, "seen": seen });
    assert_eq!(bob.post("/api/v1/prepare", &none).await.status, 400);
    assert_eq!(bob.decide("reject", number).await.status, 200);
    assert_eq!(state(&served, number).await.line.state, "rejected");
}

#[tokio::test]
async fn a_sponsor_is_refused_here_too() {
    let served = served(&["alice"]).await;
    let number = waiting(&served, "billing").await;
    let alice = served.signer("alice").await;
    refused(&alice.decide("approve", number).await, "sponsor");
    assert!(state(&served, number).await.approvals.is_empty());
}

#[tokio::test]
async fn a_signature_is_taken_once_for_its_change_and_from_its_human() {
    let served = served(&["bob", "carol"]).await;
    let (one, two) = (waiting(&served, "billing").await, waiting(&served, "shop").await);
    let (bob, carol) = (served.signer("bob").await, served.signer("carol").await);
    let approve = async |change: u64| {
        let wanted = json!({ "act": "approve", "change": change, "seen": bob.seen(change).await });
        bob.prepared(&wanted).await["statement"].clone()
    };
    let (first, second) = (approve(one).await, approve(two).await);
    let credential = bob.passkey.get(first.as_str().unwrap());
    let hand_in = async |who: &Browser<'_>, statement: &Value| {
        let body = json!({ "statement": statement, "credential": credential });
        who.post("/api/v1/submit", &body).await
    };
    refused(&hand_in(&bob, &second).await, "did not sign this statement");
    refused(&hand_in(&carol, &first).await, "no statement of yours");
    refused(&hand_in(&served.reader("bob").await, &first).await, "log in with your passkey");
    assert_eq!(hand_in(&bob, &first).await.status, 200);
    refused(&hand_in(&bob, &first).await, "one human, one seat");
    // A second seat by a second prepare, neither.
    refused(&bob.decide("approve", one).await, "one human, one seat");
    assert_eq!(state(&served, one).await.approvals.len(), 1);
    assert!(state(&served, two).await.approvals.is_empty());
}

#[tokio::test]
async fn what_moved_since_the_page_was_loaded_is_not_given_out_to_be_signed() {
    let served = served(&["bob"]).await;
    let number = waiting(&served, "billing").await;
    let bob = served.signer("bob").await;
    let seen = bob.seen(number).await;
    served.world.approve("carol", number).await;
    served.world.prod.data.lock().unwrap().tables.insert("billing.refunds".to_owned(), 1);
    served.world.cool();
    let voided = |change: &ChangeView| {
        change.approvals.is_empty()
            && change.history.iter().any(|(_, said)| said.contains("refunds"))
    };
    served.world.until(number, voided).await;
    served.world.prepared(number).await;
    let old = json!({ "act": "approve", "change": number, "seen": seen });
    refused(&bob.post("/api/v1/prepare", &old).await, "no longer what this page shows");
    let none = json!({ "act": "approve", "change": number });
    assert_eq!(bob.post("/api/v1/prepare", &none).await.status, 400);
    assert_eq!(bob.decide("approve", number).await.status, 200, "loaded again");
}

#[tokio::test]
async fn a_statement_that_was_prepared_before_it_moved_does_nothing() {
    let served = served(&["bob"]).await;
    let number = waiting(&served, "billing").await;
    let bob = served.signer("bob").await;
    let wanted = json!({ "act": "approve", "change": number, "seen": bob.seen(number).await });
    let statement = bob.prepared(&wanted).await["statement"].clone();
    served.world.approve("carol", number).await;
    served.world.prod.data.lock().unwrap().tables.insert("billing.refunds".to_owned(), 1);
    served.world.cool();
    served.world.until(number, |change| change.approvals.is_empty()).await;
    served.world.prepared(number).await;
    refused(&bob.submit(&statement).await, "no longer what this statement says");
}

#[tokio::test]
async fn another_page_signs_and_stops_nothing() {
    let served = served(&["bob"]).await;
    let number = waiting(&served, "billing").await;
    let bob = served.signer("bob").await;
    let freeze = json!({ "act": "freeze", "what": "everything", "reason": "drill" }).to_string();
    let (host, here) = (served.host(), served.origin());
    let paths = ["/api/v1/prepare", "/api/v1/submit", "/api/v1/stop", "/api/v1/passkeys/made"];
    for path in paths {
        for from in [
            "Accept: */*",
            "Origin: null",
            "Origin: http://localhost:3000",
            "Origin: http://evil.example\r\nSec-Fetch-Site: same-origin",
            &format!("Origin: {here}\r\nSec-Fetch-Site: same-site"),
        ] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\n{from}\r\nCookie: {}\r\n\
                 Content-Type: application/json",
                bob.cookie
            );
            assert_eq!(served.send(&head, &freeze).await.status, 403, "{path} {from}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {here}\r\nCookie: {}\r\n\
                 Content-Type: {kind}",
                bob.cookie
            );
            assert_eq!(served.send(&head, &freeze).await.status, 400, "{path} {kind}");
        }
        for method in ["GET", "PUT", "DELETE"] {
            let head = format!(
                "{method} {path}?act=freeze HTTP/1.1\r\nHost: {host}\r\nOrigin: {here}\r\n\
                 Cookie: {}",
                bob.cookie
            );
            assert_eq!(served.send(&head, "").await.status, 405, "{method} {path}");
        }
    }
    assert!(served.world.engine.freezes().borrow().is_empty());
    assert_eq!(state(&served, number).await.line.state, "held");
}

#[tokio::test]
async fn a_body_without_end_is_not_read() {
    let served = served(&["bob"]).await;
    let bob = served.signer("bob").await;
    let long = json!({ "statement": "x".repeat(2_000_000), "credential": {} });
    refused(&bob.post("/api/v1/submit", &long).await, "too long");
    let long = json!({ "act": "freeze", "reason": "x".repeat(5000) });
    refused(&bob.post("/api/v1/stop", &long).await, "too long");
    // What fits, and is no signature.
    let wanted = json!({ "act": "thaw", "what": "everything" });
    let statement = bob.prepared(&wanted).await["statement"].clone();
    for credential in
        [json!({}), json!({ "id": "x".repeat(100_000) }), json!("-----BEGIN"), Value::Null]
    {
        let body = json!({ "statement": statement, "credential": credential });
        assert!(bob.post("/api/v1/submit", &body).await.status >= 400);
    }
}

#[tokio::test]
async fn a_passkey_lets_its_human_in_once_for_each_challenge() {
    let served = served(&["bob"]).await;
    let asked = json_of(&served.post("/api/v1/login/ask", "", &Value::Null).await);
    assert_eq!(asked["options"]["allowCredentials"], json!([]), "a stranger learns nothing");
    let text = asked["text"].as_str().unwrap();
    let proof = |passkey: &SoftPasskey| json!({ "text": text, "credential": passkey.get(text) });
    let stranger = served.post("/api/v1/login/proof", "", &proof(&served.of("mallory"))).await;
    assert_eq!((stranger.status, stranger.header("set-cookie")), (401, None), "{stranger:?}");
    let touched = served.of("bob").lying(|scene| scene.flags = PRESENT, proof);
    assert_eq!(served.post("/api/v1/login/proof", "", &touched).await.status, 401);
    let agents = |scene: &mut crate::soft_passkey::Scene| {
        scene.origin = "http://localhost:3000".to_owned();
    };
    let elsewhere = served.of("bob").lying(agents, proof);
    assert_eq!(served.post("/api/v1/login/proof", "", &elsewhere).await.status, 401);
    let good = proof(&served.of("bob"));
    let entered = served.post("/api/v1/login/proof", "", &good).await;
    assert_eq!(entered.status, 200, "{entered:?}");
    let cookie = entered.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=3600"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert_eq!(served.post("/api/v1/login/proof", "", &good).await.status, 401, "once");
    let bob = served.signer("bob").await;
    served.world.clock.advance(SignedDuration::from_secs(3600));
    let freeze = json!({ "act": "freeze", "what": "everything", "reason": "drill" });
    assert_eq!(bob.post("/api/v1/stop", &freeze).await.status, 401, "its hour is over");
}

/// A page at another port may pass everything on, and change what is shown.
#[tokio::test]
async fn under_another_port_nobody_logs_in_makes_a_passkey_or_is_given_anything_to_sign() {
    let served = served(&["bob"]).await;
    let bob = served.signer("bob").await;
    let wanted = json!({ "act": "thaw", "what": "everything" }).to_string();
    for path in ["/api/v1/login/ask", "/api/v1/passkeys/ask", "/api/v1/prepare"] {
        let head = |port: u16| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n\
                 Cookie: {}\r\nContent-Type: application/json",
                bob.cookie
            )
        };
        let answer = served.send(&head(3000), &wanted).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        assert!(answer.body.contains(&served.origin()), "{path}: {answer:?}");
        let here = served.send(&head(served.port), &wanted).await;
        assert!(!here.body.contains("without TLS"), "{path}: {here:?}");
    }
}

#[tokio::test]
async fn who_guesses_with_passkeys_is_told_to_wait_and_keeps_nobody_out() {
    let served = served(&["bob"]).await;
    let guess = json!({ "text": "guess", "credential": served.of("bob").get("guess") });
    for _ in 0..10 {
        assert_eq!(served.post("/api/v1/login/proof", "", &guess).await.status, 401);
    }
    assert_eq!(served.post("/api/v1/login/proof", "", &guess).await.status, 429);
    served.signer("bob").await;
}

#[tokio::test]
async fn a_link_makes_a_passkey_which_counts_for_nobody() {
    let served = served(&["carol"]).await;
    let bob = served.reader("bob").await;
    let page = bob.page("/keys").await;
    assert!(page.contains("A link let you in") && page.contains(&served.origin()), "{page}");
    let asked = json_of(&bob.post("/api/v1/passkeys/ask", &Value::Null).await);
    let text = asked["text"].as_str().unwrap();
    assert_eq!(asked["options"]["user"]["name"], "bob");
    let given = json!({ "text": text, "credential": bob.passkey.create(text) });
    let carol = served.signer("carol").await;
    assert_eq!(carol.post("/api/v1/passkeys/made", &given).await.status, 401, "asked for bob");
    let made = bob.post("/api/v1/passkeys/made", &given).await;
    assert_eq!(made.status, 200, "{made:?}");
    assert_eq!(json_of(&made)["line"], bob.passkey.line());
    assert_eq!(bob.enter().await.status, 401, "nobody let it count");
    let number = waiting(&served, "billing").await;
    let prepare = json!({ "act": "approve", "change": number, "seen": "0".repeat(64) });
    refused(&bob.post("/api/v1/prepare", &prepare).await, "log in with your passkey");
    let page = bob.page(&format!("/changes/{number}")).await;
    assert!(!page.contains("data-act="), "a reader has no button");
    assert!(page.contains("log in with your passkey"));
}

#[tokio::test]
async fn at_an_address_without_a_name_there_are_no_passkeys() {
    let served = served(&["bob"]).await;
    let cookie = served.login("bob").await;
    let head = format!("GET /keys HTTP/1.1\r\nHost: 127.0.0.1:6480\r\nCookie: {cookie}");
    let page = served.send(&head, "").await;
    assert!(page.body.contains("Open the console at"), "{page:?}");
    let head = format!(
        "POST /api/v1/passkeys/ask HTTP/1.1\r\nHost: 127.0.0.1:6480\r\n\
         Origin: http://127.0.0.1:6480\r\nCookie: {cookie}"
    );
    assert_eq!(served.send(&head, "").await.status, 400);
}

#[tokio::test]
async fn a_doubt_is_ended_by_a_reviewers_signature_and_what_shows_it() {
    let served = served(&["bob"]).await;
    let number = waiting(&served, "billing").await;
    {
        let mut data = served.world.prod.data.lock().unwrap();
        (data.lose_answer, data.forgot) = (true, true);
    }
    served.world.approve("carol", number).await;
    served.world.cool();
    served.world.until(number, |change| change.line.state == "in doubt").await;
    let bob = served.signer("bob").await;
    let page = bob.page(&format!("/changes/{number}")).await;
    assert!(page.contains("data-act=\"resolve_committed\""), "{page}");
    let wanted =
        |reason: &str| json!({ "act": "resolve_committed", "change": number, "reason": reason });
    assert_eq!(bob.post("/api/v1/prepare", &wanted("")).await.status, 400);
    let prepared = bob.prepared(&wanted("seen with psql")).await;
    assert!(prepared["said"].to_string().contains("you looked, and it was committed"));
    assert_eq!(bob.submit(&prepared["statement"]).await.status, 200);
    assert_eq!(state(&served, number).await.line.state, "executed");
}

#[tokio::test]
async fn a_configuration_is_stopped_or_approved_by_another_who_saw_it() {
    let served = served(&["alice", "bob"]).await;
    let mut wanted = world::installation(served.world.folder.path());
    for person in ["alice", "bob", "carol"] {
        let human = wanted.humans.get_mut(&person.parse().unwrap()).unwrap();
        human.keys.push(served.of(person).line().parse().unwrap());
    }
    let configuration = Box::new(configuration_of(&wanted));
    let propose = || PrepareAct::ProposeConfiguration { configuration: configuration.clone() };
    served.world.sign("alice", propose()).await;
    let (alice, bob) = (served.signer("alice").await, served.signer("bob").await);
    let page = alice.page("/configuration").await;
    assert!(page.contains("another human approves it") && page.contains("stop_configuration"));
    assert!(!page.contains("data-act=\"approve_configuration\""));
    let stop = json!({ "act": "stop_configuration", "number": 2, "reason": "not today" });
    assert_eq!(bob.post("/api/v1/stop", &stop).await.status, 200);
    served.world.sign("alice", propose()).await;
    let page = bob.page("/configuration").await;
    let seen = page.split_once("data-seen=\"").unwrap().1.split_once('"').unwrap().0;
    let approve = |seen: &str| json!({ "act": "approve_configuration", "number": 3, "seen": seen });
    let other = "0".repeat(64);
    refused(&bob.post("/api/v1/prepare", &approve(&other)).await, "no longer what this page shows");
    refused(&alice.post("/api/v1/prepare", &approve(seen)).await, "wrote configuration 3");
    let prepared = bob.prepared(&approve(seen)).await;
    let said = prepared["said"].to_string();
    assert!(said.contains("loosens: `people.carol.keys`") && said.contains("passkey"), "{said}");
    assert_eq!(prepared["type_back"], "3 1");
    assert_eq!(bob.submit(&prepared["statement"]).await.status, 200);
}
