//! The servers: scratch production and staging, with cost data and the two roles of each.

use super::tell::Teller;
use crate::exit::Failure;
use countermand_doors::postgres::scratch::{Options, ScratchServer};
use rand::Rng as _;
use secrecy::SecretString;

/// The database on each server.
pub(super) const DATABASE: &str = "costs";
/// Rows of cost data in production.
const PRODUCTION_ROWS: u64 = 1_000_000;
/// Rows in staging: the same shape, less of it.
const STAGING_ROWS: u64 = 10_000;

/// One server with the passwords of its two roles.
pub(super) struct Stage {
    pub(super) server: ScratchServer,
    pub(super) session: String,
    pub(super) executor: String,
}

/// Starts both servers and fills them.
pub(super) async fn build(teller: &Teller) -> Result<(Stage, Stage), Failure> {
    teller.say("starting two scratch PostgreSQL servers and filling them, about 20 seconds …");
    tokio::try_join!(start(PRODUCTION_ROWS), start(STAGING_ROWS))
}

async fn start(rows: u64) -> Result<Stage, Failure> {
    let server = ScratchServer::start(Options::default()).await.map_err(Failure::new)?;
    let password = || format!("{:032x}", rand::rng().random::<u128>());
    let (session, executor) = (password(), password());
    let roles = format!(
        "CREATE ROLE app_owner;
         CREATE ROLE countermand_session LOGIN PASSWORD '{session}';
         CREATE ROLE countermand_executor LOGIN PASSWORD '{executor}'
             IN ROLE app_owner, countermand_session;
         CREATE DATABASE {DATABASE} OWNER app_owner;"
    );
    server.psql(&roles).await.map_err(Failure::new)?;
    server.psql_in(DATABASE, &environment(rows)).await.map_err(Failure::new)?;
    Ok(Stage { server, session, executor })
}

/// The environment that the agent will want to delete and recreate.
fn environment(rows: u64) -> String {
    format!(
        "SET ROLE app_owner;
         CREATE SCHEMA billing;
         CREATE TYPE billing.service AS ENUM ('compute', 'storage', 'network');
         CREATE TABLE billing.accounts (
             id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE);
         CREATE TABLE billing.costs (
             id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             account int NOT NULL REFERENCES billing.accounts ON DELETE CASCADE,
             day date NOT NULL, service billing.service NOT NULL,
             cents bigint NOT NULL CHECK (cents >= 0));
         CREATE TABLE billing.invoices (
             number text PRIMARY KEY, account int NOT NULL REFERENCES billing.accounts,
             issued date NOT NULL, cents bigint NOT NULL);
         CREATE VIEW billing.monthly AS
             SELECT account, date_trunc('month', day) AS month, sum(cents) AS cents
             FROM billing.costs GROUP BY 1, 2;
         COMMENT ON TABLE billing.costs IS 'one row an account, day and service';
         INSERT INTO billing.accounts (name) SELECT 'account ' || n FROM generate_series(1, 200) n;
         INSERT INTO billing.costs (account, day, service, cents)
             SELECT 1 + n % 200, date '2025-01-01' + (n % 365)::int,
                    (ARRAY['compute', 'storage', 'network'])[1 + n % 3]::billing.service,
                    (n::bigint * 7919) % 100000
             FROM generate_series(1, {rows}) n;
         INSERT INTO billing.invoices
             SELECT 'I' || n, 1 + n % 200, date '2025-02-01', n * 100
             FROM generate_series(1, {invoices}) n;
         CREATE INDEX costs_by_day ON billing.costs (account, day);
         GRANT USAGE ON SCHEMA billing TO countermand_session;
         GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA billing TO countermand_session;
         ANALYZE;",
        invoices = rows / 100,
    )
}

impl Stage {
    /// What the environment holds: a hash of every row of every table, and of its definitions.
    pub(super) async fn content(&self) -> Result<String, Failure> {
        let rows = "SELECT string_agg(what || ' ' || rows, E'\\n' ORDER BY what) FROM (
             SELECT 'accounts' AS what, count(*) || ' '
                 || md5(string_agg(a::text, '|' ORDER BY id)) AS rows FROM billing.accounts a
             UNION ALL SELECT 'costs', count(*) || ' '
                 || md5(string_agg(c::text, '|' ORDER BY id)) FROM billing.costs c
             UNION ALL SELECT 'invoices', count(*) || ' '
                 || md5(string_agg(i::text, '|' ORDER BY number)) FROM billing.invoices i
             UNION ALL SELECT 'monthly', md5(pg_get_viewdef('billing.monthly'))) held";
        let content = self.server.psql_in(DATABASE, rows).await.map_err(Failure::new)?;
        Ok(content.trim().to_owned())
    }

    /// Runs SQL as somebody with every right, beside the gateway.
    pub(super) async fn meanwhile(&self, sql: &str) -> Result<String, Failure> {
        self.server.psql_in(DATABASE, sql).await.map_err(Failure::new)
    }

    /// How many tables the environment has.
    pub(super) async fn tables(&self) -> Result<u64, Failure> {
        let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = 'billing'";
        let count = self.meanwhile(sql).await?;
        count.trim().parse().map_err(Failure::new)
    }
}

/// A secret out of a text; where the text came from is forgotten.
pub(super) fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}
