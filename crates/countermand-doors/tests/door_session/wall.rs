//! What still holds when everything is taken for a read: the session role, and the rollback.

use crate::raw::Raw;
use crate::stand::Stand;
use countermand_core::action::{Action, Object};
use countermand_core::effect::Effect;
use countermand_core::verb::postgres as verb;
use countermand_doors::postgres::interpret::{Interpretation, Role, Settings, interpret};

/// Sees statements where they are, and a harmless read in each.
pub(crate) fn gullible(sql: &str, settings: Settings) -> Interpretation {
    let mut meaning = interpret(sql, settings);
    for statement in &mut meaning.statements {
        statement.role = Role::Plain;
        statement.transactional = true;
        statement.actions = vec![Action::new(verb::SELECT, Object::new("table", "orders"))];
    }
    meaning.syntax_error = None;
    meaning
}

const ATTACKS: &[&str] = &[
    "delete from orders",
    "drop table orders",
    "truncate orders",
    "insert into log values (1, 'x')",
    "do $$ begin delete from orders; end $$",
    "select sneak()",
    "with gone as (delete from orders returning 1) select count(*) from gone",
    "begin transaction read only; commit; delete from orders",
    "begin transaction read only; commit; drop table orders",
    "commit; delete from orders; begin",
    "rollback; delete from orders",
    "reset transaction_read_only; delete from orders",
    "set transaction_read_only to default; delete from orders",
    "select set_config('transaction_read_only', null, true); delete from orders",
    "set default_transaction_read_only = off; delete from orders",
    "set session characteristics as transaction read write; delete from orders",
    "prepare p as delete from orders; execute p",
    "declare c cursor with hold for select sneak(); commit",
    "savepoint a; rollback to a; delete from orders",
    "explain analyze delete from orders",
    "select 1; delete from orders; select 2",
    "copy orders from program 'true'",
    "prepare transaction 'x'",
];

async fn unharmed(stand: &Stand, attack: &str) {
    assert_eq!(stand.orders().await, "1000", "{attack}");
    assert_eq!(stand.truth("select count(*) from log").await, "0", "{attack}");
    assert_eq!(stand.truth("select count(*) from pg_prepared_xacts").await, "0", "{attack}");
}

#[tokio::test]
async fn what_is_taken_for_a_read_changes_nothing() {
    let stand = Stand::with(Effect::Read, gullible).await;
    assert_eq!(stand.psql("select count(*) from orders").await.stdout, "1000\n");
    // Without the door the role could: what holds is not a missing privilege.
    let possible = "begin; set local role session_role; select count(sneak()); \
                    insert into log values (1, 'x'); delete from orders; \
                    select count(*) from orders; rollback";
    assert!(stand.truth(possible).await.ends_with("\n0"), "the role cannot even without the door");
    for attack in ATTACKS {
        let text = format!("{attack}\0");
        // As one simple query, twice in one session, and each in a session of its own.
        let mut raw = Raw::connect(&stand).await;
        raw.message(b'Q', text.as_bytes()).message(b'Q', b"delete from orders\0");
        raw.message(b'X', b"").send().await;
        drain(&mut raw).await;
        unharmed(&stand, attack).await;
        // Statement by statement, as a pipeline and in a transaction of the agent's.
        let mut raw = Raw::connect(&stand).await;
        for statement in attack.split(';') {
            raw.run(statement);
        }
        raw.sync().message(b'X', b"").send().await;
        drain(&mut raw).await;
        unharmed(&stand, attack).await;
    }
}

/// Reads up to the goodbye that was sent behind the attack, or until the session is over.
#[tokio::test]
async fn what_an_execute_calls_in_its_arguments_is_judged_too() {
    let stand = Stand::with(Effect::Write, interpret).await;
    for attack in [
        "prepare p(bigint) as insert into log values ($1, 'x'); execute p(sneak())",
        "prepare p(bigint) as select $1; execute p(sneak())",
        "prepare p(boolean) as select $1; execute p(pg_terminate_backend(1))",
    ] {
        let refused = stand.psql(attack).await;
        assert!(!refused.success, "{attack}: {}", refused.stdout);
        assert!(refused.stderr.contains("held"), "{attack}: {}", refused.stderr);
        unharmed(&stand, attack).await;
    }
}

async fn drain(raw: &mut Raw) {
    while raw.connection.receive().await.is_ok() {}
}

#[tokio::test]
async fn a_read_that_writes_ends_its_session() {
    let stand = Stand::with(Effect::Read, gullible).await;
    let mut raw = Raw::connect(&stand).await;
    // Large objects can be made in a read-only transaction on some versions; an id betrays it.
    raw.message(b'Q', b"select pg_current_xact_id()\0").send().await;
    let answers = raw.until(b'E').await;
    assert_eq!(answers.last().unwrap(), "E CM003", "{answers:?}");
    assert!(raw.connection.receive().await.is_err(), "the session goes on");
}

#[tokio::test]
async fn no_ordinary_statement_needs_the_wall() {
    let stand = Stand::up().await;
    for attack in ATTACKS {
        let mut raw = Raw::connect(&stand).await;
        raw.message(b'Q', format!("{attack}\0").as_bytes());
        let answers = raw.answers().await;
        assert!(
            answers.iter().any(|answer| answer.starts_with("E ")) || attack.starts_with("insert"),
            "{attack}: {answers:?}"
        );
        if attack.starts_with("insert") {
            stand.truth("delete from log").await;
        }
        unharmed(&stand, attack).await;
    }
}
