//! pg_dump through the door is a read, and gives what it gives without the door.

use crate::stage::{DATABASE, Stage, said};

/// A dump without what differs from one run to the next.
fn lasting(dump: &str) -> String {
    let random = |line: &&str| !line.starts_with(r"\restrict") && !line.starts_with(r"\unrestrict");
    dump.lines().filter(random).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_dump_reads_and_its_dump_restores_equal() {
    let stage = Stage::up("sql/dumped.sql", "").await;
    let direct = stage.program("pg_dump", &stage.direct(), &[]).await;
    let (expected, stderr) = said(&direct);
    assert!(direct.status.success(), "{stderr}");
    assert!(expected.contains("COPY public.orders"), "{expected}");
    let forms: [&[&str]; 5] = [
        &[],
        &["--inserts", "--rows-per-insert=10"],
        &["--schema-only"],
        &["--table=orders", "--data-only"],
        &["--serializable-deferrable"],
    ];
    for words in forms {
        let through = stage.program("pg_dump", &stage.agent(), words).await;
        let direct = stage.program("pg_dump", &stage.direct(), words).await;
        let ((through_says, stderr), (direct_says, _)) = (said(&through), said(&direct));
        assert!(through.status.success(), "{words:?}: {stderr}");
        assert_eq!(lasting(&through_says), lasting(&direct_says), "{words:?}");
    }

    // The archive form, and several connections on one snapshot.
    let archives: [&[&str]; 2] = [&["-Fc", "-f", "archive"], &["-Fd", "-j", "2", "-f", "folder"]];
    for (words, name) in archives.iter().zip(["archive", "folder"]) {
        let through = stage.program("pg_dump", &stage.agent(), words).await;
        assert!(through.status.success(), "{words:?}: {}", said(&through).1);
        stage.server.psql("DROP DATABASE IF EXISTS copy; CREATE DATABASE copy").await.unwrap();
        let mut copy = stage.server.superuser();
        copy.database = "copy".to_owned();
        let restored = stage.program("pg_restore", &copy, &["-d", "copy", name]).await;
        assert!(restored.status.success(), "{words:?}: {}", said(&restored).1);
        let mut original = stage.server.superuser();
        original.database = DATABASE.to_owned();
        let mut texts = Vec::new();
        for login in [&copy, &original] {
            texts.push(lasting(&said(&stage.program("pg_dump", login, &[]).await).0));
        }
        assert_eq!(texts[0], texts[1], "{words:?}");
    }
    stage.nothing_held().await;
    stage.down().await;
}
