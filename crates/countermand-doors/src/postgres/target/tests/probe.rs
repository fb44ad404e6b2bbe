//! What a probe may see and do.

use super::*;

const WITHIN: Duration = Duration::from_secs(5);

impl Site {
    /// A site whose session role is one that may read a table.
    async fn watched() -> Site {
        let mut site = Site::start(
            "CREATE ROLE agents LOGIN PASSWORD 'agents'; CREATE SCHEMA shop;
             CREATE TABLE shop.orders (id int, owner text);
             INSERT INTO shop.orders VALUES (1, 'agents'), (2, 'agents'), (3, 'others');
             CREATE TABLE shop.secrets (word text); CREATE SEQUENCE shop.numbers;
             CREATE TABLE shop.walled AS TABLE shop.orders;
             ALTER TABLE shop.walled ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON shop.walled USING (owner = current_user);
             GRANT USAGE ON SCHEMA shop TO agents; GRANT USAGE ON SEQUENCE shop.numbers TO agents;
             GRANT SELECT, INSERT, DELETE ON shop.orders, shop.walled TO agents",
        )
        .await;
        let secret = site.room.path().join("agents");
        std::fs::write(&secret, "agents").unwrap();
        site.target.setup.session =
            Login { user: "agents".to_owned(), secret: SecretRef::File(secret) };
        site
    }

    async fn asked(&self, sql: &str) -> Result<Option<String>, String> {
        self.target.probe(sql, WITHIN).await.map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn a_probe_answers_with_one_value_as_the_session_role_sees_it() {
    let site = Site::watched().await;
    for (sql, answer) in [
        ("SELECT count(*) FROM shop.orders", Some("3")),
        ("SELECT current_user;", Some("agents")),
        ("SELECT 1.50::numeric", Some("1.50")),
        ("SELECT NULL::int", None),
        ("SELECT count(*) FROM shop.walled", Some("2")),
        ("SHOW transaction_read_only", Some("on")),
    ] {
        assert_eq!(site.asked(sql).await, Ok(answer.map(str::to_owned)), "{sql}");
    }
}

#[tokio::test]
async fn a_probe_writes_nothing_and_what_is_not_one_value_is_no_answer() {
    let site = Site::watched().await;
    for (sql, why) in [
        ("INSERT INTO shop.orders VALUES (4, '') RETURNING id", "read-only transaction"),
        ("DELETE FROM shop.orders RETURNING id", "read-only transaction"),
        ("SELECT nextval('shop.numbers')", "read-only transaction"),
        ("COMMIT; DELETE FROM shop.orders", "multiple commands"),
        ("SELECT word FROM shop.secrets", "permission denied"),
        ("SELECT id FROM shop.orders", "more than one row"),
        ("SELECT id FROM shop.orders WHERE id = 9", "no row"),
        ("SELECT 1, 2", "2 columns"),
        ("COMMIT", "no row"),
        ("SELECT repeat('x', 100000)", "longer than"),
        ("SELECT FROM WHERE", "syntax error"),
        ("SELECT count(*) FROM orders", "does not exist"),
        ("COPY shop.orders FROM STDIN", "read-only transaction"),
    ] {
        let said = site.asked(sql).await.unwrap_err();
        assert!(said.contains(why), "{sql}: {said}");
    }
    assert_eq!(site.asked("SELECT count(*) FROM shop.orders").await, Ok(Some("3".to_owned())));
}

#[tokio::test]
async fn a_probe_that_takes_too_long_is_ended() {
    let site = Site::watched().await;
    let within = Duration::from_millis(100);
    let late = site.target.probe("SELECT pg_sleep(600)", within).await.unwrap_err().to_string();
    assert!(late.contains("statement timeout"), "{late}");
}
