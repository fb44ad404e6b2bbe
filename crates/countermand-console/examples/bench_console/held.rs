//! How soon a change that is held is told to whoever has the queue open: by the page in a browser,
//! and by the events that the page hears.

use crate::browser::Browser;
use crate::client::Served;
use crate::page::Page;
use crate::world::NOBODY;
use countermand_core::request::ChangeNumber;
use countermand_core::verb::postgres;
use countermand_engine::control::{Command, Reply};
use countermand_engine::{Admission, Refusal};
use jiff::SignedDuration;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// So many changes are held.
const ROUNDS: usize = 30;
/// What was told before is not told together with what comes.
const QUIET: Duration = Duration::from_millis(300);

/// An agent may be refused nine times within this.
const REFUSED_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// In a browser: until the frame with the words was drawn. None where there is no browser.
pub(crate) async fn in_a_browser(served: &Served) -> Option<Vec<Duration>> {
    let browser = Browser::start().await?;
    served.world.clock.advance(REFUSED_WITHIN);
    let page = browser.page(served.origin()).await;
    page.login(&served.link("bob")).await;
    page.open("/").await;
    let mut times = Vec::new();
    // The first finds out whether the page listens already.
    for round in 0..=ROUNDS {
        page.evaluate(&until_drawn("held")).await;
        let held = hold(served, "browser", round);
        let ((number, held), shown) = tokio::join!(held, drawn(&page));
        times.push(shown.saturating_duration_since(held));
        page.evaluate(&until_drawn("withdrawn")).await;
        withdraw(served, number).await;
        drawn(&page).await;
        rest(served, round).await;
    }
    Some(times.split_off(1))
}

/// What waits in the page until the frame that says so was drawn.
fn until_drawn(state: &str) -> String {
    format!(
        "window.drawn = new Promise((drawn) => {{
            const words = document.querySelector('.news span');
            const look = new MutationObserver(() => {{
                if (words.textContent.includes(' is {state}')) {{
                    look.disconnect();
                    requestAnimationFrame(() => requestAnimationFrame(() => drawn(true)));
                }}
            }});
            look.observe(words, {{ childList: true, characterData: true, subtree: true }});
        }}), 0"
    )
}

async fn drawn(page: &Page) -> Instant {
    page.evaluate("window.drawn").await;
    Instant::now()
}

/// Over server-sent events: until the bytes were read.
pub(crate) async fn over_events(served: &Served, cookie: &str) -> Vec<Duration> {
    served.world.clock.advance(REFUSED_WITHIN);
    let mut stream = served.connect().await;
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: localhost:{}\r\nCookie: {cookie}\r\n\r\n",
        served.port
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    told(&mut stream, "text/event-stream").await;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let ((number, held), told_at) =
            tokio::join!(hold(served, "events", round), told(&mut stream, "\"held\""));
        times.push(told_at.saturating_duration_since(held));
        tokio::join!(withdraw(served, number), told(&mut stream, "\"withdrawn\""));
        rest(served, round).await;
    }
    times
}

/// Lets the page come to rest, and the engine forget how often it said no.
async fn rest(served: &Served, round: usize) {
    if round % 8 == 7 {
        served.world.clock.advance(REFUSED_WITHIN);
    }
    tokio::time::sleep(QUIET).await;
}

/// Reads until this is told.
async fn told(stream: &mut TcpStream, wanted: &str) -> Instant {
    let (mut text, mut part) = (String::new(), [0; 4096]);
    while !text.contains(wanted) {
        let read = stream.read(&mut part).await.unwrap();
        assert_ne!(read, 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    Instant::now()
}

/// Has a change held that nobody asked for before, and says when its agent was told so.
async fn hold(served: &Served, why: &str, round: usize) -> (u64, Instant) {
    let schema = format!("{why}{round}");
    served.world.prod.data.lock().unwrap().tables.insert(format!("{schema}.rows"), 1);
    let body = format!("drop {schema}");
    let mut proposal = served.world.proposal(postgres::DROP_SCHEMA, "schema", &schema, &body).await;
    let session = served.world.engine.open_session("scout", "prod", "bench", "local").await;
    proposal.caller = session.unwrap();
    match served.world.engine.admit(proposal, ()).await.0 {
        Admission::Refused(Refusal::Held { change, .. }) => (change.0, Instant::now()),
        Admission::Refused(other) => panic!("not held: {other:?}"),
        _ => panic!("it flowed"),
    }
}

async fn withdraw(served: &Served, number: u64) {
    let command = Command::Withdraw { change: ChangeNumber(number) };
    let reply = served.world.engine.control(command, NOBODY).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
}
