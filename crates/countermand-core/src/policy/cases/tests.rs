use super::*;
use serde_json::json;

/// What the floor says of an UPDATE and a DELETE of so much, under the target's limits.
fn answers(counted: &Value, limits: Option<Value>) -> [Option<String>; 2] {
    let policy = Policy::load(&floor_world(), &[]).unwrap();
    let own = |target: &TargetName, agent: &AgentName| {
        assert_eq!((target.as_str(), agent.as_str()), ("db", "builder"));
        Limits { rows: 200, rows_per_hour: 300, ..Limits::default() }
    };
    ["postgres:Update", "postgres:Delete"].map(|verb| {
        let mut case = json!({
            "name": "x", "agent": "builder", "target": "db", "environment": "production",
            "actions": [{ "verb": verb, "object": "table shop.orders" }],
            "counted": counted, "expect": "allow",
        });
        if let Some(limits) = &limits {
            case["limits"] = limits.clone();
        }
        run_cases(&policy, own, &json!([case]).to_string()).unwrap().pop().unwrap().failure
    })
}

#[test]
fn what_is_counted_is_weighed_against_the_targets_limits() {
    for within in [
        json!({ "rows": 200 }),
        json!({ "rows": 100, "hour_before": 200 }),
        json!({ "rows": 1, "takes_from": 1 }),
        json!({ "inserted": 10_000 }),
    ] {
        assert_eq!(answers(&within, None), [None, None], "{within}");
    }
    for (beyond, words) in [
        (json!({ "rows": 201 }), "201 rows, and 200 may flow in one transaction"),
        (json!({ "rows": 101, "hour_before": 200 }), "and 300 may flow in an hour"),
        (json!({ "rows": 9, "kept": 8 }), "of which 8 are kept"),
        (json!({ "rows": 9, "takes_from": 2 }), "from 2 tables"),
        (json!({ "inserted": 10_001 }), "it adds 10001 rows"),
        (json!({ "rows": 1, "kept_bytes": 9_000_000 }), "9000000 bytes"),
    ] {
        for told in answers(&beyond, None) {
            let told = told.unwrap_or_else(|| panic!("{beyond} flowed"));
            assert!(told.contains("it is hold for 1 approval") && told.contains(words), "{told}");
        }
    }
    let [update, _] = answers(&json!({ "rows": 10 }), Some(json!({ "rows": 9 })));
    assert!(update.unwrap().contains("and 9 may flow in one transaction"));
}

#[test]
fn a_case_that_is_no_question_is_a_mistake() {
    let policy = Policy::load(&floor_world(), &[]).unwrap();
    for (more, words) in [
        (json!({ "counted": { "rows": 1 }, "measured": "within" }), "not both"),
        (json!({ "limits": { "rows": 1 } }), "say that too"),
        (json!({ "counted": { "rows": 1, "kept": 2 } }), "no more than its 1 `rows`"),
        (json!({ "counted": { "row": 1 } }), "unknown field `row`"),
    ] {
        let mut case = json!({
            "name": "x", "agent": "builder", "target": "db", "environment": "production",
            "actions": [], "expect": "allow",
        });
        let more = more.as_object().unwrap().clone();
        case.as_object_mut().unwrap().extend(more);
        let ran = run_cases(&policy, |_, _| Limits::default(), &json!([case]).to_string());
        let told = ran.unwrap_err().to_string();
        assert!(told.contains(words), "{words}: {told}");
    }
}
