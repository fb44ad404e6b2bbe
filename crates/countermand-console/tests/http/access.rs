//! Who is let in where, and by which name.

use crate::client::Served;
use crate::world::refused;
use countermand_engine::control::{Command, PrepareAct, Reply};

/// What a stranger may have; every other address of the table is for readers.
const OPEN: [&str; 8] = [
    "/enter",
    "/api/v1/login/ask",
    "/api/v1/login/proof",
    "/leave",
    "/assets/console.css",
    "/assets/console.js",
    "/assets/passkey.js",
    "/assets/icon.svg",
];

/// What asks a browser for a passkey: it does nothing, and whoever reads may have it.
const ASKS: [&str; 2] = ["/api/v1/login/ask", "/api/v1/passkeys/ask"];

/// The table of addresses in the source.
fn routes() -> &'static str {
    let source = include_str!("../../src/route.rs");
    source.split_once("const ROUTES").unwrap().1.split_once("];").unwrap().0
}

/// Every address as the table has it: one that is added is here too.
pub(crate) fn table() -> Vec<&'static str> {
    routes().split('"').skip(1).step_by(2).collect()
}

/// Every address, filled in, and whether it is open to strangers.
fn addresses() -> Vec<(String, bool)> {
    let table = routes();
    let entries = table.split("\n    ").filter_map(|line| {
        let open = line.starts_with("open(");
        let makes = ["open(\"", "read(\"", "sign(\""];
        let path = makes.iter().find_map(|makes| line.strip_prefix(makes))?;
        let path = path.split_once('"')?.0;
        Some((
            path.replace("{number}", "1")
                .replace("{agent}", "bot")
                .replace("{entry}", "1")
                .replace("{target}", "prod"),
            open,
        ))
    });
    entries.collect()
}

#[test]
fn every_address_is_in_the_table_and_says_who_may_call_it() {
    let addresses = addresses();
    assert_eq!(addresses.len(), 37, "{addresses:?}");
    let open: Vec<&str> =
        addresses.iter().filter(|(_, open)| *open).map(|(path, _)| path.as_str()).collect();
    assert_eq!(open, OPEN);
    let route = include_str!("../../src/route.rs");
    assert_eq!(route.matches(".route(").count(), 1, "the table alone makes routes");
    for part in ["server.rs", "guard.rs", "api.rs", "act.rs", "live.rs", "pages.rs"] {
        let path = format!("{}/src/{part}", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(path).unwrap();
        for makes in [".route(", ".nest(", ".merge(", ".fallback("] {
            assert!(!source.contains(makes), "{part} has {makes}");
        }
    }
}

#[tokio::test]
async fn a_stranger_gets_nothing_anywhere() {
    let served = Served::new().await;
    let held = served.world.held("billing").await;
    assert_eq!(held, 1);
    let reply = served.world.ask_to_let_in("spy").await;
    let Reply::Done { credential: Some(credential), .. } = reply else { panic!("{reply:?}") };
    let mine = served.login("bob").await;
    let bearer = format!("Authorization: Bearer {credential}");
    let cookie = format!("Cookie: countermand={credential}");
    // Two that both let somebody in: nobody knows whose request it is.
    let twice = format!("Cookie: {mine}; {}", served.login("carol").await);
    let strangers = [
        &[][..],
        &["Cookie: countermand="],
        &["Cookie: countermand=undefined"],
        &[bearer.as_str()],
        &["Authorization: Basic c3B5OnNweQ=="],
        &[cookie.as_str()],
        &[twice.as_str()],
    ];
    let elsewhere =
        ["/nothing", "/api/v1/nothing", "/changes/1/nothing", "/changes/99", "//", "/%2e"];
    let closed = addresses().into_iter().filter(|(_, open)| !open).map(|(path, _)| path);
    for path in closed.chain(elsewhere.map(str::to_owned)) {
        for headers in strangers {
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
                let origin = format!("Origin: {}", served.origin());
                let headers: Vec<&str> = headers.iter().copied().chain([origin.as_str()]).collect();
                let answer = served.ask(method, &path, &headers, "").await;
                let told = format!("{method} {path}: {answer:?}");
                match (method, path.starts_with("/api/")) {
                    ("GET", false) => {
                        assert_eq!(answer.header("location"), Some("/enter"), "{told}")
                    }
                    _ => assert_eq!(answer.status, 401, "{told}"),
                }
                assert!(
                    !answer.body.contains("billing") && !answer.body.contains("test"),
                    "{told}"
                );
            }
        }
    }
    assert!(served.get("/", &mine).await.body.contains("billing"), "a reader is told");
    let planted = served.get("/", &format!("countermand=x; {mine}; countermand=")).await;
    assert!(planted.body.contains("billing"), "what another page planted shuts nobody out");
}

#[tokio::test]
async fn an_agents_credential_is_no_link_either() {
    let served = Served::new().await;
    let reply = served.world.ask_to_let_in("spy").await;
    let Reply::Done { credential: Some(credential), .. } = reply else { panic!("{reply:?}") };
    assert_eq!(served.enter(&credential).await.status, 401);
}

#[tokio::test]
async fn another_name_is_another_server() {
    let served = Served::new().await;
    let cookie = served.login("bob").await;
    let port = served.port;
    let ask = |line: &str, hosts: &[String]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        format!("GET {line} HTTP/1.1\r\n{hosts}Connection: close\r\nCookie: {cookie}\r\n\r\n")
    };
    for host in [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
        "localhost:8080".into(),
    ] {
        assert_eq!(
            served.raw(&ask("/status", std::slice::from_ref(&host))).await.status,
            200,
            "{host}"
        );
    }
    for host in [
        format!("evil.example:{port}"),
        format!("localhost.evil.example:{port}"),
        "localhost:80@evil.example".to_owned(),
        String::new(),
        "127.0.0.1.nip.io".to_owned(),
        "0.0.0.0".to_owned(),
    ] {
        let answer = served.raw(&ask("/status", std::slice::from_ref(&host))).await;
        assert_eq!(answer.status, 421, "{host}: {answer:?}");
        assert!(!answer.body.contains("Version"), "{host}");
    }
    let good = format!("localhost:{port}");
    let two = [good.clone(), "evil.example".to_owned()];
    assert_ne!(served.raw(&ask("/status", &two)).await.status, 200);
    assert_ne!(served.raw(&ask("/status", &[])).await.status, 200);
    let absolute = format!("http://evil.example:{port}/status");
    assert_ne!(served.raw(&ask(&absolute, &[good])).await.status, 200);
}

#[tokio::test]
async fn another_page_lets_nobody_in_and_throws_nobody_out() {
    let served = Served::new().await;
    let cookie = format!("Cookie: {}", served.login("bob").await);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let (token, own) = (served.token("bob"), format!("Origin: {}", served.origin()));
    for headers in [
        &[][..],
        &["Origin: null"],
        &["Origin: http://localhost:3000"],
        &["Origin: http://evil.example", "Sec-Fetch-Site: same-origin"],
        &[own.as_str(), "Sec-Fetch-Site: same-site"],
        &["Sec-Fetch-Site: cross-site"],
    ] {
        let headers: Vec<&str> = headers.iter().copied().chain([form, cookie.as_str()]).collect();
        let entered = served.ask("POST", "/enter", &headers, &format!("token={token}")).await;
        assert_eq!((entered.status, entered.header("set-cookie")), (403, None), "{headers:?}");
        let left = served.ask("POST", "/leave", &headers, "").await;
        assert_eq!(left.status, 403, "{headers:?}");
    }
    assert_eq!(served.ask("GET", "/status", &[&cookie], "").await.status, 200);
    assert_eq!(served.enter(&token).await.status, 303, "the token was not spent");
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let served = Served::new().await;
    let cookie = served.login("bob").await;
    for path in
        ["/", "/enter", "/assets/console.js", "/api/v1/status", "/nothing", "/api/v1/changes/9"]
    {
        for who in ["", cookie.as_str()] {
            let answer = served.get(path, who).await;
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'"));
            assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("cross-origin-opener-policy", "same-origin"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{path}");
            }
            assert!(!answer.body.contains("style=") && !answer.body.contains("onclick"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_large_body_is_not_read() {
    let served = Served::new().await;
    let answer = served.enter(&"x".repeat(100_000)).await;
    assert_eq!(answer.status, 400, "{}", answer.head);
}

#[tokio::test]
async fn whoever_reads_can_do_nothing_else() {
    let served = Served::new().await;
    let held = served.world.held("billing").await;
    let cookie = format!("Cookie: {}", served.login("bob").await);
    let origin = format!("Origin: {}", served.origin());
    let before = served.world.show(held).await.version;
    let paths = addresses().into_iter().map(|(path, _)| path).filter(|path| path != "/leave");
    let paths = paths.filter(|path| !ASKS.contains(&path.as_str()));
    for path in paths {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let answer = served.ask(method, &path, &[&cookie, &origin], "x=1").await;
            assert!(answer.status >= 400, "{method} {path}: {answer:?}");
        }
    }
    let after = served.world.until(held, |change| change.version >= before).await;
    assert_eq!(after.line.state, "held");
}

#[tokio::test]
async fn the_engine_alone_gives_no_link() {
    let served = Served::new().await;
    let command = Command::ConsoleLink { human: "bob".parse().unwrap() };
    let reply = served.world.engine.control(command, crate::world::NOBODY).await;
    assert!(refused(&reply).contains("[console]"), "{reply:?}");
    let act = PrepareAct::Thaw { what: countermand_engine::control::Scope::Everything };
    assert!(matches!(served.world.prepare("bob", act).await, Reply::Prepared { .. }));
}
