//! What somebody else's page, program or authenticator could hand in instead of a human's own
//! signature over this statement.

#[path = "../../../tests/life/soft_passkey.rs"]
mod soft_passkey;

mod made;
mod mutated;

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use soft_passkey::{BACKED_UP, ELIGIBLE, PRESENT, Scene, SoftPasskey, VERIFIED};
use ssh_key::public::{EcdsaPublicKey, SkEcdsaSha2NistP256};

const HERE: &str = "https://gate.example";
const STATEMENT: &str = r#"{"act":"approve"}"#;

fn enrolled(passkey: &SoftPasskey) -> Vec<Key> {
    vec![passkey.line().parse().unwrap()]
}

fn check(keys: &[Key], signature: &str) -> Result<Signed, SignatureError> {
    verify(keys, STATEMENT.as_bytes(), signature)
}

/// What is made of the honest signature while the browser or the authenticator says this.
fn lies(how: impl FnOnce(&mut Scene)) -> PasskeyFault {
    let mut passkey = SoftPasskey::seeded(HERE, 7);
    let keys = enrolled(&passkey);
    assert!(check(&keys, &passkey.sign(STATEMENT)).is_ok());
    match passkey.lying(how, |passkey| check(&keys, &passkey.sign(STATEMENT))) {
        Err(SignatureError::Passkey(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

/// What is made of an honest signature that was changed afterwards.
fn forged(how: impl FnOnce(&mut Value)) -> Result<Signed, SignatureError> {
    let passkey = SoftPasskey::seeded(HERE, 7);
    let mut credential = passkey.get(STATEMENT);
    how(&mut credential);
    check(&enrolled(&passkey), &credential.to_string())
}

/// Other bytes in a member of the response.
fn bytes(credential: &mut Value, member: &str, how: impl FnOnce(&mut Vec<u8>)) {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
    let text = credential["response"][member].as_str().unwrap();
    let mut bytes = BASE64.decode(text).unwrap();
    how(&mut bytes);
    credential["response"][member] = json!(BASE64.encode(bytes));
}

const DOES_NOT_HOLD: Result<Signed, SignatureError> =
    Err(SignatureError::Passkey(PasskeyFault::DoesNotHold));

#[test]
fn a_passkey_signs_a_statement_and_verified_its_human() {
    for page in [HERE, "http://localhost:6480"] {
        let passkey = SoftPasskey::seeded(page, 7);
        let keys = enrolled(&passkey);
        let signed = check(&keys, &passkey.sign(STATEMENT)).unwrap();
        assert_eq!(signed, Signed { key: keys[0].fingerprint(), user_verified: true });
    }
}

#[test]
fn windows_signs_with_rsa() {
    let keys: Vec<Key> = vec![include_str!("rs256-line.txt").parse().unwrap()];
    let assertion = include_str!("rs256-assertion.json");
    assert!(check(&keys, assertion).unwrap().user_verified);
    assert!(verify(&keys, b"{}", assertion).is_err());
}

#[test]
fn an_assertion_for_another_statement_is_none_for_this() {
    let passkey = SoftPasskey::seeded(HERE, 7);
    let refused = check(&enrolled(&passkey), &passkey.sign(r#"{"act":"approve","change":2}"#));
    assert_eq!(refused, Err(PasskeyFault::Challenge.into()));
}

#[test]
fn nothing_is_signed_at_another_origin() {
    for other in [
        "https://gate.example.evil.example",
        "https://evil.gate.example",
        "http://gate.example",
        "https://GATE.example",
        "https://gate.example/",
        "null",
        "",
    ] {
        let fault = lies(|scene| scene.origin = other.to_owned());
        assert!(matches!(fault, PasskeyFault::Origin { .. }), "{other}: {fault}");
    }
}

#[test]
fn nothing_is_signed_at_another_port() {
    let mut passkey = SoftPasskey::seeded("http://localhost:6480", 7);
    let keys = enrolled(&passkey);
    // The RP id is the same: what an agent serves on this machine may ask for an assertion.
    let agents = |scene: &mut Scene| scene.origin = "http://localhost:3000".to_owned();
    let refused = passkey.lying(agents, |passkey| check(&keys, &passkey.sign(STATEMENT)));
    let (made, used) = ("http://localhost:6480".to_owned(), "http://localhost:3000".to_owned());
    assert_eq!(refused, Err(PasskeyFault::Origin { made, used }.into()));
}

#[test]
fn nothing_is_signed_for_another_name() {
    assert_eq!(lies(|scene| scene.rp = "example".to_owned()), PasskeyFault::RelyingParty);
}

#[test]
fn a_touch_is_not_enough() {
    assert_eq!(lies(|scene| scene.flags = PRESENT), PasskeyFault::NotVerified);
    assert_eq!(lies(|scene| scene.flags = VERIFIED), PasskeyFault::NotPresent);
}

#[test]
fn nothing_is_signed_in_a_frame_of_another_page() {
    assert_eq!(
        lies(|scene| scene.more = json!({ "crossOrigin": true })),
        PasskeyFault::CrossOrigin
    );
    let more = json!({ "crossOrigin": false, "topOrigin": "https://evil.example" });
    assert_eq!(lies(|scene| scene.more = more), PasskeyFault::CrossOrigin);
}

#[test]
fn making_a_passkey_signs_nothing() {
    assert_eq!(lies(|scene| scene.get = "webauthn.create"), PasskeyFault::Type);
    assert_eq!(lies(|scene| scene.get = "payment.get"), PasskeyFault::Type);
}

#[test]
fn another_persons_passkey_signs_nothing() {
    let (alices, bobs) = (SoftPasskey::seeded(HERE, 1), SoftPasskey::seeded(HERE, 2));
    let refused = check(&enrolled(&bobs), &alices.sign(STATEMENT));
    assert!(matches!(refused, Err(SignatureError::NotEnrolled(_))), "{refused:?}");
    // Under the id of the other's, too.
    let mut lying = SoftPasskey::seeded(HERE, 1);
    lying.id = bobs.id.clone();
    assert_eq!(check(&enrolled(&bobs), &lying.sign(STATEMENT)), DOES_NOT_HOLD);
}

#[test]
fn an_id_that_nobody_has_signs_nothing() {
    let refused = forged(|credential| {
        credential["id"] = json!("AAAA");
        credential["rawId"] = json!("AAAA");
    });
    assert_eq!(refused, Err(SignatureError::NotEnrolled("of passkey AAAA".into())));
    let differ = forged(|credential| credential["id"] = json!("AAAA"));
    assert_eq!(differ, Err(SignatureError::Malformed));
}

#[test]
fn what_was_changed_afterwards_does_not_hold() {
    let touched = forged(|it| bytes(it, "authenticatorData", |data| data[36] ^= 1));
    assert_eq!(touched, DOES_NOT_HOLD, "the counter");
    let spaced = forged(|it| bytes(it, "clientDataJSON", |data| data.push(b' ')));
    assert_eq!(spaced, DOES_NOT_HOLD, "the client data");
    let other =
        forged(|it| bytes(it, "signature", |signature| *signature.last_mut().unwrap() ^= 1));
    assert_eq!(other, DOES_NOT_HOLD, "the signature");
    let none = forged(|it| bytes(it, "signature", Vec::clear));
    assert_eq!(none, DOES_NOT_HOLD);
    // Flags that were not signed.
    let mut passkey = SoftPasskey::seeded(HERE, 7);
    let keys = enrolled(&passkey);
    let mut credential =
        passkey.lying(|scene| scene.flags = PRESENT, |passkey| passkey.get(STATEMENT));
    bytes(&mut credential, "authenticatorData", |data| data[32] |= VERIFIED);
    assert_eq!(check(&keys, &credential.to_string()), DOES_NOT_HOLD);
}

#[test]
fn what_was_not_asked_for_is_not_expected() {
    assert_eq!(lies(|scene| scene.tail = vec![0xa0]), PasskeyFault::AuthenticatorData);
    assert_eq!(lies(|scene| scene.flags = 0x85), PasskeyFault::AuthenticatorData);
    assert_eq!(lies(|scene| scene.flags = 0x45), PasskeyFault::AuthenticatorData);
    let short = forged(|it| bytes(it, "authenticatorData", |data| data.truncate(36)));
    assert_eq!(short, Err(PasskeyFault::AuthenticatorData.into()));
}

#[test]
fn what_is_said_twice_is_not_read() {
    for (member, value) in [
        ("origin", json!(HERE)),
        ("type", json!("webauthn.get")),
        ("challenge", json!("AAAA")),
        ("crossOrigin", json!(false)),
    ] {
        let twice = forged(|it| {
            bytes(it, "clientDataJSON", |data| {
                data.pop();
                data.extend(format!(",\"{member}\":{value}}}").bytes());
            });
        });
        assert_eq!(twice, Err(PasskeyFault::ClientData.into()), "{member}");
    }
}

#[test]
fn a_counter_says_nothing() {
    let mut passkey = SoftPasskey::seeded(HERE, 7);
    let keys = enrolled(&passkey);
    for counter in [0, 7, 3, u32::MAX, 0] {
        let signed = passkey.lying(
            |scene| scene.counter = counter,
            |passkey| check(&keys, &passkey.sign(STATEMENT)),
        );
        assert!(signed.is_ok(), "{counter}: {signed:?}");
    }
}

#[test]
fn what_was_bound_to_one_device_stays_so() {
    let human = PRESENT | VERIFIED;
    assert_eq!(lies(|scene| scene.flags = human | ELIGIBLE), PasskeyFault::Backup);
    assert_eq!(lies(|scene| scene.flags = human | ELIGIBLE | BACKED_UP), PasskeyFault::Backup);
    assert_eq!(lies(|scene| scene.flags = human | BACKED_UP), PasskeyFault::Backup);
    let mut synchronized = SoftPasskey::seeded(HERE, 7);
    synchronized.scene.flags |= ELIGIBLE;
    let keys = enrolled(&synchronized);
    assert!(check(&keys, &synchronized.sign(STATEMENT)).is_ok());
    synchronized.scene.flags |= BACKED_UP;
    assert!(check(&keys, &synchronized.sign(STATEMENT)).is_ok());
    let bound = |scene: &mut Scene| scene.flags = human;
    let refused = synchronized.lying(bound, |passkey| check(&keys, &passkey.sign(STATEMENT)));
    assert_eq!(refused, Err(PasskeyFault::Backup.into()));
}

#[test]
fn what_is_cut_off_or_endless_is_none() {
    let passkey = SoftPasskey::seeded(HERE, 7);
    let keys = enrolled(&passkey);
    let whole = passkey.sign(STATEMENT);
    for end in 1..whole.len() {
        let refused = check(&keys, &whole[..end]);
        assert_eq!(refused, Err(SignatureError::Malformed), "{end}");
    }
    let padded = format!("{{{}{}", " ".repeat(10_000_000), &whole[1..]);
    assert_eq!(check(&keys, &padded), Err(SignatureError::TooLong));
    let deep = "{\"id\":".repeat(2000);
    assert_eq!(check(&keys, &deep), Err(SignatureError::Malformed));
}

#[test]
fn neither_kind_of_key_signs_for_the_other() {
    let security_key = Authenticator::new(APPLICATION);
    let passkey = SoftPasskey::seeded(HERE, 7);
    let pem = security_key.sign(NAMESPACE, STATEMENT.as_bytes(), PRESENT | VERIFIED);
    let by_ssh = check(&enrolled(&passkey), &pem);
    assert!(matches!(by_ssh, Err(SignatureError::NotEnrolled(_))), "{by_ssh:?}");
    // A security key with the very same public key.
    let (x, y) = (&passkey.scene.cose[10..42], &passkey.scene.cose[45..]);
    let point = EcdsaPublicKey::from_sec1_bytes(&[&[4][..], x, y].concat()).unwrap();
    let EcdsaPublicKey::NistP256(point) = point else { panic!("{point:?}") };
    let same = KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(point, APPLICATION));
    let by_passkey = check(&[PublicKey::from(same).into()], &passkey.sign(STATEMENT));
    assert!(matches!(by_passkey, Err(SignatureError::NotEnrolled(_))), "{by_passkey:?}");
    let both = [security_key.owner(), enrolled(&passkey)].concat();
    assert!(check(&both, &pem).is_ok() && check(&both, &passkey.sign(STATEMENT)).is_ok());
}

#[test]
fn a_line_has_one_spelling() {
    for page in [HERE, "http://localhost:6480"] {
        let line = SoftPasskey::seeded(page, 7).line();
        let key: Key = format!("  {line}  bob's laptop").parse().unwrap();
        assert_eq!(key.line(), line);
    }
    let rsa = include_str!("rs256-line.txt");
    assert_eq!(rsa.parse::<Key>().unwrap().line(), rsa.trim());
}

#[test]
fn what_is_no_passkey_is_not_read_as_one() {
    let line = SoftPasskey::seeded(HERE, 7).line();
    let encoded = line.rsplit(' ').next().unwrap();
    for bad in [
        "passkey".to_owned(),
        format!("passkey {encoded}"),
        format!("passkey {HERE}"),
        format!("passkey {HERE} {encoded}="),
        format!("passkey {HERE} {encoded}AAAA"),
        format!("passkey {HERE} {}", &encoded[..encoded.len() - 4]),
        // A version that nobody knows, and flags.
        format!("passkey {HERE} Ag{}", &encoded[2..]),
        format!("passkey {HERE} AQE{}", &encoded[3..]),
        format!("passkey {HERE} ARg{}", &encoded[3..]),
    ] {
        assert_eq!(bad.parse::<Key>(), Err(KeyError::Passkey), "{bad}");
    }
    let nowhere = format!("passkey https://127.0.0.1:6480 {encoded}");
    assert!(matches!(nowhere.parse::<Key>(), Err(KeyError::Origin(_))));
    assert_eq!(encoded.parse::<Key>(), Err(KeyError::Ssh));
}

#[test]
fn the_same_key_under_another_id_or_origin_is_the_same_key() {
    let one = SoftPasskey::seeded(HERE, 7);
    let mut other = SoftPasskey::seeded("https://other.example", 7);
    other.id = b"another".to_vec();
    let fingerprint = |passkey: &SoftPasskey| passkey.line().parse::<Key>().unwrap().fingerprint();
    assert_eq!(fingerprint(&one), fingerprint(&other));
    assert_ne!(fingerprint(&one), fingerprint(&SoftPasskey::seeded(HERE, 8)));
}

proptest! {
    /// Whatever else it says: only the honest assertion is a signature.
    #[test]
    fn nothing_like_it_is_a_signature(at in 0usize..10_000, byte: u8, text in ".{0,200}") {
        let passkey = SoftPasskey::seeded(HERE, 7);
        let keys = enrolled(&passkey);
        let honest = passkey.sign(STATEMENT);
        prop_assert!(check(&keys, &text).is_err());
        let mut bytes = honest.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let Ok(other) = String::from_utf8(bytes) else { return Ok(()) };
        // What nobody signs, and nothing reads, may differ.
        let means = |text: &str| serde_json::from_str::<Value>(text).ok().map(|said| {
            ["id", "rawId", "type"].map(|name| said[name].clone()).into_iter()
                .chain(["clientDataJSON", "authenticatorData", "signature"]
                    .map(|name| said["response"][name].clone()))
                .collect::<Vec<_>>()
        });
        if means(&other) != means(&honest) {
            prop_assert!(check(&keys, &other).is_err(), "{other}");
        }
    }

    #[test]
    fn no_line_is_read_that_would_be_written_otherwise(text in "passkey https://a\\.b [A-Za-z0-9_-]{0,120}") {
        if let Ok(key) = text.parse::<Key>() {
            prop_assert_eq!(key.line(), text);
        }
    }
}
