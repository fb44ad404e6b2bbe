"use strict";
// node-postgres, as programs use it, through the door. Ends with an error where anything is other
// than PostgreSQL alone would have it.

const assert = require("node:assert");
const { createRequire } = require("node:module");
// The packages stand apart from this file, in the folder given.
const { Client, Pool } = createRequire(process.argv[2] + "/")("pg");

/** Sends what destroys: the error must be the gateway's own, with its hint. */
async function held(client, text, values) {
  await assert.rejects(client.query(text, values), (error) => {
    assert.equal(error.code, "CM001", error.message);
    assert.match(error.message, /^held/);
    assert.ok(error.hint);
    return true;
  });
}

async function reads(client) {
  assert.deepEqual((await client.query("SELECT 1 AS a; SELECT 2 AS b")).map((r) => r.rows), [[{ a: 1 }], [{ b: 2 }]]);
  const { rows } = await client.query("SELECT $1::int AS a, $2::text AS b, $3::bytea AS c, $4::jsonb AS d", [
    1, "é", Buffer.from([0, 255]), { e: [1] },
  ]);
  assert.deepEqual(rows[0], { a: 1, b: "é", c: Buffer.from([0, 255]), d: { e: [1] } });
  for (let id = 1; id < 5; id++) {
    const named = { name: "note", text: "SELECT note FROM orders WHERE id = $1", values: [id] };
    assert.equal((await client.query(named)).rows[0].note, `n${id}`);
  }
}

async function writes(client) {
  assert.equal((await client.query("UPDATE orders SET note = $1 WHERE id = $2", ["j", 1])).rowCount, 1);
  assert.equal((await client.query("UPDATE orders SET note = $1 WHERE id = ANY($2)", ["j", [2, 3]])).rowCount, 2);
  assert.equal((await client.query("DELETE FROM orders WHERE id = $1", [200])).rowCount, 1);
  const upsert = { name: "up", text: "INSERT INTO orders (id, total) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET total = excluded.total" };
  for (const total of [1, 2]) {
    assert.equal((await client.query({ ...upsert, values: [500, total] })).rowCount, 1);
  }
  const made = await client.query("INSERT INTO customers (name) VALUES ($1) RETURNING id", ["js"]);
  assert.ok(made.rows[0].id > 20);
}

async function transactions(client) {
  await client.query("BEGIN");
  await client.query("UPDATE orders SET note = 'kept' WHERE id = $1", [20]);
  await client.query("SAVEPOINT s");
  await client.query("UPDATE orders SET note = 'dropped' WHERE id = $1", [21]);
  await client.query("ROLLBACK TO SAVEPOINT s");
  await client.query("COMMIT");
  await client.query("BEGIN");
  await client.query("UPDATE orders SET note = 'dropped' WHERE id = $1", [22]);
  await assert.rejects(client.query("SELECT 1 / 0"), { code: "22012" });
  await assert.rejects(client.query("SELECT 1"), { code: "25P02" });
  await client.query("ROLLBACK");
  const { rows } = await client.query("SELECT note FROM orders WHERE id BETWEEN 20 AND 22 ORDER BY id");
  assert.deepEqual(rows.map((row) => row.note), ["kept", "n21", "n22"]);
  await assert.rejects(client.query("INSERT INTO orders (id) VALUES ($1)", [1]), { constraint: "orders_pkey" });
}

async function holds(client) {
  await held(client, "DROP TABLE visits");
  await client.query("ROLLBACK");
  await held(client, "UPDATE orders SET total = $1 WHERE id > $2", [0, 0]);
  assert.equal((await client.query("SELECT 1 AS a")).rows[0].a, 1);
  await client.query("DISCARD ALL");
  assert.equal((await client.query("UPDATE orders SET note = 'after' WHERE id = 40")).rowCount, 1);
}

async function pools() {
  const pool = new Pool({ max: 3 });
  const all = Array.from({ length: 20 }, (_, n) =>
    pool.query("UPDATE orders SET note = 'pooled' WHERE id = $1 RETURNING id", [50 + n]));
  assert.deepEqual((await Promise.all(all)).map((done) => done.rows[0].id), Array.from({ length: 20 }, (_, n) => 50 + n));
  await pool.end();
}

async function main() {
  const client = new Client();
  await client.connect();
  for (const part of [reads, writes, transactions, holds]) {
    await part(client);
    console.log(part.name);
  }
  await client.end();
  await pools();
  console.log("pools");
}

main().catch((error) => {
  console.error(error);
  // At once: an open connection would keep this process alive.
  process.exit(1);
});
