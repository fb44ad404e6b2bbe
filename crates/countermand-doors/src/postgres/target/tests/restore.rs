//! What a change took comes back, exactly.

use super::*;

const TABLES: [&str; 6] =
    ["shop.customers", "shop.orders", "shop.parts", "other.refs", "other.plain", "other.mv"];

#[tokio::test]
async fn a_dropped_schema_comes_back_with_everything_that_went_along() {
    let site = Site::start(ZOO).await;
    let (schema, rows) = (site.schema().await, site.rows(&TABLES).await);
    let point = site.change("DROP SCHEMA shop CASCADE;\nCREATE SCHEMA shop", "a").await;
    assert_ne!(site.schema().await, schema);
    let plan = site.target.plan_restore(site.folder("a"), &point).await.unwrap();
    assert!(plan.conflicts.is_empty(), "{:?}", plan.conflicts);
    assert_eq!(plan.rows["shop.orders"], 1000);
    let restored = site.restore(&point, false).await.unwrap();
    assert!(restored.equal && restored.overwritten.is_empty());
    similar(&site.schema().await, &schema);
    similar(&site.rows(&TABLES).await, &rows);
    assert_eq!(site.psql("SELECT last_value FROM shop.orders_id_seq").await, "1000");

    let again = site.restore(&point, false).await.unwrap_err().to_string();
    assert!(again.contains("table shop.orders exists now, with 1000 rows"), "{again}");
    let over = site.restore(&point, true).await;
    println!("{over:?}");
    similar(&site.rows(&TABLES).await, &rows);
}

#[track_caller]
fn similar(left: &str, right: &str) {
    let only = |a: &str, b: &str| {
        let there: std::collections::BTreeSet<&str> = b.lines().collect();
        a.lines().filter(|line| !there.contains(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((only(left, right), only(right, left)), (vec![], vec![]));
    assert_eq!(left, right);
}

#[tokio::test]
async fn rows_come_back_into_a_table_that_stayed() {
    let site = Site::start(ZOO).await;
    let rows = site.rows(&TABLES).await;
    for (folder, sql) in [
        ("truncate", "TRUNCATE shop.customers CASCADE"),
        ("delete", "DELETE FROM shop.customers WHERE id < 10"),
        ("update", "UPDATE shop.orders SET n = 7, customer = NULL WHERE id > 500"),
        ("plain", "DELETE FROM other.plain"),
    ] {
        let point = site.change(sql, folder).await;
        assert_ne!(site.rows(&TABLES).await, rows, "{sql}");
        let restored = site.restore(&point, false).await.unwrap();
        assert!(restored.equal, "{sql}");
        similar(&site.rows(&TABLES).await, &rows);
        site.restore(&point, false).await.unwrap();
        similar(&site.rows(&TABLES).await, &rows);
    }
}
