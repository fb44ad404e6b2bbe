//! psql: its commands, its scripts, COPY both ways.

use crate::stage::{Stage, file, said, text};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_psql_says_what_it_says_without_the_door() {
    let stage = Stage::up("sql/shop.sql", "").await;
    let commands = text("sql/commands.psql");
    for command in commands.lines().filter(|line| !line.is_empty()) {
        let through = stage.psql_with(&stage.agent(), &["-c", command]).await;
        let direct = stage.psql_with(&stage.direct(), &["-c", command]).await;
        assert!(!said(&direct).1.contains("invalid command"), "{command}: not one of this psql's");
        assert_eq!(said(&through), said(&direct), "{command}");
        assert_eq!(through.status, direct.status, "{command}");
    }
    let list = file("sql/commands.psql");
    let all = ["-f", list.to_str().unwrap()];
    let through = stage.psql_with(&stage.agent(), &all).await;
    let direct = stage.psql_with(&stage.direct(), &all).await;
    assert_eq!(said(&through), said(&direct), "all in one session");
    assert!(said(&through).0.len() > 50_000, "it stopped before its end");
    stage.nothing_held().await;
    stage.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_types_in_psql_works() {
    let stage = Stage::up("sql/shop.sql", "").await;
    std::fs::write(stage.folder().join("more.csv"), "1001,1,10,one\n1002,2,20,\"two, too\"\n")
        .unwrap();
    let script = file("sql/session.psql");
    let output = stage.psql_with(&stage.agent(), &["-f", script.to_str().unwrap()]).await;
    let (stdout, stderr) = said(&output);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(matches!(errors.as_slice(), [one] if one.contains("division by zero")), "{stderr}");
    for expected in ["1|10\n2|20", "a|integer", "\n7\n", "two|y", "x", "204", "c\n"] {
        assert!(stdout.contains(expected), "{expected:?} is not in: {stdout}");
    }
    let csv = std::fs::read_to_string(stage.folder().join("orders.csv")).unwrap();
    assert_eq!(csv.lines().count(), 201);
    let notes = "SELECT string_agg(coalesce(note, '-'), ' ' ORDER BY id) FROM orders
        WHERE id IN (1, 2, 3, 4, 7, 200) OR id > 1000";
    assert_eq!(stage.truth(notes).await, "a n2 n3 c seen one two, too - -");
    assert_eq!(stage.truth("SELECT count(*) FROM customers").await, "22");
    stage.nothing_held().await;
    stage.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_in_one_transaction_is_kept_whole_or_held_whole() {
    let stage = Stage::up("sql/shop.sql", "").await;
    let scripts = BTreeMap::from([
        (
            "small.sql",
            "UPDATE orders SET note = 'x' WHERE id = 1;\nDELETE FROM orders WHERE id = 2;\n",
        ),
        (
            "large.sql",
            "UPDATE orders SET note = 'y' WHERE id = 3;\nDELETE FROM orders WHERE id > 50;\n",
        ),
        ("drop.sql", "UPDATE orders SET note = 'z' WHERE id = 4;\nDROP TABLE orders;\n"),
    ]);
    let mut ended = BTreeMap::new();
    for (name, text) in &scripts {
        std::fs::write(stage.folder().join(name), text).unwrap();
        let output = stage.psql_with(&stage.agent(), &["-1", "-f", name]).await;
        ended.insert(*name, said(&output).1);
    }
    assert_eq!(ended["small.sql"], "");
    assert!(ended["large.sql"].contains("it changes 101 rows"), "{ended:?}");
    assert!(ended["drop.sql"].contains("countermand propose"), "{ended:?}");
    let left = "SELECT count(*), string_agg(note, ' ') FILTER (WHERE note ~ '^[xyz]') FROM orders";
    assert_eq!(stage.truth(left).await, "199|x");
    stage.down().await;
}
