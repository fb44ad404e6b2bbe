\set product random(1, 100)
SET application_name = 'report';
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT state, count(*) FROM orders GROUP BY state;
WITH sold AS (SELECT product, sum(quantity) AS n FROM lines GROUP BY product) SELECT name, n FROM sold JOIN products ON id = product WHERE id > :product ORDER BY n DESC LIMIT 5;
COMMIT;
SHOW application_name;
BEGIN;
UPDATE products SET name = name WHERE id = :product;
ROLLBACK;
