//! The doctor at a real gateway and a real server: it tries what an agent would.

use crate::life::Life;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;

impl Life {
    /// What it found, as `verdict what: words`, and how it ended.
    async fn doctor(&self, more: &[&str]) -> (Vec<String>, i32) {
        let ended = self.run(&[&["doctor", "--json"], more].concat()).await;
        let findings: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| {
            panic!("{error}: {} {}", ended.stdout, ended.stderr);
        });
        let word = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
        let line = |f| format!("{} {}: {}", word(f, "verdict"), word(f, "what"), word(f, "words"));
        (findings.iter().map(line).collect(), ended.code)
    }

    fn file(&self, name: &str) -> String {
        self.installation.folder().join(name).display().to_string()
    }
}

fn has(findings: &[String], begin: &str, part: &str) -> bool {
    findings.iter().any(|finding| finding.starts_with(begin) && finding.contains(part))
}

#[tokio::test]
async fn it_asks_for_a_forbidden_act_and_leaves_nothing_behind() {
    let life = Life::begin().await;
    life.admit_bot().await;
    let (door, credential) = (life.door(), life.file("secrets/bot"));
    let words = ["--agent", "bot", "--credential-file", &credential, "--door", &door];
    let (found, _) = life.doctor(&words).await;
    assert!(has(&found, "good shop door", "is held"), "{found:#?}");
    assert!(has(&found, "good shop way round", "`bot` is refused"), "{found:#?}");
    assert!(!has(&found, "bad", "way round"), "{found:#?}");
    assert_eq!(life.run(&["changes", "list", "--json"]).await.stdout.trim(), "[]");
}

#[tokio::test]
async fn whoever_gets_past_the_gateway_is_named_with_what_they_may_do() {
    let life = Life::begin().await;
    let leak = "CREATE ROLE \"app-owner\" LOGIN PASSWORD 'left in .env' IN ROLE owner";
    life.server.psql(leak).await.unwrap();
    let port = life.server.address().port();
    let line =
        format!("DATABASE_URL=postgres://app-owner:left%20in%20.env@localhost:{port}/shop\n");
    let wrong = format!("postgres://app-owner:guess@127.0.0.1:{port}/shop\n");
    life.installation.secret("env", &line);
    life.installation.secret("wrong", &wrong);
    let (found, code) = life.doctor(&["--try-direct", &life.file("env")]).await;
    assert_eq!(code, 1);
    assert!(has(&found, "bad shop way round", "`app-owner` gets into"), "{found:#?}");
    assert!(has(&found, "bad shop way round", "may drop 1 tables"), "{found:#?}");
    assert!(!found.concat().contains("left in"), "{found:#?}");
    let (found, _) = life.doctor(&["--try-direct", &life.file("wrong")]).await;
    assert!(has(&found, "good shop way round", "is refused"), "{found:#?}");
    let (found, code) = life.doctor(&["--try-direct", wrong.trim()]).await;
    assert!(code == 1 && has(&found, "bad way round", "not for a command line"), "{found:#?}");
}

#[tokio::test]
async fn what_others_can_replace_and_whose_the_user_is_are_found() {
    let life = Life::begin().await;
    let uid = {
        use std::os::unix::fs::MetadataExt as _;
        life.installation.folder().metadata().unwrap().uid().to_string()
    };
    let (found, _) = life.doctor(&["--agent-uid", "4242"]).await;
    assert!(has(&found, "good folders", "nobody"), "{found:#?}");
    let policies = life.installation.folder().join("policies");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(policies, open).unwrap();
    let (found, code) = life.doctor(&["--agent-uid", &uid]).await;
    assert!(has(&found, "bad policies", "everybody can put other files into"), "{found:#?}");
    assert!(code == 1 && has(&found, "bad user", "the agent's user"), "{found:#?}");
}

#[tokio::test]
async fn production_under_another_name_is_found() {
    let twin = |text: String| {
        let at = text.find("[targets.\"shop\"]").or(text.find("[targets.shop]")).unwrap();
        let copy = text[at..]
            .split("\n[people")
            .next()
            .unwrap()
            .replace("[targets.\"shop\"", "[targets.\"real\"");
        let copy = copy.replace("[targets.shop", "[targets.real");
        format!(
            "{text}\n{}",
            copy.replace("environment = \"staging\"", "environment = \"production\"")
        )
    };
    let life = Life::begin_with(twin).await;
    let (found, code) = life.doctor(&[]).await;
    assert!(code == 1 && has(&found, "bad shop server", "of production `real`"), "{found:#?}");
    assert!(!has(&found, "bad", "pooler"), "{found:#?}");
}
