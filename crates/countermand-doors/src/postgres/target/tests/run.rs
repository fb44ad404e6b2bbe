//! A run sees, saves, changes and measures one and the same thing.

use super::*;
use countermand_core::change::Abort;
use countermand_engine::target::Fate;

async fn aborted(site: &Site, sql: &str, folder: &str) -> Aborted {
    match site.run(sql, folder).await {
        Ok(_) => panic!("{sql} ran"),
        Err(aborted) => aborted,
    }
}

#[tokio::test]
async fn a_drop_runs_is_measured_and_commits_only_with_its_own_permit() {
    let site = Site::start(ZOO).await;
    let waiting = site.run("DROP SCHEMA shop CASCADE", "a").await.unwrap();
    let measured: Vec<_> = waiting.measured().iter().map(|(t, n)| (t.as_str(), *n)).collect();
    let all = [
        ("shop.customers", 100),
        ("shop.orders", 1000),
        ("shop.parts_1", 100),
        ("shop.parts_2", 100),
    ];
    assert_eq!(measured, all);
    let point = waiting.restore_point.clone().unwrap();
    assert_eq!(point.tables["shop.orders"].rows, 1000);
    let token = waiting.token.clone();
    assert_eq!(site.target.fate(&token).await.unwrap(), Fate::InProgress);
    let other = CommitToken { transaction: "3".to_owned(), ..token.clone() };
    let ended = waiting.settle(commit(&other)).await;
    assert!(matches!(ended, Ended::RolledBack(_)), "{ended:?}");
    assert_eq!(site.target.fate(&token).await.unwrap(), Fate::RolledBack);
    assert_eq!(site.psql("SELECT count(*) FROM shop.orders").await, "1000");

    let waiting = site.run("DROP SCHEMA shop CASCADE", "b").await.unwrap();
    let token = waiting.token.clone();
    let ended = waiting.settle(commit(&token)).await;
    let Ended::Committed(outcome) = ended else { panic!("{ended:?}") };
    assert_eq!(outcome.said, ["DROP SCHEMA"]);
    assert_eq!(site.target.fate(&token).await.unwrap(), Fate::Committed);
    assert_eq!(site.psql("SELECT to_regclass('shop.orders') IS NULL").await, "t");
}

#[tokio::test]
async fn what_changed_since_the_preview_aborts() {
    let site = Site::start("CREATE SCHEMA shop; CREATE TABLE shop.t (a int)").await;
    let unit = unit("DROP SCHEMA shop CASCADE");
    let preview = site.preview_unit(&unit).await.unwrap();
    let run = |folder: &str| site.permit(&unit, preview.clone(), folder);
    site.psql("CREATE TABLE shop.u (a int)").await;
    let error = super::super::run::run(&site.target, run("a")).await.err().unwrap();
    assert_eq!(error.abort, Abort::IdentityChanged);
    assert!(error.why.contains("table shop.u was added"), "{}", error.why);
    site.psql("DROP TABLE shop.u; INSERT INTO shop.t SELECT generate_series(1, 101)").await;
    let error = super::super::run::run(&site.target, run("b")).await.err().unwrap();
    assert_eq!(error.abort, Abort::CeilingExceeded);
    site.psql("DELETE FROM shop.t WHERE a = 1").await;
    let waiting = super::super::run::run(&site.target, run("c")).await.unwrap();
    assert_eq!(waiting.measured()["shop.t"], 100, "within the headroom");
}
