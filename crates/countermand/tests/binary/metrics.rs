//! Metrics of a running gateway, as a Prometheus reads them.

use crate::gateway::Installation;
use crate::life::{DROP, Life};
use prometheus_parse::{Scrape, Value};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// Wherever there is room.
const METRICS: &str = "\n[metrics]\nlisten = \"127.0.0.1:0\"\n";

/// What is answered: the status line with the head, and the body.
fn ask(address: SocketAddr, path: &str, host: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn scrape(address: SocketAddr) -> (String, Scrape) {
    let (head, body) = ask(address, "/metrics", &address.to_string());
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    let lines = body.lines().map(|line| Ok(line.to_owned()));
    let read = Scrape::parse(lines).unwrap();
    let samples = body.lines().filter(|line| !line.starts_with('#')).count();
    let parsed = |sample: &prometheus_parse::Sample| match &sample.value {
        Value::Histogram(buckets) => buckets.len(),
        _ => 1,
    };
    assert_eq!(read.samples.iter().map(parsed).sum::<usize>(), samples, "each line is a sample");
    (body, read)
}

/// The sum of the samples of this name that have these labels; none where there is none.
fn sum(read: &Scrape, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let fits = |sample: &&prometheus_parse::Sample| {
        let has = |(name, value): &(&str, &str)| sample.labels.get(name) == Some(*value);
        sample.metric == name && labels.iter().all(has)
    };
    let value = |sample: &prometheus_parse::Sample| match sample.value {
        Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
        _ => f64::NAN,
    };
    let found: Vec<f64> = read.samples.iter().filter(fits).map(value).collect();
    (!found.is_empty()).then(|| found.iter().sum())
}

#[test]
fn a_gateway_tells_its_metrics_where_that_is_configured_and_to_this_machine() {
    let installation = Installation::new();
    installation.edit(|text| format!("{text}{METRICS}"));
    let serving = installation.serve();
    let said = serving.says(&["metrics are told"]);
    let address = said.rsplit_once("metrics=").unwrap().1.trim().parse().unwrap();
    let (_, read) = scrape(address);
    assert_eq!(
        sum(&read, "countermand_recorded_entries_total", &[("kind", "gateway.started")]),
        Some(1.0)
    );
    assert_eq!(sum(&read, "countermand_frozen_scopes", &[]), Some(0.0));
    assert!(sum(&read, "countermand_disk_free_bytes", &[("folder", "state")]).unwrap() > 0.0);
    assert!(sum(&read, "countermand_start_timestamp_seconds", &[]).unwrap() > 1e9);
    let (head, body) = ask(address, "/metrics", "evil.example");
    assert!(head.starts_with("HTTP/1.1 421") && !body.contains("countermand_"), "{head}");
    for path in ["/", "/api/v1/changes", "/metrics/../state"] {
        assert!(ask(address, path, "localhost").0.starts_with("HTTP/1.1 404"), "{path}");
    }
    // A second one finds the address taken: it guards all the same, and says what to do.
    let other = Installation::new();
    other.edit(|text| format!("{text}\n[metrics]\nlisten = \"{address}\"\n"));
    let second = other.command(&["serve"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut second = second;
    let mut log = std::io::BufReader::new(second.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("serving") {
        assert!(std::io::BufRead::read_line(&mut log, &mut said).unwrap() > 0, "{said}");
    }
    second.kill().unwrap();
    second.wait().unwrap();
    assert!(said.contains("choose another `listen` under `[metrics]`"), "{said}");
    assert_eq!(serving.stop(), 0);
    assert!(TcpStream::connect(address).is_err(), "it ends with the gateway");
}

#[test]
fn off_the_machine_they_are_told_only_where_that_is_said() {
    let installation = Installation::new();
    installation.edit(|text| format!("{text}\n[metrics]\nlisten = \"0.0.0.0:0\"\n"));
    let refused = installation.run(&["serve"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("anyone_may_read = true"), "{}", refused.stderr);
}

/// Also: what an agent writes, and what it writes to, is nowhere in it; and the ledger tells the same as
/// events.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_moves_the_counters_as_it_goes() {
    let life = Life::begin_with(|text| format!("{text}{METRICS}")).await;
    let address = life.gateway.metrics().unwrap();
    let told = async move || tokio::task::spawn_blocking(move || scrape(address)).await.unwrap();
    // What is told may be a second old.
    let until = async |name: &str, labels: &[(&str, &str)], value: f64| {
        let began = std::time::Instant::now();
        loop {
            let (text, read) = told().await;
            if sum(&read, name, labels) == Some(value) {
                return (text, read);
            }
            assert!(began.elapsed().as_secs() < 60, "{name} {labels:?} is not {value}:\n{text}");
            tokio::task::yield_now().await;
        }
    };
    life.admit_bot().await;
    assert!(!life.psql_with("guess".to_owned(), "SELECT 1").await.success);
    let read = "SELECT note AS hidden_word FROM billing.invoices WHERE id = 1";
    assert!(life.psql(read).await.success);
    assert!(
        life.psql("INSERT INTO billing.invoices VALUES (5000, 'x'), (5001, 'y')").await.success
    );
    assert!(life.psql(DROP).await.stderr.contains("held as change 1"));
    let bot = [("target", "shop"), ("agent", "bot")];
    let (_, read) = until("countermand_open_changes", &[("state", "held")], 1.0).await;
    let requests = |read: &Scrape, effect: &str, decision: &str| {
        let labels = [&bot[..], &[("effect", effect), ("decision", decision)]].concat();
        sum(read, "countermand_requests_total", &labels)
    };
    assert_eq!(sum(&read, "countermand_refused_logins_total", &[]), Some(1.0));
    assert_eq!(requests(&read, "grant", "forbidden"), Some(0.0), "it is there before it counts");
    assert_eq!(requests(&read, "read", "allowed"), Some(1.0));
    assert_eq!(requests(&read, "write", "up_to_commit"), Some(1.0));
    assert_eq!(requests(&read, "destroy", "held"), Some(1.0));
    let allowed = [&bot[..], &[("effect", "write"), ("decision", "allowed")]].concat();
    assert_eq!(sum(&read, "countermand_weighed_total", &allowed), Some(1.0));
    assert_eq!(sum(&read, "countermand_writes_total", &bot), Some(1.0));
    let inserted = [&bot[..], &[("action", "inserted")]].concat();
    assert_eq!(sum(&read, "countermand_written_rows_total", &inserted), Some(2.0));
    assert!(sum(&read, "countermand_oldest_held_timestamp_seconds", &[]).unwrap() > 1e9);
    until("countermand_door_sessions", &[("target", "shop")], 0.0).await;

    life.prepared().await;
    for (key, name) in [("bob", "bob"), ("mallory", "carol")] {
        let words = ["approve", "1", "--typed", "1 1002", "--as", name];
        let approved = life.sign(key, &words).await;
        assert_eq!(approved.code, 0, "{}", approved.stderr);
    }
    let ended = life.run(&["changes", "wait", "1", "--timeout", "60s"]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let restored = life.sign("bob", &["restore", "1", "--typed", "1 1002"]).await;
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    let event = |event| [("target", "shop"), ("event", event)];
    let (text, read) = until("countermand_change_events_total", &event("restored"), 1.0).await;
    for (name, times) in [("held", 1.0), ("approved", 2.0), ("executed", 1.0)] {
        let counted = sum(&read, "countermand_change_events_total", &event(name));
        assert_eq!(counted, Some(times), "{name}");
    }
    assert_eq!(sum(&read, "countermand_open_changes", &[("state", "held")]), Some(0.0));
    assert_eq!(sum(&read, "countermand_oldest_held_timestamp_seconds", &[]), Some(0.0));
    for hidden in
        ["invoices", "billing", "hidden_word", "approved by bob", "DROP", "alice", "secret"]
    {
        assert!(!text.contains(hidden), "`{hidden}` is in\n{text}");
    }

    // The same from the ledger, by its own files and by a copy's.
    let copy = life.installation.key("copy").display().to_string();
    assert_eq!(life.run(&["ledger", "export", &copy]).await.code, 0);
    let whole = life.run(&["ledger", "export", "--format", "ocsf"]).await;
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    let count = |kind: &str| whole.stdout.matches(&format!("\"event_code\":\"{kind}\"")).count();
    assert_eq!(
        (count("change.held"), count("change.approved"), count("change.executed")),
        (1, 2, 1)
    );
    assert_eq!(
        (count("session.opened"), count("agent.added"), count("change.restored")),
        (3, 1, 1)
    );
    assert!(!whole.stdout.contains("hidden_word") && !whole.stdout.contains("approved by bob"));
    let of_copy = life.run(&["ledger", "export", "--format", "ocsf", "--ledger", &copy]).await;
    assert!(
        whole.stdout.starts_with(&of_copy.stdout) && of_copy.stdout.contains("change.restored")
    );
    let lines: Vec<&str> = whole.stdout.lines().collect();
    let middle: serde_json::Value = serde_json::from_str(lines[lines.len() / 2]).unwrap();
    let next = middle["unmapped"]["ledger"]["next"].as_str().unwrap();
    let rest = life.run(&["ledger", "export", "--format", "ocsf", "--from", next]).await;
    assert_eq!(rest.stdout.lines().collect::<Vec<_>>(), lines[lines.len() / 2 + 1..]);
}
