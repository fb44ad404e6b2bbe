//! What the log of the gateway says of what happens.

use crate::gateway::Installation;
use countermand_doors::postgres::scratch::{Login, Options, ScratchServer, psql_as};
use serde_json::Value;
use std::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn it_has_a_line_for_what_is_held_and_decided_and_never_a_payload() {
    let server = ScratchServer::start(Options::default()).await.unwrap();
    let sql = "CREATE ROLE owner NOLOGIN;
        CREATE ROLE countermand_session LOGIN PASSWORD 'secret';
        CREATE ROLE countermand_executor LOGIN PASSWORD 'secret' IN ROLE owner, countermand_session;
        CREATE DATABASE shop OWNER owner;";
    server.psql(sql).await.unwrap();
    let sql = "SET ROLE owner; CREATE TABLE invoices (id int PRIMARY KEY);
        GRANT SELECT ON invoices TO countermand_session";
    server.psql_in("shop", sql).await.unwrap();
    let installation = Installation::new();
    for role in ["session", "executor"] {
        installation.secret(&format!("secrets/shop-{role}"), "secret");
    }
    let upstream = server.address().port();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    installation.edit(|text| {
        text.replace("port = 1\n", &format!("port = {upstream}\n"))
            .replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))
    });
    let serving = installation.serve();
    let words = ["agent", "add", "bot", "--targets", "shop", "--effects", "read,destroy", "--json"];
    let added = installation.sign("alice", &words);
    let added: Value = serde_json::from_str(&added.stdout).unwrap();
    let login = Login {
        address: ([127, 0, 0, 1], port).into(),
        user: "bot".to_owned(),
        password: added["credential"].as_str().unwrap().into(),
        database: "shop".to_owned(),
    };
    let held = psql_as(server.tools(), &login, "DROP TABLE invoices -- of_somebody").await.unwrap();
    assert!(held.stderr.contains("held as change 1"), "{}", held.stderr);
    let line = serving.says(&[" held ", "change=1", "agent=bot", "shop", "verbs=1"]);
    let reject = ["reject", "1", "--reason", "of_nobody", "--typed", "1 0"];
    let rejected = installation.sign("bob", &reject);
    assert_eq!(rejected.code, 0, "{}", rejected.stderr);
    let decided = serving.says(&[" rejected ", "change=1", "agent=bot"]);
    assert_eq!(installation.run(&["freeze", "agent", "bot", "--reason", "of_all"]).code, 0);
    let frozen = serving.says(&[" frozen ", "agent bot"]);
    assert_eq!(installation.sign("bob", &["thaw", "agent", "bot"]).code, 0);
    let thawed = serving.says(&[" thawed ", "agent bot"]);
    // Frozen with something open, whose evidence is not gathered then.
    let held = psql_as(server.tools(), &login, "DROP TABLE invoices CASCADE -- of_somebody").await;
    assert!(held.unwrap().stderr.contains("held as change 2"));
    assert_eq!(installation.run(&["freeze", "agent", "bot", "--reason", "of_all"]).code, 0);
    let again = serving.says(&[" frozen ", "agent bot"]);
    for line in [line, decided, frozen, thawed, again] {
        assert!(!line.to_lowercase().contains("drop"), "{line}");
    }
    assert!(!serving.log().contains("of_"), "{}", serving.log());
    assert_eq!(serving.stop(), 0);
}
