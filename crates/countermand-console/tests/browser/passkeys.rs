//! A human's way with a passkey, in a real browser with an authenticator of its own: made, enrolled by
//! people, counted after its day, let in with, signed with.

use crate::axe;
use crate::browser::Browser;
use crate::client::{Served, seated};
use crate::every_page::wider_than_the_window;
use crate::page::{DESK, PHONE, Page};
use crate::pictures::folder;
use crate::world::{self, configuration_of};
use countermand_core::request::ChangeNumber;
use countermand_engine::Installation;
use countermand_engine::control::{ChangeView, PrepareAct, Reply};
use jiff::SignedDuration;

/// Makes a passkey as a person does, and gives its line.
async fn make(page: &Page, served: &Served, human: &str) -> String {
    page.login(&served.link(human)).await;
    let line = page.makes_passkey().await;
    assert!(line.starts_with(&format!("passkey {} ", served.origin())), "{line}");
    line
}

/// The installation with these keys besides.
fn with(installation: &Installation, lines: &[(&str, &str)]) -> Installation {
    let mut wanted = installation.clone();
    for (human, line) in lines {
        let human = wanted.humans.get_mut(&human.parse().unwrap()).unwrap();
        human.keys.push(line.parse().unwrap());
    }
    wanted.configuration = configuration_of(&wanted);
    wanted
}

/// Has people sign this configuration, and the gateway go on under it, at the same address.
async fn enrolled(served: Served, wanted: Installation) -> Served {
    let configuration = Box::new(wanted.configuration.clone());
    let act = PrepareAct::ProposeConfiguration { configuration };
    let proposed = served.world.sign("alice", act).await;
    assert!(matches!(proposed, Reply::Done { .. }), "{proposed:?}");
    let act = PrepareAct::ApproveConfiguration { number: 2 };
    let approved = served.world.sign("carol", act).await;
    assert!(matches!(approved, Reply::Done { .. }), "{approved:?}");
    served.world.clock.advance(SignedDuration::from_secs(60));
    served.world.engine.reconfigured().wait_for(|other| *other).await.unwrap();
    served.stop();
    let Served { world, port, .. } = served;
    Served::at(world.again(wanted).await.unwrap(), port).await
}

/// A browser in which bob has a passkey that counts, and its console.
pub(crate) struct Bob {
    pub(crate) served: Served,
    pub(crate) page: Page,
}

impl Bob {
    pub(crate) async fn new(browser: &Browser, sponsor_too: bool) -> Bob {
        Bob::with(browser, if sponsor_too { "alice" } else { "bob" }, |_| ()).await
    }

    /// Or in which somebody else has, where this is so besides.
    async fn with(browser: &Browser, human: &str, so: impl FnOnce(&mut Installation)) -> Bob {
        let served = Served::new().await;
        let page = browser.page(served.origin()).await;
        let line = {
            let _authenticator = page.authenticator().await;
            make(&page, &served, human).await
        };
        let mut installation = world::installation(served.world.folder.path());
        so(&mut installation);
        let served = enrolled(served, with(&installation, &[(human, &line)])).await;
        served.world.clock.advance(SignedDuration::from_hours(24));
        Bob { served, page }
    }

    /// A change that waits for nothing but people, opened.
    async fn reads(&self, schema: &str) -> u64 {
        let number = self.served.world.held(schema).await;
        self.served.world.prepared(number).await;
        self.page.open(&format!("/changes/{number}")).await;
        number
    }

    pub(crate) async fn signs(&self, act: &str) {
        self.page.signs(act).await;
    }

    pub(crate) async fn said(&self, words: &str) {
        self.page.said(words).await;
    }

    async fn change(&self, number: u64) -> Box<ChangeView> {
        self.served.world.show(number).await
    }
}

#[tokio::test]
async fn a_passkey_is_made_enrolled_and_approves_what_its_human_read() {
    let Some(browser) = Browser::start().await else { return };
    let served = Served::new().await;
    let page = browser.page(served.origin()).await;
    let authenticator = page.authenticator().await;
    let line = make(&page, &served, "bob").await;
    assert_eq!(authenticator.credentials().await.len(), 1);
    assert_eq!(page.troubles().await, [""; 0]);
    let installation = world::installation(served.world.folder.path());
    let served = enrolled(served, with(&installation, &[("bob", &line)])).await;
    // Its day is not over.
    page.open("/enter").await;
    page.until("!document.getElementById('prove').hidden").await;
    page.click("#prove .go").await;
    page.until("document.getElementById('prove-outcome').innerText.includes('does not count yet')")
        .await;
    page.troubles().await;
    served.world.clock.advance(SignedDuration::from_hours(24));
    page.enters().await;
    assert!(page.text(".who").await.contains("reads and signs"));
    let bob = Bob { served, page };
    let number = bob.reads("billing").await;
    bob.page.click("form[data-act=approve] button").await;
    bob.page.until("document.getElementById('sign').open").await;
    let shown = bob.page.text("#sign-said").await;
    let signed = bob.change(number).await.subject.to_string();
    for words in ["it runs, once", "destroy schema billing", "1,100 rows of billing.costs", &signed]
    {
        assert!(shown.contains(words), "{words} is not in {shown}");
    }
    bob.page.fill("#sign input", "7 7").await;
    bob.page.click("#sign-yes").await;
    bob.said("Those are not the numbers").await;
    assert!(bob.change(number).await.approvals.is_empty());
    let numbers = bob.page.numbers().await;
    bob.page.fill("#sign input", &numbers).await;
    bob.page.click("#sign-yes").await;
    bob.said("is approved by bob").await;
    bob.page.click_through("#sign-no").await;
    bob.page.until("document.querySelector('form[data-act=stop_cooling]')").await;
    bob.served.world.cool();
    bob.served.world.until(number, |change| change.line.state == "executed").await;
    bob.page.open(&format!("/changes/{number}")).await;
    bob.signs("restore").await;
    bob.said("Done").await;
    assert_eq!(bob.change(number).await.line.state, "restored");
    assert_eq!(bob.page.troubles().await, [""; 0]);
}

#[tokio::test]
async fn a_change_is_rejected_and_a_cooling_stopped_without_a_mouse() {
    let Some(browser) = Browser::start().await else { return };
    let bob = Bob::new(&browser, false).await;
    bob.page.enters().await;
    let number = bob.reads("billing").await;
    let carols = bob.served.world.approve("carol", number).await;
    assert!(matches!(carols, Reply::Done { .. }), "{carols:?}");
    bob.page.open(&format!("/changes/{number}")).await;
    bob.page.fill("form[data-act=stop_cooling] textarea", "wait").await;
    bob.page.press("Tab").await;
    bob.page.press("Enter").await;
    let told = "document.querySelector('form[data-act=stop_cooling] [role=status]').innerText.includes('void')";
    bob.page.until(told).await;
    assert!(bob.change(number).await.approvals.is_empty());
    bob.page.open(&format!("/changes/{number}")).await;
    // Without a reason nothing is asked.
    bob.page.click("form[data-act=reject] button").await;
    assert_eq!(bob.page.evaluate("document.getElementById('sign').open").await, false);
    bob.page.fill("form[data-act=reject] textarea", "use the archive job").await;
    bob.page.press("Tab").await;
    bob.page.press("Enter").await;
    bob.page.until("document.getElementById('sign').open").await;
    // Whoever presses Enter at once has done nothing.
    let first = bob.page.evaluate("document.activeElement.id").await;
    assert!(first == "sign-no", "{first}");
    let numbers = bob.page.numbers().await;
    bob.page.fill("#sign input", &numbers).await;
    bob.page.press("Enter").await;
    bob.said("is rejected by bob").await;
    assert_eq!(bob.change(number).await.line.state, "rejected");
}

#[tokio::test]
async fn what_is_not_shown_and_wanted_is_not_signed() {
    let Some(browser) = Browser::start().await else { return };
    let bob = Bob::new(&browser, false).await;
    bob.page.enters().await;
    let first = bob.reads("billing").await;
    let second = bob.reads("shop").await;
    // A gateway that gives another statement out than the one that was asked for.
    bob.page
        .evaluate(&format!(
            "window.own = window.fetch;
             window.fetch = async (path, asked) => {{
                if (path === '/api/v1/prepare') {{
                    asked.body = asked.body.replace('\"change\":{second}', '\"change\":{first}')
                        .replace(/\"seen\":\"[0-9a-f]*\"/, '\"seen\":' + JSON.stringify(window.other));
                }}
                return own(path, asked);
             }}; 0"
        ))
        .await;
    let other = format!(
        "own('/changes/{first}').then(it => it.text())
            .then(it => {{ window.other = it.match(/data-seen=\"([0-9a-f]*)\"/)[1]; return 0; }})"
    );
    bob.page.evaluate(&other).await;
    bob.page.click("form[data-act=approve] button").await;
    let told = "document.querySelector('form[data-act=approve] [role=status]').innerText";
    bob.page.until(&format!("{told}.includes('not what was asked for')")).await;
    assert_eq!(bob.page.evaluate("document.getElementById('sign').open").await, false);
    // What moved since it was shown.
    bob.page.open(&format!("/changes/{second}")).await;
    let approve = PrepareAct::Approve { change: ChangeNumber(second), seat: None };
    bob.served.world.sign("carol", approve).await;
    bob.served.world.prod.data.lock().unwrap().tables.insert("shop.refunds".to_owned(), 1);
    bob.served.world.cool();
    bob.served.world.until(second, |change| change.approvals.is_empty()).await;
    bob.served.world.prepared(second).await;
    bob.page.click("form[data-act=approve] button").await;
    bob.page.until(&format!("{told}.includes('no longer what this page shows')")).await;
    for number in [first, second] {
        assert!(bob.change(number).await.approvals.is_empty());
    }
}

#[tokio::test]
async fn a_sponsor_sees_that_they_are_no_peer() {
    let Some(browser) = Browser::start().await else { return };
    let alice = Bob::new(&browser, true).await;
    alice.page.enters().await;
    let number = alice.reads("billing").await;
    assert!(alice.page.text(".decide").await.contains("somebody else approves it"));
    alice.signs("approve").await;
    alice.said("sponsor").await;
    assert!(alice.change(number).await.approvals.is_empty());
}

#[tokio::test]
async fn whoever_could_fill_several_seats_is_asked_which() {
    let Some(browser) = Browser::start().await else { return };
    let bob = Bob::with(&browser, "bob", seated).await;
    bob.page.enters().await;
    let number = bob.reads("billing").await;
    let chosen = "document.querySelectorAll('form[data-act=approve] :checked').length";
    assert_eq!(bob.page.evaluate(chosen).await, 0, "none is chosen for him");
    bob.page.click("form[data-act=approve] button").await;
    assert_eq!(bob.page.evaluate("document.getElementById('sign').open").await, false);
    bob.page.click("form[data-act=approve] input[value=security]").await;
    bob.signs("approve").await;
    assert!(bob.page.text("#sign-said").await.contains("security"));
    bob.said("is approved by bob").await;
    let approvals = bob.change(number).await.approvals.clone();
    assert!(approvals[0].contains("(security)"), "{approvals:?}");
    assert_eq!(bob.page.troubles().await, [""; 0]);
}

#[tokio::test]
async fn whoever_does_not_unlock_their_passkey_has_signed_nothing() {
    let Some(browser) = Browser::start().await else { return };
    let served = Served::new().await;
    let page = browser.page(served.origin()).await;
    let authenticator = page.authenticator().await;
    let line = make(&page, &served, "bob").await;
    let installation = world::installation(served.world.folder.path());
    let served = enrolled(served, with(&installation, &[("bob", &line)])).await;
    served.world.clock.advance(SignedDuration::from_hours(24));
    page.enters().await;
    let number = served.world.held("billing").await;
    served.world.prepared(number).await;
    page.open(&format!("/changes/{number}")).await;
    authenticator.unlocks(false).await;
    page.click("form[data-act=approve] button").await;
    page.until("document.getElementById('sign').open").await;
    let numbers = page.numbers().await;
    page.fill("#sign input", &numbers).await;
    page.click("#sign-yes").await;
    page.until("document.getElementById('sign-outcome').innerText.includes('Nothing was signed')")
        .await;
    assert!(served.world.show(number).await.approvals.is_empty());
}

#[tokio::test]
async fn what_is_signed_is_legible_to_everybody_and_fits_a_phone() {
    let Some(browser) = Browser::start().await else { return };
    let bob = Bob::new(&browser, false).await;
    bob.page.enters().await;
    let number = bob.reads("billing").await;
    bob.page.click("form[data-act=approve] button").await;
    bob.page.until("document.getElementById('sign').open").await;
    for width in [DESK, PHONE] {
        bob.page.as_wide_as(width).await;
        assert_eq!(wider_than_the_window(&bob.page).await, [""; 0], "{width}");
        let name = if width == PHONE { "sign-phone.webp" } else { "sign.webp" };
        bob.page.screenshot(&folder().join(name)).await;
        for dark in [false, true] {
            bob.page.dark(dark).await;
            let Some(source) = axe::source() else { continue };
            let found = axe::violations(&bob.page, source).await;
            assert_eq!(found, [""; 0], "{width}, dark: {dark}");
        }
    }
    bob.page.press("Escape").await;
    bob.page.until("!document.getElementById('sign').open").await;
    assert!(bob.change(number).await.approvals.is_empty());
    for path in ["/keys", "/status", "/configuration"] {
        bob.page.open(path).await;
        bob.page.as_wide_as(DESK).await;
        bob.page.as_wide_as(PHONE).await;
        assert_eq!(wider_than_the_window(&bob.page).await, [""; 0], "{path}");
    }
}
