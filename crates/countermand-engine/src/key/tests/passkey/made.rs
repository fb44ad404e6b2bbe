//! What could be handed in as a passkey that a browser made.

use super::*;
use countermand_core::digest::Digest;

const TEXT: &str = "make one";

fn made(passkey: &SoftPasskey) -> Result<Passkey, PasskeyFault> {
    Passkey::made(&HERE.parse().unwrap(), TEXT.as_bytes(), &passkey.create(TEXT).to_string())
}

/// What is made of an honest one while the browser or the authenticator says this.
fn lies(how: impl FnOnce(&mut Scene)) -> PasskeyFault {
    let mut passkey = SoftPasskey::seeded(HERE, 7);
    assert!(made(&passkey).is_ok());
    passkey.lying(how, made).unwrap_err()
}

/// With this public key.
fn of_key(cose: &[u8]) -> Result<Passkey, PasskeyFault> {
    let mut passkey = SoftPasskey::seeded(HERE, 7);
    passkey.lying(|scene| scene.cose = cose.to_vec(), made)
}

fn rs256(modulus: &[u8], exponent: [u8; 3]) -> Vec<u8> {
    let length = u16::try_from(modulus.len()).unwrap().to_be_bytes();
    let head = [0xa4, 1, 3, 3, 0x39, 1, 0, 0x20, 0x59];
    [&head[..], &length, modulus, &[0x21, 0x43], &exponent].concat()
}

#[test]
fn what_a_browser_made_becomes_a_line() {
    let mut passkey = SoftPasskey::seeded(HERE, 7);
    assert_eq!(Key::Passkey(made(&passkey).unwrap()).line(), passkey.line());
    // Extensions may follow.
    passkey.scene.tail = b"\xa1kcredProtect\x03".to_vec();
    passkey.scene.flags |= 0x80;
    assert_eq!(Key::Passkey(made(&passkey).unwrap()).line(), passkey.line());
    // One that is on several devices already.
    passkey.scene.flags |= ELIGIBLE | BACKED_UP;
    assert_eq!(Key::Passkey(made(&passkey).unwrap()).line(), passkey.line());
    assert_ne!(passkey.line(), SoftPasskey::seeded(HERE, 7).line());
}

#[test]
fn what_was_not_made_here_and_now_becomes_none() {
    assert_eq!(lies(|scene| scene.create = "webauthn.get"), PasskeyFault::Type);
    assert_eq!(lies(|scene| scene.flags = PRESENT), PasskeyFault::NotVerified);
    assert_eq!(lies(|scene| scene.flags = VERIFIED), PasskeyFault::NotPresent);
    assert_eq!(lies(|scene| scene.flags |= BACKED_UP), PasskeyFault::Backup);
    assert_eq!(lies(|scene| scene.rp = "example".into()), PasskeyFault::RelyingParty);
    for other in ["http://localhost:3000", "https://gate.example:443", "https://GATE.example"] {
        let fault = lies(|scene| scene.origin = other.into());
        assert!(matches!(fault, PasskeyFault::Origin { .. }), "{other}: {fault}");
    }
    let framed = lies(|scene| scene.more = json!({ "crossOrigin": true }));
    assert_eq!(framed, PasskeyFault::CrossOrigin);
    let framed = lies(|scene| scene.more = json!({ "topOrigin": "https://evil.example" }));
    assert_eq!(framed, PasskeyFault::CrossOrigin);
    let passkey = SoftPasskey::seeded(HERE, 7);
    let other_text = passkey.create("another").to_string();
    let other_text = Passkey::made(&HERE.parse().unwrap(), TEXT.as_bytes(), &other_text);
    assert_eq!(other_text, Err(PasskeyFault::Challenge));
    let mut other_id = passkey.create(TEXT);
    other_id["id"] = json!("AAAA");
    other_id["rawId"] = json!("AAAA");
    let other_id = Passkey::made(&HERE.parse().unwrap(), TEXT.as_bytes(), &other_id.to_string());
    assert_eq!(other_id, Err(PasskeyFault::AuthenticatorData));
}

#[test]
fn only_keys_of_two_algorithms_are_made() {
    let es256 = SoftPasskey::seeded(HERE, 7).scene.cose;
    let windows = rs256(&[0xd5; 256], [1, 0, 1]);
    for cose in [&es256, &windows] {
        assert!(of_key(cose).is_ok());
    }
    let altered = |how: &dyn Fn(&mut Vec<u8>)| {
        let mut cose = es256.clone();
        how(&mut cose);
        cose
    };
    let ed25519 = [&[0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32][..], &[7; 32]].concat();
    // P-384 under the name of ES256, with its generator for a point: the library takes it.
    let p384 = [
        &[0xa5, 1, 2, 3, 0x26, 0x20, 2, 0x21, 0x58, 48][..],
        &hex::decode(concat!(
            "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a38",
            "5502f25dbf55296c3a545e3872760ab7"
        ))
        .unwrap(),
        &[0x22, 0x58, 48],
        &hex::decode(concat!(
            "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c0",
            "0a60b1ce1d7e819d7a431d7c90ea0e5f"
        ))
        .unwrap(),
    ]
    .concat();
    let mut tiny = [0; 256];
    tiny[255] = 5;
    let mut one = [0; 256];
    one[255] = 1;
    for cose in [
        ed25519,
        p384,
        // Not on the curve; another curve's name; another algorithm's; another kind of key's.
        altered(&|cose| cose[20] ^= 1),
        altered(&|cose| cose[6] = 2),
        altered(&|cose| cose[4] = 0x27),
        altered(&|cose| cose[2] = 3),
        rs256(&[0xd5; 256], [0, 0, 3]),
        rs256(&[0xd5; 256], [0, 0, 0]),
        rs256(&[0xd4; 256], [1, 0, 1]),
        rs256(&[0; 256], [1, 0, 1]),
        rs256(&tiny, [0, 0, 3]),
        rs256(&one, [0, 0, 1]),
        rs256(&[0xd5; 255], [1, 0, 1]),
        rs256(&[0xd5; 512], [1, 0, 1]),
    ] {
        assert_eq!(of_key(&cose), Err(PasskeyFault::Algorithm), "{cose:?}");
        let line = SoftPasskey::seeded(HERE, 7);
        let mut line = line;
        line.scene.cose = cose;
        assert_eq!(line.line().parse::<Key>(), Err(KeyError::Passkey));
    }
}

#[test]
fn a_key_has_one_spelling_however_it_was_made() {
    let honest = SoftPasskey::seeded(HERE, 7);
    // Members in another order and one more, which the library passes over.
    let mut more = vec![0xa6];
    more.extend([3, 0x26, 1, 2]);
    more.extend(&honest.scene.cose[5..]);
    more.extend([4, 1]);
    let mut odd = SoftPasskey::seeded(HERE, 7);
    odd.scene.cose = more;
    assert_eq!(Key::Passkey(made(&odd).unwrap()).line(), honest.line());
    assert_eq!(odd.line().parse::<Key>(), Err(KeyError::Passkey));
}

#[test]
fn an_authenticator_vouches_for_nothing() {
    let format = |name: &str| {
        let length = 0x60 + u8::try_from(name.len()).unwrap();
        [b"\xa3cfmt", &[length][..], name.as_bytes(), b"gattStmt\xa0"].concat()
    };
    for name in ["tpm", "apple", "android-key", "fido-u2f", "android-safetynet", "", "None", "x"] {
        let fault = lies(|scene| scene.attestation = format(name));
        assert_eq!(fault, PasskeyFault::Attestation, "{name}");
    }
    assert_eq!(lies(|scene| scene.attestation = format("packed")), PasskeyFault::Attestation);
    let no_format = lies(|scene| scene.attestation = b"\xa2gattStmt\xa0".to_vec());
    assert_eq!(no_format, PasskeyFault::AuthenticatorData);
}

#[test]
fn a_new_key_may_sign_for_itself() {
    let mut passkey = SoftPasskey::seeded(HERE, 7);
    let client_data = passkey.client_data(passkey.scene.create, TEXT.as_bytes());
    let digest = *Digest::of_bytes(&client_data).as_bytes();
    let signature = passkey.sign_bytes(&[&passkey.made_data()[..], &digest].concat());
    let packed = |signature: &[u8]| {
        let length = u8::try_from(signature.len()).unwrap();
        [b"\xa3cfmtfpackedgattStmt\xa2calg\x26csig\x58", &[length][..], signature].concat()
    };
    passkey.scene.attestation = packed(&signature);
    assert!(made(&passkey).is_ok());
    let other = passkey.sign_bytes(b"another");
    passkey.scene.attestation = packed(&other);
    assert_eq!(made(&passkey), Err(PasskeyFault::Attestation));
    passkey.scene.attestation = packed(b"");
    assert_eq!(made(&passkey), Err(PasskeyFault::Attestation));
}
