-- One of most kinds of thing that a dump knows.
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN cents AS bigint CHECK (VALUE >= 0);
CREATE TYPE place AS (street text, town text);
CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE,
    feels mood DEFAULT 'ok', at place, tags text[], more jsonb, photo bytea,
    called tsrange, upper text GENERATED ALWAYS AS (upper(name)) STORED);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers ON DELETE CASCADE,
    total cents NOT NULL, placed timestamptz NOT NULL DEFAULT '2026-01-01Z', CHECK (total < 1000000));
CREATE TABLE visits (day date NOT NULL, who int) PARTITION BY RANGE (day);
CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE "Odd ""name" (" a" int, "select" text);
CREATE VIEW recent AS SELECT id, total FROM orders WHERE placed > '2025-06-01Z';
CREATE MATERIALIZED VIEW totals AS SELECT customer, sum(total) FROM orders GROUP BY customer;
CREATE INDEX orders_of ON orders (customer) INCLUDE (total) WHERE total > 0;
CREATE STATISTICS together ON customer, total FROM orders;
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER note BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted();
COMMENT ON TABLE orders IS 'what customers ask for; it''s theirs';
INSERT INTO customers (name, at, tags, more, photo, called)
    SELECT 'c' || n, ROW('Main St ' || n, 'Springfield')::place, ARRAY['a', E'b\\"c'], '{"n": [1, null]}',
        decode('00ff5c27', 'hex'), '[2026-01-01,2026-01-02)' FROM generate_series(1, 50) n;
INSERT INTO orders (customer, total) SELECT 1 + n % 50, n FROM generate_series(1, 500) n;
INSERT INTO visits SELECT '2026-03-01', n FROM generate_series(1, 20) n;
INSERT INTO "Odd ""name" VALUES (1, E'tab\there, \\ and a line\nend'), (2, NULL);
REFRESH MATERIALIZED VIEW totals;
