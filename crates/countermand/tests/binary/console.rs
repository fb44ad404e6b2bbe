//! The console of the real gateway: in by a link, out with a restart.

use crate::gateway::Installation;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// An installation with a console at a port that was free a moment ago.
fn with_console() -> (Installation, u16) {
    let installation = Installation::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    installation.edit(|text| format!("{text}\n[console]\nlisten = \"127.0.0.1:{port}\"\n"));
    (installation, port)
}

fn http(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (first, rest) = request.split_once("\r\n").unwrap();
    let own =
        format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nConnection: close");
    write!(stream, "{first}\r\n{own}\r\n{rest}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn enter(port: u16, token: &str) -> String {
    let body = format!("token={token}");
    let form = "Content-Type: application/x-www-form-urlencoded";
    http(
        port,
        &format!("POST /enter HTTP/1.1\r\n{form}\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
    )
}

#[test]
fn a_person_reads_by_a_link_and_a_stranger_gets_none() {
    let (installation, port) = with_console();
    let serving = installation.serve();
    let stranger = installation.run(&["console", "link", "--as", "mallory"]);
    assert_eq!(stranger.code, 1);
    assert!(stranger.stderr.contains("`mallory` is not a person"), "{}", stranger.stderr);
    let made = installation.run(&["console", "link", "--as", "bob"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let (address, token) = made.stdout.trim().split_once('#').unwrap();
    assert_eq!(address, format!("http://localhost:{port}/enter"));
    let entered = enter(port, token);
    assert!(entered.starts_with("HTTP/1.1 303"), "{entered}");
    let cookie = entered.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap();
    // The file is anybody's draft: what it names is not run for whoever reads.
    let mark = installation.config().with_file_name("ran");
    let run = format!("secret = {{ command = [\"touch\", {mark:?}] }}");
    let draft = |text: String| {
        let line =
            |line: &str| if line.starts_with("secret = ") { run.clone() } else { line.to_owned() };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    };
    installation.edit(draft);
    assert!(std::fs::read_to_string(installation.config()).unwrap().contains(&run));
    let status = format!("GET /api/v1/status HTTP/1.1\r\nCookie: {cookie}\r\n\r\n");
    assert!(http(port, &status).contains("\"installation\":\"acme\""));
    let doctor = http(port, &format!("GET /doctor HTTP/1.1\r\nCookie: {cookie}\r\n\r\n"));
    // What the gateway says of itself, and what a login to its target came to.
    for words in ["HTTP/1.1 200", "open changes", "Connection refused"] {
        assert!(doctor.contains(words), "{words} is not in {doctor}");
    }
    assert!(!mark.exists(), "a draft's secret command ran");
    assert!(enter(port, token).starts_with("HTTP/1.1 401"), "it is spent");
    assert_eq!(serving.stop(), 0);
    let _serving = installation.serve();
    assert!(http(port, &status).starts_with("HTTP/1.1 401"), "a restart logs out");
}

/// Whoever takes its port keeps people from reading, and nothing else.
#[test]
fn a_gateway_guards_without_its_console_where_somebody_has_its_address() {
    for taken in ["127.0.0.1", "[::1]"] {
        let (installation, port) = with_console();
        let Ok(_squatter) = TcpListener::bind(format!("{taken}:{port}")) else { continue };
        let serving = installation.serve();
        serving.says(&["there is no console", "cannot listen"]);
        let link = installation.run(&["console", "link", "--as", "bob"]);
        assert_eq!(link.code, 1, "{}", link.stdout);
        let frozen = installation.run(&["freeze", "everything", "--reason", "drill"]);
        assert_eq!(frozen.code, 0, "{}", frozen.stderr);
        assert_eq!(serving.stop(), 0);
    }
}

#[test]
fn a_gateway_without_a_console_says_so() {
    let installation = Installation::new();
    let _serving = installation.serve();
    let made = installation.run(&["console", "link", "--as", "bob"]);
    assert_eq!(made.code, 1);
    assert!(made.stderr.contains("put `[console]` into its configuration"), "{}", made.stderr);
}

#[test]
fn a_console_is_no_part_of_what_is_signed() {
    let (installation, port) = with_console();
    let serving = installation.serve();
    let add = ["agent", "add", "bot", "--targets", "shop", "--effects", "read"];
    assert_eq!(installation.sign("alice", &add).code, 0);
    assert_eq!(serving.stop(), 0);
    installation.edit(|text| {
        let at = text.rfind("\n[console]").unwrap();
        text[..at].to_owned()
    });
    let serving = installation.serve();
    let diff = installation.run(&["config", "diff"]);
    assert_eq!(diff.code, 0, "{}{}", diff.stdout, diff.stderr);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it is gone with its table");
    assert_eq!(serving.stop(), 0);
    installation.edit(|text| format!("{text}\n[console]\nlisten = \"127.0.0.1:{port}\"\n"));
    let _serving = installation.serve();
    assert!(http(port, "GET /enter HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
}
