//! What pages and the API show, of whatever is asked.

use crate::client::Served;
use crate::passkeys;
use crate::world::World;
use countermand_core::request::ChangeNumber;
use countermand_core::verb::postgres;
use countermand_engine::control::{PrepareAct, Reply};
use countermand_engine::{Admission, Refusal};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Has a change held whose payload goes on with this text.
async fn held_with(world: &World, text: &str) -> u64 {
    let body = format!("drop billing {text}");
    let proposal = world.proposal(postgres::DROP_SCHEMA, "schema", "billing", &body).await;
    match world.engine.admit(proposal, ()).await.0 {
        Admission::Refused(Refusal::Held { change, .. }) => change.0,
        _ => panic!("it was not held"),
    }
}

#[tokio::test]
async fn the_decision_page_says_what_is_decided() {
    let served = Served::new().await;
    let number = served.world.held("billing").await;
    served.world.prepared(number).await;
    let cookie = served.login("bob").await;
    let page = served.get(&format!("/changes/{number}"), &cookie).await;
    assert_eq!(page.status, 200);
    let identity = served.world.show(number).await.subject.to_string();
    for said in [
        "destroy schema billing: 1 schema, 1 table, 1000 rows",
        "drop billing",
        "billing.costs",
        "1,100",
        "can be taken back from a restore point",
        "floor/hard-stop",
        "countermand approve 1 --key KEY",
        "countermand reject 1 --reason",
        "<svg class=\"radius\"",
        "rolled back",
        identity.as_str(),
    ] {
        assert!(page.body.contains(said), "{said} is not in {}", page.body);
    }
    let (reject, approve) =
        (page.body.find("countermand reject"), page.body.find("countermand approve"));
    assert!(reject < approve, "what stops comes first");
    let hers = served.login("alice").await;
    let page = served.get(&format!("/changes/{number}"), &hers).await;
    assert!(page.body.contains("somebody else approves it"), "she is its sponsor");
}

#[tokio::test]
async fn the_queue_says_for_whom_it_waits() {
    let served = Served::new().await;
    served.world.held("billing").await;
    let queue = async |who: &str| served.get("/", &served.login(who).await).await.body;
    let mine = |body: String| {
        let mine = body.split_once("Waits for you").unwrap().1;
        mine.split_once("Waits for something else").unwrap().0.contains("destroy schema billing")
    };
    assert!(mine(queue("bob").await), "a reviewer");
    assert!(!mine(queue("alice").await), "its sponsor");
}

#[tokio::test]
async fn every_page_opens() {
    let served = Served::new().await;
    served.world.held("billing").await;
    let cookie = served.login("bob").await;
    for (path, says) in [
        ("/", "Queue"),
        ("/changes", "destroy schema billing"),
        ("/changes?state=executed", "No change is like that"),
        ("/changes?agent=bot&target=prod&open=true", "destroy schema billing"),
        ("/changes?agent=%3Cscript%3E", "&#60;script&#62;"),
        ("/agents", "bot"),
        ("/agents/bot", "countermand agent revoke bot"),
        ("/targets", "prod"),
        ("/targets/prod", "countermand freeze target prod"),
        ("/ledger", "gateway.started"),
        ("/ledger?before=1", "Newer"),
        ("/status", "nothing: what may flow flows"),
        ("/changes?text=BILLING", "destroy schema billing"),
        ("/changes?text=nothing", "No change is like that"),
        ("/changes?text=1&before=1", "Newest"),
        ("/policies", "floor/hard-stop"),
        ("/policies", "a human peer must approve what destroys"),
        ("/configuration", "None waits to be in force"),
        ("/configuration", "countermand config diff"),
        ("/ledger/1", "countermand ledger check proof.json --key ledger.pub"),
        ("/incident", "change.held"),
        ("/incident?change=1", "Incident: change 1"),
        ("/incident?agent=bot&since=2027-01-01T00:00:00Z", "answers for change 1"),
    ] {
        let page = served.get(path, &cookie).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert!(page.body.contains(says), "{path}: {}", page.body);
    }
    for path in [
        "/changes/99",
        "/changes/x",
        "/changes/01",
        "/agents/nobody",
        "/agents/%00",
        "/targets/nowhere",
        "/targets/%00",
        "/nothing",
        "/ledger/999",
        "/ledger/x",
    ] {
        let page = served.get(path, &cookie).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(page.header("content-type").unwrap().starts_with("text/html"), "{path}");
    }
}

/// Production's rows are for who proved who they are: a link's session is given the command.
#[tokio::test]
async fn some_of_the_rows_are_read_when_a_signer_asks_and_only_before_it_runs() {
    let served = passkeys::served(&["bob", "carol"]).await;
    let number = served.world.held("billing").await;
    let (page, path) = (format!("/changes/{number}"), format!("/changes/{number}/rows"));
    let cookie = served.login("bob").await;
    let decision = served.get(&page, &cookie).await.body;
    assert!(decision.contains(&format!("countermand changes rows {number}")), "{decision}");
    assert!(!decision.contains(&path));
    assert_eq!(served.get(&path, &cookie).await.status, 403);
    let cookie = served.signer("bob").await.cookie;
    assert!(served.get(&page, &cookie).await.body.contains(&path));
    let rows = served.get(&path, &cookie).await;
    assert_eq!(rows.status, 200, "{rows:?}");
    for words in ["billing.costs", "&#60;b&#62;\\u{202e}ann", "••••", ">null", "no-store"] {
        let all = format!("{}{}", rows.head, rows.body);
        assert!(all.contains(words), "{words} is not in {all}");
    }
    // Nobody reads a table row by row.
    for _ in 0..30 {
        served.get(&path, &cookie).await;
    }
    assert_eq!(served.get(&path, &cookie).await.status, 429);
    let carol = served.signer("carol").await.cookie;
    assert_eq!(served.get("/changes/77/rows", &carol).await.status, 404);
    let change = ChangeNumber(number);
    let no = PrepareAct::Reject { change, reason: "use the archive job".to_owned() };
    assert!(matches!(served.world.sign("bob", no).await, Reply::Done { .. }));
    let ended = served.get(&path, &carol).await;
    assert!(ended.status == 409 && ended.body.contains("before it runs"), "{ended:?}");
}

#[tokio::test]
async fn the_doctors_findings_are_read_the_worst_first() {
    let served = Served::new().await;
    let cookie = served.login("bob").await;
    assert!(served.get("/status", &cookie).await.body.contains("<a href=\"/doctor\">"));
    let page = served.get("/doctor", &cookie).await.body;
    let found = ["state bad\">bad</span>", "one human: enrol a second", "they load, as 6b3c1e"];
    let at = found.map(|words| page.find(words).unwrap_or_else(|| panic!("{words}: {page}")));
    assert!(at.is_sorted(), "{page}");
    assert!(page.contains("&#60;b&#62;\\u{202e}"), "{page}");
}

#[tokio::test]
async fn programs_get_the_same_and_problems_by_rfc_9457() {
    let served = Served::new().await;
    let number = served.world.held("billing").await;
    let cookie = served.login("bob").await;
    let json = async |path: &str| {
        let answer = served.get(path, &cookie).await;
        let value: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        (answer, value)
    };
    let (_, status) = json("/api/v1/status").await;
    assert_eq!((&status["installation"], &status["open"]), (&"test".into(), &1.into()));
    let (_, changes) = json("/api/v1/changes?state=held").await;
    assert_eq!(changes["changes"][0]["number"], number);
    let (_, change) = json(&format!("/api/v1/changes/{number}")).await;
    assert_eq!((&change["payload"], &change["agent"]), (&"drop billing".into(), &"bot".into()));
    let (answer, problem) = json("/api/v1/changes/99").await;
    assert_eq!((answer.status, &problem["status"]), (404, &404.into()));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(problem["detail"], "there is no change 99");
}

#[tokio::test]
async fn a_hostile_payload_is_shown_as_what_it_is() {
    let served = Served::new().await;
    let hostile = "</li></ol><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}gnirts\u{2066}\n\
                   <!-- {{ 7*7 }} {% x %} --> '\"><svg/onload=alert(1)>\u{1b}]0;x\u{7}\u{0}\u{200b}dr\u{43e}p";
    let number = held_with(&served.world, hostile).await;
    let cookie = served.login("bob").await;
    let one = format!("/changes/{number}");
    let paths = ["/", "/changes", &one, "/ledger", "/ledger/4", "/agents/bot", "/incident"];
    for path in paths {
        let page = served.get(path, &cookie).await;
        assert_eq!(page.status, 200, "{path}");
        for wrong in [
            "<script>alert",
            "<img",
            "<svg/onload",
            "\u{202e}",
            "\u{2066}",
            "\u{1b}",
            "\u{200b}",
            "\u{0}",
        ] {
            assert!(!page.body.contains(wrong), "{wrong:?} in {path}");
        }
    }
    let page = served.get(&format!("/changes/{number}"), &cookie).await.body;
    for shown in ["\\u{202e}", "\\u{1b}", "\\u{200b}", "U+043E, not o", "{{ 7*7 }}"] {
        assert!(page.contains(shown), "{shown} is not shown");
    }
}

#[tokio::test]
async fn ten_megabytes_are_shown_whole() {
    let served = Served::new().await;
    let line = "insert into billing.costs values (1, 'x', now()); -- and so on\n";
    let number = held_with(&served.world, &line.repeat(10_000_000 / line.len())).await;
    let cookie = served.login("bob").await;
    let page = served.get(&format!("/changes/{number}"), &cookie).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.body.matches("and so on").count(), 10_000_000 / line.len());
}

#[tokio::test]
async fn a_radius_of_five_thousand_is_one_page() {
    let world = World::new().await;
    for nth in 0..5000 {
        world.prod.data.lock().unwrap().tables.insert(format!("billing.part_{nth:04}"), 10 + nth);
    }
    let served = Served::over(world).await;
    let number = served.world.held("billing").await;
    served.world.prepared(number).await;
    let cookie = served.login("bob").await;
    let page = served.get(&format!("/changes/{number}"), &cookie).await;
    assert_eq!(page.status, 200);
    assert!(page.body.len() < 1_000_000, "{} bytes", page.body.len());
    assert!(page.body.contains("billing.part_4999") && page.body.contains("× table"));
    for nth in 0..5000 {
        assert!(page.body.contains(&format!("billing.part_{nth:04}")), "{nth} is left out");
    }
}

/// Reads a stream of events until one says this.
async fn until_told(stream: &mut tokio::net::TcpStream, wanted: &str) -> String {
    let (mut told, mut part) = (String::new(), [0; 4096]);
    let reading = async {
        while !told.contains(wanted) {
            let read = stream.read(&mut part).await.unwrap();
            assert_ne!(read, 0, "the stream ended: {told}");
            told.push_str(&String::from_utf8_lossy(&part[..read]));
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap();
    told
}

#[tokio::test]
async fn what_is_held_and_what_moves_is_told_as_it_happens() {
    let served = Served::new().await;
    let cookie = served.login("bob").await;
    let listen = async |query: &str| {
        let mut stream = served.connect().await;
        let request = format!(
            "GET /api/v1/events{query} HTTP/1.1\r\nHost: localhost:{}\r\nCookie: {cookie}\r\n\r\n",
            served.port
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    };
    let mut queue = listen("").await;
    until_told(&mut queue, "text/event-stream").await;
    let number = served.world.held("billing").await;
    let told = until_told(&mut queue, "\"held\"").await;
    assert!(told.contains("event: changes") && told.contains("\"number\":1"), "{told}");
    served.world.prepared(number).await;
    let version = served.world.show(number).await.version;
    let mut one = listen(&format!("?change={number}&seen={version}")).await;
    until_told(&mut one, "text/event-stream").await;
    served.world.approve("bob", number).await;
    until_told(&mut one, "approved by bob").await;
    // A page that was drawn before something moved is told at once.
    let mut late = listen(&format!("?change={number}&seen={version}")).await;
    until_told(&mut late, "approved by bob").await;
    // Nothing is told to whose session has ended, nor after the gateway was told to stop.
    served.stop();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(30), queue.read_to_end(&mut rest)).await;
    ended.unwrap().unwrap();
}
