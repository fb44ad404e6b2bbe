//! The SQL that makes a target's two roles, and the SQL that removes them again.
//!
//! Roles bear a mark, a comment: what was not made here is neither changed nor dropped, whatever
//! the configuration calls its roles. Run twice, either text changes nothing the second time.

use crate::show::escape;
use countermand_doors::postgres::quoting::{literal, quoted};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The comment on roles that were made here.
const MARK: &str = "made for Countermand";

/// Both roles of a target, and what they are given.
#[derive(Debug)]
pub(crate) struct Roles<'a> {
    /// The database.
    pub(crate) database: &'a str,
    /// What agents' statements run as.
    pub(crate) session: Role<'a>,
    /// What the engine alone uses.
    pub(crate) executor: Role<'a>,
    /// Schemas with the owners of what is in them; none where nobody was asked.
    pub(crate) schemas: Option<BTreeMap<String, Vec<Owner>>>,
    /// There is no superuser to run it.
    pub(crate) managed: bool,
}

/// One of the two.
#[derive(Debug)]
pub(crate) struct Role<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its password as a SCRAM verifier; none where that cannot be read.
    pub(crate) verifier: Option<String>,
}

/// Who owns something in a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The role.
    pub(crate) name: String,
    /// To be a member of it is to be a superuser.
    pub(crate) superuser: bool,
}

impl Roles<'_> {
    /// What makes both.
    pub(crate) fn make(&self) -> String {
        let mut sql = String::new();
        let who = match self.managed {
            true => {
                "-- As the provider's administrator (CREATEROLE), who may hand on each owner below.\n"
            }
            false => "-- As a superuser.\n",
        };
        let database = escape::line(self.database);
        let _ = write!(
            sql,
            "-- Countermand's two roles in `{database}`. Run again, it changes nothing.\n{who}\
             BEGIN;\nSET LOCAL standard_conforming_strings = on;\nSET LOCAL search_path = pg_catalog;\n"
        );
        sql.push_str("\n-- What agents' statements run as: owner of nothing.\n");
        self.role(&mut sql, &self.session, "NOBYPASSRLS");
        sql.push_str("\n-- What the engine alone uses, for what was approved.\n");
        // Of tables whose row security is forced it must see every row, to keep every row.
        self.role(&mut sql, &self.executor, "BYPASSRLS");
        let (session, executor) = (quoted(self.session.name), quoted(self.executor.name));
        let database = quoted(self.database);
        let _ = write!(
            sql,
            "GRANT {session} TO {executor};\n\
             GRANT CONNECT ON DATABASE {database} TO {session}, {executor};\n"
        );
        self.grants(&mut sql);
        sql.push_str("COMMIT;\n");
        sql
    }

    fn role(&self, sql: &mut String, role: &Role<'_>, row_security: &str) {
        let (name, text) = (quoted(role.name), literal(role.name));
        let tag = tag(role.name);
        let _ = write!(
            sql,
            "DO {tag}\nBEGIN\n  \
               IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {text}) THEN\n    \
                 CREATE ROLE {name};\n    COMMENT ON ROLE {name} IS '{MARK}';\n  \
               ELSIF {marked} IS DISTINCT FROM '{MARK}' THEN\n    \
                 RAISE EXCEPTION 'role % was not made for Countermand', {text}\n      \
                 USING HINT = 'Name another role in countermand.toml; or, if it is for nothing else: \
                               COMMENT ON ROLE … IS ''{MARK}''';\n  \
               END IF;\nEND\n{tag};\n",
            marked = marked(role.name),
        );
        match self.managed {
            // Whoever is no superuser may not even say NOSUPERUSER; a new role is none.
            true => {
                let _ = writeln!(sql, "ALTER ROLE {name} LOGIN NOCREATEDB NOCREATEROLE;");
            }
            false => {
                let _ = writeln!(
                    sql,
                    "ALTER ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION \
                     {row_security};"
                );
            }
        }
        match &role.verifier {
            // A verifier: it proves who knows the password, and is not the password.
            Some(verifier) => {
                let _ = writeln!(sql, "ALTER ROLE {name} PASSWORD {};", literal(verifier));
            }
            None => {
                let _ =
                    writeln!(sql, "-- Its password, in psql: \\password {}", escape::line(&name));
            }
        }
    }

    fn grants(&self, sql: &mut String) {
        let Some(schemas) = &self.schemas else {
            sql.push_str(
                "\n-- For every schema that agents may work in, with the role that owns its tables; \
                 fill in `<owner>`:\n",
            );
            return self.schema(sql, "public", "<owner>");
        };
        for (schema, owners) in schemas {
            let _ = writeln!(sql, "\n-- Schema {}.", escape::line(&quoted(schema)));
            for owner in owners {
                match owner.superuser {
                    true => self.superuser(sql, schema, &owner.name),
                    false => self.schema(sql, schema, &quoted(&owner.name)),
                }
            }
        }
    }

    fn schema(&self, sql: &mut String, schema: &str, owner: &str) {
        let schema = quoted(schema);
        let (session, executor) = (quoted(self.session.name), quoted(self.executor.name));
        if self.managed {
            let owner = escape::line(owner);
            let _ = write!(
                sql,
                "-- Refused by PostgreSQL 16 and newer if you run this as {owner} itself: no role hands \
                 itself on.\n-- Then give its tables to a role of their own first: CREATE ROLE \
                 app_owner; GRANT app_owner TO {owner};\n-- REASSIGN OWNED BY {owner} TO \
                 app_owner;\n"
            );
        }
        let _ = write!(
            sql,
            "GRANT {owner} TO {executor};\n\
             GRANT USAGE ON SCHEMA {schema} TO {session};\n\
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {session};\n\
             GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {session};\n\
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}\n  \
               GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {session};\n\
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}\n  \
               GRANT USAGE, SELECT ON SEQUENCES TO {session};\n"
        );
    }

    /// Whoever is a member of a superuser is one: nothing is granted.
    fn superuser(&self, sql: &mut String, schema: &str, owner: &str) {
        let (schema, owner) = (escape::line(&quoted(schema)), escape::line(&quoted(owner)));
        let _ = write!(
            sql,
            "-- NOTHING GRANTED for what the superuser {owner} owns in {schema}: the executor would be a \
             superuser too.\n-- Give it to a role of its own, then print this again: CREATE ROLE \
             app_owner; ALTER TABLE … OWNER TO app_owner;\n"
        );
    }

    /// What removes both, and leaves nothing of them.
    pub(crate) fn remove(&self) -> String {
        let mut sql = format!(
            "-- Removes Countermand's two roles from `{}`, and what they were given there. Stop the \
             gateway first.\n-- A role that was given something in another database stays until \
             this has run there too.\nBEGIN;\nSET LOCAL standard_conforming_strings = on;\n\
             SET LOCAL search_path = pg_catalog;\n",
            escape::line(self.database)
        );
        for role in [&self.executor, &self.session] {
            self.removal(&mut sql, role);
        }
        sql.push_str("COMMIT;\n");
        sql
    }

    fn removal(&self, sql: &mut String, role: &Role<'_>) {
        let (name, text) = (quoted(role.name), literal(role.name));
        let tag = tag(role.name);
        let _ = write!(
            sql,
            "\nDO {tag}\nDECLARE\n  held record;\nBEGIN\n  \
               IF {marked} IS NOT DISTINCT FROM '{MARK}' THEN\n    \
                 -- What it belongs to no longer stands between you and it.\n    \
                 FOR held IN SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid\n      \
                   JOIN pg_roles me ON me.oid = m.member WHERE me.rolname = {text}\n    \
                 LOOP\n      EXECUTE format('REVOKE %I FROM %I', held.rolname, {text});\n    END LOOP;\n    \
                 IF NOT pg_has_role(current_user, {text}, 'USAGE') THEN\n      \
                   GRANT {name} TO CURRENT_USER;\n    END IF;\n    \
                 -- Tables that approved changes made stay, and become yours.\n    \
                 REASSIGN OWNED BY {name} TO CURRENT_USER;\n    \
                 DROP OWNED BY {name};\n    \
                 -- What it has in other databases goes where this is run there too.\n    \
                 BEGIN\n      DROP ROLE {name};\n    \
                 EXCEPTION WHEN dependent_objects_still_exist THEN\n      \
                   RAISE NOTICE 'role % is still used in another database, and stays until this has run there too', {text};\n    \
                 END;\n  \
               ELSIF EXISTS (SELECT FROM pg_roles WHERE rolname = {text}) THEN\n    \
                 RAISE NOTICE 'role % was not made for Countermand and stays', {text};\n  \
               END IF;\nEND\n{tag};\n",
            marked = marked(role.name),
        );
    }

    /// Whether nothing is left to be filled in.
    pub(crate) fn is_complete(&self) -> bool {
        let owners = self.schemas.iter().flatten().flat_map(|(_, owners)| owners);
        let passwords = self.session.verifier.is_some() && self.executor.verifier.is_some();
        self.schemas.is_some() && passwords && !owners.into_iter().any(|owner| owner.superuser)
    }
}

/// The comment on a role, as an expression.
fn marked(role: &str) -> String {
    let role = literal(role);
    format!("(SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = {role})")
}

/// A dollar quote that the name does not end.
fn tag(name: &str) -> String {
    let tags = (0..).map(|n| format!("$countermand{n}$"));
    tags.into_iter().find(|tag| !name.contains(tag.as_str())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles<'a>(session: &'a str, verifier: Option<String>) -> Roles<'a> {
        Roles {
            database: "sh\"op",
            session: Role { name: session, verifier: verifier.clone() },
            executor: Role { name: "executor", verifier },
            schemas: None,
            managed: false,
        }
    }

    #[test]
    fn no_name_ends_its_quotes() {
        let hostile = "a\"; DROP TABLE b; --$countermand0$'\n\u{1b}";
        let mut roles = roles(hostile, None);
        let owner = Owner { name: hostile.to_owned(), superuser: true };
        roles.schemas = Some([(hostile.to_owned(), vec![owner])].into());
        for sql in [roles.make(), roles.remove()] {
            let read = pg_statements(&sql);
            assert!(read.iter().all(|kind| kind != "drop" && kind != "error"), "{sql}\n{read:?}");
        }
    }

    /// What kind of statement each is, as PostgreSQL's own parser reads it.
    fn pg_statements(sql: &str) -> Vec<String> {
        use countermand_doors::postgres::interpret::{Settings, interpret};
        let read = interpret(sql, Settings::default());
        let mut kinds: Vec<String> = read
            .statements
            .iter()
            .map(|statement| {
                let drops = statement.sql.trim_start().to_lowercase().starts_with("drop");
                if drops { "drop".to_owned() } else { "other".to_owned() }
            })
            .collect();
        kinds.extend(read.syntax_error.map(|_| "error".to_owned()));
        kinds
    }

    #[test]
    fn what_must_be_filled_in_does_not_run_by_mistake() {
        let sql = roles("session", None).make();
        assert!(pg_statements(&sql).contains(&"error".to_owned()), "{sql}");
        assert!(sql.contains("\\password \"session\""), "{sql}");
    }

    #[test]
    fn nobody_is_made_a_superuser() {
        let mut roles = roles("session", Some("SCRAM-SHA-256$x".to_owned()));
        let owner = Owner { name: "postgres".to_owned(), superuser: true };
        roles.schemas = Some([("public".to_owned(), vec![owner])].into());
        let sql = roles.make();
        assert!(!sql.contains("\nGRANT \"postgres\""), "{sql}");
        assert!(!roles.is_complete());
    }
}
