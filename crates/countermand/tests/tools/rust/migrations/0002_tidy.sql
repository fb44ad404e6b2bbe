UPDATE orders SET note = 'moved' WHERE id = 1;
ALTER TABLE orders DROP COLUMN note;
DROP TABLE visits_2026;
