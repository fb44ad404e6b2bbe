//! A console that serves, and a client that says exactly what it is told to.

use crate::world::World;
use countermand_console::{Console, ConsoleConfig, ConsoleError, Finding, Links, Tested, Verdict};
use countermand_core::action::{Action, Object};
use countermand_core::policy::CaseResult;
use countermand_core::verb::postgres;
use countermand_engine::Installation;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// A world with a console.
pub(crate) struct Served {
    pub(crate) world: World,
    pub(crate) links: Links,
    pub(crate) port: u16,
    stop: watch::Sender<bool>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// The cookie that it sets, as a browser sends it back.
    pub(crate) fn cookie(&self) -> String {
        self.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }
}

impl Served {
    pub(crate) async fn new() -> Served {
        Served::over(World::new().await).await
    }

    pub(crate) async fn over(world: World) -> Served {
        Served::at(world, 0).await
    }

    /// At this port, which a console before it may have had.
    pub(crate) async fn at(world: World, port: u16) -> Served {
        let config = ConsoleConfig { listen: ([127, 0, 0, 1], port).into(), tls: None, name: None };
        let console = loop {
            match Console::bind(config.clone(), world.engine.clone()).await {
                Ok(console) => break console,
                Err(ConsoleError::Listen { .. }) if port != 0 => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let console = console.with_doctor(Arc::new(findings));
        let console = console.with_tests(Arc::new(tested)).with_reading(Arc::new(reading));
        let (port, links) = (console.address().port(), console.links());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(console.serve(stopped));
        Served { world, links, port, stop }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Sends these bytes and reads until the server hangs up.
    pub(crate) async fn raw(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).map_or(0, |status| status.parse().unwrap());
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// A request with these headers, under the server's own name.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Answer {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.port,
            body.len()
        );
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        self.raw(&format!("{request}\r\n{body}")).await
    }

    /// Opens a page or an address of the API as whoever has this cookie.
    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask("GET", path, &[&format!("Cookie: {cookie}")], "").await
    }

    /// Spends a token, as the console's own page does.
    pub(crate) async fn enter(&self, token: &str) -> Answer {
        let origin = format!("Origin: {}", self.origin());
        let form = "Content-Type: application/x-www-form-urlencoded";
        self.ask("POST", "/enter", &[&origin, form], &format!("token={token}")).await
    }

    /// A link that lets somebody in, once.
    pub(crate) fn link(&self, human: &str) -> String {
        self.links.make(human.parse().unwrap()).0
    }

    /// A link's token.
    pub(crate) fn token(&self, human: &str) -> String {
        self.link(human).split_once("/enter#").unwrap().1.to_owned()
    }

    /// The cookie of somebody who is logged in.
    pub(crate) async fn login(&self, human: &str) -> String {
        let answer = self.enter(&self.token(human)).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        answer.cookie()
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// Two groups must approve what destroys. Bob is in both, carol in one.
pub(crate) fn seated(installation: &mut Installation) {
    for (human, groups) in [("bob", &["dba", "security"][..]), ("carol", &["security"])] {
        let human = installation.humans.get_mut(&human.parse().unwrap()).unwrap();
        human.groups = groups.iter().map(|group| group.parse().unwrap()).collect();
    }
    let forbids = |group: &str| {
        format!(
            "@id(\"site/{group}\") @reason(\"{group} must approve what destroys\")
             forbid (principal, action in Action::\"Destroy\", resource)
             unless {{ context.evidence.approvals.groups.{group} >= 1 }};\n"
        )
    };
    let both = ["dba", "security"].map(forbids).concat();
    installation.policies.push(("seats.cedar".to_owned(), both));
}

/// How the cases of policies go in these tests: one of the site's is as wrong as it is hostile.
fn tested() -> Result<Tested, String> {
    let case = |name: &str, failure: Option<&str>| CaseResult {
        name: name.to_owned(),
        failure: failure.map(str::to_owned),
    };
    let wrong = case("a drop\u{202e} <b>waits</b>", Some("expected hold, it is allow"));
    let files = [("floor", vec![case("a read flows", None)]), ("site.cases.json", vec![wrong])];
    Ok(Tested {
        policies: Vec::new(),
        files: files.map(|(name, cases)| (name.to_owned(), cases)).into(),
    })
}

/// What a text does, as the target in memory reads it, line by line.
fn reading(text: &str) -> Vec<Action> {
    let dropped = text.lines().filter_map(|line| line.strip_prefix("drop "));
    dropped.map(|name| Action::new(postgres::DROP_SCHEMA, Object::new("schema", name))).collect()
}

/// What the doctor of these tests finds: what it quotes was written by somebody else.
fn findings() -> Vec<Finding> {
    let found = |verdict, what: &str, words: &str| Finding {
        verdict,
        what: what.to_owned(),
        words: words.to_owned(),
    };
    vec![
        found(Verdict::Good, "policies", "they load, as 6b3c1e"),
        found(Verdict::Warning, "people", "one human: enrol a second"),
        found(Verdict::Bad, "parents", "`/srv/<b>\u{202e}` can be replaced by others: chown it"),
    ]
}
