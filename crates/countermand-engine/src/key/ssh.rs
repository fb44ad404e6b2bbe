//! What an SSH signature shows of whoever made it.

use ssh_key::public::KeyData;
use ssh_key::{PublicKey, SshSig};

/// FIDO2's flag for "the user was verified", by PIN or by touch of a known finger.
pub(super) const USER_VERIFIED: u8 = 0x04;
/// FIDO2's flag for "somebody was there".
pub(super) const USER_PRESENT: u8 = 0x01;
/// The application that a key made for this use names, so that a signature over an SSH login
/// can never be one over a statement.
pub const APPLICATION: &str = "ssh:countermand";

/// Whether it is a security key made for this use.
pub(super) fn is_made_for_this_use(key: &PublicKey) -> bool {
    match key.key_data() {
        KeyData::SkEd25519(key) => key.application() == APPLICATION,
        KeyData::SkEcdsaSha2NistP256(key) => key.application() == APPLICATION,
        _ => false,
    }
}

/// Whether the signature shows a verified user of a key made for this use. The flags are part
/// of what a security key signs, so [`super::verify`] has already proven them.
pub(super) fn is_user_verified(key: &PublicKey, signature: &SshSig) -> bool {
    // The last five bytes of a security key's signature are flags (1) and counter (4).
    let bytes = signature.signature_bytes();
    let Some(flags) = bytes.len().checked_sub(5).map(|at| bytes[at]) else { return false };
    let both = USER_VERIFIED | USER_PRESENT;
    is_made_for_this_use(key) && flags & both == both
}
