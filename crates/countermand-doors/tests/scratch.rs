//! Scratch servers leave nothing behind, however they end.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use countermand_doors::postgres::scratch::{Options, ScratchError, ScratchServer, psql_as};
use secrecy::SecretString;

/// What shows of a server: its processes carry the name of its directory.
struct Traces {
    directory: std::path::PathBuf,
}

impl Traces {
    fn of(server: &ScratchServer) -> Traces {
        Traces { directory: server.directory().to_owned() }
    }

    fn processes(&self) -> Vec<String> {
        let name = self.directory.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let entries = std::fs::read_dir("/proc").expect("Linux shows its processes").flatten();
        let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
        lines.filter(|line| line.contains(name)).collect()
    }

    fn is_clean(&self) -> bool {
        !self.directory.exists() && self.processes().is_empty()
    }
}

#[tokio::test]
async fn two_servers_stand_apart_and_stop_cleanly() {
    let (one, two) = tokio::join!(
        ScratchServer::start(Options::default()),
        ScratchServer::start(Options {
            fsync: true,
            settings: vec![("log_statement".into(), "all".into())]
        })
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    let traces = [Traces::of(&one), Traces::of(&two)];
    assert!(traces.iter().all(|t| !t.processes().is_empty()), "the check for traces sees nothing");
    assert_ne!(one.address(), two.address());

    one.psql("create table only_here (n int); insert into only_here values (41), (1)")
        .await
        .unwrap();
    assert_eq!(one.psql("select sum(n) from only_here").await.unwrap(), "42\n");
    let missing = two.psql("select sum(n) from only_here").await.unwrap_err();
    assert!(matches!(&missing, ScratchError::Psql { stderr } if stderr.contains("does not exist")));
    assert!(two.log().contains("select sum(n)"));
    assert_eq!(two.psql("show fsync; show server_encoding").await.unwrap(), "on\nUTF8\n");

    one.stop().await.unwrap();
    assert!(traces[0].is_clean(), "{:?}", traces[0].processes());
    drop(two);
    assert!(traces[1].is_clean(), "{:?}", traces[1].processes());
}

#[tokio::test]
async fn a_password_is_needed_over_tcp_and_is_on_no_command_line() {
    let server = ScratchServer::start(Options::default()).await.unwrap();
    let superuser = server.superuser();
    let output = psql_as(server.tools(), &superuser, "select current_user").await.unwrap();
    assert_eq!((output.success, output.stdout.as_str()), (true, "postgres\n"), "{output:?}");

    let wrong = server.login("postgres", SecretString::from("guess"), "postgres");
    let output = psql_as(server.tools(), &wrong, "select 1").await.unwrap();
    assert!(!output.success);
    assert!(output.stderr.contains("password authentication failed"), "{}", output.stderr);
    assert!(!server.directory().join("password").exists());
    let password = secrecy::ExposeSecret::expose_secret(&superuser.password);
    assert!(!Traces::of(&server).processes().iter().any(|line| line.contains(password)));
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_and_leaves_nothing() {
    let settings = vec![("no_such_setting".into(), "1".into())];
    let error = ScratchServer::start(Options { settings, ..Options::default() }).await.unwrap_err();
    assert!(matches!(&error, ScratchError::Start { log } if log.contains("no_such_setting")));
}

/// Set in the process that [`a_killed_parent_takes_its_server_with_it`] starts and kills.
const PARENT: &str = "COUNTERMAND_TEST_PARENT_TO_BE_KILLED";

#[tokio::main]
async fn parent_to_be_killed() {
    let server = ScratchServer::start(Options::default()).await.expect("a scratch server");
    println!("directory {}", server.directory().display());
    std::future::pending::<()>().await;
}

#[test]
fn a_killed_parent_takes_its_server_with_it() {
    if std::env::var_os(PARENT).is_some() {
        return parent_to_be_killed();
    }
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_parent_takes_its_server_with_it", "--nocapture"])
        .env(PARENT, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines().map_while(Result::ok);
    let directory = lines.filter_map(|l| Some(l.split_once("directory ")?.1.to_owned())).next();
    let traces = Traces { directory: directory.expect("the server started").into() };
    assert!(!traces.processes().is_empty(), "the check for traces sees nothing");

    // On Unix this is SIGKILL: nothing of the parent runs after it.
    parent.kill().unwrap();
    parent.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !traces.is_clean() && Instant::now() < deadline {
        // Other processes end on their own time, and nothing here could tell us.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(traces.is_clean(), "{:?}", traces.processes());
}
