//! Traces of a running gateway, as a collector gets them.

use crate::gateway::Installation;
use crate::life::Life;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost_of_otlp::Message as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};

/// A collector that takes everything.
fn collector() -> (SocketAddr, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(request) = read(&mut stream) {
                    let _ = sender.send(request);
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    (address, receiver)
}

fn read(stream: &mut BufReader<std::net::TcpStream>) -> Option<ExportTraceServiceRequest> {
    let (mut length, mut line) = (0, String::new());
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let shown = String::from_utf8_lossy(&body).into_owned();
    for hidden in ["invoices", "approved by bob", "DROP", "alice", "00f067aa0ba902b7"] {
        assert!(!shown.contains(hidden), "`{hidden}` is in {shown:?}");
    }
    Some(ExportTraceServiceRequest::decode(&body[..]).unwrap())
}

fn spans(requests: impl Iterator<Item = ExportTraceServiceRequest>) -> Vec<Span> {
    let resources = requests.flat_map(|request| request.resource_spans);
    resources.flat_map(|it| it.scope_spans).flat_map(|it| it.spans).collect()
}

/// What an agent says of traces changes nothing: its `traceparent` is a comment like any other.
const TRACED: &str = "DROP TABLE billing.invoices /* \
     traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' approved by bob */";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_one_trace_from_the_request_to_its_restore() {
    let (address, taken) = collector();
    let telemetry = format!("[telemetry]\notlp = \"http://{address}\"\n");
    let life = Life::begin_with(|text| format!("{text}\n{telemetry}")).await;
    life.admit_bot().await;
    assert!(life.psql("SELECT 1").await.success);
    assert!(life.psql(TRACED).await.stderr.contains("held as change 1"));
    life.prepared().await;
    for (key, name) in [("bob", "bob"), ("mallory", "carol")] {
        let words = ["approve", "1", "--typed", "1 1000", "--as", name];
        assert_eq!(life.sign(key, &words).await.code, 0);
    }
    let ended = life.run(&["changes", "wait", "1", "--timeout", "60s"]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let restored = life.sign("bob", &["restore", "1", "--typed", "1 1000"]).await;
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    // What was not sent yet is sent as it stops.
    let (_installation, _server) = life.end().await;
    let spans = spans(taken.try_iter());
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["decide", "execute", "preview", "propose", "restore"]);
    let root = spans.iter().find(|span| span.name == "propose").unwrap();
    assert!(root.parent_span_id.is_empty() && root.trace_id.len() == 16);
    for span in &spans {
        assert_eq!(span.trace_id, root.trace_id);
        assert!(span.name == "propose" || span.parent_span_id == root.span_id, "{}", span.name);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert_eq!(span.status.as_ref().unwrap().code, 1, "{}", span.name);
        let keys: Vec<&str> = span.attributes.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["countermand.change", "countermand.agent", "countermand.target"]);
    }
    assert_ne!(root.trace_id[..2], [0x4b, 0xf9], "the agent's own");
}

/// It takes what it is sent and never answers. It is given up after five seconds: what is asked
/// meanwhile is answered meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_keeps_nothing_waiting() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let telemetry = format!("[telemetry]\notlp = \"http://{address}\"\n");
    let life = Life::begin_with(|text| format!("{text}\n{telemetry}")).await;
    life.admit_bot().await;
    let asked = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = silent.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        let given_up = std::thread::spawn(move || {
            let _ = stream.read_to_end(&mut Vec::new());
            std::time::Instant::now()
        });
        (silent, given_up)
    });
    assert!(life.psql(TRACED).await.stderr.contains("held as change 1"));
    let (_silent, given_up) = asked.await.unwrap();
    assert!(life.psql("SELECT 1").await.success);
    assert!(!given_up.is_finished(), "it was answered only when the collector was given up");
    life.prepared().await;
    let began = std::time::Instant::now();
    let (_installation, _server) = life.end().await;
    // What waited is tried once more, for as long again.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn traces_do_not_cross_the_network_in_the_open() {
    let installation = Installation::new();
    installation.edit(|text| format!("{text}\n[telemetry]\notlp = \"http://otel.example:4318\"\n"));
    let refused = installation.run(&["serve"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("in the open"), "{}", refused.stderr);
}

/// It guards all the same.
#[test]
fn an_environment_that_names_no_collector_is_said_and_stops_nothing() {
    let installation = Installation::new();
    let mut command = installation.command(&["serve"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel.example:4318");
    let mut serving = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(serving.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("serving") {
        assert!(log.read_line(&mut said).unwrap() > 0, "{said}");
    }
    serving.kill().unwrap();
    serving.wait().unwrap();
    assert!(said.contains("no traces are sent") && said.contains("in the open"), "{said}");
}
