//! A browser with a passkey in software: it exists only in tests, of several crates. What it signs is
//! as WebAuthn says, and whatever it says of itself can be made to lie.

#![allow(dead_code, reason = "every crate's tests use a part of it")]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use countermand_core::digest::Digest;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

pub(crate) const PRESENT: u8 = 0x01;
pub(crate) const VERIFIED: u8 = 0x04;
/// It may be on several devices, and it is.
pub(crate) const ELIGIBLE: u8 = 0x08;
pub(crate) const BACKED_UP: u8 = 0x10;
/// An attestation object that says nothing, up to the authenticator data.
const NO_ATTESTATION: &[u8] = b"\xa3cfmtdnonegattStmt\xa0";

pub(crate) struct SoftPasskey {
    key: SigningKey,
    pub(crate) id: Vec<u8>,
    /// What the browser shows to the authenticator and to the server: changed to lie.
    pub(crate) scene: Scene,
}

#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) origin: String,
    pub(crate) rp: String,
    pub(crate) flags: u8,
    pub(crate) get: &'static str,
    pub(crate) create: &'static str,
    /// Also in the client data.
    pub(crate) more: Value,
    /// Also in the authenticator data.
    pub(crate) tail: Vec<u8>,
    pub(crate) counter: u32,
    /// The public key of one that is made, as COSE.
    pub(crate) cose: Vec<u8>,
    /// The attestation object of one that is made, up to the authenticator data.
    pub(crate) attestation: Vec<u8>,
}

impl SoftPasskey {
    /// Made at this origin, with ES256; always the same for the same seed.
    pub(crate) fn seeded(origin: &str, seed: u8) -> SoftPasskey {
        let key = SigningKey::from_slice(&[seed; 32]).unwrap();
        let name = origin.split("://").nth(1).unwrap();
        let point = key.verifying_key().to_encoded_point(false);
        let head = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
        let (x, y) = (point.x().unwrap(), point.y().unwrap());
        let cose = [&head[..], x, &[0x22, 0x58, 32], y].concat();
        let id = Digest::of_bytes(&cose).as_bytes()[..16].to_vec();
        let scene = Scene {
            origin: origin.to_owned(),
            rp: name.split(':').next().unwrap().to_owned(),
            flags: PRESENT | VERIFIED,
            get: "webauthn.get",
            create: "webauthn.create",
            more: json!({ "crossOrigin": false }),
            tail: Vec::new(),
            counter: 0,
            cose,
            attestation: NO_ATTESTATION.to_vec(),
        };
        SoftPasskey { key, id, scene }
    }

    /// The same key while the browser says something else.
    pub(crate) fn lying<T>(
        &mut self,
        how: impl FnOnce(&mut Scene),
        then: impl FnOnce(&Self) -> T,
    ) -> T {
        let honest = self.scene.clone();
        how(&mut self.scene);
        let said = then(self);
        self.scene = honest;
        said
    }

    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(bytes);
        signature.to_der().as_bytes().to_vec()
    }

    /// The line of a configuration, made by hand: as it is documented.
    pub(crate) fn line(&self) -> String {
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let flags = self.scene.flags & ELIGIBLE;
        let bytes = [&[1, flags][..], &length, &self.id, &self.scene.cose].concat();
        format!("passkey {} {}", self.scene.origin, BASE64.encode(bytes))
    }

    /// `navigator.credentials.create` with the SHA-256 of this text, as JSON.
    pub(crate) fn create(&self, text: &str) -> Value {
        let data = self.made_data();
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        let object = [&self.scene.attestation[..], b"hauthData\x59", &length, &data].concat();
        let client_data = self.client_data(self.scene.create, text.as_bytes());
        self.credential(json!({
            "clientDataJSON": BASE64.encode(client_data),
            "attestationObject": BASE64.encode(object),
            "transports": ["internal"],
        }))
    }

    /// What the authenticator says of a credential that is made.
    pub(crate) fn made_data(&self) -> Vec<u8> {
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let head = self.head(self.scene.flags | 0x40);
        [&head, &[0; 16][..], &length, &self.id, &self.scene.cose, &self.scene.tail].concat()
    }

    /// `navigator.credentials.get` with the SHA-256 of this text, as JSON.
    pub(crate) fn get(&self, text: &str) -> Value {
        let client_data = self.client_data(self.scene.get, text.as_bytes());
        let data = [&self.head(self.scene.flags)[..], &self.scene.tail].concat();
        let signed = [&data[..], Digest::of_bytes(&client_data).as_bytes()].concat();
        self.credential(json!({
            "clientDataJSON": BASE64.encode(client_data),
            "authenticatorData": BASE64.encode(&data),
            "signature": BASE64.encode(self.sign_bytes(&signed)),
            "userHandle": null,
        }))
    }

    /// The same as a text, as it is submitted.
    pub(crate) fn sign(&self, text: &str) -> String {
        self.get(text).to_string()
    }

    fn head(&self, flags: u8) -> Vec<u8> {
        let rp = Digest::of_bytes(self.scene.rp.as_bytes());
        [&rp.as_bytes()[..], &[flags], &self.scene.counter.to_be_bytes()].concat()
    }

    pub(crate) fn client_data(&self, kind: &str, text: &[u8]) -> Vec<u8> {
        let mut said = json!({
            "type": kind,
            "challenge": BASE64.encode(Digest::of_bytes(text).as_bytes()),
            "origin": self.scene.origin,
            "other_keys_can_be_added_here": "do not compare clientDataJSON against a template",
        });
        let (Value::Object(members), Value::Object(more)) = (&mut said, &self.scene.more) else {
            panic!("both are objects")
        };
        members.extend(more.clone());
        said.to_string().into_bytes()
    }

    fn credential(&self, response: Value) -> Value {
        let id = BASE64.encode(&self.id);
        json!({
            "id": id,
            "rawId": id,
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        })
    }
}
