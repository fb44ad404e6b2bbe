//! Five hundred writes of an agent, with somebody else at the same rows.

use super::writes::Step;
use super::*;
use crate::postgres::target::catalog::text;
use crate::postgres::target::client::Client;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::collections::BTreeMap;

const IDS: u32 = 200;
const WRITES: usize = 500;

/// A write of the agent to a row, whatever the row is by then.
fn step(random: &mut StdRng, id: u32, time: usize) -> Step {
    let row = format!("id = {id}");
    match random.random_range(0..3) {
        0 => change("shop.t", &row, &format!("UPDATE shop.t SET v = 'a{time}' WHERE {row}")),
        1 => change("shop.t", &row, &format!("DELETE FROM shop.t WHERE {row}")),
        _ => add(
            "shop.t",
            1,
            &format!("INSERT INTO shop.t VALUES ({id}, 'a{time}') ON CONFLICT DO NOTHING"),
        ),
    }
}

/// What the rows are, without who wrote them.
async fn content(client: &mut Client) -> BTreeMap<u32, String> {
    let all = client.query("SELECT t.id, t.v FROM shop.t t", &[]).await.unwrap();
    all.iter().map(|row| (text(row, 0).parse().unwrap(), text(row, 1).to_owned())).collect()
}

#[tokio::test]
async fn of_five_hundred_writes_in_a_crowd_every_row_is_as_before_or_named() {
    let site = Site::start(&format!(
        "CREATE SCHEMA shop; CREATE TABLE shop.t (id int PRIMARY KEY, v text);
         INSERT INTO shop.t SELECT g, 'v' || g FROM generate_series(1, {}) g;",
        IDS / 2
    ))
    .await;
    let mut random = StdRng::seed_from_u64(20_261_122);
    let (mut writes, mut first) = (Vec::new(), BTreeMap::new());
    // When somebody else last wrote a row, and when the agent first did.
    let (mut theirs, mut began) = (BTreeMap::new(), BTreeMap::new());
    let mut other = site.target.connect().await.unwrap();
    for time in 0..WRITES {
        let id = random.random_range(1..=IDS);
        let row = |all: BTreeMap<u32, String>| all.get(&id).cloned();
        let was = row(content(&mut other).await);
        writes.push(site.writes(&[step(&mut random, id, time)]).await);
        if row(content(&mut other).await) != was {
            first.entry(id).or_insert(was);
            began.entry(id).or_insert(time);
        }
        // Somebody else works on every fourth row, between the agent's writes.
        let id = random.random_range(1..=IDS / 4) * 4;
        let sql = match random.random_range(0..3) {
            0 => format!("UPDATE shop.t SET v = 'b{time}' WHERE id = {id}"),
            1 => format!("DELETE FROM shop.t WHERE id = {id}"),
            _ => format!("INSERT INTO shop.t VALUES ({id}, 'b{time}') ON CONFLICT DO NOTHING"),
        };
        if !other.batch(&sql).await.unwrap().ends_with(" 0") {
            theirs.insert(id, time);
        }
    }
    let plan = site.plan_back(&writes).await;
    let at_last = content(&mut other).await;
    let done = site.take_back(&writes).await;
    assert!(done.equal, "{done:?}");
    let planned: u64 = plan.rows.values().chain(plan.removed.values()).sum();
    assert!(plan.removed["shop.t"] > 0 && rows(&done) == planned, "{done:?}");
    assert_eq!(done.left, plan.conflicts);
    assert!(rows(&done) > 50, "{done:?}");
    let after = content(&mut other).await;
    let mut not_as_before = 0;
    for id in 1..=IDS {
        let (now, then) = (after.get(&id), at_last.get(&id));
        let Some(before) = first.get(&id) else {
            assert_eq!(now, then, "{id}: the agent was never there");
            continue;
        };
        if now == before.as_ref() {
            continue;
        }
        // Rows that only the agent has written since it began are as before. Of the others, what
        // somebody else wrote stands or is back.
        not_as_before += 1;
        assert!(theirs.get(&id).is_some_and(|time| time >= &began[&id]), "{id}: {now:?}");
        assert!(now == then || now.is_some_and(|v| v.starts_with('b')), "{id}: {now:?}");
    }
    for (id, v) in at_last.iter().filter(|(_, v)| v.starts_with('b')) {
        assert_eq!(after.get(id), Some(v), "{id} was theirs");
    }
    let number = |text: &str, before: &str| {
        let digits = text.strip_prefix(before)?.split(' ').next()?;
        digits.parse::<usize>().ok()
    };
    let named = done
        .left
        .iter()
        .map(|line| number(line, "shop.t: up to ").or(number(line, "and ")).unwrap_or(1));
    let named = named.sum();
    assert!((1..=named).contains(&not_as_before), "{not_as_before} of {named}: {done:?}");
}
