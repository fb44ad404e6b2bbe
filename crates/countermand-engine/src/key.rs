//! What a human signs with, as one line of a configuration: an SSH key or a passkey.
//!
//! Both are enrolled, wait their day, are shown, removed and stolen in the same way, and a
//! signature of either means the same: this human, over exactly this statement. Everything that a
//! signature is verified with stands in the line that people signed.
//!
//! - `ssh`: what an SSH signature shows of whoever made it
//! - `passkey`: its line, and WebAuthn's assertion over a statement
//! - `origin`: the page that a passkey belongs to

mod origin;
mod passkey;
mod ssh;

pub use origin::{Origin, OriginError};
pub use passkey::{Passkey, PasskeyFault};
pub use ssh::APPLICATION;

use countermand_core::statement::NAMESPACE;
use passkey::Assertion;
use ssh_key::{HashAlg, PublicKey, SshSig};
use std::str::FromStr;

/// The longest signature that is looked at, in bytes: an RSA key's of 16,384 bits fits twice.
pub(crate) const LONGEST_SIGNATURE: usize = 16 * 1024;

/// A key of a human.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The line of a `.pub` file.
    Ssh(Box<PublicKey>),
    /// `passkey ORIGIN BASE64URL`.
    Passkey(Passkey),
}

/// Why a line is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not what OpenSSH writes.
    #[error("is not an OpenSSH public key: copy the one line of their `.pub` file")]
    Ssh,
    /// It is not what the console writes.
    #[error("is not a passkey: copy the whole line that the console's page `Your keys` shows")]
    Passkey,
    /// It was made on a page whose address no passkey can have.
    #[error("is a passkey of an origin that is none: {0}")]
    Origin(#[from] OriginError),
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is in neither of the forms.
    #[error(
        "that is neither an SSH signature nor one of a passkey; sign with `ssh-keygen -Y sign -n \
         {NAMESPACE}`, or in the console"
    )]
    Malformed,
    /// It is longer than any signature.
    #[error("that is no signature: it is longer than any of them")]
    TooLong,
    /// It was made for another use.
    #[error("the signature is for another use than `{NAMESPACE}`")]
    Namespace,
    /// The key is not one of the signer's.
    #[error("the key {0} is not enrolled for this person")]
    NotEnrolled(String),
    /// It does not hold over this statement.
    #[error("the signature does not hold over this statement")]
    DoesNotHold,
    /// A passkey signed something else, or under other circumstances.
    #[error(transparent)]
    Passkey(#[from] PasskeyFault),
}

/// A signature that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The fingerprint of the key, see [`Key::fingerprint`].
    pub key: String,
    /// Whether the key's own means verified the human: a security key made for this use or a
    /// passkey, with a PIN or fingerprint.
    pub user_verified: bool,
}

impl Key {
    /// As enrolment knows it: without a comment, and always spelled the same.
    pub fn line(&self) -> String {
        match self {
            // What was read can be written.
            Key::Ssh(key) => {
                let line = key.to_openssh().unwrap_or_default();
                line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
            }
            Key::Passkey(key) => key.line(),
        }
    }

    /// `SHA256:` and the digest of the public key: the same for the same key, wherever it is used.
    pub fn fingerprint(&self) -> String {
        match self {
            Key::Ssh(key) => key.fingerprint(HashAlg::Sha256).to_string(),
            Key::Passkey(key) => key.fingerprint(),
        }
    }

    /// Whether it can count in production. Of a security key only its signatures show whether it
    /// verifies its user.
    pub fn can_count_in_production(&self) -> bool {
        match self {
            Key::Ssh(key) => ssh::is_made_for_this_use(key),
            Key::Passkey(_) => true,
        }
    }
}

impl From<PublicKey> for Key {
    fn from(key: PublicKey) -> Key {
        Key::Ssh(Box::new(key))
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(line: &str) -> Result<Key, KeyError> {
        if line.split_whitespace().next() == Some(passkey::WORD) {
            return line.parse().map(Key::Passkey);
        }
        PublicKey::from_openssh(line).map(Key::from).map_err(|_| KeyError::Ssh)
    }
}

/// Checks a signature over `statement` by one of these keys: SSHSIG in PEM armour, or the JSON of
/// what a browser calls a `PublicKeyCredential`.
///
/// # Errors
/// [`SignatureError`]
pub fn verify(keys: &[Key], statement: &[u8], signature: &str) -> Result<Signed, SignatureError> {
    if signature.len() > LONGEST_SIGNATURE {
        return Err(SignatureError::TooLong);
    }
    if signature.starts_with('{') {
        return by_passkey(keys, statement, signature);
    }
    let signature = SshSig::from_pem(signature).map_err(|_| SignatureError::Malformed)?;
    if signature.namespace() != NAMESPACE {
        return Err(SignatureError::Namespace);
    }
    let enrolled = keys.iter().find_map(|key| match key {
        Key::Ssh(ssh) if ssh.key_data() == signature.public_key() => Some((key, ssh)),
        _ => None,
    });
    let Some((key, ssh)) = enrolled else {
        let stranger = signature.public_key().fingerprint(HashAlg::Sha256);
        return Err(SignatureError::NotEnrolled(stranger.to_string()));
    };
    ssh.verify(NAMESPACE, statement, &signature).map_err(|_| SignatureError::DoesNotHold)?;
    Ok(Signed { key: key.fingerprint(), user_verified: ssh::is_user_verified(ssh, &signature) })
}

fn by_passkey(keys: &[Key], statement: &[u8], signature: &str) -> Result<Signed, SignatureError> {
    let assertion = Assertion::parse(signature).ok_or(SignatureError::Malformed)?;
    let mut refused = SignatureError::NotEnrolled(assertion.shown_id());
    for key in keys {
        let Key::Passkey(passkey) = key else { continue };
        if !assertion.is_by(passkey) {
            continue;
        }
        match passkey.verify(statement, &assertion) {
            Ok(()) => return Ok(Signed { key: key.fingerprint(), user_verified: true }),
            Err(fault) => refused = fault.into(),
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests;
