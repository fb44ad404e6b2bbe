//! A target that is observed: what is measured and kept stops nothing of what an agent does.

use crate::raw::Raw;
use crate::stand::Stand;
use countermand_core::configuration::{Observation, Observe};
use countermand_core::limits::{Beyond, Limits};

const OWNER: &str = "grant shop_owner to session_role";

impl Stand {
    /// Observed; the session role owns the shop where an owner is let in.
    async fn observed(session_may_own: bool) -> Stand {
        let stand = Stand::weighing().await;
        let observe = Observe { days: 14, session_may_own };
        let on = Observation { since: "2026-01-01T00:00:00Z".parse().unwrap(), observe };
        *stand.gate.observed.lock().unwrap() = Some(on);
        if session_may_own {
            stand.server.psql(OWNER).await.unwrap();
        }
        stand
    }

    /// In which ways what was weighed last was too much, in words.
    fn too_much(&self) -> Vec<String> {
        let weighed = self.gate.weighed.lock().unwrap();
        let (_, beyond) = weighed.last().expect("something was weighed");
        beyond.iter().map(Beyond::to_string).collect()
    }
}

#[tokio::test]
async fn a_drop_flows_as_the_session_role_and_is_measured() {
    let stand = Stand::observed(true).await;
    let ran = stand.psql("drop table log").await;
    assert_eq!(ran.stderr, "");
    let left = "select count(*) from pg_class where relname = 'log'";
    assert_eq!(stand.truth(left).await, "0");
    let why = stand.too_much().join("; ");
    assert!(why.contains("catalogue") || why.contains("dropped a table"), "{why}");
    assert_eq!(stand.gate.changes(), 0);
}

#[tokio::test]
async fn who_owns_nothing_gets_the_servers_own_no() {
    let stand = Stand::observed(false).await;
    let ran = stand.psql("drop table log").await;
    assert!(ran.stderr.contains("must be owner of table log"), "{}", ran.stderr);
    stand.server.psql(OWNER).await.unwrap();
    let refused = stand.psql("select 1").await;
    assert!(refused.stderr.contains("owns tables"), "an owner was let in: {}", refused.stderr);
}

#[tokio::test]
async fn no_observation_lets_in_who_could_become_anybody() {
    let stand = Stand::observed(true).await;
    for (can, fault) in [
        ("alter role session_role superuser", "is a superuser"),
        ("alter role session_role nosuperuser createrole", "may create roles"),
        (
            "alter role session_role nocreaterole; create role root superuser; \
             grant root to session_role",
            "a role with rights that no agent may have",
        ),
        (
            "revoke root from session_role; grant pg_write_server_files to session_role",
            "dangerous built-in role",
        ),
    ] {
        stand.server.psql(can).await.unwrap();
        let refused = stand.psql("select 1").await;
        assert!(refused.stderr.contains(fault), "{can}: {}", refused.stderr);
    }
}

#[tokio::test]
async fn after_the_end_an_owner_is_refused_again() {
    let stand = Stand::observed(true).await;
    assert_eq!(stand.psql("select 1").await.stdout, "1\n");
    *stand.gate.observed.lock().unwrap() = None;
    let refused = stand.psql("select 1").await;
    assert!(refused.stderr.contains("owns tables"), "{}", refused.stderr);
}

#[tokio::test]
async fn what_is_far_too_much_flows_and_is_kept_as_far_as_it_goes() {
    let stand = Stand::observed(false).await;
    *stand.gate.limits.lock().unwrap() = Limits { rows: 300, ..Limits::default() };
    // As many as are kept: all of them come back.
    let ran = stand.psql("update orders set note = 'x' where id <= 300").await;
    assert_eq!(ran.stderr, "");
    assert_eq!(stand.too_much(), [""; 0]);
    let (plan, in_the_way) = stand.plan_back().await;
    assert!(plan.contains("300") && in_the_way.is_empty(), "{plan} {in_the_way:?}");
    // More than are kept: it flows, and says so.
    let ran = stand.psql("update orders set note = 'y' where id <= 900").await;
    assert_eq!(ran.stderr, "");
    assert_eq!(stand.truth("select count(*) from orders where note = 'y'").await, "900");
    let why = stand.too_much();
    assert!(why.iter().any(|w| w.contains("900 rows") && w.contains("301 are kept")), "{why:?}");
    assert!(why.iter().any(|w| w.contains("300 may flow in one transaction")), "{why:?}");
    let ran = stand.psql("delete from orders").await;
    assert_eq!(ran.stderr, "", "without a condition nothing can be asked before");
    assert_eq!(stand.orders().await, "0");
    let insert = "insert into orders select g from generate_series(1, 50000) g";
    let ran = stand.psql(insert).await;
    assert_eq!(ran.stderr, "", "its plan stops nothing");
}

#[tokio::test]
async fn what_cannot_be_kept_flows_in_whatever_transaction() {
    let stand = Stand::observed(true).await;
    let blind = "create table blind (id int primary key, v int); \
                 alter table blind owner to shop_owner; insert into blind values (1, 1), (2, 1)";
    stand.truth(blind).await;
    let script = "begin;\nupdate orders set note = 'a' where id = 1;\n\
                  delete from blind where id = 1;\ndrop table blind;\n\
                  update orders set note = 'b' where id = 1;\n\
                  savepoint s;\ncreate table made as select 1 as one;\nrollback to s;\n\
                  do $$ begin perform 1; end $$;\nselect note from orders where id = 1;\ncommit;";
    let ran = stand.psql(script).await;
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.stdout.trim(), "b");
    assert_eq!(stand.truth("select note from orders where id = 1").await, "b");
    // Not even to read it is the role allowed: the question fails, and the statement does not.
    let secret = "create table secret (id int, v int); insert into secret values (1, 1); \
                  grant update (v) on secret to session_role; grant select (id) on secret to session_role";
    stand.truth(secret).await;
    let mut raw = Raw::connect(&stand).await;
    raw.parse("u", "update secret set v = $1 where id = $2").sync();
    assert_eq!(raw.answers().await, ["1", "Z I"]);
    for v in ["2", "3"] {
        raw.bind("", "u", &[v, "1"]).execute("", 0).sync();
        assert_eq!(raw.answers().await, ["2", "C UPDATE 1", "Z I"]);
    }
    assert_eq!(stand.truth("select v from secret").await, "3");
    assert!(stand.too_much().join(" ").contains("0 are kept"), "{:?}", stand.too_much());
    assert_eq!(stand.gate.changes(), 0);
}

#[tokio::test]
async fn code_that_becomes_another_role_ends_its_session() {
    let stand = Stand::observed(true).await;
    let attack = "do $$ begin execute 'set role shop_owner'; end $$;\nselect 'on';";
    let ran = stand.psql_on(attack).await;
    assert!(ran.stderr.contains("became another role"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("on"), "its session goes on");
    let local = "do $$ begin execute 'set local role shop_owner'; delete from orders; end $$";
    let ran = stand.psql(local).await;
    assert!(ran.stderr.contains("became another role"), "{}", ran.stderr);
    assert_eq!(stand.orders().await, "1000");
}

#[tokio::test]
async fn what_blinds_or_becomes_somebody_is_refused_as_ever() {
    let stand = Stand::observed(true).await;
    for sql in [
        "set role shop_owner",
        "set session authorization shop_owner",
        "set session_replication_role = replica",
        "set track_counts = off",
        "prepare transaction 'x'",
        "grant select on orders to public",
        "create role other",
        "alter table orders owner to session_role",
    ] {
        let ran = stand.psql(sql).await;
        assert!(ran.stderr.contains("ERROR"), "{sql}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn what_runs_in_no_transaction_flows_too() {
    let stand = Stand::observed(true).await;
    let ran = stand.psql("create index concurrently on orders (note)").await;
    assert_eq!(ran.stderr, "");
    let admitted = stand.gate.admitted.lock().unwrap();
    assert!(admitted.iter().any(|proposal| !proposal.transactional), "{admitted:?}");
}
