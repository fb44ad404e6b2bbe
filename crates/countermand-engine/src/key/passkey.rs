//! A passkey: its line, and what a browser's assertion must be to count as its signature.
//!
//! `webauthn-rs-core` verifies; what stands here is stricter than it. The challenge is the SHA-256 of
//! the statement, so no state of any server is needed, and whoever has the line, the statement and the
//! assertion verifies it again, years later. Counters are not kept: a statement is accepted once, and
//! passkeys that are synchronized have none.
//!
//! - `webauthn`: what the library is asked
//! - `cose`: public keys, and their one form

mod cose;
mod webauthn;

use super::{KeyError, Origin};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD as BASE64};
use cose::PublicKey;
use countermand_core::digest::Digest;
use serde::Deserialize;
use std::str::FromStr;

/// What its line begins with.
pub(super) const WORD: &str = "passkey";
/// The form of what stands in the line.
const VERSION: u8 = 1;
/// The flag for "it may be kept on several devices", in the line as in what authenticators say.
const BACKUP_ELIGIBLE: u8 = 0x08;
/// What an authenticator says of a signature, in bytes: the RP id's digest, flags and a counter.
/// Nothing more was asked for, so nothing more is expected behind it.
const AUTHENTICATOR_DATA: usize = 32 + 1 + 4;
/// The longest id that an authenticator gives a credential, in bytes.
const LONGEST_ID: usize = 1023;

/// A credential that a browser made for a human at one origin.
///
/// In a configuration it is `passkey ORIGIN BASE64URL`, where what is encoded is a version (one
/// byte, 1), flags (one byte: 8 where the key may be kept on several devices, else 0), the length of
/// the credential's id (two bytes, the higher first), the id, and the public key as COSE has it in its
/// one canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    origin: Origin,
    id: Vec<u8>,
    /// Whether it may be kept on several devices. It was said when it was made, and does not change.
    backup_eligible: bool,
    public: PublicKey,
}

/// Why what a browser gave is no signature by a passkey, or no passkey.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyFault {
    /// What the browser says of it cannot be read.
    #[error("what the browser says of the passkey cannot be read")]
    ClientData,
    /// It was not asked for this.
    #[error("the passkey was used for something else than this")]
    Type,
    /// It signed another text.
    #[error("the passkey did not sign this statement: look again, and sign what is shown then")]
    Challenge,
    /// It was used on another page.
    #[error("the passkey was made for `{made}` and was used at `{used}`")]
    Origin {
        /// The origin in its line.
        made: String,
        /// The other.
        used: String,
    },
    /// It was used in a frame of another page.
    #[error("the passkey was used in a frame of another page")]
    CrossOrigin,
    /// What the authenticator says cannot be read.
    #[error("what the authenticator says cannot be read")]
    AuthenticatorData,
    /// It belongs to another name.
    #[error("the passkey belongs to another name than its page")]
    RelyingParty,
    /// Nobody was seen to be there.
    #[error("the authenticator saw nobody: touch it when it asks")]
    NotPresent,
    /// Nobody was recognized.
    #[error(
        "the authenticator did not verify who you are: it must ask for a PIN, a finger or a face"
    )]
    NotVerified,
    /// It was bound to one device when it was made and is not now, or the other way round.
    #[error(
        "the authenticator says of copies of the passkey something else than when it was made: \
         make a new one"
    )]
    Backup,
    /// The signature is another's, or over something else.
    #[error("the passkey's signature does not hold")]
    DoesNotHold,
    /// Its algorithm is none of ours.
    #[error("passkeys of this authenticator cannot be verified: it has neither ES256 nor RS256")]
    Algorithm,
    /// The authenticator says what it is, unasked, in a way that is not looked at or does not hold.
    #[error(
        "what the authenticator says of its make cannot be verified: make the passkey in another \
         browser, or with another authenticator"
    )]
    Attestation,
}

impl Passkey {
    /// The page it was made on, and the only one it signs at.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The credential's id, as browsers are asked for it: base64url.
    pub fn id(&self) -> String {
        BASE64.encode(&self.id)
    }

    pub(super) fn line(&self) -> String {
        let length = u16::try_from(self.id.len()).unwrap_or(u16::MAX).to_be_bytes();
        let flags = if self.backup_eligible { BACKUP_ELIGIBLE } else { 0 };
        let public = self.public.as_bytes();
        let bytes = [&[VERSION, flags][..], &length, &self.id, public].concat();
        format!("{WORD} {} {}", self.origin, BASE64.encode(bytes))
    }

    /// Of the public key alone: whoever has it signs, under whatever id and for whatever origin.
    pub(super) fn fingerprint(&self) -> String {
        let digest = Digest::of_bytes(self.public.as_bytes());
        format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(digest.as_bytes()))
    }

    /// Whether it signed exactly this text, on its page, with its human verified.
    pub(crate) fn verify(&self, text: &[u8], assertion: &Assertion) -> Result<(), PasskeyFault> {
        ClientData::read(&assertion.client_data)?.is_of(&self.origin)?;
        if assertion.authenticator_data.len() != AUTHENTICATOR_DATA {
            return Err(PasskeyFault::AuthenticatorData);
        }
        webauthn::verify(self, text, assertion)
    }

    /// The passkey that a browser made at this origin when it was asked with this text. Nothing
    /// vouches for it: it counts for nobody until people sign its line.
    pub(crate) fn made(
        origin: &Origin,
        text: &[u8],
        credential: &str,
    ) -> Result<Passkey, PasskeyFault> {
        let attestation = Attestation::parse(credential).ok_or(PasskeyFault::ClientData)?;
        ClientData::read(&attestation.client_data)?.is_of(origin)?;
        webauthn::register(origin, text, &attestation)
    }
}

impl FromStr for Passkey {
    type Err = KeyError;

    fn from_str(line: &str) -> Result<Passkey, KeyError> {
        let mut words = line.split_whitespace();
        let (Some(WORD), Some(origin), Some(encoded)) = (words.next(), words.next(), words.next())
        else {
            return Err(KeyError::Passkey);
        };
        let origin = origin.parse()?;
        let bytes = BASE64.decode(encoded).map_err(|_| KeyError::Passkey)?;
        let read = || {
            let (flags, rest) = bytes.strip_prefix(&[VERSION])?.split_first()?;
            let backup_eligible = match *flags {
                0 => false,
                BACKUP_ELIGIBLE => true,
                _ => return None,
            };
            let (length, rest) = rest.split_first_chunk()?;
            let (id, public) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            let public = PublicKey::parse(public)?;
            let sound = (1..=LONGEST_ID).contains(&id.len());
            sound.then(|| (id.to_vec(), backup_eligible, public))
        };
        let (id, backup_eligible, public) = read().ok_or(KeyError::Passkey)?;
        Ok(Passkey { origin, id, backup_eligible, public })
    }
}

/// What a browser gives back when a passkey was used: the JSON of a `PublicKeyCredential`.
#[derive(Debug)]
pub(crate) struct Assertion {
    id: Vec<u8>,
    client_data: Vec<u8>,
    authenticator_data: Vec<u8>,
    signature: Vec<u8>,
}

impl Assertion {
    pub(crate) fn parse(text: &str) -> Option<Assertion> {
        let used: Credential<Used> = serde_json::from_str(text).ok()?;
        Some(Assertion {
            id: used.id()?,
            client_data: decoded(&used.response.client_data)?,
            authenticator_data: decoded(&used.response.authenticator_data)?,
            signature: decoded(&used.response.signature)?,
        })
    }

    /// Whether it says that it was made with this one.
    pub(crate) fn is_by(&self, passkey: &Passkey) -> bool {
        self.id == passkey.id
    }

    /// The id it names, to be said to people: it may be of nobody.
    pub(super) fn shown_id(&self) -> String {
        let id = BASE64.encode(&self.id);
        let short: String = id.chars().take(16).collect();
        let more = if short.len() < id.len() { "…" } else { "" };
        format!("of passkey {short}{more}")
    }
}

/// What a browser gives back when a passkey was made.
struct Attestation {
    id: Vec<u8>,
    client_data: Vec<u8>,
    object: Vec<u8>,
}

impl Attestation {
    fn parse(text: &str) -> Option<Attestation> {
        let made: Credential<Made> = serde_json::from_str(text).ok()?;
        Some(Attestation {
            id: made.id()?,
            client_data: decoded(&made.response.client_data)?,
            object: decoded(&made.response.object)?,
        })
    }
}

#[derive(Deserialize)]
struct Credential<T> {
    id: String,
    #[serde(rename = "rawId")]
    raw_id: String,
    #[serde(rename = "type")]
    kind: String,
    response: T,
}

#[derive(Deserialize)]
struct Used {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    #[serde(rename = "authenticatorData")]
    authenticator_data: String,
    signature: String,
}

#[derive(Deserialize)]
struct Made {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    #[serde(rename = "attestationObject")]
    object: String,
}

impl<T> Credential<T> {
    /// Its id, where it is said twice and the same.
    fn id(&self) -> Option<Vec<u8>> {
        let sound = self.kind == "public-key" && self.id == self.raw_id;
        let id = decoded(&self.raw_id).filter(|_| sound)?;
        (1..=LONGEST_ID).contains(&id.len()).then_some(id)
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Of what the browser itself says, what the library looks at less closely or not at all.
#[derive(Deserialize)]
struct ClientData {
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
    #[serde(default, rename = "topOrigin")]
    top_origin: Option<String>,
}

impl ClientData {
    fn read(bytes: &[u8]) -> Result<ClientData, PasskeyFault> {
        serde_json::from_slice(bytes).map_err(|_| PasskeyFault::ClientData)
    }

    /// Whether the browser was at this very page, and in no frame of another.
    fn is_of(&self, origin: &Origin) -> Result<(), PasskeyFault> {
        if self.origin != origin.as_str() {
            let used = countermand_core::visible::line(&self.origin);
            return Err(PasskeyFault::Origin { made: origin.to_string(), used });
        }
        if self.cross_origin || self.top_origin.is_some() {
            return Err(PasskeyFault::CrossOrigin);
        }
        Ok(())
    }
}
