//! What the page of policies says of their cases, and of requests that nobody makes.

use crate::client::{Answer, Served};
use crate::world::NOBODY;
use countermand_engine::control::{Command, Reply};
use std::fmt::Write as _;

/// Asks for an explanation, as the page's form does.
async fn explain(served: &Served, cookie: &str, agent: &str, target: &str, text: &str) -> Answer {
    let mut encoded = String::new();
    for byte in text.bytes() {
        write!(encoded, "%{byte:02x}").unwrap();
    }
    let headers = [
        &format!("Origin: {}", served.origin()),
        "Content-Type: application/x-www-form-urlencoded",
        &format!("Cookie: {cookie}"),
    ];
    let body = format!("agent={agent}&target={target}&text={encoded}");
    served.ask("POST", "/policies/explain", &headers, &body).await
}

#[tokio::test]
async fn the_cases_of_policies_are_told_with_what_went_wrong() {
    let served = Served::new().await;
    let page = served.get("/policies", &served.login("bob").await).await.body;
    for said in [
        "1 of 1 cases as expected",
        "0 of 1 cases as expected",
        "<b>a drop\\u{202e} &#60;b&#62;waits&#60;/b&#62;</b>: expected hold, it is allow",
        "<a href=\"/policies/explain\">",
    ] {
        assert!(page.contains(said), "{said} is not in {page}");
    }
    assert!(!page.contains("not what is in force"), "{page}");
}

#[tokio::test]
async fn a_request_that_nobody_makes_is_explained_and_nothing_is_kept_of_it() {
    let served = Served::new().await;
    let cookie = served.login("bob").await;
    let form = served.get("/policies/explain", &cookie).await.body;
    assert!(
        form.contains("<option>bot</option>") && form.contains("<option>prod</option>"),
        "{form}"
    );
    let before = known(&served).await;
    let page = explain(&served, &cookie, "bot", "prod", "-- old\r\ndrop billing").await;
    assert_eq!(page.status, 200, "{page:?}");
    for said in [
        "would be held",
        "bot, for alice, on prod in test",
        "postgres:DropSchema (destroy) on schema billing",
        "floor/hard-stop, floor.cedar, which is built in",
        "It passes with",
        "<li class=\"mine\">1 approval <span class=\"quiet\">from bob, carol</span>",
        "by its text alone",
        "<li>-- old<li>drop billing</ol>",
        "\n-- old\ndrop billing</textarea>",
        "<option selected>bot</option>",
    ] {
        assert!(page.body.contains(said), "{said} is not in {}", page.body);
    }
    assert_eq!(known(&served).await, before);
}

/// What the ledger and the target know: entries, changes, transactions.
async fn known(served: &Served) -> (u64, u64, u64) {
    let reply = served.world.engine.control(Command::Status, NOBODY).await;
    let Reply::Status(status) = reply else { panic!("{reply:?}") };
    let transactions = served.world.prod.data.lock().unwrap().transactions;
    (status.ledger_size, status.open, transactions)
}

#[tokio::test]
async fn what_cannot_be_explained_is_said_and_what_was_asked_stays_in_the_form() {
    let served = Served::new().await;
    let cookie = served.login("bob").await;
    let many: String = (0..=1000).map(|nth| format!("drop part_{nth}\n")).collect();
    for (agent, target, text, why) in [
        ("spy", "prod", "drop billing", "agent `spy` has no credential that is valid now"),
        ("bot", "nowhere", "drop billing", "there is no target `nowhere`"),
        ("..", "prod", "drop billing", "that is no agent&#39;s name"),
        ("bot", "%00", "drop billing", "that is no target&#39;s name"),
        ("bot", "prod", " \n", "nothing is asked"),
        ("bot", "prod", "-- nothing", "it does nothing"),
        ("bot", "prod", &many, "it does more than 1000 things"),
    ] {
        let page = explain(&served, &cookie, agent, target, text).await;
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.body.contains(why), "{why} is not in {}", page.body);
        assert!(page.body.contains(&format!("\n{text}</textarea>")), "{}", page.body);
    }
    let large = explain(&served, &cookie, "bot", "prod", &"x".repeat(400_000)).await;
    assert_eq!(large.status, 400, "{}", large.head);
    let cookie = format!("Cookie: {cookie}");
    let form = "Content-Type: application/x-www-form-urlencoded";
    let foreign = ["Origin: http://localhost:3000", form, &cookie];
    let body = "agent=bot&target=prod&text=drop+billing";
    assert_eq!(served.ask("POST", "/policies/explain", &foreign, body).await.status, 403);
    let in_address = format!("/policies/explain?{body}");
    let page = served.ask("GET", &in_address, &[&cookie], "").await;
    assert!(!page.body.contains("billing"), "what stands in an address is not read: {page:?}");
}

#[tokio::test]
async fn a_text_made_to_deceive_is_read_as_what_it_is() {
    let served = Served::new().await;
    let cookie = served.login("bob").await;
    let text = "drop </textarea><script>alert(1)</script>\u{202e}\u{0}\u{1b}";
    let page = explain(&served, &cookie, "bot", "prod", text).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(!page.body.contains("<script>alert") && page.body.contains("\\u{202e}"), "{page:?}");
    let (_, read) = page.body.split_once("What was read").unwrap();
    for hidden in ["\u{202e}", "\u{0}", "\u{1b}"] {
        assert!(!read.contains(hidden), "{hidden:?} in {read}");
    }
}

#[tokio::test]
async fn explaining_is_limited_and_keeps_nobody_from_anything_else() {
    let served = Served::new().await;
    let (bob, carol) = (served.login("bob").await, served.login("carol").await);
    for _ in 0..30 {
        assert_eq!(explain(&served, &bob, "bot", "prod", "drop billing").await.status, 200);
    }
    assert_eq!(explain(&served, &bob, "bot", "prod", "drop billing").await.status, 429);
    assert_eq!(explain(&served, &carol, "bot", "prod", "drop billing").await.status, 200);
    assert_eq!(served.get("/policies/explain", &bob).await.status, 200);
}
