//! A run sees, saves, changes and measures one and the same thing.

use super::super::client::ClientError;
use super::*;
use countermand_core::change::Abort;
use countermand_engine::target::{Fate, Rehearse};

async fn aborted(site: &Site, sql: &str, folder: &str) -> (Abort, String) {
    match site.run(sql, folder).await {
        Ok(_) => panic!("{sql} ran"),
        Err(aborted) => (aborted.abort, aborted.why),
    }
}

#[tokio::test]
async fn a_drop_runs_is_measured_and_commits_only_with_its_own_permit() {
    let site = Site::start(ZOO).await;
    let waiting = site.run("DROP SCHEMA shop CASCADE", "a").await.unwrap();
    let measured: Vec<_> = waiting.measured().iter().map(|(t, n)| (t.as_str(), *n)).collect();
    assert_eq!(measured, ALL);
    let point = waiting.restore_point().unwrap();
    assert_eq!(point.tables["shop.orders"].rows, 1000);
    let token = waiting.token.clone();
    assert_eq!(site.target.fate(&token).await.unwrap(), Fate::InProgress);
    let other = CommitToken { transaction: "3".to_owned(), ..token.clone() };
    assert!(site.folder("a").exists());
    let ended = waiting.settle(commit(&other)).await;
    assert!(matches!(ended, Ended::RolledBack(_)), "{ended:?}");
    assert!(!site.folder("a").exists(), "rows of production were left behind");
    assert_eq!(site.target.fate(&token).await.unwrap(), Fate::RolledBack);
    assert_eq!(site.psql("SELECT count(*) FROM shop.orders").await, "1000");

    let waiting = site.run("DROP SCHEMA shop CASCADE", "b").await.unwrap();
    let token = waiting.token.clone();
    let ended = waiting.settle(commit(&token)).await;
    let Ended::Committed(outcome) = ended else { panic!("{ended:?}") };
    assert_eq!(outcome.said, ["DROP SCHEMA"]);
    assert!(site.folder("b").exists());
    assert_eq!(site.target.fate(&token).await.unwrap(), Fate::Committed);
    let elsewhere = CommitToken { fingerprint: "another".to_owned(), ..token };
    assert_eq!(site.target.fate(&elsewhere).await.unwrap(), Fate::Unknown);
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

const HIDING: &str = "
    CREATE SCHEMA shop;
    CREATE TABLE shop.t (a int PRIMARY KEY); CREATE TABLE shop.victim (a int PRIMARY KEY);
    CREATE TABLE shop.quiet (a int PRIMARY KEY); CREATE TABLE shop.blunt (a int PRIMARY KEY);
    CREATE TABLE shop.dropper (a int PRIMARY KEY);
    INSERT INTO shop.t SELECT generate_series(1, 10); INSERT INTO shop.quiet VALUES (1), (2);
    INSERT INTO shop.blunt VALUES (1); INSERT INTO shop.dropper VALUES (1);
    INSERT INTO shop.victim SELECT generate_series(1, 200);
    CREATE FUNCTION shop.purge() RETURNS trigger LANGUAGE plpgsql AS
      'begin delete from shop.victim; return null; end';
    CREATE FUNCTION shop.empty() RETURNS trigger LANGUAGE plpgsql AS
      'begin truncate shop.victim; return null; end';
    CREATE FUNCTION shop.dropping() RETURNS trigger LANGUAGE plpgsql AS
      'begin drop table shop.victim; return null; end';
    CREATE FUNCTION shop.later() RETURNS trigger LANGUAGE plpgsql AS
      'begin set constraints all deferred; update shop.quiet set a = a where a = 2; return null; end';
    CREATE CONSTRAINT TRIGGER late AFTER DELETE ON shop.t DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION shop.purge();
    CREATE TRIGGER now AFTER DELETE ON shop.blunt FOR EACH ROW EXECUTE FUNCTION shop.empty();
    CREATE TRIGGER now AFTER DELETE ON shop.dropper FOR EACH ROW EXECUTE FUNCTION shop.dropping();
    CREATE CONSTRAINT TRIGGER forever AFTER DELETE OR UPDATE ON shop.quiet
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.later();
";

#[tokio::test]
async fn what_hides_behind_a_statement_is_measured_before_the_commit() {
    let site = Site::start(HIDING).await;
    let cases = [
        ("DELETE FROM shop.t WHERE a = 1", Abort::CeilingExceeded, "shop.victim: 200 rows, 0"),
        ("DELETE FROM shop.blunt WHERE a = 1", Abort::CeilingExceeded, "shop.victim was emptied"),
        ("DELETE FROM shop.dropper WHERE a = 1", Abort::CeilingExceeded, "shop.victim is gone"),
        ("DELETE FROM shop.quiet WHERE a = 1", Abort::StatementFailed, "defer more"),
        ("DO 'begin delete from shop.victim; end'", Abort::CeilingExceeded, "shop.victim: 200"),
        (
            "DO 'begin execute ''dr'' || ''op table shop.victim''; end'",
            Abort::CeilingExceeded,
            "shop.victim is gone",
        ),
        (
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1 FROM shop.t",
            Abort::StatementFailed,
            "WITH HOLD",
        ),
        (
            "DELETE FROM shop.victim WHERE a = 1;\nSELECT 1/0",
            Abort::StatementFailed,
            "division by zero",
        ),
        ("SET ROLE nobody_of_this_name", Abort::StatementFailed, "does not exist"),
        ("COPY shop.victim FROM STDIN", Abort::StatementFailed, "a unit carries no rows"),
    ];
    for (number, (sql, kind, words)) in cases.into_iter().enumerate() {
        let before = site.psql("SELECT count(*) FROM shop.victim").await;
        let (abort, why) = aborted(&site, sql, &number.to_string()).await;
        assert_eq!(abort, kind, "{sql}: {why}");
        let folder = site.folder(&number.to_string());
        assert!(!folder.exists(), "{sql}: rows were left in {}", folder.display());
        assert!(why.contains(words), "{sql}: {why}");
        assert_eq!(site.psql("SELECT count(*) FROM shop.victim").await, before, "{sql}");
    }
}

#[tokio::test]
async fn locks_are_waited_for_within_their_budget() {
    let site = Site::start("CREATE SCHEMA shop; CREATE TABLE shop.t (a int)").await;
    let mut other = site.target.connect().await.unwrap();
    for hold in ["LOCK TABLE shop.t IN ROW EXCLUSIVE MODE", "SELECT count(*) FROM shop.t"] {
        other.batch(&format!("BEGIN; {hold}")).await.unwrap();
        let (abort, why) = aborted(&site, "TRUNCATE shop.t", &hold[..4]).await;
        assert_eq!(abort, Abort::LockNotGranted, "{hold}: {why}");
        other.batch("ROLLBACK").await.unwrap();
    }
}

/// A reader stands in the way; everybody who comes later would queue behind the one who waits.
#[tokio::test]
async fn a_unit_cannot_lift_its_limits() {
    let site = Site::start("CREATE SCHEMA shop; CREATE TABLE shop.t (a int)").await;
    let mut other = site.target.connect().await.unwrap();
    other.batch("BEGIN; SELECT count(*) FROM shop.t").await.unwrap();
    let sql = "SET lock_timeout = 0;\nSET statement_timeout = 0;\nTRUNCATE shop.t";
    let ended = tokio::time::timeout(Duration::from_secs(30), aborted(&site, sql, "lift")).await;
    let (abort, why) = ended.expect("it waits without a limit");
    assert_eq!(abort, Abort::LockNotGranted, "{why}");
}

#[tokio::test]
async fn a_lock_is_no_snapshot() {
    let site = Site::start("CREATE SCHEMA shop; CREATE TABLE shop.t (a int)").await;
    let mut client = site.target.connect().await.unwrap();
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
    client.batch(begin).await.unwrap();
    client.batch("SET LOCAL statement_timeout TO 1000").await.unwrap();
    site.psql("INSERT INTO shop.t VALUES (1)").await;
    client.batch("LOCK TABLE ONLY shop.t IN SHARE ROW EXCLUSIVE MODE").await.unwrap();
    let rows = client.query("SELECT pg_catalog.count(*) FROM shop.t", &[]).await.unwrap();
    assert_eq!(rows[0][0].as_deref(), Some("1"));
}

#[tokio::test]
async fn a_lost_connection_is_an_interruption_before_and_a_question_after() {
    let site = Site::start("CREATE SCHEMA shop; CREATE TABLE shop.t (a int)").await;
    let sql = "TRUNCATE shop.t;\nSELECT pg_terminate_backend(pg_backend_pid())";
    assert_eq!(aborted(&site, sql, "a").await.0, Abort::Interrupted);
    let waiting = site.run("TRUNCATE shop.t", "b").await.unwrap();
    let token = waiting.token.clone();
    let kill = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE application_name = 'countermand' AND state = 'idle in transaction'";
    assert_eq!(site.psql(kill).await, "t");
    let ended = waiting.settle(commit(&token)).await;
    assert!(matches!(ended, Ended::Unknown(_)), "{ended:?}");
    assert!(site.folder("b").exists(), "it may be all there is");
    assert_eq!(site.target.fate(&token).await.unwrap(), Fate::RolledBack);
    let waiting = site.run("TRUNCATE shop.t", "c").await.unwrap();
    let token = waiting.token.clone();
    drop(waiting);
    assert!(!site.folder("c").exists(), "rows of production were left behind");
    // The server notices the closed connection in its own time; nothing is committed meanwhile.
    while site.target.fate(&token).await.unwrap() == Fate::InProgress {}
    assert_eq!(site.target.fate(&token).await.unwrap(), Fate::RolledBack);
}

#[tokio::test]
async fn a_rehearsal_measures_and_keeps_nothing() {
    let site = Site::start(ZOO).await;
    let rehearse = |sql: &str, partner: &str| Rehearse {
        payload: unit(sql).to_payload(),
        partner: partner.parse().unwrap(),
    };
    let sql = "DELETE FROM shop.customers WHERE id < 11";
    let rehearsal = site.target.practise(rehearse(sql, "shop")).await.unwrap();
    let measured: Vec<_> = rehearsal.measured.iter().map(|(t, n)| (t.as_str(), *n)).collect();
    assert_eq!(measured, [("other.refs", 10), ("shop.customers", 10), ("shop.orders", 100)]);
    assert_eq!(site.psql("SELECT count(*) FROM shop.customers").await, "100");
    site.target.practise(rehearse(sql, "other")).await.unwrap_err();
    let error = site.target.practise(rehearse("NOTIFY x;\nDO 'begin end'", "shop")).await;
    assert!(error.unwrap_err().to_string().contains("not undone"));
    let error = site.target.practise(rehearse("SELECT 1/0 FROM shop.orders", "shop")).await;
    assert!(error.unwrap_err().to_string().contains("division by zero"));
}

#[tokio::test]
async fn a_trial_shows_that_it_can_be_done_and_keeps_no_rows() {
    let site = Site::start(ZOO).await;
    for (folder, sql) in
        [("drop", "DROP SCHEMA shop CASCADE"), ("delete", "DELETE FROM shop.orders WHERE id < 10")]
    {
        let preview = site.preview(sql).await.unwrap();
        let point = site.target.trial(&preview, site.folder(folder)).await.unwrap();
        assert_eq!(point.tables["shop.orders"].rows, 1000);
        let mut files: Vec<_> = std::fs::read_dir(site.folder(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, ["manifest.json", "schema.dump"]);
        let error = site.restore(&point, true).await.unwrap_err().to_string();
        assert!(error.contains("trial"), "{error}");
    }
    let preview = site.preview("DROP SCHEMA shop CASCADE").await.unwrap();
    site.psql("DROP SCHEMA shop CASCADE").await;
    site.target.trial(&preview, site.folder("gone")).await.unwrap_err();
}

#[tokio::test]
async fn what_others_make_meanwhile_is_not_dropped_along() {
    let site = Site::start("CREATE SCHEMA shop; CREATE TABLE shop.t (a int)").await;
    let unit = unit("DROP TABLE shop.t CASCADE");
    let preview = site.preview_unit(&unit).await.unwrap();
    let permit = site.permit(&unit, preview, "a");
    let attempt = super::super::run::Attempt::begin(&site.target, &permit).await.unwrap();
    let between = async { site.psql("CREATE VIEW public.late AS SELECT * FROM shop.t").await };
    let error = attempt.execute_after(&permit, between).await.err().unwrap();
    assert_eq!(error.abort, Abort::CeilingExceeded, "{}", error.why);
    assert!(error.why.contains("since this run began"), "{}", error.why);
    assert_eq!(site.psql("SELECT count(*) FROM public.late").await, "0");
}

#[tokio::test]
async fn a_table_that_is_written_anew_keeps_its_rows() {
    let site = Site::start(ZOO).await;
    let sql = "ALTER TABLE shop.orders ADD COLUMN token uuid DEFAULT gen_random_uuid()";
    let waiting = site.run(sql, "a").await.unwrap();
    assert!(waiting.measured().is_empty());
    let sql = "ALTER TABLE shop.odd ALTER COLUMN empty TYPE jsonb";
    let waiting = site.run(sql, "b").await.unwrap();
    assert_eq!(waiting.measured()["shop.odd"], 5);
    assert!(waiting.restore_point().is_none());
}

#[tokio::test]
async fn an_executor_needs_no_superuser() {
    let mut site = Site::start("CREATE ROLE owner LOGIN PASSWORD 'o'; GRANT pg_read_all_data TO owner; CREATE SCHEMA shop AUTHORIZATION owner").await;
    site.psql(
        "SET ROLE owner; CREATE TABLE shop.t (a int PRIMARY KEY, b text);
        INSERT INTO shop.t SELECT g, 'x' FROM generate_series(1, 50) g;
        CREATE FUNCTION shop.f() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end';
        CREATE TRIGGER tr BEFORE INSERT ON shop.t FOR EACH ROW EXECUTE FUNCTION shop.f();
        ALTER TABLE shop.t ENABLE ALWAYS TRIGGER tr; CREATE VIEW shop.v AS SELECT * FROM shop.t",
    )
    .await;
    let secret = site.folder("owner");
    std::fs::write(&secret, "o").unwrap();
    site.target.setup.executor =
        Login { user: "owner".to_owned(), secret: SecretRef::File(secret) };
    let (schema, rows) = (site.schema().await, site.rows(&["shop.t"]).await);
    for (folder, sql) in
        [("a", "DELETE FROM shop.t WHERE a < 9"), ("b", "DROP TABLE shop.t CASCADE")]
    {
        let point = site.change(sql, folder).await;
        assert!(site.restore(&point, false).await.unwrap().equal);
        assert_eq!(
            (site.schema().await, site.rows(&["shop.t"]).await),
            (schema.clone(), rows.clone())
        );
    }
}

#[test]
fn an_error_of_commit_is_a_question_unless_it_came_before_the_commit_was_written() {
    let refused = |code: &str| ClientError::Server { code: code.to_owned(), message: "no".into() };
    for code in ["23503", "23505", "23P01", "40001", "40P01"] {
        let ended = super::super::run::unfinished(refused(code));
        assert!(matches!(ended, Ended::RolledBack(_)), "{code}: {ended:?}");
    }
    for code in ["57P01", "57014", "53100", "58030", "XX000", "08006", "25P02", ""] {
        let ended = super::super::run::unfinished(refused(code));
        assert!(matches!(ended, Ended::Unknown(_)), "{code}: {ended:?}");
    }
    let lost = super::super::run::unfinished(ClientError::Lost("gone".to_owned()));
    assert!(matches!(lost, Ended::Unknown(_)), "{lost:?}");
}

#[tokio::test]
async fn what_execute_runs_is_not_measured_and_so_not_held() {
    let site = Site::start("CREATE SCHEMA shop; CREATE TABLE shop.t (a int)").await;
    let error = site.preview("PREPARE p AS DELETE FROM t;\nEXECUTE p").await.unwrap_err();
    assert!(
        matches!(&error, TargetError::CannotJudge(why) if why.contains("send the statement itself"))
    );
}
