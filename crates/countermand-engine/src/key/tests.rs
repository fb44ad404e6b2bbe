//! With a software authenticator: it exists only here.

use super::ssh::{USER_PRESENT, USER_VERIFIED};
use super::*;
use ed25519_dalek::{Signer as _, SigningKey};
use ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};
use ssh_key::{Algorithm, Signature};

const STATEMENT: &[u8] = br#"{"act":"approve"}"#;

struct Authenticator {
    key: SigningKey,
    public: KeyData,
    application: &'static str,
}

impl Authenticator {
    fn new(application: &'static str) -> Authenticator {
        let key = SigningKey::from_bytes(&[7; 32]);
        let point = Ed25519PublicKey(key.verifying_key().to_bytes());
        let public = KeyData::SkEd25519(SkEd25519::new(point, application));
        Authenticator { key, public, application }
    }

    fn sign(&self, namespace: &str, message: &[u8], flags: u8) -> String {
        let to_sign = SshSig::signed_data(namespace, HashAlg::Sha512, message).unwrap();
        let digest = |bytes: &[u8]| *countermand_core::digest::Digest::of_bytes(bytes).as_bytes();
        let mut signed = digest(self.application.as_bytes()).to_vec();
        let trailer = [flags, 0, 0, 0, 1];
        signed.extend(trailer);
        signed.extend(digest(&to_sign));
        let mut bytes = self.key.sign(&signed).to_bytes().to_vec();
        bytes.extend(trailer);
        let signature = Signature::new(Algorithm::SkEd25519, bytes).unwrap();
        let sig = SshSig::new(self.public.clone(), namespace, HashAlg::Sha512, signature).unwrap();
        sig.to_pem(ssh_key::LineEnding::LF).unwrap()
    }

    fn owner(&self) -> Vec<Key> {
        vec![PublicKey::from(self.public.clone()).into()]
    }
}

#[test]
fn a_security_key_shows_whether_the_human_was_verified() {
    let key = Authenticator::new(APPLICATION);
    let owner = key.owner();
    let signed = |flags| verify(&owner, STATEMENT, &key.sign(NAMESPACE, STATEMENT, flags)).unwrap();
    assert!(signed(USER_PRESENT | USER_VERIFIED).user_verified);
    assert!(!signed(USER_PRESENT).user_verified, "touched, but nobody was verified");
    assert!(!signed(USER_VERIFIED).user_verified, "verified, but nobody was there");
}

#[test]
fn flags_that_were_not_signed_do_not_hold() {
    let key = Authenticator::new(APPLICATION);
    let pem = key.sign(NAMESPACE, STATEMENT, USER_PRESENT);
    let honest = SshSig::from_pem(&pem).unwrap();
    let mut bytes = honest.signature_bytes().to_vec();
    let flags = bytes.len() - 5;
    bytes[flags] |= USER_VERIFIED;
    let signature = Signature::new(Algorithm::SkEd25519, bytes).unwrap();
    let forged = SshSig::new(key.public.clone(), NAMESPACE, HashAlg::Sha512, signature).unwrap();
    let forged = forged.to_pem(ssh_key::LineEnding::LF).unwrap();
    let refused = verify(&key.owner(), STATEMENT, &forged);
    assert_eq!(refused, Err(SignatureError::DoesNotHold));
}

#[test]
fn a_login_key_is_not_made_for_this_use() {
    let key = Authenticator::new("ssh:");
    let pem = key.sign(NAMESPACE, STATEMENT, USER_PRESENT | USER_VERIFIED);
    assert!(!verify(&key.owner(), STATEMENT, &pem).unwrap().user_verified);
}

#[test]
fn what_was_signed_for_something_else_does_not_count() {
    let key = Authenticator::new(APPLICATION);
    let flags = USER_PRESENT | USER_VERIFIED;
    let other_use = key.sign("git", STATEMENT, flags);
    assert_eq!(verify(&key.owner(), STATEMENT, &other_use), Err(SignatureError::Namespace));
    let other_text = key.sign(NAMESPACE, b"{}", flags);
    assert_eq!(verify(&key.owner(), STATEMENT, &other_text), Err(SignatureError::DoesNotHold));
    let stranger = verify(&[], STATEMENT, &key.sign(NAMESPACE, STATEMENT, flags));
    assert!(matches!(stranger, Err(SignatureError::NotEnrolled(_))));
    assert_eq!(verify(&key.owner(), STATEMENT, "no"), Err(SignatureError::Malformed));
}

mod passkey;
