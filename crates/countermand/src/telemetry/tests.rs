use super::*;
use countermand_core::name::{AgentName, TargetName};
use countermand_core::request::ChangeNumber;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};
use tokio::sync::mpsc::{Sender, channel};

fn step() -> Step {
    let now = SystemTime::UNIX_EPOCH;
    Step {
        what: What::Execute,
        change: ChangeNumber(7),
        agent: AgentName::new("bot").unwrap(),
        target: TargetName::new("shop").unwrap(),
        began: now,
        ended: now,
        ok: true,
    }
}

/// Sends to this address, and counts what was lost.
fn begun(address: SocketAddr) -> (Telemetry, Sender<Step>, Arc<AtomicUsize>) {
    let (sender, steps) = channel(16);
    let lost = Arc::new(AtomicUsize::new(0));
    let counted = lost.clone();
    let count = move |spans| {
        counted.fetch_add(spans, Ordering::Relaxed);
    };
    let name = InstallationName::new("gate").unwrap();
    let telemetry =
        Telemetry::start(format!("http://{address}/v1/traces"), &name, steps, count).unwrap();
    (telemetry, sender, lost)
}

/// A collector that has no time, and says so. Counts how often it was asked.
fn busy() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut length, mut line) = (0, String::new());
            while line != "\r\n" {
                line.clear();
                assert!(stream.read_line(&mut line).unwrap() > 0);
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            stream.read_exact(&mut vec![0; length]).unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let answer = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 4\r\n\
                 content-length: 0\r\nconnection: close\r\n\r\n";
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, asked)
}

/// The longest that nothing else ran on the one thread that there is, while this did.
async fn longest_wait(work: impl Future<Output = ()>) -> Duration {
    let longest = std::cell::Cell::new(Duration::ZERO);
    let ticks = async {
        let mut last = Instant::now();
        loop {
            tokio::task::yield_now().await;
            longest.set(longest.get().max(last.elapsed()));
            last = Instant::now();
        }
    };
    tokio::select! {
        () = work => {}
        () = ticks => {}
    }
    longest.get()
}

/// The gateway may have this one thread: whoever sleeps on it stops everybody.
#[tokio::test]
async fn a_collector_that_has_no_time_is_asked_once_and_nobody_sleeps() {
    let (address, asked) = busy();
    let (telemetry, sender, lost) = begun(address);
    sender.send(step()).await.unwrap();
    sender.send(step()).await.unwrap();
    let longest = longest_wait(telemetry.finish()).await;
    assert!(longest < Duration::from_secs(3), "nothing ran for {longest:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it was asked again");
    assert_eq!(lost.load(Ordering::Relaxed), 2);
}

/// Three retries of one batch would sleep for 0.7 s, ten times over.
#[tokio::test]
async fn where_nobody_listens_spans_are_counted_and_nobody_sleeps() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (telemetry, sender, lost) = begun(nobody);
    let began = Instant::now();
    for batch in 1..=10 {
        sender.send(step()).await.unwrap();
        while lost.load(Ordering::Relaxed) < batch {
            tokio::task::yield_now().await;
        }
    }
    telemetry.finish().await;
    assert_eq!(lost.load(Ordering::Relaxed), 10);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
