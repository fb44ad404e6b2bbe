//! Functions and operators: which are harmless, and what the others do.
//!
//! An allow-list: `functions.txt` for reads, [`KNOWN`] for functions with a meaning of their own.
//! What stands in neither is code somebody wrote, and opaque.

use std::collections::HashSet;
use std::sync::OnceLock;

use countermand_core::verb::{Verb, postgres as verb};

/// What calling a function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Reads, computes.
    Harmless,
    /// Sets a setting of the session, as SET does.
    SetConfig,
    /// Something else that is known.
    Known(Known),
    /// Code that is not known.
    Unknown,
}

/// A function that is known not to be harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// What it does.
    pub(super) verb: Verb,
    /// Whether a rollback leaves what it did.
    pub(super) lasting: bool,
}

/// What calling the function of this name does; the name as the text qualifies it.
pub(super) fn call(name: &[&str]) -> Call {
    match name {
        [plain] | ["pg_catalog", plain] => built_in(plain),
        ["information_schema", plain] if INFORMATION_SCHEMA.contains(plain) => Call::Harmless,
        [.., plain] if connects_out(plain) => Call::Known(CONNECT_OUT),
        _ => Call::Unknown,
    }
}

/// Whether the operator is one of the server's own, which compute and do nothing else. The words
/// are how the grammar spells BETWEEN.
pub(super) fn is_harmless_operator(name: &[&str]) -> bool {
    match name {
        [plain] | ["pg_catalog", plain] => OPERATORS.contains(plain),
        _ => false,
    }
}

/// Whether TABLESAMPLE may use this method.
pub(super) fn is_harmless_sample(name: &[&str]) -> bool {
    matches!(name, ["bernoulli" | "system"] | ["pg_catalog", "bernoulli" | "system"])
}

fn built_in(name: &str) -> Call {
    if name == "set_config" {
        return Call::SetConfig;
    }
    let known = |(names, verb, lasting): &(&[&str], Verb, bool)| {
        names.contains(&name).then_some(Known { verb: *verb, lasting: *lasting })
    };
    if let Some(known) = KNOWN.iter().find_map(known) {
        return Call::Known(known);
    }
    if connects_out(name) {
        return Call::Known(CONNECT_OUT);
    }
    if harmless().contains(name) { Call::Harmless } else { Call::Unknown }
}

/// The functions of the extensions that open connections, wherever they were installed.
fn connects_out(name: &str) -> bool {
    name.starts_with("dblink") || name.starts_with("postgres_fdw_")
}

const CONNECT_OUT: Known = Known { verb: verb::CONNECT_OUT, lasting: true };

fn harmless() -> &'static HashSet<&'static str> {
    static NAMES: OnceLock<HashSet<&'static str>> = OnceLock::new();
    NAMES.get_or_init(|| {
        include_str!("functions.txt").lines().filter(|line| !line.starts_with('#')).collect()
    })
}

/// Functions with a meaning of their own, what they do, and whether it outlives a rollback.
const KNOWN: &[(&[&str], Verb, bool)] = &[
    // A rollback leaves a gap in the sequence, as every failed INSERT does; that loses nothing.
    (&["nextval"], verb::ADVANCE_SEQUENCE, false),
    (&["setval"], verb::SET_SEQUENCE, true),
    (
        &[
            "pg_advisory_xact_lock",
            "pg_advisory_xact_lock_shared",
            "pg_try_advisory_xact_lock",
            "pg_try_advisory_xact_lock_shared",
        ],
        verb::LOCK_ADVISORY,
        false,
    ),
    (
        &[
            "pg_advisory_lock",
            "pg_advisory_lock_shared",
            "pg_advisory_unlock",
            "pg_advisory_unlock_all",
            "pg_advisory_unlock_shared",
            "pg_try_advisory_lock",
            "pg_try_advisory_lock_shared",
        ],
        verb::LOCK_ADVISORY,
        true,
    ),
    (&["pg_notify"], verb::NOTIFY, false),
    (&["pg_current_xact_id", "txid_current"], verb::ASSIGN_TRANSACTION_ID, false),
    (&["pg_logical_emit_message"], verb::EMIT_LOGICAL_MESSAGE, true),
    (
        &[
            "brin_desummarize_range",
            "brin_summarize_new_values",
            "brin_summarize_range",
            "gin_clean_pending_list",
        ],
        verb::MAINTAIN_INDEX,
        false,
    ),
    (&["lo_creat", "lo_create", "lo_from_bytea"], verb::CREATE_LARGE_OBJECT, false),
    (&["lo_put", "lo_truncate", "lo_truncate64", "lowrite"], verb::OVERWRITE_LARGE_OBJECT, false),
    (&["lo_unlink"], verb::UNLINK_LARGE_OBJECT, false),
    (&["lo_export", "lo_import"], verb::COPY_SERVER_FILE, true),
    (&["pg_cancel_backend", "pg_terminate_backend"], verb::SIGNAL_BACKEND, true),
    (
        &[
            "pg_copy_logical_replication_slot",
            "pg_copy_physical_replication_slot",
            "pg_create_logical_replication_slot",
            "pg_create_physical_replication_slot",
            "pg_drop_replication_slot",
            "pg_logical_slot_get_binary_changes",
            "pg_logical_slot_get_changes",
            "pg_logical_slot_peek_binary_changes",
            "pg_logical_slot_peek_changes",
            "pg_replication_slot_advance",
            "pg_sync_replication_slots",
        ],
        verb::CHANGE_REPLICATION_SLOT,
        true,
    ),
    (
        &[
            "pg_clear_attribute_stats",
            "pg_clear_relation_stats",
            "pg_restore_attribute_stats",
            "pg_restore_relation_stats",
            "pg_stat_reset",
            "pg_stat_reset_backend_stats",
            "pg_stat_reset_replication_slot",
            "pg_stat_reset_shared",
            "pg_stat_reset_single_function_counters",
            "pg_stat_reset_single_table_counters",
            "pg_stat_reset_slru",
            "pg_stat_reset_subscription_stats",
        ],
        verb::RESET_STATISTICS,
        true,
    ),
    (
        &[
            "pg_hba_file_rules",
            "pg_ident_file_mappings",
            "pg_ls_archive_statusdir",
            "pg_ls_dir",
            "pg_ls_logdir",
            "pg_ls_logicalmapdir",
            "pg_ls_logicalsnapdir",
            "pg_ls_replslotdir",
            "pg_ls_summariesdir",
            "pg_ls_tmpdir",
            "pg_ls_waldir",
            "pg_read_binary_file",
            "pg_read_file",
            "pg_read_file_old",
            "pg_show_all_file_settings",
            "pg_stat_file",
        ],
        verb::READ_SERVER_FILE,
        true,
    ),
    (
        &[
            "pg_backup_start",
            "pg_backup_stop",
            "pg_create_restore_point",
            "pg_log_backend_memory_contexts",
            "pg_log_standby_snapshot",
            "pg_promote",
            "pg_reload_conf",
            "pg_rotate_logfile",
            "pg_rotate_logfile_old",
            "pg_start_backup",
            "pg_stop_backup",
            "pg_switch_wal",
            "pg_wal_replay_pause",
            "pg_wal_replay_resume",
        ],
        verb::CONTROL_SERVER,
        true,
    ),
    (
        &[
            "cursor_to_xml",
            "cursor_to_xmlschema",
            "database_to_xml",
            "database_to_xml_and_xmlschema",
            "database_to_xmlschema",
            "query_to_xml",
            "query_to_xml_and_xmlschema",
            "query_to_xmlschema",
            "schema_to_xml",
            "schema_to_xml_and_xmlschema",
            "schema_to_xmlschema",
            "table_to_xml",
            "table_to_xml_and_xmlschema",
            "table_to_xmlschema",
            "ts_rewrite",
            "ts_stat",
        ],
        verb::RUN_TEXT,
        true,
    ),
];

const INFORMATION_SCHEMA: &[&str] = &[
    "_pg_char_max_length",
    "_pg_char_octet_length",
    "_pg_datetime_precision",
    "_pg_expandarray",
    "_pg_index_position",
    "_pg_interval_type",
    "_pg_numeric_precision",
    "_pg_numeric_precision_radix",
    "_pg_numeric_scale",
    "_pg_truetypid",
    "_pg_truetypmod",
];

/// `SELECT DISTINCT oprname FROM pg_operator` on PostgreSQL 15, and the grammar's own words.
#[rustfmt::skip]
const OPERATORS: &[&str] = &[
    "!!", "!~", "!~*", "!~~", "!~~*", "#", "##", "#-", "#>", "#>>", "%", "&", "&&", "&<", "&<|",
    "&>", "*", "*<", "*<=", "*<>", "*=", "*>", "*>=", "+", "-", "->", "->>", "-|-", "/", "<",
    "<->", "<<", "<<=", "<<|", "<=", "<>", "<@", "<^", "=", ">", ">=", ">>", ">>=", ">^", "?",
    "?#", "?&", "?-", "?-|", "?|", "?||", "@", "@-@", "@>", "@?", "@@", "@@@", "^", "^@", "|",
    "|&>", "|/", "|>>", "||", "||/", "~", "~*", "~<=~", "~<~", "~=", "~>=~", "~>~", "~~", "~~*",
    "!=", "BETWEEN", "NOT BETWEEN", "BETWEEN SYMMETRIC", "NOT BETWEEN SYMMETRIC",
];
