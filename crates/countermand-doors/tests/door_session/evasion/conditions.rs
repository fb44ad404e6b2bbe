//! Conditions that mean other rows than the question did, and rows that it does not see.

use super::{Case, Either, Flowing, In, Kept};

pub(super) const CASES: &[Case] = &[
    Case {
        why: "chance decides",
        owner: "",
        attack: "update orders set note = 'x' where random() < 0.2;",
        ends: In("held as change"),
    },
    Case {
        why: "the clock decides",
        owner: "",
        attack: "update orders set note = 'x' where \
                 id = 1 + (extract(microseconds from clock_timestamp())::int % 200);",
        ends: Either,
    },
    Case {
        why: "a sequence decides: each look at it means the next row",
        owner: "",
        attack: "update orders set note = 'x' where id = (select nextval('numbers'));",
        ends: Kept,
    },
    Case {
        why: "a function of the row, written as a column",
        owner: "create function lucky(orders) returns boolean language sql volatile as \
                  $$ select nextval('numbers') in (5, 306) $$",
        attack: "update orders set note = 'x' where orders.lucky;",
        ends: Kept,
    },
    Case {
        why: "a function that says it is immutable and is not",
        owner: "create function lie() returns int language plpgsql immutable as \
                  $$ begin delete from orders where id = 9; return 1; end $$",
        attack: "update orders set note = 'x' where id = lie();",
        ends: In("held as change"),
    },
    Case {
        why: "a subquery over what the statement itself changes",
        owner: "",
        attack: "update orders set note = 'x' where id = (select min(id) from orders where note like 'n%');",
        ends: Flowing("(select note from orders where id = 1) = 'x'"),
    },
    Case {
        why: "every row is named by a long list",
        owner: "",
        attack: "update orders set note = 'x' where id in (select generate_series(1, 101));",
        ends: In("held as change"),
    },
    Case {
        why: "one row over the limit",
        owner: "",
        attack: "delete from orders where id between 1 and 101;",
        ends: In("held as change"),
    },
    Case {
        why: "rows that others decide on, joined twice",
        owner: "",
        attack: "update orders o set note = c.name from customers c where c.id in (1, 2) and o.id = 5;",
        ends: Flowing("(select note like 'c%' from orders where id = 5)"),
    },
    Case {
        why: "a join with itself",
        owner: "",
        attack: "update orders o set note = p.note from orders p where p.id = o.id + 1 and o.id <= 3;",
        ends: Flowing(
            "(select string_agg(note, ',' order by id) from orders where id <= 3) = 'n2,n3,n4'",
        ),
    },
    Case {
        why: "rows that are deleted by a join with everything",
        owner: "",
        attack: "delete from orders o using orders p where o.id <> p.id;",
        ends: In("held as change"),
    },
    Case {
        why: "the row under a cursor",
        owner: "",
        attack: "begin;\ndeclare c cursor for select * from orders where id = 5 for update;\nfetch from c;\n\
                 update orders set note = 'x' where current of c;\ncommit;",
        ends: In("held as change"),
    },
    Case {
        why: "a policy that lets DELETE reach more than SELECT shows",
        owner: "alter table orders enable row level security; \
                create policy s on orders for select using (id <= 10); \
                create policy u on orders for update using (id <= 5); \
                create policy d on orders for delete using (true)",
        attack: "delete from orders where id in (6, 7);\ndelete from orders where 5 < id;",
        ends: In("held as change"),
    },
    Case {
        why: "rows hidden by row security when it is looked whether they went",
        owner: "create table mine (id int primary key, o int); insert into mine values (1, 1), (2, 7); \
                grant select, insert, update, delete on mine to session_role; \
                alter table orders enable row level security; \
                create policy p on orders using (id in (select o from mine))",
        attack: "begin;\n\
                 insert into orders (id, note) values (1, 'x') on conflict (id) do update set note = 'x' where false;\n\
                 delete from mine where id = 1;\n\
                 with d as (update orders set note = 'x' where id = 7 returning 1) select count(*) from d;\ncommit;",
        ends: In("held as change"),
    },
    Case {
        why: "one row, under row security: flows",
        owner: "alter table orders enable row level security; create policy p on orders using (id < 10)",
        attack: "update orders set note = 'x' where id = 5;\nupdate orders set note = 'x' where id = 50;",
        ends: Flowing("(select string_agg(id::text, ',') from orders where note = 'x') = '5'"),
    },
    Case {
        why: "a cast to a type with code in it",
        owner: "create function hurt(int) returns boolean language plpgsql as \
                  $$ begin delete from orders where id = 9; return true; end $$; \
                create domain wicked as int check (hurt(value))",
        attack: "update orders set note = 'x' where id = 5::wicked;\nselect 5::wicked;",
        ends: Either,
    },
    Case {
        why: "an operator with code behind it",
        owner: "create function hurt(int, int) returns boolean language plpgsql as \
                  $$ begin delete from orders where id = 9; return true; end $$; \
                create operator === (leftarg = int, rightarg = int, function = hurt)",
        attack: "update orders set note = 'x' where id === 5;",
        ends: In("held as change"),
    },
    Case {
        why: "new values that hide a function",
        owner: "",
        attack: "update orders set note = sneak()::text where id = 5;\n\
                 insert into orders values (sneak(), 'x');\n\
                 update orders set note = set_config('search_path', 'evil', false) where id = 5;",
        ends: In("held as change"),
    },
    Case {
        why: "long values, beyond the bytes that are kept",
        owner: "create table big (id int primary key, body text); \
                insert into big select g, repeat('x', 3000000) from generate_series(1, 3) g; \
                grant select, update on big to session_role",
        attack: "update big set body = '' where id <= 3;",
        ends: In("held as change"),
    },
    Case {
        why: "long values, a little at a time in one transaction",
        owner: "create table big (id int primary key, body text); \
                insert into big select g, repeat('x', 3000000) from generate_series(1, 3) g; \
                grant select, update on big to session_role",
        attack: "begin;\nupdate big set body = '' where id = 1;\nupdate big set body = '' where id = 2;\n\
                 update big set body = '' where id = 3;\ncommit;",
        ends: In("held as change"),
    },
    Case {
        why: "values that are stored elsewhere, within the bytes",
        owner: "create table big (id int primary key, body text); \
                insert into big select g, repeat(g::text, 100000) from generate_series(1, 3) g; \
                grant select, update on big to session_role",
        attack: "update big set body = '' where id <= 2;",
        ends: Flowing("(select count(*) from big where body = '') = 2"),
    },
    Case {
        why: "a column that the role may not read, so that rows cannot be kept whole",
        owner: "create table secret (id int primary key, pin int, shown int); \
                insert into secret values (1, 2, 3); \
                grant select (id, shown), update (shown) on secret to session_role",
        attack: "update secret set shown = 4 where id = 1;",
        ends: In("held as change"),
    },
];
