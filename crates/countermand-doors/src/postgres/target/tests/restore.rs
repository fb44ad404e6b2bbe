//! What a change took comes back, exactly.

use super::*;
use std::collections::BTreeSet;

const TABLES: [&str; 7] = [
    "shop.customers",
    "shop.orders",
    "shop.parts",
    "other.refs",
    "other.plain",
    "other.mv",
    "shop.odd",
];

#[track_caller]
fn same(left: &str, right: &str, what: &str) {
    let only = |a: &str, b: &str| {
        let there: BTreeSet<&str> = b.lines().collect();
        a.lines().filter(|line| !there.contains(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((only(left, right), only(right, left)), (vec![], vec![]), "{what}");
    assert_eq!(left, right, "{what}");
}

#[tokio::test]
async fn a_dropped_schema_comes_back_with_everything_that_went_along() {
    let site = Site::start(ZOO).await;
    let (schema, rows) = (site.schema().await, site.rows(&TABLES).await);
    let point = site.change("DROP SCHEMA shop CASCADE;\nCREATE SCHEMA shop", "a").await;
    assert_ne!(site.schema().await, schema);
    let plan = site.target.plan_restore(site.folder("a"), &point).await.unwrap();
    assert!(plan.conflicts.is_empty(), "{:?}", plan.conflicts);
    assert_eq!(plan.rows["shop.orders"], 1000);
    assert!(plan.objects.contains(&"view other.v".to_owned()), "{:?}", plan.objects);
    let restored = site.restore(&point, false).await.unwrap();
    assert!(restored.equal && restored.overwritten.is_empty());
    same(&site.schema().await, &schema, "definitions");
    same(&site.rows(&TABLES).await, &rows, "rows");
    assert_eq!(site.psql("SELECT last_value FROM shop.orders_id_seq").await, "1000");
    assert_eq!(site.psql("SELECT nextval('shop.lone')").await, "101");

    let again = site.restore(&point, false).await.unwrap_err().to_string();
    assert!(again.contains("table shop.orders exists now, with 1000 rows"), "{again}");
    same(&site.rows(&TABLES).await, &rows, "refused");
}

#[tokio::test]
async fn what_took_a_name_since_is_overwritten_only_when_told_to() {
    let site = Site::start(ZOO).await;
    let (schema, rows) = (site.schema().await, site.rows(&TABLES).await);
    let point = site.change("DROP TABLE shop.orders CASCADE", "a").await;
    site.psql("CREATE TABLE shop.orders (other text); INSERT INTO shop.orders VALUES ('x')").await;
    let plan = site.target.plan_restore(site.folder("a"), &point).await.unwrap();
    assert_eq!(plan.conflicts, ["table shop.orders exists now, with 1 rows"]);
    site.restore(&point, false).await.unwrap_err();
    assert_eq!(site.psql("SELECT other FROM shop.orders").await, "x");
    let restored = site.restore(&point, true).await.unwrap();
    assert_eq!(restored.overwritten.len(), 1);
    same(&site.schema().await, &schema, "definitions");
    same(&site.rows(&TABLES).await, &rows, "rows");
}

#[tokio::test]
async fn every_kind_of_object_comes_back() {
    let site = Site::start(ZOO).await;
    let (schema, rows) = (site.schema().await, site.rows(&TABLES).await);
    for (number, sql) in [
        "DROP TABLE shop.customers CASCADE",
        "DROP TABLE shop.parts_1",
        "DROP TABLE shop.parts",
        "DROP VIEW shop.big, other.v",
        "DROP MATERIALIZED VIEW other.mv",
        "DROP INDEX shop.orders_n_idx",
        "DROP SEQUENCE shop.lone",
        "DROP SEQUENCE shop.orders_id_seq CASCADE",
        "DROP FUNCTION shop.f() CASCADE",
        "DROP FUNCTION other.stringy",
        "DROP TRIGGER tr ON shop.orders",
        "ALTER TABLE shop.customers DROP CONSTRAINT customers_pkey CASCADE",
        "ALTER TABLE shop.customers DROP CONSTRAINT long_enough",
        "DROP FUNCTION shop.positive(int) CASCADE",
        "DROP TABLE shop.odd",
    ]
    .into_iter()
    .enumerate()
    {
        let point = site.change(sql, &number.to_string()).await;
        assert_ne!(site.schema().await, schema, "{sql}");
        let restored = site.restore(&point, false).await.unwrap();
        assert!(restored.equal, "{sql}");
        same(&site.schema().await, &schema, sql);
        same(&site.rows(&TABLES).await, &rows, sql);
    }
}

#[tokio::test]
async fn rows_come_back_into_a_table_that_stayed() {
    let site = Site::start(ZOO).await;
    let (schema, rows) = (site.schema().await, site.rows(&TABLES).await);
    for (folder, sql) in [
        ("truncate", "TRUNCATE shop.customers CASCADE"),
        ("restart", "TRUNCATE shop.orders RESTART IDENTITY"),
        ("delete", "DELETE FROM shop.customers WHERE id < 10"),
        ("update", "UPDATE shop.orders SET n = 7, customer = NULL WHERE id > 500"),
        ("move", "UPDATE shop.parts SET k = 2, id = id + 1000 WHERE k = 1"),
        ("plain", "DELETE FROM other.plain WHERE a = 1"),
        ("same", "UPDATE other.plain SET b = 'y'"),
        (
            "refill",
            "TRUNCATE shop.odd;\nINSERT INTO shop.odd OVERRIDING SYSTEM VALUE VALUES (1, 'é\t\\N', NULL)",
        ),
    ] {
        let point = site.change(sql, folder).await;
        let restored = site.restore(&point, false).await.unwrap();
        assert!(restored.equal, "{sql}");
        same(&site.rows(&TABLES).await, &rows, sql);
        same(&site.schema().await, &schema, sql);
        site.restore(&point, false).await.unwrap();
        same(&site.rows(&TABLES).await, &rows, "a second time");
    }
    assert_eq!(site.psql("SELECT last_value FROM shop.orders_id_seq").await, "1000");
}

#[tokio::test]
async fn what_others_did_since_is_left_alone_or_named() {
    let site = Site::start(ZOO).await;
    let point = site.change("UPDATE shop.orders SET n = 9 WHERE id <= 3", "a").await;
    site.psql("DELETE FROM shop.orders WHERE id = 900; INSERT INTO shop.orders (n) VALUES (4)")
        .await;
    let restored = site.restore(&point, false).await.unwrap();
    assert!(restored.equal);
    let counts = "SELECT count(*), count(*) FILTER (WHERE id = 900), count(*) FILTER (WHERE id <= 3 AND n = 9) FROM shop.orders";
    assert_eq!(site.psql(counts).await, "1000|0|0");

    let point = site.change("DELETE FROM shop.orders WHERE id <= 3", "b").await;
    site.psql("INSERT INTO shop.orders (id, n) VALUES (2, 8)").await;
    let plan = site.target.plan_restore(site.folder("b"), &point).await.unwrap();
    assert_eq!(plan.conflicts, ["1 rows of shop.orders have changed since"]);
    site.restore(&point, false).await.unwrap_err();
    assert_eq!(site.psql("SELECT n FROM shop.orders WHERE id <= 3").await, "8");
    let restored = site.restore(&point, true).await.unwrap();
    assert_eq!((restored.equal, restored.overwritten.len()), (true, 1));
    assert_eq!(site.psql("SELECT count(*), max(n) FROM shop.orders WHERE id <= 3").await, "3|4");

    let point = site.change("DELETE FROM other.plain", "c").await;
    site.psql("INSERT INTO other.plain VALUES (2, 'z')").await;
    let error = site.restore(&point, false).await.unwrap_err().to_string();
    assert!(error.contains("other.plain has no key and has changed since"), "{error}");
}

#[tokio::test]
async fn a_restore_point_that_changed_is_refused() {
    let site = Site::start(ZOO).await;
    let point = site.change("DROP TABLE other.plain", "a").await;
    for name in ["00000.rows", "schema.dump", "manifest.json"] {
        let path = site.folder("a").join(name);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let error = site.restore(&point, true).await.unwrap_err();
        assert!(matches!(&error, TargetError::Local(why) if why.contains("not usable")), "{error}");
        std::fs::write(&path, &good).unwrap();
    }
    let mode = |path: PathBuf| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(site.folder("a")), 0o700);
    for name in ["00000.rows", "schema.dump", "manifest.json"] {
        assert_eq!(mode(site.folder("a").join(name)), 0o600, "{name}");
    }
    site.restore(&point, false).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_aborts_and_leaves_no_restore_point() {
    let site = Site::start(
        "CREATE SCHEMA shop; CREATE TABLE shop.t (a text);
         INSERT INTO shop.t SELECT repeat('x', 1000) FROM generate_series(1, 3000)",
    )
    .await;
    let small = site.folder("small");
    std::fs::create_dir(&small).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&small)
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        println!("skipped: only root can make a small disk");
        return;
    }
    let error = site.run("DROP TABLE shop.t", "small/a").await.err();
    let sealed = small.join("a/manifest.json").exists();
    let unmounted = std::process::Command::new("umount").arg(&small).status().unwrap();
    assert!(unmounted.success());
    let error = error.expect("a full disk");
    assert_eq!(error.abort, countermand_core::change::Abort::RestorePointUnproven, "{}", error.why);
    assert!(!sealed);
    assert_eq!(site.psql("SELECT count(*) FROM shop.t").await, "3000");
}

/// Passes everything on, but the answer to COMMIT: that is lost, with the connection.
async fn losing_commits(to: std::net::SocketAddr) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = tokio::net::TcpStream::connect(to).await.unwrap();
            tokio::spawn(pass(client, server));
        }
    });
    port
}

async fn pass(mut client: tokio::net::TcpStream, mut server: tokio::net::TcpStream) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            Ok(length) = client.read(&mut asked) => {
                if length == 0 || server.write_all(&asked[..length]).await.is_err() { return }
                if asked[..length].windows(7).any(|seven| seven == b"COMMIT\0") {
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            Ok(length) = server.read(&mut answered) => {
                if length == 0 || client.write_all(&answered[..length]).await.is_err() { return }
            }
            else => return,
        }
    }
}

#[tokio::test]
async fn a_restore_whose_commit_got_no_answer_says_so_and_may_be_asked_again() {
    let mut site = Site::start(ZOO).await;
    let rows = site.rows(&TABLES).await;
    let dropped = site.change("DROP TABLE other.plain", "dropped").await;
    let deleted = site.change("DELETE FROM shop.orders WHERE id <= 3", "deleted").await;
    let direct = site.target.clone();
    site.target.setup.address.port = losing_commits(site.server.address()).await;
    for point in [&dropped, &deleted] {
        let error = site.restore(point, false).await.unwrap_err().to_string();
        assert!(error.contains("whether it was brought back is not known"), "{error}");
    }
    same(&site.rows(&TABLES).await, &rows, "it was");
    site.target = direct;
    let again = site.restore(&dropped, false).await.unwrap_err().to_string();
    assert!(again.contains("other.plain exists now"), "{again}");
    assert!(site.restore(&deleted, false).await.unwrap().equal);
    same(&site.rows(&TABLES).await, &rows, "a second time");
}
