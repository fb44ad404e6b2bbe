//! What is given up stops in the middle of a statement, on a real server.

use super::super::take_back::take_back;
use super::*;
use countermand_engine::target::TakeBack;
use std::sync::Arc;

/// Every row that goes takes a minute; the second table's code catches that it was cancelled.
const SLOW: &str = "
    CREATE SCHEMA shop;
    CREATE TABLE shop.slow (a int PRIMARY KEY); INSERT INTO shop.slow VALUES (1), (2);
    CREATE TABLE shop.deaf (a int PRIMARY KEY); INSERT INTO shop.deaf VALUES (1), (2);
    CREATE FUNCTION shop.sleep() RETURNS trigger LANGUAGE plpgsql AS
      'begin perform pg_sleep(60); return old; end';
    CREATE FUNCTION shop.sleep_on() RETURNS trigger LANGUAGE plpgsql AS
      'begin begin perform pg_sleep(60);
       exception when query_canceled then perform pg_sleep(60); end; return old; end';
    CREATE TRIGGER slow BEFORE DELETE ON shop.slow FOR EACH ROW EXECUTE FUNCTION shop.sleep();
    CREATE TRIGGER slow BEFORE DELETE ON shop.deaf FOR EACH ROW EXECUTE FUNCTION shop.sleep_on();
";
/// Connections of the gateway, and of its programs, that have something to do.
const ACTIVE: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'countermand' AND state = 'active'
      AND (wait_event = 'PgSleep' OR wait_event_type = 'Lock')";
/// All of them.
const THERE: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'countermand'";
/// Long before anything here would end by itself.
const SOON: Duration = Duration::from_secs(30);

impl Site {
    /// Until the server says this.
    async fn sees(&self, sql: &str, answer: &str) {
        let seen = async { while self.psql(sql).await != answer {} };
        tokio::time::timeout(SOON, seen).await.unwrap_or_else(|_| panic!("{sql}: never {answer}"));
    }

    /// Halts once something of the gateway's waits inside the server.
    fn halt(self: &Arc<Site>) -> Halt {
        let site = Arc::clone(self);
        Halt::when(async move {
            site.sees(ACTIVE, "1").await;
            "an incident".to_owned()
        })
    }
}

#[tokio::test]
async fn a_run_that_is_given_up_is_rolled_back_in_the_middle_of_a_statement() {
    let site = Arc::new(Site::start(SLOW).await);
    for table in ["shop.slow", "shop.deaf"] {
        let sql = format!("DELETE FROM {table} WHERE a < 3");
        let folder = table.replace('.', "-");
        let why = site.halt().unless(site.run(&sql, &folder)).await.err().unwrap();
        assert_eq!(why, "an incident");
        site.sees(THERE, "0").await;
        // Told to stop, or found that nobody is there any more; it did not end by itself.
        let log = site.server.log();
        let told = log.contains("canceling statement due to user request");
        assert!(told || log.contains("connection to client lost"), "{table}: {log}");
        assert_eq!(site.psql(&format!("SELECT count(*) FROM {table}")).await, "2");
        assert!(!site.folder(&folder).exists(), "rows were left behind");
    }
}

#[tokio::test]
async fn so_is_a_rehearsal() {
    let site = Arc::new(Site::start(SLOW).await);
    let rehearse = countermand_engine::target::Rehearse {
        payload: unit("DELETE FROM shop.slow WHERE a = 1").to_payload(),
        partner: "shop".parse().unwrap(),
    };
    site.halt().unless(site.target.practise(rehearse)).await.err().unwrap();
    site.sees(THERE, "0").await;
}

/// Whoever waits for a lock waits no more, and nobody waits behind them.
#[tokio::test]
async fn what_waits_for_a_lock_waits_no_more() {
    let mut site = Site::start(
        "CREATE SCHEMA shop; CREATE TABLE shop.t (a int PRIMARY KEY, n text);
        INSERT INTO shop.t SELECT g, 'x' FROM generate_series(1, 9) g",
    )
    .await;
    site.target.setup.lock_wait = Duration::from_secs(60);
    let site = Arc::new(site);
    let point = site.change("DELETE FROM shop.t WHERE a < 4", "a").await;
    let sql = "UPDATE shop.t SET n = 'y' WHERE a = 9";
    let written = site.wrote("shop.t", "a = 9", sql).await;
    let preview = site.preview("DELETE FROM shop.t WHERE a = 5").await.unwrap();
    let login = site.server.superuser();
    let other = tokio::spawn({
        let tools = site.server.tools().clone();
        let sql = "SET application_name TO other; BEGIN; LOCK TABLE shop.t; SELECT pg_sleep(600)";
        async move { crate::postgres::scratch::psql_as(&tools, &login, sql).await }
    });
    let held = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'other' AND query ~ 'pg_sleep' AND wait_event = 'PgSleep'";
    site.sees(held, "1").await;

    site.halt().unless(site.preview("DELETE FROM shop.t WHERE a = 6")).await.err().unwrap();
    site.sees(THERE, "0").await;
    let trial = site.target.trial(&preview, site.folder("trial"));
    site.halt().unless(trial).await.err().unwrap();
    site.sees(THERE, "0").await;
    let restore = Restore {
        change: ChangeNumber(7),
        folder: site.folder(&point.folder),
        restore_point: point,
        overwrite: false,
        halt: site.halt(),
    };
    let halted = super::super::restore::restore(&site.target, restore).await.unwrap_err();
    assert!(matches!(halted, TargetError::Halted(_)), "{halted:?}");
    site.sees(THERE, "0").await;
    let back = TakeBack { writes: vec![written], overwrite: false, halt: site.halt() };
    let halted = take_back(&site.target, back).await.unwrap_err();
    assert!(matches!(halted, TargetError::Halted(_)), "{halted:?}");
    site.sees(THERE, "0").await;
    site.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'other'",
    )
    .await;
    other.await.unwrap().unwrap();
    let rows = site.psql("SELECT string_agg(a || n, ' ' ORDER BY a) FROM shop.t").await;
    assert_eq!(rows, "4x 5x 6x 7x 8x 9y");
}
