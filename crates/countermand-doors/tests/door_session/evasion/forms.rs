//! Forms of statements: upserts, MERGE, WITH, COPY, locks, and what is no row.

use super::{Case, Flowing, In, Kept};

pub(super) const CASES: &[Case] = &[
    Case {
        why: "a statement inside WITH",
        owner: "",
        attack: "with d as (delete from orders where id = 5 returning *) select * from d;\nrollback;\n\
                 with a as (update orders set note = 'x' where id = 1), b as (update orders set note = 'x' \
                 where id = 2) update orders set note = 'x' where id = 3;",
        ends: In("held as change"),
    },
    Case {
        why: "MERGE, in each of its ways",
        owner: "",
        attack: "merge into orders o using customers c on o.id = c.id when matched then delete;\nrollback;\n\
                 merge into orders o using customers c on o.id = c.id and o.id = 5 when matched then \
                 update set note = 'x';",
        ends: In("held as change"),
    },
    Case {
        why: "an upsert that changes its key",
        owner: "",
        attack: "insert into orders (id, note) values (5, 'x') on conflict (id) do update set id = 5000;",
        ends: In("held as change"),
    },
    Case {
        why: "an upsert over an index on an expression",
        owner: "create unique index on customers (lower(name))",
        attack: "insert into customers (id, name) values (900, 'C1') on conflict (lower(name)) do update set vip = true;",
        ends: Kept,
    },
    Case {
        why: "an upsert over a partial index",
        owner: "create unique index on customers (name) where not vip",
        attack: "insert into customers (id, name) values (900, 'c1') on conflict (name) where not vip \
                 do update set vip = true;",
        ends: Kept,
    },
    Case {
        why: "an upsert over a constraint by its name, or over none",
        owner: "",
        attack: "insert into orders values (5, 'x') on conflict on constraint orders_pkey do update set note = 'x';\n\
                 insert into orders values (5, 'x') on conflict (id) do update set note = 'x';",
        ends: Kept,
    },
    Case {
        why: "an upsert of what a query finds",
        owner: "",
        attack: "insert into orders (id, note) select id, 'x' from orders where id <= 5 \
                 on conflict (id) do update set note = excluded.note;",
        ends: Kept,
    },
    Case {
        why: "an upsert whose value is another row's when it is looked at",
        owner: "",
        attack: "insert into orders (id, note) values ((select nextval('numbers'))::int, 'x') \
                 on conflict (id) do update set note = 'x';",
        ends: Kept,
    },
    Case {
        why: "an upsert whose value is rounded on its way in",
        owner: "",
        attack: "insert into orders (id, note) values (4.6, 'x') on conflict (id) do update set note = 'x';",
        ends: Kept,
    },
    Case {
        why: "an upsert of more than the limit",
        owner: "",
        attack: "\\copy orders from program 'true'\n\
                 do $$ begin null; end $$;\nrollback;\n\
                 insert into orders (id, note) select g, 'x' from generate_series(1, 200) g \
                 on conflict (id) do update set note = 'x';",
        ends: In("held as change"),
    },
    Case {
        why: "an upsert that leaves a row alone: flows",
        owner: "",
        attack: "insert into orders (id, note) values (5, 'x'), (6, 'x'), (900, 'x') on conflict (id) \
                 do update set note = excluded.note where orders.id <> 5;",
        ends: Flowing(
            "(select string_agg(id::text, ',' order by id) from orders where note = 'x') = '6,900'",
        ),
    },
    Case {
        why: "an upsert by another unique column: flows",
        owner: "",
        attack: "insert into customers (id, name) values (900, 'c7') on conflict (name) do update set vip = true;\n\
                 insert into customers (id, name) values (901, 'c8') on conflict (name) do nothing;",
        ends: Flowing(
            "(select count(*) from customers where vip) = 1 and (select count(*) from customers) = 50",
        ),
    },
    Case {
        why: "EXPLAIN that runs what it explains",
        owner: "",
        attack: "explain analyze delete from orders where id = 5;\nrollback;\n\
                 explain (analyze, costs off) update orders set note = 'x' where id = 5;",
        ends: In("held as change"),
    },
    Case {
        why: "COPY of what a statement returns",
        owner: "",
        attack: "copy (delete from orders where id = 5 returning *) to stdout;\nrollback;\n\
                 copy (update orders set note = 'x' where id = 5 returning id) to stdout;",
        ends: In("held as change"),
    },
    Case {
        why: "COPY of rows beyond the limit",
        owner: "",
        attack: "begin;\nupdate orders set note = 'x' where id = 5;\n\
                 insert into log select g, 'x' from generate_series(1, 10001) g;\ncommit;",
        ends: In("held as change"),
    },
    Case {
        why: "COPY into a table whose trigger deletes",
        owner: "create function purge() returns trigger language plpgsql security definer as \
                  $$ begin delete from public.orders where id > 100; return null; end $$; \
                create trigger t after insert on log for each statement execute function purge()",
        attack: "copy log from stdin;\n1\tx\n\\.\n",
        ends: In("held"),
    },
    Case {
        why: "COPY of a few rows, in a transaction: flows",
        owner: "",
        attack: "begin;\nupdate orders set note = 'x' where id = 5;\ncopy log from stdin;\n1\tx\n2\ty\n\\.\n\ncommit;",
        ends: Flowing(
            "(select count(*) from log) = 2 and (select note from orders where id = 5) = 'x'",
        ),
    },
    Case {
        why: "a condition that is none",
        owner: "",
        attack: "update orders set note = 'x' where true;\nrollback;\ndelete from orders where 1 = 1;\nrollback;\n\
                 delete from orders where id is not null;",
        ends: In("held as change"),
    },
    Case {
        why: "rows locked first, so that the question finds them",
        owner: "",
        attack: "begin;\nselect * from orders for update;\n\
                 with d as (update orders set note = 'x' where id = 5 returning 1) select count(*) from d;\ncommit;",
        ends: In("held as change"),
    },
    Case {
        why: "everything at once that a rollback does not undo",
        owner: "",
        attack: "select setval('numbers', 1000);\nrollback;\nselect lo_from_bytea(0, 'x');\nrollback;\n\
                 select lo_unlink(1);\nrollback;\nselect pg_advisory_lock(1);\nrollback;\n\
                 select pg_logical_emit_message(true, 'a', 'b');\nrollback;\nlock table orders;",
        ends: In("held as change"),
    },
    Case {
        why: "an advisory lock and a notification beside a small write: flows",
        owner: "",
        attack: "begin;\nselect pg_advisory_xact_lock(1);\nnotify orders, 'x';\n\
                 update orders set note = 'x' where id = 5;\ncommit;",
        ends: Flowing("(select note from orders where id = 5) = 'x'"),
    },
    Case {
        why: "a cursor that runs its query inside the commit",
        owner: "",
        attack: "begin;\ndeclare c cursor with hold for select sneak();\ncommit;\n\
                 begin;\ndeclare c cursor with hold for select * from orders for update;\n\
                 update orders set note = 'x' where id = 5;\ncommit;",
        ends: In("cannot judge"),
    },
    Case {
        why: "two tables that lose a row each",
        owner: "",
        attack: "begin;\ndelete from orders where id = 5;\ndelete from customers where id = 5;\ncommit;",
        ends: In("held as change"),
    },
    Case {
        why: "a row changed twice, then deleted: flows, and the first of its images is as it was",
        owner: "",
        attack: "begin;\nupdate orders set note = 'a' where id = 5;\nupdate orders set note = 'b' where id = 5;\n\
                 delete from orders where id = 5;\ninsert into orders values (5, 'c');\ncommit;",
        ends: Flowing("(select note from orders where id = 5) = 'c'"),
    },
    Case {
        why: "a table that comes and goes in the transaction",
        owner: "",
        attack: "begin;\ncreate temp table t (id int);\nupdate orders set note = 'x' where id = 5;\n\
                 drop table t;\ncommit;",
        ends: In("held"),
    },
    Case {
        why: "DO, and a text that is put together",
        owner: "",
        attack: "do $$ begin execute 'del' || 'ete from orders'; end $$;",
        ends: In("held as change"),
    },
];
