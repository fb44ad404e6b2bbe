//! What a preview says, and that nobody waits for it.

use super::*;
use countermand_core::radius::Fate;

fn rows(preview: &Preview) -> Vec<(&str, u64, u64)> {
    let rows = preview.ceiling.rows.iter();
    rows.map(|(table, row)| (table.as_str(), row.measured, row.limit)).collect()
}

fn nodes(preview: &Preview, fate: Fate) -> Vec<String> {
    let nodes = preview.radius.nodes.iter().filter(|node| node.fate == fate);
    nodes.map(|node| node.object.to_string()).collect()
}

#[tokio::test]
async fn a_dropped_schema_with_all_that_goes_along() {
    let site = Site::start(ZOO).await;
    let preview = site.preview("DROP SCHEMA shop CASCADE").await.unwrap();
    let lost = nodes(&preview, Fate::Lost);
    assert_eq!(lost[0], "schema shop");
    for object in [
        "function other.atomic()",
        "materialized view other.mv",
        "sequence shop.customers_id_seq",
        "table shop.parts_2",
        "table constraint refs_customer_fkey on other.refs",
        "type shop.mood",
        "view other.v",
    ] {
        assert!(lost.iter().any(|name| name == object), "{object}: {lost:?}");
    }
    assert_eq!(lost.len(), 23, "{lost:?}");
    assert_eq!(nodes(&preview, Fate::Dangling), ["function other.stringy()"]);
    let measured: Vec<_> = rows(&preview).iter().map(|(table, n, _)| (*table, *n)).collect();
    assert_eq!(measured, ALL);
    assert_eq!(preview.radius.roots().count(), 1);
    assert_eq!(preview.identity.tags["table shop.orders"], ["critical".to_owned()].into());
    assert_eq!(preview.reversibility, Reversibility::Restorable);
    let edge = |from: &str, to: &str| {
        let nodes = &preview.radius.nodes;
        let found =
            preview.radius.edges.iter().find(|edge| {
                nodes[edge.from].object.name == from && nodes[edge.to].object.name == to
            });
        found.map(|edge| edge.why.as_str())
    };
    assert_eq!(edge("shop", "shop.orders"), Some("contains"));
    assert_eq!(edge("shop.customers", "shop.orders"), Some("foreign key"));
    assert_eq!(edge("shop.customers", "other.stringy()"), Some("named in the body of"));
    assert_eq!(edge("shop.orders", "shop.customers"), None);
    let same = site.preview("DROP SCHEMA shop CASCADE").await.unwrap();
    assert_eq!(same, preview);
}

#[tokio::test]
async fn a_preview_takes_nothing_that_anybody_waits_for() {
    let site = Site::start(ZOO).await;
    let mut client = site.target.connect().await.unwrap();
    let pid = client.query("SELECT pg_catalog.pg_backend_pid()", &[]).await.unwrap();
    let pid = pid[0][0].clone().unwrap();
    for sql in [
        "DROP SCHEMA shop CASCADE",
        "DELETE FROM shop.customers WHERE id = 1",
        "TRUNCATE shop.customers CASCADE",
    ] {
        let unit = unit(sql);
        let reading = super::super::preview::read(&unit).unwrap();
        let steps = super::super::steps::of(&unit).await.unwrap();
        client.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.unwrap();
        let depth = super::super::survey::Depth::Counted;
        super::super::survey::survey(&mut client, &unit, &steps, &reading.actions, depth)
            .await
            .unwrap();
        let modes = format!(
            "SELECT string_agg(DISTINCT mode, ',') FROM pg_locks WHERE pid = {pid} AND locktype = 'relation'"
        );
        assert_eq!(site.psql(&modes).await, "AccessShareLock", "{sql}");
        client.batch("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn rows_are_counted_by_the_condition_and_along_foreign_keys() {
    let site = Site::start(ZOO).await;
    let preview = site.preview("DELETE FROM customers c WHERE c.id = 5").await.unwrap();
    assert_eq!(
        rows(&preview),
        [("other.refs", 1, 101), ("shop.customers", 1, 1), ("shop.orders", 10, 110)]
    );
    assert_eq!(nodes(&preview, Fate::Changed), ["table other.refs"]);
    let preview = site.preview("DELETE FROM shop.customers WHERE id <= 10").await.unwrap();
    assert_eq!(rows(&preview)[1], ("shop.customers", 10, 110));
    assert_eq!(rows(&preview)[2].1, 100);

    let keyed = with_parameters(unit("UPDATE shop.orders SET at = now() WHERE id = $1"), &["7"]);
    let preview = site.preview_unit(&keyed).await.unwrap();
    assert_eq!(rows(&preview), [("shop.orders", 1, 1)]);
    let within = "DELETE FROM orders WHERE id IN (SELECT id FROM other.refs WHERE id < 4)";
    assert_eq!(rows(&site.preview(within).await.unwrap()), [("shop.orders", 3, 103)]);
    let preview = site.preview("UPDATE shop.parts SET id = id + 1000 WHERE k = 1").await.unwrap();
    assert_eq!(rows(&preview)[0].1, 100);
    assert_eq!(rows(&preview)[1].1, 0, "the other partition");
    // What counting cannot read without running it may be any row.
    for sql in [
        "DELETE FROM shop.orders WHERE id = other.stringy()",
        "DELETE FROM shop.orders WHERE id IN (SELECT id FROM odd)",
        "DELETE FROM shop.orders o USING other.refs r WHERE o.id = r.id",
        "WITH d AS (DELETE FROM shop.orders WHERE id = 1 RETURNING 1) SELECT * FROM d",
    ] {
        assert_eq!(rows(&site.preview(sql).await.unwrap())[0].1, 1000, "{sql}");
    }
    let all = site.preview("TRUNCATE shop.customers CASCADE").await.unwrap();
    let counts: Vec<_> = rows(&all).iter().map(|(table, n, _)| (*table, *n)).collect();
    assert_eq!(counts, [("other.refs", 50), ("shop.customers", 100), ("shop.orders", 1000)]);
}

#[tokio::test]
async fn later_statements_meet_what_earlier_ones_leave() {
    let site = Site::start(ZOO).await;
    let unit = "DROP SCHEMA shop CASCADE;\nCREATE SCHEMA shop;\nCREATE TABLE shop.orders (a int);\n\
                ALTER TABLE shop.orders DROP COLUMN a;\nDROP TABLE shop.orders";
    let alone = site.preview("DROP SCHEMA shop CASCADE").await.unwrap();
    let preview = site.preview(unit).await.unwrap();
    assert_eq!(preview.ceiling, alone.ceiling);
    assert_eq!(nodes(&preview, Fate::Lost), nodes(&alone, Fate::Lost));
    let only =
        site.preview("CREATE TABLE fresh (a int);\nINSERT INTO fresh VALUES (1)").await.unwrap();
    assert!(only.ceiling.rows.is_empty() && only.radius.nodes.is_empty(), "{:?}", only.radius);
    let only = site.preview("CREATE TABLE fresh (a int);\nTRUNCATE fresh").await.unwrap();
    assert!(only.ceiling.rows.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_servers_words() {
    let site = Site::start(ZOO).await;
    let refused = async |sql: &str| match site.preview(sql).await {
        Err(TargetError::Refused { code, message }) => format!("{code} {message}"),
        other => panic!("{sql}: {other:?}"),
    };
    assert_eq!(refused("DROP TABLE nope").await, "42P01 table \"nope\" does not exist");
    assert_eq!(refused("DROP SCHEMA nope CASCADE").await, "3F000 schema \"nope\" does not exist");
    assert!(refused("TRUNCATE nope").await.starts_with("42P01 relation \"nope\" does not exist"));
    assert!(refused("DROP VIEW shop.orders").await.contains("is not a view"));
    assert!(refused("DROP TABLE shop.customers").await.starts_with("2BP01 cannot drop table"));
    assert!(refused("TRUNCATE shop.customers").await.starts_with("0A000"));
    let fine = site.preview("DROP TABLE IF EXISTS nope, other.plain").await.unwrap();
    assert_eq!(nodes(&fine, Fate::Lost), ["table other.plain"]);
    let both = site.preview("DROP TABLE shop.parts_1, shop.parts").await.unwrap();
    assert_eq!(both.radius.roots().count(), 2);
    for sql in ["COMMIT", "VACUUM shop.orders", "DELETE FROM other.v"] {
        let error = site.preview(sql).await.unwrap_err();
        assert!(matches!(error, TargetError::CannotJudge(_)), "{sql}: {error}");
    }
}

#[tokio::test]
async fn what_a_restore_point_cannot_hold_is_said_in_words() {
    let site = Site::start(ZOO).await;
    for (sql, words) in [
        ("DROP TYPE shop.mood CASCADE", "goes out of a relation that stays"),
        ("ALTER TABLE shop.customers DROP COLUMN doc", "removes a column"),
        ("DROP ROLE reader", "removes roles"),
    ] {
        let preview = site.preview(sql).await.unwrap();
        let Reversibility::CannotBeTakenBack(why) = &preview.reversibility else {
            panic!("{sql}: {:?}", preview.reversibility)
        };
        assert!(why.contains(words), "{sql}: {why}");
    }
    let preview = site.preview("ALTER TABLE shop.customers DROP COLUMN doc").await.unwrap();
    assert_eq!(rows(&preview), [("shop.customers", 100, 200)]);
}

#[tokio::test]
async fn a_lock_beyond_its_budget_makes_what_stays_unavailable() {
    let mut site = Site::start(ZOO).await;
    let sql = "DELETE FROM shop.orders WHERE id = 1";
    let preview = site.preview(sql).await.unwrap();
    let lock = &preview.radius.locks[0];
    assert_eq!((lock.mode.as_str(), lock.blocks.as_str()), ("SHARE ROW EXCLUSIVE", "writes"));
    assert!(!preview.unavailable);
    site.target.setup.lock_hold = Duration::from_millis(1);
    assert!(site.preview(sql).await.unwrap().unavailable);
    let gone = site.preview("DROP TABLE shop.odd").await.unwrap();
    assert!(!gone.unavailable, "what is lost is more than unavailable");
}

/// The agent is told the count: as the executor it would answer questions about what the agent
/// must not read.
#[tokio::test]
async fn a_condition_is_counted_with_the_agents_eyes_or_not_at_all() {
    let mut site = Site::start(
        "CREATE ROLE agents; CREATE SCHEMA vault; CREATE TABLE vault.words (word text);
         INSERT INTO vault.words VALUES ('sesame'), ('open'), ('shut');
         GRANT USAGE ON SCHEMA vault TO agents",
    )
    .await;
    site.target.setup.session.user = "agents".to_owned();
    let guess = "DELETE FROM vault.words WHERE word LIKE 's%'";
    let blind = site.preview(guess).await.unwrap();
    assert_eq!(blind.ceiling.rows["vault.words"].measured, 3, "the count tells what is there");
    site.server.psql("GRANT SELECT ON vault.words TO agents").await.unwrap();
    let seen = site.preview(guess).await.unwrap();
    assert_eq!(seen.ceiling.rows["vault.words"].measured, 2);
}
