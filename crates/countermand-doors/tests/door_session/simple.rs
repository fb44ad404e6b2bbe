//! What psql sends: simple queries.

use crate::stand::Stand;

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
