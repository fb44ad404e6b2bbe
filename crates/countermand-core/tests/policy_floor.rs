//! The floor's own cases, which ship beside it.

use countermand_core::policy::floor_cases;

#[test]
fn the_floor_decides_its_cases() {
    let results = floor_cases().unwrap();
    let failures: Vec<String> = results
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case.name, case.failure.as_ref()?)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(results.len() >= 70, "only {} cases", results.len());
}
