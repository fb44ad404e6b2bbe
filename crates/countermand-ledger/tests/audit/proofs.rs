//! One entry, proven to someone who has nothing but the public key.

use countermand_ledger::leaf::Leaf;
use countermand_ledger::proof::{InclusionProof, ProofError};
use proptest::prelude::*;

use crate::ledger::{Ledger, entry, signing_key};

fn proof(size: u64, index: u64) -> InclusionProof {
    let ledger = Ledger::new(size + 3, size);
    let leaf = entry(index, 1).0;
    InclusionProof::new(&ledger.tree, &leaf, &ledger.checkpoint, &ledger.key).unwrap()
}

#[test]
fn survives_being_sent() {
    let sent = serde_json::to_string(&proof(13, 7)).unwrap();
    let received: InclusionProof = serde_json::from_str(&sent).unwrap();
    let (leaf, checkpoint) = received.verify(signing_key(1).verifying_key()).unwrap();
    assert_eq!((leaf, checkpoint.size), (entry(7, 1).0, 13));
    assert_eq!(received.hashes.len(), 4);
}

#[test]
fn is_not_made_for_what_is_not_covered_or_not_there() {
    let ledger = Ledger::new(13, 10);
    let make =
        |leaf: &Leaf| InclusionProof::new(&ledger.tree, leaf, &ledger.checkpoint, &ledger.key);
    assert!(make(&entry(9, 1).0).is_ok());
    assert!(matches!(make(&entry(10, 1).0), Err(ProofError::Tree { index: 10, .. })));
    assert!(matches!(make(&entry(9, 2).0), Err(ProofError::Tree { index: 9, .. })));
}

#[test]
fn holds_for_its_key_only() {
    let error = proof(13, 7).verify(signing_key(2).verifying_key()).unwrap_err();
    assert!(matches!(error, ProofError::Checkpoint(_)), "{error}");
}

#[test]
fn contradictions_are_named() {
    let verify = |proof: InclusionProof| proof.verify(signing_key(1).verifying_key());
    let error = verify(InclusionProof { size: 14, ..proof(13, 7) }).unwrap_err();
    assert!(matches!(error, ProofError::Contradiction { member: "size", .. }), "{error}");
    let error = verify(InclusionProof { index: 8, ..proof(13, 7) }).unwrap_err();
    assert!(matches!(error, ProofError::Contradiction { member: "index", .. }), "{error}");
    let other = entry(7, 2).0.line().to_owned();
    let error = verify(InclusionProof { leaf: other, ..proof(13, 7) }).unwrap_err();
    assert!(matches!(error, ProofError::Tree { index: 7, .. }), "{error}");
}

proptest! {
    #[test]
    fn no_changed_byte_goes_unnoticed(size in 1_u64..40, pick: u64, at: usize, byte: u8) {
        let sent = serde_json::to_string(&proof(size, pick % size)).unwrap();
        let mut bytes = sent.into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        if let Ok(received) = serde_json::from_slice::<InclusionProof>(&bytes) {
            prop_assert!(received.verify(signing_key(1).verifying_key()).is_err());
        }
    }
}
