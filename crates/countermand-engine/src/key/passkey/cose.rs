//! Public keys of authenticators, and the one form in which each is written.

use super::webauthn::quietly;
use serde_cbor_2::Value as Cbor;
use webauthn_rs_core::proto::{
    COSEAlgorithm, COSEEC2Key, COSEKey, COSEKeyType, COSERSAKey, ECDSACurve,
};

/// A public key of an authenticator, of an algorithm that is verified here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    key: COSEKey,
    /// The same in COSE's canonical form.
    cose: Vec<u8>,
}

impl PublicKey {
    /// Nothing, where its algorithm or its curve is none of ours. The library would read ES256 with
    /// other curves, and RSA with any exponent and modulus.
    pub(super) fn of(key: COSEKey) -> Option<PublicKey> {
        let members = match (key.type_, &key.key) {
            (
                COSEAlgorithm::ES256,
                COSEKeyType::EC_EC2(COSEEC2Key { curve: ECDSACurve::SECP256R1, x, y }),
            ) => vec![
                (1, Cbor::Integer(2)),
                (3, Cbor::Integer(-7)),
                (-1, Cbor::Integer(1)),
                (-2, Cbor::Bytes(x.clone())),
                (-3, Cbor::Bytes(y.clone())),
            ],
            (COSEAlgorithm::RS256, COSEKeyType::RSA(COSERSAKey { n, e: e @ [1, 0, 1] }))
                if n.first().is_some_and(|first| first & 0x80 != 0) =>
            {
                vec![
                    (1, Cbor::Integer(3)),
                    (3, Cbor::Integer(-257)),
                    (-1, Cbor::Bytes(n.clone())),
                    (-2, Cbor::Bytes(e.to_vec())),
                ]
            }
            _ => return None,
        };
        let members = members.into_iter().map(|(name, value)| (Cbor::Integer(name), value));
        let cose = serde_cbor_2::to_vec(&Cbor::Map(members.collect())).ok()?;
        Some(PublicKey { key, cose })
    }

    /// Exactly one key, in its one spelling, and nothing after it.
    pub(super) fn parse(cose: &[u8]) -> Option<PublicKey> {
        let value: Cbor = serde_cbor_2::from_slice(cose).ok()?;
        let key = quietly(|| COSEKey::try_from(&value)).ok()?;
        PublicKey::of(key).filter(|key| key.cose == cose)
    }

    /// As the library verifies with it.
    pub(super) fn key(&self) -> &COSEKey {
        &self.key
    }

    /// In COSE's canonical form.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.cose
    }
}
