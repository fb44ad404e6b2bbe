//! Public keys as authenticators write them: CTAP2 has one form for each, so they are compared with
//! that form and not parsed as CBOR.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

/// kty EC2, alg ES256, crv P-256, x.
const ES256: [u8; 10] = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
/// y.
const ES256_Y: [u8; 3] = [0x22, 0x58, 32];
/// kty OKP, alg EdDSA, crv Ed25519, x.
const EDDSA: [u8; 10] = [0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];
/// kty RSA, alg RS256, n.
const RS256: [u8; 9] = [0xa4, 1, 3, 3, 0x39, 1, 0, 0x20, 0x59];
/// e, which is 65537.
const RS256_E: [u8; 5] = [0x21, 0x43, 1, 0, 1];
/// Lengths of a modulus, in bytes.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;

/// A public key of an authenticator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CoseKey {
    Es256 {
        x: [u8; 32],
        y: [u8; 32],
    },
    EdDsa {
        x: [u8; 32],
    },
    /// Of Windows Hello, where it has no other.
    Rs256 {
        modulus: Vec<u8>,
    },
}

impl CoseKey {
    /// Exactly one key, and nothing after it.
    pub(super) fn parse(bytes: &[u8]) -> Option<CoseKey> {
        CoseKey::first_of(bytes).filter(|key| key.to_bytes().len() == bytes.len())
    }

    /// The key that stands first; extensions may follow it.
    pub(super) fn first_of(bytes: &[u8]) -> Option<CoseKey> {
        if let Some(rest) = bytes.strip_prefix(&ES256) {
            let (x, rest) = rest.split_first_chunk()?;
            let (y, _) = rest.strip_prefix(&ES256_Y)?.split_first_chunk()?;
            return Some(CoseKey::Es256 { x: *x, y: *y });
        }
        if let Some(rest) = bytes.strip_prefix(&EDDSA) {
            let (x, _) = rest.split_first_chunk()?;
            return Some(CoseKey::EdDsa { x: *x });
        }
        let (length, rest) = bytes.strip_prefix(&RS256)?.split_first_chunk()?;
        let (modulus, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        // A modulus begins with a bit that is set: the same key is not written twice.
        let sound = MODULUS.contains(&modulus.len()) && modulus[0] & 0x80 != 0;
        (sound && rest.starts_with(&RS256_E)).then(|| CoseKey::Rs256 { modulus: modulus.to_vec() })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            CoseKey::Es256 { x, y } => [&ES256[..], x, &ES256_Y, y].concat(),
            CoseKey::EdDsa { x } => [&EDDSA[..], x].concat(),
            CoseKey::Rs256 { modulus } => {
                let length = u16::try_from(modulus.len()).unwrap_or(u16::MAX).to_be_bytes();
                [&RS256[..], &length, modulus, &RS256_E].concat()
            }
        }
    }

    /// Whether this is its signature over these bytes.
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            CoseKey::Es256 { x, y } => {
                let point = [&[4][..], x, y].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(signed, signature)
            }
            CoseKey::EdDsa { x } => UnparsedPublicKey::new(&ED25519, x).verify(signed, signature),
            CoseKey::Rs256 { modulus } => {
                let public = RsaPublicKeyComponents { n: modulus.as_slice(), e: &[1, 0, 1][..] };
                public.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            }
        };
        verified.is_ok()
    }
}
