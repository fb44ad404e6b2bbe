//! Somebody writes all the time while changes run and are taken back.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const TIMES: usize = 100;
/// Of them, how often it is also taken back.
const BACK: usize = 30;
/// Rows in one transaction of the writer.
const TOGETHER: u64 = 25;

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
        for time in 0..BACK {
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
            let before = waiting.restore_point().unwrap().tables["shop.t"].rows;
            assert_eq!(waiting.measured().get("shop.t").copied().unwrap_or(0), before);
            let (token, point) = (waiting.token.clone(), waiting.restore_point().unwrap());
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
    assert!(interrupted < BACK / 10, "{interrupted} of {BACK} did not get their lock");
    assert!(acknowledged > 10 * BACK as u64, "{acknowledged} rows are no crowd");
}

/// Writes rows with numbers of their own until told to stop, some in each transaction; what is
/// refused is sent again. Returns how many were acknowledged.
async fn write_on(site: &Site, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    let mut setup = site.target.setup().clone();
    setup.lock_wait = Duration::from_secs(30);
    let mut client = PostgresTarget::new(setup).connect().await.unwrap();
    let sql = format!(
        "INSERT INTO shop.t SELECT $1::pg_catalog.int8 + g
         FROM pg_catalog.generate_series(1, {TOGETHER}) g"
    );
    while !stop.load(Ordering::Relaxed) {
        let first = done.load(Ordering::Relaxed).to_string();
        match client.query(&sql, &[&first]).await {
            Ok(_) => done.fetch_add(TOGETHER, Ordering::Relaxed),
            // The table it had found is another one by now.
            Err(super::super::client::ClientError::Server { code, .. })
                if matches!(code.as_str(), "42P01" | "XX000") =>
            {
                continue;
            }
            Err(error) => panic!("{error}"),
        };
    }
}

/// Every row that was acknowledged is in a restore point or in the table, whatever was dropped
/// while it was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rows_a_second_outlive_a_hundred_drops() {
    let site = Site::start("CREATE SCHEMA shop; CREATE TABLE shop.t (a int8 PRIMARY KEY)").await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let write = write_on(&site, stop.clone(), done.clone());
    let began = std::time::Instant::now();
    let drops = async {
        let (mut saved, mut dropped) = (0, 0);
        for time in 0..2 * TIMES {
            let unit = unit("DROP TABLE shop.t;\nCREATE TABLE shop.t (a int8 PRIMARY KEY)");
            let preview = site.preview_unit(&unit).await.unwrap();
            let mut permit = site.permit(&unit, preview, &time.to_string());
            // How many rows there are by then is not what this is about.
            permit.ceiling.rows.get_mut("shop.t").unwrap().limit = u64::MAX;
            let Ok(waiting) = super::super::run::run(&site.target, permit).await else { continue };
            let rows = waiting.restore_point().unwrap().tables["shop.t"].rows;
            let token = waiting.token.clone();
            let ended = waiting.settle(commit(&token)).await;
            assert!(matches!(ended, Ended::Committed(_)), "{ended:?}");
            (saved, dropped) = (saved + rows, dropped + 1);
            if dropped == TIMES {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        (saved, dropped)
    };
    let ((), (saved, dropped)) = tokio::join!(write, drops);
    let written = done.load(Ordering::Relaxed);
    let rate = written as f64 / began.elapsed().as_secs_f64();
    let left: u64 = site.psql("SELECT count(*) FROM shop.t").await.parse().unwrap();
    assert_eq!(saved + left, written, "{dropped} times");
    assert_eq!(dropped, TIMES);
    assert!(saved > 0 && rate >= 1000.0, "{rate:.0} rows a second are no crowd");
}

/// A lock that a writer waits for at all is an error of the writer's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_of_a_large_table_keeps_no_writer_waiting() {
    let site = Site::start(
        "CREATE SCHEMA shop; CREATE TABLE shop.t (a int8 PRIMARY KEY);
         INSERT INTO shop.t SELECT -g FROM generate_series(1, 400000) g",
    )
    .await;
    let mut setup = site.target.setup().clone();
    setup.lock_wait = Duration::from_millis(10);
    let mut writer = PostgresTarget::new(setup).connect().await.unwrap();
    let previewing = Arc::new(AtomicBool::new(true));
    let writes = async {
        let mut written = 0_u64;
        while previewing.load(Ordering::Relaxed) {
            let number = written.to_string();
            writer
                .query("INSERT INTO shop.t VALUES ($1::pg_catalog.int8)", &[&number])
                .await
                .unwrap();
            written += 1;
        }
        written
    };
    let previews = async {
        for sql in ["DROP TABLE t", "DELETE FROM t WHERE a < (SELECT avg(a) FROM t)"] {
            let preview = site.preview(sql).await.unwrap();
            assert!(preview.ceiling.rows["shop.t"].measured > 100_000, "{sql}");
        }
        previewing.store(false, Ordering::Relaxed);
    };
    let (written, ()) = tokio::join!(writes, previews);
    assert!(written > 10, "{written} rows were written meanwhile");
}
