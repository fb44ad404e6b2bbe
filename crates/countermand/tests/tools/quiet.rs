//! An application's ordinary hour: thousands of statements, and nobody is asked anything. A
//! gateway that nags gets switched off.

use crate::stage::{Stage, file, said};
use countermand_engine::Clock;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// What a site would let the agent that runs its shop do without asking: a few rows at a time, rows
/// of two tables gone in one transaction, and in an hour as many as its busiest one had, twice.
const WRITES: &str =
    "rows = 20\nrows_per_hour = 10_000\nkept_bytes = 262_144\nroots = 2\ninserted = 50";
/// Its scripts, and how often each runs in a hundred times.
const MIX: [(&str, u32); 6] =
    [("look", 30), ("place", 20), ("change", 20), ("basket", 20), ("settle", 7), ("report", 3)];
/// The hour comes in parts of five minutes; each has sessions of its own, by turns in each of the
/// ways to send a statement.
const PARTS: i64 = 12;
const SESSIONS: u32 = 4;
const EACH: u32 = 55;
const MODES: [&str; 3] = ["prepared", "simple", "extended"];
/// At least as many statements.
const STATEMENTS: u64 = 10_000;

struct Hour {
    stage: Stage,
    clock: Clock,
    statements: u64,
}

impl Hour {
    async fn begin() -> Hour {
        let clock = Clock::manual(Timestamp::now());
        let stage = Stage::at("sql/hour.sql", WRITES, clock.clone()).await;
        Hour { stage, clock, statements: 0 }
    }

    /// Five minutes of it; every transaction must have been done.
    async fn part(&mut self, number: i64) {
        let mode = MODES[usize::try_from(number).unwrap() % MODES.len()];
        let mut words: Vec<String> = ["-n", "-r", "-j", "2", "-M", mode].map(str::to_owned).into();
        let counts = [("-c", u64::from(SESSIONS)), ("-t", u64::from(EACH))];
        words.extend(
            counts.iter().flat_map(|(flag, count)| [(*flag).to_owned(), count.to_string()]),
        );
        words.push(format!("--random-seed={number}"));
        for (name, weight) in MIX {
            let script = file(&format!("sql/hour/{name}.sql"));
            words.extend(["-f".to_owned(), format!("{}@{weight}", script.display())]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.stage.program("pgbench", &self.stage.agent(), &words).await;
        let (stdout, stderr) = said(&output);
        let all = SESSIONS * EACH;
        assert!(stdout.contains(&format!("processed: {all}/{all}\n")), "{mode}: {stdout}{stderr}");
        assert!(output.status.success(), "{mode}: {stderr}");
        self.statements += statements(&stdout);
        self.clock.advance(SignedDuration::from_mins(5));
    }
}

/// How many statements pgbench sent: for each script as often as it ran, what it holds.
fn statements(report: &str) -> u64 {
    let holds: BTreeMap<&str, u64> = MIX.iter().map(|(name, _)| (*name, length(name))).collect();
    let mut name = None;
    let mut sent = 0;
    for line in report.lines() {
        if let Some(path) = line.strip_prefix("SQL script ") {
            name = MIX.iter().map(|(name, _)| *name).find(|n| path.ends_with(&format!("{n}.sql")));
        } else if let (Some(name), Some(ran)) = (name, line.strip_prefix(" - "))
            && let Some((count, _)) = ran.split_once(" transactions (")
        {
            sent += holds[name] * count.parse::<u64>().unwrap();
        }
    }
    sent
}

fn length(name: &str) -> u64 {
    let text = crate::stage::text(&format!("sql/hour/{name}.sql"));
    text.lines().filter(|line| line.ends_with(';') || line.ends_with("\\gset")).count() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_hour_asks_nobody() {
    let mut hour = Hour::begin().await;
    for number in 0..PARTS {
        hour.part(number).await;
    }
    println!("{} statements", hour.statements);
    assert!(hour.statements >= STATEMENTS, "only {} statements", hour.statements);
    hour.stage.nothing_held().await;
    // They were done: the sequence, what was sold and what is left agree.
    let agree = "SELECT (SELECT count(*) FROM orders) > 2000,
        (SELECT sum(1000000 - stock) FROM products) =
            (SELECT sum(quantity) FROM lines WHERE order_id > 2000),
        (SELECT count(*) FROM events WHERE what = 'placed') = (SELECT count(*) - 2000 FROM orders)";
    assert_eq!(hour.stage.truth(agree).await, "t|t|t");
    hour.stage.down().await;
}

/// Each between two ordinary statements of a session of its own.
const DESTROYS: [&str; 3] = [
    "DELETE FROM lines WHERE quantity > 0",
    "UPDATE customers SET name = 'x' WHERE id <= 21",
    "TRUNCATE events",
];

#[tokio::test(flavor = "multi_thread")]
async fn three_that_destroy_are_found_among_the_others() {
    let mut hour = Hour::begin().await;
    for (number, destroys) in (0..).zip(DESTROYS) {
        let script = format!(
            "\\set ON_ERROR_STOP off\nUPDATE customers SET seen = now() WHERE id = 1;\n{destroys};\n\
             SELECT 'on';\nROLLBACK;\nUPDATE products SET name = 'mark {number}' WHERE id = 100;\n"
        );
        std::fs::write(hour.stage.folder().join("hidden.sql"), script).unwrap();
        let agent = hour.stage.agent();
        let hidden = hour.stage.psql_with(&agent, &["-f", "hidden.sql"]).await;
        let (stdout, stderr) = said(&hidden);
        assert_eq!(stdout.trim(), "on", "{stderr}");
        assert_eq!(stderr.matches("ERROR").count(), 1, "{stderr}");
        hour.part(number).await;
    }
    hour.stage.only_held(&DESTROYS).await;
    let left = "SELECT (SELECT count(*) FROM lines) >= 2000, (SELECT count(*) FROM events) > 100,
        (SELECT count(*) FROM customers WHERE name = 'x'), (SELECT name FROM products WHERE id = 100)";
    assert_eq!(hour.stage.truth(left).await, "t|t|0|mark 2");
    hour.stage.down().await;
}
