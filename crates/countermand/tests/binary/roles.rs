//! `init postgres` against a real server: the two roles are made, found good, and removed.

use crate::gateway::{Ended, Installation};
use countermand_doors::postgres::scratch::{Options, ScratchServer, psql_as};
use serde_json::Value;

/// An installation in front of a server with one schema of an application's.
struct Place {
    installation: Installation,
    server: ScratchServer,
    /// The role that owns the database and runs the managed text.
    administrator: &'static str,
}

const TABLES: &str = "CREATE SCHEMA \"bil ling\";
    CREATE TABLE \"bil ling\".invoices (id serial PRIMARY KEY, note text);
    INSERT INTO \"bil ling\".invoices (note) VALUES ('one');";

impl Place {
    async fn new() -> Place {
        Place::owned_by("app_owner").await
    }

    async fn owned_by(owner: &str) -> Place {
        let server = ScratchServer::start(Options::default()).await.unwrap();
        let made = "CREATE ROLE app LOGIN CREATEROLE PASSWORD 'secret';
            CREATE ROLE app_owner; GRANT app_owner TO app WITH ADMIN OPTION;
            CREATE DATABASE shop OWNER app;";
        server.psql(made).await.unwrap();
        let tables =
            format!("GRANT CREATE ON DATABASE shop TO app_owner; SET ROLE {owner}; {TABLES}");
        server.psql_in("shop", &tables).await.unwrap();
        let installation = Installation::new();
        let port = server.address().port();
        installation.edit(|text| {
            text.replace("port = 1\n", &format!("port = {port}\n"))
                .replace("\"countermand_session\"", "\"Agents' \\\"session\\\"\"")
        });
        installation.secret("password", "secret");
        Place { installation, server, administrator: "app" }
    }

    fn sql(&self, more: &[&str]) -> Ended {
        let file = self.installation.folder().join("password");
        let words = ["init", "postgres", "shop", "--ask", self.administrator, "--password-file"];
        let printed =
            self.installation.run(&[&words[..], &[file.to_str().unwrap()], more].concat());
        assert_eq!(printed.code, 0, "{}", printed.stderr);
        printed
    }

    async fn run_as_administrator(&self, sql: &str) {
        let login = self.server.login(self.administrator, "secret".to_owned().into(), "shop");
        let ran = psql_as(self.server.tools(), &login, sql).await.unwrap();
        assert!(ran.success, "{}\n{sql}", ran.stderr);
    }

    /// What the doctor says about both roles, and how.
    fn verdicts(&self) -> Vec<(String, String)> {
        let doctor = self.installation.run(&["doctor", "--json"]);
        let findings: Vec<Value> = serde_json::from_str(&doctor.stdout).unwrap();
        let about = |what: &str| what == "shop session" || what == "shop executor";
        let found = findings.iter().filter(|finding| about(finding["what"].as_str().unwrap()));
        found.map(|f| (f["verdict"].as_str().unwrap().into(), f["words"].to_string())).collect()
    }

    async fn version(&self) -> u32 {
        let version = self.server.psql("SHOW server_version_num").await.unwrap();
        version.trim().parse::<u32>().unwrap() / 10_000
    }

    async fn roles(&self) -> String {
        let sql = "SELECT count(*) FROM pg_roles WHERE rolname IN ('Agents'' \"session\"', \
                   'countermand_executor')";
        self.server.psql(sql).await.unwrap().trim().to_owned()
    }

    async fn rights(&self) -> String {
        let sql = "SELECT count(*) FROM pg_class c, aclexplode(relacl) WHERE relname = 'invoices' \
                   AND grantee <> relowner";
        self.server.psql_in("shop", sql).await.unwrap().trim().to_owned()
    }
}

fn all_good(verdicts: &[(String, String)]) {
    assert_eq!(verdicts.len(), 2, "{verdicts:?}");
    assert!(verdicts.iter().all(|(verdict, _)| verdict == "good"), "{verdicts:?}");
}

#[tokio::test]
async fn a_superuser_makes_both_roles_and_removes_them() {
    let place = Place::new().await;
    let printed = place.sql(&["--make-secrets"]);
    assert_eq!(printed.stderr, "");
    let secret = place.installation.folder().join("secrets/shop-session");
    let secret = std::fs::read_to_string(secret).unwrap();
    assert!(secret.len() == 64 && !printed.stdout.contains(&secret));
    for _ in 0..2 {
        place.server.psql_in("shop", &printed.stdout).await.unwrap();
        all_good(&place.verdicts());
    }
    // Made anew it is another verifier for the same password.
    place.server.psql_in("shop", &place.sql(&["--make-secrets"]).stdout).await.unwrap();
    all_good(&place.verdicts());
    // A table that comes later is in reach of both, and one that an approved change made is kept.
    place
        .server
        .psql_in("shop", "SET ROLE app_owner; CREATE TABLE \"bil ling\".late (id int)")
        .await
        .unwrap();
    place
        .server
        .psql_in("shop", "SET ROLE countermand_executor; CREATE TEMP TABLE mine (id int)")
        .await
        .unwrap();
    let may = "SELECT has_table_privilege('Agents'' \"session\"', '\"bil ling\".late', 'INSERT')";
    assert_eq!(place.server.psql_in("shop", may).await.unwrap().trim(), "t");
    let uninstall = place.sql(&["--uninstall"]).stdout;
    for _ in 0..2 {
        place.server.psql_in("shop", &uninstall).await.unwrap();
        assert_eq!((place.roles().await.as_str(), place.rights().await.as_str()), ("0", "0"));
    }
    let kept = place.server.psql_in("shop", "SELECT note FROM \"bil ling\".invoices").await;
    assert_eq!(kept.unwrap().trim(), "one");
}

#[tokio::test]
async fn roles_that_another_database_still_has_stay_until_it_is_gone_there_too() {
    let place = Place::new().await;
    let (install, uninstall) =
        (place.sql(&["--make-secrets"]).stdout, place.sql(&["--uninstall"]).stdout);
    place.server.psql("CREATE DATABASE other TEMPLATE shop").await.unwrap();
    for database in ["shop", "other"] {
        place.server.psql_in(database, &install).await.unwrap();
    }
    place.server.psql_in("shop", &uninstall).await.unwrap();
    assert_ne!(place.roles().await, "0");
    place.server.psql_in("other", &uninstall).await.unwrap();
    assert_eq!((place.roles().await.as_str(), place.rights().await.as_str()), ("0", "0"));
}

#[tokio::test]
async fn so_does_an_administrator_who_is_no_superuser() {
    for owner in ["app_owner", "app"] {
        let place = Place::owned_by(owner).await;
        if owner == "app" && place.version().await >= 16 {
            // No role hands itself on there, as the text says.
            continue;
        }
        let sql = place.sql(&["--managed", "--make-secrets"]).stdout;
        for _ in 0..2 {
            place.run_as_administrator(&sql).await;
            all_good(&place.verdicts());
        }
        let uninstall = place.sql(&["--managed", "--uninstall"]).stdout;
        for _ in 0..2 {
            place.run_as_administrator(&uninstall).await;
            assert_eq!((place.roles().await.as_str(), place.rights().await.as_str()), ("0", "0"));
        }
    }
}

#[tokio::test]
async fn a_role_of_somebody_elses_is_neither_changed_nor_dropped() {
    let place = Place::new().await;
    place
        .server
        .psql("CREATE ROLE countermand_executor SUPERUSER LOGIN PASSWORD 'theirs'")
        .await
        .unwrap();
    let sql = place.sql(&["--make-secrets"]).stdout;
    let refused = place.server.psql_in("shop", &sql).await.unwrap_err().to_string();
    assert!(refused.contains("was not made for Countermand"), "{refused}");
    assert_eq!(place.roles().await, "1", "half of it is nothing");
    let uninstall = place.sql(&["--uninstall"]).stdout;
    place.server.psql_in("shop", &uninstall).await.unwrap();
    let still = "SELECT rolsuper FROM pg_roles WHERE rolname = 'countermand_executor'";
    assert_eq!(place.server.psql(still).await.unwrap().trim(), "t");
}

#[tokio::test]
async fn the_doctor_says_what_the_executor_cannot_bring_back() {
    let place = Place::new().await;
    place.server.psql_in("shop", &place.sql(&["--make-secrets"]).stdout).await.unwrap();
    let revoked = "REVOKE app_owner FROM countermand_executor";
    place.server.psql_in("shop", revoked).await.unwrap();
    let verdicts = place.verdicts();
    let warned = verdicts.iter().any(|(verdict, words)| {
        verdict == "warning" && words.contains("GRANT app_owner TO countermand_executor")
    });
    assert!(warned, "{verdicts:?}");
}
