\set customer random(1, 500)
\set product random(1, 100)
INSERT INTO baskets (customer, product, quantity) VALUES (:customer, :product, 1) ON CONFLICT (customer, product) DO UPDATE SET quantity = baskets.quantity + 1;
SELECT product, quantity FROM baskets WHERE customer = :customer;
DELETE FROM baskets WHERE customer = :customer AND product = :product;
INSERT INTO events (what) VALUES ('emptied') RETURNING id;
