//! One change from its hold to its end and back, by the commands that people use, on a real
//! PostgreSQL. The gateway runs in this process, on a clock in which a minute of cooling takes a
//! fraction of a second.

use crate::gateway::{Ended, Installation, countermand, run, run_with};
use countermand::config::Config;
use countermand::serve::Gateway;
use countermand_core::request::ChangeNumber;
use countermand_doors::postgres::scratch::{Login, Options, PsqlOutput, ScratchServer, psql_as};
use countermand_engine::control::{Command, Reply};
use countermand_engine::{Clock, Home, Peer};
use serde_json::Value;
use std::sync::Arc;

const SPEED: i32 = 300;
/// What the agent wants; its comment would turn a terminal round.
pub(crate) const DROP: &str = "DROP TABLE billing.invoices /* approved by bob\u{202e}\u{1b}[1A */";

/// The same in other words.
const RESPELLED: [&str; 5] = [
    "drop   table billing.invoices",
    "-- tidy up\nDROP TABLE Billing . Invoices;",
    "BEGIN\\; DROP TABLE billing.invoices\\; COMMIT;",
    "DROP/**/TABLE/**/\"billing\".\"invoices\" RESTRICT;;",
    "DROP TABLE U&\"\\0062illing\".invoices",
];

/// An installation with a third human, in front of a real database with a table of 1000 rows.
pub(crate) struct Life {
    pub(crate) installation: Arc<Installation>,
    pub(crate) server: ScratchServer,
    pub(crate) gateway: Gateway,
}

impl Life {
    pub(crate) async fn begin() -> Life {
        Life::begin_with(|text| text).await
    }

    /// As [`Life::begin`], with this done to the configuration.
    pub(crate) async fn begin_with(edit: impl FnOnce(String) -> String) -> Life {
        Life::begin_at(edit, Clock::fast(SPEED)).await
    }

    /// The same, by this clock.
    pub(crate) async fn begin_at(edit: impl FnOnce(String) -> String, clock: Clock) -> Life {
        let server = ScratchServer::start(Options::default()).await.unwrap();
        let roles = "CREATE ROLE owner NOLOGIN;
            CREATE ROLE countermand_session LOGIN PASSWORD 'secret';
            CREATE ROLE countermand_executor LOGIN PASSWORD 'secret' IN ROLE owner, countermand_session;
            CREATE DATABASE shop OWNER owner;";
        server.psql(roles).await.unwrap();
        let tables = "SET ROLE owner;
            CREATE SCHEMA billing;
            CREATE TABLE billing.invoices (id int PRIMARY KEY, note text);
            INSERT INTO billing.invoices SELECT n, 'note ' || n FROM generate_series(1, 1000) n;
            GRANT USAGE ON SCHEMA billing TO countermand_session;
            GRANT SELECT, INSERT ON billing.invoices TO countermand_session;";
        server.psql_in("shop", tables).await.unwrap();
        let installation = Installation::new();
        for role in ["session", "executor"] {
            installation.secret(&format!("secrets/shop-{role}"), "secret");
        }
        let port = server.address().port();
        let carol = installation.public("mallory");
        installation.edit(|text| {
            let text = text.replace("port = 1\n", &format!("port = {port}\n"));
            edit(format!("{text}\n[people.carol]\nkeys = [{carol:?}]\n[reviewers.carol]\n"))
        });
        let config = Config::load(&installation.config()).unwrap();
        let home = Home::at(&config.state);
        let gateway = Gateway::start(config, home, clock).await.unwrap();
        Life { installation: Arc::new(installation), server, gateway }
    }

    /// Runs a command beside the gateway.
    pub(crate) async fn run(&self, words: &[&str]) -> Ended {
        let mut command = self.installation.command(words);
        tokio::task::spawn_blocking(move || run_with(&mut command, "")).await.unwrap()
    }

    pub(crate) async fn sign(&self, who: &str, words: &[&str]) -> Ended {
        let key = self.installation.key(who);
        self.run(&[words, &["--key", key.to_str().unwrap()]].concat()).await
    }

    /// Lets the agent in, and keeps its credential where its commands look for it.
    pub(crate) async fn admit_bot(&self) {
        let words = ["agent", "add", "bot", "--targets", "shop", "--json"];
        let effects = ["--effects", "read,write,destroy"];
        let added = self.sign("alice", &[&words[..], &effects].concat()).await;
        let credential = json(&added.stdout)["credential"].as_str().unwrap().to_owned();
        self.installation.secret("secrets/bot", &credential);
    }

    /// Where agents connect to.
    pub(crate) fn door(&self) -> String {
        self.gateway.door().to_string()
    }

    /// Stops the gateway in good order; what it stood between stays.
    pub(crate) async fn end(self) -> (Arc<Installation>, ScratchServer) {
        let Life { installation, server, gateway } = self;
        gateway.stop().await;
        (installation, server)
    }

    /// What the agent's own `psql` says.
    pub(crate) async fn psql(&self, sql: &str) -> PsqlOutput {
        let credential =
            std::fs::read_to_string(self.installation.folder().join("secrets/bot")).unwrap();
        self.psql_with(credential, sql).await
    }

    /// The same with whatever credential.
    pub(crate) async fn psql_with(&self, credential: String, sql: &str) -> PsqlOutput {
        let login = Login {
            address: self.gateway.door(),
            user: "bot".to_owned(),
            password: credential.into(),
            database: "shop".to_owned(),
        };
        psql_as(self.server.tools(), &login, sql).await.unwrap()
    }

    /// A command of the agent's, which knows the door and its credential and nothing else.
    pub(crate) async fn as_bot(&self, words: &[&str]) -> Ended {
        let mut command = countermand();
        command.args(words).args(["--target", "shop"]);
        command.arg("--door").arg(self.gateway.door().to_string());
        command.arg("--credential-file").arg(self.installation.folder().join("secrets/bot"));
        tokio::task::spawn_blocking(move || run_with(&mut command, "")).await.unwrap()
    }

    pub(crate) async fn rows(&self) -> String {
        let count = "SELECT count(*) FROM billing.invoices";
        self.server.psql_in("shop", count).await.map_or_else(|_| "gone".into(), |n| n.trim().into())
    }

    /// Until the trial restore point is there, before which nobody can approve.
    pub(crate) async fn prepared(&self) {
        self.prepared_as(1).await;
    }

    /// The same of another change.
    pub(crate) async fn prepared_as(&self, number: u64) {
        let change = ChangeNumber(number);
        let mut command = Command::Show { change };
        loop {
            let reply = self.gateway.engine().control(command, Peer { uid: 0, pid: None }).await;
            let Reply::Change(view) = reply else { panic!("{reply:?}") };
            assert_eq!(view.line.state, "held", "{:?}", view.history);
            if view.trial.is_some() {
                return;
            }
            command = Command::Wait { change, seen: view.version };
        }
    }

    pub(crate) async fn shown(&self) -> Value {
        json(&self.run(&["changes", "show", "1", "--json"]).await.stdout)
    }
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_wrote_without_asking_is_taken_back_by_one_command() {
    let life = Life::begin().await;
    let grant = "GRANT UPDATE, DELETE ON billing.invoices TO countermand_session";
    life.server.psql_in("shop", grant).await.unwrap();
    life.admit_bot().await;
    let content = async || {
        let sql = "SELECT md5(string_agg(i::text, ',' ORDER BY id)) FROM billing.invoices i";
        life.server.psql_in("shop", sql).await.unwrap()
    };
    let before = content().await;
    for sql in [
        "UPDATE billing.invoices SET note = 'paid' WHERE id BETWEEN 1 AND 20",
        "BEGIN; UPDATE billing.invoices SET note = 'twice' WHERE id = 1; SAVEPOINT s; \
         DELETE FROM billing.invoices WHERE id IN (2, 999); COMMIT",
        "INSERT INTO billing.invoices VALUES (5000, 'new')",
        "UPDATE billing.invoices SET note = 'newer' WHERE id = 5000",
    ] {
        let said = life.psql(sql).await;
        assert!(said.success, "{sql}: {}", said.stderr);
    }
    let theirs = "UPDATE billing.invoices SET note = 'theirs' WHERE id = 7";
    life.server.psql_in("shop", theirs).await.unwrap();
    let words = ["restore", "--agent", "bot", "--since", "12h"];
    let plan = life.run(&[&words[..], &["--plan", "--json"]].concat()).await;
    let left = "billing.invoices (id)=(7): changed since";
    assert_eq!(json(&plan.stdout)["conflicts"], serde_json::json!([left]), "{}", plan.stderr);
    assert_eq!(json(&plan.stdout)["rows"]["billing.invoices"], 20);
    assert_eq!(json(&plan.stdout)["removed"]["billing.invoices"], 1);
    let shown = life.run(&[&words[..], &["--plan"]].concat()).await.stdout;
    assert!(shown.contains("1 in billing.invoices, which it added"), "{shown}");
    let done = life.sign("bob", &words).await;
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains(left) && done.stdout.contains(left), "{}", done.stdout);
    // Over what somebody else wrote, another human than the sponsor signs.
    let over = [&words[..], &["--overwrite"]].concat();
    assert_eq!(life.sign("alice", &over).await.code, 1);
    assert_ne!(content().await, before);
    let done = life.sign("bob", &over).await;
    assert!(done.stdout.contains("overwritten"), "{}{}", done.stdout, done.stderr);
    assert_eq!(content().await, before);
    assert_eq!(life.sign("bob", &words).await.code, 1, "there is nothing left to take back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_held_approved_executed_once_and_taken_back() {
    let life = Life::begin().await;
    life.admit_bot().await;
    assert_eq!(life.psql("SELECT count(*) FROM billing.invoices").await.stdout, "1000\n");
    let held = life.psql(DROP).await.stderr;
    assert!(held.contains("held as change 1") && held.contains("1000 rows"), "{held}");

    life.prepared().await;

    // What is seen before it is signed.
    let seen = life.run(&["changes", "show", "1"]).await;
    let hidden = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!seen.stdout.contains(hidden), "{:?}", seen.stdout);
    for words in ["untrusted", "billing.invoices", "1000", "1100", "\\u{202e}\\u{1b}[1A"] {
        assert!(seen.stdout.contains(words), "`{words}` is not in\n{}", seen.stdout);
    }
    let listed = json(&life.run(&["changes", "list", "--open", "--json"]).await.stdout);
    assert_eq!(listed[0]["state"], "held");

    // Only the right numbers, and only another human.
    let wrong = life.sign("bob", &["approve", "1", "--typed", "1 1100"]).await;
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("nothing was signed"), "{}", wrong.stderr);
    assert_eq!(life.sign("bob", &["approve", "1"]).await.code, 2, "nobody is there to type");
    let own = life.sign("alice", &["approve", "1", "--typed", "1 1000"]).await;
    assert_eq!(own.code, 1, "{}", own.stderr);
    assert!(life.shown().await["approvals"].as_array().unwrap().is_empty());

    let approved = life.sign("bob", &["approve", "1", "--typed", "1 1000"]).await;
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    let again = life.sign("bob", &["approve", "1", "--typed", "1 1000"]).await;
    assert_eq!(again.code, 1, "one human fills one seat");
    assert_eq!(life.rows().await, "1000");
    let carol = ["approve", "1", "--typed", "1 1000", "--as", "carol"];
    assert_eq!(life.sign("mallory", &carol).await.code, 0);

    let ended = life.run(&["changes", "wait", "1", "--timeout", "60s", "--json"]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(
        (json(&ended.stdout)["executions"].as_u64(), life.rows().await),
        (Some(1), "gone".into())
    );

    let told = life.psql(DROP).await;
    assert!(told.success && told.stderr.contains("executed as change 1"), "{}", told.stderr);

    let plan = life.run(&["restore", "1", "--plan", "--json"]).await;
    assert_eq!(json(&plan.stdout)["rows"]["billing.invoices"], 1000, "{}", plan.stderr);
    let restored = life.sign("bob", &["restore", "1", "--typed", "1 1000"]).await;
    assert_eq!((restored.code, life.rows().await), (0, "1000".into()), "{}", restored.stderr);

    let found = json(&life.run(&["doctor", "--consistency", "--json"]).await.stdout);
    assert_eq!((&found["differences"], &found["executed"]), (&Value::Array(vec![]), &1.into()));
    life.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_and_a_withdrawal_end_a_change() {
    let life = Life::begin().await;
    life.admit_bot().await;
    assert!(life.psql(DROP).await.stderr.contains("held as change 1"));
    for respelled in RESPELLED {
        let joined = life.psql(respelled).await.stderr;
        assert!(joined.contains("held as change 1"), "{respelled}: {joined}");
    }
    let reject = ["reject", "1", "--reason", "not on a Friday", "--typed", "1 1000"];
    assert_eq!(life.sign("bob", &reject).await.code, 0);
    let ended = life.run(&["changes", "wait", "1", "--timeout", "60s"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("not on a Friday"), "{}", ended.stdout);
    let refused = life.psql(DROP).await.stderr;
    assert!(refused.contains("not on a Friday"), "{refused}");
    for respelled in RESPELLED {
        let refused = life.psql(respelled).await.stderr;
        assert!(refused.contains("not on a Friday"), "{respelled}: {refused}");
    }
    // Something else is asked anew.
    let other = life.psql("DROP TABLE billing.invoices CASCADE").await.stderr;
    assert!(other.contains("held as change 2"), "{other}");
    let late = life.run(&["changes", "withdraw", "1"]).await;
    assert_eq!(late.code, 1, "{}", late.stdout);
    assert_eq!(life.rows().await, "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_proposes_a_file_and_follows_its_change() {
    let life = Life::begin().await;
    life.admit_bot().await;
    let file = life.installation.folder().join("cleanup.sql");
    let file = file.to_str().unwrap();
    let unit =
        "BEGIN;\nDROP TABLE billing.invoices;\nCREATE TABLE billing.invoices (id int);\nCOMMIT;\n";
    std::fs::write(file, unit).unwrap();
    let held = life.as_bot(&["propose", file, "--as", "bot"]).await;
    assert_eq!(held.code, 3, "{}", held.stderr);
    assert!(held.stderr.contains("held as change 1"), "{}", held.stderr);
    let listed = json(&life.as_bot(&["changes", "list", "--agent", "bot", "--json"]).await.stdout);
    assert_eq!((&listed[0]["number"], &listed[0]["state"]), (&1.into(), &"held".into()));
    let shown = life.as_bot(&["changes", "show", "1", "--agent", "bot"]).await;
    assert!(shown.code == 0 && shown.stdout.contains("billing.invoices"), "{}", shown.stdout);
    let waited = ["changes", "wait", "1", "--agent", "bot", "--timeout", "1s"];
    assert_eq!(life.as_bot(&waited).await.code, 3);
    assert_eq!(life.as_bot(&["changes", "show", "2", "--agent", "bot"]).await.code, 1);
    let withdrawn = life.as_bot(&["changes", "withdraw", "1", "--agent", "bot"]).await;
    assert_eq!(withdrawn.code, 0, "{}", withdrawn.stderr);
    assert_eq!(life.as_bot(&waited).await.code, 1);
    std::fs::write(file, "INSERT INTO billing.invoices VALUES (1001, 'new')").unwrap();
    let flowed = life.as_bot(&["propose", file, "--as", "bot", "--json"]).await;
    assert_eq!((flowed.code, life.rows().await), (0, "1001".into()), "{}", flowed.stderr);
    assert_eq!(json(&flowed.stdout)["done"], serde_json::json!(["INSERT 0 1"]));

    life.installation.secret("secrets/bot", "cmd_wrong");
    let stranger = life.as_bot(&["changes", "list", "--agent", "bot"]).await;
    assert_eq!(stranger.code, 1, "{}", stranger.stderr);
    assert!(!stranger.stderr.contains("cmd_wrong"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_a_session_role_that_could_drop() {
    let life = Life::begin().await;
    let good = life.run(&["doctor", "--json"]).await;
    assert_eq!(good.code, 0, "{}", good.stdout);
    life.server.psql("GRANT owner TO countermand_session").await.unwrap();
    let bad = life.run(&["doctor"]).await;
    assert_eq!(bad.code, 1);
    assert!(bad.stdout.contains("belongs to the owner of"), "{}", bad.stdout);
    life.server.psql("ALTER ROLE countermand_session SUPERUSER").await.unwrap();
    let worse = life.run(&["doctor"]).await;
    assert!(worse.stdout.contains("`countermand_session` is a superuser"), "{}", worse.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_tables_whose_deletes_could_not_be_kept() {
    let life = Life::begin().await;
    for (grant, named) in [("DELETE", true), ("UPDATE (id)", false)] {
        let grant = format!("GRANT {grant} ON billing.invoices TO countermand_session");
        life.server.psql_in("shop", &grant).await.unwrap();
        let said = life.run(&["doctor"]).await;
        assert_eq!(said.code, 0, "{}", said.stdout);
        let words = "GRANT SELECT, UPDATE ON billing.invoices TO countermand_session";
        assert_eq!(said.stdout.contains(words), named, "{grant}: {}", said.stdout);
    }
}

impl Life {
    /// The ledger holds, with every signature that was made.
    async fn verified(self) {
        // One agent, two approvals, one restore.
        self.verified_with(4).await;
    }

    /// The same, with so many signatures.
    pub(crate) async fn verified_with(self, signatures: u64) {
        let Life { installation, server, gateway } = self;
        gateway.stop().await;
        let ledger = installation.folder().join("state/ledger");
        let (key, ledger) = (ledger.join("ledger.pub"), ledger.to_str().unwrap().to_owned());
        let said = run(&["ledger", "verify", &ledger, "--key", key.to_str().unwrap(), "--json"]);
        let report = json(&said.stdout);
        let seen = &report["signatures"];
        assert_eq!((said.code, seen), (0, &signatures.into()), "{}", said.stdout);
        assert_eq!(report["unsigned_tail"], 0);
        server.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_additive_change_is_approved_and_runs_too() {
    let life = Life::begin().await;
    life.admit_bot().await;
    let held = life.psql("CREATE TABLE billing.notes (id int PRIMARY KEY)").await;
    assert!(held.stderr.contains("held as change 1"), "{}", held.stderr);
    let shown = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        life.prepared().await;
        life.shown().await
    });
    let shown = shown.await.expect("it is never ready for review");
    for who in ["mallory", "bob"] {
        let words = ["approve", "1", "--typed", "1 0"];
        let approved = life.sign(who, &words).await;
        assert_eq!(approved.code, 0, "{} {shown:#}", approved.stderr);
    }
    let waited = life.run(&["changes", "wait", "1"]).await;
    assert!(waited.stdout.contains("executed"), "{} {}", waited.stdout, waited.stderr);
}
