//! The browser: bob makes a passkey in it, and decides on the console's pages.

use super::cast::Cast;
use super::story::{ended, must};
use super::tell::Teller;
use crate::exit::Failure;
use crate::show::Tone;
use countermand_engine::control::ChangeView;
use serde_json::json;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// The clock of a demonstration that a person clicks through: a link is good for a minute and more.
pub(super) const SPEED: i32 = 4;
/// Where the console listens, unless somebody else does.
const PORT: u16 = 6480;
/// How long bob may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// Where this demonstration's console can listen.
pub(super) fn port() -> Result<u16, Failure> {
    let free = |port| TcpListener::bind(("127.0.0.1", port)).and_then(|free| free.local_addr());
    Ok(free(PORT).or_else(|_| free(0))?.port())
}

/// Lets bob make his passkey, and has the gateway start again with it.
pub(super) async fn enrol(teller: &Teller, cast: Cast, port: u16) -> Result<Cast, Failure> {
    teller.part("0  bob's passkey");
    teller.say(&format!(
        "You are bob. Open the link in a browser on this machine (from another one first \
         `ssh -L {port}:127.0.0.1:{port} …`), enter, go to *bob* and *Make a passkey*, and copy the line that the \
         page shows. A link is good once, for {} seconds.",
        300 / SPEED
    ));
    let line = loop {
        teller.plain(&cast.link("bob").await?);
        let line = teller.ask("paste the line here; nothing gives another link [Enter] ").await?;
        match cast.is_passkey(&line) {
            Ok(()) => break line,
            Err(why) if !line.is_empty() => teller.say(&why),
            Err(_) => {}
        }
    };
    let cast = cast.with_key("bob", &line).await?;
    let words =
        "bob's passkey is in the configuration; no agent was let in before, so it counts now";
    teller.event("enrolled", Tone::Good, words, json!({ "human": "bob" }));
    Ok(cast)
}

/// Waits until bob has approved on the page. False where he has rejected: then nothing more happens.
pub(super) async fn approved(teller: &Teller, cast: &Cast) -> Result<bool, Failure> {
    let page = cast.page(1);
    teller.say(&format!("bob: open {page}, log in with your passkey, read, and approve or reject"));
    let change = until(cast, |change| !change.approvals.is_empty() || ended(change)).await?;
    if change.approvals.is_empty() {
        let words = "production has seen nothing of it, and the story ends here";
        teller.event(&change.line.state, Tone::Warning, words, json!({ "change": 1 }));
        return Ok(false);
    }
    let words = format!("by bob, in his browser; it cools for 60 s, here for {}", 60 / SPEED);
    teller.event("approved", Tone::Good, &words, json!({ "by": "bob" }));
    Ok(true)
}

/// Waits until bob has taken it back on the page.
pub(super) async fn taken_back(teller: &Teller, cast: &Cast) -> Result<(), Failure> {
    teller.say(&format!("bob: take it back on {}", cast.page(1)));
    let change = until(cast, |change| change.line.state != "executed").await?;
    let state = &change.line.state;
    must(state == "restored", || format!("change 1 is {state}, and was not taken back"))
}

async fn until(cast: &Cast, is: impl Fn(&ChangeView) -> bool) -> Result<Box<ChangeView>, Failure> {
    let began = Instant::now();
    loop {
        let change = cast.change(1).await?;
        if is(&change) {
            return Ok(change);
        }
        must(began.elapsed() < PATIENCE, || "bob did not decide in time".to_owned())?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
