//! How long the console takes to its first byte over 10,000 changes and 1,000,000 entries, and until
//! it tells what is held to whoever has the queue open. `cargo xtask bench console [--json]`.
//!
//! Two changes are made as any are, and the store is filled with their like behind the gateway's
//! back: what is measured is reading.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to clean up")]

#[path = "../../tests/browser/browser.rs"]
mod browser;
#[path = "../../tests/http/client.rs"]
#[expect(dead_code, reason = "the tests over HTTP use the rest")]
mod client;
mod held;
#[path = "../../../countermand-engine/tests/life/memory.rs"]
mod memory;
#[path = "../../tests/browser/page.rs"]
#[expect(dead_code, reason = "the tests in a browser use the rest")]
mod page;
mod seed;
#[path = "../../tests/browser/wire.rs"]
mod wire;
#[path = "../../../countermand-engine/tests/life/world.rs"]
#[expect(dead_code, reason = "the engine's own tests use the rest")]
mod world;

use client::Served;
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{Command, PrepareAct, Reply};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use world::{NOBODY, World};

/// Each page is opened so many times.
const ROUNDS: usize = 15;

#[tokio::main]
async fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let began = Instant::now();
    let world = seeded().await;
    let Reply::Checkpoint { .. } = world.engine.control(Command::Checkpoint, NOBODY).await else {
        panic!("nothing is published")
    };
    eprintln!("seeded, opened and published in {:.0?}", began.elapsed());
    let served = Served::over(world).await;
    let cookie = served.login("bob").await;
    for path in [
        "/",
        "/changes",
        "/changes?state=failed",
        "/changes?text=nowhere&state=rejected",
        "/changes/5000",
        "/ledger",
        "/ledger?before=500000",
        "/ledger/500000",
        "/incident?change=5000",
        "/status",
        "/api/v1/changes",
    ] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            times.push(first_byte(&served, path, &cookie).await);
        }
        tell(json, path, times);
    }
    served.world.let_in_as("scout").await;
    tell(json, "held until told over events", held::over_events(&served, &cookie).await);
    if let Some(times) = held::in_a_browser(&served).await {
        tell(json, "held until shown in a browser", times);
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    eprintln!("load of this machine: {}", load.trim());
}

fn tell(json: bool, what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    if json {
        let row = serde_json::json!({
            "path": what, "median_us": median.as_micros(), "worst_us": worst.as_micros(),
        });
        println!("{row}");
    } else {
        println!("{what:<40} median {median:>10.1?}   worst {worst:>10.1?}");
    }
}

async fn seeded() -> World {
    let world = World::new().await;
    let done = world.held("billing").await;
    world.prepared(done).await;
    // An approval names its change in what was signed: a copy of one that was executed is none.
    let reason = "use the archive job".to_owned();
    world.sign("bob", PrepareAct::Reject { change: ChangeNumber(done), reason }).await;
    let open = world.held("shop").await;
    world.prepared(open).await;
    let installation = world::installation(world.folder.path());
    world.engine.shutdown().await;
    seed::fill(&world.folder.path().join("state/store.sqlite"), done, open);
    world.again(installation).await.unwrap()
}

/// From the request until the answer begins.
async fn first_byte(served: &Served, path: &str, cookie: &str) -> Duration {
    let mut stream = served.connect().await;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n",
        served.port
    );
    let asked = Instant::now();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.unwrap();
    let took = asked.elapsed();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200", "{path}: {}", String::from_utf8_lossy(&rest));
    took
}
