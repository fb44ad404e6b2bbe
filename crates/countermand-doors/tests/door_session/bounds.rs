//! What is too much, and a session role that is.

use crate::raw::Raw;
use crate::stand::Stand;

/// A few messages can name a long text many times.
#[tokio::test]
async fn a_unit_is_at_most_32_mib() {
    let stand = Stand::up().await;
    let text = format!("delete from orders where note = '{}'", "x".repeat(1_000_000));
    for (times, code) in [(32, "CM001"), (34, "54000")] {
        let mut raw = Raw::connect(&stand).await;
        raw.parse("long", &text).sync();
        assert_eq!(raw.answers().await, ["1", "Z I"]);
        for _ in 0..times {
            raw.bind("", "long", &[]).execute("", 0);
        }
        let answers = raw.sync().answers().await;
        assert!(answers.contains(&format!("E {code}")), "{times}: {answers:?}");
        assert_eq!(answers.last().unwrap(), "Z I", "{times}: {answers:?}");
    }
    assert_eq!(stand.gate.changes(), 1);
    assert_eq!(stand.orders().await, "1000");
}

/// It could drop what it owns, whatever the door takes a statement for.
#[tokio::test]
async fn a_session_role_that_owns_something_serves_nobody() {
    let stand = Stand::up().await;
    for (make, remove, words) in [
        ("create schema mine authorization session_role", "drop schema mine", "owns schemas or"),
        (
            "create function mine() returns int language sql as 'select 1'; \
             alter function mine() owner to session_role",
            "drop function mine()",
            "owns schemas or functions",
        ),
        (
            "create table mine (a int); alter table mine owner to session_role",
            "drop table mine",
            "owns tables",
        ),
        ("grant shop_owner to session_role", "revoke shop_owner from session_role", "owns tables"),
        (
            "grant pg_signal_backend to session_role",
            "revoke pg_signal_backend from session_role",
            "built-in",
        ),
        ("alter role session_role superuser", "alter role session_role nosuperuser", "superuser"),
    ] {
        stand.truth(make).await;
        let refused = stand.psql("select 1").await;
        assert!(!refused.success, "{make}: {}", refused.stdout);
        assert!(refused.stderr.contains(words), "{make}: {}", refused.stderr);
        stand.truth(remove).await;
        let served = stand.psql("select 1").await;
        assert_eq!(served.stdout, "1\n", "{remove}: {}", served.stderr);
    }
}
