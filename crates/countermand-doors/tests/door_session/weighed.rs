//! Writes that flow: what they did is measured before their commit, and kept.

use crate::raw::Raw;
use crate::stand::Stand;
use countermand_core::limits::{Beyond, Tally};

/// What was weighed last: the tally of this table, and in which ways it was too much.
fn last(stand: &Stand, table: &str) -> (Tally, Vec<Beyond>) {
    let weighed = stand.gate.weighed.lock().unwrap();
    let (weighing, beyond) = weighed.last().expect("something was weighed");
    (weighing.written.tables.get(table).copied().unwrap_or_default(), beyond.clone())
}

fn kept(stand: &Stand) -> serde_json::Value {
    let weighed = stand.gate.weighed.lock().unwrap();
    let images = weighed.last().unwrap().0.images.clone().expect("it wrote");
    serde_json::from_str(&images.body).unwrap()
}

#[tokio::test]
async fn a_small_write_flows_and_the_rows_are_kept_as_they_were() {
    let stand = Stand::weighing().await;
    let ran = stand.psql("update orders set note = 'x' where id in (3, 4)").await;
    assert_eq!(ran.stderr, "");
    assert_eq!(stand.truth("select count(*) from orders where note = 'x'").await, "2");
    let (tally, beyond) = last(&stand, "public.orders");
    assert_eq!((tally, beyond), (Tally { updated: 2, kept: 2, ..Tally::default() }, vec![]));
    let images = kept(&stand);
    let rows = &images["changed"][0];
    assert_eq!((&rows["name"], &rows["key"]), (&"public.orders".into(), &vec!["id"].into()));
    assert_eq!(rows["rows"][0]["values"], serde_json::json!(["00000003", hex::encode("n3")]));
    assert!(rows["rows"][0]["xmin"].as_u64().unwrap() > 2, "{rows}");

    let ran = stand.psql("\\set QUIET off\ndelete from orders where id = 5 returning note").await;
    assert_eq!((ran.stdout.trim(), ran.stderr.as_str()), ("n5\nDELETE 1", ""));
    let (tally, _) = last(&stand, "public.orders");
    assert_eq!(tally, Tally { deleted: 1, kept: 1, ..Tally::default() });
    assert_eq!(kept(&stand)["changed"][0]["deleted"], true);

    let ran = stand.psql("insert into orders values (2000, 'new'), (2001, 'new')").await;
    assert_eq!(ran.stderr, "");
    let (tally, _) = last(&stand, "public.orders");
    assert_eq!(tally, Tally { inserted: 2, ..Tally::default() });
    assert!(stand.gate.settled.lock().unwrap().iter().all(|settled| settled.0));
}

#[tokio::test]
async fn a_write_beyond_its_limit_is_held_and_was_not_run() {
    let stand = Stand::weighing().await;
    let ran = stand.psql("update orders set note = 'x' where id <= 101").await;
    assert!(ran.stderr.contains("held as change 1"), "{}", ran.stderr);
    assert_eq!(stand.truth("select count(*) from orders where note = 'x'").await, "0");
    assert!(stand.gate.weighed.lock().unwrap().is_empty(), "it was stopped before it ran");
    let held = stand.gate.change(1);
    assert!(held.approvable && held.payload.text.contains("\nupdate orders"), "{held:?}");
    // At the limit it flows.
    let ran = stand.psql("update orders set note = 'x' where id <= 100").await;
    assert_eq!(ran.stderr, "");
    assert_eq!(stand.truth("select count(*) from orders where note = 'x'").await, "100");
}

#[tokio::test]
async fn a_transaction_is_weighed_whole_at_its_commit() {
    let stand = Stand::weighing().await;
    let script = "begin;\nupdate orders set note = 'a' where id <= 60;\nselect count(*) from orders;\n\
                  update orders set note = 'b' where id > 940;\nupdate orders set note = 'c' where id = 1;\n\
                  commit;\nselect 'on';";
    let ran = stand.psql_on(script).await;
    assert!(ran.stderr.contains("held as change 1"), "{}", ran.stderr);
    assert_eq!(stand.truth("select count(*) from orders where note in ('a', 'b', 'c')").await, "0");
    let (tally, beyond) = last(&stand, "public.orders");
    assert_eq!((tally.updated, tally.kept), (121, 121));
    assert!(matches!(beyond.as_slice(), [Beyond::Rows { changed: 121, limit: 100 }]), "{beyond:?}");
    let held = stand.gate.change(1);
    assert_eq!(held.payload.text.matches("update orders").count(), 3, "{}", held.payload.text);
    assert!(held.payload.text.contains("search_path"), "{}", held.payload.text);

    let script = "begin;\nupdate orders set note = 'a' where id <= 10;\n\
                  delete from orders where id = 1000;\ninsert into orders values (3000, 'z');\ncommit;";
    let ran = stand.psql(script).await;
    assert_eq!(ran.stderr, "");
    let (tally, beyond) = last(&stand, "public.orders");
    let expected = Tally { inserted: 1, updated: 10, deleted: 1, kept: 11 };
    assert_eq!((tally, beyond), (expected, vec![]));
    assert_eq!(stand.truth("select count(*) from orders where note in ('a', 'z')").await, "11");
}

#[tokio::test]
async fn parameters_go_along_in_both_formats() {
    let stand = Stand::weighing().await;
    let mut raw = Raw::connect(&stand).await;
    raw.parse("u", "update orders set note = $1 where id = $2").sync();
    assert_eq!(raw.answers().await, ["1", "Z I"]);
    raw.bind("", "u", &["text", "7"]).execute("", 0).sync();
    assert_eq!(raw.answers().await, ["2", "C UPDATE 1", "Z I"]);
    // Binary, whose meaning only the server knows.
    let mut body = b"\0u\0".to_vec();
    body.extend([0, 1, 0, 1, 0, 2]);
    for value in [&b"binary"[..], &8_i32.to_be_bytes()] {
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value);
    }
    body.extend([0, 0]);
    raw.message(b'B', &body).execute("", 0).sync();
    assert_eq!(raw.answers().await, ["2", "C UPDATE 1", "Z I"]);
    let notes =
        stand.truth("select string_agg(note, ',' order by id) from orders where id in (7, 8)");
    assert_eq!(notes.await, "text,binary");
    let (tally, _) = last(&stand, "public.orders");
    assert_eq!(tally, Tally { updated: 1, kept: 1, ..Tally::default() });
}

#[tokio::test]
async fn what_hangs_on_a_write_is_measured() {
    let stand = Stand::weighing().await;
    let owner = "set role shop_owner;
        create table lines (id int primary key, order_id int references orders on delete cascade);
        insert into lines select g, g from generate_series(1, 400) g;
        create function purge() returns trigger language plpgsql security definer as
          $$ begin delete from public.orders where id > 500; return null; end $$;
        create table inbox (id int primary key);
        create constraint trigger late after insert on inbox deferrable initially deferred
          for each row execute function purge();
        create table plain (a int); insert into plain values (1), (2);
        create view few as select * from orders where id < 10;
        grant select, insert, update, delete on lines, inbox, plain, few to session_role;";
    stand.server.psql_in("shop", owner).await.unwrap();
    let before = stand.truth("select count(*), (select count(*) from lines) from orders").await;
    let held = [
        ("a deferred trigger", "insert into inbox values (1)"),
        ("no primary key", "update plain set a = 3 where a = 1"),
        ("its key is changed", "update orders set id = 5000 where id = 450"),
        ("a condition of another moment", "update orders set note = 'x' where random() < 0.5"),
        ("a view", "update few set note = 'x' where id = 3"),
        ("hidden in a CTE", "with d as (update orders set note = 'x' where id = 3) select 1"),
        (
            "MERGE",
            "merge into orders o using lines l on o.id = l.id and o.id = 2 \
                   when matched then update set note = 'x'",
        ),
    ];
    for (number, (what, sql)) in held.iter().enumerate() {
        let ran = stand.psql(sql).await;
        let number = number + 1;
        assert!(ran.stderr.contains(&format!("held as change {number}")), "{what}: {}", ran.stderr);
    }
    let after = stand.truth("select count(*), (select count(*) from lines) from orders").await;
    assert_eq!(before, after);
    assert_eq!(stand.truth("select count(*) from orders where note = 'x'").await, "0");
    let flows = [
        ("no row is meant", "delete from orders where id = 9999"),
        (
            "its own subquery",
            "update orders set note = 'y' where id = (select min(id) from orders)",
        ),
        (
            "another table decides",
            "update orders o set note = 'y' from lines l where l.id = o.id and l.id = 4",
        ),
        (
            "an upsert",
            "insert into orders (id, note) values (10, 'y'), (4000, 'y') \
                       on conflict (id) do update set note = excluded.note",
        ),
        ("no key, gone", "delete from plain where a = 2"),
        ("rows locked", "select * from orders where id = 1 for update"),
    ];
    for (what, sql) in flows {
        let ran = stand.psql(sql).await;
        assert_eq!(ran.stderr, "", "{what}");
    }
    assert_eq!(stand.truth("select count(*) from orders where note = 'y'").await, "4");
}

#[tokio::test]
async fn an_error_of_the_statements_own_is_told_as_production_tells_it() {
    let stand = Stand::weighing().await;
    let cases = [
        (
            "update orders set nothing = 1 where id = 1",
            "column \"nothing\" of relation \"orders\" does not exist",
        ),
        ("update nowhere set a = 1 where id = 1", "relation \"nowhere\" does not exist"),
        (
            "insert into orders values (1, 'twice')",
            "duplicate key value violates unique constraint",
        ),
        (
            "insert into log values (1, 'a'), (1, 'b')",
            "duplicate key value violates unique constraint",
        ),
        ("update orders set note = 'x' where 1 / (id - 1) > 0", "division by zero"),
    ];
    for (sql, words) in cases {
        let ran = stand.psql(sql).await;
        assert!(ran.stderr.contains(words), "{sql}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("ERROR").count(), 1, "{sql}: {}", ran.stderr);
    }
    let script = "begin;\ninsert into log values (1, 'a');\ninsert into log values (1, 'b');\ncommit;\n\
                  select 'on';";
    let ran = stand.psql_on(script).await;
    assert!(ran.stderr.contains("duplicate key value"), "{}", ran.stderr);
    assert_eq!(ran.stdout.trim(), "on");
    assert_eq!(stand.truth("select count(*) from log").await, "0");
    assert_eq!(stand.gate.changes(), 0);
}

#[tokio::test]
async fn what_was_rolled_back_is_not_counted_later() {
    let stand = Stand::weighing().await;
    let script = "begin;\nupdate orders set note = 'x' where id <= 90;\nrollback;\n\
                  update orders set note = 'y' where id <= 20;\n\
                  begin;\nupdate orders set note = 'z' where id <= 90;\nsavepoint s;\n\
                  update orders set note = 'z' where id = 91;\nrelease s;\ncommit;";
    let ran = stand.psql(script).await;
    assert_eq!(ran.stderr, "");
    let weighed = stand.gate.weighed.lock().unwrap();
    let counts: Vec<_> = weighed
        .iter()
        .map(|(weighing, _)| weighing.written.tables["public.orders"].updated)
        .collect();
    assert_eq!(counts, [20, 91]);
    let images: serde_json::Value =
        serde_json::from_str(&weighed[1].0.images.as_ref().unwrap().body).unwrap();
    assert_eq!(
        images["numbers"].as_array().unwrap().len(),
        2,
        "a subtransaction has its own number"
    );
}

#[tokio::test]
async fn a_row_that_a_join_finds_twice_is_kept_once() {
    let stand = Stand::weighing().await;
    let sql = "update orders o set note = 'f' from (values (1), (1)) v (n) where o.id = 9";
    let ran = stand.psql(sql).await;
    assert_eq!(ran.stderr, "");
    let rows: usize = kept(&stand)["changed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|changed| changed["rows"].as_array().unwrap().len())
        .sum();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_unit_that_was_refused_is_no_part_of_the_next() {
    let stand = Stand::weighing().await;
    let script = "delete from orders;\nrollback;\nupdate orders set note = 'u' where id = 1;";
    let ran = stand.psql_on(script).await;
    assert_eq!(ran.stderr.matches("ERROR").count(), 1, "{}", ran.stderr);
    assert_eq!(stand.truth("select count(*) from orders where note = 'u'").await, "1");
    let weighed = stand.gate.weighed.lock().unwrap();
    let text = &weighed.last().unwrap().0.whole.payload.text;
    assert!(!text.contains("delete"), "{text}");
}

#[tokio::test]
async fn our_own_savepoint_is_nobodys_way_back() {
    let stand = Stand::weighing().await;
    for sql in ["rollback to countermand_read", "release countermand_read"] {
        let script = format!("begin;\nselect 1;\n{sql};\ncommit;");
        let ran = stand.psql_on(&script).await;
        assert!(ran.stderr.contains("is reserved"), "{sql}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn a_setting_that_changes_how_names_are_written_is_refused() {
    let stand = Stand::weighing().await;
    let ran = stand.psql("set quote_all_identifiers = on").await;
    assert!(ran.stderr.contains("ERROR"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_question_that_is_prepared_follows_its_table() {
    let stand = Stand::weighing().await;
    let mut raw = Raw::connect(&stand).await;
    raw.parse("u", "update orders set note = $1 where id = $2").sync();
    assert_eq!(raw.answers().await, ["1", "Z I"]);
    for id in ["1", "2"] {
        raw.bind("", "u", &["x", id]).execute("", 0).sync();
        assert_eq!(raw.answers().await, ["2", "C UPDATE 1", "Z I"]);
    }
    stand.server.psql_in("shop", "alter table orders add column more int").await.unwrap();
    raw.bind("", "u", &["x", "3"]).execute("", 0).sync();
    assert_eq!(raw.answers().await, ["2", "E 40001", "Z I"]);
    raw.bind("", "u", &["x", "3"]).execute("", 0).sync();
    assert_eq!(raw.answers().await, ["2", "C UPDATE 1", "Z I"]);
    assert_eq!(kept(&stand)["changed"][0]["columns"].as_array().unwrap().len(), 3);
    // More statements than have questions that are kept.
    for n in 0..70 {
        raw.parse(&format!("s{n}"), &format!("update orders set note = 's{n}' where id = $1"))
            .sync();
        assert_eq!(raw.answers().await, ["1", "Z I"]);
    }
    for n in (0..70).chain(0..3) {
        let id = (n + 100).to_string();
        raw.bind("", &format!("s{n}"), &[&id]).execute("", 0).sync();
        assert_eq!(raw.answers().await, ["2", "C UPDATE 1", "Z I"]);
        assert_eq!(
            stand.truth(&format!("select note from orders where id = {id}")).await,
            format!("s{n}")
        );
        let images = kept(&stand);
        let row = &images["changed"][0]["rows"][0]["values"];
        assert_eq!(row[0], hex::encode((n + 100_i32).to_be_bytes()));
    }
    raw.run("deallocate all").sync();
    let answers = raw.answers().await;
    assert!(answers.last().unwrap() == "Z I", "{answers:?}");
    raw.parse("u", "update orders set note = $1 where id = $2")
        .bind("", "u", &["y", "3"])
        .execute("", 0)
        .sync();
    assert_eq!(raw.answers().await, ["1", "2", "C UPDATE 1", "Z I"]);
}

#[tokio::test]
async fn a_transaction_that_was_executed_is_told_so_once_at_its_commit() {
    let stand = Stand::weighing().await;
    let statements = "begin;\nupdate orders set note = 'a' where id <= 60;\n\
                      update orders set note = 'b' where id > 940;\ncommit;\n";
    let held = stand.psql_on(statements).await;
    assert!(held.stderr.contains("held as change 1"), "{}", held.stderr);
    stand.gate.executed(1, &["UPDATE 60", "UPDATE 60"]);
    // The engine's own run is not this one: here nothing of it may stay.
    let next = "update orders set note = 'c' where id = 500;\nselect 'on';";
    let told = stand.psql(&format!("\\set QUIET off\n{statements}{next}")).await;
    assert!(told.stderr.contains("executed as change 1 at 2026"), "{}", told.stderr);
    assert!(!told.stderr.contains("ERROR"), "{}", told.stderr);
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert_eq!(lines, ["BEGIN", "UPDATE 60", "UPDATE 60", "COMMIT", "UPDATE 1", "on"]);
    let notes = "select count(*) filter (where note in ('a', 'b')), \
                 count(*) filter (where note = 'c') from orders";
    assert_eq!(stand.truth(notes).await, "0|1");
    {
        let settled = stand.gate.settled.lock().unwrap();
        assert!(settled.iter().any(|(ok, why)| !ok && why.contains("change 1")), "{settled:?}");
    }
    let again = stand.psql_on(statements).await;
    assert!(again.stderr.contains("held as change 1"), "{}", again.stderr);

    // By the messages that drivers send; the transaction is over for the client as well.
    stand.gate.executed(1, &["UPDATE 60", "UPDATE 60"]);
    let mut raw = Raw::connect(&stand).await;
    raw.message(b'Q', b"begin\0");
    raw.message(b'Q', b"update orders set note = 'a' where id <= 60\0");
    raw.message(b'Q', b"update orders set note = 'b' where id > 940\0");
    let begun = raw.answers().await;
    let first = raw.answers().await;
    let second = raw.answers().await;
    assert_eq!(
        (begun.last().unwrap(), first, second),
        (
            &"Z T".to_owned(),
            vec!["C UPDATE 60".to_owned(), "Z T".to_owned()],
            vec!["C UPDATE 60".to_owned(), "Z T".to_owned()]
        )
    );
    raw.run("commit").sync();
    let answers = raw.answers().await;
    let (said, rest) = answers.split_first().unwrap();
    assert!(said.starts_with('N'), "{answers:?}");
    assert_eq!(rest, ["1", "2", "C COMMIT", "Z I"]);

    // One message is one transaction, too.
    let message = b"update orders set note = 'a' where id < 80; \
                    update orders set note = 'b' where id > 900\0";
    let answers = raw.message(b'Q', message).answers().await;
    assert_eq!(answers, ["C UPDATE 79", "E CM001", "Z I"]);
    stand.gate.executed(2, &["UPDATE 79", "UPDATE 100"]);
    let answers = raw.message(b'Q', message).answers().await;
    assert_eq!(answers, ["C UPDATE 79", "N 00000", "C UPDATE 100", "Z I"]);
    assert_eq!(stand.truth(notes).await, "0|1");
}
