//! Whatever bytes are handed in: an answer, never a panic, and nothing that was altered holds.

use super::*;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tracing::span;

const TEXT: &str = "make one";

/// Attestation objects with what the library has most trouble with.
fn objects() -> Vec<Vec<u8>> {
    let object = |passkey: &SoftPasskey| {
        let made = passkey.create(TEXT);
        BASE64.decode(made["response"]["attestationObject"].as_str().unwrap()).unwrap()
    };
    let with = |attestation: &[u8]| {
        let mut passkey = SoftPasskey::seeded(HERE, 7);
        passkey.scene.attestation = attestation.to_vec();
        object(&passkey)
    };
    let mut rsa = SoftPasskey::seeded(HERE, 7);
    rsa.scene.cose =
        [&[0xa4, 1, 3, 3, 0x39, 1, 0, 0x20, 0x59, 1, 0][..], &[0xd5; 256], &[0x21, 0x43, 1, 0, 1]]
            .concat();
    rsa.scene.attestation =
        [&b"\xa3cfmtfpackedgattStmt\xa2calg\x39\x01\x00csig\x59\x01\x00"[..], &[1; 256]].concat();
    let mut extended = SoftPasskey::seeded(HERE, 7);
    extended.scene.tail = b"\xa2kcredProtect\x03khmac-secret\xf5".to_vec();
    extended.scene.flags |= 0x80;
    vec![
        object(&SoftPasskey::seeded(HERE, 7)),
        object(&extended),
        object(&rsa),
        // Keys of maps that are no texts: they are compared by their own bytes.
        with(b"\xa3cfmtdnonegattStmt\xa4\x81\x3b\xff\xff\xff\xff\xff\xff\xff\xff\x01\x81\xfb\x7f\xf8\x00\x00\x00\x00\x00\x01\x01\x81\xf6\x01\xa1\x01\x02\x03"),
        with(b"\xa3cfmtfpackedgattStmt\xa3calg\x26csig\x58\x00cx5c\x81D0\x82\x01\x00"),
        with(b"\xa3cfmtfpackedgattStmt\xa3calg\x26csig\x58\x00cx5c\x80"),
        with(b"\xa3cfmtfpackedgattStmt\xa2calg\x26csig\x48\x30\x06\x02\x01\x01\x02\x01\x01"),
    ]
}

fn made(object: &[u8]) -> Result<Passkey, PasskeyFault> {
    let mut credential = SoftPasskey::seeded(HERE, 7).create(TEXT);
    credential["response"]["attestationObject"] = json!(BASE64.encode(object));
    Passkey::made(&HERE.parse().unwrap(), TEXT.as_bytes(), &credential.to_string())
}

/// Bytes put in place of others.
fn altered(whole: &[u8], changes: &[(Index, u8)], cut: Option<Index>, more: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for (at, byte) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes.extend(more);
    bytes
}

/// Anything, and what CBOR takes for lengths.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), (0u8..8, 23u8..32).prop_map(|(major, more)| major << 5 | more)]
}

#[test]
fn a_passkey_that_is_cut_off_anywhere_is_none() {
    for object in objects() {
        for end in 0..object.len() {
            assert!(made(&object[..end]).is_err(), "{end}");
        }
    }
}

#[test]
fn an_assertion_that_is_cut_off_anywhere_is_none() {
    let passkey = SoftPasskey::seeded(HERE, 7);
    let keys = enrolled(&passkey);
    let whole = passkey.get(STATEMENT);
    for member in ["clientDataJSON", "authenticatorData", "signature"] {
        let length = BASE64.decode(whole["response"][member].as_str().unwrap()).unwrap().len();
        for end in 0..length {
            let mut cut = whole.clone();
            bytes(&mut cut, member, |bytes| bytes.truncate(end));
            assert!(check(&keys, &cut.to_string()).is_err(), "{member} {end}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn an_assertion_that_was_altered_holds_nowhere(
        member in prop::sample::select(vec!["clientDataJSON", "authenticatorData", "signature"]),
        changes in vec((any::<Index>(), byte()), 0..6),
        cut in proptest::option::of(any::<Index>()),
        more in vec(byte(), 0..40),
    ) {
        let passkey = SoftPasskey::seeded(HERE, 7);
        let whole = passkey.get(STATEMENT);
        let mut other = whole.clone();
        bytes(&mut other, member, |bytes| *bytes = altered(bytes, &changes, cut, &more));
        let holds = check(&enrolled(&passkey), &other.to_string()).is_ok();
        prop_assert_eq!(holds, other == whole);
    }

    #[test]
    fn an_altered_passkey_is_none_or_one_that_can_be_written(
        object in prop::sample::select(objects()),
        changes in vec((any::<Index>(), byte()), 0..6),
        cut in proptest::option::of(any::<Index>()),
        more in vec(byte(), 0..8),
    ) {
        if let Ok(passkey) = made(&altered(&object, &changes, cut, &more)) {
            let line = passkey.line();
            prop_assert_eq!(line.parse::<Key>(), Ok(Key::Passkey(passkey)));
        }
    }

    #[test]
    fn anything_at_all_is_no_passkey(object in vec(byte(), 0..400)) {
        prop_assert!(made(&object).is_err());
    }

    #[test]
    fn a_line_is_read_in_one_spelling_or_not_at_all(
        changes in vec((any::<Index>(), byte()), 0..4),
        more in vec(byte(), 0..4),
    ) {
        let line = SoftPasskey::seeded(HERE, 7).line();
        let encoded = line.rsplit(' ').next().unwrap();
        let bytes = altered(&BASE64.decode(encoded).unwrap(), &changes, None, &more);
        let line = format!("passkey {HERE} {}", BASE64.encode(bytes));
        if let Ok(key) = line.parse::<Key>() {
            prop_assert_eq!(key.line(), line);
        }
    }
}

/// Counts what is logged.
struct Count(Arc<AtomicUsize>);

impl tracing::Subscriber for Count {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn nothing_that_anybody_sends_is_logged() {
    let seen = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::with_default(Count(seen.clone()), || {
        tracing::info!("heard");
        assert_eq!(seen.load(Ordering::Relaxed), 1);
        for object in objects() {
            for end in (0..object.len()).step_by(7) {
                let _refused = made(&object[..end]);
            }
            let _made = made(&object);
        }
        let passkey = SoftPasskey::seeded(HERE, 7);
        assert!(check(&enrolled(&passkey), &passkey.sign(STATEMENT)).is_ok());
        assert!(forged(|it| bytes(it, "authenticatorData", |data| data[32] = 0xff)).is_err());
    });
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}
