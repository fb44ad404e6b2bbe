//! Settings of the session: an allow-list.

use countermand_core::verb::{Verb, postgres as verb};

/// What setting a setting means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingClass {
    /// Changes only what the session itself sees.
    Free,
    /// A limit, in PostgreSQL's units: it may be lowered, and the door sees to it that it is not
    /// raised.
    Limit,
    /// Acts as another role.
    Role,
    /// Takes away what protects others.
    Protected,
    /// Not known to be harmless.
    Unlisted,
}

impl SettingClass {
    pub(super) fn verb(self) -> Verb {
        match self {
            SettingClass::Free | SettingClass::Limit => verb::SET,
            SettingClass::Role => verb::SET_ROLE,
            SettingClass::Protected => verb::SET_PROTECTED,
            SettingClass::Unlisted => verb::SET_UNLISTED,
        }
    }
}

/// What it means to give the setting this value; `None` is its default.
pub fn classify(name: &str, value: Option<&str>) -> SettingClass {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "role" | "session_authorization" => SettingClass::Role,
        // Turning it on is harmless. RESET and DEFAULT can turn it off where SET cannot.
        "transaction_read_only" | "default_transaction_read_only" => match value {
            Some(value) if is_on(value) => SettingClass::Free,
            _ => SettingClass::Protected,
        },
        // The text is read as UTF-8; in another encoding the server would read another text.
        "client_encoding" => match value {
            Some(value) if is_utf8(value) => SettingClass::Free,
            _ => SettingClass::Protected,
        },
        "search_path" => search_path(value),
        "session_replication_role" => SettingClass::Protected,
        name if LIMITS.contains(&name) => SettingClass::Limit,
        // Free, but how texts are read hangs on its value.
        "standard_conforming_strings" => SettingClass::Free,
        name if is_free(name) => SettingClass::Free,
        _ => SettingClass::Unlisted,
    }
}

/// Whether any value of it, known or not, changes only what the session itself sees.
pub(super) fn is_free(name: &str) -> bool {
    FREE.contains(&name) || name.starts_with("enable_")
}

/// `pg_catalog` in a place of its own comes first, or what stands before it takes the place of
/// the server's functions and operators.
fn search_path(value: Option<&str>) -> SettingClass {
    let schemas = value.unwrap_or_default().split(',').map(|name| name.trim().trim_matches('"'));
    match schemas.into_iter().position(|name| name.eq_ignore_ascii_case("pg_catalog")) {
        None | Some(0) => SettingClass::Free,
        Some(_) => SettingClass::Protected,
    }
}

fn is_on(value: &str) -> bool {
    ["on", "true", "yes", "1"].iter().any(|on| value.eq_ignore_ascii_case(on))
}

/// As the server reads it: letters and digits count, and nothing else. asyncpg sends `'utf-8'`, with
/// the quotes.
fn is_utf8(value: &str) -> bool {
    let name: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    value.is_ascii() && ["utf8", "unicode"].iter().any(|utf8| name.eq_ignore_ascii_case(utf8))
}

const LIMITS: &[&str] = &[
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "max_parallel_workers_per_gather",
    "statement_timeout",
    "temp_buffers",
    "transaction_timeout",
    "work_mem",
];

const FREE: &[&str] = &[
    "application_name",
    "array_nulls",
    "bytea_output",
    "check_function_bodies",
    "client_min_messages",
    "constraint_exclusion",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "cursor_tuple_fraction",
    "datestyle",
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "effective_cache_size",
    "escape_string_warning",
    "extra_float_digits",
    "from_collapse_limit",
    "geqo",
    "intervalstyle",
    "jit",
    "join_collapse_limit",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "plan_cache_mode",
    "random_page_cost",
    // Restricts; its default does not.
    "restrict_nonsystem_relation_kind",
    "row_security",
    "seq_page_cost",
    "synchronize_seqscans",
    "timezone",
    "transaction_deferrable",
    "transaction_isolation",
    "xmlbinary",
    "xmloption",
];
