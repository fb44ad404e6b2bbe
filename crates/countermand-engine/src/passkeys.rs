//! What browsers are asked with, and what they answer: passkeys made, and humans who log in.
//!
//! Nothing here lets anything happen. A passkey that was made counts for nobody until people sign
//! its line, and who logs in reads. A statement is signed with the same key in
//! [`crate::control::Command::Submit`], where nothing of this counts.

use crate::engine::Engine;
use crate::key::{self, Key, Origin, Passkey, PasskeyFault, SignatureError};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use countermand_core::configuration::Claim;
use countermand_core::name::HumanName;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How long a browser's human has to answer.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// Used texts that are remembered at a time: more humans do not log in within [`PATIENCE`].
const MOST_USED: usize = 1000;
/// Algorithms by COSE's numbers, the one that is wanted most first: ES256, RS256.
const ALGORITHMS: [i32; 2] = [-7, -257];

/// Makes passkeys and logs humans in with them.
pub struct Passkeys {
    engine: Engine,
    texts: Texts,
}

/// A passkey that was made and that nobody has enrolled yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadePasskey {
    /// What is put among its human's `keys`.
    pub line: String,
    /// What it is recognized by where it was used.
    pub fingerprint: String,
}

/// Somebody who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// Who.
    pub human: HumanName,
    /// The fingerprint of the passkey.
    pub key: String,
}

/// Why no passkey was made, or nobody logged in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasskeysError {
    /// What the browser was asked with was not given out here, is older than five minutes, or was
    /// used.
    #[error("that took longer than five minutes, or was done before: begin again")]
    Stale,
    /// Too many log in at the same time.
    #[error("too many people log in at the same time: try again in five minutes")]
    TooMany,
    /// What the browser gave does not hold.
    #[error(transparent)]
    Fault(#[from] PasskeyFault),
    /// Nobody has this passkey here, or it does not count yet.
    #[error(
        "nobody has this passkey here, or it does not count yet: it does 24 hours after a \
         configuration that names it is in force"
    )]
    Unknown,
}

impl Passkeys {
    /// Of this engine. What it gives out is good for as long as this value lives.
    pub fn new(engine: Engine) -> Passkeys {
        Passkeys { engine, texts: Texts::new(rand::random()) }
    }

    /// What a browser at `origin` is asked with to make a passkey for this human: `text`, whose
    /// SHA-256 is the challenge, and `options`, of WebAuthn's `PublicKeyCredentialCreationOptions`
    /// without the challenge, in which bytes are base64url.
    pub fn creation(&self, human: &HumanName, origin: &Origin) -> Value {
        let name = &self.engine.0.installation.name;
        let purpose = making(human, origin);
        let algorithms = ALGORITHMS.map(|alg| json!({ "type": "public-key", "alg": alg }));
        let here = |key: &Passkey| key.origin().host() == origin.host();
        // Random: whatever else is at this name cannot have an authenticator replace this passkey.
        let user: [u8; 32] = rand::random();
        json!({
            "text": self.texts.give(&purpose, self.now()),
            "options": {
                "rp": { "id": origin.host(), "name": format!("Countermand {name}") },
                "user": {
                    "id": BASE64.encode(user),
                    "name": human,
                    "displayName": human,
                },
                "pubKeyCredParams": algorithms,
                "timeout": PATIENCE.as_millis(),
                "excludeCredentials": descriptors(self.enrolled(human).iter().filter(|key| here(key))),
                "authenticatorSelection": {
                    "residentKey": "preferred",
                    "userVerification": "required",
                },
                "attestation": "none",
            },
        })
    }

    /// The passkey that the browser made when it was asked with `text`.
    ///
    /// # Errors
    /// [`PasskeysError`]
    pub fn created(
        &self,
        human: &HumanName,
        origin: &Origin,
        text: &str,
        credential: &str,
    ) -> Result<MadePasskey, PasskeysError> {
        let now = self.now();
        self.texts.check(&making(human, origin), text, now)?;
        if credential.len() > key::LONGEST_SIGNATURE {
            return Err(PasskeyFault::ClientData.into());
        }
        let made = Key::Passkey(Passkey::made(origin, text.as_bytes(), credential)?);
        self.texts.spend(text, now)?;
        Ok(MadePasskey { line: made.line(), fingerprint: made.fingerprint() })
    }

    /// What a browser at `origin` is asked with to sign as this human: of WebAuthn's
    /// `PublicKeyCredentialRequestOptions` all but the challenge, which is the SHA-256 of what is
    /// signed. Nothing where they have no passkey that counts there.
    pub fn request(&self, signer: &HumanName, origin: &Origin) -> Option<Value> {
        let human = self.engine.people().get(signer)?;
        let keys: Vec<&Passkey> = passkeys(&human.keys).filter(|k| k.origin() == origin).collect();
        if keys.is_empty() {
            return None;
        }
        Some(asked(origin, descriptors(keys)))
    }

    /// What a browser at `origin` is asked with to log in: `text`, whose SHA-256 is the challenge,
    /// and `options` as in [`Passkeys::request`]. Which passkey, its human chooses: a stranger is
    /// not told who has one. Who is `known` already is asked for theirs, also for those that an
    /// authenticator does not find without their id.
    pub fn login(&self, origin: &Origin, known: Option<&HumanName>) -> Value {
        let text = self.texts.give(&entering(origin), self.now());
        let options = known.and_then(|human| self.request(human, origin));
        let options = options.unwrap_or_else(|| asked(origin, Vec::new()));
        json!({ "text": text, "options": options })
    }

    /// All keys of a human, with when each begins to count.
    pub fn keys_of(&self, human: &HumanName) -> Vec<(Key, Timestamp)> {
        let found = self.engine.0.installation.humans.get(human);
        let counts = |key: &Key| {
            let claim = Claim::key(human.as_str(), &key.line());
            (key.clone(), self.engine.0.enrolment.counts_from(&claim))
        };
        found.map(|human| human.keys.iter().map(counts).collect()).unwrap_or_default()
    }

    /// Who logged in when the browser was asked with `text`.
    ///
    /// # Errors
    /// [`PasskeysError`]
    pub fn logged_in(
        &self,
        origin: &Origin,
        text: &str,
        credential: &str,
    ) -> Result<LoggedIn, PasskeysError> {
        let now = self.now();
        self.texts.check(&entering(origin), text, now)?;
        let people = self.engine.people();
        let mut refused = PasskeysError::Unknown;
        for name in self.engine.0.installation.humans.keys() {
            let Some(human) = people.get(name) else { continue };
            let here = |key: &Key| matches!(key, Key::Passkey(key) if key.origin() == origin);
            let keys: Vec<Key> = human.keys.into_iter().filter(here).collect();
            match key::verify(&keys, text.as_bytes(), credential) {
                Ok(signed) => {
                    self.texts.spend(text, now)?;
                    return Ok(LoggedIn { human: name.clone(), key: signed.key });
                }
                Err(SignatureError::Passkey(fault)) => refused = fault.into(),
                Err(_) => {}
            }
        }
        Err(refused)
    }

    fn now(&self) -> Timestamp {
        self.engine.clock().now()
    }

    /// All passkeys of a human, whether they count yet or not.
    fn enrolled(&self, human: &HumanName) -> Vec<Passkey> {
        let human = self.engine.0.installation.humans.get(human);
        human.map(|human| passkeys(&human.keys).cloned().collect()).unwrap_or_default()
    }
}

fn passkeys(keys: &[Key]) -> impl Iterator<Item = &Passkey> {
    keys.iter().filter_map(|key| match key {
        Key::Passkey(key) => Some(key),
        Key::Ssh(_) => None,
    })
}

fn asked(origin: &Origin, allowed: Vec<Value>) -> Value {
    json!({
        "rpId": origin.host(),
        "timeout": PATIENCE.as_millis(),
        "userVerification": "required",
        "allowCredentials": allowed,
    })
}

fn descriptors<'k>(keys: impl IntoIterator<Item = &'k Passkey>) -> Vec<Value> {
    keys.into_iter().map(|key| json!({ "type": "public-key", "id": key.id() })).collect()
}

fn making(human: &HumanName, origin: &Origin) -> String {
    format!("countermand-passkey-v1 {origin} {human}")
}

fn entering(origin: &Origin) -> String {
    format!("countermand-login-v1 {origin}")
}

/// Texts that are good once, and recognized without being kept, so that no stranger fills a memory
/// or pushes another's out. No statement is such a text: statements are JSON.
struct Texts {
    key: hmac::Key,
    /// Those that were used, until they end anyway.
    used: Mutex<BTreeMap<String, Timestamp>>,
}

impl Texts {
    fn new(secret: [u8; 32]) -> Texts {
        Texts { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), used: Mutex::default() }
    }

    /// `PURPOSE MILLISECONDS NONCE MAC`
    fn give(&self, purpose: &str, now: Timestamp) -> String {
        let nonce = BASE64.encode(rand::random::<[u8; 16]>());
        let text = format!("{purpose} {} {nonce}", now.as_millisecond());
        let mac = BASE64.encode(hmac::sign(&self.key, text.as_bytes()));
        format!("{text} {mac}")
    }

    /// Whether it was given out here, for this, and is not too old.
    fn check(&self, purpose: &str, text: &str, now: Timestamp) -> Result<(), PasskeysError> {
        let given = || {
            let (head, mac) = text.rsplit_once(' ')?;
            hmac::verify(&self.key, head.as_bytes(), &BASE64.decode(mac).ok()?).ok()?;
            let rest = head.strip_prefix(purpose)?.strip_prefix(' ')?;
            let (millis, _nonce) = rest.split_once(' ')?;
            Timestamp::from_millisecond(millis.parse().ok()?).ok()
        };
        match given() {
            Some(at) if now.duration_since(at) < PATIENCE => Ok(()),
            _ => Err(PasskeysError::Stale),
        }
    }

    /// Once.
    fn spend(&self, text: &str, now: Timestamp) -> Result<(), PasskeysError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, at| now.duration_since(*at) < PATIENCE);
        if used.len() >= MOST_USED {
            return Err(PasskeysError::TooMany);
        }
        match used.insert(text.to_owned(), now) {
            None => Ok(()),
            Some(_) => Err(PasskeysError::Stale),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_text_is_good_once_for_its_purpose_and_not_for_long() {
        let texts = Texts::new([1; 32]);
        let text = texts.give("login here", at(0));
        assert_eq!(texts.check("login here", &text, at(299)), Ok(()));
        assert_eq!(texts.check("login here", &text, at(300)), Err(PasskeysError::Stale));
        assert_eq!(texts.check("login", &text, at(0)), Err(PasskeysError::Stale));
        assert_eq!(texts.check("login there", &text, at(0)), Err(PasskeysError::Stale));
        assert_eq!(texts.spend(&text, at(1)), Ok(()));
        assert_eq!(texts.spend(&text, at(1)), Err(PasskeysError::Stale));
        assert_ne!(texts.give("login here", at(0)), text);
    }

    #[test]
    fn a_text_of_ones_own_making_is_none() {
        let texts = Texts::new([1; 32]);
        let other = Texts::new([2; 32]).give("login", at(0));
        assert_eq!(texts.check("login", &other, at(0)), Err(PasskeysError::Stale));
        let text = texts.give("login", at(0));
        let moved =
            text.replace(&at(0).as_millisecond().to_string(), &at(9).as_millisecond().to_string());
        assert_ne!(moved, text);
        assert_eq!(texts.check("login", &moved, at(0)), Err(PasskeysError::Stale));
        for text in ["", "login", "login 0 x ", &text[..text.len() - 1]] {
            assert_eq!(texts.check("login", text, at(0)), Err(PasskeysError::Stale), "{text}");
        }
    }

    #[test]
    fn what_was_used_is_remembered_for_as_long_as_it_could_be_used() {
        let texts = Texts::new([1; 32]);
        for second in 0..MOST_USED {
            assert_eq!(texts.spend(&second.to_string(), at(0)), Ok(()));
        }
        assert_eq!(texts.spend("one more", at(299)), Err(PasskeysError::TooMany));
        assert_eq!(texts.spend("one more", at(300)), Ok(()));
    }
}
