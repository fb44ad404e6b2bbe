//! Statements that add, remove and guard definitions.

use countermand_core::action::{Action, Object};
use countermand_core::verb::{Verb, postgres as verb};
use pg_query::protobuf::{
    CreateFunctionStmt, CreateTableAsStmt, DefineStmt, DropStmt, GrantRoleStmt, GrantStmt,
    IndexStmt, Node, ObjectType, ReindexObjectType, ReindexStmt, RoleSpec, VacuumStmt,
};
use pg_query::{NodeEnum, NodeRef};

use super::name;
use super::rows::{each, is_on};
use super::survey::Survey;

/// Takes in a node, if it is one of these.
pub(super) fn enter(survey: &mut Survey, node: NodeRef<'_>) -> bool {
    relations(survey, node)
        || removals(survey, node)
        || permissions(survey, node)
        || code(survey, node)
        || others(survey, node)
        || maintenance(survey, node)
}

fn relations(survey: &mut Survey, node: NodeRef<'_>) -> bool {
    match node {
        NodeRef::CreateStmt(s) => {
            survey.act_on(verb::CREATE_TABLE, "table", s.relation.as_ref());
            if s.partbound.is_some() {
                each(survey, verb::ATTACH_PARTITION, &s.inh_relations);
            }
        }
        NodeRef::CreateTableAsStmt(s) => create_as(survey, s),
        // SELECT INTO; what CREATE TABLE AS names is known before its INTO is seen.
        NodeRef::IntoClause(into) => {
            if let Some(relation) = into.rel.as_ref()
                && !survey.is_target(relation)
            {
                survey.act_on(verb::CREATE_TABLE, "table", Some(relation));
            }
        }
        NodeRef::ViewStmt(s) => {
            let verb = if s.replace { verb::REPLACE_VIEW } else { verb::CREATE_VIEW };
            survey.act_on(verb, "view", s.view.as_ref());
        }
        NodeRef::RefreshMatViewStmt(s) => {
            let verb = verb::REFRESH_MATERIALIZED_VIEW;
            survey.act_on(verb, "materialized view", s.relation.as_ref());
        }
        NodeRef::IndexStmt(s) => index(survey, s),
        NodeRef::CreateSeqStmt(s) => {
            survey.act_on(verb::CREATE_SEQUENCE, "sequence", s.sequence.as_ref());
        }
        NodeRef::CreateSchemaStmt(s) => {
            let name = match (&s.authrole, s.schemaname.as_str()) {
                (Some(role), "") => name::role(role),
                (_, name) => name::ident(name),
            };
            survey.act(verb::CREATE_SCHEMA, "schema", &name);
            if s.authrole.is_some() {
                survey.act(verb::CHANGE_OWNER, "schema", name);
            }
        }
        NodeRef::CompositeTypeStmt(s) => {
            survey.act_on(verb::CREATE_TYPE, "type", s.typevar.as_ref());
        }
        NodeRef::CreateEnumStmt(s) => named(survey, verb::CREATE_TYPE, "type", &s.type_name),
        NodeRef::CreateRangeStmt(s) => named(survey, verb::CREATE_TYPE, "type", &s.type_name),
        NodeRef::CreateDomainStmt(s) => named(survey, verb::CREATE_TYPE, "domain", &s.domainname),
        NodeRef::CreateStatsStmt(s) => {
            named(survey, verb::CREATE_STATISTICS, "statistics", &s.defnames);
        }
        NodeRef::CommentStmt(s) => {
            let name = s.object.as_deref().map(name::any).unwrap_or_default();
            survey.act(verb::COMMENT, name::kind(s.objtype()), name);
        }
        _ => return false,
    }
    true
}

fn named(survey: &mut Survey, verb: Verb, kind: &str, name: &[Node]) {
    survey.act(verb, kind, name::qualified(name::strings(name)));
}

fn create_as(survey: &mut Survey, stmt: &CreateTableAsStmt) {
    let (verb, kind) = match stmt.objtype() {
        ObjectType::ObjectMatview => (verb::CREATE_MATERIALIZED_VIEW, "materialized view"),
        _ => (verb::CREATE_TABLE, "table"),
    };
    survey.act_on(verb, kind, stmt.into.as_ref().and_then(|into| into.rel.as_ref()));
}

fn index(survey: &mut Survey, stmt: &IndexStmt) {
    survey.act_on(verb::CREATE_INDEX, "table", stmt.relation.as_ref());
    if stmt.concurrent {
        survey.cannot_run_in_transaction();
    }
}

fn removals(survey: &mut Survey, node: NodeRef<'_>) -> bool {
    match node {
        NodeRef::DropStmt(s) => drop_objects(survey, s),
        NodeRef::DropdbStmt(s) => {
            survey.act(verb::DROP_DATABASE, "database", name::ident(&s.dbname));
            survey.cannot_run_in_transaction();
        }
        NodeRef::DropTableSpaceStmt(s) => {
            survey.act(verb::DROP_TABLESPACE, "tablespace", name::ident(&s.tablespacename));
            survey.cannot_run_in_transaction();
        }
        NodeRef::DropSubscriptionStmt(s) => {
            survey.act(verb::DEFINE_SUBSCRIPTION, "subscription", name::ident(&s.subname));
            survey.cannot_run_in_transaction();
        }
        NodeRef::DropUserMappingStmt(s) => {
            survey.act(verb::DEFINE_FOREIGN, "server", name::ident(&s.servername));
        }
        NodeRef::DropRoleStmt(s) => {
            for role in &s.roles {
                survey.act(verb::DROP_ROLE, "role", name::any(role));
            }
        }
        NodeRef::DropOwnedStmt(s) => {
            for role in &s.roles {
                survey.act(verb::DROP_OWNED, "role", name::any(role));
            }
        }
        _ => return false,
    }
    true
}

fn drop_objects(survey: &mut Survey, stmt: &DropStmt) {
    let kind = stmt.remove_type();
    let verb = match kind {
        ObjectType::ObjectTable => verb::DROP_TABLE,
        ObjectType::ObjectView => verb::DROP_VIEW,
        ObjectType::ObjectMatview => verb::DROP_MATERIALIZED_VIEW,
        ObjectType::ObjectIndex => verb::DROP_INDEX,
        ObjectType::ObjectSequence => verb::DROP_SEQUENCE,
        ObjectType::ObjectSchema => verb::DROP_SCHEMA,
        ObjectType::ObjectType | ObjectType::ObjectDomain => verb::DROP_TYPE,
        ObjectType::ObjectFunction
        | ObjectType::ObjectProcedure
        | ObjectType::ObjectRoutine
        | ObjectType::ObjectAggregate => verb::DROP_FUNCTION,
        ObjectType::ObjectTrigger | ObjectType::ObjectRule | ObjectType::ObjectEventTrigger => {
            verb::DROP_TRIGGER
        }
        ObjectType::ObjectPolicy => verb::ROW_SECURITY,
        ObjectType::ObjectExtension => verb::DROP_EXTENSION,
        ObjectType::ObjectForeignTable => verb::DROP_FOREIGN_TABLE,
        ObjectType::ObjectPublication => verb::DROP_PUBLICATION,
        ObjectType::ObjectForeignServer | ObjectType::ObjectFdw => verb::DEFINE_FOREIGN,
        _ => verb::DROP_OBJECT,
    };
    for object in &stmt.objects {
        survey.act(verb, name::kind(kind), name::any(object));
    }
    if stmt.concurrent {
        survey.cannot_run_in_transaction();
    }
}

fn permissions(survey: &mut Survey, node: NodeRef<'_>) -> bool {
    match node {
        NodeRef::GrantStmt(s) => grant(survey, s),
        NodeRef::GrantRoleStmt(s) => grant_role(survey, s),
        NodeRef::AlterDefaultPrivilegesStmt(_) => survey.act_here(verb::ALTER_DEFAULT_PRIVILEGES),
        NodeRef::CreateRoleStmt(s) => survey.act(verb::CREATE_ROLE, "role", name::ident(&s.role)),
        NodeRef::AlterRoleStmt(s) => role(survey, verb::ALTER_ROLE, s.role.as_ref()),
        NodeRef::AlterRoleSetStmt(s) => role(survey, verb::ALTER_ROLE, s.role.as_ref()),
        NodeRef::ReassignOwnedStmt(s) => {
            for role in &s.roles {
                survey.act(verb::CHANGE_OWNER, "role", name::any(role));
            }
        }
        NodeRef::AlterOwnerStmt(s) => {
            let object = s.object.as_deref().map(name::any).unwrap_or_default();
            match &s.relation {
                Some(var) => {
                    survey.act_on(verb::CHANGE_OWNER, name::kind(s.object_type()), Some(var));
                }
                None => survey.act(verb::CHANGE_OWNER, name::kind(s.object_type()), object),
            }
        }
        NodeRef::CreatePolicyStmt(s) => {
            survey.act_on(verb::ROW_SECURITY, "table", s.table.as_ref());
        }
        NodeRef::AlterPolicyStmt(s) => survey.act_on(verb::ROW_SECURITY, "table", s.table.as_ref()),
        NodeRef::SecLabelStmt(s) => {
            let name = s.object.as_deref().map(name::any).unwrap_or_default();
            survey.act(verb::SECURITY_LABEL, name::kind(s.objtype()), name);
        }
        NodeRef::AlterDatabaseStmt(s) => configure_database(survey, &s.dbname),
        NodeRef::AlterDatabaseSetStmt(s) => configure_database(survey, &s.dbname),
        NodeRef::AlterDatabaseRefreshCollStmt(s) => configure_database(survey, &s.dbname),
        NodeRef::AlterSystemStmt(_) => {
            survey.act_here(verb::CONFIGURE_SERVER);
            survey.cannot_run_in_transaction();
        }
        NodeRef::AlterTableSpaceOptionsStmt(_) => survey.act_here(verb::CONFIGURE_SERVER),
        _ => return false,
    }
    true
}

fn role(survey: &mut Survey, verb: Verb, role: Option<&RoleSpec>) {
    survey.act(verb, "role", role.map_or_else(|| "ALL".to_owned(), name::role));
}

fn configure_database(survey: &mut Survey, database: &str) {
    survey.act(verb::CONFIGURE_DATABASE, "database", name::ident(database));
}

fn grant(survey: &mut Survey, stmt: &GrantStmt) {
    let verb = if stmt.is_grant { verb::GRANT } else { verb::REVOKE };
    if stmt.objects.is_empty() {
        survey.act_here(verb);
    }
    for object in &stmt.objects {
        match &object.node {
            Some(NodeEnum::RangeVar(var)) => {
                survey.act_on(verb, name::kind(stmt.objtype()), Some(var));
            }
            _ => survey.act(verb, name::kind(stmt.objtype()), name::any(object)),
        }
    }
}

fn grant_role(survey: &mut Survey, stmt: &GrantRoleStmt) {
    for granted in &stmt.granted_roles {
        let name = match &granted.node {
            Some(NodeEnum::AccessPriv(role)) => name::ident(&role.priv_name),
            _ => name::any(granted),
        };
        survey.act(verb::GRANT_ROLE, "role", name);
    }
}

fn code(survey: &mut Survey, node: NodeRef<'_>) -> bool {
    match node {
        NodeRef::CreateFunctionStmt(s) => create_function(survey, s),
        NodeRef::AlterFunctionStmt(s) => {
            let name = s.func.as_ref().map(|func| name::strings(&func.objname));
            let name = name::qualified(name.unwrap_or_default());
            survey.act(verb::DEFINE_FUNCTION, "function", &name);
            security_definer(survey, &s.actions, name);
        }
        NodeRef::CreateTrigStmt(s) => {
            survey.act_on(verb::DEFINE_TRIGGER, "table", s.relation.as_ref());
        }
        NodeRef::RuleStmt(s) => survey.act_on(verb::DEFINE_RULE, "table", s.relation.as_ref()),
        NodeRef::CreateEventTrigStmt(s) => {
            survey.act(verb::DEFINE_EVENT_TRIGGER, "event trigger", name::ident(&s.trigname));
        }
        NodeRef::AlterEventTrigStmt(s) => {
            survey.act(verb::DEFINE_EVENT_TRIGGER, "event trigger", name::ident(&s.trigname));
        }
        NodeRef::CreateExtensionStmt(s) => extension(survey, &s.extname),
        NodeRef::AlterExtensionStmt(s) => extension(survey, &s.extname),
        NodeRef::AlterExtensionContentsStmt(s) => extension(survey, &s.extname),
        NodeRef::CreatePublicationStmt(s) => publication(survey, &s.pubname),
        NodeRef::AlterPublicationStmt(s) => publication(survey, &s.pubname),
        NodeRef::LoadStmt(s) => survey.act(verb::LOAD, "library", &s.filename),
        NodeRef::DefineStmt(s) => define(survey, s),
        NodeRef::CreateOpClassStmt(_)
        | NodeRef::CreateOpFamilyStmt(_)
        | NodeRef::AlterOpFamilyStmt(_)
        | NodeRef::AlterOperatorStmt(_)
        | NodeRef::AlterTypeStmt(_)
        | NodeRef::AlterCollationStmt(_)
        | NodeRef::AlterTsdictionaryStmt(_)
        | NodeRef::AlterTsconfigurationStmt(_)
        | NodeRef::AlterObjectDependsStmt(_)
        | NodeRef::CreateAmStmt(_)
        | NodeRef::CreatePlangStmt(_)
        | NodeRef::CreateCastStmt(_)
        | NodeRef::CreateConversionStmt(_)
        | NodeRef::CreateTransformStmt(_) => survey.act_here(verb::DEFINE_OBJECT),
        _ => return false,
    }
    true
}

fn create_function(survey: &mut Survey, stmt: &CreateFunctionStmt) {
    let name = name::qualified(name::strings(&stmt.funcname));
    survey.act(verb::DEFINE_FUNCTION, "function", &name);
    security_definer(survey, &stmt.options, name);
}

fn security_definer(survey: &mut Survey, options: &[Node], function: String) {
    if is_on(options, "security") {
        survey.action(Action::new(verb::SECURITY_DEFINER, Object::new("function", function)));
    }
}

fn define(survey: &mut Survey, stmt: &DefineStmt) {
    let verb = match stmt.kind() {
        ObjectType::ObjectAggregate => verb::DEFINE_FUNCTION,
        _ => verb::DEFINE_OBJECT,
    };
    named(survey, verb, name::kind(stmt.kind()), &stmt.defnames);
}

fn extension(survey: &mut Survey, extension: &str) {
    survey.act(verb::DEFINE_EXTENSION, "extension", name::ident(extension));
}

fn publication(survey: &mut Survey, publication: &str) {
    survey.act(verb::DEFINE_PUBLICATION, "publication", name::ident(publication));
}

/// Other servers and other databases.
fn others(survey: &mut Survey, node: NodeRef<'_>) -> bool {
    let (kind, name) = match node {
        NodeRef::CreateFdwStmt(s) => ("foreign data wrapper", &s.fdwname),
        NodeRef::AlterFdwStmt(s) => ("foreign data wrapper", &s.fdwname),
        NodeRef::CreateForeignServerStmt(s) => ("server", &s.servername),
        NodeRef::AlterForeignServerStmt(s) => ("server", &s.servername),
        NodeRef::CreateForeignTableStmt(s) => ("server", &s.servername),
        NodeRef::CreateUserMappingStmt(s) => ("server", &s.servername),
        NodeRef::AlterUserMappingStmt(s) => ("server", &s.servername),
        NodeRef::ImportForeignSchemaStmt(s) => ("server", &s.server_name),
        NodeRef::CreateSubscriptionStmt(s) => ("subscription", &s.subname),
        NodeRef::AlterSubscriptionStmt(s) => ("subscription", &s.subname),
        NodeRef::CreatedbStmt(s) => ("database", &s.dbname),
        NodeRef::CreateTableSpaceStmt(s) => ("tablespace", &s.tablespacename),
        _ => return false,
    };
    let verb = match kind {
        "subscription" => verb::DEFINE_SUBSCRIPTION,
        "database" => verb::CREATE_DATABASE,
        "tablespace" => verb::DEFINE_OBJECT,
        _ => verb::DEFINE_FOREIGN,
    };
    survey.act(verb, kind, name::ident(name));
    if ["subscription", "database", "tablespace"].contains(&kind) {
        survey.cannot_run_in_transaction();
    }
    true
}

fn maintenance(survey: &mut Survey, node: NodeRef<'_>) -> bool {
    match node {
        NodeRef::VacuumStmt(s) => vacuum(survey, s),
        NodeRef::ReindexStmt(s) => reindex(survey, s),
        NodeRef::ClusterStmt(s) => {
            survey.act_on(verb::REWRITE_TABLE, "table", s.relation.as_ref());
            if s.relation.is_none() {
                survey.cannot_run_in_transaction();
            }
        }
        NodeRef::CheckPointStmt(_) => survey.act_here(verb::CHECKPOINT),
        _ => return false,
    }
    true
}

fn vacuum(survey: &mut Survey, stmt: &VacuumStmt) {
    let verb = match (stmt.is_vacuumcmd, is_on(&stmt.options, "full")) {
        (true, true) => verb::REWRITE_TABLE,
        (true, false) => verb::VACUUM,
        (false, _) => verb::ANALYZE,
    };
    if stmt.rels.is_empty() {
        survey.act_here(verb);
    }
    for table in &stmt.rels {
        match &table.node {
            Some(NodeEnum::VacuumRelation(table)) => {
                survey.act_on(verb, "table", table.relation.as_ref());
            }
            _ => survey.not_understood("a relation has an unknown form"),
        }
    }
    if stmt.is_vacuumcmd {
        survey.cannot_run_in_transaction();
    }
}

fn reindex(survey: &mut Survey, stmt: &ReindexStmt) {
    let kind = match stmt.kind() {
        ReindexObjectType::ReindexObjectIndex => "index",
        ReindexObjectType::ReindexObjectTable => "table",
        ReindexObjectType::ReindexObjectSchema => "schema",
        _ => "database",
    };
    match &stmt.relation {
        Some(relation) => survey.act_on(verb::REINDEX, kind, Some(relation)),
        None => survey.act(verb::REINDEX, kind, name::ident(&stmt.name)),
    }
    if stmt.relation.is_none() || is_on(&stmt.params, "concurrently") {
        survey.cannot_run_in_transaction();
    }
}
