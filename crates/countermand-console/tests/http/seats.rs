//! Whose seat an approval fills.

use crate::client::seated;
use crate::passkeys::{refused, served_where, state, waiting};
use serde_json::json;

#[tokio::test]
async fn whoever_could_fill_several_seats_says_which_and_nobody_else_is_asked() {
    let served = served_where(&["bob", "carol"], seated).await;
    let number = waiting(&served, "billing").await;
    let (bob, carol) = (served.signer("bob").await, served.signer("carol").await);
    let path = format!("/changes/{number}");
    let page = bob.page(&path).await;
    for seat in ["dba", "security"] {
        let radio = format!("<input type=\"radio\" name=\"seat\" value=\"{seat}\" required>");
        assert!(page.contains(&radio), "{page}");
    }
    assert!(!carol.page(&path).await.contains("type=\"radio\""), "one seat is hers");
    let seen = bob.seen(number).await;
    let wanted =
        |seat: &str| json!({ "act": "approve", "change": number, "seen": seen, "seat": seat });
    let none = json!({ "act": "approve", "change": number, "seen": seen });
    refused(&bob.post("/api/v1/prepare", &none).await, "one human fills one seat");
    refused(&bob.post("/api/v1/prepare", &wanted("ops")).await, "not in group");
    let prepared = bob.prepared(&wanted("security")).await;
    assert!(prepared["said"].to_string().contains("[\"your seat\",\"security\"]"), "{prepared}");
    let prepared = bob.prepared(&wanted("dba")).await;
    assert_eq!(bob.submit(&prepared["statement"]).await.status, 200);
    assert!(!bob.page(&path).await.contains("type=\"radio\""), "he has a seat");
    assert_eq!(carol.decide("approve", number).await.status, 200);
    let approvals = state(&served, number).await.approvals;
    assert!(
        approvals[0].contains("bob (dba)") && approvals[1].contains("carol (security)"),
        "{approvals:?}"
    );
}
