//! What a PostgreSQL statement can do.

super::catalogue! { "postgres":
    SELECT = "Select", Read, "reads rows", "SELECT * FROM orders";
    INSERT = "Insert", Write, "adds rows", "INSERT INTO orders VALUES (1)";
    UPDATE = "Update", Write, "changes the rows that a condition names", "UPDATE orders SET total = 0 WHERE id = 1";
    DELETE = "Delete", Destroy, "removes rows", "DELETE FROM orders WHERE id = 1";
    DROP_TABLE = "DropTable", Destroy, "removes tables and their rows", "DROP TABLE orders";
    DROP_SCHEMA = "DropSchema", Destroy, "removes schemas, with CASCADE all they hold", "DROP SCHEMA billing CASCADE";
    CREATE_SCHEMA = "CreateSchema", Write, "adds a schema", "CREATE SCHEMA billing";
    TRUNCATE = "Truncate", Destroy, "removes all rows of tables", "TRUNCATE orders";
    NOT_UNDERSTOOD = "NotUnderstood", Opaque, "is not understood", "SELEC broken";
}
