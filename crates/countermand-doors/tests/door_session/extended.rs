//! The extended protocol, message by message.

use crate::raw::Raw;
use crate::stand::Stand;
use countermand_doors::postgres::unit::Unit;

#[tokio::test]
async fn a_read_is_answered_message_by_message() {
    let stand = Stand::up().await;
    let mut raw = Raw::connect(&stand).await;
    raw.parse("one", "select note from orders where id = $1").describe(b'S', "one").sync();
    assert_eq!(raw.answers().await, ["1", "t", "T", "Z I"]);
    raw.bind("", "one", &["7"]).describe(b'P', "").execute("", 0).sync();
    assert_eq!(raw.answers().await, ["2", "T", "D n7", "C SELECT 1", "Z I"]);
    // The unnamed statement lives on, whatever we did in between.
    raw.parse("", "select 'a' || $1::text").sync();
    assert_eq!(raw.answers().await, ["1", "Z I"]);
    raw.bind("", "", &["b"]).execute("", 0).bind("", "", &["c"]).execute("", 0).sync();
    let expected = ["2", "D ab", "C SELECT 1", "2", "D ac", "C SELECT 1", "Z I"];
    assert_eq!(raw.answers().await, expected);
    raw.message(b'C', b"Sone\0").bind("", "one", &["7"]).sync();
    assert_eq!(raw.answers().await, ["E 26000", "Z I"]);
    raw.run("").sync();
    assert_eq!(raw.answers().await, ["1", "2", "I", "Z I"]);
}

#[tokio::test]
async fn a_pipeline_is_one_unit() {
    let stand = Stand::up().await;
    let mut raw = Raw::connect(&stand).await;
    raw.run("insert into log values (1, 'a')").run("insert into log values (2, 'b')").sync();
    let one = ["1", "2", "C INSERT 0 1"];
    assert_eq!(raw.answers().await, [&one[..], &one, &["Z I"]].concat());
    assert_eq!(stand.truth("select count(*) from log").await, "2");
    raw.run("insert into log values (3, 'a')").run("select 1/0").run("select 1").sync();
    let answers = raw.answers().await;
    assert_eq!(answers.last().unwrap(), "Z I");
    assert!(answers.contains(&"E 22012".to_owned()), "{answers:?}");
    assert_eq!(stand.truth("select count(*) from log").await, "2");
}

#[tokio::test]
async fn a_held_pipeline_is_held_whole_with_its_parameters() {
    let stand = Stand::up().await;
    let mut raw = Raw::connect(&stand).await;
    raw.run("insert into log values (1, 'a')");
    raw.parse("", "delete from orders where id = $1").bind("", "", &["7"]).execute("", 0);
    raw.run("select 1").sync();
    assert_eq!(raw.answers().await, ["E CM001", "Z I"]);
    assert_eq!(stand.truth("select count(*) from log").await, "0");
    let unit = Unit::from_payload(&stand.gate.change(1).payload).unwrap();
    assert_eq!(unit.statements.len(), 3);
    assert_eq!(unit.statements[1].parameters[0].value.as_deref(), Some("37"));
    assert_eq!(unit.statements[1].parameters[0].format, 0);
    // Other parameters are another request.
    raw.parse("", "delete from orders where id = $1").bind("", "", &["8"]).execute("", 0).sync();
    assert_eq!(raw.answers().await, ["E CM001", "Z I"]);
    assert_eq!(stand.gate.changes(), 1, "after a hold this session asks for nothing new");
    stand.gate.executed(1, &["INSERT 0 1", "DELETE 1", "SELECT 1"]);
    raw.run("insert into log values (1, 'a')");
    raw.parse("", "delete from orders where id = $1").bind("", "", &["7"]).execute("", 0);
    raw.run("select 1").sync();
    let one = |tag: &str| ["1".to_owned(), "2".into(), format!("C {tag}")];
    let told = [one("INSERT 0 1"), one("DELETE 1"), one("SELECT 1")].concat();
    let expected = [vec!["N 00000".to_owned()], told, vec!["Z I".into()]].concat();
    assert_eq!(raw.answers().await, expected);
    assert_eq!(stand.orders().await, "1000");
}

#[tokio::test]
async fn flush_is_answered_and_portals_go_on_until_sync() {
    let stand = Stand::up().await;
    let mut raw = Raw::connect(&stand).await;
    raw.parse("", "select id from orders order by id").bind("p", "", &[]).flush();
    raw.send().await;
    assert_eq!(raw.until(b'2').await, ["1", "2"]);
    raw.execute("p", 2).flush();
    raw.send().await;
    assert_eq!(raw.until(b's').await, ["D 1", "D 2", "s"]);
    raw.execute("p", 1).flush();
    raw.send().await;
    assert_eq!(raw.until(b's').await, ["D 3", "s"]);
    raw.sync();
    assert_eq!(raw.answers().await, ["Z I"]);
    raw.execute("p", 1).flush();
    raw.send().await;
    assert_eq!(raw.until(b'E').await, ["E 34000"]);
    raw.run("insert into log values (1, 'ignored up to Sync')").sync();
    assert_eq!(raw.answers().await, ["Z I"]);
    assert_eq!(stand.truth("select count(*) from log").await, "0");
    raw.run("select 1").sync();
    assert_eq!(raw.answers().await.last().unwrap(), "Z I");
}

#[tokio::test]
async fn prepared_names_are_one_space_and_never_hide_what_runs() {
    let stand = Stand::up().await;
    let mut raw = Raw::connect(&stand).await;
    raw.run("prepare gone as delete from orders where id = 1").sync();
    assert_eq!(raw.answers().await, ["1", "2", "C PREPARE", "Z I"]);
    raw.run("execute gone").sync();
    assert_eq!(raw.answers().await, ["E CM001", "Z I"]);
    let unit = Unit::from_payload(&stand.gate.change(1).payload).unwrap();
    assert!(unit.statements[0].sql.starts_with("prepare gone as delete"));
    assert_eq!(unit.statements[1].sql, "execute gone");
    raw.bind("", "gone", &[]).execute("", 0).sync();
    assert_eq!(raw.answers().await, ["E CM001", "Z I"]);
    raw.run("deallocate gone").sync();
    assert_eq!(raw.answers().await, ["1", "2", "C DEALLOCATE", "Z I"]);
    raw.parse("gone", "select 'harmless now'").sync();
    assert_eq!(raw.answers().await, ["1", "Z I"]);
    raw.run("execute gone").sync();
    assert_eq!(raw.answers().await, ["1", "2", "D harmless now", "C SELECT 1", "Z I"]);
    raw.run("execute unknown").sync();
    assert_eq!(raw.answers().await, ["E 26000", "Z I"]);
    assert_eq!(stand.orders().await, "1000");
}

#[tokio::test]
async fn what_is_no_unit_is_refused() {
    let stand = Stand::up().await;
    let mut raw = Raw::connect(&stand).await;
    // A function call message names a function by number and nothing else.
    raw.message(b'F', &[0, 0, 5, 0x1f, 0, 0, 0, 0, 0, 0]);
    assert_eq!(raw.answers().await, ["E CM002", "Z I"]);
    raw.parse("", "select 1; drop table orders").bind("", "", &[]).execute("", 0).sync();
    let answers = raw.answers().await;
    assert_eq!(answers.last().unwrap(), "Z I");
    assert_eq!(stand.orders().await, "1000");
    raw.message(b'B', b"p\0s\0\0\0\0\x05");
    raw.sync().send().await;
    assert_eq!(raw.until(b'E').await, ["E 08P01"]);
}

#[tokio::test]
async fn what_is_no_sql_is_the_servers_to_say_and_no_change() {
    let stand = Stand::up().await;
    let mut raw = Raw::connect(&stand).await;
    raw.run("selec 1").run("insert into log values (1, 'a')").sync();
    assert_eq!(raw.answers().await, ["E 42601", "Z I"]);
    assert_eq!(stand.gate.changes(), 0);
    assert_eq!(stand.truth("select count(*) from log").await, "0");
}

#[tokio::test]
async fn a_cancel_reaches_what_runs_and_only_by_its_own_secret() {
    let stand = Stand::up().await;
    let mut raw = Raw::connect(&stand).await;
    let key = raw.connection.greeting().cancel.clone();
    let cancel = async {
        let sleeps = "select count(*) from pg_stat_activity where query ~ '^select pg_sleep' \
                      and state = 'active'";
        while stand.truth(sleeps).await != "1" {}
        let pids = stand.truth("select string_agg(pid::text, ',') from pg_stat_activity").await;
        let ours = key.process_id().to_string();
        assert!(!pids.split(',').any(|pid| pid == ours), "the process id is the gateway's own");
        key.cancel().await.unwrap();
    };
    raw.run("select pg_sleep(60)").sync();
    let (answers, ()) = tokio::join!(raw.answers(), cancel);
    assert_eq!(answers, ["1", "2", "E 57014", "Z I"]);
    // Nothing runs: nothing is cancelled.
    key.cancel().await.unwrap();
    raw.run("select 'still here'").sync();
    assert_eq!(raw.answers().await, ["1", "2", "D still here", "C SELECT 1", "Z I"]);
}

#[tokio::test]
async fn a_stop_ends_sessions_with_words() {
    let stand = Stand::up().await;
    let mut raw = Raw::connect(&stand).await;
    raw.run("begin").run("insert into log values (1, 'a')").sync();
    assert_eq!(raw.answers().await.last().unwrap(), "Z T");
    stand.stop.send_replace(true);
    assert_eq!(raw.until(b'E').await, ["E 57P01"]);
    assert_eq!(stand.truth("select count(*) from log").await, "0");
    let settled = stand.gate.settled.lock().unwrap().clone();
    assert_eq!(settled, [(false, "the session ended; rolled back".to_owned())]);
}

/// Production refuses a row while a long one is on its way: it gets the rest of that, and nobody
/// reads it as messages, which is what it looks like.
#[tokio::test]
async fn what_is_left_of_a_refused_row_is_no_message() {
    let stand = Stand::up().await;
    let mut raw = Raw::connect(&stand).await;
    raw.message(b'Q', b"copy orders from stdin\0").send().await;
    assert_eq!(raw.until(b'G').await, ["G"]);
    let smuggled = b"Q\0\0\0\x2binsert into log values (9, 'smuggled')\0".repeat(10_000);
    let (first, rest) = smuggled.split_at(44 * 5_000);
    raw.message(b'd', b"no number\n").begun(b'd', smuggled.len(), first).send().await;
    assert_eq!(raw.until(b'E').await, ["E 22P02"]);
    raw.plain(rest).message(b'c', b"").run("select 'well'").sync();
    assert_eq!(raw.answers().await, ["Z I"]);
    assert_eq!(raw.until(b'Z').await, ["1", "2", "D well", "C SELECT 1", "Z I"]);
    assert_eq!(stand.truth("select count(*) from log").await, "0");
}
