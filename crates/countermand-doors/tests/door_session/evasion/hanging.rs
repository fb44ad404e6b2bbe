//! What hangs on a table: triggers, rules, keys, views, partitions.

use super::{Case, Flowing, In, Kept};

pub(super) const CASES: &[Case] = &[
    Case {
        why: "a trigger that leaves the row alone and takes another of the same table",
        owner: "create function other() returns trigger language plpgsql as $$ begin \
                  if pg_trigger_depth() > 1 then return new; end if; \
                  update orders set note = 'x' where id = old.id + 1; return null; end $$; \
                create trigger t before update on orders for each row execute function other()",
        attack: "update orders set note = 'y' where id = 5;",
        ends: Kept,
    },
    Case {
        why: "a rule that does so with a row of another table",
        owner: "create rule r as on update to orders do instead \
                  update customers set name = new.note where id = old.id",
        attack: "update orders set note = 'y' where id = 5;",
        ends: Kept,
    },
    Case {
        why: "a trigger that skips: nothing happened, nothing is asked",
        owner: "create function skip() returns trigger language plpgsql as $$ begin \
                  if old.id = 5 then return null; end if; return new; end $$; \
                create trigger t before update on orders for each row execute function skip()",
        attack: "update orders set note = 'x' where id in (5, 6);",
        ends: Flowing("(select string_agg(id::text, ',') from orders where note = 'x') = '6'"),
    },
    Case {
        why: "known: a trigger that changes the key by which the row is found again; it flows",
        owner: "create function rekey() returns trigger language plpgsql as $$ begin \
                  new.id = new.id + 1000; return new; end $$; \
                create trigger t before update on orders for each row execute function rekey()",
        attack: "update orders set note = 'x' where id = 5;",
        ends: Flowing("(select note from orders where id = 1005) = 'x'"),
    },
    Case {
        why: "a trigger on insert that makes the upsert hit another row",
        owner: "create function shift() returns trigger language plpgsql as $$ begin \
                  new.id = new.id + 1; return new; end $$; \
                create trigger t before insert on orders for each row execute function shift()",
        attack: "insert into orders (id, note) values (5, 'x') on conflict (id) do update set note = 'x';",
        ends: Kept,
    },
    Case {
        why: "a trigger that deletes elsewhere, with its owner's rights",
        owner: "create table hidden (id int primary key); insert into hidden values (1), (2); \
                create function purge() returns trigger language plpgsql security definer as \
                  $$ begin delete from public.hidden; return null; end $$; \
                create trigger t after insert on log for each statement execute function purge()",
        attack: "insert into log values (1, 'a');",
        ends: In("held as change"),
    },
    Case {
        why: "a deferred trigger that puts off what it does, again and again",
        owner: "create table inbox (id int primary key); grant select, insert on inbox to session_role; \
                create function later() returns trigger language plpgsql security definer as $$ begin \
                  set constraints all deferred; \
                  if (select count(*) from inbox) < 3 then insert into inbox values (new.id + 1); \
                  else delete from orders where id > 100; end if; return null; end $$; \
                create constraint trigger t after insert on inbox deferrable initially deferred \
                  for each row execute function later()",
        attack: "insert into inbox values (1);",
        ends: In("cannot judge"),
    },
    Case {
        why: "the same, put off once",
        owner: "create table inbox (id int primary key); grant select, insert on inbox to session_role; \
                create function later() returns trigger language plpgsql security definer as $$ begin \
                  set constraints all deferred; \
                  if (select count(*) from inbox) < 2 then insert into inbox values (new.id + 1); \
                  else delete from orders where id > 100; end if; return null; end $$; \
                create constraint trigger t after insert on inbox deferrable initially deferred \
                  for each row execute function later()",
        attack: "insert into inbox values (1);",
        ends: In("held as change"),
    },
    Case {
        why: "an exception that takes back half, and counts all",
        owner: "create function half() returns trigger language plpgsql as $$ begin \
                  begin delete from customers where id = 1; raise exception 'no'; \
                  exception when others then null; end; return new; end $$; \
                create trigger t before update on orders for each row execute function half()",
        attack: "update orders set note = 'x' where id = 5;",
        ends: Flowing(
            "(select note from orders where id = 5) = 'x' and (select count(*) from customers) = 50",
        ),
    },
    Case {
        why: "a trigger that empties a table",
        owner: "create table hidden (id int primary key); insert into hidden values (1), (2); \
                create function purge() returns trigger language plpgsql security definer as \
                  $$ begin truncate public.hidden; return null; end $$; \
                create trigger t after insert on log for each statement execute function purge()",
        attack: "insert into log values (1, 'a');",
        ends: In("held as change"),
    },
    Case {
        why: "a trigger that deletes and empties, which sets the counters back",
        owner: "create function purge() returns trigger language plpgsql security definer as \
                  $$ begin delete from public.customers; truncate public.customers; return null; end $$; \
                create trigger t after insert on log for each statement execute function purge()",
        attack: "insert into log values (1, 'a');",
        ends: In("held as change"),
    },
    Case {
        why: "a trigger that drops",
        owner: "create table hidden (id int primary key); \
                create function purge() returns trigger language plpgsql security definer as \
                  $$ begin drop table public.hidden; return null; end $$; \
                create trigger t after insert on log for each statement execute function purge()",
        attack: "insert into log values (1, 'a');",
        ends: In("held as change"),
    },
    Case {
        why: "a trigger that defines",
        owner: "create function make() returns trigger language plpgsql security definer as $f$ begin \
                  execute 'create or replace function public.sneak() returns int language sql as ''select 2'''; \
                  return null; end $f$; \
                create trigger t after insert on log for each statement execute function make()",
        attack: "insert into log values (1, 'a');",
        ends: In("held as change"),
    },
    Case {
        why: "a trigger that makes a large object",
        owner: "create function make() returns trigger language plpgsql as \
                  $$ begin perform lo_from_bytea(0, 'x'); return null; end $$; \
                create trigger t after insert on log for each statement execute function make()",
        attack: "insert into log values (1, 'a');",
        ends: In("held as change"),
    },
    Case {
        why: "rows that hang on a key go too",
        owner: "create table lines (id int primary key, o int references orders on delete cascade); \
                insert into lines select g, g from generate_series(1, 300) g",
        attack: "delete from orders where id = 5;",
        ends: In("held as change"),
    },
    Case {
        why: "rows that hang on a key lose it",
        owner: "create table lines (id int primary key, o int references orders on delete set null); \
                create table stock (id int primary key, o int default 1 references orders on delete set default); \
                insert into lines values (1, 5); insert into stock values (1, 6)",
        attack: "delete from orders where id = 5;\nrollback;\ndelete from orders where id = 6;",
        ends: In("held as change"),
    },
    Case {
        why: "rows that hang on a unique column follow it",
        owner: "create table fans (id int primary key, of text references customers (name) on update cascade); \
                insert into fans select g, 'c1' from generate_series(1, 30) g",
        attack: "update customers set name = 'gone' where id = 1;",
        ends: In("held as change"),
    },
    Case {
        why: "a constraint that fails only at the commit",
        owner: "create table lines (id int primary key, o int references orders deferrable initially deferred); \
                grant select, insert, update, delete on lines to session_role",
        attack: "begin;\ninsert into lines values (1, 9999);\nupdate orders set note = 'x' where id = 5;\ncommit;",
        ends: In("violates foreign key constraint"),
    },
    Case {
        why: "a view that can be written through",
        owner: "create view few as select id, note from orders where id < 10; \
                grant select, insert, update, delete on few to session_role",
        attack: "update few set note = 'x' where id = 3;\nrollback;\ndelete from few where id = 4;",
        ends: In("held as change"),
    },
    Case {
        why: "a view whose trigger does something else",
        owner: "create view v as select 1 as id; grant select, insert, update, delete on v to session_role; \
                create function purge() returns trigger language plpgsql security definer as \
                  $$ begin delete from public.orders; return null; end $$; \
                create trigger t instead of insert on v for each row execute function purge()",
        attack: "insert into v values (1);",
        ends: In("held as change"),
    },
    Case {
        why: "a rule that does something beside",
        owner: "create rule r as on insert to log do also delete from customers where id > 10; \
                create rule n as on update to customers do instead nothing",
        attack: "update customers set name = 'x' where id = 1;\ninsert into log values (1, 'a');",
        ends: Kept,
    },
    Case {
        why: "rows that move from one partition to another",
        owner: "create table parts (id int, at int, note text) partition by range (at); \
                create table parts_1 partition of parts for values from (0) to (100); \
                create table parts_2 partition of parts for values from (100) to (200); \
                create table parts_d partition of parts default; \
                insert into parts select g, g, 'n' from generate_series(1, 150) g; \
                grant select, insert, update, delete on parts to session_role",
        attack: "update parts set at = at + 100 where id = 5;\nrollback;\nupdate parts set at = 900 where id = 5;",
        ends: In("held as change"),
    },
    Case {
        why: "rows in a partition that the role can reach only through the whole: flows",
        owner: "create table parts (id int, at int, note text, primary key (id, at)) partition by range (at); \
                create table parts_1 partition of parts for values from (0) to (100); \
                create table parts_2 partition of parts for values from (100) to (200); \
                insert into parts select g, g, 'n' from generate_series(1, 150) g; \
                grant select, insert, update, delete on parts to session_role",
        attack: "update parts set note = 'x' where id in (5, 120);\n\
                 begin;\nsavepoint a;\ninsert into parts values (199, 199, 'x');\nrelease a;\n\
                 delete from parts where id = 6;\ncommit;",
        ends: Flowing(
            "(select count(*) from parts where note = 'x') = 3 and (select count(*) from parts) = 150",
        ),
    },
    Case {
        why: "rows of a child, which has columns of its own",
        owner: "create table kids (extra int) inherits (orders); insert into kids values (7000, 'k', 1); \
                grant select, update, delete on kids to session_role",
        attack: "update orders set note = 'x' where id = 7000;\nrollback;\ndelete from orders where id = 7000;",
        ends: In("held as change"),
    },
    Case {
        why: "the parent alone: flows",
        owner: "create table kids (extra int) inherits (orders); insert into kids values (5, 'k', 1)",
        attack: "update only orders set note = 'x' where id = 5;",
        ends: Flowing(
            "(select string_agg(note, ',' order by note) from orders where id = 5) = 'k,x'",
        ),
    },
    Case {
        why: "a table whose rows nothing tells apart",
        owner: "create table plain (id int); insert into plain values (1), (1); \
                grant select, update on plain to session_role",
        attack: "update plain set id = 3 where id = 1;",
        ends: In("held as change"),
    },
    Case {
        why: "a key that is computed from what is changed",
        owner: "create table t (id int generated always as (a * 2) stored primary key, a int, note text); \
                insert into t (a) values (1), (2); grant select, update on t to session_role",
        attack: "update t set a = 50 where note is null and a = 1;",
        ends: In("held as change"),
    },
    Case {
        why: "an identity, and a column computed from others: flows",
        owner: "create table t (id int generated always as identity primary key, a int, \
                  b int generated always as (a * 2) stored); \
                insert into t (a) values (1), (2); grant select, update on t to session_role",
        attack: "update t set a = 50 where a = 1;",
        ends: Flowing("(select count(*) from t where b = 100) = 1"),
    },
];
