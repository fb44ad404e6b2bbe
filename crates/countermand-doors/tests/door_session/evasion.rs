//! Attacks on "what flows is small, measured and can be taken back": each on a real server, through
//! the door with a gate that weighs, and again with the static classifier switched off.
//!
//! Whatever an attack is said to end in, three things must hold after it: every row that is not as
//! it was is kept, no allowed transaction is beyond the limits, and nothing but rows changed.

mod conditions;
mod forms;
mod hanging;
mod names;
mod protocol;
mod savepoints;

use crate::stand::Stand;
use crate::wall::gullible;
use countermand_core::effect::Effect;
use std::collections::BTreeSet;

/// One attack.
pub(crate) struct Case {
    /// Why somebody would try.
    why: &'static str,
    /// What the owner of the tables has beside them.
    owner: &'static str,
    /// The agent's script, for psql, which goes on after errors.
    attack: &'static str,
    /// How it ends.
    ends: Ends,
}

/// How an attack ends.
#[derive(Clone, Copy)]
enum Ends {
    /// Nothing is changed, and the agent is told with these words among others.
    In(&'static str),
    /// It is small and kept: afterwards this is true, in SQL.
    Flowing(&'static str),
    /// It is small, and whatever it changed is kept.
    Kept,
    /// Held or flowing, as chance has it.
    Either,
}

use Ends::{Either, Flowing, In, Kept};

/// What every attack finds, owned by somebody else.
const SHOP: &str = "
    drop owned by shop_owner, session_role cascade;
    drop schema if exists before cascade;
    set role shop_owner;
    create table orders (id int primary key, note text);
    insert into orders select g, 'n' || g from generate_series(1, 300) g;
    create table log (id int primary key deferrable initially deferred, what text);
    create table customers (id int primary key, name text unique, vip boolean default false);
    insert into customers select g, 'c' || g from generate_series(1, 50) g;
    create sequence numbers;
    create function sneak() returns int language sql as 'delete from orders returning 1';
    grant select, insert, update, delete on orders, log, customers to session_role;
    grant usage on sequence numbers to session_role;
";

/// Takes all tables of the shop down as they are.
const REMEMBER: &str = "
    create schema before;
    do $$ declare t record; begin
      for t in select c.oid, c.relname from pg_class c where c.relnamespace = 'public'::regnamespace
               and c.relkind = 'r' loop
        execute format('create table before.%I as select * from only public.%I', t.relname, t.relname);
      end loop; end $$;
    create table before.\" objects\" as select oid from pg_class where relnamespace = 'public'::regnamespace;
";

/// The tables of the shop, and for each of them the rows that are not as they were, by `id`.
const LOST: &str = "
    select t.relname || ':' || l.id from pg_class t, lateral (
      select (xpath('/row/id/text()', r))[1]::text as id from unnest(xpath('/table/row', query_to_xml(format(
        'select id from (select * from before.%1$I except all select * from only public.%1$I) x', t.relname),
        true, false, ''))) r) l
    where t.relnamespace = 'before'::regnamespace and t.relname <> ' objects' order by 1";

/// What is there beside rows, and was not; or the other way round.
const OBJECTS: &str = "
    select (select count(*) from pg_class c full join before.\" objects\" o on c.oid = o.oid
            where (c.oid is null or o.oid is null)
              and coalesce(c.relnamespace, 'public'::regnamespace) = 'public'::regnamespace)
         + (select count(*) from pg_prepared_xacts) + (select count(*) from pg_largeobject_metadata)";

impl Stand {
    pub(crate) async fn set_up_shop(&self, owner: &str) {
        let sql = format!("{SHOP};{owner};reset role;{REMEMBER}");
        self.server.psql_in("shop", &sql).await.unwrap();
        self.gate.weighed.lock().unwrap().clear();
    }

    /// The rows that are not as they were, `table:id`.
    pub(crate) async fn lost(&self) -> BTreeSet<String> {
        self.truth(LOST).await.lines().map(str::to_owned).collect()
    }

    /// The rows that could be taken back, `table:id`, of everything that flowed; nothing that
    /// flowed is beyond the limits.
    fn kept(&self, why: &str) -> BTreeSet<String> {
        let weighed = self.gate.weighed.lock().unwrap();
        let mut kept = BTreeSet::new();
        for (weighing, _) in weighed.iter().filter(|(_, beyond)| beyond.is_empty()) {
            assert!(weighing.written.changed() <= 100, "{why}: {weighing:?}");
            let Some(images) = &weighing.images else { continue };
            let images: serde_json::Value = serde_json::from_str(&images.body).unwrap();
            for rows in images["changed"].as_array().unwrap() {
                let table = rows["name"].as_str().unwrap().trim_start_matches("public.");
                for row in rows["rows"].as_array().unwrap() {
                    let id = row["values"][0].as_str().unwrap();
                    kept.insert(format!("{table}:{}", u32::from_str_radix(id, 16).unwrap()));
                }
            }
        }
        kept
    }

    /// What holds after every attack.
    pub(crate) async fn nothing_is_lost(&self, why: &str) {
        let (lost, kept) = (self.lost().await, self.kept(why));
        let unkept: Vec<_> = lost.difference(&kept).take(5).collect();
        assert!(unkept.is_empty(), "{why}: changed and not kept: {unkept:?}");
        assert_eq!(self.truth(OBJECTS).await, "0", "{why}: not only rows changed");
    }
}

async fn attack(stand: &Stand, case: &Case) -> Result<(), String> {
    stand.set_up_shop(case.owner).await;
    let told = stand.psql_on(case.attack).await.stderr;
    stand.nothing_is_lost(case.why).await;
    match case.ends {
        In(words) if !told.contains(words) => Err(format!("told: {told}")),
        In(_) if !stand.lost().await.is_empty() => {
            Err(format!("changed: {:?}", stand.lost().await))
        }
        Flowing(truth) if stand.truth(&format!("select {truth}")).await != "t" => {
            Err(format!("not so: {truth}; told: {told}"))
        }
        Either => Ok(()),
        Kept if stand.lost().await.is_empty() => Err(format!("nothing changed; told: {told}")),
        Flowing(_) | Kept if !told.is_empty() => Err(format!("told: {told}")),
        _ => Ok(()),
    }
}

async fn all(cases: &[Case]) {
    let stand = Stand::weighing().await;
    let mut wrong = Vec::new();
    for case in cases {
        if let Err(how) = attack(&stand, case).await {
            wrong.push(format!("{}: {how}", case.why));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn names_are_no_hiding_place() {
    all(names::CASES).await;
}

#[tokio::test]
async fn savepoints_are_no_hiding_place() {
    all(savepoints::CASES).await;
}

#[tokio::test]
async fn conditions_are_no_hiding_place() {
    all(conditions::CASES).await;
}

#[tokio::test]
async fn what_hangs_on_a_table_is_no_hiding_place() {
    all(hanging::CASES).await;
}

#[tokio::test]
async fn forms_of_statements_are_no_hiding_place() {
    all(forms::CASES).await;
}

/// With the static classifier switched off: everything is taken for a read of a table.
#[tokio::test]
async fn taken_for_reads_the_attacks_change_nothing_at_all() {
    let stand = Stand::with(Effect::Read, gullible).await;
    let tables = [names::CASES, savepoints::CASES, conditions::CASES, hanging::CASES, forms::CASES];
    let cases: Vec<&Case> = tables.into_iter().flatten().collect();
    assert!(cases.len() >= 100, "{}", cases.len());
    for case in cases {
        stand.set_up_shop(case.owner).await;
        stand.psql_on(case.attack).await;
        let lost = stand.lost().await;
        assert!(lost.is_empty(), "{}: {lost:?}", case.why);
        assert_eq!(stand.truth(OBJECTS).await, "0", "{}: not only rows changed", case.why);
    }
}
