//! Pictures of the pages, for docs/console.md: `cargo xtask screenshots` keeps them.

use crate::browser::Browser;
use crate::every_page::{filled, pages};
use crate::page::{DESK, PHONE};
use std::path::{Path, PathBuf};

/// A picture may have so many bytes.
const LARGEST: u64 = 80_000;

/// Light, dark, and on a phone.
const LOOKS: [(&str, bool, u32); 3] =
    [("", false, DESK), ("-dark", true, DESK), ("-phone", false, PHONE)];

/// What a page's pictures are called.
fn name(path: &str) -> &str {
    match path {
        "/" => "queue",
        "/changes/1" => "decision",
        "/agents/bot" => "agent",
        "/targets/prod" => "target",
        "/policies/explain" => "explain",
        "/ledger/1" => "entry",
        path => &path[1..],
    }
}

/// Where they are kept. Without `COUNTERMAND_SCREENSHOTS` they are only made.
pub(crate) fn folder() -> PathBuf {
    let only_made = || Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::env::var_os("COUNTERMAND_SCREENSHOTS").map_or_else(only_made, PathBuf::from)
}

#[tokio::test]
async fn every_kind_of_page_has_its_picture() {
    let Some(browser) = Browser::start().await else { return };
    let (_served, page) = filled(&browser).await;
    for path in pages() {
        for (look, dark, width) in LOOKS {
            page.dark(dark).await;
            page.as_wide_as(width).await;
            // Of a change there is more to tell than of an hour.
            page.open(if path == "/incident" { "/incident?change=1" } else { &path }).await;
            let file = folder().join(format!("{}{look}.webp", name(&path)));
            page.screenshot(&file).await;
            let bytes = std::fs::metadata(&file).unwrap().len();
            assert!((1_500..=LARGEST).contains(&bytes), "{}: {bytes} bytes", file.display());
        }
    }
}
