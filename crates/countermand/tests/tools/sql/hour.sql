-- A small shop, as its application knows it.
CREATE SEQUENCE order_numbers;
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, visits int NOT NULL DEFAULT 0, seen timestamptz);
CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, stock int NOT NULL CHECK (stock >= 0));
CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL REFERENCES customers,
    state text NOT NULL DEFAULT 'new', placed timestamptz NOT NULL DEFAULT now());
CREATE TABLE lines (order_id bigint REFERENCES orders ON DELETE CASCADE, product int REFERENCES products,
    quantity int NOT NULL, PRIMARY KEY (order_id, product));
CREATE TABLE baskets (customer int REFERENCES customers, product int REFERENCES products,
    quantity int NOT NULL, PRIMARY KEY (customer, product));
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text, details jsonb, at timestamptz DEFAULT now());
CREATE INDEX orders_of ON orders (customer);
INSERT INTO customers SELECT n, 'c' || n FROM generate_series(1, 500) n;
INSERT INTO products SELECT n, 'p' || n, 1000000 FROM generate_series(1, 100) n;
INSERT INTO orders SELECT n, 1 + n % 500 FROM generate_series(1, 2000) n;
INSERT INTO lines SELECT n, 1 + n % 100, 1 FROM generate_series(1, 2000) n;
SELECT setval('order_numbers', 2000);
