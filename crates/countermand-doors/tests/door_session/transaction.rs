//! The agent's own transactions.

use crate::raw::Raw;
use crate::stand::Stand;

#[tokio::test]
async fn a_transaction_commits_what_it_wrote_and_reads_its_own_writes() {
    let stand = Stand::up().await;
    let script = "begin;\nselect count(*) from log;\ninsert into log values (1, 'a');\n\
                  select count(*) from log;\nselect what from log;\nsavepoint s;\n\
                  insert into log values (2, 'b');\nrollback to s;\nselect count(*) from log;\n\
                  commit;\nselect count(*) from log;";
    let ran = stand.psql(script).await;
    assert_eq!(ran.stdout, "0\n1\na\n1\n1\n", "{}", ran.stderr);
    assert_eq!(stand.truth("select string_agg(what, ',') from log").await, "a");
    assert!(stand.gate.settled.lock().unwrap().iter().all(|settled| settled.0));
}

#[tokio::test]
async fn a_hold_inside_a_transaction_ends_it_and_opens_no_change() {
    let stand = Stand::up().await;
    let script = "begin;\ninsert into log values (1, 'a');\ndelete from orders where id = 1;\n\
                  insert into log values (2, 'b');\ncommit;\nselect count(*) from log;";
    let ran = stand.psql_on(script).await;
    assert!(ran.stderr.contains("inside an open transaction"), "{}", ran.stderr);
    assert!(ran.stderr.contains("countermand propose FILE"), "{}", ran.stderr);
    assert!(ran.stderr.contains("current transaction is aborted"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "0\n");
    assert_eq!(stand.gate.changes(), 0);
    assert_eq!(stand.truth("select count(*) from log").await, "0");
    assert!(!stand.gate.settled.lock().unwrap()[0].0);
    // BEGIN and the rest in one message, without COMMIT: it stays a transaction that failed.
    let mut raw = Raw::connect(&stand).await;
    raw.message(b'Q', b"begin; delete from orders\0");
    assert_eq!(raw.answers().await, ["E CM001", "Z E"]);
    raw.message(b'Q', b"insert into log values (3, 'c')\0");
    assert_eq!(raw.answers().await, ["E 25P02", "Z E"]);
    raw.run("rollback").sync();
    assert_eq!(raw.answers().await, ["1", "2", "C ROLLBACK", "Z I"]);
    assert_eq!(stand.truth("select count(*) from log").await, "0");
}

#[tokio::test]
async fn a_read_only_transaction_ends_in_a_rollback_that_says_commit() {
    let stand = Stand::up().await;
    let script = "\\set QUIET off\nbegin read only;\ndeclare c cursor for select id from orders order by id;\n\
                  fetch 2 from c;\nfetch 1 from c;\ncommit;\nselect 'after';";
    let ran = stand.psql(script).await;
    let words = ["BEGIN", "DECLARE CURSOR", "1", "2", "3", "COMMIT", "after"];
    let mut lines = ran.stdout.lines();
    for word in words {
        assert!(lines.any(|line| line.trim() == word), "{word}: {} {}", ran.stdout, ran.stderr);
    }
    let fetched = stand.psql("\\set FETCH_COUNT 100\nselect id from orders order by id").await;
    assert_eq!(fetched.stdout.lines().count(), 1000, "{}", fetched.stderr);
    let mut raw = Raw::connect(&stand).await;
    raw.run("begin").run("set transaction isolation level repeatable read, read only").sync();
    let answers = raw.answers().await;
    assert_eq!(answers.last().unwrap(), "Z T", "{answers:?}");
    raw.run("insert into log values (1, 'a')").sync();
    assert_eq!(raw.answers().await, ["1", "2", "E 25006", "Z E"]);
    raw.run("commit").sync();
    assert_eq!(raw.answers().await, ["1", "2", "C ROLLBACK", "Z I"]);
}

#[tokio::test]
async fn a_failed_transaction_is_revived_by_its_savepoint() {
    let stand = Stand::up().await;
    let script = "begin;\ninsert into log values (1, 'a');\nsavepoint s;\nselect 1/0;\n\
                  select 2;\nrollback to s;\nselect 3;\ninsert into log values (2, 'b');\ncommit;";
    let ran = stand.psql_on(script).await;
    assert_eq!(ran.stdout, "3\n", "{}", ran.stderr);
    assert_eq!(stand.truth("select count(*) from log").await, "2");
    let revived =
        "begin;\nsavepoint s;\nselect 1/0;\nrollback to s\\; delete from orders;\ncommit;";
    let revived = stand.psql_on(revived).await;
    assert!(revived.stderr.contains("inside an open transaction"), "{}", revived.stderr);
    assert_eq!(stand.orders().await, "1000");
}

#[tokio::test]
async fn a_portal_goes_on_over_syncs_until_the_next_write() {
    let stand = Stand::up().await;
    let mut raw = Raw::connect(&stand).await;
    raw.run("begin").parse("", "select id from orders order by id").bind("p", "", &[]);
    raw.execute("p", 2).sync();
    let expected = ["1", "2", "C BEGIN", "1", "2", "D 1", "D 2", "s", "Z T"];
    assert_eq!(raw.answers().await, expected);
    raw.execute("p", 1).sync();
    assert_eq!(raw.answers().await, ["D 3", "s", "Z T"]);
    raw.run("insert into log values (1, 'a')").sync();
    assert_eq!(raw.answers().await, ["1", "2", "C INSERT 0 1", "Z T"]);
    raw.execute("p", 1).sync();
    let answers = raw.answers().await;
    assert_eq!(answers, ["E 34000", "Z E"]);
    raw.run("rollback").sync();
    assert_eq!(raw.answers().await, ["1", "2", "C ROLLBACK", "Z I"]);
    assert_eq!(stand.truth("select count(*) from log").await, "0");
}

#[tokio::test]
async fn the_real_pg_dump_reads_through_the_door() {
    let stand = Stand::up().await;
    let mut dump = tokio::process::Command::new(stand.server.tools().directory().join("pg_dump"));
    dump.args([
        "-h",
        "127.0.0.1",
        "-p",
        &stand.door.port().to_string(),
        "-U",
        "robo",
        "-t",
        "orders",
    ]);
    let output = dump.arg("shop").env("PGPASSWORD", "cmd_robo").output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let dumped = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(dumped.contains("CREATE TABLE public.orders") && dumped.contains("\n1000\tn1000\n"));
}
