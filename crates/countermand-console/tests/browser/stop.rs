//! What only stops, from the pages of what is stopped.

use crate::browser::Browser;
use crate::page::PHONE;
use crate::passkeys::Bob;

#[tokio::test]
async fn an_agent_is_frozen_let_run_again_and_revoked() {
    let Some(browser) = Browser::start().await else { return };
    let bob = Bob::new(&browser, false).await;
    bob.page.enters().await;
    bob.page.as_wide_as(PHONE).await;
    bob.page.open("/agents/bot").await;
    // Without a reason nothing is stopped.
    bob.page.click("form[data-act=freeze] button").await;
    bob.page.fill("form[data-act=freeze] textarea", "it loops").await;
    bob.page.click("form[data-act=freeze] button").await;
    told(&bob, "freeze", "agent bot is frozen").await;
    let (agent, target) = ("bot".parse().unwrap(), "prod".parse().unwrap());
    assert!(bob.served.world.engine.is_frozen(&agent, &target).is_some());
    bob.page.open("/status").await;
    bob.signs("thaw").await;
    bob.said("Done").await;
    assert!(bob.served.world.engine.freezes().borrow().is_empty());
    bob.page.open("/agents/bot").await;
    // One press revokes nothing.
    let hidden = "document.querySelector('form[data-act=revoke_agent] button').checkVisibility()";
    assert_eq!(bob.page.evaluate(hidden).await, false);
    bob.page.click("details:has(form[data-act=revoke_agent]) summary").await;
    bob.page.click("form[data-act=revoke_agent] button").await;
    told(&bob, "revoke_agent", "agent `bot` is revoked").await;
    assert!(bob.served.world.engine.open_session("bot", "prod", "psql", "local").await.is_err());
    bob.page.open("/targets/prod").await;
    bob.page.fill("form[data-act=freeze] textarea", "drill").await;
    bob.page.click("form[data-act=freeze] button").await;
    told(&bob, "freeze", "target prod is frozen").await;
    assert_eq!(bob.page.troubles().await, [""; 0]);
}

/// Waits until the form of this act says so.
async fn told(bob: &Bob, act: &str, words: &str) {
    let said = format!("document.querySelector('form[data-act={act}] [role=status]').innerText");
    bob.page.until(&format!("{said}.includes({words:?})")).await;
}
