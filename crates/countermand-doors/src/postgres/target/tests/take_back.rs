//! Taking back what flowed: the writes are made here as a door makes them, on a real server.

mod crowd;
mod writes;

use super::super::take_back::{plan, take_back};
use super::*;
use countermand_engine::target::{KeptWrite, RestorePlan, TakeBack};
use writes::{add, change, run};

impl Site {
    async fn take_back(&self, writes: &[KeptWrite]) -> Restored {
        let act = TakeBack { writes: writes.to_vec(), overwrite: false, halt: Halt::never() };
        take_back(&self.target, act).await.unwrap()
    }

    async fn overwrite(&self, writes: &[KeptWrite]) -> Restored {
        let act = TakeBack { writes: writes.to_vec(), overwrite: true, halt: Halt::never() };
        take_back(&self.target, act).await.unwrap()
    }

    /// One write that flowed.
    pub(super) async fn wrote(&self, table: &str, condition: &str, sql: &str) -> KeptWrite {
        self.writes(&[change(table, condition, sql)]).await
    }

    async fn plan_back(&self, writes: &[KeptWrite]) -> RestorePlan {
        plan(&self.target, writes).await.unwrap()
    }
}

fn rows(restored: &Restored) -> u64 {
    restored.rows.values().sum()
}

const KINDS: &str = r#"
CREATE SCHEMA shop;
CREATE TYPE shop.mood AS ENUM ('good', 'bad');
CREATE TYPE shop.pair AS (a int, b text);
CREATE DOMAIN shop.small AS int CHECK (VALUE < 100);
CREATE TABLE shop."Od""d, table" (
  "k 1" int, gone int, "K""2" text, PRIMARY KEY ("k 1", "K""2"),
  number int GENERATED ALWAYS AS IDENTITY, a int[], p shop.pair, ps shop.pair[], j jsonb, js json, b bytea, n numeric, f float8, f4 float4,
  t timestamptz, d interval, m money, e shop.mood, s shop.small, c char(5), u uuid, i inet,
  r int4range, x xml, v tsvector, tm timetz, bits varbit, nothing text,
  twice int GENERATED ALWAYS AS ("k 1" * 2) STORED);
ALTER TABLE shop."Od""d, table" DROP COLUMN gone;
INSERT INTO shop."Od""d, table" OVERRIDING SYSTEM VALUE
SELECT g, chr(10) || 'a"\' || g, 7 + g, ARRAY[[1, NULL], [g, 4]], ROW(g, 'x,"y')::shop.pair, ARRAY[ROW(1, NULL)::shop.pair],
  '{"b": [1, 2.50], "a": null}', '{"z" : 1,  "z": 2}', '\x00ff5c', 1.500, 0.1::float8 + 0.2, '-0',
  '2026-01-02 03:04:05.678901+09', '1 mon -2 days 03:00:00.5', 12.34, 'bad', 42, 'ab',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.1/8', '[1,5)', '<a>&amp;</a>',
  'fat:1A cat:2', '03:04:05-07', B'101', NULL
FROM generate_series(1, 3) g;
UPDATE shop."Od""d, table" SET n = 'NaN', f = '-Infinity', t = 'infinity', a = '{}', p = NULL WHERE "k 1" = 2;
"#;

#[tokio::test]
async fn values_of_every_kind_come_back_exactly() {
    let site = Site::start(KINDS).await;
    let table = r#"shop."Od""d, table""#;
    let before = site.rows(&[table]).await;
    let changed = site
        .writes(&[
            change(
                table,
                "\"k 1\" < 3",
                r#"UPDATE shop."Od""d, table" SET a = NULL, p = ROW(0, ''), ps = '{}', j = '1', js = '2',
                   b = '', n = 1.5, f = 0.3, f4 = 0, t = now(), d = '1 day', m = 1, e = 'good', s = 1,
                   c = '', u = NULL, i = NULL, r = 'empty', x = '', v = '', tm = '00:00+00', bits = '',
                   nothing = 'x' WHERE "k 1" < 3"#,
            ),
            change(table, "\"k 1\" > 1", r#"DELETE FROM shop."Od""d, table" WHERE "k 1" > 1"#),
        ])
        .await;
    let plan = site.plan_back(std::slice::from_ref(&changed)).await;
    assert_eq!(plan.rows.values().sum::<u64>(), 3);
    assert!(plan.conflicts.is_empty(), "{plan:?}");
    assert_ne!(site.rows(&[table]).await, before, "a plan changes nothing");
    let done = site.take_back(std::slice::from_ref(&changed)).await;
    assert!(done.equal && done.left.is_empty(), "{done:?}");
    assert_eq!(rows(&done), 3);
    assert_eq!(site.rows(&[table]).await, before);
    // What is as before is neither put back again nor in the way.
    let again = site.take_back(&[changed]).await;
    assert_eq!(again, Restored { equal: true, ..Restored::default() });
}

const PLAIN: &str = "CREATE SCHEMA shop;
    CREATE TABLE shop.t (id int PRIMARY KEY, v text UNIQUE);
    INSERT INTO shop.t SELECT g, 'v' || g FROM generate_series(1, 20) g;
    CREATE TABLE shop.log (v text); INSERT INTO shop.log VALUES ('a'), ('b'), ('b'), ('c');";

fn update(id: u32, to: &str) -> writes::Step {
    let sql = format!("UPDATE shop.t SET v = '{to}' WHERE id = {id}");
    change("shop.t", &format!("id = {id}"), &sql)
}

fn delete(id: u32) -> writes::Step {
    change("shop.t", &format!("id = {id}"), &format!("DELETE FROM shop.t WHERE id = {id}"))
}

fn insert(id: u32, v: &str) -> writes::Step {
    add("shop.t", 1, &format!("INSERT INTO shop.t VALUES ({id}, '{v}')"))
}

#[tokio::test]
async fn the_net_effect_of_many_writes_is_taken_back() {
    let site = Site::start(PLAIN).await;
    let before = site.rows(&["shop.t", "shop.log"]).await;
    let writes = [
        site.writes(&[update(1, "x"), update(2, "y")]).await,
        site.writes(&[update(1, "z"), delete(2)]).await,
        site.writes(&[delete(1), insert(1, "again")]).await,
        site.writes(&[update(1, "and again"), insert(100, "new"), insert(101, "new too")]).await,
        site.writes(&[update(100, "newer"), delete(101), insert(101, "v2")]).await,
        site.writes(&[insert(102, "short"), update(102, "life"), delete(102)]).await,
        // One takes the value that another gave away.
        site.writes(&[delete(3), insert(103, "v3"), update(4, "w"), insert(104, "v4")]).await,
        site.writes(&[
            change("shop.log", "v <> 'c'", "DELETE FROM shop.log WHERE v <> 'c'"),
            add("shop.log", 2, "INSERT INTO shop.log VALUES ('d'), ('c')"),
        ])
        .await,
        site.writes(&[
            update(5, "outer"),
            run("SAVEPOINT s"),
            update(6, "inner"),
            insert(105, "inner too"),
            run("SAVEPOINT r"),
            update(7, "not kept"),
            run("ROLLBACK TO SAVEPOINT r"),
        ])
        .await,
    ];
    let done = site.take_back(&writes).await;
    assert!(done.equal, "{done:?}");
    assert_eq!(done.left, Vec::<String>::new());
    assert_eq!(site.rows(&["shop.t", "shop.log"]).await, before);
}

#[tokio::test]
async fn what_somebody_else_did_since_is_left_and_named_or_overwritten() {
    let site = Site::start(PLAIN).await;
    let before = site.rows(&["shop.t"]).await;
    let first = site
        .writes(&[
            update(1, "x1"),
            update(2, "x2"),
            update(3, "x3"),
            delete(4),
            delete(5),
            update(6, "x6"),
            update(7, "x7"),
            insert(100, "n"),
            insert(101, "o"),
        ])
        .await;
    site.psql(
        "UPDATE shop.t SET v = 'theirs' WHERE id = 1; DELETE FROM shop.t WHERE id = 2;
         INSERT INTO shop.t VALUES (4, 'their 4'), (5, 'v5'); UPDATE shop.t SET v = 'v6' WHERE id = 6;
         UPDATE shop.t SET v = 'between' WHERE id = 7; UPDATE shop.t SET v = 'n!' WHERE id = 100;",
    )
    .await;
    let second = site.writes(&[update(7, "y7"), insert(102, "v3")]).await;
    let theirs = site.rows(&["shop.t"]).await;
    let writes = [first, second];
    let left = [
        "shop.t: up to 1 rows that were added are changed or gone since",
        "shop.t (id)=(1): changed since",
        "shop.t (id)=(2): deleted since",
        "shop.t (id)=(4): its key was taken since",
        "shop.t (id)=(7): changed by somebody else in between",
    ];
    let plan = site.plan_back(&writes).await;
    assert_eq!(plan.conflicts, left);
    // Rows that it added are counted apart.
    assert_eq!(plan.rows, [("shop.t".to_owned(), 1)].into());
    assert_eq!(plan.removed, [("shop.t".to_owned(), 2)].into());
    assert_eq!(site.rows(&["shop.t"]).await, theirs);
    let done = site.take_back(&writes).await;
    assert_eq!(done.left, left);
    assert_eq!((rows(&done), done.equal), (3, true));
    let now = site
        .psql("SELECT string_agg(id || v, ' ' ORDER BY id) FROM shop.t WHERE id < 8 OR id > 99")
        .await;
    assert_eq!(now, "1theirs 3v3 4their 4 5v5 6v6 7y7 100n!");
    let done = site.overwrite(&writes).await;
    assert_eq!(done.overwritten, left[1..]);
    assert!(done.equal, "{done:?}");
    site.psql("DELETE FROM shop.t WHERE id = 100").await;
    assert_eq!(site.rows(&["shop.t"]).await, before);
}

#[tokio::test]
async fn only_what_was_committed_is_taken_back() {
    let site = Site::start(PLAIN).await;
    let mut open = site.begin().await;
    let unsettled = open.all(&[update(1, "open")]).await;
    let error = take_back(
        &site.target,
        TakeBack { writes: vec![unsettled.clone()], overwrite: true, halt: Halt::never() },
    );
    let error = error.await.unwrap_err().to_string();
    assert!(error.contains("has not ended yet"), "{error}");
    open.end("ROLLBACK").await;
    site.psql("UPDATE shop.t SET v = 'theirs' WHERE id = 1").await;
    let done = site.overwrite(&[unsettled]).await;
    assert_eq!(done, Restored { equal: true, ..Restored::default() });
    assert_eq!(site.psql("SELECT v FROM shop.t WHERE id = 1").await, "theirs");
    let images =
        super::super::super::images::Images { transaction: (1 << 40) + 5000, ..Default::default() };
    let future = KeptWrite { index: 1, images: images.to_body() };
    let error = plan(&site.target, &[future]).await.unwrap_err().to_string();
    assert!(error.contains("does not know transaction"), "{error}");
    let broken = KeptWrite { index: 1, images: "{".into() };
    assert!(plan(&site.target, &[broken]).await.is_err());
}

#[tokio::test]
async fn a_partitioned_table_is_one_table() {
    let site = Site::start(
        "CREATE SCHEMA shop; CREATE TABLE shop.p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
         CREATE TABLE shop.low (v text, id int NOT NULL);
         ALTER TABLE shop.p ATTACH PARTITION shop.low FOR VALUES FROM (0) TO (10);
         CREATE TABLE shop.high PARTITION OF shop.p FOR VALUES FROM (10) TO (20);
         CREATE TABLE shop.q (id int, part int, v text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
         CREATE TABLE shop.q1 PARTITION OF shop.q FOR VALUES IN (1);
         INSERT INTO shop.p SELECT g, 'v' || g FROM generate_series(1, 15) g;
         INSERT INTO shop.q SELECT g, 1, 'v' || g FROM generate_series(1, 5) g;",
    )
    .await;
    let before = site.rows(&["shop.p", "shop.q"]).await;
    let writes = [
        site.writes(&[
            change(
                "shop.p",
                "id > 7 AND id < 12",
                "UPDATE shop.p SET v = 'x' WHERE id > 7 AND id < 12",
            ),
            change("shop.p", "id IN (1, 15)", "DELETE FROM shop.p WHERE id IN (1, 15)"),
            add("shop.low", 1, "INSERT INTO shop.p VALUES (0, 'new')"),
        ])
        .await,
        site.writes(&[change("shop.q", "id = 1", "UPDATE shop.q1 SET v = 'x' WHERE id = 1")]).await,
    ];
    let done = site.take_back(&writes).await;
    assert!(done.equal && done.left.is_empty(), "{done:?}");
    assert_eq!(site.rows(&["shop.p", "shop.q"]).await, before);
    assert_eq!(done.rows, [("shop.p".to_owned(), 7), ("shop.q".to_owned(), 1)].into());
}

#[tokio::test]
async fn a_key_that_changed_loses_nothing() {
    let site = Site::start(
        "CREATE SCHEMA shop; CREATE TABLE shop.p (id int, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
         CREATE TABLE shop.p1 PARTITION OF shop.p FOR VALUES IN (1);
         CREATE TABLE shop.p2 PARTITION OF shop.p FOR VALUES IN (2);
         INSERT INTO shop.p SELECT g, 1 FROM generate_series(1, 3) g;",
    )
    .await;
    // As a door must not let it flow: a key that changed. Nothing is lost, and it is said.
    let moved = change("shop.p", "id = 1", "UPDATE shop.p SET part = 2 WHERE id = 1");
    let moved = site.writes(&[moved]).await;
    let done = site.take_back(&[moved]).await;
    assert_eq!(done.left, ["shop.p (id, part)=(1, 1): deleted since"]);
    assert_eq!(site.psql("SELECT count(*) FROM shop.p").await, "3");
}

const FAMILY: &str = "CREATE SCHEMA shop;
    CREATE TABLE shop.parents (id int PRIMARY KEY, up int REFERENCES shop.parents ON DELETE CASCADE);
    CREATE TABLE shop.children (id int PRIMARY KEY, parent int REFERENCES shop.parents ON DELETE CASCADE);
    INSERT INTO shop.parents SELECT g, NULLIF(g - 1, 0) FROM generate_series(1, 10) g;
    INSERT INTO shop.children SELECT g, (g + 1) / 2 FROM generate_series(1, 20) g;
    CREATE TABLE shop.theirs (parent int REFERENCES shop.parents ON DELETE SET NULL);";

#[tokio::test]
async fn families_come_back_whole_and_nobody_elses_rows_go_with_them() {
    let site = Site::start(FAMILY).await;
    let tables = ["shop.parents", "shop.children"];
    let before = site.rows(&tables).await;
    let writes = [site
        .writes(&[
            change("shop.children", "parent = 10", "DELETE FROM shop.children WHERE parent = 10"),
            change("shop.parents", "id = 10", "DELETE FROM shop.parents WHERE id = 10"),
            add("shop.parents", 3, "INSERT INTO shop.parents VALUES (20, 9), (21, 20), (22, NULL)"),
            change("shop.children", "id = 1", "UPDATE shop.children SET parent = 21 WHERE id = 1"),
            add("shop.children", 1, "INSERT INTO shop.children VALUES (30, 21)"),
        ])
        .await];
    site.psql("INSERT INTO shop.theirs VALUES (22)").await;
    let done = site.take_back(&writes).await;
    assert_eq!(done.left, ["shop.parents (id)=(22): other rows refer to it"]);
    assert!(done.equal, "{done:?}");
    assert_eq!(site.psql("SELECT * FROM shop.theirs").await, "22");
    site.psql("DELETE FROM shop.theirs; DELETE FROM shop.parents WHERE id = 22").await;
    assert_eq!(site.rows(&tables).await, before);
    // A child whose parent somebody else took away since cannot come back, and is named.
    let gone = site
        .writes(&[change(
            "shop.children",
            "parent = 10",
            "DELETE FROM shop.children WHERE parent = 10",
        )])
        .await;
    site.psql("DELETE FROM shop.parents WHERE id = 10").await;
    let done = site.take_back(&[gone]).await;
    assert_eq!((rows(&done), done.left.len()), (0, 2), "{done:?}");
    assert!(
        done.left[0].starts_with("shop.children (id)=(19): ")
            && done.left[0].contains("foreign key"),
        "{done:?}"
    );
}

#[tokio::test]
async fn what_would_write_to_another_table_is_not_done() {
    let site = Site::start(
        "CREATE SCHEMA shop; CREATE TABLE shop.t (id int PRIMARY KEY, code text UNIQUE);
         CREATE TABLE shop.u (code text REFERENCES shop.t (code) ON UPDATE CASCADE);
         INSERT INTO shop.t VALUES (1, 'a'); INSERT INTO shop.u VALUES ('a');",
    )
    .await;
    let update = "UPDATE shop.t SET code = 'b' WHERE id = 1";
    let write = site.writes(&[change("shop.t", "id = 1", update)]).await;
    let act = TakeBack { writes: vec![write], overwrite: false, halt: Halt::never() };
    let error = take_back(&site.target, act).await.unwrap_err().to_string();
    assert!(error.contains("would have written to shop.u as well"), "{error}");
    assert_eq!(site.rows(&["shop.t", "shop.u"]).await, "shop.t|(1,b)\nshop.u|(b)");
}

#[tokio::test]
async fn what_became_of_the_table_since_is_said_and_nothing_is_done_by_half() {
    let site = Site::start(
        "CREATE SCHEMA shop;
         CREATE TABLE shop.a (id int PRIMARY KEY, v text, w text); CREATE TABLE shop.b (LIKE shop.a INCLUDING ALL);
         CREATE TABLE shop.c (LIKE shop.a INCLUDING ALL); CREATE TABLE shop.d (LIKE shop.a INCLUDING ALL);
         CREATE TABLE shop.e (LIKE shop.a INCLUDING ALL); CREATE TABLE shop.f (LIKE shop.a INCLUDING ALL);
         INSERT INTO shop.a VALUES (1, 'v', 'w'); INSERT INTO shop.b TABLE shop.a; INSERT INTO shop.c TABLE shop.a;
         INSERT INTO shop.d TABLE shop.a; INSERT INTO shop.e TABLE shop.a; INSERT INTO shop.f TABLE shop.a;",
    )
    .await;
    let each = ["a", "b", "c", "d", "e", "f"];
    let update = |t: &str| {
        change(&format!("shop.{t}"), "true", &format!("UPDATE shop.{t} SET v = 'x', w = 'y'"))
    };
    let writes = [site.writes(&each.map(update)).await];
    site.psql(
        "ALTER TABLE shop.a DROP COLUMN w; ALTER TABLE shop.b ALTER v TYPE varchar(100); DROP TABLE shop.c;
         ALTER TABLE shop.d RENAME TO \"new name\"; ALTER TABLE shop.e ADD COLUMN more int DEFAULT 7;
         ALTER TABLE shop.f DROP CONSTRAINT f_pkey;",
    )
    .await;
    let left = [
        "shop.a: its column `w` is gone; its 1 rows stay as they are",
        "shop.b: its column `v` has another type now; its 1 rows stay as they are",
        "shop.f: its primary key is not what it was; its 1 rows stay as they are",
        "shop.c is gone, and 1 rows of it with it",
    ];
    assert_eq!(site.plan_back(&writes).await.conflicts, left);
    let done = site.take_back(&writes).await;
    assert_eq!(done.left, left);
    assert_eq!(done.rows, [("shop.\"new name\"".to_owned(), 1), ("shop.e".to_owned(), 1)].into());
    let now = site.rows(&["shop.a", "shop.b", "shop.\"new name\"", "shop.e", "shop.f"]).await;
    assert_eq!(
        now,
        "shop.a|(1,x)\nshop.b|(1,x,y)\nshop.\"new name\"|(1,v,w)\nshop.e|(1,v,w,7)\nshop.f|(1,x,y)"
    );
}

#[tokio::test]
async fn triggers_sleep_and_wake_as_they_were() {
    let site = Site::start(
        "CREATE SCHEMA shop; CREATE TABLE shop.t (id int PRIMARY KEY, v text, at timestamptz DEFAULT now());
         CREATE TABLE shop.audit (v text);
         CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN NEW.at := clock_timestamp(); INSERT INTO shop.audit VALUES (NEW.v); RETURN NEW; END $$;
         CREATE TRIGGER plain BEFORE INSERT OR UPDATE ON shop.t FOR EACH ROW EXECUTE FUNCTION shop.touch();
         CREATE TRIGGER always BEFORE UPDATE ON shop.t FOR EACH ROW EXECUTE FUNCTION shop.touch();
         CREATE TRIGGER off BEFORE UPDATE ON shop.t FOR EACH ROW EXECUTE FUNCTION shop.touch();
         ALTER TABLE shop.t ENABLE ALWAYS TRIGGER always; ALTER TABLE shop.t DISABLE TRIGGER off;
         INSERT INTO shop.t VALUES (1, 'a'), (2, 'b');",
    )
    .await;
    let states = "SELECT string_agg(tgname || tgenabled::text, ' ' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal";
    let (before, awake) = (site.rows(&["shop.t"]).await, site.psql(states).await);
    let writes = [
        site.writes(&[change("shop.t", "id = 1", "UPDATE shop.t SET v = 'x' WHERE id = 1")]).await,
        site.writes(&[change("shop.t", "id = 2", "DELETE FROM shop.t WHERE id = 2")]).await,
    ];
    let audit = site.psql("SELECT count(*) FROM shop.audit").await;
    let done = site.take_back(&writes).await;
    assert!(done.equal && done.left.is_empty(), "{done:?}");
    assert_eq!(site.rows(&["shop.t"]).await, before);
    assert_eq!(site.psql(states).await, awake);
    assert_eq!(site.psql("SELECT count(*) FROM shop.audit").await, audit);
}
