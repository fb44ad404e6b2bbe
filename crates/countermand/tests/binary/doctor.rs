//! The doctor at a real gateway and a real server: it tries what an agent would.

use crate::life::Life;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;

impl Life {
    /// What it found, as `verdict what: words`, and how it ended.
    async fn doctor(&self, more: &[&str]) -> (Vec<String>, i32) {
        let ended = self.run(&[&["doctor", "--json"], more].concat()).await;
        let findings: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| {
            panic!("{error}: {} {}", ended.stdout, ended.stderr);
        });
        let word = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
        let line = |f| format!("{} {}: {}", word(f, "verdict"), word(f, "what"), word(f, "words"));
        (findings.iter().map(line).collect(), ended.code)
    }

    fn file(&self, name: &str) -> String {
        self.installation.folder().join(name).display().to_string()
    }
}

fn has(findings: &[String], begin: &str, part: &str) -> bool {
    findings.iter().any(|finding| finding.starts_with(begin) && finding.contains(part))
}

#[tokio::test]
async fn it_asks_for_a_forbidden_act_and_leaves_nothing_behind() {
    let life = Life::begin().await;
    life.admit_bot().await;
    let (door, credential) = (life.door(), life.file("secrets/bot"));
    let words = ["--agent", "bot", "--credential-file", &credential, "--door", &door];
    let (found, _) = life.doctor(&words).await;
    assert!(has(&found, "good shop door", "is held"), "{found:#?}");
    assert!(has(&found, "good shop way round", "`bot` is refused"), "{found:#?}");
    assert!(!has(&found, "bad", "way round"), "{found:#?}");
    assert_eq!(life.run(&["changes", "list", "--json"]).await.stdout.trim(), "[]");
}

#[tokio::test]
async fn whoever_gets_past_the_gateway_is_named_with_what_they_may_do() {
    let life = Life::begin().await;
    let leak = "CREATE ROLE \"app-owner\" LOGIN PASSWORD 'left in .env' IN ROLE owner";
    life.server.psql(leak).await.unwrap();
    let port = life.server.address().port();
    let line =
        format!("DATABASE_URL=postgres://app-owner:left%20in%20.env@localhost:{port}/shop\n");
    let wrong = format!("postgres://app-owner:guess@127.0.0.1:{port}/shop\n");
    life.installation.secret("env", &line);
    life.installation.secret("wrong", &wrong);
    let (found, code) = life.doctor(&["--try-direct", &life.file("env")]).await;
    assert_eq!(code, 1);
    assert!(has(&found, "bad shop way round", "`app-owner` gets into"), "{found:#?}");
    assert!(has(&found, "bad shop way round", "may drop 1 tables"), "{found:#?}");
    assert!(!found.concat().contains("left in"), "{found:#?}");
    let (found, _) = life.doctor(&["--try-direct", &life.file("wrong")]).await;
    assert!(has(&found, "good shop way round", "is refused"), "{found:#?}");
    let (found, code) = life.doctor(&["--try-direct", wrong.trim()]).await;
    assert!(code == 1 && has(&found, "bad way round", "not for a command line"), "{found:#?}");
}

#[tokio::test]
async fn what_others_can_replace_and_whose_the_user_is_are_found() {
    let life = Life::begin().await;
    let uid = {
        use std::os::unix::fs::MetadataExt as _;
        life.installation.folder().metadata().unwrap().uid().to_string()
    };
    let (found, _) = life.doctor(&["--agent-uid", "4242"]).await;
    assert!(has(&found, "good folders", "nobody"), "{found:#?}");
    let policies = life.installation.folder().join("policies");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(policies, open).unwrap();
    let (found, code) = life.doctor(&["--agent-uid", &uid]).await;
    assert!(has(&found, "bad policies", "everybody can put other files into"), "{found:#?}");
    assert!(code == 1 && has(&found, "bad user", "the agent's user"), "{found:#?}");
}

#[tokio::test]
async fn production_under_another_name_is_found() {
    let twin = |text: String| {
        let at = text.find("[targets.\"shop\"]").or(text.find("[targets.shop]")).unwrap();
        let copy = text[at..]
            .split("\n[people")
            .next()
            .unwrap()
            .replace("[targets.\"shop\"", "[targets.\"real\"");
        let copy = copy.replace("[targets.shop", "[targets.real");
        format!(
            "{text}\n{}",
            copy.replace("environment = \"staging\"", "environment = \"production\"")
        )
    };
    let life = Life::begin_with(twin).await;
    let (found, code) = life.doctor(&[]).await;
    assert!(code == 1 && has(&found, "bad shop server", "of production `real`"), "{found:#?}");
    assert!(!has(&found, "bad", "pooler"), "{found:#?}");
}

#[tokio::test]
async fn a_pooler_before_the_server_is_found() {
    let life = Life::begin().await;
    let folder = tempfile::tempdir().unwrap();
    let Some(_pooler) = pooler(&life, folder.path()) else {
        eprintln!("pgbouncer is not installed: not tried");
        return;
    };
    let (found, code) = life.doctor(&[]).await;
    assert!(code == 1 && has(&found, "bad shop server", "a pooler stands before"), "{found:#?}");
}

/// A program that ends with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// PgBouncer between the gateway's configuration and the server, where it is installed.
fn pooler(life: &Life, folder: &std::path::Path) -> Option<Running> {
    use std::process::{Command, Stdio};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let server = life.server.address().port();
    let text = format!(
        "[databases]\nshop = host=127.0.0.1 port={server} dbname=shop\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = scram-sha-256\nauth_file = {}\n\
         pool_mode = transaction\nunix_socket_dir =\nignore_startup_parameters = extra_float_digits\n",
        folder.join("users").display()
    );
    let users = "\"countermand_session\" \"secret\"\n\"countermand_executor\" \"secret\"\n";
    std::fs::write(folder.join("users"), users).unwrap();
    std::fs::write(folder.join("pooler.ini"), text).unwrap();
    for path in [folder.to_owned(), folder.join("users"), folder.join("pooler.ini")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    // It refuses to run as root.
    let id = Command::new("id").arg("-u").output().unwrap();
    let mut command = match id.stdout.starts_with(b"0\n") {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "pgbouncer"]);
            command
        }
        false => Command::new("pgbouncer"),
    };
    let started =
        command.arg(folder.join("pooler.ini")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = Running(started.spawn().ok()?);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if running.0.try_wait().unwrap().is_some() {
            return None;
        }
        std::thread::yield_now();
    }
    life.installation
        .edit(|text| text.replace(&format!("port = {server}\n"), &format!("port = {port}\n")));
    Some(running)
}
