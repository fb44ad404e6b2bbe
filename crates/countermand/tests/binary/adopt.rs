//! Adoption on a real PostgreSQL: what an agent may not do becomes a human's change, and is done.

use crate::life::{DROP, Life, json};

/// The table is critical, and alice herself may grant; her agent may not.
async fn begin() -> Life {
    let life = Life::begin_with(|text| {
        let effects = "effects = [\"read\", \"write\", \"destroy\"]";
        assert!(text.contains(effects), "{text}");
        let text = text.replace(effects, "effects = [\"read\", \"write\", \"destroy\", \"grant\"]");
        format!("{text}\n[targets.shop.object_tags]\n\"billing.invoices\" = [\"critical\"]\n")
    })
    .await;
    life.admit_bot().await;
    life
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_may_not_do_a_human_adopts_and_others_sign() {
    let life = begin().await;
    for _ in 0..2 {
        let said = life.psql(&format!("\\set VERBOSITY verbose\n{DROP}")).await;
        for told in [
            "CM002",
            "(floor/critical)",
            "kept as change 1: would destroy table",
            "countermand adopt 1",
        ] {
            assert!(said.stderr.contains(told), "`{told}` is not in\n{}", said.stderr);
        }
    }
    let waits = life.as_bot(&["changes", "show", "1", "--agent", "bot"]).await;
    assert!(waits.stdout.contains("a human who adopts it"), "{}", waits.stdout);
    let early = life.sign("bob", &["approve", "1", "--typed", "1 1000"]).await;
    assert!(early.code == 1 && early.stderr.contains("countermand adopt 1"), "{}", early.stderr);

    let other = life.sign("bob", &["adopt", "1", "--typed", "1 1000"]).await;
    assert!(other.code == 1 && other.stderr.contains("no sponsor"), "{}", other.stderr);
    let wrong = life.sign("alice", &["adopt", "1", "--typed", "1 1"]).await;
    assert!(wrong.code == 1 && wrong.stderr.contains("nothing was signed"), "{}", wrong.stderr);
    let adopted = life.sign("alice", &["adopt", "1", "--typed", "1 1000"]).await;
    assert_eq!(adopted.code, 0, "{}", adopted.stderr);
    assert!(adopted.stdout.contains("another human approves it"), "{}", adopted.stdout);
    let said = life.psql(DROP).await;
    assert!(said.stderr.contains("alice has adopted change 1"), "{}", said.stderr);

    life.prepared().await;
    let own = life.sign("alice", &["approve", "1", "--typed", "1 1000"]).await;
    assert!(own.code == 1 && own.stderr.contains("adopted this change"), "{}", own.stderr);
    for (key, who) in [("bob", "bob"), ("mallory", "carol")] {
        let words = ["approve", "1", "--typed", "1 1000", "--as", who];
        let signed = life.sign(key, &words).await;
        assert_eq!(signed.code, 0, "{}", signed.stderr);
        assert!(signed.stderr.contains("alice, as their own change"), "{}", signed.stderr);
    }
    let done = life.run(&["changes", "wait", "1", "--json"]).await;
    let seen = json(&done.stdout);
    assert_eq!(
        (done.code, &seen["state"], &seen["adopted"]),
        (0, &"executed".into(), &"alice".into())
    );
    assert_eq!(life.rows().await, "gone");
    let told = life.psql(DROP).await;
    assert!(told.success && told.stderr.contains("executed as change 1"), "{}", told.stderr);
    let back = life.sign("bob", &["restore", "1", "--typed", "1 1000"]).await;
    assert_eq!((back.code, life.rows().await.as_str()), (0, "1000"), "{}", back.stderr);
    let found = json(&life.run(&["doctor", "--consistency", "--json"]).await.stdout);
    assert_eq!(found["differences"], serde_json::json!([]));
    // What a human adopted used no grant of the agent's.
    let report = life.run(&["agent", "report", "bot", "--since", "12h"]).await;
    let enough = "countermand agent add bot --targets";
    assert!(
        report.stdout.contains("used          nothing") && !report.stdout.contains(enough),
        "{}",
        report.stdout
    );
    assert!(life.psql("SELECT 1 FROM billing.invoices").await.success);
    let report = life.run(&["agent", "report", "--since", "12h"]).await;
    let enough = format!("{enough} shop --effects read --key KEY");
    for seen in ["shop: postgres:Select 1 times", "unused        write, destroy", &enough] {
        assert!(report.stdout.contains(seen), "`{seen}` is not in\n{}", report.stdout);
    }
    let told = json(&life.run(&["agent", "report", "--json"]).await.stdout);
    assert_eq!(told[0]["tighter"]["effects"], serde_json::json!(["read"]));
    // The agent, the adoption, two approvals, the restore.
    life.verified_with(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_made_by_humans() {
    let life = begin().await;
    life.server.psql("CREATE ROLE reader").await.unwrap();
    let grant = "GRANT SELECT ON billing.invoices TO reader";
    let said = life.psql(grant).await;
    for told in ["(floor/grant)", "(grant/agent/bot)", "countermand adopt 1"] {
        assert!(said.stderr.contains(told), "`{told}` is not in\n{}", said.stderr);
    }
    // Who is in no transaction of the gateway's own is kept for nobody.
    let inside = life.psql(&format!("BEGIN;\n{grant}, countermand_executor;\nCOMMIT;")).await;
    assert!(inside.stderr.contains("No approval would permit this"), "{}", inside.stderr);
    assert_eq!(life.sign("alice", &["adopt", "1", "--typed", "1 0"]).await.code, 0);
    for (key, who) in [("bob", "bob"), ("mallory", "carol")] {
        let words = ["approve", "1", "--typed", "1 0", "--as", who];
        let signed = life.sign(key, &words).await;
        assert_eq!(signed.code, 0, "{}", signed.stderr);
    }
    let done = life.run(&["changes", "wait", "1"]).await;
    assert_eq!(done.code, 0, "{}", done.stdout);
    let may = "SELECT has_table_privilege('reader', 'billing.invoices', 'SELECT')";
    assert_eq!(life.server.psql_in("shop", may).await.unwrap().trim(), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_everything_says_that_nobody_else_has_looked() {
    let life = Life::begin_with(|text| {
        let others = text.find("\n[people.bob]").unwrap();
        let alone = &text[..others];
        format!("{alone}\n[targets.shop.object_tags]\n\"billing.invoices\" = [\"critical\"]\n")
    })
    .await;
    life.admit_bot().await;
    assert!(life.psql(DROP).await.stderr.contains("countermand adopt 1"));
    let adopted = life.sign("alice", &["adopt", "1", "--typed", "1 1000"]).await;
    assert!(adopted.stdout.contains("not peer-reviewed"), "{}{}", adopted.stdout, adopted.stderr);
    life.prepared().await;
    let words = "confirmed by its sponsor, not peer-reviewed";
    let waits = life.run(&["changes", "show", "1"]).await;
    assert!(waits.stdout.contains("confirmation by its sponsor, not peer-reviewed"));
    let signed = life.sign("alice", &["approve", "1", "--typed", "1 1000"]).await;
    assert!(signed.stdout.contains(words), "{}{}", signed.stdout, signed.stderr);
    assert_eq!(life.run(&["changes", "wait", "1"]).await.code, 0);
    for command in [&["changes", "list"][..], &["changes", "show", "1"]] {
        let said = life.run(command).await;
        assert!(said.stdout.contains(&format!("executed, {words}")), "{}", said.stdout);
    }
    let shown = life.shown().await;
    assert_eq!(shown["not_peer_reviewed"], true);
    let own = life.as_bot(&["changes", "show", "1", "--agent", "bot"]).await;
    assert!(own.stdout.contains(words), "{}", own.stdout);
    let told = life.psql(DROP).await;
    assert!(told.success && told.stderr.contains(words), "{}", told.stderr);
}

fn written(life: &Life, name: &str, sql: &str) -> String {
    let file = life.installation.folder().join(name);
    std::fs::write(&file, sql).unwrap();
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_human_proposes_their_own_change_and_another_approves_it() {
    let life = begin().await;
    // Names are found as in a session of the role.
    let role = "ALTER ROLE countermand_session SET search_path = billing; \
                ALTER ROLE countermand_session SET timezone = 'Asia/Tokyo'";
    life.server.psql_in("shop", role).await.unwrap();
    let file = written(&life, "own.sql", "BEGIN;\nDROP TABLE invoices;\nCOMMIT;\n");
    let words = ["propose", &file, "--target", "shop"];
    let other = life.sign("bob", &[&words[..], &["--typed", "1 1000"]].concat()).await;
    assert!(other.code == 1 && other.stderr.contains("no sponsor"), "{}", other.stderr);
    let cancelled = life.sign("alice", &[&words[..], &["--typed", "1 1"]].concat()).await;
    assert!(cancelled.code == 1 && cancelled.stderr.contains("nothing was signed"));
    let shown = life.run(&["changes", "show", "1"]).await;
    for told in ["unsigned", "in alice's name", "alice's own signature", "uid ", "Asia/Tokyo"] {
        assert!(shown.stdout.contains(told), "`{told}` is not in\n{}", shown.stdout);
    }
    let signed = life.sign("alice", &[&words[..], &["--typed", "1 1000"]].concat()).await;
    assert_eq!(signed.code, 0, "{}", signed.stderr);
    let again = life.sign("alice", &[&words[..], &["--typed", "1 1000"]].concat()).await;
    assert!(again.code == 1 && again.stderr.contains("change 1 already"), "{}", again.stderr);

    life.prepared().await;
    for (key, who) in [("bob", "bob"), ("mallory", "carol")] {
        let signed = life.sign(key, &["approve", "1", "--typed", "1 1000", "--as", who]).await;
        assert_eq!(signed.code, 0, "{}", signed.stderr);
    }
    let done = life.run(&["changes", "wait", "1", "--json"]).await;
    assert_eq!(json(&done.stdout)["state"], "executed", "{}", done.stderr);
    for (sql, told) in [
        ("SELECT 1", "changes nothing"),
        ("SET search_path = evil; DROP TABLE x", "about the session"),
        ("COPY billing.invoices FROM STDIN", "about the session"),
    ] {
        let file = written(&life, "no.sql", sql);
        let said = life.sign("alice", &["propose", &file, "--target", "shop"]).await;
        assert!(said.code == 1 && said.stderr.contains(told), "{sql}: {}", said.stderr);
    }
}

/// What a human signs is the text they see: asked again in another spelling, it is that one.
#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_takes_the_place_of_what_nobody_signed() {
    let life = begin().await;
    let propose = async |name: &str, sql: &str, typed: &str| {
        let file = written(&life, name, sql);
        life.sign("alice", &["propose", &file, "--target", "shop", "--typed", typed]).await
    };
    let second = "drop  table Billing . Invoices -- tidy";
    for (number, name, sql) in [
        (1, "one.sql", "DROP TABLE billing.invoices"),
        (2, "two.sql", second),
        (2, "again.sql", second),
    ] {
        let cancelled = propose(name, sql, "0 0").await;
        assert!(cancelled.stderr.contains("nothing was signed"), "{}", cancelled.stderr);
        let listed = json(&life.run(&["changes", "list", "--open", "--json"]).await.stdout);
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
        assert_eq!(listed[0]["number"], number, "{listed}");
    }
    assert_eq!(life.shown().await["state"], "withdrawn");
    let signed = propose("signed.sql", second, "2 1000").await;
    assert_eq!(signed.code, 0, "{}", signed.stderr);
    // Signed, it is what it is: the first spelling joins it.
    let joined = propose("one.sql", "DROP TABLE billing.invoices", "2 1000").await;
    assert!(joined.code == 1 && joined.stderr.contains("change 2 already"), "{}", joined.stderr);
    let shown = life.run(&["changes", "show", "2"]).await.stdout;
    assert!(shown.contains("drop  table Billing . Invoices"), "{shown}");
}
