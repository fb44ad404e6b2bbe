\set order random(1, 2000)
BEGIN;
SELECT id FROM orders WHERE id = :order FOR UPDATE;
UPDATE orders SET state = 'paid' WHERE id = :order;
SAVEPOINT shipped;
UPDATE orders SET state = 'sent' WHERE id = :order;
ROLLBACK TO SAVEPOINT shipped;
SAVEPOINT noted;
INSERT INTO events (what) VALUES ('paid');
RELEASE SAVEPOINT noted;
SELECT count(*) FROM lines WHERE order_id = :order;
COMMIT;
