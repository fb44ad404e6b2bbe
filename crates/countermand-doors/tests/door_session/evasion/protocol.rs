//! The extended protocol: portals and statements in an order that nobody expects.

use crate::raw::Raw;
use crate::stand::Stand;

/// A shop, and a session in it.
async fn session() -> (Stand, Raw) {
    let stand = Stand::weighing().await;
    stand.set_up_shop("").await;
    let raw = Raw::connect(&stand).await;
    (stand, raw)
}

/// Nothing changed, and the agent was refused.
async fn refused(stand: &Stand, answers: &[String], why: &str) {
    let ours = |answer: &String| answer.starts_with("E CM") || answer == "E 42939";
    assert!(answers.iter().any(ours), "{why}: {answers:?}");
    stand.nothing_is_lost(why).await;
    assert!(stand.lost().await.is_empty(), "{why}: {:?}", stand.lost().await);
}

async fn ends(raw: &mut Raw, sql: &str) -> Vec<String> {
    raw.run(sql).sync();
    raw.answers().await
}

#[tokio::test]
async fn a_portal_is_run_as_itself_whatever_was_bound_last() {
    let (stand, mut raw) = session().await;
    let why = "one portal is bound, so that its rows are kept, and another one is run";
    ends(&mut raw, "begin").await;
    raw.parse("a", "update orders set note = 'x' where id <= 50");
    raw.parse("b", "update orders set note = 'x' where id between 101 and 150");
    raw.bind("pb", "b", &[]).flush().bind("pa", "a", &[]).execute("pb", 0).sync();
    raw.answers().await;
    refused(&stand, &ends(&mut raw, "commit").await, why).await;
    ends(&mut raw, "rollback").await;

    let why = "a portal that reads is bound, and one that writes is run";
    ends(&mut raw, "begin").await;
    raw.parse("r", "select 1");
    raw.bind("pb", "b", &[]).flush().bind("pr", "r", &[]).execute("pb", 0).sync();
    raw.answers().await;
    refused(&stand, &ends(&mut raw, "commit").await, why).await;
}

#[tokio::test]
async fn what_is_bound_now_and_run_later_is_held() {
    let (stand, mut raw) = session().await;
    ends(&mut raw, "begin").await;
    raw.parse("a", "update orders set note = 'x' where id = 5").bind("p", "a", &[]).sync();
    raw.answers().await;
    raw.execute("p", 0).sync();
    raw.answers().await;
    refused(&stand, &ends(&mut raw, "commit").await, "bound now, run later").await;
}

#[tokio::test]
async fn a_portal_that_is_run_in_parts_is_weighed_whole() {
    let (stand, mut raw) = session().await;
    raw.parse("a", "update orders set note = 'x' where id <= 3 returning id");
    raw.bind("p", "a", &[]).execute("p", 1).execute("p", 1).execute("p", 0).sync();
    let answers = raw.answers().await;
    stand.nothing_is_lost("a portal in parts").await;
    let changed = stand.lost().await.len();
    let held = answers.iter().any(|answer| answer.starts_with("E CM"));
    assert!((changed == 3) != held, "{changed} changed: {answers:?}");
}

#[tokio::test]
async fn parameters_mean_the_same_to_the_question() {
    let (stand, mut raw) = session().await;
    // One parameter, new value and condition, of a type that only the server knows.
    raw.parse("", "update customers set name = $1 where name = $1 or id = $2::int");
    raw.bind("", "", &["c5", "7"]).execute("", 0).sync();
    let answers = raw.answers().await;
    stand.nothing_is_lost("one parameter in two places").await;
    assert!(answers.iter().any(|answer| answer.starts_with("E ")), "unique: {answers:?}");
    // Bytes whose type nobody has said: four of them may be a number or a text.
    let mut body = b"\0\0".to_vec();
    body.extend([0, 1, 0, 1, 0, 1, 0, 0, 0, 4]);
    body.extend(5_i32.to_be_bytes());
    body.extend([0, 0]);
    raw.parse("", "update orders set note = 'x' where id = $1");
    raw.message(b'B', &body).execute("", 0).sync();
    refused(&stand, &raw.answers().await, "bytes without a type").await;
}

#[tokio::test]
async fn our_names_are_not_the_agents() {
    let (stand, mut raw) = session().await;
    raw.parse("countermand_before", "select 1").sync();
    refused(&stand, &raw.answers().await, "a statement with our name").await;
    raw.parse("", "select 1").bind("countermand_before", "", &[]).sync();
    refused(&stand, &raw.answers().await, "a portal with our name").await;
}

#[tokio::test]
async fn an_error_in_a_pipeline_leaves_nothing() {
    let (stand, mut raw) = session().await;
    raw.run("update orders set note = 'x' where id = 1").run("select 1 / (id - 1) from orders");
    raw.run("update orders set note = 'x' where id = 2").sync();
    let answers = raw.answers().await;
    assert!(answers.contains(&"E 22012".to_owned()), "{answers:?}");
    assert!(stand.lost().await.is_empty());
    let answers = ends(&mut raw, "update orders set note = 'x' where id = 3").await;
    assert!(answers.contains(&"C UPDATE 1".to_owned()), "{answers:?}");
    stand.nothing_is_lost("after an error").await;
}

#[tokio::test]
async fn a_row_changed_behind_many_savepoints_is_counted_each_time() {
    let (stand, mut raw) = session().await;
    raw.run("begin");
    for _ in 0..101 {
        raw.run("savepoint a").run("update orders set note = note || 'x' where id = 5");
        raw.run("release a");
    }
    raw.run("commit").sync();
    refused(&stand, &raw.answers().await, "many savepoints").await;
}

#[tokio::test]
async fn who_leaves_at_the_commit_leaves_all_or_nothing() {
    let (stand, _) = session().await;
    for id in [1, 2, 3, 4] {
        let mut raw = Raw::connect(&stand).await;
        raw.run("begin").run(&format!("update orders set note = 'x' where id = {id}"));
        raw.run(&format!("update customers set vip = true where id = {id}")).run("commit").sync();
        raw.send().await;
    }
    let idle = "select count(*) = 0 from pg_stat_activity where usename = 'session_role'";
    while stand.truth(idle).await != "t" {}
    stand.nothing_is_lost("gone at the commit").await;
    let halves = "select count(*) from orders o join customers c using (id)
                  where (o.note = 'x') <> c.vip";
    assert_eq!(stand.truth(halves).await, "0");
}
