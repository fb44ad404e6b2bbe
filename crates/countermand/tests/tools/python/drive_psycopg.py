"""psycopg 3, as programs use it, through the door. Ends with an error where anything is other than
PostgreSQL alone would have it."""

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb


def held(connection, text, parameters=None):
    """Sends what destroys: the error must be the gateway's own, with its hint."""
    try:
        connection.execute(text, parameters)
    except psycopg.Error as error:
        assert error.sqlstate == "CM001", (error.sqlstate, str(error))
        assert error.diag.message_primary.startswith("held"), str(error)
        assert error.diag.message_hint, "no hint"
        return
    raise AssertionError(f"not held: {text}")


def reads(c):
    assert c.execute("SELECT 1").fetchone() == (1,)
    # Without parameters psycopg sends a simple query, which may hold several.
    assert c.execute("SELECT 1; SELECT 2").nextset()
    assert c.execute("SELECT %s + %s", (3, 4)).fetchone() == (7,)
    # `%b` is binary.
    values = (1, "é", b"\x00\xff\\", [1, None, 3], 1.5, True)
    got = c.execute("SELECT %b::int, %b::text, %b::bytea, %b::int[], %b::float8, %b::bool", values)
    assert got.fetchone() == values
    got = c.cursor(binary=True).execute("SELECT id, total, note FROM orders WHERE id = %b", (7,))
    assert got.fetchone() == (7, 70, "n7")
    got = c.cursor(row_factory=dict_row).execute("SELECT %s AS a", (Jsonb({"b": [1]}),))
    assert got.fetchone() == {"a": {"b": [1]}}
    for _ in range(8):  # from the sixth on it is prepared
        assert c.execute("SELECT note FROM orders WHERE id = %s", (5,)).fetchone() == ("n5",)
    assert c.execute("SELECT 1", prepare=True).fetchone() == (1,)
    name = sql.Identifier("orders")
    assert c.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone() == (200,)
    with c.transaction(), c.cursor(name="on_the_server") as cursor:
        cursor.execute("SELECT id FROM orders ORDER BY id")
        assert len(cursor.fetchmany(10)) == 10
        assert next(cursor) == (11,)
    assert list(c.cursor().stream("SELECT id FROM orders ORDER BY id LIMIT 3")) == [(1,), (2,), (3,)]


def writes(c):
    c.execute("INSERT INTO customers (id, name, feels) VALUES (%s, %s, %s)", (100, "p", "sad"))
    got = c.execute("INSERT INTO customers (name) VALUES (%s) RETURNING id", ("q",)).fetchone()
    assert got is not None
    cursor = c.cursor()
    cursor.execute("UPDATE orders SET note = %s WHERE id = %s", ("p1", 1))
    assert cursor.rowcount == 1
    cursor.execute("UPDATE orders SET note = %b WHERE id = %b", ("p2", 2))
    cursor.execute("UPDATE orders SET note = %s WHERE id = ANY(%s)", ("p3", [3, 4, 5]))
    assert cursor.rowcount == 3
    cursor.execute("UPDATE orders SET note = %s WHERE id IN (%s, %s) RETURNING id", ("p6", 6, 7))
    assert sorted(cursor.fetchall()) == [(6,), (7,)]
    cursor.execute("DELETE FROM orders WHERE id = %s", (200,))
    cursor.executemany("UPDATE orders SET note = %s WHERE id = %s", [("m", n) for n in range(10, 20)])
    assert cursor.rowcount == 10
    rows = [(n, 1, n, "many") for n in range(500, 520)]
    cursor.executemany("INSERT INTO orders VALUES (%s, %s, %s, %s) RETURNING id", rows, returning=True)
    upsert = """INSERT INTO orders (id, customer, total) VALUES (%s, %s, %s)
        ON CONFLICT (id) DO UPDATE SET total = excluded.total"""
    c.execute(upsert, (500, 1, 999))
    c.execute(upsert, (600, 1, 600))
    nothing = "INSERT INTO orders (id) VALUES (%s) ON CONFLICT DO NOTHING"
    assert c.execute(nothing, (600,)).rowcount == 0


def transactions(c):
    with c.transaction():
        c.execute("UPDATE orders SET note = 'kept' WHERE id = 20")
        try:
            with c.transaction():  # a savepoint
                c.execute("UPDATE orders SET note = 'dropped' WHERE id = 21")
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        with c.transaction():
            c.execute("UPDATE orders SET note = 'kept' WHERE id = 22")
    try:
        with c.transaction():
            c.execute("UPDATE orders SET note = 'dropped' WHERE id = 23")
            c.execute("SELECT 1 / 0")
    except psycopg.errors.DivisionByZero:
        pass
    with c.transaction():
        row = c.execute("SELECT total FROM orders WHERE id = %s FOR UPDATE", (24,)).fetchone()
        c.execute("UPDATE orders SET total = %s WHERE id = %s", (row[0] + 1, 24))
    got = c.execute("SELECT id, note FROM orders WHERE id BETWEEN 20 AND 23 ORDER BY id").fetchall()
    assert got == [(20, "kept"), (21, "n21"), (22, "kept"), (23, "n23")], got
    assert c.execute("SELECT total FROM orders WHERE id = 24").fetchone() == (241,)
    try:
        c.execute("INSERT INTO orders (id) VALUES (1)")
        raise AssertionError("a duplicate was taken")
    except psycopg.errors.UniqueViolation as error:
        assert error.diag.constraint_name == "orders_pkey"
    for level in psycopg.IsolationLevel:
        c.isolation_level = level
        with c.transaction():
            c.execute("SELECT count(*) FROM orders")
            c.execute("UPDATE orders SET note = %s WHERE id = 25", (level.name,))
    c.isolation_level = None
    c.read_only = True
    with c.transaction():
        c.execute("SELECT 1")
    c.read_only = None


def pipelines(c):
    with c.pipeline() as pipeline:
        first = c.execute("SELECT 1")
        c.execute("UPDATE orders SET note = 'piped' WHERE id = 30")
        c.execute("INSERT INTO orders (id) VALUES (%s)", (700,))
        pipeline.sync()
        last = c.execute("SELECT note FROM orders WHERE id = %s", (30,))
    assert (first.fetchone(), last.fetchone()) == ((1,), ("piped",))
    with c.pipeline(), c.transaction():
        c.execute("UPDATE orders SET note = 'together' WHERE id = 31")
        c.execute("DELETE FROM orders WHERE id = %s", (700,))
    try:
        with c.pipeline():
            c.execute("UPDATE orders SET note = 'never' WHERE id = 32")
            c.execute("SELECT 1 / 0")
        raise AssertionError("an error was lost")
    except psycopg.errors.DivisionByZero:
        pass
    got = c.execute("SELECT note FROM orders WHERE id BETWEEN 30 AND 32 ORDER BY id").fetchall()
    assert got == [("piped",), ("together",), ("n32",)], got
    assert c.execute("SELECT count(*) FROM orders WHERE id = 700").fetchone() == (0,)


def copies(c):
    cursor = c.cursor()
    with cursor.copy("COPY orders (id, customer, note) FROM STDIN") as copy:
        for number in range(800, 850):
            copy.write_row((number, 1, "copied\there"))
    assert cursor.rowcount == 50
    with cursor.copy("COPY orders (id, note) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        for number in range(850, 860):
            copy.write_row((number, None))
    with cursor.copy("COPY (SELECT id FROM orders WHERE id >= 800 ORDER BY id) TO STDOUT") as copy:
        assert len(list(copy.rows())) == 60
    with cursor.copy("COPY orders TO STDOUT (FORMAT binary)") as copy:
        assert sum(len(block) for block in copy) > 1000


def holds(c):
    held(c, "DROP TABLE visits")
    assert c.execute("SELECT count(*) > 200 FROM orders").fetchone() == (True,)
    c.execute("ROLLBACK")  # leaves the held change behind
    held(c, "DELETE FROM orders")
    c.execute("DISCARD ALL")
    c.execute("UPDATE orders SET note = 'after' WHERE id = 40")
    held(c, "UPDATE orders SET total = %s WHERE id > %s", (0, 0))
    assert c.execute("SELECT sum(total) > 0 FROM orders").fetchone() == (True,)
    c.rollback()
    c.execute("ROLLBACK")
    c.autocommit = False
    c.execute("UPDATE orders SET note = 'never' WHERE id = 41")
    held(c, "TRUNCATE orders")
    c.rollback()
    c.execute("UPDATE orders SET note = 'later' WHERE id = 42")
    c.commit()
    c.autocommit = True
    got = c.execute("SELECT note FROM orders WHERE id BETWEEN 40 AND 42 ORDER BY id").fetchall()
    assert got == [("after",), ("n41",), ("later",)], got


with psycopg.connect(autocommit=True) as connection:
    for part in [reads, writes, transactions, pipelines, copies, holds]:
        part(connection)
        print(part.__name__)
