\set customer random(1, 500)
\set order random(1, 2000)
UPDATE customers SET visits = visits + 1, seen = now() WHERE id = :customer;
UPDATE orders SET state = 'packed' WHERE id = :order AND state = 'new' RETURNING id;
UPDATE lines SET quantity = quantity + 1 WHERE order_id = :order;
