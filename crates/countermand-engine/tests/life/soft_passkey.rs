//! A browser with a passkey in software: it exists only in tests, of several crates. What it signs is
//! as WebAuthn says, and whatever it says of itself can be made to lie.

#![allow(dead_code, reason = "every crate's tests use a part of it")]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use countermand_core::digest::Digest;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

pub(crate) const PRESENT: u8 = 0x01;
pub(crate) const VERIFIED: u8 = 0x04;

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

pub(crate) struct SoftPasskey {
    pair: Pair,
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
}

impl SoftPasskey {
    /// ES256, with a random key, made at this origin.
    pub(crate) fn es256(origin: &str) -> SoftPasskey {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        SoftPasskey::new(Pair::Es256(pair), origin)
    }

    /// EdDSA, always the same for the same seed.
    pub(crate) fn eddsa(origin: &str, seed: u8) -> SoftPasskey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        SoftPasskey::new(Pair::EdDsa(pair), origin)
    }

    fn new(pair: Pair, origin: &str) -> SoftPasskey {
        let name = origin.split("://").nth(1).unwrap();
        let scene = Scene {
            origin: origin.to_owned(),
            rp: name.split(':').next().unwrap().to_owned(),
            flags: PRESENT | VERIFIED,
            get: "webauthn.get",
            create: "webauthn.create",
            more: json!({ "crossOrigin": false }),
            tail: Vec::new(),
        };
        let mut made = SoftPasskey { pair, id: Vec::new(), scene };
        made.id = Digest::of_bytes(&made.cose()).as_bytes()[..16].to_vec();
        made
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

    fn cose(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Es256(pair) => {
                let point = pair.public_key().as_ref();
                let head = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
                [&head[..], &point[1..33], &[0x22, 0x58, 32], &point[33..]].concat()
            }
            Pair::EdDsa(pair) => {
                let head = [0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];
                [&head[..], pair.public_key().as_ref()].concat()
            }
        }
    }

    fn sign_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec(),
            Pair::EdDsa(pair) => pair.sign(bytes).as_ref().to_vec(),
        }
    }

    /// The line of a configuration, made by hand: as it is documented.
    pub(crate) fn line(&self) -> String {
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let bytes = [&[1][..], &length, &self.id, &self.cose()].concat();
        format!("passkey {} {}", self.scene.origin, BASE64.encode(bytes))
    }

    /// `navigator.credentials.create` with the SHA-256 of this text, as JSON.
    pub(crate) fn create(&self, text: &str) -> Value {
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let flags = self.scene.flags | 0x40;
        let data =
            [&self.head(flags)[..], &[0; 16], &length, &self.id, &self.cose(), &self.scene.tail];
        let data = data.concat();
        self.credential(json!({
            "clientDataJSON": BASE64.encode(self.client_data(self.scene.create, text.as_bytes())),
            "authenticatorData": BASE64.encode(&data),
            "attestationObject": "o2NmbXRkbm9uZQ",
            "transports": ["internal"],
        }))
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
        [&rp.as_bytes()[..], &[flags], &[0, 0, 0, 0]].concat()
    }

    fn client_data(&self, kind: &str, text: &[u8]) -> Vec<u8> {
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
