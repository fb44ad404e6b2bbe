//! A nightly job on a real PostgreSQL: people sign once, and it runs by itself, up to what they
//! signed.

use crate::life::{Life, json};

/// A thousand rows of five days, and an agent that may delete them.
async fn nights() -> Life {
    let life = Life::begin().await;
    let days = "ALTER TABLE billing.invoices ADD day date;
        UPDATE billing.invoices SET day = date '2026-01-01' + (id - 1) / 200;
        GRANT UPDATE, DELETE ON billing.invoices TO countermand_session";
    life.server.psql_in("shop", days).await.unwrap();
    life.admit_bot().await;
    life
}

/// Both humans sign for what change 1 asks, of up to 400 rows.
async fn signed(life: &Life) {
    let words = ["standing", "approve", "1", "--until", "30d", "--runs", "5", "--apart", "1s"];
    let most = ["--rows", "billing.invoices=400", "--typed", "1 400"];
    let words = [&words[..], &most].concat();
    let own = life.sign("alice", &words).await;
    assert!(own.code == 1 && own.stderr.contains("sponsor"), "{}", own.stderr);
    let bob = life.sign("bob", &words).await;
    assert_eq!(bob.code, 0, "{}", bob.stderr);
    for seen in ["may be any others", "'2026-01-02'", "400 rows of billing.invoices"] {
        assert!(bob.stderr.contains(seen), "`{seen}` is not in\n{}", bob.stderr);
    }
    let carol = life.sign("mallory", &[&words[..], &["--as", "carol"]].concat()).await;
    assert_eq!(carol.code, 0, "{}", carol.stderr);
}

fn before(day: &str) -> String {
    format!("DELETE FROM billing.invoices WHERE day < '{day}'")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nightly_delete_with_a_new_date_flows_through_and_a_larger_one_is_held() {
    let life = nights().await;
    let first = life.psql(&before("2026-01-02")).await;
    assert!(first.stderr.contains("held as change 1"), "{}", first.stderr);
    life.prepared().await;
    signed(&life).await;
    assert_eq!(life.run(&["changes", "withdraw", "1"]).await.code, 0);

    // The agent's own psql waits, and ends as if it had done it itself.
    for (night, left) in [("2026-01-02", "800"), ("2026-01-03", "600")] {
        let said = life.psql(&format!("\\set QUIET off\n{}", before(night))).await;
        assert!(said.success, "{}", said.stderr);
        assert_eq!((said.stdout.as_str(), life.rows().await.as_str()), ("DELETE 200\n", left));
        assert!(said.stderr.contains("NOTICE:  executed as change"), "{}", said.stderr);
    }

    // In any spelling, and as a file; not with another unit around it, nor for other rows of
    // another kind, nor for more of them.
    let file = life.installation.folder().join("nightly.sql");
    std::fs::write(
        &file,
        "begin; delete from billing.invoices where (day < '2026-01-04'); commit;",
    )
    .unwrap();
    let proposed = life.as_bot(&["propose", file.to_str().unwrap(), "--as", "bot"]).await;
    assert_eq!((proposed.code, life.rows().await.as_str()), (0, "400"), "{}", proposed.stderr);
    for (other, number) in [
        ("DELETE FROM billing.invoices WHERE day < '2026-01-04' OR id < 750".to_owned(), 5),
        (before("2026-01-06"), 6),
        (format!("{}\\; SELECT 1", before("2026-01-05")), 7),
    ] {
        let said = life.psql(&other).await;
        let held = format!("held as change {number}");
        assert!(said.stderr.contains(&held), "{other}: {}{}", said.stdout, said.stderr);
        assert_eq!(life.rows().await, "400");
    }

    let listed = json(&life.run(&["standing", "list", "--json"]).await.stdout);
    assert_eq!((&listed[0]["used"], &listed[1]["used"]), (&3.into(), &3.into()));
    assert_eq!(life.run(&["standing", "revoke", "1"]).await.code, 0);
    let last = life.psql(&before("2026-01-05")).await;
    assert!(last.stderr.contains("held as change 8"), "{}", last.stderr);
    let shown = life.run(&["standing", "list"]).await;
    assert!(
        shown.stdout.contains("3 of 5") && shown.stdout.contains("in force"),
        "{}",
        shown.stdout
    );

    let found = json(&life.run(&["doctor", "--consistency", "--json"]).await.stdout);
    assert_eq!(found["differences"], serde_json::json!([]));
    // One agent, two standing approvals, and each again with each of three changes.
    life.verified_with(9).await;
}
