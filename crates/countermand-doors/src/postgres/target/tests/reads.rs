//! What a signed condition reads is signed with it.

use super::*;
use countermand_core::change::Abort;

const READING: &str = "
    CREATE SCHEMA shop; CREATE SCHEMA other;
    CREATE TABLE shop.t (a int PRIMARY KEY); INSERT INTO shop.t SELECT generate_series(1, 1000);
    CREATE TABLE shop.r (a int, b text); INSERT INTO shop.r VALUES (1, 'x'), (2, NULL);
    CREATE TABLE shop.parent (a int) PARTITION BY LIST (a);
    CREATE TABLE shop.child PARTITION OF shop.parent DEFAULT; INSERT INTO shop.parent VALUES (3);
    CREATE VIEW shop.v AS SELECT a FROM shop.r; CREATE VIEW shop.w AS TABLE shop.v;
    CREATE MATERIALIZED VIEW shop.m AS SELECT a FROM shop.r;
    CREATE TABLE shop.unread (a int);
";

/// The unit of a text, signed as things are.
async fn signed(site: &Site, sql: &str) -> (Unit, Preview) {
    let unit = unit(sql);
    let preview = site.preview_unit(&unit).await.unwrap();
    (unit, preview)
}

async fn run(site: &Site, signed: &(Unit, Preview), folder: &str) -> Result<Waiting, Aborted> {
    let permit = site.permit(&signed.0, signed.1.clone(), folder);
    super::super::run::run(&site.target, permit).await
}

async fn rolled_back(waiting: Waiting) {
    assert!(matches!(waiting.settle(None).await, Ended::RolledBack(_)));
}

/// Inside of the signed counts, and about other rows.
#[tokio::test]
async fn whoever_writes_where_a_condition_reads_voids_the_signature() {
    let site = Site::start(READING).await;
    for (number, (sql, change)) in [
        ("DELETE FROM t WHERE a IN (SELECT a FROM r)", "INSERT INTO shop.r VALUES (7)"),
        ("DELETE FROM t WHERE a IN (SELECT a FROM r)", "UPDATE shop.r SET b = 'y' WHERE a = 1"),
        ("DELETE FROM t WHERE a IN (SELECT a FROM r)", "DELETE FROM shop.r WHERE a = 2"),
        ("DELETE FROM t USING r WHERE r.a = t.a", "INSERT INTO shop.r VALUES (8)"),
        ("UPDATE t SET a = -t.a FROM r WHERE r.a = t.a", "INSERT INTO shop.r VALUES (9)"),
        ("UPDATE t SET a = (SELECT -max(a) FROM r) WHERE a = 1", "INSERT INTO shop.r VALUES (10)"),
        (
            "MERGE INTO t USING r ON r.a = t.a WHEN MATCHED THEN DELETE",
            "INSERT INTO shop.r VALUES (11)",
        ),
        (
            "WITH c AS (SELECT a FROM r) DELETE FROM t USING c WHERE c.a = t.a",
            "INSERT INTO shop.r VALUES (12)",
        ),
        (
            "WITH d AS (DELETE FROM t WHERE a IN (TABLE w) RETURNING a) SELECT * FROM d",
            "INSERT INTO shop.r VALUES (13)",
        ),
        ("DELETE FROM t WHERE a IN (SELECT a FROM w)", "INSERT INTO shop.r VALUES (14)"),
        (
            "DELETE FROM t WHERE a IN (SELECT a FROM w)",
            "CREATE OR REPLACE VIEW shop.v AS SELECT a + 1 AS a FROM shop.r",
        ),
        ("DELETE FROM t WHERE a IN (SELECT a FROM m)", "REFRESH MATERIALIZED VIEW shop.m"),
        ("DELETE FROM t WHERE a IN (SELECT a FROM parent)", "INSERT INTO shop.parent VALUES (4)"),
        (
            "DELETE FROM t WHERE a < (SELECT avg(a) FROM t)",
            "UPDATE shop.t SET a = 5000 WHERE a = 5",
        ),
        (
            "DROP TABLE unread;\nINSERT INTO t SELECT a + 9000 FROM r",
            "INSERT INTO shop.r VALUES (15)",
        ),
        (
            "CREATE VIEW z AS TABLE r;\nDELETE FROM t WHERE a IN (SELECT a FROM z)",
            "INSERT INTO shop.r VALUES (16)",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let signed = signed(&site, sql).await;
        let waiting = run(&site, &signed, &format!("{number}.a")).await;
        rolled_back(waiting.unwrap_or_else(|aborted| panic!("{sql}: {}", aborted.why))).await;
        site.psql(change).await;
        let error = run(&site, &signed, &format!("{number}.b")).await.err();
        let error = error.unwrap_or_else(|| panic!("{sql} ran after {change}"));
        assert_eq!(error.abort, Abort::IdentityChanged, "{sql}: {}", error.why);
        assert!(error.why.contains("is read, and was"), "{sql}: {}", error.why);
    }
}

#[tokio::test]
async fn what_is_not_read_may_change() {
    let site = Site::start(READING).await;
    for (number, sql) in [
        "DELETE FROM t WHERE a IN (SELECT a FROM r)",
        "SELECT * FROM unread;\nDELETE FROM t WHERE a = 1",
        "DELETE FROM t WHERE a IN (SELECT a FROM r);\nTABLE unread",
        "CREATE VIEW z AS TABLE unread;\nDELETE FROM t WHERE a = 1",
        "CREATE TABLE z AS TABLE r;\nDELETE FROM t WHERE a IN (SELECT a FROM z)",
    ]
    .into_iter()
    .enumerate()
    {
        let signed = signed(&site, sql).await;
        site.psql("INSERT INTO shop.unread VALUES (1)").await;
        let waiting = run(&site, &signed, &number.to_string()).await;
        rolled_back(waiting.unwrap_or_else(|aborted| panic!("{sql}: {}", aborted.why))).await;
    }
}

/// No writer waits for it, and none is seen: the rows are those of the digest.
#[tokio::test]
async fn the_rows_that_are_read_are_those_that_were_compared() {
    let site = Site::start(READING).await;
    let (unit, preview) = signed(&site, "DELETE FROM t WHERE a IN (SELECT a FROM r)").await;
    let permit = site.permit(&unit, preview, "a");
    let attempt = super::super::run::Attempt::begin(&site.target, &permit).await.unwrap();
    let between = async {
        site.psql("SET lock_timeout = '1s'; INSERT INTO shop.r VALUES (50)").await;
        let refused = site.server.psql("SET lock_timeout = '1s'; TRUNCATE shop.r").await;
        assert!(refused.is_err(), "TRUNCATE is seen by every snapshot");
        let view = "SET lock_timeout = '1s'; ALTER TABLE shop.r RENAME TO elsewhere";
        assert!(site.server.psql(view).await.is_err());
    };
    let executed = attempt.execute_after(&permit, between).await;
    let executed = executed.unwrap_or_else(|aborted| panic!("{}", aborted.why));
    assert_eq!(executed.measured()["shop.t"], 2);
}

/// A policy's own questions are asked with every statement that it guards.
#[tokio::test]
async fn what_policies_and_rules_read_is_read() {
    let site = Site::start(&format!(
        "{READING} ALTER TABLE shop.t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON shop.t USING (a IN (SELECT a FROM shop.r));
         CREATE TABLE shop.ruled (a int); CREATE TABLE shop.log (a int);
         CREATE RULE also AS ON DELETE TO shop.ruled DO ALSO
           INSERT INTO shop.log SELECT a FROM shop.unread"
    ))
    .await;
    for (number, (sql, read)) in [
        ("DELETE FROM t WHERE a = 1", "table shop.r"),
        ("DELETE FROM ruled WHERE a = 1", "table shop.unread"),
    ]
    .into_iter()
    .enumerate()
    {
        let signed = signed(&site, sql).await;
        assert!(signed.1.identity.reads.contains_key(read), "{sql}: {:?}", signed.1.identity.reads);
        let waiting = run(&site, &signed, &number.to_string()).await;
        rolled_back(waiting.unwrap_or_else(|aborted| panic!("{sql}: {}", aborted.why))).await;
    }
}

/// Code moves a name where no text shows it.
#[tokio::test]
async fn the_server_itself_says_what_is_read() {
    let site = Site::start(READING).await;
    let rename =
        "DO 'begin alter table shop.r rename to q; alter table shop.unread rename to r; end'";
    let sql = format!("{rename};\nDELETE FROM t WHERE a IN (SELECT a FROM r)");
    let signed = signed(&site, &sql).await;
    let error = run(&site, &signed, "a").await.err().unwrap();
    assert_eq!(error.abort, Abort::IdentityChanged, "{}", error.why);
    assert_eq!(error.why, "it reads shop.r, which was not foreseen");
}

#[tokio::test]
async fn what_nobody_could_sign_is_refused_with_a_remedy() {
    let mut site = Site::start(&format!(
        "{READING} CREATE SEQUENCE shop.s;
         CREATE VIEW shop.sly AS SELECT count(*)::int AS a FROM pg_catalog.pg_class"
    ))
    .await;
    for (sql, words) in [
        ("DELETE FROM t WHERE a IN (SELECT pid FROM pg_stat_activity)", "the server's own"),
        (
            "DELETE FROM t WHERE a IN (SELECT count(*) FROM information_schema.tables)",
            "the server's",
        ),
        ("DELETE FROM t WHERE a IN (SELECT a FROM sly)", "reads `pg_catalog.pg_class`"),
        ("DELETE FROM t WHERE a IN (SELECT last_value FROM s)", "a sequence"),
        ("DELETE FROM t WHERE a IN (SELECT a FROM nowhere)", "does not exist"),
        (
            "ALTER TABLE r RENAME TO q;\nDELETE FROM t WHERE a IN (SELECT a FROM q)",
            "separate changes",
        ),
    ] {
        let error = site.preview(sql).await.unwrap_err().to_string();
        assert!(error.contains(words), "{sql}: {error}");
    }
    site.psql("INSERT INTO shop.r SELECT g, repeat('x', 1000) FROM generate_series(1, 200000) g")
        .await;
    site.target.setup.statement_timeout = Duration::from_millis(50);
    let sql = "INSERT INTO t SELECT a FROM r WHERE false;\nDROP TABLE unread";
    let error = site.preview(sql).await.unwrap_err().to_string();
    assert!(error.contains("too large to be looked through"), "{error}");
}

/// Two tables with other rows have other digests, in whatever order the rows lie.
#[tokio::test]
async fn a_digest_is_of_the_rows_and_not_of_their_places() {
    let site = Site::start(READING).await;
    let sql = "DELETE FROM t WHERE a IN (SELECT a FROM r)";
    let digest = async || site.preview(sql).await.unwrap().identity.reads["table shop.r"];
    let first = digest().await;
    site.psql("BEGIN; CREATE TEMP TABLE c AS TABLE shop.r ORDER BY a DESC; TRUNCATE shop.r; INSERT INTO shop.r TABLE c; COMMIT").await;
    assert_eq!(digest().await, first);
    let mut seen = std::collections::BTreeSet::from([first]);
    for change in [
        "INSERT INTO shop.r VALUES (2, NULL)",
        "UPDATE shop.r SET b = '' WHERE a = 2",
        "UPDATE shop.r SET b = NULL, a = NULL WHERE a = 2",
        "TRUNCATE shop.r",
        "INSERT INTO shop.r VALUES (NULL, NULL)",
        "ALTER TABLE shop.r ADD COLUMN c int",
    ] {
        site.psql(change).await;
        assert!(seen.insert(digest().await), "{change}");
    }
}
