//! What psql sends: simple queries.

use crate::stand::Stand;
use countermand_doors::postgres::scratch::{Login, psql_as};
use countermand_doors::postgres::unit::Unit;
use secrecy::SecretString;

#[tokio::test]
async fn reads_and_inserts_flow_and_a_drop_is_held() {
    let stand = Stand::up().await;
    let read = stand.psql("select id, note from orders order by id limit 2").await;
    assert_eq!((read.stdout.as_str(), read.stderr.as_str()), ("1|n1\n2|n2\n", ""));
    let insert = stand.psql("insert into orders values (1001, 'new') returning id").await;
    assert_eq!((insert.stdout.as_str(), insert.success), ("1001\n", true));
    assert_eq!(stand.orders().await, "1001");
    assert_eq!(*stand.gate.settled.lock().unwrap(), [(true, "INSERT 0 1".to_owned())]);

    let drop = stand.psql("\\set VERBOSITY verbose\ndrop table orders").await;
    assert!(!drop.success);
    assert!(drop.stderr.contains("CM001: held as change 1: would destroy"), "{}", drop.stderr);
    assert!(drop.stderr.contains("DETAIL:  missing: 1 approval"), "{}", drop.stderr);
    assert!(drop.stderr.contains("countermand changes show 1"), "{}", drop.stderr);
    assert_eq!(stand.orders().await, "1001");
}

#[tokio::test]
async fn a_held_request_joins_its_change_and_gets_the_outcome_once() {
    let stand = Stand::up().await;
    let script = "drop table orders;\ndrop table orders;\ninsert into log values (1, 'x');\n\
                  select 'still reads';\nrollback;\ninsert into log values (2, 'y');\n";
    let held = stand.psql_on(script).await;
    assert_eq!(held.stderr.matches("held as change 1:").count(), 2, "{}", held.stderr);
    assert_eq!(held.stderr.matches("this session holds change 1").count(), 1, "{}", held.stderr);
    assert!(held.stdout.contains("still reads"));
    assert_eq!(stand.truth("select string_agg(id::text, ',') from log").await, "2");

    stand.gate.executed(1, &["DROP TABLE"]);
    let done = stand.psql("\\set QUIET off\ndrop table orders").await;
    assert!(done.success, "{}", done.stderr);
    assert!(done.stderr.contains("NOTICE:  executed as change 1 at 2026"), "{}", done.stderr);
    assert!(done.stdout.contains("DROP TABLE"), "{}", done.stdout);
    assert_eq!(stand.orders().await, "1000", "the gateway answers; nothing goes upstream");
}

#[tokio::test]
async fn a_message_of_several_statements_is_one_unit() {
    let stand = Stand::up().await;
    let both = "insert into log values (1, 'x')\\; drop table orders\\; select 1;";
    let held = stand.psql(both).await;
    assert!(held.stderr.contains("held as change 1"), "{}", held.stderr);
    assert_eq!(stand.truth("select count(*) from log").await, "0");
    let unit = Unit::from_payload(&stand.gate.change(1).payload).unwrap();
    let texts: Vec<&str> = unit.statements.iter().map(|s| s.sql.as_str().trim()).collect();
    assert_eq!(texts, ["insert into log values (1, 'x')", "drop table orders", "select 1"]);
    assert_eq!(unit.settings["search_path"], "public");
    assert_eq!(unit.settings["standard_conforming_strings"], "on");

    let rows =
        stand.psql("select 1\\; insert into log values (1, 'x') returning what\\; select 3;");
    let rows = rows.await;
    assert_eq!(rows.stdout, "1\nx\n3\n", "{}", rows.stderr);
    let failed =
        "insert into log values (2, 'x')\\; select 1/0\\; insert into log values (3, 'x');";
    assert!(stand.psql(failed).await.stderr.contains("division by zero"));
    assert_eq!(stand.truth("select count(*) from log").await, "1");
    assert!(!stand.gate.settled.lock().unwrap().last().unwrap().0);

    let whole = "begin\\; insert into log values (7, 'x')\\; delete from orders\\; commit;";
    let held = stand.psql(whole).await;
    assert!(held.stderr.contains("held as change 2"), "{}", held.stderr);
    let unit = Unit::from_payload(&stand.gate.change(2).payload).unwrap();
    assert_eq!(unit.statements.len(), 2, "without BEGIN and COMMIT");
}

#[tokio::test]
async fn what_fails_at_commit_is_told_before_its_success() {
    let stand = Stand::up().await;
    let script = "insert into log values (1, 'x');\ninsert into log values (1, 'again');\n";
    let twice = stand.psql(&format!("\\set QUIET off\n{script}")).await;
    assert!(twice.stderr.contains("duplicate key"), "{}", twice.stderr);
    assert_eq!(twice.stdout.matches("INSERT 0 1").count(), 1, "{}", twice.stdout);
    let settled = stand.gate.settled.lock().unwrap().clone();
    assert_eq!(settled.iter().map(|s| s.0).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn errors_and_descriptions_are_those_of_the_server() {
    let stand = Stand::up().await;
    let syntax = stand.psql("selec 1").await;
    assert!(syntax.stderr.contains("syntax error at or near \"selec\""), "{}", syntax.stderr);
    assert_eq!(stand.gate.changes(), 0, "what is no SQL is no change");
    let missing = stand.psql("select * from nowhere").await;
    assert!(missing.stderr.contains("relation \"nowhere\" does not exist"));
    let described = stand.psql("\\d orders\n\\dt\n\\du\n\\l").await;
    assert!(described.success, "{}", described.stderr);
    assert!(described.stdout.contains("note"), "{}", described.stdout);
}

#[tokio::test]
async fn copy_goes_both_ways() {
    let stand = Stand::up().await;
    let out = stand.psql("copy (select id from orders order by id limit 2) to stdout").await;
    assert_eq!((out.stdout.as_str(), out.success), ("1\n2\n", true), "{}", out.stderr);
    let into = "copy orders from stdin;\n2001\ta\n2002\tb\n\\.\nselect count(*) from orders;";
    let into = stand.psql(into).await;
    assert_eq!(into.stdout, "1002\n", "{}", into.stderr);
    let broken = "copy orders from stdin;\nx\ty\n2003\tb\n\\.\nselect count(*) from orders;";
    let broken = stand.psql_on(broken).await;
    assert!(broken.stderr.contains("invalid input syntax"), "{}", broken.stderr);
    assert_eq!(broken.stdout, "1002\n");
    let denied = stand.psql_on("copy pg_authid from stdin;\n\\.\nselect 1;").await;
    assert_eq!(denied.stdout, "1\n", "{}", denied.stderr);
    assert_eq!(stand.orders().await, "1002");
    let many: String = (3001..13001).map(|n| format!("{n}\t{}\n", "x".repeat(500))).collect();
    let many = stand.psql(&format!("copy orders from stdin;\n{many}\\.\n")).await;
    assert!(many.success, "{}", many.stderr);
    assert_eq!(stand.orders().await, "11002");
}

#[tokio::test]
async fn large_results_and_large_rows_flow() {
    let stand = Stand::up().await;
    let sql = "select length(string_agg(x, '')), repeat('a', 3000000) from \
               (select repeat('b', 1000) as x from generate_series(1, 100)) s";
    let wide = stand.psql(sql).await;
    assert_eq!(wide.stdout.trim().len(), "100000|".len() + 3_000_000, "{}", wide.stderr);
    let long = stand.psql("select g, repeat('z', 200) from generate_series(1, 50000) g").await;
    assert_eq!(long.stdout.lines().count(), 50_000);
}

#[tokio::test]
async fn settings_follow_the_list() {
    let stand = Stand::up().await;
    let kept = "set search_path = pg_catalog, public;\nset statement_timeout = '5s';\n\
                show search_path;\nshow statement_timeout;\nreset statement_timeout;\n\
                show statement_timeout;";
    let kept = stand.psql(kept).await;
    assert_eq!(kept.stdout, "pg_catalog, public\n5s\n30s\n", "{}", kept.stderr);
    for wrong in [
        "set role postgres",
        "set session authorization postgres",
        "set default_transaction_read_only = off",
        "reset transaction_read_only",
        "set session characteristics as transaction read write",
        "set client_encoding = 'SQL_ASCII'",
        "set session_replication_role = replica",
        "set wal_compression = on",
        "select set_config('statement_timeout', '0', false)",
        "prepare transaction 'x'",
        "commit and chain",
    ] {
        let refused = stand.psql(&format!("\\set VERBOSITY verbose\n{wrong}")).await;
        assert!(refused.stderr.contains("CM00"), "{wrong}: {} {}", refused.stdout, refused.stderr);
    }
    assert_eq!(stand.gate.changes(), 0, "a setting is never a change");
    // A limit that would be raised stays, and the client goes on: pg_dump begins like this.
    for raised in ["set statement_timeout = 0", "set statement_timeout to '1h'"] {
        let kept = stand.psql(&format!("{raised};\nshow statement_timeout")).await;
        assert_eq!(kept.stdout, "30s\n", "{}", kept.stderr);
        assert!(kept.stderr.contains("NOTICE:  the limit stays as it is"), "{}", kept.stderr);
    }
}

#[tokio::test]
async fn a_local_setting_means_what_follows_in_its_message() {
    let stand = Stand::up().await;
    let local = "set local search_path = pg_catalog\\; select current_schemas(false)\\; \
                 insert into public.log values (1, 'x') returning current_schemas(false)::text;";
    let local = stand.psql(&format!("{local}\nshow search_path;")).await;
    assert_eq!(local.stdout, "{pg_catalog}\n{pg_catalog}\n\"$user\", public\n", "{}", local.stderr);
}

#[tokio::test]
async fn backslashes_are_not_read_two_ways() {
    let stand = Stand::up().await;
    let apart = "set standard_conforming_strings = off;\nselect 'a\\'b';\n\
                 set standard_conforming_strings = on;\nselect 'a\\b';";
    let apart = stand.psql(apart).await;
    assert_eq!(apart.stdout, "a'b\na\\b\n", "{}", apart.stderr);
    let together = "set standard_conforming_strings = off\\; insert into log select 1, '\\', ' \
                    from (select 1) s, (select 2) --'";
    let together = stand.psql(together).await;
    assert!(!together.success);
    assert_eq!(stand.truth("select count(*) from log").await, "0");
}

#[tokio::test]
async fn the_gateway_answers_for_itself() {
    let stand = Stand::up().await;
    let asked = "show countermand.changes;\nshow countermand.change_7;\n\
                 set countermand.withdraw = '7';\nselect 1;\nshow countermand.nothing;";
    let asked = stand.psql_on(asked).await;
    let expected = "{\"asked\":\"Changes\"}\n{\"asked\":\"Show(ChangeNumber(7))\"}\n1\n";
    assert_eq!(asked.stdout, expected, "{}", asked.stderr);
    assert!(asked.stderr.contains("the gateway knows"), "{}", asked.stderr);
}

#[tokio::test]
async fn nobody_else_comes_in_and_nobody_learns_who_exists() {
    let stand = Stand::up().await;
    let mut words = Vec::new();
    for user in ["robo", "stranger"] {
        let password = SecretString::from("wrong");
        let login = Login { user: user.into(), password, ..stand.login() };
        let refused = psql_as(stand.server.tools(), &login, "select 1").await.unwrap();
        assert!(!refused.success);
        words.push(refused.stderr.replace(user, "X"));
    }
    assert!(words[0].contains("password authentication failed"), "{}", words[0]);
    assert_eq!(words[0], words[1]);
    let elsewhere = Login { database: "other".into(), ..stand.login() };
    let elsewhere = psql_as(stand.server.tools(), &elsewhere, "select 1").await.unwrap();
    assert!(elsewhere.stderr.contains("there is no such agent or target"), "{}", elsewhere.stderr);
}

#[tokio::test]
async fn a_freeze_cuts_sessions_that_run() {
    let stand = Stand::up().await;
    let busy = stand.psql("\\set VERBOSITY verbose\nselect pg_sleep(60)");
    let freeze = async {
        let sleeps = "select count(*) from pg_stat_activity where query ~ '^select pg_sleep' \
                      and state = 'active'";
        while stand.truth(sleeps).await != "1" {}
        stand.gate.frozen.send_replace(Some("target shop is frozen: incident".into()));
        let begun = std::time::Instant::now();
        while stand.truth(sleeps).await != "0" {}
        begun.elapsed()
    };
    let (cut, took) = tokio::join!(busy, freeze);
    assert!(
        cut.stderr.contains("CM004: frozen: target shop is frozen: incident"),
        "{}",
        cut.stderr
    );
    assert!(took.as_millis() < 1000, "{took:?}");
}

#[tokio::test]
async fn pgbench_runs_in_every_mode() {
    let stand = Stand::up().await;
    let bench = |arguments: &[&str]| {
        let mut command =
            tokio::process::Command::new(stand.server.tools().directory().join("pgbench"));
        command.args(["-h", "127.0.0.1", "-p", &stand.door.port().to_string(), "-U", "robo"]);
        command.args(arguments).arg("shop").env("PGPASSWORD", "cmd_robo");
        command
    };
    let setup = "create table pgbench_accounts (aid int primary key, bid int, abalance int, \
                 filler char(84)); create table pgbench_branches (bid int primary key); \
                 create table pgbench_tellers (tid int primary key); \
                 create table pgbench_history (tid int); \
                 insert into pgbench_branches values (1); insert into pgbench_tellers values (1); \
                 insert into pgbench_accounts select g, 1, 0, '' from generate_series(1, 100000) g; \
                 grant select on pgbench_accounts, pgbench_branches, pgbench_tellers to session_role";
    stand.server.psql_in("shop", setup).await.unwrap();
    for mode in ["simple", "extended", "prepared"] {
        let output =
            bench(&["-n", "-S", "-M", mode, "-c", "2", "-t", "200"]).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("processed: 400/400"), "{mode}: {said} {errors}");
        println!("{mode}: {}", said.lines().filter(|l| l.contains("tps")).collect::<String>());
    }
}
