\set customer random(1, 500)
\set product random(1, 100)
SELECT name, visits FROM customers WHERE id = :customer;
SELECT o.id, o.state, count(l.product) FROM orders o LEFT JOIN lines l ON l.order_id = o.id WHERE o.customer = :customer GROUP BY o.id ORDER BY o.id DESC LIMIT 10;
SELECT name, stock, rank() OVER (ORDER BY stock) FROM products WHERE id BETWEEN :product AND :product + 5;
