//! A passkey: its line, and what a browser's assertion must be to count as its signature.
//!
//! WebAuthn's steps for verifying an assertion, of which nothing is left to choose: the challenge is
//! the SHA-256 of the statement, so no state of any server is needed, and whoever has the line, the
//! statement and the assertion verifies it again, years later. Counters are not kept: a statement is
//! accepted once, and passkeys that are synchronized have none.

mod cose;

use super::{KeyError, Origin};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD as BASE64};
use cose::CoseKey;
use countermand_core::digest::Digest;
use serde::Deserialize;
use std::str::FromStr;

/// What its line begins with.
pub(super) const WORD: &str = "passkey";
/// The form of what stands in the line.
const VERSION: u8 = 1;
/// The longest id that an authenticator gives a credential, in bytes.
const LONGEST_ID: usize = 1023;

/// A credential that a browser made for a human at one origin.
///
/// In a configuration it is `passkey ORIGIN BASE64URL`, where what is encoded is a version (one
/// byte, 1), the length of the credential's id (two bytes, the higher first), the id, and the public
/// key as COSE has it in its one canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    origin: Origin,
    id: Vec<u8>,
    public: CoseKey,
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
    /// The signature is another's, or over something else.
    #[error("the passkey's signature does not hold")]
    DoesNotHold,
    /// Its algorithm is none of ours.
    #[error(
        "passkeys of this authenticator cannot be verified: it has neither ES256, EdDSA nor RS256"
    )]
    Algorithm,
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
        let public = self.public.to_bytes();
        let bytes = [&[VERSION][..], &length, &self.id, &public].concat();
        format!("{WORD} {} {}", self.origin, BASE64.encode(bytes))
    }

    /// Of the public key alone: whoever has it signs, under whatever id and for whatever origin.
    pub(super) fn fingerprint(&self) -> String {
        let digest = Digest::of_bytes(&self.public.to_bytes());
        format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(digest.as_bytes()))
    }

    /// Whether it signed exactly this text, on its page, with its human verified.
    pub(crate) fn verify(&self, text: &[u8], assertion: &Assertion) -> Result<(), PasskeyFault> {
        ClientData::read(&assertion.client_data)?.is(Asked::Sign, text, &self.origin)?;
        let data = &assertion.authenticator_data;
        // Nothing more was asked for, so nothing more is expected behind the counter.
        if data.len() != authenticator::HEAD || data[authenticator::FLAGS] & 0xc0 != 0 {
            return Err(PasskeyFault::AuthenticatorData);
        }
        authenticator::is_by_its_human(data, &self.origin)?;
        let client_data = Digest::of_bytes(&assertion.client_data);
        let signed = [data.as_slice(), client_data.as_bytes()].concat();
        match self.public.verifies(&signed, &assertion.signature) {
            true => Ok(()),
            false => Err(PasskeyFault::DoesNotHold),
        }
    }

    /// The passkey that a browser made at this origin when it was asked with this text. Nothing
    /// vouches for it: it counts for nobody until people sign its line.
    pub(crate) fn made(
        origin: &Origin,
        text: &[u8],
        credential: &str,
    ) -> Result<Passkey, PasskeyFault> {
        let made: Credential<Attestation> =
            serde_json::from_str(credential).map_err(|_| PasskeyFault::ClientData)?;
        let response = &made.response;
        let client_data = decoded(&response.client_data).ok_or(PasskeyFault::ClientData)?;
        ClientData::read(&client_data)?.is(Asked::Create, text, origin)?;
        let data = decoded(&response.authenticator_data).ok_or(PasskeyFault::AuthenticatorData)?;
        let (id, public) = authenticator::made(&data).ok_or(PasskeyFault::AuthenticatorData)?;
        authenticator::is_by_its_human(&data, origin)?;
        let named = made.id().ok_or(PasskeyFault::ClientData)?;
        let public = CoseKey::first_of(public).ok_or(PasskeyFault::Algorithm)?;
        if named != id {
            return Err(PasskeyFault::AuthenticatorData);
        }
        Ok(Passkey { origin: origin.clone(), id: named, public })
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
            let rest = bytes.strip_prefix(&[VERSION])?;
            let (length, rest) = rest.split_first_chunk()?;
            let (id, public) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            let public = CoseKey::parse(public)?;
            (1..=LONGEST_ID).contains(&id.len()).then(|| (id.to_vec(), public))
        };
        let (id, public) = read().ok_or(KeyError::Passkey)?;
        Ok(Passkey { origin, id, public })
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
        let used: Credential<Response> = serde_json::from_str(text).ok()?;
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
struct Response {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    #[serde(rename = "authenticatorData")]
    authenticator_data: String,
    signature: String,
}

#[derive(Deserialize)]
struct Attestation {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    #[serde(rename = "authenticatorData")]
    authenticator_data: String,
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

/// What a browser was asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Sign,
    Create,
}

/// What the browser itself says, and the authenticator signs the digest of.
#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
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

    /// Whether the browser did what it was asked, with the challenge that this text is, there.
    fn is(&self, asked: Asked, text: &[u8], origin: &Origin) -> Result<(), PasskeyFault> {
        let kind = match asked {
            Asked::Sign => "webauthn.get",
            Asked::Create => "webauthn.create",
        };
        if self.kind != kind {
            return Err(PasskeyFault::Type);
        }
        if self.origin != origin.as_str() {
            let used = countermand_core::visible::line(&self.origin);
            return Err(PasskeyFault::Origin { made: origin.to_string(), used });
        }
        if self.cross_origin || self.top_origin.is_some() {
            return Err(PasskeyFault::CrossOrigin);
        }
        if self.challenge != BASE64.encode(Digest::of_bytes(text).as_bytes()) {
            return Err(PasskeyFault::Challenge);
        }
        Ok(())
    }
}

/// The layout of what an authenticator says.
mod authenticator {
    use super::PasskeyFault;
    use crate::key::Origin;
    use crate::key::ssh::{USER_PRESENT, USER_VERIFIED};
    use countermand_core::digest::Digest;

    /// The digest of the RP id.
    const RP: usize = 32;
    /// Where the flags stand.
    pub(super) const FLAGS: usize = RP;
    /// The RP id's digest, flags, counter.
    pub(super) const HEAD: usize = RP + 1 + 4;
    /// The model's id, which nobody vouches for.
    const MODEL: usize = 16;
    /// The flag for "a credential follows".
    const ATTESTED: u8 = 0x40;

    /// Whether it is of this origin's name, and saw and recognized its human.
    pub(super) fn is_by_its_human(data: &[u8], origin: &Origin) -> Result<(), PasskeyFault> {
        let head = data.get(..HEAD).ok_or(PasskeyFault::AuthenticatorData)?;
        if head[..RP] != Digest::of_bytes(origin.host().as_bytes()).as_bytes()[..] {
            return Err(PasskeyFault::RelyingParty);
        }
        if head[FLAGS] & USER_PRESENT == 0 {
            return Err(PasskeyFault::NotPresent);
        }
        if head[FLAGS] & USER_VERIFIED == 0 {
            return Err(PasskeyFault::NotVerified);
        }
        Ok(())
    }

    /// The id and the public key of a credential that was made, with what follows.
    pub(super) fn made(data: &[u8]) -> Option<(&[u8], &[u8])> {
        let (head, rest) = data.split_at_checked(HEAD)?;
        let (_, rest) = rest.split_at_checked(MODEL)?;
        let (length, rest) = rest.split_first_chunk()?;
        let split = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        (head[FLAGS] & ATTESTED != 0).then_some(split)
    }
}
