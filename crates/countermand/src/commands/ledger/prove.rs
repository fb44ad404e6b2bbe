//! One entry, proven to somebody who has nothing of the ledger but its public key.

use super::put;
use crate::cli::Global;
use crate::client::{Client, unexpected};
use crate::commands::json;
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone};
use countermand_engine::control::{Command, LedgerEntry, Reply};
use countermand_ledger::checkpoint::VerifyingKey;
use countermand_ledger::proof::InclusionProof;
use std::collections::BTreeMap;
use std::path::Path;

/// Runs `ledger prove`. What is newer than the last checkpoint gets one of its own.
pub(super) fn prove(global: &Global, index: u64) -> Result<Exit, Failure> {
    let mut client = Client::connect(global)?;
    let Reply::Checkpoint { .. } = client.ask(&Command::Checkpoint)? else {
        return Err(unexpected());
    };
    let Reply::Proved(proof) = client.ask(&Command::Prove { index })? else {
        return Err(unexpected());
    };
    let document: serde_json::Value =
        serde_json::from_str(&proof.document).map_err(Failure::new)?;
    json(&document);
    Ok(Exit::Done)
}

/// Runs `ledger check`: opens no socket.
pub(super) fn check(global: &Global, proof: &Path, key: &Path) -> Result<Exit, Failure> {
    let read = |file: &Path| {
        std::fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("cannot read `{}`: {error}", file.display())))
    };
    let key = VerifyingKey::parse(read(key)?.trim()).map_err(Failure::new)?;
    let proof: InclusionProof = serde_json::from_str(&read(proof)?).map_err(|error| {
        Failure::new(format!("this is no proof that `ledger prove` printed: {error}"))
    })?;
    let (leaf, checkpoint) = proof.verify(&key).map_err(Failure::new)?;
    if global.json {
        json(&serde_json::json!({
            "index": leaf.index(), "at": leaf.at(), "kind": leaf.kind(), "hash": leaf.hash(),
            "size": checkpoint.size, "origin": key.origin(),
        }));
        return Ok(Exit::Done);
    }
    put(global, &[LedgerEntry { line: leaf.line().to_owned(), texts: BTreeMap::new() }])?;
    let mut page = Page::stderr();
    let size = checkpoint.size;
    let head = format!("entry {} is one of {size} that this key signed for", leaf.index());
    let head = page.paint(Tone::Heading, &head);
    page.line(head);
    page.eprint();
    Ok(Exit::Done)
}
