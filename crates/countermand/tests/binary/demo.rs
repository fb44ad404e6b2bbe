//! The demonstration, decided in a real browser.

use crate::browser::Browser;
use crate::gateway::countermand;
use crate::terminal::{Terminal, letters};
use std::os::unix::fs::PermissionsExt as _;

/// The whole of it, as the person who watches sees it: at a terminal and on the console's pages.
#[tokio::test(flavor = "multi_thread")]
async fn who_watches_makes_a_passkey_approves_twice_and_takes_back_in_the_browser() {
    let Some(browser) = Browser::start().await else { return };
    let room = tempfile::tempdir().unwrap();
    std::fs::set_permissions(room.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = countermand();
    let mut terminal =
        Terminal::start(command.args(["demo", "--browser"]).env("TMPDIR", room.path()));
    let shown = letters(&terminal.until("nothing gives another link [Enter] "));
    let link = shown.split_whitespace().find(|word| word.contains("/enter#")).unwrap();
    let origin = link.split_once("/enter").unwrap().0;
    let page = browser.page(origin.to_owned()).await;
    let _authenticator = page.authenticator().await;
    page.login(link).await;
    terminal.types("passkey of somebody else");
    terminal.until("that is not the line");
    terminal.types(&page.makes_passkey().await);
    terminal.until("let the agent try [Enter] ");
    terminal.types("");
    terminal.until("tries to approve it herself [Enter] ");
    terminal.types("");
    for after in ["meanwhile somebody adds table", "meanwhile 40 more invoices arrive"] {
        terminal.until("or reject");
        page.enters().await;
        page.open("/changes/1").await;
        page.signs("approve").await;
        page.said("is approved by bob").await;
        terminal.until(after);
    }
    terminal.until("bob: take it back");
    page.enters().await;
    page.open("/changes/1").await;
    page.signs("restore").await;
    terminal.until("every row hashes as before");
    let (code, rest) = terminal.end();
    assert!(code == 0 && rest.contains("Your own database"), "{code} {rest}");
    let left: Vec<_> = room.path().read_dir().unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
