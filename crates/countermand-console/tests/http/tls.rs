//! With a certificate and a name of its own.

use crate::world::World;
use countermand_console::{Certificate, Console, ConsoleConfig, ConsoleError};
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::watch;

/// Sends a request over TLS and gives the answer.
async fn over_tls(port: u16, request: &str) -> String {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{port}")]);
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = client.spawn().unwrap();
    let mut input = client.stdin.take().unwrap();
    input.write_all(request.as_bytes()).await.unwrap();
    input.flush().await.unwrap();
    let answer = client.wait_with_output().await.unwrap();
    String::from_utf8(answer.stdout).unwrap()
}

#[tokio::test]
async fn over_tls_the_cookie_is_this_servers_alone() {
    let world = World::new().await;
    let folder = world.folder.path();
    let (chain, key) = (folder.join("console.pem"), folder.join("console.key"));
    let mut made = Command::new("openssl");
    made.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    made.args(["-subj", "/CN=gate.example.com", "-days", "2", "-out"]).arg(&chain);
    assert!(made.arg("-keyout").arg(&key).output().await.unwrap().status.success());
    let config = ConsoleConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: Some(Certificate { chain, key }),
        name: Some("gate.example.com".to_owned()),
    };
    let console = Console::bind(config, world.engine.clone()).await.unwrap();
    let (port, links) = (console.address().port(), console.links());
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(console.serve(stopped));
    let (link, _) = links.make("bob".parse().unwrap());
    let (address, token) = link.split_once('#').unwrap();
    assert_eq!(address, format!("https://gate.example.com:{port}/enter"));
    let enter = |host: &str, origin: &str| {
        let body = format!("token={token}");
        format!(
            "POST /enter HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {origin}:{port}\r\n\
             Connection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let local = over_tls(port, &enter("localhost", "https://localhost")).await;
    assert!(local.starts_with("HTTP/1.1 421"), "{local}");
    let plain = over_tls(port, &enter("gate.example.com", "http://gate.example.com")).await;
    assert!(plain.starts_with("HTTP/1.1 403"), "{plain}");
    let entered = over_tls(port, &enter("gate.example.com", "https://gate.example.com")).await;
    assert!(entered.starts_with("HTTP/1.1 303"), "{entered}");
    let cookie = entered.lines().find(|line| line.starts_with("set-cookie: ")).unwrap();
    assert!(cookie.starts_with("set-cookie: __Host-countermand="), "{cookie}");
    assert!(cookie.ends_with("HttpOnly; SameSite=Strict; Secure"), "{cookie}");
}

#[tokio::test]
async fn off_the_machine_it_does_not_listen_bare_or_nameless() {
    let world = World::new().await;
    let bind = async |tls: Option<Certificate>| {
        let listen = "0.0.0.0:0".parse().unwrap();
        let config = ConsoleConfig { listen, tls, name: None };
        Console::bind(config, world.engine.clone()).await.err().unwrap()
    };
    assert!(matches!(bind(None).await, ConsoleError::Bare(_)));
    let none = Certificate { chain: "none.pem".into(), key: "none.key".into() };
    assert!(matches!(bind(Some(none)).await, ConsoleError::Nameless(_)));
}

/// Browsers go to either loopback address for `localhost`: who has the other one is taken for it.
#[tokio::test]
async fn without_tls_it_has_localhost_to_itself_under_whatever_name_or_not_at_all() {
    let world = World::new().await;
    let bind = async |listen: &str, name: Option<&str>| {
        let (listen, name) = (listen.parse().unwrap(), name.map(str::to_owned));
        let config = ConsoleConfig { listen, tls: None, name };
        Console::bind(config, world.engine.clone()).await
    };
    let elsewhere = bind("127.0.0.2:0", None).await;
    assert!(matches!(elsewhere.err().unwrap(), ConsoleError::Bare(_)));
    for name in [None, Some("localhost"), Some("gate.localhost")] {
        let console = bind("127.0.0.1:0", name).await.unwrap();
        let other = std::net::TcpListener::bind(("::1", console.address().port()));
        assert!(other.is_err(), "{name:?}: somebody else answers to localhost");
    }
}
