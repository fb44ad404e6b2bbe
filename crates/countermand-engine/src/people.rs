//! Whether a signature is a human's own, over exactly this statement.

use crate::installation::Human;
use countermand_core::statement::NAMESPACE;
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey, SshSig};

/// FIDO2's flag for "the user was verified", by PIN or by touch of a known finger.
const USER_VERIFIED: u8 = 0x04;
/// FIDO2's flag for "somebody was there".
const USER_PRESENT: u8 = 0x01;
/// The application that a key made for this use names, so that a signature over an SSH login
/// can never be one over a statement.
pub const APPLICATION: &str = "ssh:countermand";

/// A signature that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    /// The key's SHA-256 fingerprint.
    pub(crate) key: String,
    /// Whether the key's own means verified the human: a security key made for this use, with
    /// a PIN or fingerprint.
    pub(crate) user_verified: bool,
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is not in the form `ssh-keygen -Y sign` writes.
    #[error("that is not an SSH signature; sign with `ssh-keygen -Y sign -n {NAMESPACE}`")]
    Malformed,
    /// It was made for another use.
    #[error("the signature is for another use than `{NAMESPACE}`")]
    Namespace,
    /// The key is not one of the signer's.
    #[error("the key {0} is not enrolled for this person")]
    NotEnrolled(String),
    /// It does not hold over this statement.
    #[error("the signature does not hold over this statement")]
    DoesNotHold,
}

/// Checks an SSHSIG over `statement` by one of this human's keys.
pub(crate) fn verify(
    human: &Human,
    statement: &[u8],
    signature: &str,
) -> Result<Signed, SignatureError> {
    let signature = SshSig::from_pem(signature).map_err(|_| SignatureError::Malformed)?;
    if signature.namespace() != NAMESPACE {
        return Err(SignatureError::Namespace);
    }
    let fingerprint = signature.public_key().fingerprint(HashAlg::Sha256).to_string();
    let enrolled = human.keys.iter().find(|key| key.key_data() == signature.public_key());
    let Some(key) = enrolled else { return Err(SignatureError::NotEnrolled(fingerprint)) };
    key.verify(NAMESPACE, statement, &signature).map_err(|_| SignatureError::DoesNotHold)?;
    Ok(Signed { key: fingerprint, user_verified: is_user_verified(key, &signature) })
}

/// Whether the signature shows a verified user of a key made for this use. The flags are part
/// of what a security key signs, so [`verify`] has already proven them.
fn is_user_verified(key: &PublicKey, signature: &SshSig) -> bool {
    let application = match key.key_data() {
        KeyData::SkEd25519(key) => key.application(),
        KeyData::SkEcdsaSha2NistP256(key) => key.application(),
        _ => return false,
    };
    // The last five bytes of a security key's signature are flags (1) and counter (4).
    let bytes = signature.signature_bytes();
    let Some(flags) = bytes.len().checked_sub(5).map(|at| bytes[at]) else { return false };
    let both = USER_VERIFIED | USER_PRESENT;
    application == APPLICATION && flags & both == both
}

#[cfg(test)]
mod tests;
