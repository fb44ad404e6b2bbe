//! Whatever is asked of the API, as its own document says what can be.

use crate::access::table;
use crate::client::Served;
use serde_json::Value;

/// What stands where a number, a name, a time or a word is expected. Nothing of it needs escaping in
/// an address.
const VALUES: [&str; 17] = [
    "",
    "0",
    "1",
    "-1",
    "01",
    "1e3",
    "18446744073709551615",
    "18446744073709551616",
    "held",
    "true",
    "bot",
    "..",
    "%00",
    "%ff",
    "%e2%80%ae",
    "%27%20OR%201%3D1%20--",
    "2026-01-31T10:40:00Z",
];

async fn document(served: &Served, cookie: &str) -> (String, Value) {
    let answer = served.get("/api/v1/openapi.json", cookie).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let document = serde_json::from_str(&answer.body).unwrap();
    (answer.body, document)
}

#[tokio::test]
async fn the_document_has_every_address_of_the_api_and_is_the_one_in_the_documentation() {
    let served = Served::new().await;
    let cookie = served.login("bob").await;
    let (text, document) = document(&served, &cookie).await;
    let said: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let mut table: Vec<&str> = table().into_iter().filter(|it| it.starts_with("/api/")).collect();
    table.sort_unstable();
    assert_eq!(said, table);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    if std::env::var_os("COUNTERMAND_BLESS").is_some() {
        std::fs::write(file, format!("{text}\n")).unwrap();
    }
    let kept = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(kept.trim_end(), text, "run this test once with COUNTERMAND_BLESS=1");
    for (path, item) in document["paths"].as_object().unwrap() {
        let does = if item["get"].is_object() { &item["get"] } else { &item["post"] };
        for (status, answer) in does["responses"].as_object().unwrap() {
            let kinds = answer["content"].as_object().unwrap();
            let problem = kinds.contains_key("application/problem+json");
            assert_eq!(problem, status != "200", "{path} {status}");
        }
    }
}

#[tokio::test]
async fn whatever_is_asked_of_the_api_is_answered_and_never_by_an_error_of_its_own() {
    let served = Served::new().await;
    served.world.held("billing").await;
    let cookie = served.login("bob").await;
    let (_, document) = document(&served, &cookie).await;
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        // What goes on for as long as somebody listens has tests of its own.
        if path.ends_with("/events") {
            continue;
        }
        let none = Vec::new();
        let parameters = item["get"]["parameters"].as_array().unwrap_or(&none);
        for value in VALUES.iter().filter(|_| item["get"].is_object()) {
            let (filled, query) = filled(path, parameters, value);
            for address in [filled.clone(), format!("{filled}?{query}")] {
                let answer = served.get(&address, &cookie).await;
                asked += 1;
                let status = answer.status.to_string();
                let said = &item["get"]["responses"][&status];
                assert!(said.is_object(), "{address}: {status} is not in the document");
                assert!(answer.status < 500, "{address}: {}", answer.body);
                let kind = answer.header("content-type").unwrap();
                let problem = answer.status != 200;
                assert_eq!(kind == "application/problem+json", problem, "{address}: {kind}");
                let _: Value = serde_json::from_str(&answer.body).unwrap();
            }
        }
        let other =
            served.ask("DELETE", path, &[&format!("Origin: {}", served.origin())], "").await;
        assert!(matches!(other.status, 401 | 405), "{path}: {}", other.status);
    }
    assert!(asked > 100, "{asked}");
    // Every parameter alone, wrong, and known by no one.
    for query in ["before=x", "before=-1", "limit=5", "a=b&a=c", "&&&=", "state=%ff"] {
        let answer = served.get(&format!("/api/v1/changes?{query}"), &cookie).await;
        assert!(matches!(answer.status, 200 | 400), "{query}: {}", answer.status);
    }
    let headers = [format!("Origin: {}", served.origin()), format!("Cookie: {cookie}")];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let answer = served.ask("POST", "/api/v1/changes", &headers, "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
}

/// An address with this value in every place, and a query with it under every name.
fn filled(path: &str, parameters: &[Value], value: &str) -> (String, String) {
    let (mut path, mut query) = (path.to_owned(), Vec::new());
    for parameter in parameters {
        let name = parameter["name"].as_str().unwrap();
        match parameter["in"].as_str().unwrap() {
            // An empty part is another address.
            "path" => {
                let value = if value.is_empty() { "x" } else { value };
                path = path.replace(&format!("{{{name}}}"), value);
            }
            _ => query.push(format!("{name}={value}")),
        }
    }
    (path, query.join("&"))
}
