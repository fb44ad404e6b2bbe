//! In with a link, once, for a while.

use crate::client::Served;
use jiff::SignedDuration;

#[tokio::test]
async fn a_link_works_once_and_only_in_its_time() {
    let served = Served::new().await;
    let token = served.token("bob");
    let entered = served.enter(&token).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some("/")), "{entered:?}");
    let cookie = entered.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=3600"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(served.get("/", &entered.cookie()).await.body.contains("<b>bob</b>"));
    let again = served.enter(&token).await;
    assert_eq!((again.status, again.header("set-cookie")), (401, None), "{again:?}");
    let late = served.token("bob");
    served.world.clock.advance(SignedDuration::from_secs(300));
    assert_eq!(served.enter(&late).await.status, 401);
}

#[tokio::test]
async fn a_session_ends_after_an_hour_and_when_it_is_left() {
    let served = Served::new().await;
    let cookie = served.login("bob").await;
    served.world.clock.advance(SignedDuration::from_secs(3599));
    assert_eq!(served.get("/status", &cookie).await.status, 200);
    served.world.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(served.get("/status", &cookie).await.status, 303);
    let cookie = served.login("bob").await;
    let origin = format!("Origin: {}", served.origin());
    let left = served.ask("POST", "/leave", &[&origin, &format!("Cookie: {cookie}")], "").await;
    assert_eq!(left.status, 303);
    assert_eq!(served.get("/status", &cookie).await.status, 303);
}

#[tokio::test]
async fn a_login_makes_a_new_session_and_ends_the_one_before() {
    let served = Served::new().await;
    let first = served.login("bob").await;
    let origin = format!("Origin: {}", served.origin());
    let form = "Content-Type: application/x-www-form-urlencoded";
    let body = format!("token={}", served.token("bob"));
    let headers = [&origin, form, &format!("Cookie: {first}")];
    let second = served.ask("POST", "/enter", &headers, &body).await.cookie();
    assert_ne!(first, second);
    assert_eq!(served.get("/status", &first).await.status, 303);
    assert_eq!(served.get("/status", &second).await.status, 200);
}

#[tokio::test]
async fn who_guesses_is_told_to_wait_and_keeps_nobody_out() {
    let served = Served::new().await;
    for _ in 0..10 {
        assert_eq!(served.enter("guess").await.status, 401);
    }
    let more = served.enter("guess").await;
    assert_eq!(more.status, 429, "{more:?}");
    served.login("bob").await;
}

#[tokio::test]
async fn a_link_has_its_secret_where_no_server_is_told_of_it() {
    let served = Served::new().await;
    let (link, _) = served.links.make("bob".parse().unwrap());
    let (address, secret) = link.split_once('#').unwrap();
    assert_eq!(address, format!("{}/enter", served.origin()));
    assert_eq!(secret.len(), 43, "256 bits");
    let in_query = served.get(&format!("/enter?token={secret}"), "").await;
    assert_eq!((in_query.status, in_query.header("set-cookie")), (200, None));
}
