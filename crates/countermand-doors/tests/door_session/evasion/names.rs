//! Names that mean something else: shadows, paths, prepared statements, our own names.

use super::{Case, Flowing, In};

pub(super) const CASES: &[Case] = &[
    Case {
        why: "a temporary table of the same name, so that the rows kept are another table's",
        owner: "",
        attack: "create temp table orders as select * from public.orders;\n\
                 update orders set note = 'x' where id = 5;",
        ends: In("held as change"),
    },
    Case {
        why: "a search path changed between two statements",
        owner: "create schema other; create table other.orders (id int primary key, note text); \
                grant usage on schema other to session_role; \
                grant select, update on other.orders to session_role; \
                insert into other.orders values (1, 'o')",
        attack: "begin; set local search_path = other, public;\n\
                 update orders set note = 'x' where id = 1;\n\
                 set local search_path = public;\nupdate orders set note = 'x' where id = 2;\ncommit;",
        ends: Flowing(
            "(select note from orders where id = 1) = 'n1' and \
                       (select note from orders where id = 2) = 'x' and \
                       (select note from other.orders where id = 1) = 'x'",
        ),
    },
    Case {
        why: "a path that looks for operators elsewhere first",
        owner: "create schema evil; grant usage on schema evil to session_role; \
                create function evil.eq(int, int) returns boolean language sql as \
                  'select random() < 0.5'; \
                create operator evil.= (leftarg = int, rightarg = int, function = evil.eq)",
        attack: "begin;\nset local search_path = evil, pg_catalog, public;\n\
                 update public.orders set note = 'x' where id = 5 and note like 'n%';\ncommit;",
        ends: In("search_path"),
    },
    Case {
        why: "functions of the agent's path in the place of the server's own",
        owner: "create schema evil; grant usage on schema evil to session_role; \
                create function evil.pg_backend_pid() returns int language sql as 'select 0'; \
                create function evil.pg_stat_get_xact_tuples_updated(oid) returns bigint \
                  language sql as 'select 0::bigint'; \
                create view evil.pg_locks as select 0 as pid where false; \
                grant select on evil.pg_locks to session_role",
        attack: "set search_path = evil, pg_catalog, public;\n\
                 update public.orders set note = 'x' where id <= 101;",
        ends: In("held as change"),
    },
    Case {
        why: "a prepared statement with the name of ours",
        owner: "",
        attack: "prepare countermand_before as select 1;\nexecute countermand_before;",
        ends: In("countermand_before"),
    },
    Case {
        why: "the names of all statements freed between two writes",
        owner: "",
        attack: "begin;\nupdate orders set note = 'x' where id = 5;\ndeallocate all;\n\
                 update orders set note = 'x' where id = 6;\ncommit;",
        ends: Flowing("(select count(*) from orders where note = 'x') = 2"),
    },
    Case {
        why: "an update that was prepared before, by name",
        owner: "",
        attack: "prepare p as update orders set note = 'x' where id = $1;\nexecute p(5);",
        ends: In("held as change"),
    },
    Case {
        why: "a cursor with the name of our portal",
        owner: "",
        attack: "begin;\ndeclare countermand_before cursor for select * from orders;\n\
                 update orders set note = 'x' where id = 5;\nfetch all from countermand_before;\ncommit;",
        ends: In("countermand_before"),
    },
    Case {
        why: "a savepoint with the name of ours",
        owner: "",
        attack: "begin;\nsavepoint countermand_read;\nupdate orders set note = 'x' where id = 5;\n\
                 select 1;\nrollback to countermand_read;\nupdate orders set note = 'y' where id = 6;\n\
                 commit;",
        ends: In("countermand_read"),
    },
    Case {
        why: "the session's identity",
        owner: "",
        attack: "set role shop_owner;\nset session authorization shop_owner;\nreset role;\n\
                 truncate orders;",
        ends: In("held as change"),
    },
    Case {
        why: "triggers put to sleep",
        owner: "",
        attack: "set session_replication_role = replica;\nalter table orders disable trigger all;",
        ends: In("session_replication_role"),
    },
    Case {
        why: "a time limit that ends the measuring",
        owner: "",
        attack: "begin;\nset local statement_timeout = 1;\n\
                 update orders set note = 'x' where id <= 60;\n\
                 with d as (update orders set note = 'x' where id > 60 returning 1) select count(*) from d;\n\
                 commit;",
        ends: In("ERROR"),
    },
    Case {
        why: "counting switched off",
        owner: "",
        attack: "set track_counts = off;\nupdate orders set note = 'x' where id <= 101;",
        ends: In("track_counts"),
    },
    Case {
        why: "counters set back in between",
        owner: "",
        attack: "begin;\nupdate orders set note = 'x' where id <= 100;\nselect pg_stat_reset();\n\
                 select pg_stat_reset_single_table_counters('orders'::regclass);\n\
                 select pg_stat_force_next_flush();\nupdate orders set note = 'x' where id > 200;\ncommit;",
        ends: In("held"),
    },
    Case {
        why: "counters flushed outside, and a write beyond the limit after that",
        owner: "",
        attack: "select pg_stat_force_next_flush();\nupdate orders set note = 'x' where id <= 101;",
        ends: In("held as change"),
    },
    Case {
        why: "backslashes that mean something else to the question than to the statement",
        owner: "",
        attack: "set standard_conforming_strings = off;\n\
                 update orders set note = 'x' where note = '\\' or sneak() = 1 --';\n\
                 update orders set note = 'x' where note = '\\'' or id = 5;",
        ends: Flowing("(select string_agg(id::text, ',') from orders where note = 'x') = '5'"),
    },
    Case {
        why: "a marker of ours in the condition",
        owner: "",
        attack: "update orders set note = 'x' where id = 5 and note <> '1234567891' and id <> 1234567891;",
        ends: In("held as change"),
    },
    Case {
        why: "columns with the names of ours",
        owner: "create table t (id int primary key, countermand_row int, i int, s int, most int); \
                insert into t values (1, 1, 1, 1, 1); grant select, update on t to session_role",
        attack: "update t set i = 2 where s = 1;",
        ends: In("held as change"),
    },
];
