//! A security key in software: it exists only in tests. Its signatures are real ones, in the form
//! that OpenSSH gives those of a FIDO authenticator.

use countermand_core::digest::Digest;
use countermand_core::statement::NAMESPACE;
use countermand_engine::key::APPLICATION;
use ed25519_dalek::{Signer as _, SigningKey};
use ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};
use ssh_key::{Algorithm, HashAlg, LineEnding, PublicKey, Signature, SshSig};

/// Somebody touched it.
pub(crate) const TOUCHED: u8 = 0b001;
/// Somebody touched it and gave its PIN.
pub(crate) const VERIFIED: u8 = 0b101;

pub(crate) struct Authenticator {
    key: SigningKey,
}

impl Authenticator {
    pub(crate) fn new(seed: u8) -> Authenticator {
        Authenticator { key: SigningKey::from_bytes(&[seed; 32]) }
    }

    fn data(&self) -> KeyData {
        let point = Ed25519PublicKey(self.key.verifying_key().to_bytes());
        KeyData::SkEd25519(SkEd25519::new(point, APPLICATION))
    }

    /// The line of its `.pub` file.
    pub(crate) fn public(&self) -> String {
        PublicKey::from(self.data()).to_openssh().unwrap()
    }

    /// What `ssh-keygen -Y sign` writes, with these flags of the authenticator in it.
    pub(crate) fn sign(&self, statement: &[u8], flags: u8) -> String {
        let message = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, statement).unwrap();
        let flags_and_counter = [flags, 0, 0, 0, 1];
        let application = Digest::of_bytes(APPLICATION.as_bytes());
        let message = Digest::of_bytes(&message);
        let signed = [application.as_bytes(), &flags_and_counter[..], message.as_bytes()].concat();
        let bytes = [&self.key.sign(&signed).to_bytes()[..], &flags_and_counter].concat();
        let signature = Signature::new(Algorithm::SkEd25519, bytes).unwrap();
        let signed = SshSig::new(self.data(), NAMESPACE, HashAlg::Sha512, signature).unwrap();
        signed.to_pem(LineEnding::LF).unwrap()
    }
}
