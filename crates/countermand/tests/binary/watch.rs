//! After a change, on a real PostgreSQL: what people said must hold is asked, and does not hold.

use crate::life::{DROP, Life, json};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

impl Life {
    /// Until the change's watch says so.
    async fn watch_says(&self, words: &str) -> Value {
        let said = async {
            loop {
                let shown = self.shown().await;
                let watch = shown["watch"].as_str().unwrap_or_default();
                assert!(!watch.contains("not watched to the end"), "{watch}");
                if watch.contains(words) {
                    return shown;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), said).await.expect("the watch never says it")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_drop_broke_is_seen_said_and_taken_back_by_the_command_it_names() {
    let room = tempfile::tempdir().unwrap();
    let (program, told) = (room.path().join("page"), room.path().join("told"));
    std::fs::write(&program, "#!/bin/sh\ncat > \"$1.new\" && mv \"$1.new\" \"$1\"\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let life = Life::begin_with(|text| {
        format!(
            "{}\n[targets.shop.watch.invoices]\n\
             sql = \"SELECT count(*) FROM billing.invoices\"\nat_least = 1\n",
            text.replace(
                "kind = \"postgres\"",
                &format!("kind = \"postgres\"\nnotify = {{ command = [{program:?}, {told:?}] }}")
            )
        )
    })
    .await;
    life.admit_bot().await;
    assert!(life.psql(DROP).await.stderr.contains("held as change 1"));
    life.prepared().await;
    for who in ["bob", "mallory"] {
        let signed = life.sign(who, &["approve", "1", "--typed", "1 1000"]).await;
        assert_eq!(signed.code, 0, "{}", signed.stderr);
    }
    let shown = life.watch_says("failed").await;
    assert_eq!((&shown["state"], &shown["executions"]), (&"executed".into(), &1.into()));
    let words = shown["watch"].as_str().unwrap();
    assert!(words.contains("\"billing.invoices\" does not exist"), "{words}");
    let offer = "countermand restore 1 --key KEY";
    for words in [&["changes", "show", "1"][..], &["changes", "list"], &["doctor"]] {
        let said = life.run(words).await.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("watch `invoices` failed at"), "{words:?}: {said}");
        assert!(said.contains(offer), "{words:?}: {said}");
    }
    let agents = life.as_bot(&["changes", "show", "1", "--agent", "bot"]).await.stdout;
    assert!(
        agents.contains("watch `invoices` failed") && !agents.contains("does not exist"),
        "{agents}"
    );

    let read = async {
        loop {
            match std::fs::read_to_string(&told) {
                Ok(told) => return json(&told),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(60), read).await.expect("nobody is told");
    assert_eq!((&told["probe"], &told["take_back"]), (&"invoices".into(), &offer.into()));

    let restored = life.sign("bob", &["restore", "1", "--typed", "1 1000"]).await;
    assert_eq!((restored.code, life.rows().await), (0, "1000".into()), "{}", restored.stderr);
    let shown = life.watch_says("every answer was as expected").await;
    assert_eq!(shown["state"], "restored");
    assert!(!life.run(&["doctor"]).await.stdout.contains("failed at"));
    let found = json(&life.run(&["doctor", "--consistency", "--json"]).await.stdout);
    assert_eq!(found["differences"], Value::Array(vec![]));

    // Whoever can replace the program runs as the gateway.
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o702)).unwrap();
    let doctor = life.run(&["doctor"]).await;
    assert!(doctor.code == 1 && doctor.stdout.contains("shop notify: everybody can write"));
}
