//! Somebody writes all the time while changes run and are taken back.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const TIMES: usize = 100;

/// Inserts rows with numbers of their own, one transaction each, as fast as the server answers;
/// returns how many were acknowledged.
async fn write(site: &Site, stop: Arc<AtomicBool>, next: Arc<AtomicU64>) -> u64 {
    let mut setup = site.target.setup().clone();
    setup.lock_wait = Duration::from_secs(30);
    let mut client = PostgresTarget::new(setup).connect().await.unwrap();
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed).to_string();
        let sql = "INSERT INTO shop.t VALUES ($1::pg_catalog.int8)";
        client.query(sql, &[&number]).await.unwrap();
        acknowledged += 1;
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_lost_or_doubled_while_others_write() {
    let site = Site::start("CREATE SCHEMA shop; CREATE TABLE shop.t (a int8 PRIMARY KEY)").await;
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let write = write(&site, stop.clone(), next.clone());
    let changes = async {
        let mut interrupted = 0;
        for time in 0..TIMES {
            let sql =
                ["TRUNCATE shop.t", "DELETE FROM shop.t", "UPDATE shop.t SET a = -a"][time % 3];
            let unit = unit(sql);
            let preview = site.preview_unit(&unit).await.unwrap();
            let mut permit = site.permit(&unit, preview, &time.to_string());
            // How many rows there are by then is not what this is about.
            permit.ceiling.rows.get_mut("shop.t").unwrap().limit = u64::MAX;
            let waiting = super::super::run::run(&site.target, permit).await;
            let Ok(waiting) = waiting else {
                interrupted += 1;
                continue;
            };
            let before = waiting.restore_point.clone().unwrap().tables["shop.t"].rows;
            assert_eq!(waiting.measured().get("shop.t").copied().unwrap_or(0), before);
            let (token, point) = (waiting.token.clone(), waiting.restore_point.clone().unwrap());
            let ended = waiting.settle(commit(&token)).await;
            assert!(matches!(ended, Ended::Committed(_)), "{ended:?}");
            let restored = site.restore(&point, false).await.unwrap();
            assert!(restored.equal, "{sql}");
            if time % 10 == 9 {
                // Smaller again, so that a hundred times do not take a hundred times as long.
                let old = "WITH d AS (DELETE FROM shop.t RETURNING 1) INSERT INTO shop.kept SELECT count(*) FROM d";
                site.psql(old).await;
            }
        }
        stop.store(true, Ordering::Relaxed);
        interrupted
    };
    site.psql("CREATE TABLE shop.kept (n int8)").await;
    let (acknowledged, interrupted) = tokio::join!(write, changes);
    let left = site
        .psql("SELECT (SELECT count(*) FROM shop.t WHERE a >= 0) + (SELECT sum(n) FROM shop.kept)")
        .await;
    assert_eq!(left, acknowledged.to_string());
    assert!(interrupted < TIMES / 10, "{interrupted} of {TIMES} did not get their lock");
    assert!(acknowledged > 10 * TIMES as u64, "{acknowledged} rows are no crowd");
}
