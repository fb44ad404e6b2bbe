//! What an agent writes to deceive whoever reads it, or to keep them from reading.

use crate::browser::Browser;
use crate::client::Served;
use crate::every_page::wider_than_the_window;
use crate::page::{DESK, PHONE};
use crate::world::World;
use countermand_core::verb::postgres;
use countermand_engine::{Admission, Refusal};

/// Scripts in every spelling, and what turns a line around.
const HOSTILE: &str = "</li></ol><script>window.stolen = 1</script>\
    <img src=x onerror='window.stolen = 1'><svg/onload='window.stolen = 1'>\
    <style>*{display:none}</style>\u{202e}gnirts\u{2066}\u{200b}\n";

/// A name as long as PostgreSQL takes it, without a place to break.
const LONG: &str = "billing.wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww";

#[tokio::test]
async fn a_hostile_change_does_nothing_and_can_be_read_on_a_phone() {
    let Some(browser) = Browser::start().await else { return };
    let world = World::new().await;
    for nth in 0..5000 {
        let name = format!("{LONG}{nth:04}<script>window.stolen = 1</script>");
        world.prod.data.lock().unwrap().tables.insert(name, 10 + nth);
    }
    let served = Served::over(world).await;
    let line = "insert into billing.costs values (1, 'x', now()); -- and so on\n";
    let body = format!("drop billing {HOSTILE}{}", line.repeat(10_000_000 / line.len()));
    let proposal = served.world.proposal(postgres::DROP_SCHEMA, "schema", "billing", &body).await;
    let asked = served.world.engine.admit(proposal, ()).await.0;
    let Admission::Refused(Refusal::Held { change, .. }) = asked else { panic!("not held") };
    served.world.prepared(change.0).await;
    let page = browser.page(served.origin()).await;
    page.login(&served.link("bob")).await;
    for path in ["/".to_owned(), "/changes".to_owned(), format!("/changes/{change}")] {
        page.open(&path).await;
        assert_eq!(page.troubles().await, [""; 0], "{path}");
        assert_eq!(page.evaluate("window.stolen === undefined").await, true, "{path}");
        for width in [DESK, PHONE] {
            page.as_wide_as(width).await;
            assert_eq!(wider_than_the_window(&page).await, [""; 0], "{path} at {width}");
        }
    }
    // On the phone still. It is all there, every line below the one before it, none too small.
    // (What is out of sight is not laid out, and has no text to a browser but this one.)
    let first = page.evaluate("document.querySelector('.listing li').textContent").await;
    let shown = first.as_str().unwrap();
    assert!(shown.contains("<script>window.stolen = 1</script>"), "{shown}");
    assert!(shown.contains("\\u{202e}gnirts\\u{2066}\\u{200b}"), "{shown}");
    let lines = page.evaluate("document.querySelectorAll('.listing li').length").await;
    assert_eq!(lines, 10_000_000 / line.len() + 1);
    let small = "[...document.querySelectorAll('main *')].slice(0, 2000)
        .filter(it => it.innerText && parseFloat(getComputedStyle(it).fontSize) < 10)
        .map(it => it.outerHTML.slice(0, 100))";
    assert_eq!(page.evaluate(small).await, serde_json::json!([]));
}
