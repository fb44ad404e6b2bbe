//! sqlx, as programs use it, through the door. Ends with an error where anything is other than
//! PostgreSQL alone would have it.
//!
//! `drive-sqlx drive`, or `drive-sqlx migrate|skip VERSION` for the migrations beside it.
#![forbid(unsafe_code)]

use futures_util::TryStreamExt as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolCopyExt as _, PgPoolOptions,
};
use sqlx::{Connection as _, Executor as _, Row as _};
use std::error::Error;
use std::path::Path;
use std::time::Duration;

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["drive"] => drive().await,
        [act @ ("migrate" | "skip"), version] => migrate(act, version.parse()?).await,
        _ => Err("usage: drive-sqlx drive|migrate VERSION|skip VERSION".into()),
    }
}

/// PGHOST and its like say where.
fn pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(60))
}

async fn drive() -> Outcome {
    let mut one = PgConnection::connect_with(&PgConnectOptions::new()).await?;
    types(&mut one).await?;
    println!("types");
    writes(&mut one).await?;
    println!("writes");
    transactions(&mut one).await?;
    println!("transactions");
    streams(&mut one).await?;
    println!("streams");
    copies(&mut one).await?;
    println!("copies");
    one.close().await?;
    let pool = pool(5).connect_with(PgConnectOptions::new()).await?;
    pools(&pool).await?;
    println!("pools");
    listens(&pool).await?;
    println!("listens");
    holds(&pool).await?;
    println!("holds");
    pool.close().await;
    Ok(())
}

async fn types(one: &mut PgConnection) -> Outcome {
    type All =
        (i16, i32, i64, f64, bool, String, Vec<u8>, Option<i32>, Vec<i32>, serde_json::Value);
    let given: All = (
        -1,
        2,
        i64::MIN,
        0.5,
        true,
        "é\\'".into(),
        vec![0, 255],
        None,
        vec![3, 4],
        serde_json::json!({ "a": [1] }),
    );
    let sql = "SELECT $1::int2, $2::int4, $3::int8, $4::float8, $5::bool, $6::text, $7::bytea, \
        $8::int4, $9::int4[], $10::jsonb";
    for persistent in [true, false, true] {
        let (a, b, c, d, e, f, g, h, i, j) = given.clone();
        let query = sqlx::query_as(sql).bind(a).bind(b).bind(c).bind(d).bind(e).bind(f).bind(g);
        let got: All =
            query.bind(h).bind(i).bind(j).persistent(persistent).fetch_one(&mut *one).await?;
        assert_eq!(got, given);
    }
    // What a type of the schema's own is, it asks of the catalogue.
    let feels: Vec<Mood> =
        sqlx::query_scalar("SELECT feels FROM customers WHERE id = ANY($1) AND feels = $2")
            .bind(vec![1, 2])
            .bind(Mood::Ok)
            .fetch_all(&mut *one)
            .await?;
    assert_eq!(feels, [Mood::Ok, Mood::Ok]);
    one.ping().await?;
    Ok(())
}

#[derive(Debug, PartialEq)]
enum Mood {
    Ok,
}

impl sqlx::Type<sqlx::Postgres> for Mood {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        sqlx::postgres::PgTypeInfo::with_name("mood")
    }
}

impl sqlx::Encode<'_, sqlx::Postgres> for Mood {
    fn encode_by_ref(
        &self,
        buffer: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        <&str as sqlx::Encode<'_, sqlx::Postgres>>::encode("ok", buffer)
    }
}

impl sqlx::Decode<'_, sqlx::Postgres> for Mood {
    fn decode(value: sqlx::postgres::PgValueRef<'_>) -> Result<Mood, sqlx::error::BoxDynError> {
        match value.as_str()? {
            "ok" => Ok(Mood::Ok),
            other => Err(format!("`{other}` is no mood").into()),
        }
    }
}

async fn writes(one: &mut PgConnection) -> Outcome {
    for id in 1..4 {
        let query = sqlx::query("UPDATE orders SET note = $1 WHERE id = $2").bind("r").bind(id);
        assert_eq!(query.execute(&mut *one).await?.rows_affected(), 1);
    }
    let many = sqlx::query("UPDATE orders SET note = 'r' WHERE id = ANY($1)").bind(vec![4, 5]);
    assert_eq!(many.execute(&mut *one).await?.rows_affected(), 2);
    let gone: (String,) = sqlx::query_as("DELETE FROM orders WHERE id = $1 RETURNING note")
        .bind(200)
        .fetch_one(&mut *one)
        .await?;
    assert_eq!(gone.0, "n200");
    for total in [1_i64, 2] {
        let sql = "INSERT INTO orders (id, total) VALUES ($1, $2) \
            ON CONFLICT (id) DO UPDATE SET total = excluded.total";
        sqlx::query(sql).bind(500).bind(total).execute(&mut *one).await?;
    }
    // Several at once have no parameters, and go as text.
    let text =
        "UPDATE orders SET note = 's' WHERE id = 6; UPDATE orders SET note = 's' WHERE id = 7";
    assert_eq!(one.execute(text).await?.rows_affected(), 2);
    let twice = sqlx::query("INSERT INTO orders (id) VALUES (1)").execute(&mut *one).await;
    let error = twice.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("orders_pkey"), "{error}");
    Ok(())
}

async fn transactions(one: &mut PgConnection) -> Outcome {
    let mut outer = one.begin().await?;
    sqlx::query("UPDATE orders SET note = 'kept' WHERE id = $1")
        .bind(20)
        .execute(&mut *outer)
        .await?;
    let mut inner = outer.begin().await?;
    sqlx::query("UPDATE orders SET note = 'gone' WHERE id = $1")
        .bind(21)
        .execute(&mut *inner)
        .await?;
    inner.rollback().await?;
    let mut inner = outer.begin().await?;
    sqlx::query("UPDATE orders SET note = 'kept' WHERE id = $1")
        .bind(22)
        .execute(&mut *inner)
        .await?;
    inner.commit().await?;
    outer.commit().await?;
    // Let go of without a word, it is rolled back before the connection does anything else.
    let mut dropped = one.begin().await?;
    sqlx::query("UPDATE orders SET note = 'gone' WHERE id = $1")
        .bind(23)
        .execute(&mut *dropped)
        .await?;
    drop(dropped);
    let mut failed = one.begin().await?;
    assert!(sqlx::query("SELECT 1 / 0").execute(&mut *failed).await.is_err());
    let after = sqlx::query("SELECT 1").execute(&mut *failed).await.unwrap_err();
    assert_eq!(after.as_database_error().unwrap().code().as_deref(), Some("25P02"));
    failed.rollback().await?;
    let mut strict = one.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE").await?;
    sqlx::query("UPDATE orders SET note = 'kept' WHERE id = 24").execute(&mut *strict).await?;
    strict.commit().await?;
    let notes: Vec<String> =
        sqlx::query_scalar("SELECT note FROM orders WHERE id BETWEEN 20 AND 24 ORDER BY id")
            .fetch_all(&mut *one)
            .await?;
    assert_eq!(notes, ["kept", "n21", "kept", "n23", "kept"]);
    Ok(())
}

async fn streams(one: &mut PgConnection) -> Outcome {
    let mut rows = sqlx::query("SELECT id FROM orders ORDER BY id").fetch(&mut *one);
    let mut seen = 0;
    while let Some(row) = rows.try_next().await? {
        seen += i32::from(row.try_get::<i32, _>(0)? > 0);
    }
    drop(rows);
    assert_eq!(seen, 200);
    // Left in the middle: what is left of it must not be taken for the next answer.
    let mut rows = sqlx::query("SELECT n FROM generate_series(1, 50000) n").fetch(&mut *one);
    let first = rows.try_next().await?.map(|row| row.get::<i32, _>(0));
    assert_eq!(first, Some(1));
    drop(rows);
    let next: i32 = sqlx::query_scalar("SELECT 7").fetch_one(&mut *one).await?;
    assert_eq!(next, 7);
    Ok(())
}

async fn copies(one: &mut PgConnection) -> Outcome {
    let mut copy = one.copy_in_raw("COPY orders (id, note) FROM STDIN (FORMAT csv)").await?;
    copy.send(&b"600,six\n601,"[..]).await?.send(&b"\"a, b\"\n"[..]).await?;
    assert_eq!(copy.finish().await?, 2);
    let mut copy = one.copy_in_raw("COPY orders (id) FROM STDIN").await?;
    copy.send(&b"602\n"[..]).await?;
    copy.abort("no").await?;
    let out = one
        .copy_out_raw("COPY (SELECT id, note FROM orders WHERE id > 599 ORDER BY id) TO STDOUT")
        .await?;
    let chunks: Vec<_> = out.try_collect().await?;
    assert_eq!(chunks.concat(), b"600\tsix\n601\ta, b\n");
    Ok(())
}

async fn pools(pool: &PgPool) -> Outcome {
    let each = (0..20).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let sql = "UPDATE orders SET note = $1 WHERE id = $2 RETURNING id";
            sqlx::query_scalar::<_, i32>(sql).bind("pool").bind(100 + n).fetch_one(&pool).await
        })
    });
    let each: Vec<_> = each.collect();
    for (one, expected) in each.into_iter().zip(100..) {
        assert_eq!(one.await??, expected);
    }
    assert!(pool.size() <= 5);
    let mut copy = pool.copy_in_raw("COPY orders (id) FROM STDIN").await?;
    copy.send(&b"603\n"[..]).await?;
    assert_eq!(copy.finish().await?, 1);
    Ok(())
}

async fn listens(pool: &PgPool) -> Outcome {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen("orders").await?;
    sqlx::query("SELECT pg_notify('orders', $1)").bind("41").execute(pool).await?;
    pool.execute("NOTIFY orders, '42'").await?;
    for expected in ["41", "42"] {
        let heard = tokio::time::timeout(Duration::from_secs(20), listener.recv()).await??;
        assert_eq!((heard.channel(), heard.payload()), ("orders", expected));
    }
    listener.unlisten_all().await?;
    Ok(())
}

/// What destroys: the error is the gateway's own, with its hint, and the pool is of use afterwards.
async fn holds(pool: &PgPool) -> Outcome {
    let mut one = pool.acquire().await?;
    let asked = sqlx::query("DELETE FROM orders WHERE id > $1").bind(10).execute(&mut *one).await;
    let error = asked.unwrap_err();
    let error =
        error.as_database_error().unwrap().downcast_ref::<sqlx::postgres::PgDatabaseError>();
    assert_eq!(error.code(), "CM001", "{error}");
    assert!(error.message().starts_with("held as change") && error.hint().is_some(), "{error}");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut *one).await?;
    assert!(left > 100);
    // The hold is left behind, as with any pool that does not reset its connections.
    one.execute("ROLLBACK").await?;
    sqlx::query("UPDATE orders SET note = 'after' WHERE id = 40").execute(&mut *one).await?;
    Ok(())
}

async fn migrate(act: &str, version: i64) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let migrator = Migrator::new(folder).await?;
    let pool = pool(1).connect_with(PgConnectOptions::new()).await?;
    let done = match act {
        "skip" => migrator.skip(&pool, Some(version)).await,
        _ => migrator.run_to(version, &pool).await,
    };
    // As a person would see it: the error, with what the server said of it.
    let cause = done
        .as_ref()
        .err()
        .and_then(|error| causes(error).find_map(|cause| cause.downcast_ref::<sqlx::Error>()));
    if let Some(said) = cause.and_then(sqlx::Error::as_database_error) {
        let said = said.downcast_ref::<sqlx::postgres::PgDatabaseError>();
        eprintln!(
            "{said}\n{}\n{}",
            said.detail().unwrap_or_default(),
            said.hint().unwrap_or_default()
        );
    }
    pool.close().await;
    Ok(done?)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
