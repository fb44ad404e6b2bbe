//! Statements that change definitions: ALTER, RENAME, SET SCHEMA.

use countermand_core::verb::{Verb, postgres as verb};
use pg_query::protobuf::{
    AlterDomainStmt, AlterEnumStmt, AlterTableCmd, AlterTableStmt, AlterTableType, Node,
    ObjectType, RangeVar,
};
use pg_query::{NodeEnum, NodeRef};

use super::name;
use super::survey::Survey;

/// Takes in a node, if it is one of these.
pub(super) fn enter(survey: &mut Survey, node: NodeRef<'_>) -> bool {
    match node {
        NodeRef::AlterTableStmt(s) => table(survey, s),
        NodeRef::AlterTableMoveAllStmt(s) => {
            survey.act(verb::REWRITE_TABLE, "tablespace", name::ident(&s.orig_tablespacename));
        }
        NodeRef::RenameStmt(s) => {
            let (relation, object) = (s.relation.as_ref(), s.object.as_deref());
            let kind = match relation {
                Some(_) if s.rename_type() == ObjectType::ObjectColumn => {
                    name::kind(s.relation_type())
                }
                _ => name::kind(s.rename_type()),
            };
            match (relation, object) {
                (None, None) => survey.act(verb::RENAME, kind, name::ident(&s.subname)),
                _ => moved(survey, verb::RENAME, kind, relation, object),
            }
        }
        NodeRef::AlterObjectSchemaStmt(s) => {
            let kind = name::kind(s.object_type());
            let (relation, object) = (s.relation.as_ref(), s.object.as_deref());
            moved(survey, verb::MOVE_TO_SCHEMA, kind, relation, object);
        }
        NodeRef::AlterSeqStmt(s) => {
            survey.act_on(verb::ALTER_SEQUENCE, "sequence", s.sequence.as_ref());
        }
        NodeRef::AlterEnumStmt(s) => enumeration(survey, s),
        NodeRef::AlterDomainStmt(s) => domain(survey, s),
        NodeRef::AlterStatsStmt(s) => {
            let name = name::qualified(name::strings(&s.defnames));
            survey.act(verb::ALTER_OPTIONS, "statistics", name);
        }
        _ => return false,
    }
    true
}

fn moved(
    survey: &mut Survey,
    verb: Verb,
    kind: &str,
    relation: Option<&RangeVar>,
    object: Option<&Node>,
) {
    match (relation, object) {
        (Some(relation), _) => survey.act_on(verb, kind, Some(relation)),
        (None, object) => survey.act(verb, kind, object.map(name::any).unwrap_or_default()),
    }
}

fn enumeration(survey: &mut Survey, stmt: &AlterEnumStmt) {
    let verb = if stmt.old_val.is_empty() { verb::ADD_ENUM_VALUE } else { verb::RENAME };
    survey.act(verb, "type", name::qualified(name::strings(&stmt.type_name)));
}

/// The letters are the grammar's.
fn domain(survey: &mut Survey, stmt: &AlterDomainStmt) {
    let verb = match stmt.subtype.as_str() {
        "T" => verb::ALTER_COLUMN,
        "N" => verb::DROP_COLUMN_PROPERTY,
        "O" | "C" | "V" => verb::ADD_CONSTRAINT,
        "X" => verb::DROP_CONSTRAINT,
        _ => verb::NOT_UNDERSTOOD,
    };
    survey.act(verb, "domain", name::qualified(name::strings(&stmt.type_name)));
}

fn table(survey: &mut Survey, stmt: &AlterTableStmt) {
    let kind = name::kind(stmt.objtype());
    for node in &stmt.cmds {
        let Some(NodeEnum::AlterTableCmd(command)) = &node.node else {
            survey.not_understood("ALTER TABLE has an unknown form");
            continue;
        };
        let verb = match (command_verb(command), stmt.objtype()) {
            // The options of a view say with whose rights it reads.
            (verb, ObjectType::ObjectView) if verb == verb::ALTER_OPTIONS => verb::SECURITY_DEFINER,
            (verb, _) => verb,
        };
        survey.act_on(verb, kind, stmt.relation.as_ref());
        if verb == verb::NOT_UNDERSTOOD {
            let command = command.subtype().as_str_name();
            survey.because(format!("`{command}` of ALTER TABLE is not on the list"));
        }
        if [verb::ATTACH_PARTITION, verb::DETACH_PARTITION].contains(&verb) {
            partition(survey, verb, command);
        }
    }
}

fn partition(survey: &mut Survey, verb: Verb, command: &AlterTableCmd) {
    match command.def.as_deref().and_then(|def| def.node.as_ref()) {
        Some(NodeEnum::PartitionCmd(partition)) => {
            survey.act_on(verb, "table", partition.name.as_ref());
            if partition.concurrent {
                survey.cannot_run_in_transaction();
            }
        }
        Some(NodeEnum::RangeVar(parent)) => survey.act_on(verb, "table", Some(parent)),
        _ => {}
    }
}

fn command_verb(command: &AlterTableCmd) -> Verb {
    use AlterTableType as T;
    match command.subtype() {
        T::AtAddColumn | T::AtAddColumnToView => verb::ADD_COLUMN,
        T::AtColumnDefault
        | T::AtSetNotNull
        | T::AtSetStatistics
        | T::AtSetOptions
        | T::AtResetOptions
        | T::AtSetStorage
        | T::AtSetCompression
        | T::AtAddIdentity
        | T::AtSetIdentity => verb::ALTER_COLUMN,
        T::AtDropNotNull | T::AtDropExpression | T::AtDropIdentity => verb::DROP_COLUMN_PROPERTY,
        T::AtDropColumn => verb::DROP_COLUMN,
        T::AtAlterColumnType | T::AtSetExpression => verb::ALTER_COLUMN_TYPE,
        T::AtAddConstraint | T::AtAddIndex | T::AtAddIndexConstraint | T::AtValidateConstraint => {
            verb::ADD_CONSTRAINT
        }
        T::AtDropConstraint | T::AtAlterConstraint => verb::DROP_CONSTRAINT,
        T::AtAttachPartition | T::AtAddInherit => verb::ATTACH_PARTITION,
        T::AtDetachPartition | T::AtDetachPartitionFinalize | T::AtDropInherit => {
            verb::DETACH_PARTITION
        }
        T::AtSetRelOptions | T::AtResetRelOptions | T::AtClusterOn | T::AtDropCluster => {
            verb::ALTER_OPTIONS
        }
        T::AtSetLogged | T::AtSetUnLogged | T::AtSetAccessMethod | T::AtSetTableSpace => {
            verb::REWRITE_TABLE
        }
        T::AtEnableTrig
        | T::AtEnableAlwaysTrig
        | T::AtEnableReplicaTrig
        | T::AtDisableTrig
        | T::AtEnableTrigAll
        | T::AtDisableTrigAll
        | T::AtEnableTrigUser
        | T::AtDisableTrigUser
        | T::AtEnableRule
        | T::AtEnableAlwaysRule
        | T::AtEnableReplicaRule
        | T::AtDisableRule => verb::SWITCH_TRIGGER,
        T::AtChangeOwner => verb::CHANGE_OWNER,
        T::AtEnableRowSecurity
        | T::AtDisableRowSecurity
        | T::AtForceRowSecurity
        | T::AtNoForceRowSecurity => verb::ROW_SECURITY,
        T::AtGenericOptions | T::AtAlterColumnGenericOptions => verb::DEFINE_FOREIGN,
        _ => verb::NOT_UNDERSTOOD,
    }
}
