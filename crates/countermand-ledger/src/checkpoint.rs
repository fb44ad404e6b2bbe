//! The signed tree head: a C2SP `tlog-checkpoint` in a C2SP `signed-note`, signed with Ed25519.
//!
//! The origin (the first line) is the name of the key, so one string, the vkey, says both whose
//! checkpoint it must be and which key must have signed it.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use signed_note::{
    Note, NoteError, Signer as _, StandardSigner, StandardVerifier, Verifier as _, VerifierList,
};
use zeroize::Zeroizing;

use crate::instant;
use crate::tree::Hash;

/// The algorithm byte that stands before an Ed25519 key in a vkey or skey.
const ED25519: u8 = 1;

/// What a checkpoint says: at `at`, the ledger `origin` had `size` entries, whose tree has `root`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which ledger this is about.
    pub origin: String,
    /// How many entries are covered: those with an index below it.
    pub size: u64,
    /// The RFC 6962 root over the covered entries.
    pub root: Hash,
    /// When it was signed, by the signer's clock, in whole milliseconds.
    pub at: Timestamp,
}

/// Why a key or a checkpoint was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The origin cannot be a key's name.
    #[error(
        "origin `{0}` is empty, or has spaces, control characters or `+`: choose a name such as `ledger.example.com/production`"
    )]
    Origin(String),
    /// The string is not a public key. The string itself is not repeated: it might be a private one.
    #[error("not a verifier key: expected `name+hash+base64`, as printed when the key was made")]
    VerifyingKey,
    /// The string is not a private key.
    #[error(
        "not a signer key: expected `PRIVATE+KEY+name+hash+base64`, as printed when the key was made"
    )]
    SigningKey,
    /// The text is not a signed checkpoint.
    #[error("not a signed checkpoint: the text was damaged, altered or cut")]
    Malformed,
    /// There is no signature by the key.
    #[error("not signed by `{0}`: this is another ledger's checkpoint, or another key's")]
    NotSigned(String),
    /// There is a signature by the key, and it does not fit the text.
    #[error("the signature by `{0}` does not fit: the checkpoint was altered after it was signed")]
    Signature(String),
    /// The key signed a checkpoint for another origin.
    #[error("the checkpoint is of `{found}`, not of `{expected}`")]
    OtherOrigin {
        /// The origin in the checkpoint.
        found: String,
        /// The key's name.
        expected: String,
    },
    /// The key had been replaced before.
    #[error(
        "signed by `{vkey}` over {size} entries, and that key was replaced after {until}: whoever has the old key wrote on"
    )]
    Retired {
        /// The key.
        vkey: String,
        /// How many entries it may have signed for.
        until: u64,
        /// How many it signed for.
        size: u64,
    },
    /// Another key took the place of this one, which did not vouch for it.
    #[error(
        "not signed by `{vkey}`, which entry {index} replaces by a key that it NEVER VOUCHED FOR: ask the installation's people whether the old key was lost, get the new one from them, and verify with it and with a checkpoint that you kept"
    )]
    Replaced {
        /// The key.
        vkey: String,
        /// The entry that names the other.
        index: u64,
    },
}

/// The public key that an auditor holds.
#[derive(Clone)]
pub struct VerifyingKey {
    vkey: String,
    verifier: StandardVerifier,
}

impl VerifyingKey {
    /// Reads a vkey, such as `ledger.example.com+c74f20a3+ARpc2Qc…`.
    pub fn parse(vkey: &str) -> Result<Self, CheckpointError> {
        let verifier = StandardVerifier::new(vkey).map_err(|_| CheckpointError::VerifyingKey)?;
        check_origin(verifier.name())?;
        Ok(Self { vkey: vkey.to_owned(), verifier })
    }

    /// The vkey.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// The ledger whose checkpoints the key signs.
    pub fn origin(&self) -> &str {
        self.verifier.name()
    }

    /// Verifies a signed checkpoint. Signatures by other keys (witnesses) may stand beside this
    /// key's, and are not looked at.
    pub fn open(&self, text: &str) -> Result<Checkpoint, CheckpointError> {
        let note = Note::from_bytes(text.as_bytes()).map_err(|_| CheckpointError::Malformed)?;
        if note.to_bytes() != text.as_bytes() {
            return Err(CheckpointError::Malformed);
        }
        note.verify(&VerifierList::new(vec![Box::new(self.verifier.clone())])).map_err(
            |error| match error {
                NoteError::InvalidSignature { name, .. } => CheckpointError::Signature(name),
                _ => CheckpointError::NotSigned(self.vkey.clone()),
            },
        )?;
        self.read(note.text())
    }

    /// Reads the text that the key has signed.
    fn read(&self, text: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let parsed = tlog_tiles::Checkpoint::from_bytes(text)
            .ok()
            .filter(|parsed| parsed.to_bytes() == text)
            .ok_or(CheckpointError::Malformed)?;
        if parsed.origin() != self.origin() {
            return Err(CheckpointError::OtherOrigin {
                found: parsed.origin().to_owned(),
                expected: self.origin().to_owned(),
            });
        }
        let at = parsed
            .extension()
            .strip_prefix("at ")
            .and_then(|rest| rest.strip_suffix('\n'))
            .and_then(instant::parse)
            .ok_or(CheckpointError::Malformed)?;
        let root = Hash::from_bytes(parsed.hash().0);
        Ok(Checkpoint { origin: parsed.origin().to_owned(), size: parsed.size(), root, at })
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.vkey)
    }
}

/// The private key that signs checkpoints. Zeroized when dropped, never printed.
pub struct SigningKey {
    skey: Zeroizing<String>,
    signer: StandardSigner,
    public: VerifyingKey,
}

impl SigningKey {
    /// Makes the key of the ledger `origin` from 32 bytes of a cryptographic random source.
    pub fn generate(origin: &str, seed: &Zeroizing<[u8; 32]>) -> Result<Self, CheckpointError> {
        check_origin(origin)?;
        let public = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key();
        let mut tagged = [ED25519; 33];
        tagged[1..].copy_from_slice(public.as_bytes());
        let id = signed_note::key_id(origin, &tagged);
        let mut private = Zeroizing::new([ED25519; 33]);
        private[1..].copy_from_slice(seed.as_slice());
        let secret = Zeroizing::new(BASE64_STANDARD.encode(private.as_slice()));
        let skey = format!("PRIVATE+KEY+{origin}+{id:08x}+{}", secret.as_str());
        Self::parse(Zeroizing::new(skey))
    }

    /// Reads an skey, such as `PRIVATE+KEY+ledger.example.com+c74f20a3+AYEKFAL…`.
    pub fn parse(skey: Zeroizing<String>) -> Result<Self, CheckpointError> {
        let signer = StandardSigner::new(&skey).map_err(|_| CheckpointError::SigningKey)?;
        check_origin(signer.name())?;
        let public = signed_note::new_ed25519_verifier_key(signer.name(), &public_part(&skey)?);
        Ok(Self { skey, signer, public: VerifyingKey::parse(&public)? })
    }

    /// The skey, to be kept secret: whoever has it can sign any ledger.
    pub fn skey(&self) -> &Zeroizing<String> {
        &self.skey
    }

    /// The public key, to be handed to auditors.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs that the ledger has `size` entries with `root` at time `at`, cut to milliseconds. The
    /// result is the text of a signed note; the same input gives the same text.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Malformed`] if `at` is before the year 0 or after 9999.
    pub fn sign(&self, size: u64, root: Hash, at: Timestamp) -> Result<String, CheckpointError> {
        self.sign_with(&[&self.signer], size, root, at)
    }

    /// Signs the same together with the key that comes after this one: see [`crate::keyring`].
    ///
    /// # Errors
    ///
    /// As [`SigningKey::sign`], and where `next` is of another ledger.
    pub fn hand_over(
        &self,
        next: &SigningKey,
        size: u64,
        root: Hash,
        at: Timestamp,
    ) -> Result<String, CheckpointError> {
        let note = self.sign_with(&[&self.signer, &next.signer], size, root, at)?;
        next.public.open(&note)?;
        Ok(note)
    }

    fn sign_with(
        &self,
        signers: &[&dyn signed_note::Signer],
        size: u64,
        root: Hash,
        at: Timestamp,
    ) -> Result<String, CheckpointError> {
        let malformed = |_| CheckpointError::Malformed;
        let at = format!("at {}\n", instant::render(at));
        let root = tlog_tiles::Hash(*root.as_bytes());
        let head = tlog_tiles::Checkpoint::new(self.signer.name(), size, root, &at)
            .map_err(|_| CheckpointError::Malformed)?;
        let mut note = Note::new(&head.to_bytes(), &[]).map_err(malformed)?;
        note.add_sigs(signers).map_err(malformed)?;
        let text = String::from_utf8(note.to_bytes()).map_err(|_| CheckpointError::Malformed)?;
        self.public.open(&text)?;
        Ok(text)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(.., {})", self.public.vkey)
    }
}

/// The public key that belongs to an skey. [`StandardSigner`] has checked the string and keeps it to
/// itself.
fn public_part(skey: &str) -> Result<ed25519_dalek::VerifyingKey, CheckpointError> {
    // Base64 has a `+` of its own, so the last part is found by counting from the front.
    let encoded = skey.splitn(5, '+').nth(4).ok_or(CheckpointError::SigningKey)?;
    let decoded = BASE64_STANDARD.decode(encoded).map(Zeroizing::new);
    let decoded = decoded.map_err(|_| CheckpointError::SigningKey)?;
    let seed = decoded.get(1..).and_then(|seed| seed.first_chunk());
    let seed = Zeroizing::new(*seed.ok_or(CheckpointError::SigningKey)?);
    Ok(ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key())
}

fn check_origin(origin: &str) -> Result<(), CheckpointError> {
    let valid = signed_note::is_key_name_valid(origin) && !origin.contains(char::is_control);
    if valid { Ok(()) } else { Err(CheckpointError::Origin(origin.to_owned())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(origin: &str, seed: u8) -> SigningKey {
        SigningKey::generate(origin, &Zeroizing::new([seed; 32])).unwrap()
    }

    fn at() -> Timestamp {
        "2026-01-02T03:04:05.678Z".parse().unwrap()
    }

    fn signed() -> String {
        key("ledger.example.com", 1).sign(41, Hash::EMPTY_ROOT, at()).unwrap()
    }

    /// Signs any text as it is, to make checkpoints that `sign` would not.
    fn sign_text(key: &SigningKey, text: &str) -> String {
        let mut note = Note::new(text.as_bytes(), &[]).unwrap();
        note.add_sigs(&[&key.signer]).unwrap();
        String::from_utf8(note.to_bytes()).unwrap()
    }

    #[test]
    fn the_text_is_a_signed_note() {
        let text = signed();
        let expected = "ledger.example.com\n41\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\
                        at 2026-01-02T03:04:05.678Z\n\n\u{2014} ledger.example.com ";
        assert!(text.starts_with(expected), "{text}");
        let opened = key("ledger.example.com", 1).verifying_key().open(&text).unwrap();
        let origin = "ledger.example.com".to_owned();
        assert_eq!(opened, Checkpoint { origin, size: 41, root: Hash::EMPTY_ROOT, at: at() });
    }

    /// The key pair in the documentation of Go's `note` package, which defined these strings.
    #[test]
    fn published_key_pair() {
        let skey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let key = SigningKey::parse(Zeroizing::new(skey.to_owned())).unwrap();
        assert_eq!(key.verifying_key().vkey(), vkey);
        assert_eq!(key.verifying_key().origin(), "PeterNeumann");
        assert_eq!(key.skey().as_str(), skey);
    }

    #[test]
    fn keys_round_trip() {
        for seed in 0..=255 {
            let made = key("ledger.example.com/production", seed);
            let read = SigningKey::parse(made.skey().clone()).unwrap();
            assert_eq!(read.verifying_key().vkey(), made.verifying_key().vkey());
            let text = read.sign(0, Hash::EMPTY_ROOT, at()).unwrap();
            let vkey = VerifyingKey::parse(made.verifying_key().vkey()).unwrap();
            assert_eq!(vkey.open(&text).unwrap().size, 0);
        }
    }

    #[test]
    fn names_and_keys_are_checked() {
        for origin in ["", "a b", "a+b", "a\n", "a\tb", "a\u{7f}", "a\u{a0}b"] {
            let made = SigningKey::generate(origin, &Zeroizing::new([0; 32]));
            assert_eq!(made.unwrap_err(), CheckpointError::Origin(origin.to_owned()));
        }
        let key = key("a", 1);
        for vkey in ["", "a", "a+b+c", &key.skey()[..], &key.verifying_key().vkey()[1..]] {
            assert_eq!(VerifyingKey::parse(vkey).unwrap_err(), CheckpointError::VerifyingKey);
        }
        for skey in ["", "a", "PRIVATE+KEY+a+b+c", key.verifying_key().vkey()] {
            let read = SigningKey::parse(Zeroizing::new(skey.to_owned()));
            assert_eq!(read.unwrap_err(), CheckpointError::SigningKey);
        }
    }

    #[test]
    fn the_private_key_is_not_printed() {
        let key = key("a", 1);
        let secret = key.skey().rsplit('+').next().unwrap().to_owned();
        assert!(!format!("{key:?}").contains(&secret));
    }

    #[test]
    fn another_key_or_origin_is_refused() {
        let opened = key("ledger.example.com", 2).verifying_key().open(&signed());
        assert!(matches!(opened, Err(CheckpointError::NotSigned(_))), "{opened:?}");
        let opened = key("other.example.com", 1).verifying_key().open(&signed());
        assert!(matches!(opened, Err(CheckpointError::NotSigned(_))), "{opened:?}");

        let key = key("ledger.example.com", 1);
        let text = signed().replacen("ledger", "copied", 1);
        let unsigned = text.split("\n\n").next().unwrap();
        let opened = key.verifying_key().open(&sign_text(&key, &format!("{unsigned}\n")));
        assert!(matches!(opened, Err(CheckpointError::OtherOrigin { .. })), "{opened:?}");
    }

    #[test]
    fn only_one_form_is_accepted() {
        let key = key("a", 1);
        let open = |text: &str| key.verifying_key().open(&sign_text(&key, text));
        let root = Hash::EMPTY_ROOT;
        let good = format!("a\n7\n{root}\nat 2026-01-02T03:04:05.678Z\n");
        assert_eq!(open(&good).unwrap().size, 7);
        for (from, to) in [
            ("\n7\n", "\n07\n"),
            ("\n7\n", "\n+7\n"),
            ("\n7\n", "\n18446744073709551616\n"),
            ("at 2026", "At 2026"),
            ("at 2026", "at  2026"),
            (".678Z\n", "Z\n"),
            (".678Z\n", ".678Z\nmore\n"),
            (".678Z\n", ".678Z\nat 2027-01-02T03:04:05.678Z\n"),
            ("at 2026-01-02T03:04:05.678Z\n", ""),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good);
            assert_eq!(open(&text).unwrap_err(), CheckpointError::Malformed, "{text}");
        }
    }

    #[test]
    fn a_witness_may_sign_too() {
        let witness = key("witness.example.com", 9);
        let mut note = Note::from_bytes(signed().as_bytes()).unwrap();
        note.add_sigs(&[&witness.signer]).unwrap();
        let text = String::from_utf8(note.to_bytes()).unwrap();
        assert_eq!(key("ledger.example.com", 1).verifying_key().open(&text).unwrap().size, 41);
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_noticed(at: usize, flip in 1_u8..=255) {
            let mut bytes = signed().into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert!(key("ledger.example.com", 1).verifying_key().open(&text).is_err());
            }
        }
    }
}
