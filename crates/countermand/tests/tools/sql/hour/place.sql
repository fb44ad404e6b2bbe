\set customer random(1, 500)
\set product random(1, 100)
\set quantity random(1, 3)
BEGIN;
SELECT nextval('order_numbers') AS number \gset
SELECT stock FROM products WHERE id = :product FOR UPDATE;
UPDATE products SET stock = stock - :quantity WHERE id = :product AND stock >= :quantity;
INSERT INTO orders (id, customer) VALUES (:number, :customer);
INSERT INTO lines (order_id, product, quantity) VALUES (:number, :product, :quantity);
INSERT INTO events (what, details) VALUES ('placed', jsonb_build_object('order', :number::bigint));
COMMIT;
