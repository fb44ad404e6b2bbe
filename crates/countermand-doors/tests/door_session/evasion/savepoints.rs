//! What is undone in part: savepoints, chains, two transactions in one message.

use super::{Case, Flowing, In, Kept};

/// Keeps row 1 without changing it: an upsert whose own condition says no.
macro_rules! spurious {
    () => {
        "insert into orders (id, note) values (1, 'x') on conflict (id) do update set note = 'x' where false;\n"
    };
}

/// Changes row 7 in a way that no question sees.
macro_rules! unseen {
    () => {
        "with d as (update orders set note = 'x' where id = 7 returning 1) select count(*) from d;\n"
    };
}

pub(super) const CASES: &[Case] = &[
    Case {
        why: "a row is kept that is not changed, to make up for one that is changed and not kept",
        owner: "",
        attack: concat!("begin;\n", spurious!(), unseen!(), "commit;"),
        ends: In("held as change"),
    },
    Case {
        why: "the same in one message",
        owner: "",
        attack: concat!(
            "begin\\; ",
            "insert into orders (id, note) values (1, 'x') on conflict (id) \
                 do update set note = 'x' where false\\; with d as (update orders set note = 'x' where \
                 id = 7 returning 1) select count(*) from d\\; commit;"
        ),
        ends: In("held as change"),
    },
    Case {
        why: "the row that is kept was added in a savepoint and goes with it",
        owner: "",
        attack: concat!(
            "begin;\nsavepoint a;\ninsert into orders values (1000, 'mine');\n\
             insert into orders (id, note) values (1000, 'x') on conflict (id) do update set note = 'x' where false;\n\
             rollback to a;\n",
            unseen!(),
            "commit;"
        ),
        ends: In("held"),
    },
    Case {
        why: "the same, nested, the outer one rolled back after the inner one was released",
        owner: "",
        attack: concat!(
            "begin;\nsavepoint a;\nsavepoint b;\ninsert into orders values (1000, 'mine');\n\
             insert into orders (id, note) values (1000, 'x') on conflict (id) do update set note = 'x' where false;\n\
             release b;\nrollback to a;\nrelease a;\n",
            unseen!(),
            "commit;"
        ),
        ends: In("held"),
    },
    Case {
        why: "the same, after an error revived the transaction",
        owner: "",
        attack: concat!(
            "begin;\nsavepoint a;\ninsert into orders values (1000, 'mine');\n\
             insert into orders (id, note) values (1000, 'x') on conflict (id) do update set note = 'x' where false;\n\
             select 1/0;\nrollback to a;\n",
            unseen!(),
            "commit;"
        ),
        ends: In("held"),
    },
    Case {
        why: "two savepoints of one name",
        owner: "",
        attack: concat!(
            "begin;\nsavepoint a;\ninsert into orders values (1000, 'mine');\n\
             insert into orders (id, note) values (1000, 'x') on conflict (id) do update set note = 'x' where false;\n\
             savepoint a;\nrelease a;\nrollback to a;\n",
            unseen!(),
            "commit;"
        ),
        ends: In("held"),
    },
    Case {
        why: "the row that is kept is changed later, in a savepoint that goes",
        owner: "",
        attack: concat!(
            "begin;\n",
            spurious!(),
            "savepoint a;\n",
            "update orders set note = 'y' where id = 1;\nrollback to a;\n",
            unseen!(),
            "commit;"
        ),
        ends: In("held"),
    },
    Case {
        why: "the row that is kept is changed unseen as well, so that it looks changed",
        owner: "",
        attack: concat!(
            "begin;\n",
            spurious!(),
            "with d as (update orders set note = 'z' where id in (1, 7) returning 1) select count(*) from d;\n\
             commit;"
        ),
        ends: In("held as change"),
    },
    Case {
        why: "a table's counters left behind by savepoints that went",
        owner: "",
        attack: "begin;\nsavepoint a;\nupdate orders set note = 'x' where id <= 50;\nrollback to a;\n\
                 update orders set note = 'x' where id <= 50;\ncommit;",
        ends: Kept,
    },
    Case {
        why: "one small change after another, each behind a savepoint that is released",
        owner: "",
        attack: "begin;\nsavepoint a;\nupdate orders set note = 'x' where id <= 60;\nrelease a;\n\
                 savepoint a;\nupdate orders set note = 'x' where id > 240;\nrelease a;\ncommit;",
        ends: In("held as change"),
    },
    Case {
        why: "small, behind savepoints: flows",
        owner: "",
        attack: "begin;\nsavepoint a;\nupdate orders set note = 'x' where id = 1;\nsavepoint b;\n\
                 update orders set note = 'x' where id = 2;\nrelease b;\nrelease a;\ncommit;",
        ends: Flowing("(select count(*) from orders where note = 'x') = 2"),
    },
    Case {
        why: "an insert that fails behind a savepoint, as object mappers do it: flows",
        owner: "",
        attack: "\\set ON_ERROR_ROLLBACK off\nbegin;\nupdate orders set note = 'x' where id = 1;\nsavepoint a;\n\
                 insert into customers values (900, 'new');\nrollback to a;\ninsert into customers values (901, 'new');\n\
                 commit;",
        ends: Flowing(
            "(select count(*) from orders where note = 'x') = 1 and \
                       (select count(*) from customers) = 51",
        ),
    },
    Case {
        why: "a commit that goes on",
        owner: "",
        attack: "begin;\nupdate orders set note = 'x' where id <= 60;\ncommit and chain;\n\
                 update orders set note = 'x' where id > 60;\ncommit;",
        ends: In("forbidden"),
    },
    Case {
        why: "a transaction that another session ends",
        owner: "",
        attack: "begin;\nupdate orders set note = 'x' where id <= 10;\nprepare transaction 'p';\n\
                 commit prepared 'p';",
        ends: In("forbidden"),
    },
    Case {
        why: "a commit in the middle of one message",
        owner: "",
        attack: "begin\\; update orders set note = 'x' where id = 1\\; commit\\; \
                 update orders set note = 'x' where id = 2;",
        ends: In("cannot judge"),
    },
    Case {
        why: "two transactions in one message",
        owner: "",
        attack: "begin\\; update orders set note = 'x' where id <= 60\\; commit\\; begin\\; \
                 update orders set note = 'x' where id between 61 and 260\\; commit;",
        ends: In("cannot judge"),
    },
    Case {
        why: "a transaction that only ends, and another one behind it in one message",
        owner: "",
        attack: "begin\\; update orders set note = 'x' where id = 1\\; rollback\\; begin\\; \
                 update orders set note = 'x' where id <= 260\\; commit;",
        ends: In("cannot judge"),
    },
    Case {
        why: "the end of an open transaction, and another one behind it in one message",
        owner: "",
        attack: "begin;\nupdate orders set note = 'x' where id = 1;\n\
                 rollback\\; begin\\; update orders set note = 'x' where id <= 260\\; commit;",
        ends: In("cannot judge"),
    },
    Case {
        why: "a second BEGIN, which only warns",
        owner: "",
        attack: "begin;\nupdate orders set note = 'x' where id <= 60;\nbegin;\n\
                 update orders set note = 'x' where id > 200;\ncommit;",
        ends: In("held as change"),
    },
    Case {
        why: "what the session holds thrown away in the middle",
        owner: "",
        attack: "begin;\nupdate orders set note = 'x' where id <= 60;\ndiscard all;\ndiscard temp;\n\
                 update orders set note = 'x' where id > 200;\ncommit;",
        ends: In("DISCARD ALL"),
    },
    Case {
        why: "a snapshot of the whole transaction",
        owner: "",
        attack: "begin isolation level serializable;\nupdate orders set note = 'x' where id = 1;\ncommit;\n\
                 begin isolation level repeatable read;\nupdate orders set note = 'x' where id = 2;\ncommit;",
        ends: Flowing("(select count(*) from orders where note = 'x') = 2"),
    },
    Case {
        why: "a transaction that says that it only reads",
        owner: "",
        attack: "begin isolation level serializable, read only, deferrable;\n\
                 update orders set note = 'x' where id = 1;\ncommit;\n\
                 begin read only;\nset transaction read write;\ndelete from orders where id = 1;\ncommit;\n\
                 begin read only;\nreset transaction_read_only;\ndelete from orders where id = 1;\ncommit;",
        ends: In("read-only"),
    },
];
