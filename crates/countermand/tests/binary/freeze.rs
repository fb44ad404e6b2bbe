//! A freeze ends what runs in production, in the middle of a statement. Nothing here waits for a
//! time: it waits until the server itself says that something runs, or no longer does.

use crate::life::Life;

/// Rows that go or change take ten minutes each.
const SLOW: &str = "CREATE FUNCTION billing.sleep() RETURNS trigger LANGUAGE plpgsql AS
      'begin perform pg_sleep(600); return coalesce(new, old); end';
    CREATE TRIGGER slow BEFORE UPDATE OR DELETE ON billing.invoices
      FOR EACH ROW EXECUTE FUNCTION billing.sleep();
    GRANT SELECT, UPDATE, DELETE ON billing.invoices TO countermand_session;";

impl Life {
    /// Until as many statements of this role sleep in the server.
    async fn asleep(&self, role: &str, how_many: &str) {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE usename = 'countermand_{role}' AND wait_event = 'PgSleep'"
        );
        let seen = async { while self.server.psql(&sql).await.unwrap().trim() != how_many {} };
        let soon = std::time::Duration::from_secs(60);
        tokio::time::timeout(soon, seen).await.unwrap_or_else(|_| panic!("{role}: {how_many}"));
    }

    async fn freeze(&self, what: &[&str]) {
        let frozen = self.run(&[&["freeze"], what, &["--reason", "an incident"]].concat()).await;
        assert_eq!(frozen.code, 0, "{}", frozen.stderr);
    }

    /// Until the gateway has recorded how the first change ended, and says this of it.
    async fn recorded(&self, state: &str) -> serde_json::Value {
        let soon = std::time::Duration::from_secs(60);
        let seen = async {
            loop {
                let shown = self.shown().await;
                if shown["state"] == state {
                    break shown;
                }
            }
        };
        tokio::time::timeout(soon, seen).await.unwrap_or_else(|_| panic!("never {state}"))
    }

    /// Until nobody holds a lock on the table.
    async fn unlocked(&self) {
        let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'billing.invoices'::regclass";
        let soon = std::time::Duration::from_secs(60);
        let seen =
            async { while self.server.psql_in("shop", locks).await.unwrap().trim() != "0" {} };
        tokio::time::timeout(soon, seen).await.expect("it is still locked");
    }

    async fn untouched(&self) {
        let sql = "SELECT count(*) FROM billing.invoices WHERE note = 'note ' || id";
        assert_eq!(self.server.psql_in("shop", sql).await.unwrap().trim(), "1000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_is_cancelled_and_rolled_back_and_says_why() {
    let life = Life::begin().await;
    life.server.psql_in("shop", SLOW).await.unwrap();
    life.admit_bot().await;
    let held = life.psql("DELETE FROM billing.invoices").await;
    assert!(held.stderr.contains("held as change 1"), "{}", held.stderr);
    life.prepared().await;
    for (key, who) in [("bob", "bob"), ("mallory", "carol")] {
        let words = ["approve", "1", "--typed", "1 1000", "--as", who];
        let approved = life.sign(key, &words).await;
        assert_eq!(approved.code, 0, "{}", approved.stderr);
    }
    life.asleep("executor", "1").await;
    assert_eq!(life.shown().await["state"], "running");
    life.freeze(&["agent", "bot"]).await;
    life.asleep("executor", "0").await;
    let shown = life.recorded("held").await;
    assert_eq!(shown["executions"], 0);
    let history = shown["history"].to_string();
    assert!(history.contains("agent bot is frozen: an incident"), "{history}");
    assert!(history.contains("cancelled while it ran"), "{history}");
    life.untouched().await;
    life.unlocked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_own_statements_are_cancelled_and_the_next_is_refused() {
    let life = Life::begin().await;
    life.server.psql_in("shop", SLOW).await.unwrap();
    life.admit_bot().await;
    let reads = life.psql("SELECT pg_sleep(600)");
    let writes = life.psql("UPDATE billing.invoices SET note = 'x' WHERE id = 1");
    let freeze = async {
        life.asleep("session", "2").await;
        life.freeze(&["target", "shop"]).await;
        life.asleep("session", "0").await;
    };
    let (read, wrote, ()) = tokio::join!(reads, writes, freeze);
    for cut in [read, wrote, life.psql("SELECT 1").await] {
        assert!(!cut.success);
        assert!(cut.stderr.contains("target shop is frozen: an incident"), "{}", cut.stderr);
    }
    life.untouched().await;
}
