"""asyncpg, as programs use it, through the door. Ends with an error where anything is other than
PostgreSQL alone would have it."""

import asyncio
import datetime
import decimal

import asyncpg


async def held(connection, text, *parameters):
    """Sends what destroys: the error must be the gateway's own, with its hint."""
    try:
        await connection.execute(text, *parameters)
    except asyncpg.PostgresError as error:
        assert error.sqlstate == "CM001", (error.sqlstate, str(error))
        assert str(error).startswith("held"), str(error)
        assert error.hint, "no hint"
        return
    raise AssertionError(f"not held: {text}")


async def reads(c):
    assert await c.fetchval("SELECT 1") == 1
    assert await c.execute("SELECT 1; SELECT 2") == "SELECT 1"
    # Every parameter and result is binary, and their types are asked of the server first.
    values = (1, "é", b"\x00\xff\\", [1, None, 3], 1.5, decimal.Decimal("1.50"), datetime.date(2026, 1, 2))
    row = await c.fetchrow(
        "SELECT $1::int, $2::text, $3::bytea, $4::int[], $5::float8, $6::numeric, $7::date", *values
    )
    assert tuple(row) == values, row
    # An enumeration and a composite are looked up in the catalogue.
    assert await c.fetchval("SELECT $1::mood", "ok") == "ok"
    assert await c.fetchval("SELECT feels FROM customers WHERE id = $1", 1) == "ok"
    assert (await c.fetchrow("SELECT o FROM orders o WHERE id = 3"))["o"]["note"] == "n3"
    statement = await c.prepare("SELECT note FROM orders WHERE id = $1")
    assert [p.name for p in statement.get_parameters()] == ["int4"]
    for number in range(1, 9):
        assert await statement.fetchval(number) == f"n{number}"
    async with c.transaction():
        rows = [row["id"] async for row in c.cursor("SELECT id FROM orders ORDER BY id", prefetch=7)]
        assert len(rows) == 200
    await c.set_type_codec("jsonb", encoder=str, decoder=str, schema="pg_catalog")
    assert await c.fetchval("SELECT '[1]'::jsonb") == "[1]"


async def writes(c):
    assert await c.execute("UPDATE orders SET note = $1 WHERE id = $2", "a1", 1) == "UPDATE 1"
    done = await c.execute("UPDATE orders SET note = $1 WHERE id = ANY($2::int[])", "a2", [2, 3])
    assert done == "UPDATE 2"
    assert await c.execute("DELETE FROM orders WHERE id = $1", 200) == "DELETE 1"
    await c.executemany("UPDATE orders SET note = $1 WHERE id = $2", [("m", n) for n in range(10, 20)])
    insert = "INSERT INTO orders (id, customer, total, note) VALUES ($1, $2, $3, $4)"
    await c.executemany(insert, [(n, 1, n, "many") for n in range(500, 520)])
    upsert = insert + " ON CONFLICT (id) DO UPDATE SET total = excluded.total"
    await c.execute(upsert, 500, 1, 999, "x")
    await c.execute(upsert, 600, 1, 600, "x")
    got = await c.fetchval("INSERT INTO customers (name, feels) VALUES ($1, $2) RETURNING id", "z", "sad")
    assert got > 20
    many = await c.fetchval("SELECT count(*) FROM orders WHERE note IN ('m', 'many')")
    assert many == 30, many


async def transactions(c):
    async with c.transaction():
        await c.execute("UPDATE orders SET note = 'kept' WHERE id = $1", 20)
        try:
            async with c.transaction():
                await c.execute("UPDATE orders SET note = 'dropped' WHERE id = $1", 21)
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        async with c.transaction():
            await c.execute("UPDATE orders SET note = 'kept' WHERE id = $1", 22)
    try:
        async with c.transaction():
            await c.execute("UPDATE orders SET note = 'dropped' WHERE id = $1", 23)
            await c.fetch("SELECT 1 / 0")
    except asyncpg.DivisionByZeroError:
        pass
    for isolation in ["read_committed", "repeatable_read", "serializable"]:
        async with c.transaction(isolation=isolation):
            total = await c.fetchval("SELECT total FROM orders WHERE id = $1 FOR UPDATE", 24)
            await c.execute("UPDATE orders SET total = $1 WHERE id = $2", total + 1, 24)
    async with c.transaction(readonly=True):
        await c.fetch("SELECT 1")
    got = await c.fetch("SELECT note FROM orders WHERE id BETWEEN 20 AND 23 ORDER BY id")
    assert [row["note"] for row in got] == ["kept", "n21", "kept", "n23"], got
    assert await c.fetchval("SELECT total FROM orders WHERE id = 24") == 243
    try:
        await c.execute("INSERT INTO orders (id) VALUES ($1)", 1)
        raise AssertionError("a duplicate was taken")
    except asyncpg.UniqueViolationError as error:
        assert error.constraint_name == "orders_pkey"


async def copies(c):
    rows = [(number, 1, "copied\there") for number in range(800, 850)]
    done = await c.copy_records_to_table("orders", records=rows, columns=["id", "customer", "note"])
    assert done == "COPY 50"
    with open("asyncpg.csv", "wb") as out:
        assert await c.copy_from_query("SELECT id FROM orders WHERE id >= $1", 800, output=out) == "COPY 50"
    with open("asyncpg.csv", "rb") as source:
        text = source.read()
    assert text.count(b"\n") == 50


async def holds(c):
    await held(c, "DROP TABLE visits")
    assert await c.fetchval("SELECT count(*) > 200 FROM orders")
    await c.execute("ROLLBACK")
    await held(c, "UPDATE orders SET total = $1 WHERE id > $2", 0, 0)
    await c.execute("DISCARD ALL")
    await c.reload_schema_state()
    assert await c.execute("UPDATE orders SET note = 'after' WHERE id = 40") == "UPDATE 1"
    try:
        async with c.transaction():
            await c.execute("UPDATE orders SET note = 'never' WHERE id = 41")
            await held(c, "TRUNCATE orders")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert await c.execute("UPDATE orders SET note = 'later' WHERE id = 42") == "UPDATE 1"
    got = await c.fetch("SELECT note FROM orders WHERE id BETWEEN 40 AND 42 ORDER BY id")
    assert [row["note"] for row in got] == ["after", "n41", "later"], got


async def pools():
    async with asyncpg.create_pool(min_size=2, max_size=3) as pool:
        async def work(number):
            async with pool.acquire() as c, c.transaction():
                await c.execute("UPDATE orders SET note = 'pooled' WHERE id = $1", number)
                return await c.fetchval("SELECT note FROM orders WHERE id = $1", number)

        done = await asyncio.gather(*(work(number) for number in range(50, 70)))
        assert done == ["pooled"] * 20
        # A connection that holds a change goes back to the pool as one that can be used.
        async with pool.acquire() as c:
            await held(c, "DELETE FROM orders WHERE id > 0")
        for number in range(70, 76):
            assert await work(number) == "pooled"


async def main():
    connection = await asyncpg.connect()
    for part in [reads, writes, transactions, copies, holds]:
        await part(connection)
        print(part.__name__)
    await connection.close()
    await pools()
    print("pools")


asyncio.run(main())
