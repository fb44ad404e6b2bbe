//! [Schemathesis](https://schemathesis.io) asks the API what its own document says that it can be asked,
//! and what it says that it cannot.

use crate::passkeys::{Browser, served};
use crate::venv;
use serde_json::Value;
use std::path::Path;
use tokio::process::Command;

/// What is held against the document. That it takes whatever fits and nothing else is not: what is right
/// is for the engine to say.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method,ignored_auth";
/// Answers for as long as somebody listens.
const ENDLESS: &str = "/api/v1/events";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_answers_is_what_its_document_says() {
    if !venv::possible().await {
        return;
    }
    let requirements =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/schemathesis/requirements.txt");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let program = venv::made(&folder, &requirements).await.join("schemathesis");
    let served = served(&["bob"]).await;
    served.world.held("billing").await;
    let bob = served.signer("bob").await;
    let answer = served.get("/api/v1/openapi.json", &bob.cookie).await;
    let mut document: Value = serde_json::from_str(&answer.body).unwrap();
    let (held, said) = run(&program, &bob, &document).await;
    assert!(held, "{said}");
    let asked = document["paths"].as_object().unwrap().len() - 1;
    assert!(said.contains(&format!("Tested: {asked}\n")), "{said}");
    // It would have noticed.
    let answers = &mut document["paths"]["/api/v1/changes"]["get"]["responses"];
    answers.as_object_mut().unwrap().remove("400").unwrap();
    let (held, said) = run(&program, &bob, &document).await;
    assert!(!held && said.contains("Undocumented status code"), "{said}");
}

/// Whether the API is as this document has it, and what was found.
async fn run(program: &Path, who: &Browser<'_>, document: &Value) -> (bool, String) {
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let origin = who.served.origin();
    let ran = Command::new(program)
        .args(["run", "--url", &origin, "--checks", CHECKS, "--exclude-path", ENDLESS])
        .args(["-H", &format!("Cookie: {}", who.cookie), "-H", &format!("Origin: {origin}")])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "40", "--seed", "1"])
        .args(["--warnings", "off", "--no-color", "--suppress-health-check", "all"])
        .arg(file)
        .current_dir(work.path())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
}
