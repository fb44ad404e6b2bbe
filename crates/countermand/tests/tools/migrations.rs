//! Migration tools: what adds, and what drops, is held as one whole; nothing is half applied.

use crate::python::run;
use crate::stage::Stage;

const ALEMBIC: &str = "python/migrate_alembic.py";
const DJANGO: &str = "python/migrate_django.py";
/// Everything about the tables, in words that are equal where they are.
pub(crate) const SHAPE: &str =
    "SELECT md5(string_agg(table_name || '.' || column_name || data_type, ',' ORDER BY 1))
    FROM (SELECT table_name::text, column_name::text, data_type::text
          FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2) c";
/// What the database's owner does once, so that agents may use what the executor makes.
pub(crate) const SHARED: &str = "ALTER DEFAULT PRIVILEGES FOR ROLE countermand_executor
        GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO countermand_session;
    ALTER DEFAULT PRIVILEGES FOR ROLE countermand_executor
        GRANT USAGE ON SEQUENCES TO countermand_session;
    ALTER DEFAULT PRIVILEGES FOR ROLE countermand_executor
        GRANT USAGE ON SCHEMAS TO countermand_session;";

#[tokio::test(flavor = "multi_thread")]
async fn an_alembic_migration_is_held_whole() {
    let stage = Stage::up("sql/shop.sql", "").await;
    let before = stage.truth(SHAPE).await;
    let Some(told) = run(&stage, ALEMBIC, &["0001"]).await else { return };
    assert!(!told.success, "{told:?}");
    assert!(told.stderr.contains("would postgres:CreateTable"), "{told:?}");
    assert!(told.stderr.contains("countermand propose FILE"), "{told:?}");
    assert_eq!(stage.truth(SHAPE).await, before);
    stage.nothing_held().await;

    // The way that the hint names: all of it is one change.
    let sql = run(&stage, ALEMBIC, &["0001", "--sql"]).await.unwrap().succeeded();
    let told = stage.propose(&sql).await;
    assert!(told.contains("held as change 1"), "{told}");
    let change = stage.changes().await.remove(0);
    for part in
        ["CREATE TABLE alembic_version", "CREATE TABLE shipments", "ADD COLUMN weight", "'0001'"]
    {
        assert!(change.payload.contains(part), "{part}: {}", change.payload);
    }
    assert_eq!(stage.truth(SHAPE).await, before);
    stage.as_owner(&sql).await;
    let added =
        "SELECT (SELECT version_num FROM alembic_version), to_regclass('shipments') IS NOT NULL";
    assert_eq!(stage.truth(added).await, "0001|t");

    // What drops runs up to there and not over it: the update before it is gone as well.
    let before = stage.truth(SHAPE).await;
    let told = run(&stage, ALEMBIC, &["0002"]).await.unwrap();
    assert!(told.stderr.contains("would postgres:DropColumn"), "{told:?}");
    let sql = run(&stage, ALEMBIC, &["0001:0002", "--sql"]).await.unwrap().succeeded();
    let told = stage.propose(&sql).await;
    assert!(told.contains("held as change 2"), "{told}");
    let change = stage.changes().await.remove(1);
    for part in ["UPDATE orders", "DROP COLUMN note", "DROP TABLE visits_2026", "'0002'"] {
        assert!(change.payload.contains(part), "{part}: {}", change.payload);
    }
    assert_eq!(stage.truth(SHAPE).await, before);
    assert_eq!(stage.truth("SELECT note FROM orders WHERE id = 1").await, "n1");
    stage.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_django_migration_is_held_whole_and_its_application_works() {
    let stage = Stage::up("sql/shop.sql", "").await;
    let before = stage.truth(SHAPE).await;
    let Some(told) = run(&stage, DJANGO, &["migrate"]).await else { return };
    assert!(!told.success, "{told:?}");
    assert!(told.stderr.contains("django_migrations"), "{told:?}");
    assert_eq!(stage.truth(SHAPE).await, before);

    let sql = run(&stage, DJANGO, &["sqlmigrate", "shipping", "0001"]).await.unwrap().succeeded();
    let told = stage.propose(&sql).await;
    assert!(told.contains("held as change"), "{told}");
    let change = stage.changes().await.pop().unwrap();
    for part in ["shipping_carrier", "shipping_parcel", "FOREIGN KEY"] {
        assert!(change.payload.contains(part), "{part}: {}", change.payload);
    }
    assert_eq!(stage.truth(SHAPE).await, before);
    stage.as_owner(&sql).await;
    let done = run(&stage, "python/use_django.py", &[]).await.unwrap().succeeded();
    assert!(done.contains("done"), "{done}");

    let sql = run(&stage, DJANGO, &["sqlmigrate", "shipping", "0002"]).await.unwrap().succeeded();
    let told = stage.propose(&sql).await;
    assert!(told.contains("held as change"), "{told}");
    let columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'sent'";
    assert_eq!(stage.truth(columns).await, "1");
    stage.down().await;
}
