//! Limits of a session: an agent may lower them, never raise them.

use crate::postgres::interpret::{SettingClass, setting_class};
use crate::postgres::refuse::{FORBIDDEN, Said};
use std::collections::BTreeMap;

/// What the limits are when a session begins: name, value in the server's unit, the unit.
pub(super) const LIMITS: &str = "SELECT name, setting, unit FROM pg_catalog.pg_settings \
    WHERE name OPERATOR(pg_catalog.=) ANY (ARRAY['idle_in_transaction_session_timeout', \
    'idle_session_timeout', 'lock_timeout', 'max_parallel_workers_per_gather', \
    'statement_timeout', 'temp_buffers', 'transaction_timeout', 'work_mem'])";

/// The most that each limit may be.
#[derive(Debug, Default)]
pub(super) struct Limits(BTreeMap<String, (f64, String)>);

impl Limits {
    /// Of the rows of [`LIMITS`].
    pub(super) fn of(rows: Vec<Vec<Option<String>>>) -> Limits {
        let limit = |row: Vec<Option<String>>| match <[_; 3]>::try_from(row) {
            Ok([Some(name), Some(value), unit]) => {
                Some((name, (value.parse().ok()?, unit.unwrap_or_default())))
            }
            _ => None,
        };
        Limits(rows.into_iter().filter_map(limit).collect())
    }

    /// Whether this would raise a limit: a client that asks for it goes on with the limit as it
    /// is. pg_dump switches the timeouts off first of all, and works as well with them.
    pub(super) fn raises(&self, name: &str, value: Option<&str>) -> bool {
        setting_class(name, value) == SettingClass::Limit && self.allow(name, value).is_err()
    }

    /// Whether a setting may get this value; `None` is its default, which is what it began with.
    pub(super) fn allow(&self, name: &str, value: Option<&str>) -> Result<(), Said> {
        let refused = |words: String| Err(Said::error(FORBIDDEN, words));
        match setting_class(name, value) {
            SettingClass::Free => Ok(()),
            SettingClass::Limit => {
                let (Some(value), Some((most, unit))) = (value, self.0.get(name)) else {
                    return Ok(());
                };
                let asked = in_unit(value, unit);
                let endless = name.ends_with("timeout");
                let raises = match asked {
                    None => true,
                    Some(asked) if endless && *most == 0.0 => asked < 0.0,
                    Some(asked) if endless => asked <= 0.0 || asked > *most,
                    Some(asked) => asked < 0.0 || asked > *most,
                };
                if !raises {
                    return Ok(());
                }
                let most = format!("{most}{unit}");
                refused(format!("forbidden: `{name}` may be lowered, not raised above {most}"))
            }
            SettingClass::Role | SettingClass::Protected | SettingClass::Unlisted => {
                refused(format!("forbidden: `{name}` is not a setting that an agent may change"))
            }
        }
    }
}

/// A value with or without a unit, in this unit; `None` where that is not plain.
fn in_unit(value: &str, unit: &str) -> Option<f64> {
    const UNITS: &[(&str, &str, f64)] = &[
        ("us", "ms", 0.001),
        ("ms", "ms", 1.0),
        ("s", "ms", 1_000.0),
        ("min", "ms", 60_000.0),
        ("h", "ms", 3_600_000.0),
        ("d", "ms", 86_400_000.0),
        ("B", "kB", 1.0 / 1024.0),
        ("kB", "kB", 1.0),
        ("MB", "kB", 1024.0),
        ("GB", "kB", 1024.0 * 1024.0),
        ("TB", "kB", 1024.0 * 1024.0 * 1024.0),
    ];
    let value = value.trim();
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-');
    let (number, suffix) = value.split_at(end.unwrap_or(value.len()));
    let number: f64 = number.parse().ok()?;
    let suffix = suffix.trim();
    if suffix.is_empty() {
        return Some(number);
    }
    let (base, pages) = match unit {
        "8kB" => ("kB", 8.0),
        unit => (unit, 1.0),
    };
    let found = UNITS.iter().find(|(name, of, _)| *name == suffix && *of == base)?;
    Some(number * found.2 / pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let row = |name: &str, value: &str, unit: &str| {
            vec![Some(name.to_owned()), Some(value.to_owned()), Some(unit.to_owned())]
        };
        Limits::of(vec![
            row("statement_timeout", "30000", "ms"),
            row("lock_timeout", "0", "ms"),
            row("work_mem", "4096", "kB"),
            row("temp_buffers", "1024", "8kB"),
        ])
    }

    #[test]
    fn limits_are_lowered_and_never_raised() {
        let allowed = [
            ("statement_timeout", "30s"),
            ("statement_timeout", "29999"),
            ("statement_timeout", "0.5min"),
            ("lock_timeout", "1h"),
            ("lock_timeout", "0"),
            ("work_mem", "64kB"),
            ("work_mem", "4MB"),
            ("temp_buffers", "8MB"),
            ("application_name", "x"),
        ];
        for (name, value) in allowed {
            assert!(limits().allow(name, Some(value)).is_ok(), "{name} = {value}");
        }
        let refused = [
            ("statement_timeout", "0"),
            ("statement_timeout", "-1"),
            ("statement_timeout", "31s"),
            ("statement_timeout", "0x7fffffff"),
            ("statement_timeout", "1 fortnight"),
            ("work_mem", "5MB"),
            ("work_mem", "-1"),
            ("temp_buffers", "9MB"),
            ("role", "postgres"),
            ("session_replication_role", "replica"),
            ("default_transaction_read_only", "off"),
            ("wal_compression", "on"),
        ];
        for (name, value) in refused {
            assert!(limits().allow(name, Some(value)).is_err(), "{name} = {value}");
        }
        assert!(limits().allow("statement_timeout", None).is_ok());
        assert!(limits().raises("statement_timeout", Some("0")));
        assert!(!limits().raises("statement_timeout", Some("1")));
        assert!(!limits().raises("role", Some("postgres")));
    }
}
