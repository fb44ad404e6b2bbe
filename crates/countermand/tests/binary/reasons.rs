//! `policy explain`: of changes and of requests, in words and as JSON.

use crate::life::{DROP, Life, json};
use serde_json::Value;

const POLICY: &str = "@id(\"site/dba\") @reason(\"billing wants a dba\")
forbid (principal, action in Action::\"Destroy\", resource)
when { resource.name like \"billing.*\" }
unless { context.evidence.approvals.groups.dba >= 1 };
@id(\"site/no-truncate\") @reason(\"nobody truncates\")
forbid (principal, action == Action::\"postgres:Truncate\", resource);";

/// carol is in `dba`, and the site has policies of its own.
async fn begin() -> (Life, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("billing.cedar"), POLICY).unwrap();
    let policies = format!("policies = {:?}", folder.path());
    let life = Life::begin_with(|text| {
        assert!(text.contains("policies = \"policies\""), "{text}");
        let text = text.replace("policies = \"policies\"", &policies);
        text.replace("[reviewers.carol]\n", "[reviewers.carol]\ngroups = [\"dba\"]\n")
    });
    (life.await, folder)
}

impl Life {
    async fn explain(&self, sql: &str) -> Value {
        let words = ["policy", "explain", sql, "--agent", "bot", "--target", "shop", "--json"];
        let ended = self.run(&words).await;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        json(&ended.stdout)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_explained_without_its_target() {
    let (life, _policies) = begin().await;
    life.admit_bot().await;
    let rows = life.rows().await;

    let read = life.explain("select 1").await;
    assert_eq!(read["decision"]["allow"]["by"][0], "grant/agent/bot", "{read}");
    assert_eq!(read["rules"][0]["from"], "the grant of agent bot");

    let write = life.explain("update billing.invoices set note = '' where id = 1").await;
    assert!(write["decision"]["allow"].is_object(), "{write}");
    assert!(write["notes"].to_string().contains("beyond its limits (100 rows"), "{write}");

    let delete = life.explain("delete from billing.invoices where id = 1").await;
    assert!(delete["decision"]["hold"].is_object(), "{delete}");
    assert!(delete["notes"].to_string().contains("it would flow"), "{delete}");

    let drop = life.explain(DROP).await;
    let rules: Vec<&str> =
        drop["rules"].as_array().unwrap().iter().map(|r| r["policy"].as_str().unwrap()).collect();
    assert!(rules.contains(&"floor/hard-stop"), "{drop}");
    assert!(!drop["notes"].to_string().contains("would flow"), "{drop}");
    assert_eq!(drop["rules"][0]["from"], "floor.cedar, which is built in");
    // alice is the sponsor: she is nobody who could give an approval.
    let peers: Vec<&Value> = drop["ways"][0]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["missing"] == "1 approval (dba)")
        .collect();
    assert_eq!(peers[0]["from"], serde_json::json!(["carol"]), "{drop}");
    let own = drop["rules"].as_array().unwrap().iter().find(|r| r["policy"] == "site/dba");
    let own = own.unwrap();
    assert_eq!(
        (&own["from"], &own["reason"]),
        (&"billing.cedar".into(), &"billing wants a dba".into())
    );

    // A policy that no evidence lifts: its file, and no way.
    let truncate = life.explain("truncate billing.invoices").await;
    let own = &truncate["rules"][0];
    assert!(truncate["decision"]["forbid"].is_object(), "{truncate}");
    assert_eq!(
        (&own["policy"], &own["from"]),
        (&"site/no-truncate".into(), &"billing.cedar".into())
    );
    assert!(own["remedy"].as_str().unwrap().contains("no approval lifts it"), "{truncate}");

    let grant = life.explain("grant select on billing.invoices to public").await;
    let rules = grant["rules"].to_string();
    assert!(grant["decision"]["forbid"].is_object() && rules.contains("floor/grant"), "{grant}");
    assert!(
        rules.contains("grant/agent/bot") && rules.contains("countermand agent add"),
        "{grant}"
    );
    assert_eq!(grant["ways"], serde_json::json!([]));

    // Nothing was held, asked or done.
    assert_eq!(life.rows().await, rows);
    assert_eq!(json(&life.run(&["changes", "list", "--json"]).await.stdout), serde_json::json!([]));
    let stranger = ["policy", "explain", "select 1", "--agent", "eve", "--target", "shop"];
    let stranger = life.run(&stranger).await;
    assert!(stranger.code == 1 && stranger.stderr.contains("`eve`"), "{}", stranger.stderr);
    let nowhere = ["policy", "explain", "select 1", "--agent", "bot", "--target", "moon"];
    let nowhere = life.run(&nowhere).await;
    assert!(nowhere.code == 1 && nowhere.stderr.contains("`moon`"), "{}", nowhere.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_explained_with_what_is_missing_and_who_could_give_it() {
    let (life, _policies) = begin().await;
    life.admit_bot().await;
    assert!(life.psql(DROP).await.stderr.contains("held as change 1"));
    life.prepared().await;
    let told = json(&life.run(&["policy", "explain", "1", "--json"]).await.stdout);
    assert_eq!(told["change"], serde_json::json!([1, "held"]), "{told}");
    let way = told["ways"][0].to_string();
    assert!(way.contains("\"missing\":\"1 approval (dba)\",\"from\":[\"carol\"]"), "{way}");
    assert!(way.contains("a verified restore point") && way.contains("the gateway"), "{way}");

    let shown = life.run(&["policy", "explain", "1"]).await.stdout;
    for words in [
        "hold",
        "floor/hard-stop",
        "billing.cedar",
        "It passes with all of",
        "1 approval (dba): carol",
    ] {
        assert!(shown.contains(words), "`{words}` is not in\n{shown}");
    }
    let bad = |c: char| c == '\u{202e}' || (c.is_control() && c != '\n');
    assert!(!shown.contains(bad), "{shown:?}");

    // An ended one says what policy would say now.
    assert_eq!(life.run(&["changes", "withdraw", "1"]).await.code, 0);
    let told = json(&life.run(&["policy", "explain", "1", "--json"]).await.stdout);
    assert_eq!(told["change"][1], "withdrawn", "{told}");
    assert!(told["notes"].to_string().contains("would say of it now"), "{told}");
    let none = life.run(&["policy", "explain", "7"]).await;
    assert_eq!(none.code, 1, "{}", none.stderr);
}
