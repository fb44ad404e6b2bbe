//! pgbench: its own scripts, in every query mode.

use crate::stage::{Stage, said};

const CLIENTS: u32 = 4;
const EACH: u32 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_runs_all_its_scripts_in_every_mode() {
    let stage = Stage::up("sql/pgbench.sql", "rows = 10\nrows_per_hour = 100_000").await;
    let mut written = 0;
    for script in [["-b", "tpcb-like"], ["-b", "simple-update"], ["-b", "select-only"]] {
        for mode in ["simple", "extended", "prepared"] {
            let (clients, each) = (CLIENTS.to_string(), EACH.to_string());
            let mut words = vec!["-n", "-M", mode, "-c", &clients, "-j", "2", "-t", &each];
            words.extend(script);
            let output = stage.program("pgbench", &stage.agent(), &words).await;
            let (stdout, stderr) = said(&output);
            let all = format!("processed: {0}/{0}", CLIENTS * EACH);
            assert!(stdout.contains(&all), "{script:?} {mode}: {stdout}{stderr}");
            assert!(output.status.success(), "{script:?} {mode}: {stderr}");
            written += if script[1] == "select-only" { 0 } else { CLIENTS * EACH };
        }
    }
    stage.nothing_held().await;
    // What pgbench's own consistency rests on: every balance is the sum of what its history says.
    let balances = "SELECT (SELECT count(*) FROM pgbench_history),
        (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
        (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers)";
    assert_eq!(stage.truth(balances).await, format!("{written}|t|t"));
    stage.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_that_would_empty_a_table_first_is_held() {
    let stage = Stage::up("sql/pgbench.sql", "").await;
    stage.truth("INSERT INTO pgbench_history VALUES (1, 1, 1, 0)").await;
    let output = stage.program("pgbench", &stage.agent(), &["-t", "1"]).await;
    // pgbench itself says so and goes on.
    assert!(said(&output).1.contains("held as change"), "{output:?}");
    assert_eq!(stage.truth("SELECT count(*) FROM pgbench_history").await, "2");
    stage.down().await;
}
