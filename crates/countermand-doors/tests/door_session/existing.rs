//! `CREATE … IF NOT EXISTS` of what exists does nothing, and is no change.

use crate::raw::Raw;
use crate::stand::Stand;

#[tokio::test]
async fn what_is_there_is_not_created_and_nobody_is_asked() {
    let stand = Stand::weighing().await;
    let script = "\\set QUIET off\n\\set VERBOSITY verbose\ncreate schema if not exists public;\n\
                  create table if not exists orders (id int, more text);\n\
                  create table if not exists public.log (id int);\n\
                  begin;\ninsert into log values (1, 'a');\n\
                  create table if not exists orders (id int);\n\
                  insert into log values (2, 'b');\ncommit;\n\
                  create table if not exists orders (id int)\\; insert into log values (3, 'c');";
    let ran = stand.psql(script).await;
    assert!(ran.success && !ran.stderr.contains("ERROR"), "{}", ran.stderr);
    assert_eq!(
        ran.stderr.matches("42P07: relation \"orders\" already exists, skipping").count(),
        3
    );
    assert!(ran.stderr.contains("42P06: schema \"public\" already exists"), "{}", ran.stderr);
    let tags = "CREATE SCHEMA\nCREATE TABLE\nCREATE TABLE\nBEGIN\nINSERT 0 1\nCREATE TABLE\n\
                INSERT 0 1\nCOMMIT\nCREATE TABLE\nINSERT 0 1\n";
    assert_eq!(ran.stdout, tags);
    assert_eq!(stand.truth("select string_agg(what, '' order by id) from log").await, "abc");
    assert_eq!(stand.gate.changes(), 0);

    let mut raw = Raw::connect(&stand).await;
    raw.parse("c", "create table if not exists orders (id int)").bind("", "c", &[]);
    raw.execute("", 0).sync();
    assert_eq!(raw.answers().await, ["N 42P07", "1", "2", "C CREATE TABLE", "Z I"]);
}

#[tokio::test]
async fn what_is_not_there_is_held_however_it_is_called() {
    let stand = Stand::weighing().await;
    stand.truth("create schema other; grant usage on schema other to session_role").await;
    let held = [
        "create table if not exists fresh (id int)",
        "create table if not exists other.orders (id int)",
        "create table orders (id int)",
        "create table if not exists \"or'ders\" (id int)",
        "create table if not exists \"Orders\" (id int)",
        "create schema if not exists orders",
        // What stands before it in its message decides which is meant, or whether it is there.
        "set search_path = other\\; create table if not exists orders (id int)",
        "drop table orders\\; create table if not exists orders (id int)",
        // The rest of its message is judged as ever, with it.
        "create table if not exists orders (id int)\\; drop table log",
        "create table if not exists orders (id int)\\; alter table orders add more text",
    ];
    for (number, sql) in (1..).zip(held) {
        let ran = stand.psql_on(&format!("{sql};")).await;
        let expected = format!("held as change {number}:");
        assert!(ran.stderr.contains(&expected), "{sql}: {}", ran.stderr);
        let held = stand.gate.change(number).payload.text;
        assert!(sql.split("\\;").all(|part| held.contains(part.trim())), "{sql}: {held}");
    }
    let ran =
        stand.psql_on("set search_path = other;\ncreate table if not exists orders (id int);");
    assert!(ran.await.stderr.contains("held as change"));
    assert_eq!(stand.orders().await, "1000");
}

#[tokio::test]
async fn what_comes_before_something_that_is_passed_over_is_committed() {
    let stand = Stand::weighing().await;
    for (id, over) in
        [(1, "set statement_timeout = 0"), (2, "create table if not exists orders (id int)")]
    {
        let sql = format!("update orders set note = 'x' where id = {id}\\; {over};");
        let ran = stand.psql(&sql).await;
        assert!(ran.success && ran.stderr.contains("NOTICE"), "{sql}: {}", ran.stderr);
        assert_eq!(
            stand.truth("select count(*) from orders where note = 'x'").await,
            id.to_string()
        );
    }
}
