//! Targets: reachable, with roles that can do what they must and nothing more.

use super::upstream::{self, Server};
use super::{Findings, Verdict};
use crate::at_door::simple;
use crate::config::{Config, PostgresConfig};
use countermand_core::name::TargetName;
use countermand_doors::postgres::quoting::literal;
use countermand_doors::postgres::scratch::Tools;
use countermand_doors::postgres::target::connection::{Connection, Login};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a role that agents' statements run as must not be, one row each.
const SESSION_ROLE: &str = "
SELECT pg_catalog.concat('is a superuser') FROM pg_catalog.pg_roles
 WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER AND rolsuper
UNION ALL
SELECT pg_catalog.concat('may ', what) FROM pg_catalog.pg_roles,
 LATERAL (VALUES ('create roles', rolcreaterole), ('create databases', rolcreatedb),
  ('replicate', rolreplication), ('bypass row security', rolbypassrls)) AS may (what, so)
 WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER AND so AND NOT rolsuper
UNION ALL
SELECT pg_catalog.concat('is a member of ', rolname) FROM pg_catalog.pg_roles
 WHERE rolname OPERATOR(pg_catalog.=) ANY (ARRAY['pg_execute_server_program',
   'pg_read_server_files', 'pg_write_server_files', 'pg_signal_backend', 'pg_maintain',
   'pg_checkpoint', 'pg_create_subscription', 'pg_use_reserved_connections']::pg_catalog.name[])
  AND pg_catalog.pg_has_role(CURRENT_USER, oid, 'MEMBER')
  AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles r
            WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER)
UNION ALL
(SELECT pg_catalog.concat('owns, or belongs to the owner of, ', c.oid::pg_catalog.regclass)
  FROM pg_catalog.pg_class c
 WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'S', 'f']::pg_catalog.\"char\"[])
  AND pg_catalog.pg_has_role(CURRENT_USER, c.relowner, 'MEMBER')
  AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles r
            WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER)
 LIMIT 3)";

/// Tables whose rows agents may change and not lock or read before that, one row each.
const UNKEPT: &str = "
SELECT pg_catalog.concat(c.oid::pg_catalog.regclass)
  FROM pg_catalog.pg_class c
 WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::pg_catalog.\"char\"[])
  AND (pg_catalog.has_table_privilege(c.oid, 'DELETE')
    OR pg_catalog.has_any_column_privilege(c.oid, 'UPDATE'))
  AND NOT (pg_catalog.has_table_privilege(c.oid, 'SELECT')
    AND pg_catalog.has_any_column_privilege(c.oid, 'UPDATE'))
 ORDER BY 1 LIMIT 3";

/// What the executor cannot do that it must, one row each: who owns what it is to change, and
/// whether conditions can be counted with the session role's rights.
const EXECUTOR_ROLE: &str = "
(SELECT pg_catalog.concat('cannot change or bring back ', c.oid::pg_catalog.regclass, ': GRANT ',
   pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)), ' TO ', CURRENT_USER)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'S']::pg_catalog.\"char\"[])
  AND n.nspname OPERATOR(pg_catalog.!~) '^pg_'
  AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
  AND NOT pg_catalog.pg_has_role(CURRENT_USER, c.relowner, 'USAGE')
 ORDER BY c.oid LIMIT 3)
UNION ALL
SELECT pg_catalog.concat('does not belong to ', rolname, ', so that any row counts as meant where a \
condition cannot be counted: GRANT ', pg_catalog.quote_ident(rolname), ' TO ', CURRENT_USER)
  FROM pg_catalog.pg_roles
 WHERE rolname OPERATOR(pg_catalog.=) $SESSION
  AND NOT pg_catalog.pg_has_role(CURRENT_USER, oid, 'MEMBER')
UNION ALL
SELECT 'is a superuser: what it runs meets no wall at all; take that away'
  FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER AND rolsuper";

/// Where the server keeps its data, where this role may know.
const DATA_DIRECTORY: &str = "
SELECT setting FROM pg_catalog.pg_settings
 WHERE name OPERATOR(pg_catalog.=) 'data_directory'";

/// Looks at every target. `observed`: those in which nothing is held now.
pub(super) fn examine(found: &mut Findings, config: &Config, observed: &BTreeSet<TargetName>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return found.add(Verdict::Bad, "targets", error.to_string()),
    };
    for shared in config.shared_roles() {
        let verdict = if shared.is_bad { Verdict::Bad } else { Verdict::Warning };
        found.add(verdict, "roles", shared.words);
    }
    let tools = dump_version(found);
    let mut servers = BTreeMap::new();
    for (name, target) in &config.targets {
        runtime.block_on(async {
            let may_own = target.observed_as_owner && observed.contains(name);
            session(found, name, target, may_own).await;
            let server = executor(found, config, name, target, tools).await;
            servers.extend(server.map(|server| (name.clone(), server)));
        });
    }
    upstream::twins(found, config, &servers);
}

async fn session(found: &mut Findings, name: &TargetName, target: &PostgresConfig, may_own: bool) {
    let what = format!("{name} session");
    let Some(mut connection) = open(found, &what, target, &target.session).await else { return };
    match simple(&mut connection, SESSION_ROLE).await {
        Err(error) => found.add(Verdict::Bad, &what, error.why),
        Ok(said) if said.values.is_empty() => {
            found.add(Verdict::Good, &what, format!("`{}` owns nothing", target.session.user));
        }
        Ok(said) => {
            for value in said.values.into_iter().flatten() {
                let user = &target.session.user;
                let (verdict, remedy) = match may_own && value.starts_with("owns") {
                    true => (
                        Verdict::Warning,
                        "it may while the target is observed; after that \
                        sessions are refused",
                    ),
                    false => (Verdict::Bad, "take that away"),
                };
                let words = format!("`{user}` {value}: agents' statements run as it; {remedy}");
                found.add(verdict, &what, words);
            }
        }
    }
    // An error has been told above, if the server has one for everything.
    let Ok(said) = simple(&mut connection, UNKEPT).await else { return };
    for table in said.values.into_iter().flatten() {
        let user = &target.session.user;
        let words = format!(
            "`{user}` may delete or update rows of {table}, and not read and lock them before: \
             every such write is held or fails; GRANT SELECT, UPDATE ON {table} TO {user}, or \
             take DELETE away"
        );
        found.add(Verdict::Warning, &what, words);
    }
}

async fn executor(
    found: &mut Findings,
    config: &Config,
    name: &TargetName,
    target: &PostgresConfig,
    tools: Option<u32>,
) -> Option<Server> {
    let what = format!("{name} executor");
    let mut connection = open(found, &what, target, &target.executor).await?;
    let version = connection.greeting().parameter("server_version").and_then(major);
    match (version, tools) {
        (Some(server), Some(tools)) if tools < server => {
            let words = format!(
                "the server is version {server} and pg_dump {tools}: install pg_dump {server} or \
                 newer, or name its directory in COUNTERMAND_PG_BIN"
            );
            found.add(Verdict::Bad, &what, words);
        }
        _ => {
            let version = version.map_or_else(|| "?".to_owned(), |version| version.to_string());
            found.add(Verdict::Good, &what, format!("reached; PostgreSQL {version}"));
        }
    }
    let question = EXECUTOR_ROLE.replace("$SESSION", &literal(&target.session.user));
    match simple(&mut connection, &question).await {
        Err(error) => found.add(Verdict::Bad, &what, error.why),
        Ok(said) => {
            for value in said.values.into_iter().flatten() {
                let words = format!("`{}` {value}", target.executor.user);
                found.add(Verdict::Warning, &what, words);
            }
        }
    }
    if let Ok(said) = simple(&mut connection, DATA_DIRECTORY).await
        && let Some(data) = said.values.into_iter().flatten().next()
    {
        outside(found, config, name, Path::new(&data));
    }
    upstream::ask(found, name, &mut connection).await
}

/// Restore points must outlive the server's own disk.
fn outside(found: &mut Findings, config: &Config, name: &TargetName, data: &Path) {
    let points = &config.installation.restore_points;
    let inside = points.canonicalize().is_ok_and(|points| points.starts_with(data));
    if inside {
        let words = format!(
            "restore points lie in the data directory of `{name}`: they would go with it; move them"
        );
        found.add(Verdict::Bad, "restore points", words);
    }
}

async fn open(
    found: &mut Findings,
    what: &str,
    target: &PostgresConfig,
    login: &Login,
) -> Option<Connection> {
    let called = [("application_name".to_owned(), upstream::CALLED.to_owned())];
    match Connection::open(&target.address, login, &called).await {
        Ok(connection) => Some(connection),
        Err(error) => {
            found.add(Verdict::Bad, what, format!("{}: {error}", target.address));
            None
        }
    }
}

/// The version of pg_dump, which makes restore points.
fn dump_version(found: &mut Findings) -> Option<u32> {
    let tools = found.check("pg_dump", Tools::find(), |tools| {
        format!("found in {}", tools.directory().display())
    })?;
    let output = std::process::Command::new(tools.program("pg_dump")).arg("--version").output();
    let words = String::from_utf8(output.ok()?.stdout).ok()?;
    words.split_whitespace().find_map(major)
}

fn major(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
