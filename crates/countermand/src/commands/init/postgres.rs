//! `init postgres`: the SQL that makes a target's two roles, for a human to read and run.

use crate::at_door::simple;
use crate::cli::{Global, InitPostgres};
use crate::commands::json;
use crate::config::{self, Config, PostgresConfig};
use crate::exit::{Exit, Failure};
use crate::roles::{Owner, Role, Roles};
use crate::show::Page;
use countermand_doors::postgres::target::connection::{Connection, Login};
use countermand_doors::secret::SecretRef;
use postgres_protocol::password::scram_sha_256;
use secrecy::ExposeSecret as _;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

/// Schemas that are not the server's own nor an extension's, with the owners of what is in them.
const OWNERS: &str = "
SELECT DISTINCT pg_catalog.json_build_array(n.nspname, r.rolname, r.rolsuper)::pg_catalog.text
  FROM pg_catalog.pg_namespace n
  JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid
  JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) c.relowner
 WHERE n.nspname OPERATOR(pg_catalog.!~) '^pg_'
   AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
   AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'S', 'f']::pg_catalog.\"char\"[])
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
     WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
       AND d.objid OPERATOR(pg_catalog.=) c.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')";

/// Runs `init postgres`.
pub(super) fn run(global: &Global, arguments: &InitPostgres) -> Result<Exit, Failure> {
    let config = Config::load(&config::find(global.config.as_deref()))?;
    let target = target(&config, arguments)?;
    if arguments.make_secrets {
        for login in [&target.session, &target.executor] {
            make_secret(&login.secret)?;
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let roles = runtime.block_on(async {
        let schemas = match &arguments.ask {
            Some(role) => Some(ask(target, role, arguments).await?),
            None => None,
        };
        Ok::<_, Failure>(Roles {
            database: &target.address.database,
            session: role(&target.session).await,
            executor: role(&target.executor).await,
            schemas,
            managed: arguments.managed,
        })
    })?;
    let sql = if arguments.uninstall { roles.remove() } else { roles.make() };
    let complete = arguments.uninstall || roles.is_complete();
    if global.json {
        json(&serde_json::json!({ "sql": sql, "complete": complete }));
        return Ok(Exit::Done);
    }
    let _ = std::io::stdout().write_all(sql.as_bytes());
    if !complete {
        let mut page = Page::stderr();
        page.words(
            "Something is left to fill in: owners (--ask ROLE finds them), or passwords (put them \
             where the configuration says, or --make-secrets).",
        );
        page.eprint();
    }
    Ok(Exit::Done)
}

fn target<'a>(config: &'a Config, arguments: &InitPostgres) -> Result<&'a PostgresConfig, Failure> {
    let known = || {
        let names: Vec<String> = config.targets.keys().map(ToString::to_string).collect();
        names.join(", ")
    };
    match (&arguments.target, config.targets.len()) {
        (Some(name), _) => config.targets.get(name).ok_or_else(|| {
            Failure::usage(format!("there is no target `{name}`: name one of {}", known()))
        }),
        (None, 1) => Ok(config.targets.values().next().expect("there is one")),
        (None, _) => Err(Failure::usage(format!("name the target: one of {}", known()))),
    }
}

/// A role with its password as a verifier, where the password can be read now.
async fn role(login: &Login) -> Role<'_> {
    let secret = login.secret.read().await.ok();
    let verifier = secret.map(|secret| scram_sha_256(secret.expose_secret().as_bytes()));
    Role { name: &login.user, verifier }
}

/// Makes a password where its file is not there yet; overwrites none.
fn make_secret(secret: &SecretRef) -> Result<(), Failure> {
    let SecretRef::File(path) = secret else { return Ok(()) };
    let failed =
        |error: std::io::Error| Failure::new(format!("cannot make `{}`: {error}", path.display()));
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(failed)?,
    };
    let password = zeroize::Zeroizing::new(
        rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
    );
    file.write_all(password.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

async fn ask(
    target: &PostgresConfig,
    role: &str,
    arguments: &InitPostgres,
) -> Result<BTreeMap<String, Vec<Owner>>, Failure> {
    let secret = match &arguments.password_file {
        Some(file) => SecretRef::File(file.clone()),
        None => SecretRef::Env("PGPASSWORD".to_owned()),
    };
    let login = Login { user: role.to_owned(), secret };
    let opened = Connection::open(&target.address, &login, &[]).await;
    let mut connection = opened.map_err(|error| {
        Failure::unreachable(format!("{} as `{role}`: {error}", target.address))
    })?;
    let mut schemas: BTreeMap<String, Vec<Owner>> = BTreeMap::new();
    for row in simple(&mut connection, OWNERS).await?.values.into_iter().flatten() {
        let (schema, name, superuser): (String, String, bool) =
            serde_json::from_str(&row).map_err(Failure::new)?;
        // What Countermand's own roles own is theirs already.
        if name != target.session.user && name != target.executor.user {
            schemas.entry(schema).or_default().push(Owner { name, superuser });
        }
    }
    Ok(schemas)
}
