//! Texts that lie beside the entries: encrypted, and erasable without breaking the ledger.
//!
//! An entry carries only `SHA-256(salt ‖ text)`. The salt travels *inside* the encryption: a digest
//! and a salt in the open would let anyone confirm a guessed text, and statements are easy to guess.
//! Whoever erases a record erases the salt with it, and the digest left in the entry says nothing.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::leaf::is_text_name;
use crate::segment;

/// Bytes of a salt. Fixed, so that `salt ‖ text` can be cut in one place only.
pub const SALT_BYTES: usize = 32;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 24;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// What stands before a key where its id is digested.
const KEY_ID_CONTEXT: &str = "countermand-text-key-v1\n";

/// Bytes of a key's id.
const KEY_ID_BYTES: usize = 4;

/// The salted digest of a text, as an entry carries it: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// SHA-256 of `salt` followed by `text`.
    pub fn of(salt: &[u8; SALT_BYTES], text: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(salt).chain_update(text).finalize().into())
    }

    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 lower-case hexadecimal digits, and nothing else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        let digest = Self(bytes);
        (digest.to_string() == text).then_some(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that seals an installation's texts. Zeroized when dropped, never printed.
pub struct TextKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    id: String,
}

impl TextKey {
    /// The key with these bytes, which must come from a cryptographic random source.
    pub fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let digest = Sha256::new_with_prefix(KEY_ID_CONTEXT).chain_update(bytes.as_slice());
        let id = hex::encode(&digest.finalize()[..KEY_ID_BYTES]);
        Self { bytes, id }
    }

    /// What it is called beside the texts that it sealed: 8 lower-case hexadecimal digits, which tell
    /// nothing of the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its bytes, to be kept secret.
    pub fn bytes(&self) -> &Zeroizing<[u8; KEY_BYTES]> {
        &self.bytes
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.bytes.as_slice().into())
    }
}

/// The keys of an installation: the one that seals, and those that sealed before it.
#[derive(Debug)]
pub struct TextKeys {
    current: TextKey,
    older: Vec<TextKey>,
}

impl TextKeys {
    /// These keys.
    pub fn new(current: TextKey, older: Vec<TextKey>) -> Self {
        Self { current, older }
    }

    /// The one that seals.
    pub fn current(&self) -> &TextKey {
        &self.current
    }

    /// Opens a text that any of them sealed.
    ///
    /// # Errors
    /// [`TextError::NoKey`] where its key is not among them; what [`SealedText::open`] says else.
    pub fn open(&self, text: &SealedText) -> Result<OpenText, TextError> {
        let named = |key: &&TextKey| text.key.as_ref().is_none_or(|id| *id == key.id);
        let missing = TextError::NoKey(text.key.clone().unwrap_or_default());
        let keys = std::iter::once(&self.current).chain(&self.older).filter(named);
        let mut outcome = Err(missing);
        for key in keys {
            outcome = text.open(key);
            if outcome.is_ok() {
                return outcome;
            }
        }
        outcome
    }
}

impl fmt::Debug for TextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TextKey(..)")
    }
}

/// Why a text could not be sealed, read or opened. Never contains any of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The name has other characters than it may.
    #[error(
        "text name `{0}` is not lower-case letters, digits, `.`, `_` and `-`, starting with a letter"
    )]
    Name(String),
    /// The text is longer than the cipher can take.
    #[error("the text is too long to be sealed")]
    TooLong,
    /// A line of a texts file is not a sealed text in canonical form.
    #[error("not a sealed text in canonical form: the texts file was damaged or altered")]
    Malformed,
    /// Decryption failed: another key, or bytes that are not what was sealed for this entry and name.
    #[error(
        "the sealed text does not open: the key is another one, or the text was altered or moved"
    )]
    Sealed,
    /// The key that sealed it is not here.
    #[error(
        "the text was sealed with text key `{0}`, which is not here: bring it back from a copy"
    )]
    NoKey(String),
    /// The text opened, and is not the one whose digest the entry carries.
    #[error("the text is not the one whose digest the entry carries")]
    Digest,
}

/// One line of a texts file: a text of entry `index`, sealed with XChaCha20-Poly1305 so that it opens
/// for this entry and this name only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedText {
    index: u64,
    /// The id of the key that sealed it; none before keys had ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    name: String,
    #[serde(with = "base64_bytes")]
    nonce: [u8; NONCE_BYTES],
    #[serde(with = "base64_bytes")]
    sealed: Vec<u8>,
}

impl SealedText {
    /// Seals `text` as the text `name` of entry `index`. `salt` and `nonce` must be fresh from a
    /// cryptographic random source; put [`Digest::of`] the same salt and text into the entry.
    pub fn seal(
        key: &TextKey,
        index: u64,
        name: &str,
        salt: &[u8; SALT_BYTES],
        nonce: [u8; NONCE_BYTES],
        text: &[u8],
    ) -> Result<Self, TextError> {
        if !is_text_name(name) {
            return Err(TextError::Name(name.to_owned()));
        }
        let mut plain = Zeroizing::new(Vec::with_capacity(SALT_BYTES + text.len()));
        plain.extend_from_slice(salt);
        plain.extend_from_slice(text);
        let payload = Payload { msg: &plain, aad: &associated_data(index, name) };
        let sealed = key
            .cipher()
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| TextError::TooLong)?;
        Ok(Self { index, key: Some(key.id.clone()), name: name.to_owned(), nonce, sealed })
    }

    /// Opens the text, without comparing it to any entry.
    pub fn open(&self, key: &TextKey) -> Result<OpenText, TextError> {
        let payload = Payload { msg: &self.sealed, aad: &associated_data(self.index, &self.name) };
        let plain = key
            .cipher()
            .decrypt(XNonce::from_slice(&self.nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| TextError::Sealed)?;
        let (salt, text) = plain.split_first_chunk().ok_or(TextError::Sealed)?;
        Ok(OpenText { salt: *salt, text: Zeroizing::new(text.to_vec()) })
    }

    /// Opens the text and checks that it is the one whose `digest` the entry carries.
    pub fn check(&self, key: &TextKey, digest: Digest) -> Result<OpenText, TextError> {
        let open = self.open(key)?;
        if open.digest() == digest { Ok(open) } else { Err(TextError::Digest) }
    }

    /// The entry that the text belongs to.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The text's name within its entry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The canonical line for a texts file, without a newline.
    pub fn line(&self) -> String {
        serde_json_canonicalizer::to_string(self)
            .expect("a struct of integers and strings is always JSON")
    }

    /// Reads a line of a texts file (without its newline). Accepts exactly what
    /// [`line`](Self::line) writes.
    pub fn parse(line: &[u8]) -> Result<Self, TextError> {
        let text: Self = serde_json::from_slice(line).map_err(|_| TextError::Malformed)?;
        let key = text.key.as_deref().is_none_or(is_key_id);
        let canonical = key && is_text_name(&text.name) && text.line().as_bytes() == line;
        if canonical { Ok(text) } else { Err(TextError::Malformed) }
    }
}

impl fmt::Debug for SealedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedText(entry {}, `{}`)", self.index, self.name)
    }
}

/// A text that was opened, and its salt: what to show to someone who shall check it against an entry.
pub struct OpenText {
    salt: [u8; SALT_BYTES],
    text: Zeroizing<Vec<u8>>,
}

impl OpenText {
    /// The text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The salt that stands before the text in its digest.
    pub fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.salt
    }

    /// The digest that the text's entry must carry.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.salt, &self.text)
    }
}

impl fmt::Debug for OpenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenText({} bytes)", self.text.len())
    }
}

/// The file that holds the texts of entry `index`: `texts/000000000000.jsonl`, named like the
/// entry's segment.
pub fn file_name(index: u64) -> String {
    format!("texts/{:012}.jsonl", segment::first_index(index))
}

fn is_key_id(id: &str) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    id.len() == 2 * KEY_ID_BYTES && id.bytes().all(digit)
}

/// What the cipher authenticates beside the text. Names hold no newline, so this cannot be read two
/// ways.
fn associated_data(index: u64, name: &str) -> Vec<u8> {
    format!("countermand-text-v1\n{index}\n{name}").into_bytes()
}

mod base64_bytes {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        bytes: &impl AsRef<[u8]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<Vec<u8>>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| D::Error::custom("not base64"))?;
        T::try_from(bytes).map_err(|_| D::Error::custom("wrong number of bytes"))
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> TextKey {
        TextKey::new(Zeroizing::new([byte; KEY_BYTES]))
    }

    fn sealed() -> SealedText {
        sealed_by(1)
    }

    fn sealed_by(byte: u8) -> SealedText {
        SealedText::seal(&key(byte), 41, "payload", &[2; 32], [3; 24], b"drop table users").unwrap()
    }

    #[test]
    fn digest_is_sha256_of_salt_then_text() {
        // `(head -c 32 /dev/zero; printf abc) | sha256sum`
        let expected = "365aa7d8f7f9402c4b9434502b4cc89ddb09fe50d7cd95b493b834c62d5a5370";
        assert_eq!(Digest::of(&[0; 32], b"abc").to_string(), expected);
        assert_ne!(Digest::of(&[0; 32], b"abc"), Digest::of(&[1; 32], b"abc"));
    }

    #[test]
    fn opens_what_was_sealed() {
        let open = sealed().open(&key(1)).unwrap();
        assert_eq!(open.text(), b"drop table users");
        assert_eq!(open.salt(), &[2; 32]);
        let digest = Digest::of(&[2; 32], b"drop table users");
        assert!(sealed().check(&key(1), digest).is_ok());
        let other = Digest::of(&[2; 32], b"drop table user");
        assert_eq!(sealed().check(&key(1), other).unwrap_err(), TextError::Digest);
        assert_eq!(sealed().open(&key(9)).unwrap_err(), TextError::Sealed);
    }

    #[test]
    fn a_text_cannot_be_moved() {
        let elsewhere = SealedText { index: 42, ..sealed() };
        assert_eq!(elsewhere.open(&key(1)).unwrap_err(), TextError::Sealed);
        let renamed = SealedText { name: "result".to_owned(), ..sealed() };
        assert_eq!(renamed.open(&key(1)).unwrap_err(), TextError::Sealed);
    }

    #[test]
    fn what_is_shorter_than_a_salt_does_not_open() {
        let nonce = [3; 24];
        let payload = Payload { msg: b"short".as_slice(), aad: &associated_data(0, "a") };
        let sealed = key(1).cipher().encrypt(XNonce::from_slice(&nonce), payload).unwrap();
        let record = SealedText { index: 0, key: None, name: "a".to_owned(), nonce, sealed };
        assert_eq!(record.open(&key(1)).unwrap_err(), TextError::Sealed);
    }

    #[test]
    fn neither_text_nor_key_is_printed() {
        let all = format!("{:?} {:?} {:?}", key(0x41), sealed(), sealed().open(&key(1)).unwrap());
        assert_eq!(all, "TextKey(..) SealedText(entry 41, `payload`) OpenText(16 bytes)");
    }

    #[test]
    fn neither_text_nor_salt_is_in_the_line() {
        let line = sealed().line();
        assert!(!line.contains("drop"));
        assert!(!line.contains(&BASE64_STANDARD.encode([2; 32])[..40]));
        let start =
            format!(r#"{{"index":41,"key":"{}","name":"payload","nonce":"AwMD"#, key(1).id());
        assert!(line.starts_with(&start), "{line}");
    }

    #[test]
    fn keys_that_were_replaced_open_what_they_sealed() {
        let (old, new) = (sealed(), sealed_by(2));
        assert_ne!(old.key, new.key);
        let keys = TextKeys::new(key(2), vec![key(1)]);
        for text in [&old, &new, &SealedText { key: None, ..old.clone() }] {
            assert_eq!(keys.open(text).unwrap().text(), b"drop table users");
        }
        let lost = TextKeys::new(key(2), Vec::new());
        let id = key(1).id().to_owned();
        assert_eq!(lost.open(&old).unwrap_err(), TextError::NoKey(id));
        let unnamed = SealedText { key: None, ..old.clone() };
        assert_eq!(lost.open(&unnamed).unwrap_err(), TextError::Sealed);
        let misnamed = SealedText { key: new.key.clone(), ..old };
        assert_eq!(keys.open(&misnamed).unwrap_err(), TextError::Sealed);
    }

    #[test]
    fn a_key_has_one_id_in_one_spelling() {
        // `(printf 'countermand-text-key-v1\n'; head -c 32 /dev/zero) | sha256sum`
        assert_eq!(key(0).id(), "aa11a238");
        let line = sealed().line();
        for wrong in ["", "0", "ABCDEF01", "0123456g", "012345678"] {
            let line = line.replace(key(1).id(), wrong);
            assert_eq!(SealedText::parse(line.as_bytes()), Err(TextError::Malformed), "{wrong}");
        }
    }

    #[test]
    fn names_are_checked() {
        for name in ["", "Payload", "a b", "a\n", "é", "1a", &"a".repeat(65)] {
            assert!(SealedText::seal(&key(1), 0, name, &[0; 32], [0; 24], b"").is_err(), "{name}");
        }
    }

    #[test]
    fn digests_have_one_spelling() {
        let hex = "00000000000000000000000000000000000000000000000000000000000000ff";
        assert_eq!(Digest::from_hex(hex).unwrap().to_string(), hex);
        assert_eq!(Digest::from_hex(&hex.to_uppercase()), None);
        assert_eq!(Digest::from_hex(&hex[2..]), None);
        assert_eq!(Digest::from_hex(&format!("{hex}00")), None);
    }

    proptest! {
        #[test]
        fn a_changed_line_never_opens_as_before(at: usize, flip in 1_u8..=255) {
            let mut line = sealed().line().into_bytes();
            let at = at % line.len();
            line[at] ^= flip;
            if let Ok(text) = SealedText::parse(&line) {
                // With another name of a key, too: the right one is not tried then.
                let opened = TextKeys::new(key(1), Vec::new()).open(&text);
                prop_assert!(opened.is_err());
            }
        }

        #[test]
        fn any_text_round_trips(index: u64, text: Vec<u8>, salt: [u8; 32], nonce: [u8; 24]) {
            let index = index >> 11;
            let sealed = SealedText::seal(&key(1), index, "a", &salt, nonce, &text).unwrap();
            let read = SealedText::parse(sealed.line().as_bytes()).unwrap();
            prop_assert_eq!(&read, &sealed);
            let open = read.check(&key(1), Digest::of(&salt, &text)).unwrap();
            prop_assert_eq!(open.text(), text);
        }
    }
}
