//! What would keep others from their rows and tables, and for how long.

use crate::raw::Raw;
use crate::stand::Stand;
use std::time::Duration;

#[tokio::test]
async fn what_is_planned_far_over_its_limit_is_not_run() {
    let stand = Stand::weighing().await;
    stand
        .truth(
            "insert into orders select g, 'm' from generate_series(1001, 20000) g; analyze orders",
        )
        .await;
    let many = "generate_series(1, 3000000) g";
    let held = [
        format!("insert into log select g, 'x' from {many}"),
        format!("with i as (insert into log select g, 'x' from {many} returning 1) select 1"),
        "select * from orders for update".to_owned(),
        "select * from (select * from orders for share) o".to_owned(),
    ];
    for (number, sql) in (1..).zip(&held) {
        let ran = stand.psql_on(&format!("{sql};\nselect 'on';")).await;
        let expected = format!("held as change {number}:");
        assert!(ran.stderr.contains(&expected), "{sql}: {}", ran.stderr);
        assert_eq!(ran.stdout, "on\n", "{sql}");
    }
    // Nothing of it ran: no number of a row was taken, nothing was weighed.
    assert!(stand.gate.weighed.lock().unwrap().is_empty());
    assert_eq!(stand.truth("select pg_relation_size('log')").await, "0");

    let inside =
        format!("begin;\nupdate orders set note = 'x' where id = 1;\n{};\ncommit;", held[0]);
    let ran = stand.psql_on(&inside).await;
    assert!(ran.stderr.contains("inside an open transaction"), "{}", ran.stderr);
    let prepared = format!(
        "prepare p (int) as insert into log select $1 + g, 'x' from {many};\nexecute p(1);"
    );
    let ran = stand.psql_on(&prepared).await;
    assert!(ran.stderr.contains("held as change"), "{}", ran.stderr);
    assert_eq!(
        stand.truth("select count(*), pg_relation_size('log') from orders where note = 'x'").await,
        "0|0"
    );

    let mut raw = Raw::connect(&stand).await;
    raw.parse("s", "insert into log select g, $1 from generate_series(1, $2::int) g").sync();
    assert_eq!(raw.answers().await, ["1", "Z I"]);
    raw.bind("", "s", &["x", "3000000"]).execute("", 0).sync();
    assert_eq!(raw.answers().await, ["2", "E CM001", "Z I"]);
    assert_eq!(stand.truth("select pg_relation_size('log')").await, "0");
}

#[tokio::test]
async fn what_is_planned_small_flows_as_ever() {
    let stand = Stand::weighing().await;
    stand.truth("analyze orders").await;
    let script = "\\set QUIET off\ninsert into log select id, note from orders where id <= 50;\n\
                  select id from orders where id = 7 for update;\n\
                  select id from orders order by id limit 2 for update skip locked;\n\
                  begin;\nselect id from orders where id = 8 for no key update;\n\
                  update orders set note = 'x' where id = 8;\ncommit;\n\
                  prepare p (int) as insert into log select $1, 'y';\nexecute p(60);\n\
                  insert into log select 61, 'z' where not exists (select from log where id = 61);";
    let ran = stand.psql(script).await;
    assert_eq!(ran.stderr, "");
    let expected =
        "INSERT 0 50\n7\n1\n2\nBEGIN\n8\nUPDATE 1\nCOMMIT\nPREPARE\nINSERT 0 1\nINSERT 0 1\n";
    assert_eq!(ran.stdout, expected);
    // The server's own words where it is wrong.
    for (sql, words) in [
        ("insert into log select id, nothing from orders", "column \"nothing\" does not exist"),
        ("insert into log select id, note from orders where id in (1, 2)", "duplicate key value"),
        ("select * from orders where 1 / (id - 1) > 0 for update", "division by zero"),
    ] {
        let ran = stand.psql(sql).await;
        assert!(ran.stderr.contains(words), "{sql}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("ERROR").count(), 1, "{sql}: {}", ran.stderr);
    }
    assert_eq!(stand.gate.changes(), 0);
}

#[tokio::test]
async fn no_agent_locks_a_table() {
    let stand = Stand::weighing().await;
    let modes =
        ["share update exclusive", "share", "share row exclusive", "exclusive", "access exclusive"];
    for mode in modes {
        for sql in [
            format!("lock table orders in {mode} mode"),
            format!("lock orders, log in {mode} mode nowait"),
        ] {
            let ran = stand.psql_on(&format!("{sql};")).await;
            assert!(ran.stderr.contains("held as change"), "{sql}: {}", ran.stderr);
            let ran = stand.psql_on(&format!("begin;\n{sql};\nselect 'in';")).await;
            assert!(ran.stderr.contains("inside an open transaction"), "{sql}: {}", ran.stderr);
            assert_eq!(ran.stdout, "", "{sql}");
        }
    }
    for mode in ["access share", "row share", "row exclusive"] {
        let ran = stand.psql(&format!("begin;\nlock table orders in {mode} mode;\ncommit;")).await;
        assert_eq!(ran.stderr, "", "{mode}");
    }
}

#[tokio::test]
async fn a_transaction_that_writes_is_cut_after_a_while_however_busy() {
    let stand = Stand::patient_for(Duration::from_secs(2)).await;
    let free = "set lock_timeout = '20s'; update orders set note = 'free' where id = 1";
    // One that goes on and on is cut at its next message, …
    let mut raw = Raw::connect(&stand).await;
    for sql in ["begin", "select id from orders where id = 1 for update"] {
        raw.run(sql).sync();
        assert_eq!(raw.answers().await.last().unwrap(), "Z T");
    }
    let busy = async {
        loop {
            raw.run("select pg_sleep(0.05)").sync();
            raw.send().await;
            let seen = raw.until_either(b'Z', b'E').await;
            if seen.last().unwrap().starts_with('E') {
                return seen;
            }
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(20), busy).await.expect("it is cut");
    assert_eq!(seen.last().unwrap(), "E 25P04");
    stand.truth(free).await;
    // … one that says nothing when the time has come.
    let mut raw = Raw::connect(&stand).await;
    raw.message(b'Q', b"begin; update orders set note = 'x' where id = 1\0");
    assert_eq!(raw.answers().await.last().unwrap(), "Z T");
    assert_eq!(raw.until(b'E').await, ["E 25P04"]);
    stand.truth(free).await;
    assert_eq!(stand.truth("select note from orders where id = 1").await, "free");
    // Reading may take as long as it takes, and so may several short transactions.
    let read = "begin;\nselect pg_sleep(1.1);\nselect pg_sleep(1.1);\nselect 'read';\ncommit;\n";
    let short =
        "begin;\nupdate orders set note = 's' where id = 2;\nselect pg_sleep(1.1);\ncommit;\n";
    let ran = stand.psql(&format!("{read}{short}{short}select 'done';")).await;
    assert!(ran.stdout.contains("read") && ran.stdout.contains("done"), "{}", ran.stderr);
}

#[tokio::test]
async fn rows_that_do_not_come_and_rows_that_nobody_reads_hold_no_lock_for_long() {
    let stand = Stand::patient_for(Duration::from_secs(2)).await;
    let free = "set lock_timeout = '20s'; update orders set note = 'free' where id = 1";
    let mut raw = Raw::connect(&stand).await;
    raw.message(b'Q', b"begin; update orders set note = 'x' where id = 1\0");
    assert_eq!(raw.answers().await.last().unwrap(), "Z T");
    raw.message(b'Q', b"copy log from stdin\0");
    raw.send().await;
    assert_eq!(raw.until(b'G').await, ["G"]);
    stand.truth(free).await;
    assert_eq!(raw.until(b'E').await, ["E 25P04"]);
    assert_eq!(stand.truth("select note from orders where id = 1").await, "free");
    // The answer is far larger than what waits between two who talk.
    let mut raw = Raw::connect(&stand).await;
    raw.message(b'Q', b"begin; update orders set note = 'x' where id = 1\0");
    assert_eq!(raw.answers().await.last().unwrap(), "Z T");
    raw.message(b'Q', b"select repeat('x', 100000) from generate_series(1, 2000)\0");
    raw.send().await;
    stand.truth(free).await;
    assert_eq!(stand.truth("select note from orders where id = 1").await, "free");
}
