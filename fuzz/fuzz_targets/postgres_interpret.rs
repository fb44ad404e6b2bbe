//! Any text: an answer, at least one action for every statement, and nothing hides a DROP.
#![no_main]

use countermand_core::effect::Effect;
use countermand_doors::postgres::interpret::{Settings, interpret};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (bool, &str)| {
    let (standard_conforming_strings, sql) = data;
    let settings = Settings { standard_conforming_strings };
    let found = interpret(sql, settings);
    for statement in &found.statements {
        assert!(!statement.actions.is_empty());
        assert!(sql.contains(&statement.sql));
    }
    let before = interpret(&format!("DROP TABLE orders; {sql}"), settings);
    assert!(before.effect() >= Effect::Destroy);
});
