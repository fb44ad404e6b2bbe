CREATE TABLE parcels (id bigint PRIMARY KEY, order_id int NOT NULL REFERENCES orders, weight int);
CREATE INDEX parcels_of ON parcels (order_id);
ALTER TABLE orders ADD COLUMN weight int;
