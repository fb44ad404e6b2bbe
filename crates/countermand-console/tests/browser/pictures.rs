//! Pictures of the pages, for docs/console.md: `cargo xtask screenshots` keeps them.

use crate::browser::Browser;
use crate::every_page::filled;
use crate::page::{DESK, PHONE};
use std::path::{Path, PathBuf};

/// A picture may have so many bytes.
const LARGEST: u64 = 150_000;

/// What is pictured, and how: light, dark, and on a phone.
const PICTURES: [(&str, &str); 13] = [
    ("queue", "/"),
    ("decision", "/changes/1"),
    ("decision-dark", "/changes/1"),
    ("decision-phone", "/changes/1"),
    ("changes", "/changes"),
    ("agent", "/agents/bot"),
    ("targets", "/targets"),
    ("ledger", "/ledger"),
    ("incident", "/incident?change=1"),
    ("ledger-dark", "/ledger"),
    ("status-phone", "/status"),
    ("doctor", "/doctor"),
    ("configuration", "/configuration"),
];

/// Where they are kept. Without `COUNTERMAND_SCREENSHOTS` they are only made.
pub(crate) fn folder() -> PathBuf {
    let only_made = || Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::env::var_os("COUNTERMAND_SCREENSHOTS").map_or_else(only_made, PathBuf::from)
}

#[tokio::test]
async fn every_kind_of_page_has_its_picture() {
    let Some(browser) = Browser::start().await else { return };
    let (_served, page) = filled(&browser).await;
    for (name, path) in PICTURES {
        page.dark(name.ends_with("-dark")).await;
        page.as_wide_as(if name.ends_with("-phone") { PHONE } else { DESK }).await;
        page.open(path).await;
        let file = folder().join(format!("{name}.png"));
        page.screenshot(&file).await;
        let bytes = std::fs::metadata(&file).unwrap().len();
        assert!((5_000..=LARGEST).contains(&bytes), "{name}: {bytes} bytes");
    }
}
