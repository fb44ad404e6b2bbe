//! A unit that standing approvals carry: the agent waits, and hears what its statement did.

use crate::raw::Raw;
use crate::stand::Stand;
use countermand_core::change::Outcome;

async fn carrying(tag: &str) -> Stand {
    let stand = Stand::weighing().await;
    let outcome = Outcome { said: vec![tag.to_owned()], ..Outcome::default() };
    *stand.gate.carries.lock().unwrap() = Some(outcome);
    stand
}

/// Too many rows: stopped before it runs.
const MANY: &str = "update orders set note = 'x' where id <= 101";
/// Rows that nobody asked for: seen when it has run.
const ODD: &str =
    "with d as (delete from orders where id = 1) update orders set note = 'x' where id = 2";
/// Not measured at all.
const WHOLE: &str = "truncate orders";

async fn is_untouched(stand: &Stand) {
    let sql = "select count(*) filter (where note <> 'x') from orders";
    assert_eq!(stand.truth(sql).await, stand.orders().await);
    assert_eq!(stand.truth("select count(*) from orders where id = 1").await, "1");
    let open = "select count(*) from pg_stat_activity where state like 'idle in transaction%'";
    assert_eq!(stand.truth(open).await, "0");
}

#[tokio::test]
async fn a_statement_is_answered_with_what_the_change_did() {
    for sql in [MANY, ODD, WHOLE] {
        let stand = carrying("SOME 7").await;
        let ran = stand.psql(&format!("\\set QUIET off\n{sql}")).await;
        assert!(ran.success, "{sql}: {}", ran.stderr);
        assert_eq!(ran.stdout.trim(), "SOME 7", "{sql}");
        assert!(ran.stderr.contains("executed as change 1 at 2026-01-01"), "{}", ran.stderr);
        is_untouched(&stand).await;
    }
}

#[tokio::test]
async fn no_answer_is_missing_and_none_comes_twice() {
    let notice = |answer: &String| !answer.starts_with('N');
    for sql in [MANY, ODD, WHOLE] {
        let stand = carrying("SOME 7").await;
        let mut raw = Raw::connect(&stand).await;
        raw.parse("u", sql).bind("", "u", &[]).describe(b'P', "").execute("", 0);
        raw.message(b'C', b"Su\0").sync();
        let answers: Vec<_> = raw.answers().await.into_iter().filter(notice).collect();
        assert_eq!(answers, ["1", "2", "n", "C SOME 7", "3", "Z I"], "{sql}");
        // The session goes on, and the name is free.
        raw.parse("u", "select 1").bind("", "u", &[]).execute("", 0).sync();
        assert_eq!(raw.answers().await, ["1", "2", "D 1", "C SELECT 1", "Z I"], "{sql}");
        is_untouched(&stand).await;
    }
}

#[tokio::test]
async fn where_more_was_said_already_it_is_held_as_ever() {
    let second = MANY.replace("'x'", "'y'");
    for sql in [
        format!("begin;\n{MANY};\ncommit;"),
        format!("begin\\; {MANY}\\; commit;"),
        format!("{MANY}\\; {second};"),
        format!("select 1\\; {MANY};"),
    ] {
        let stand = carrying("SOME 7").await;
        let ran = stand.psql(&sql).await;
        assert!(!ran.success && ran.stderr.contains("held"), "{sql}: {}{}", ran.stdout, ran.stderr);
        assert!(!ran.stderr.contains("executed"), "{sql}: {}", ran.stderr);
        is_untouched(&stand).await;
    }
}

#[tokio::test]
async fn what_waited_and_was_not_carried_is_held() {
    let stand = carrying("SOME 7").await;
    // It was carried when it was held, and is not any more.
    stand.gate.forgets.store(true, std::sync::atomic::Ordering::Relaxed);
    for sql in [MANY, ODD, WHOLE] {
        let ran =
            stand.psql_on(&format!("{sql};\ninsert into orders values (5000, 'after')")).await;
        assert!(ran.stderr.contains("held as change"), "{sql}: {}", ran.stderr);
        assert!(ran.stderr.contains("writes nothing else"), "{sql}: {}", ran.stderr);
        is_untouched(&stand).await;
    }
}
