use super::*;
use countermand_ledger::leaf::Leaf;
use serde_json::json;

fn told(metrics: &Metrics) -> String {
    let mut text = String::new();
    encode(&mut text, &metrics.registry).unwrap();
    text
}

/// `docs/metrics.md` has a row for each, and no other.
#[test]
fn the_page_lists_every_metric() {
    let metrics = Metrics::new("1.0.0");
    let row = |metric: &Described| {
        let Described { name, labels, help } = metric;
        format!("| `{name}` | {labels} | {help} |\n")
    };
    let mut rows: Vec<String> = metrics.described.iter().map(row).collect();
    rows.sort();
    let page = include_str!("../../../../docs/metrics.md");
    let listed = page.lines().filter(|line| line.starts_with("| `countermand_"));
    assert_eq!(listed.map(|line| format!("{line}\n")).collect::<String>(), rows.concat());
}

/// The rules that are given along ask for nothing that is not there.
#[test]
fn the_rules_know_every_metric_that_they_name() {
    let described = Metrics::new("1.0.0").described;
    let rules = include_str!("../../../../docs/countermand.rules.yml");
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let named = rules.lines().filter(|line| line.trim_start().starts_with("expr:"));
    let named = named.flat_map(|line| line.split(|c| !is_name(c)));
    let named: Vec<_> = named.filter(|word| word.starts_with("countermand_")).collect();
    assert!(named.len() > 8, "{named:?}");
    for name in named {
        let name = name.trim_end_matches("_bucket");
        assert!(described.iter().any(|metric| metric.name == name), "{name}");
    }
}

/// Counters end in `_total`, and units stand in names.
#[test]
fn names_are_as_prometheus_has_them() {
    for Described { name, .. } in &Metrics::new("1.0.0").described {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(plain && name.starts_with("countermand_"), "{name}");
    }
}

#[test]
fn what_flowed_is_counted_without_the_names_of_its_tables() {
    let metrics = Metrics::new("1.0.0");
    let tally = |inserted, updated| json!({ "inserted": inserted, "updated": updated, "deleted": 0, "kept": 0 });
    let written = json!({ "secret.salaries": tally(2, 3), "secret.\"\n}\"": tally(1, 0) });
    let body = json!({ "agent": "bot", "target": "shop", "written": written, "verbs": [] });
    let at = jiff::Timestamp::UNIX_EPOCH;
    let leaf = Leaf::new(0, at, "flow.intent", &body, &BTreeMap::new()).unwrap();
    metrics.recorded(&leaf);
    let text = told(&metrics);
    assert!(text.contains("countermand_writes_total{target=\"shop\",agent=\"bot\"} 1\n"), "{text}");
    let rows = |action: &str, rows: u64| {
        let labels = format!("target=\"shop\",agent=\"bot\",action=\"{action}\"");
        text.contains(&format!("countermand_written_rows_total{{{labels}}} {rows}\n"))
    };
    assert!(rows("inserted", 3) && rows("updated", 3) && !text.contains("deleted\""), "{text}");
    assert!(text.contains("recorded_entries_total{kind=\"flow.intent\"} 1\n"), "{text}");
    assert!(!text.contains("salaries") && !text.contains("secret"), "{text}");
}

#[test]
fn a_histogram_counts_each_once_and_in_its_place() {
    let histogram = Histogram::default();
    for micros in [50, 100, 101, 900, 400_000_000] {
        histogram.observe(Duration::from_micros(micros));
    }
    let mut registry = Registry::default();
    registry.register_with_unit("it", "it", Unit::Seconds, histogram);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let has = |line: &str| text.lines().any(|told| told == line);
    for line in [
        "it_seconds_bucket{le=\"0.0001\"} 2",
        "it_seconds_bucket{le=\"0.0005\"} 3",
        "it_seconds_bucket{le=\"0.001\"} 4",
        "it_seconds_bucket{le=\"300.0\"} 4",
        "it_seconds_bucket{le=\"+Inf\"} 5",
        "it_seconds_count 5",
    ] {
        assert!(has(line), "{line} in {text}");
    }
    assert!(text.contains("it_seconds_sum 400.00115"), "{text}");
}
