//! What holds of every page there is.

use crate::axe;
use crate::browser::Browser;
use crate::client::Served;
use crate::page::{DESK, PHONE, Page};

/// Every page of the table of routes, filled in. What is added there is here too.
pub(crate) fn pages() -> Vec<String> {
    let source = include_str!("../../src/route.rs");
    let table = source.split_once("const ROUTES").unwrap().1.split_once("];").unwrap().0;
    let paths = table.split('"').skip(1).step_by(2);
    let shown = paths.filter(|path| {
        !["/api/", "/assets/"].iter().any(|other| path.starts_with(other))
            && *path != "/leave"
            && !path.ends_with("/rows")
    });
    let filled = |path: &str| {
        path.replace("{number}", "1")
            .replace("{agent}", "bot")
            .replace("{entry}", "1")
            .replace("{target}", "prod")
    };
    shown.map(filled).collect()
}

/// A console with something on every page, in which bob is logged in.
pub(crate) async fn filled(browser: &Browser) -> (Served, Page) {
    let served = Served::new().await;
    let number = served.world.held("billing").await;
    served.world.prepared(number).await;
    let page = browser.page(served.origin()).await;
    page.login(&served.link("bob")).await;
    (served, page)
}

#[tokio::test]
async fn every_page_loads_without_an_error_and_fits_its_window() {
    let Some(browser) = Browser::start().await else { return };
    let (_served, page) = filled(&browser).await;
    assert_eq!(page.troubles().await, [""; 0], "logging in");
    let pages = pages();
    assert!(pages.len() >= 9 && pages.contains(&"/changes/1".to_owned()), "{pages:?}");
    for path in pages {
        page.open(&path).await;
        assert_eq!(page.troubles().await, [""; 0], "{path}");
        assert_ne!(page.text("h1").await, "", "{path}");
        for width in [DESK, PHONE] {
            page.as_wide_as(width).await;
            assert_eq!(wider_than_the_window(&page).await, [""; 0], "{path} at {width}");
        }
    }
}

/// What reaches beyond the window's right edge, where the page itself would be scrolled to see it.
pub(crate) async fn wider_than_the_window(page: &Page) -> Vec<String> {
    let found = page
        .evaluate(
            "document.documentElement.scrollWidth <= window.innerWidth ? [] :
            [...document.querySelectorAll('body *')]
                .filter(it => it.getBoundingClientRect().right > window.innerWidth + 1)
                .slice(0, 5).map(it => it.outerHTML.slice(0, 200))
                .concat([`${document.documentElement.scrollWidth} > ${window.innerWidth}`])",
        )
        .await;
    found.as_array().unwrap().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn nothing_keeps_people_from_using_a_page() {
    let (Some(browser), Some(source)) = (Browser::start().await, axe::source()) else { return };
    let (_served, page) = filled(&browser).await;
    for path in pages() {
        for dark in [false, true] {
            page.dark(dark).await;
            page.open(&path).await;
            let found = axe::violations(&page, source).await;
            assert_eq!(found, [""; 0], "{path}, dark: {dark}");
        }
    }
}
