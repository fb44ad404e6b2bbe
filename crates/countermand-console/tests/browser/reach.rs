//! What reaches its reader, and what its reader reaches.

use crate::browser::Browser;
use crate::client::Served;
use crate::every_page::{filled, pages};
use crate::page::PHONE;
use std::time::Instant;

#[tokio::test]
async fn what_is_held_appears_in_an_open_queue() {
    let Some(browser) = Browser::start().await else { return };
    let served = Served::new().await;
    let page = browser.page(served.origin()).await;
    page.login(&served.link("bob")).await;
    page.open("/").await;
    let held = Instant::now();
    let number = served.world.held("billing").await;
    page.until("!document.querySelector('.news').hidden").await;
    println!("a held change was seen after {:?}", held.elapsed());
    assert!(page.text(".news").await.contains(&format!("Change {number} is held")));
    page.click_through(".news a").await;
    assert!(page.text("main").await.contains("destroy schema billing"));
}

/// What can be reached with Tab, in the order in which it is read.
const REACHABLE: &str = "[...document.querySelectorAll(
        'a[href], button, input, select, textarea, summary, [tabindex=\"0\"]')]
    .filter(it => !it.disabled && it.checkVisibility())";

#[tokio::test]
async fn everything_can_be_reached_with_the_keyboard_in_the_order_in_which_it_is_read() {
    let Some(browser) = Browser::start().await else { return };
    let (_served, page) = filled(&browser).await;
    for path in pages() {
        page.open(&path).await;
        page.evaluate("document.activeElement.blur()").await;
        let all = format!("window.wanted = {REACHABLE}, window.wanted.length");
        let wanted = page.evaluate(&all).await.as_u64().unwrap();
        assert!(wanted > 0, "{path}");
        for nth in 0..wanted {
            page.press("Tab").await;
            let same = format!("document.activeElement === window.wanted[{nth}]");
            let is = "document.activeElement.outerHTML.slice(0, 200)";
            assert_eq!(page.evaluate(&same).await, true, "{path}: {}", page.evaluate(is).await);
        }
        let positive = "[...document.querySelectorAll('[tabindex]')].some(it => it.tabIndex > 0)";
        assert_eq!(page.evaluate(positive).await, false, "{path}");
    }
}

#[tokio::test]
async fn on_a_phone_the_section_is_seen_in_which_one_is() {
    let Some(browser) = Browser::start().await else { return };
    let (_served, page) = filled(&browser).await;
    page.as_wide_as(PHONE).await;
    let seen = "(() => {
        const box = document.querySelector('.top nav [aria-current]').getBoundingClientRect();
        return box.left >= 0 && box.right <= window.innerWidth && window.scrollY === 0;
    })()";
    for path in ["/", "/targets/prod", "/policies/explain", "/ledger", "/status"] {
        page.open(path).await;
        assert_eq!(page.evaluate(seen).await, true, "{path}");
    }
}

#[tokio::test]
async fn a_filter_is_used_without_a_mouse() {
    let Some(browser) = Browser::start().await else { return };
    let (_served, page) = filled(&browser).await;
    page.open("/changes").await;
    page.fill("input[name=agent]", "nobody").await;
    let loads = page.loads();
    page.press("Enter").await;
    page.loaded_after(loads).await;
    assert!(page.text("main").await.contains("No change is like that"));
}

/// Makes a passkey, then has it sign; both for the page's own name.
const PASSKEY: &str = "(async () => {
    const bytes = (length) => crypto.getRandomValues(new Uint8Array(length));
    const made = await navigator.credentials.create({ publicKey: {
        challenge: bytes(32), rp: { id: 'localhost', name: 'x' },
        user: { id: bytes(16), name: 'bob', displayName: 'bob' },
        pubKeyCredParams: [{ type: 'public-key', alg: -7 }],
        authenticatorSelection: { userVerification: 'required' },
    } });
    const signed = await navigator.credentials.get({ publicKey: {
        challenge: bytes(32), userVerification: 'required',
        allowCredentials: [{ type: 'public-key', id: made.rawId }],
    } });
    return signed.id === made.id;
})()";

#[tokio::test]
async fn a_page_of_the_console_can_ask_for_a_passkey() {
    let Some(browser) = Browser::start().await else { return };
    let (_served, page) = filled(&browser).await;
    let authenticator = page.authenticator().await;
    assert_eq!(page.evaluate(PASSKEY).await, true);
    assert_eq!(authenticator.credentials().await.len(), 1);
    authenticator.unlocks(false).await;
    let refused = format!("{PASSKEY}.catch(error => error.name)");
    assert_eq!(page.evaluate(&refused).await, "NotAllowedError");
    assert_eq!(page.troubles().await, [""; 0]);
}
