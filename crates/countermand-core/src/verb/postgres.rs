//! What a PostgreSQL statement can do.
//!
//! The effect of a verb is that of the worst thing it can do without a target to measure it on;
//! docs/postgres-statements.md is generated from this table.

super::catalogue! { "postgres":
    // Rows.
    SELECT = "Select", Read, "reads rows", "SELECT * FROM orders";
    EXPLAIN = "Explain", Read, "plans a statement without running it", "EXPLAIN DELETE FROM orders";
    INSERT = "Insert", Write, "adds rows", "INSERT INTO orders VALUES (1)";
    UPDATE = "Update", Write, "changes the rows that a condition names", "UPDATE orders SET total = 0 WHERE id = 1";
    UPDATE_ALL = "UpdateAll", Destroy, "changes every row of a table", "UPDATE orders SET total = 0";
    DELETE = "Delete", Destroy, "removes rows", "DELETE FROM orders WHERE id = 1";
    DELETE_ALL = "DeleteAll", Destroy, "removes every row of a table", "DELETE FROM orders";
    MERGE_DELETE = "MergeDelete", Destroy, "removes the rows that MERGE finds", "MERGE INTO orders o USING gone g ON o.id = g.id WHEN MATCHED THEN DELETE";
    TRUNCATE = "Truncate", Destroy, "removes all rows of tables", "TRUNCATE orders";
    LOCK_ROWS = "LockRows", Write, "locks rows, or a table as writers of rows do, until the transaction ends", "SELECT * FROM orders WHERE id = 1 FOR UPDATE";
    LOCK_TABLE = "LockTable", Destroy, "makes a table unavailable to others until the transaction ends", "LOCK TABLE orders";
    COPY_SERVER_FILE = "CopyServerFile", Destroy, "copies rows from or to a file on the server", "COPY orders TO '/tmp/orders'";
    COPY_SERVER_PROGRAM = "CopyServerProgram", Destroy, "runs a program on the server", "COPY orders TO PROGRAM 'cat'";

    // Functions with a meaning of their own.
    ADVANCE_SEQUENCE = "AdvanceSequence", Write, "takes the next value of a sequence; a rollback leaves a gap", "SELECT nextval('orders_id_seq')";
    SET_SEQUENCE = "SetSequence", Write, "moves a sequence; a rollback does not move it back", "SELECT setval('orders_id_seq', 1)";
    LOCK_ADVISORY = "LockAdvisory", Write, "takes or releases an advisory lock", "SELECT pg_advisory_xact_lock(1)";
    NOTIFY = "Notify", Write, "sends a notification to whoever listens", "NOTIFY orders";
    ASSIGN_TRANSACTION_ID = "AssignTransactionId", Write, "takes a transaction id", "SELECT pg_current_xact_id()";
    EMIT_LOGICAL_MESSAGE = "EmitLogicalMessage", Write, "writes a message into the write-ahead log", "SELECT pg_logical_emit_message(true, 'a', 'b')";
    MAINTAIN_INDEX = "MaintainIndex", Write, "cleans up an index", "SELECT gin_clean_pending_list('orders_idx')";
    CREATE_LARGE_OBJECT = "CreateLargeObject", Write, "adds a large object", "SELECT lo_create(0)";
    OVERWRITE_LARGE_OBJECT = "OverwriteLargeObject", Destroy, "overwrites or cuts a large object", "SELECT lo_put(1, 0, 'x')";
    UNLINK_LARGE_OBJECT = "UnlinkLargeObject", Destroy, "removes a large object", "SELECT lo_unlink(1)";
    SIGNAL_BACKEND = "SignalBackend", Destroy, "cancels or ends the work of other sessions", "SELECT pg_terminate_backend(1)";
    CHANGE_REPLICATION_SLOT = "ChangeReplicationSlot", Destroy, "creates, moves, consumes or drops replication slots", "SELECT pg_drop_replication_slot('a')";
    RESET_STATISTICS = "ResetStatistics", Destroy, "discards the server's statistics", "SELECT pg_stat_reset()";
    READ_SERVER_FILE = "ReadServerFile", Opaque, "reads files of the server, which no table permission guards", "SELECT pg_read_file('pg_hba.conf')";
    CONTROL_SERVER = "ControlServer", Opaque, "controls the server itself: its log, its recovery, its configuration", "SELECT pg_promote()";
    RUN_TEXT = "RunText", Opaque, "runs a text, or reads a table, that only the running server knows", "SELECT query_to_xml('SELECT 1', true, true, '')";
    CALL_FUNCTION = "CallFunction", Opaque, "calls a function or operator that is not known to be harmless", "SELECT purge_orders()";
    CONNECT_OUT = "ConnectOut", Network, "makes the server connect to another", "SELECT * FROM dblink('host=other', 'SELECT 1') AS t(a int)";

    // Definitions: adding.
    CREATE_TABLE = "CreateTable", Write, "adds a table", "CREATE TABLE orders (id int)";
    CREATE_VIEW = "CreateView", Write, "adds a view", "CREATE VIEW recent AS SELECT * FROM orders";
    CREATE_MATERIALIZED_VIEW = "CreateMaterializedView", Write, "adds a materialized view", "CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders";
    REFRESH_MATERIALIZED_VIEW = "RefreshMaterializedView", Write, "computes a materialized view again", "REFRESH MATERIALIZED VIEW totals";
    CREATE_INDEX = "CreateIndex", Write, "adds an index", "CREATE INDEX ON orders (id)";
    CREATE_SEQUENCE = "CreateSequence", Write, "adds a sequence", "CREATE SEQUENCE orders_id_seq";
    CREATE_SCHEMA = "CreateSchema", Write, "adds a schema", "CREATE SCHEMA billing";
    CREATE_TYPE = "CreateType", Write, "adds a type or a domain", "CREATE TYPE mood AS ENUM ('sad', 'ok')";
    CREATE_STATISTICS = "CreateStatistics", Write, "adds extended statistics", "CREATE STATISTICS s ON a, b FROM orders";
    CREATE_DATABASE = "CreateDatabase", Write, "adds a database", "CREATE DATABASE shop";
    ADD_COLUMN = "AddColumn", Write, "adds a column", "ALTER TABLE orders ADD COLUMN note text";
    ALTER_COLUMN = "AlterColumn", Write, "changes the default or storage of a column, or forbids null in it", "ALTER TABLE orders ALTER COLUMN total SET DEFAULT 0";
    ADD_CONSTRAINT = "AddConstraint", Write, "adds or validates a constraint", "ALTER TABLE orders ADD CHECK (total >= 0)";
    ATTACH_PARTITION = "AttachPartition", Write, "puts a table under another", "ALTER TABLE orders ATTACH PARTITION orders_1 DEFAULT";
    ALTER_OPTIONS = "AlterOptions", Write, "changes storage options", "ALTER TABLE orders SET (fillfactor = 70)";
    ALTER_SEQUENCE = "AlterSequence", Write, "changes a sequence", "ALTER SEQUENCE orders_id_seq INCREMENT 2";
    ADD_ENUM_VALUE = "AddEnumValue", Write, "adds a value to an enumeration; it can never be removed", "ALTER TYPE mood ADD VALUE 'glad'";
    COMMENT = "Comment", Write, "sets a comment", "COMMENT ON TABLE orders IS 'x'";
    ANALYZE = "Analyze", Write, "samples tables for the planner", "ANALYZE orders";
    VACUUM = "Vacuum", Write, "reclaims the space of removed rows", "VACUUM orders";
    REINDEX = "Reindex", Write, "builds indexes again", "REINDEX TABLE orders";
    CHECKPOINT = "Checkpoint", Write, "flushes the server's buffers", "CHECKPOINT";

    // Definitions: losing.
    DROP_TABLE = "DropTable", Destroy, "removes tables and their rows", "DROP TABLE orders";
    DROP_COLUMN = "DropColumn", Destroy, "removes a column and what it holds", "ALTER TABLE orders DROP COLUMN total";
    DROP_COLUMN_PROPERTY = "DropColumnProperty", Destroy, "removes the identity, generation expression or NOT NULL of a column", "ALTER TABLE orders ALTER COLUMN total DROP NOT NULL";
    ALTER_COLUMN_TYPE = "AlterColumnType", Destroy, "rewrites a column as another type", "ALTER TABLE orders ALTER COLUMN total TYPE int";
    DROP_CONSTRAINT = "DropConstraint", Destroy, "removes or weakens a constraint", "ALTER TABLE orders DROP CONSTRAINT orders_pkey";
    DETACH_PARTITION = "DetachPartition", Destroy, "takes a table and its rows from under another", "ALTER TABLE orders DETACH PARTITION orders_1";
    REWRITE_TABLE = "RewriteTable", Destroy, "writes a table anew while nobody can use it, or takes its crash safety", "VACUUM FULL orders";
    SWITCH_TRIGGER = "SwitchTrigger", Destroy, "switches triggers or rules on or off", "ALTER TABLE orders DISABLE TRIGGER ALL";
    RENAME = "Rename", Destroy, "takes a name away from those who use it", "ALTER TABLE orders RENAME TO old_orders";
    MOVE_TO_SCHEMA = "MoveToSchema", Destroy, "takes an object away from where others look for it", "ALTER TABLE orders SET SCHEMA archive";
    REPLACE_VIEW = "ReplaceView", Destroy, "loses the former definition of a view", "CREATE OR REPLACE VIEW recent AS SELECT * FROM orders";
    DROP_VIEW = "DropView", Destroy, "removes views", "DROP VIEW recent";
    DROP_MATERIALIZED_VIEW = "DropMaterializedView", Destroy, "removes materialized views", "DROP MATERIALIZED VIEW totals";
    DROP_INDEX = "DropIndex", Destroy, "removes indexes", "DROP INDEX orders_idx";
    DROP_SEQUENCE = "DropSequence", Destroy, "removes sequences", "DROP SEQUENCE orders_id_seq";
    DROP_SCHEMA = "DropSchema", Destroy, "removes schemas, with CASCADE all they hold", "DROP SCHEMA billing CASCADE";
    DROP_TYPE = "DropType", Destroy, "removes types or domains, with CASCADE the columns of them", "DROP TYPE mood";
    DROP_FUNCTION = "DropFunction", Destroy, "removes functions, procedures or aggregates", "DROP FUNCTION purge_orders()";
    DROP_TRIGGER = "DropTrigger", Destroy, "removes triggers, rules or event triggers", "DROP TRIGGER audit ON orders";
    DROP_EXTENSION = "DropExtension", Destroy, "removes extensions and all that is of them", "DROP EXTENSION hstore";
    DROP_FOREIGN_TABLE = "DropForeignTable", Destroy, "removes foreign tables, not what they show", "DROP FOREIGN TABLE remote_orders";
    DROP_PUBLICATION = "DropPublication", Destroy, "ends a publication", "DROP PUBLICATION feed";
    DROP_DATABASE = "DropDatabase", Destroy, "removes a database", "DROP DATABASE shop";
    DROP_TABLESPACE = "DropTablespace", Destroy, "removes a tablespace", "DROP TABLESPACE fast";
    DROP_OBJECT = "DropObject", Destroy, "removes an operator, cast, collation, statistics or the like", "DROP STATISTICS s";

    // Code that runs now or later, for others too.
    DO = "Do", Opaque, "runs a block of code", "DO 'begin end'";
    CALL = "Call", Opaque, "calls a procedure", "CALL purge_orders()";
    DEFINE_FUNCTION = "DefineFunction", Opaque, "defines or changes code that runs for others", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'";
    DEFINE_TRIGGER = "DefineTrigger", Opaque, "defines code that runs when rows change", "CREATE TRIGGER t AFTER INSERT ON orders EXECUTE FUNCTION f()";
    DEFINE_EVENT_TRIGGER = "DefineEventTrigger", Opaque, "defines code that runs when definitions change", "CREATE EVENT TRIGGER t ON sql_drop EXECUTE FUNCTION f()";
    DEFINE_RULE = "DefineRule", Opaque, "rewrites what others ask for", "CREATE RULE r AS ON INSERT TO orders DO INSTEAD NOTHING";
    DEFINE_EXTENSION = "DefineExtension", Opaque, "installs or changes an extension", "CREATE EXTENSION hstore";
    DEFINE_PUBLICATION = "DefinePublication", Opaque, "publishes rows to whoever may subscribe", "CREATE PUBLICATION feed FOR TABLE orders";
    DEFINE_OBJECT = "DefineObject", Opaque, "defines an operator, cast, language or the like", "CREATE CAST (text AS int) WITH INOUT";
    LOAD = "Load", Opaque, "loads a library into the server", "LOAD 'plpgsql'";
    NOT_UNDERSTOOD = "NotUnderstood", Opaque, "is not understood", "SELEC broken";

    // Other servers.
    DEFINE_FOREIGN = "DefineForeign", Network, "defines or changes the way to another server, its users or its tables", "CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw";
    DEFINE_SUBSCRIPTION = "DefineSubscription", Network, "subscribes to another server, or ends that", "CREATE SUBSCRIPTION s CONNECTION 'host=other' PUBLICATION feed";

    // Identity and permission.
    GRANT = "Grant", Grant, "gives permissions", "GRANT SELECT ON orders TO public";
    REVOKE = "Revoke", Grant, "takes permissions", "REVOKE SELECT ON orders FROM public";
    GRANT_ROLE = "GrantRole", Grant, "gives or takes membership of a role", "GRANT staff TO bob";
    ALTER_DEFAULT_PRIVILEGES = "AlterDefaultPrivileges", Grant, "changes what permissions new objects get", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO public";
    CREATE_ROLE = "CreateRole", Grant, "adds a role", "CREATE ROLE bob";
    ALTER_ROLE = "AlterRole", Grant, "changes a role or its settings", "ALTER ROLE bob SUPERUSER";
    DROP_ROLE = "DropRole", Grant, "removes roles", "DROP ROLE bob";
    DROP_OWNED = "DropOwned", Grant, "removes all that roles own, and their permissions", "DROP OWNED BY bob";
    CHANGE_OWNER = "ChangeOwner", Grant, "gives an object to another owner", "ALTER TABLE orders OWNER TO bob";
    ROW_SECURITY = "RowSecurity", Grant, "changes which rows whom may see", "ALTER TABLE orders DISABLE ROW LEVEL SECURITY";
    SECURITY_DEFINER = "SecurityDefiner", Grant, "lets code run with the rights of its owner", "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'";
    SECURITY_LABEL = "SecurityLabel", Grant, "sets a security label", "SECURITY LABEL ON TABLE orders IS 'secret'";
    CONFIGURE_DATABASE = "ConfigureDatabase", Grant, "changes the settings of everyone's sessions in a database", "ALTER DATABASE shop SET work_mem = '1GB'";
    CONFIGURE_SERVER = "ConfigureServer", Grant, "changes the settings of the server", "ALTER SYSTEM SET fsync = off";
    SET_ROLE = "SetRole", Grant, "acts as another role", "SET ROLE admin";
    SET_PROTECTED = "SetProtected", Grant, "changes a setting that protects others", "SET default_transaction_read_only = off";

    // The session.
    SET = "Set", Read, "sets a setting of the session", "SET application_name = 'x'";
    SET_UNLISTED = "SetUnlisted", Opaque, "sets a setting that is not known to be harmless", "SET wal_compression = on";
    RESET = "Reset", Read, "resets settings of the session", "RESET application_name";
    SHOW = "Show", Read, "shows a setting", "SHOW server_version";
    DISCARD = "Discard", Read, "discards what the session holds", "DISCARD ALL";
    PREPARE = "Prepare", Read, "names a statement for later", "PREPARE p AS SELECT 1";
    EXECUTE = "Execute", Opaque, "runs a statement that was named before; only the session knows which", "EXECUTE p";
    DEALLOCATE = "Deallocate", Read, "forgets a named statement", "DEALLOCATE p";
    LISTEN = "Listen", Read, "asks for notifications, or no longer", "LISTEN orders";
    DECLARE_CURSOR = "DeclareCursor", Read, "opens a cursor", "DECLARE c CURSOR FOR SELECT 1";
    FETCH = "Fetch", Read, "reads from a cursor, or moves it", "FETCH ALL FROM c";
    CLOSE_CURSOR = "CloseCursor", Read, "closes a cursor", "CLOSE c";
    SET_CONSTRAINTS = "SetConstraints", Read, "checks constraints now or at the end of the transaction", "SET CONSTRAINTS ALL IMMEDIATE";

    // The transaction.
    BEGIN = "Begin", Read, "begins a transaction", "BEGIN";
    SET_TRANSACTION = "SetTransaction", Read, "sets how transactions run", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE";
    COMMIT = "Commit", Read, "ends a transaction and keeps its work", "COMMIT";
    ROLLBACK = "Rollback", Read, "ends a transaction and drops its work, wholly or to a savepoint", "ROLLBACK";
    SAVEPOINT = "Savepoint", Read, "marks or forgets a point in a transaction", "SAVEPOINT a";
    PREPARE_TRANSACTION = "PrepareTransaction", Destroy, "leaves a transaction and its locks behind when the session ends", "PREPARE TRANSACTION 'a'";
    FINISH_PREPARED = "FinishPrepared", Opaque, "commits or drops the work of another session's transaction", "COMMIT PREPARED 'a'";
}
