//! A target that is observed, from the outside: a real server, and every place that says so.

use crate::life::{DROP, Life, json};
use countermand_engine::Clock;
use jiff::{SignedDuration, Timestamp};

const OBSERVED: &str = "OBSERVED, NOTHING IS HELD until ";

/// With the shop observed for two weeks; `own`: by a session role that may own it.
async fn observed(own: bool) -> (Life, Clock) {
    let clock = Clock::manual(Timestamp::now());
    let observe = format!("observe = {{ days = 14, session_may_own = {own} }}\nrehearsal =");
    let edit = move |text: String| text.replacen("rehearsal =", &observe, 1);
    let life = Life::begin_at(edit, clock.clone()).await;
    life.admit_bot().await;
    (life, clock)
}

#[tokio::test]
async fn a_drop_flows_while_observed_and_is_held_after_the_end() {
    let (life, clock) = observed(true).await;
    life.server.psql("GRANT owner TO countermand_session").await.unwrap();
    let doctor = life.run(&["doctor"]).await;
    assert_eq!(doctor.code, 1);
    for words in [OBSERVED, "it may while the target is observed"] {
        assert!(doctor.stdout.contains(words), "{}", doctor.stdout);
    }
    let deleted = life.psql("DELETE FROM billing.invoices WHERE id > 200").await;
    assert_eq!(deleted.stderr, "");
    assert_eq!(life.rows().await, "200");
    let dropped = life.psql(DROP).await;
    assert_eq!(dropped.stderr, "", "it was held");
    assert_eq!(life.rows().await, "gone");

    let report = life.run(&["observe", "report", "shop", "--json"]).await;
    let report = json(&report.stdout);
    assert_eq!((&report["flowed"], &report["held"]), (&2.into(), &2.into()), "{report:#}");
    let words = report["groups"].to_string();
    for said in ["observed: would have been held, waiting for", "800 rows", "postgres:DropTable"] {
        assert!(words.contains(said), "{said}: {report:#}");
    }
    assert!(
        words.contains("destroy table billing.invoices"),
        "its effect was measured: {report:#}"
    );
    assert_eq!(report["proposed"]["rows"], 800);
    let shown = life.run(&["observe", "report", "shop"]).await.stdout;
    assert!(shown.contains("[targets.shop.writes]") && shown.contains("rows = 800"), "{shown}");
    assert!(!shown.contains('\u{202e}') && !shown.contains('\u{1b}'), "the agent's text: {shown}");

    // A SIEM is told: it flowed, and nobody had approved it.
    let copy = life.installation.key("copy").display().to_string();
    assert_eq!(life.run(&["ledger", "export", &copy]).await.code, 0);
    let events = life.run(&["ledger", "export", "--format", "ocsf", "--ledger", &copy]).await;
    let intents: Vec<_> =
        events.stdout.lines().filter(|line| line.contains("flow.intent")).collect();
    let placed =
        intents.iter().map(|line| (json(line)["type_uid"].clone(), json(line)["severity"].clone()));
    let high = (serde_json::json!(600_304), serde_json::json!("High"));
    assert_eq!(placed.collect::<Vec<_>>(), [high.clone(), high], "{}", events.stdout);

    for words in [&["changes", "list"][..], &["agent", "list"], &["observe", "list"]] {
        let said = life.run(words).await.stdout;
        assert!(said.contains(OBSERVED), "{words:?}: {said}");
    }
    let told = life.as_bot(&["changes", "list"]).await.stdout;
    assert!(!told.contains("OBSERVED"), "the agent is told: {told}");

    clock.advance(SignedDuration::from_hours(14 * 24));
    let refused = life.psql("SELECT 1").await;
    assert!(
        refused.stderr.contains("sessions run as owns"),
        "an owner goes on: {}",
        refused.stderr
    );
    life.server.psql("REVOKE owner FROM countermand_session").await.unwrap();
    life.server
        .psql_in("shop", "SET ROLE owner; CREATE TABLE billing.invoices (id int PRIMARY KEY)")
        .await
        .unwrap();
    let held = life.psql(DROP).await;
    assert!(held.stderr.contains("held as change 1"), "{}", held.stderr);
    let said = life.run(&["changes", "list"]).await.stdout;
    assert!(!said.contains(OBSERVED), "{said}");
}

#[tokio::test]
async fn the_wall_stays_where_nobody_took_it_away() {
    let (life, _clock) = observed(false).await;
    let told = life.psql(DROP).await;
    assert!(told.stderr.contains("must be owner of table invoices"), "{}", told.stderr);
    assert_eq!(life.rows().await, "1000");
    let report = life.run(&["observe", "report", "shop", "--json"]).await;
    assert_eq!(json(&report.stdout)["flowed"], 0, "nothing was committed");
    let grant = life.psql("GRANT SELECT ON billing.invoices TO PUBLIC").await;
    assert!(grant.stderr.contains("forbidden"), "{}", grant.stderr);
    let longer = "observe = { days = 15 }\nrehearsal =";
    life.installation.edit(|text| {
        text.replacen("rehearsal =", longer, 1).replacen(
            "observe = { days = 14, session_may_own = false }\n",
            "",
            1,
        )
    });
    let refused = life.run(&["policy", "check"]).await;
    assert!(refused.stderr.contains("1 to 14 days, not 15"), "{}", refused.stderr);
}
