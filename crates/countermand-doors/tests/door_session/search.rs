//! What cascades and triggers change is found before the commit, and kept.

use crate::raw::Raw;
use crate::stand::Stand;
use countermand_core::limits::{Beyond, Tally};

const TABLES: &str = "set role shop_owner;
    create table lines (id int primary key, order_id int references orders on delete cascade, n int);
    insert into lines select g, g % 50 + 1, 0 from generate_series(1, 200) g;
    create table hints (id int primary key, order_id int references orders on delete set null);
    insert into hints values (1, 7), (2, 7), (3, 8);
    create table names (code text primary key);
    create table uses (code text primary key references names on update cascade, n int);
    insert into names values ('a'), ('b'); insert into uses values ('a', 1);
    create table totals (what text primary key, n int);
    insert into totals values ('lines', 200), ('log', 0);
    create table plain (a int);
    create function count_lines() returns trigger language plpgsql security definer as
      $$ begin update public.totals set n = n + 1 where what = 'lines'; return null; end $$;
    create trigger counts after insert on lines for each row execute function count_lines();
    create function log_total() returns trigger language plpgsql security definer as
      $$ begin
        begin
          update public.totals set n = n + 1 where what = 'log';
        exception when division_by_zero then null;
        end;
        return null;
      end $$;
    create trigger counts after insert on log for each row execute function log_total();
    create table deletes (id int primary key);
    create table gone (id int primary key); insert into gone values (1), (2);
    create function purge() returns trigger language plpgsql security definer as
      $$ begin
        begin delete from public.gone; exception when division_by_zero then null; end;
        return null;
      end $$;
    create trigger purges after insert on deletes for each row execute function purge();
    grant select, insert, update, delete on lines, hints, names, uses, totals, plain, deletes, gone
      to session_role;";

async fn stand() -> Stand {
    let stand = Stand::weighing().await;
    stand.server.psql_in("shop", TABLES).await.unwrap();
    stand
}

/// The tally of this table in what was weighed last.
fn tally(stand: &Stand, table: &str) -> Tally {
    let weighed = stand.gate.weighed.lock().unwrap();
    weighed.last().expect("something was weighed").0.written.tables[table]
}

fn beyond(stand: &Stand) -> Vec<Beyond> {
    stand.gate.weighed.lock().unwrap().last().unwrap().1.clone()
}

/// Runs it, and shows what was too much where it did not flow.
async fn flows(stand: &Stand, sql: &str) {
    let ran = stand.psql(sql).await;
    assert_eq!(ran.stderr, "", "{:?}", beyond(stand));
}

/// Rows of this table that are kept: how many as changed, how many as deleted.
fn kept(stand: &Stand, table: &str) -> (usize, usize) {
    let weighed = stand.gate.weighed.lock().unwrap();
    let images = weighed.last().unwrap().0.images.clone().expect("it wrote");
    let images: serde_json::Value = serde_json::from_str(&images.body).unwrap();
    let of = |deleted: bool| {
        let all = images["changed"].as_array().unwrap().iter();
        let own = all.filter(|rows| rows["name"] == table && rows["deleted"] == deleted);
        own.map(|rows| rows["rows"].as_array().unwrap().len()).sum()
    };
    (of(false), of(true))
}

#[tokio::test]
async fn a_small_cascade_flows_and_is_kept_whole() {
    let stand = stand().await;
    flows(&stand, "delete from orders where id = 8").await;
    assert_eq!(stand.truth("select count(*) from lines where order_id = 8").await, "0");
    assert_eq!(tally(&stand, "public.lines"), Tally { deleted: 4, kept: 4, ..Tally::default() });
    assert_eq!(kept(&stand, "public.lines"), (0, 4));
    assert_eq!(kept(&stand, "public.orders"), (0, 1));
    assert_eq!(kept(&stand, "public.hints"), (1, 0), "set null changes");
    assert_eq!(
        stand.plan_back().await,
        ("public.hints 1, public.lines 4, public.orders 1".into(), vec![])
    );
}

#[tokio::test]
async fn what_a_trigger_changes_several_times_is_kept_once() {
    let stand = stand().await;
    flows(&stand, "insert into lines values (1001, 1, 0), (1002, 1, 0), (1003, 2, 0)").await;
    assert_eq!(stand.truth("select n from totals where what = 'lines'").await, "203");
    assert_eq!(tally(&stand, "public.totals"), Tally { updated: 3, kept: 3, ..Tally::default() });
    assert_eq!(kept(&stand, "public.totals"), (1, 0));
    assert_eq!(stand.plan_back().await, ("public.lines 3, public.totals 1".into(), vec![]));
}

#[tokio::test]
async fn an_exception_block_has_a_number_that_is_found() {
    let stand = stand().await;
    flows(&stand, "insert into log values (1, 'x'), (2, 'y')").await;
    assert_eq!(kept(&stand, "public.totals"), (1, 0));
    assert_eq!(stand.plan_back().await, ("public.log 2, public.totals 1".into(), vec![]));
}

#[tokio::test]
async fn what_has_a_snapshot_of_its_own_is_not_searched() {
    let stand = stand().await;
    let script = "begin isolation level repeatable read;\nselect count(*) from lines;\n\
                  delete from orders where id = 8;\ncommit;";
    let ran = stand.psql(script).await;
    assert!(ran.stderr.contains("held as change 1"), "{}", ran.stderr);
}

#[tokio::test]
async fn tables_that_share_what_may_be_kept_do_not_hide_each_other() {
    let stand = stand().await;
    let owner = "set role shop_owner;
        create table a (id int primary key, n int); create table b (id int primary key, n int);
        insert into a values (1, 1); insert into b values (1, 1);
        grant select, insert, update on a, b to session_role;";
    stand.server.psql_in("shop", owner).await.unwrap();
    let script = "begin;\n\
        insert into a select id, 666 from a where id = 1 on conflict (id) do update set n = excluded.n;\n\
        insert into b select id, 666 from b where id = 1 on conflict (id) do update set n = excluded.n;\n\
        commit;";
    let mut flowed = 0;
    for most in (50..=300).step_by(10) {
        stand.gate.limits.lock().unwrap().kept_bytes = most;
        let told = stand.psql_on(script).await.stderr;
        if told.is_empty() {
            assert_eq!(
                (kept(&stand, "public.a"), kept(&stand, "public.b")),
                ((1, 0), (1, 0)),
                "{most}"
            );
            stand.server.psql_in("shop", "update a set n = 1; update b set n = 1").await.unwrap();
            flowed += 1;
        }
        assert_eq!(
            stand.truth("select count(*) from b where n = 666").await,
            "0",
            "{most}: {told}"
        );
    }
    assert!(flowed > 0, "nothing was small enough");
}

#[tokio::test]
async fn a_row_is_found_whoever_else_has_locked_it_and_whatever_was_undone() {
    let stand = stand().await;
    // Its own subtransaction's lock makes the server mark the row with a number of several, and
    // what is undone behind a savepoint goes on being counted.
    let script = "begin;\nsavepoint a;\ninsert into plain values (1);\n\
                  insert into lines values (9999, 1, 0);\nrollback to a;\nrelease a;\n\
                  savepoint s;\nselect id from lines where id = 7 for key share;\nrelease s;\n\
                  insert into lines select id, order_id, 666 from lines where id = 7 \
                  on conflict (id) do update set n = excluded.n;\ncommit;";
    let told = stand.psql_on(script).await.stderr;
    let changed = stand.truth("select count(*) from lines where n = 666").await;
    if changed == "1" {
        assert_eq!(kept(&stand, "public.lines"), (1, 0), "{told}");
    }
    let script = "begin;\nselect id from orders where id = 1;\nsavepoint s;\n\
                  select id from lines where order_id = 8 for key share;\nrelease s;\n\
                  delete from orders where id = 8;\ncommit;";
    flows(&stand, script).await;
    assert_eq!(kept(&stand, "public.lines"), (0, 4));
}

#[tokio::test]
async fn one_name_for_two_tables_is_two_roots() {
    let stand = stand().await;
    let owner = "create schema other authorization shop_owner; set role shop_owner;
        create table other.hints (id int primary key); insert into other.hints values (1);
        grant usage on schema other to session_role;
        grant select, update, delete on other.hints to session_role;";
    stand.server.psql_in("shop", owner).await.unwrap();
    let script = "begin;\ndelete from hints where id = 1;\nset local search_path = other;\n\
                  delete from hints where id = 1;\ncommit;";
    let told = stand.psql_on(script).await.stderr;
    assert!(told.contains("held"), "{told}");
    assert!(matches!(beyond(&stand)[..], [Beyond::Roots { named: 2, .. }]), "{:?}", beyond(&stand));
}

#[tokio::test]
async fn what_left_nothing_but_a_number_is_found() {
    let stand = stand().await;
    flows(&stand, "insert into deletes values (1)").await;
    assert_eq!(stand.truth("select count(*) from gone").await, "0");
    assert_eq!(kept(&stand, "public.gone"), (0, 2));
    assert_eq!(stand.plan_back().await, ("public.deletes 1, public.gone 2".into(), vec![]));
}

#[tokio::test]
async fn an_upsert_that_is_a_question_itself_is_searched_for() {
    let stand = stand().await;
    flows(
        &stand,
        "insert into orders select g, 'u' from generate_series(999, 1002) g \
             on conflict (id) do update set note = excluded.note",
    )
    .await;
    let expected = Tally { inserted: 2, updated: 2, deleted: 0, kept: 2 };
    assert_eq!(tally(&stand, "public.orders"), expected);
    assert_eq!(kept(&stand, "public.orders"), (2, 0));
    assert_eq!(stand.plan_back().await, ("public.orders 4".into(), vec![]));
}

#[tokio::test]
async fn several_statements_and_their_cascades_add_up() {
    let stand = stand().await;
    let script = "begin;\nselect id from lines where order_id in (3, 4) for update;\n\
                  update lines set n = 5 where id = 2;\nupdate lines set n = 6 where id in (2, 52, 53);\n\
                  delete from orders where id = 3;\n\
                  insert into lines values (2001, 4, 0);\ndelete from hints where id = 3;\ncommit;";
    let ran = stand.psql(script).await;
    // Two tables are named to take rows from.
    assert!(ran.stderr.contains("held as change 1"), "{}", ran.stderr);
    assert!(matches!(beyond(&stand)[..], [Beyond::Roots { named: 2, .. }]), "{:?}", beyond(&stand));
    let script = script.replace("delete from hints where id = 3;\n", "");
    flows(&stand, &script).await;
    // Lines 2, 52, 102 and 152 go with order 3; of 53 there is an older version.
    assert_eq!(kept(&stand, "public.lines"), (1, 4));
    let planned = "public.lines 6, public.orders 1, public.totals 1";
    assert_eq!(stand.plan_back().await, (planned.into(), vec![]));
}

#[tokio::test]
async fn what_is_not_found_whole_is_held() {
    let stand = stand().await;
    let owner = "set role shop_owner;
        create table secrets (id int primary key, order_id int references orders on delete cascade);
        insert into secrets values (1, 20);
        create table keyless (a int references orders on delete set null);
        insert into keyless values (21);
        create table walled (id int primary key, order_id int references orders on delete cascade);
        insert into walled values (1, 22), (2, 22);
        alter table walled enable row level security;
        create policy one on walled to session_role using (id = 1);
        grant select, insert, update, delete on keyless, walled to session_role;";
    stand.server.psql_in("shop", owner).await.unwrap();
    let before = stand.truth("select count(*), (select count(*) from lines) from orders").await;
    let held = [
        ("it may not be read", "delete from orders where id = 20"),
        ("a key is changed", "update names set code = 'z' where code = 'a'"),
        ("no key tells the rows apart", "delete from orders where id = 21"),
        ("row security hides some", "delete from orders where id = 22"),
        (
            "MERGE",
            "merge into orders o using (values (5)) v (n) on o.id = v.n \
                   when matched then update set note = 'x'",
        ),
        ("a CTE", "with d as (update orders set note = 'x' where id = 3) select 1"),
        (
            "a CTE beside",
            "with d as (update orders set note = 'x' where id = 3) \
                          insert into plain values (1)",
        ),
    ];
    for (number, (what, sql)) in held.iter().enumerate() {
        let ran = stand.psql(sql).await;
        let change = format!("held as change {}", number + 1);
        assert!(ran.stderr.contains(&change), "{what}: {}{}", ran.stderr, ran.stdout);
    }
    let after = stand.truth("select count(*), (select count(*) from lines) from orders").await;
    assert_eq!(before, after);
    assert_eq!(stand.truth("select count(*) from orders where note = 'x'").await, "0");
}

#[tokio::test]
async fn a_row_that_others_hold_too_is_found() {
    let stand = stand().await;
    // Somebody refers to the total's row: the server marks it with all who hold it.
    let owner = "set role shop_owner; create table notes (what text references totals);";
    stand.server.psql_in("shop", owner).await.unwrap();
    let mut other = stand.owner().await;
    other.run("begin; insert into notes values ('lines')").await;
    flows(&stand, "insert into lines values (1001, 1, 0)").await;
    assert_eq!(kept(&stand, "public.totals"), (1, 0));
    other.run("rollback").await;
}

#[tokio::test]
async fn a_large_table_is_not_searched() {
    let stand = stand().await;
    stand.gate.limits.lock().unwrap().searched_bytes = 8 * 1024;
    let ran = stand.psql("delete from orders where id = 8").await;
    assert!(ran.stderr.contains("held as change 1"), "{}", ran.stderr);
    let words = format!("{:?}", beyond(&stand));
    assert!(words.contains("tables of up to 8192 are searched"), "{words}");
}

#[tokio::test]
async fn a_client_with_parameters_meets_the_same() {
    let stand = stand().await;
    let mut raw = Raw::connect(&stand).await;
    raw.parse("", "delete from orders where id = $1").bind("", "", &["8"]).execute("", 0).sync();
    assert_eq!(raw.answers().await, ["1", "2", "C DELETE 1", "Z I"]);
    assert_eq!(kept(&stand, "public.lines"), (0, 4));
}

/// Tables that hang together in every way: cascades, keys set to nothing, sums kept by triggers.
const WEB: &str = "
    create table parents (id int primary key, n int default 0);
    create table children (id int primary key, parent int references parents on delete cascade, n int);
    create table notes (id int primary key, child int references children on delete set null);
    insert into parents select g from generate_series(1, 12) g;
    insert into children select g, g % 12 + 1, 0 from generate_series(1, 30) g;
    insert into notes select g, g % 30 + 1 from generate_series(1, 40) g;
    create function sums() returns trigger language plpgsql security definer as $$ begin
      begin
        update public.parents set n = n + 1 where id in (new.parent, old.parent);
      exception when division_by_zero then null;
      end;
      return null; end $$;
    create trigger sums after insert or update or delete on children
      for each row execute function sums();
    grant select, insert, update, delete on parents, children, notes to session_role";

/// A random statement over [`WEB`].
fn statement(random: &mut impl FnMut(u32) -> u32) -> String {
    let id = random(45);
    match random(9) {
        0 => format!("delete from parents where id = {};", id % 14),
        1 => format!("delete from children where id in ({id}, {});", id + 1),
        2 => format!("update children set n = n + 1 where parent = {};", id % 14),
        3 => format!("update children set parent = {} where id = {id};", id % 12 + 1),
        4 => format!("insert into children values ({}, {}, 0);", 100 + id, id % 12 + 1),
        5 => format!(
            "insert into children values ({id}, 1, 7) on conflict (id) do update set n = 7;"
        ),
        6 => format!("update notes set child = null where child <= {};", id / 4),
        7 => format!("update parents set n = 0 where id <= {};", id % 6),
        _ => format!("select * from children where id = {id} for update;"),
    }
}

#[tokio::test]
async fn whatever_hangs_together_what_flows_is_kept() {
    let stand = Stand::weighing().await;
    let (mut flowed, mut changed) = (0, 0);
    for seed in 0..60_u32 {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        stand.set_up_shop(WEB).await;
        let mut script = vec!["begin;".to_owned()];
        for _ in 0..random(6) + 1 {
            match random(5) {
                0 => {
                    let end = ["release s;", "rollback to s;"][random(2) as usize];
                    let inner = statement(&mut random);
                    script.extend(["savepoint s;".to_owned(), inner, end.to_owned()]);
                }
                _ => script.push(statement(&mut random)),
            }
        }
        script.push("commit;".to_owned());
        let script = script.join("\n");
        let told = stand.psql_on(&script).await.stderr;
        let why = format!("seed {seed}:\n{script}\n{told}");
        stand.nothing_is_lost(&why).await;
        flowed += u32::from(told.is_empty());
        changed += u32::from(!stand.lost().await.is_empty());
    }
    assert!(flowed >= 25 && changed >= 25, "only {flowed} flowed, {changed} changed anything");
}
