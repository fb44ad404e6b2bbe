//! The entries once more: their tree, who signed in them, and whether what was signed is what they tell.

use super::configured::Configured;
use super::stated;
use super::told::Told;
use crate::exit::Failure;
use countermand_core::statement::Statement;
use countermand_engine::key::{self, Key, Signed};
use countermand_ledger::keyring::{KeyChanges, Keyring};
use countermand_ledger::leaf::Leaf;
use countermand_ledger::tree::Tree;
use serde_json::Value;
use ssh_key::{PublicKey, SshSig};
use std::collections::BTreeMap;

/// What was read of them so far, in their order.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) tree: Tree,
    pub(super) keys: KeyChanges,
    /// How many statements each key made for each signer: `alice SHA256:…`.
    pub(super) signers: BTreeMap<String, u64>,
    /// How many of them with a key that counted then.
    pub(super) enrolled: u64,
    configured: Configured,
    told: Told,
}

impl Entries {
    pub(super) fn add(&mut self, line: &[u8]) -> Result<(), Failure> {
        let leaf = Leaf::parse(line).map_err(Failure::new)?;
        self.tree.append(leaf.hash());
        self.keys.read(&leaf).map_err(Failure::new)?;
        self.read(&leaf).map_err(|why| {
            let (index, kind) = (leaf.index(), leaf.kind());
            Failure::new(format!("entry {index} ({kind}): {why}"))
        })
    }

    fn read(&mut self, leaf: &Leaf) -> Result<(), String> {
        let member = |name: &str| leaf.body().get(name);
        match (member("statement"), member("signature")) {
            (None, None) if !stated::is_needed(leaf) => {}
            (None, None) => return Err("nobody signed it, and what it tells takes that".to_owned()),
            (Some(statement), Some(signature)) => self.signed(leaf, statement, signature)?,
            _ => return Err("one of statement and signature is missing".to_owned()),
        }
        self.configured.read(leaf)?;
        self.told.read(leaf)
    }

    /// Takes in an entry that carries a statement.
    fn signed(&mut self, leaf: &Leaf, text: &Value, signature: &Value) -> Result<(), String> {
        let texts = text.as_str().zip(signature.as_str());
        let (text, signature) = texts.ok_or("statement and signature are no texts")?;
        let (statement, signed) = self
            .verified(text, signature, leaf)
            .map_err(|why| format!("its signature does not hold: {why}"))?;
        stated::is_of(&statement, &signed, leaf)?;
        let alone = self.configured.may_be_alone(leaf.at());
        self.told.admits(&statement, leaf, alone)?;
        self.told.spend(&statement, leaf)?;
        *self.signers.entry(format!("{} {}", statement.signer, signed.key)).or_default() += 1;
        self.enrolled += u64::from(self.configured.enrolment().is_some());
        Ok(())
    }

    /// The statement and the key that signed it, if the signature holds and the key counted then.
    fn verified(
        &self,
        text: &str,
        signature: &str,
        leaf: &Leaf,
    ) -> Result<(Statement, Signed), String> {
        let statement: Statement =
            serde_json::from_str(text).map_err(|error| format!("not a statement: {error}"))?;
        if statement.to_bytes() != text.as_bytes() {
            return Err("the statement is not in canonical form".to_owned());
        }
        let human = statement.signer.as_str();
        let keys: Vec<Key> = match self.configured.enrolment() {
            Some(enrolment) => {
                enrolment.keys_of(human, leaf.at()).filter_map(|line| line.parse().ok()).collect()
            }
            None => vec![own_key(signature)?],
        };
        let signed = key::verify(&keys, text.as_bytes(), signature);
        Ok((statement, signed.map_err(|error| error.to_string())?))
    }

    /// Whether a published checkpoint fits the entries.
    pub(super) fn holds(&self, keys: &Keyring, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let fault = |why: String| Failure::new(format!("`{name}` does not hold: {why}"));
        let note = std::str::from_utf8(bytes).map_err(|error| fault(error.to_string()))?;
        let checkpoint = keys.open(note).map_err(|error| fault(error.to_string()))?;
        let size = checkpoint.size;
        let cut =
            |_| fault(format!("it covers {size} entries, and {} are there", self.tree.size()));
        if self.tree.root_at(size).map_err(cut)? == checkpoint.root {
            return Ok(());
        }
        Err(fault(format!("the first {size} entries are not those that were signed")))
    }
}

/// The key that an SSH signature itself names: all there is where no entry says whose keys count.
pub(super) fn own_key(signature: &str) -> Result<Key, String> {
    let signature = SshSig::from_pem(signature).map_err(|error| error.to_string())?;
    Ok(PublicKey::from(signature.public_key().clone()).into())
}
