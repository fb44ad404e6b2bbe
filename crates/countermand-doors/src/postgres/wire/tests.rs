//! Raw bytes of messages, hostile ones, and round trips.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::encode::{message, value};
use super::frame::length;
use super::*;

fn framed(tag: u8, body: &[u8]) -> Frame {
    Frame { tag, body: Bytes::copy_from_slice(body) }
}

fn read(tag: u8, body: &[u8]) -> Result<Frontend, Malformed> {
    Frontend::decode(framed(tag, body))
}

fn written(answer: &Answer<'_>) -> Vec<u8> {
    let mut out = BytesMut::new();
    answer.encode(&mut out).unwrap();
    out.to_vec()
}

fn first_packet(body: &[u8]) -> Result<Option<Startup>, StartupError> {
    let length = u32::try_from(body.len() + 4).unwrap();
    let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
    buffer.extend_from_slice(body);
    startup(&mut buffer)
}

#[test]
fn frames_are_cut_where_their_length_says() {
    let mut buffer = BytesMut::from(&b"Q\0\0\0\x0dSELECT 1\0S\0\0\0\x04X\0\0"[..]);
    let framer = Framer::new(100);
    assert_eq!(framer.next(&mut buffer), Ok(Some(framed(b'Q', b"SELECT 1\0"))));
    assert_eq!(framer.next(&mut buffer), Ok(Some(framed(b'S', b""))));
    assert_eq!(framer.next(&mut buffer), Ok(None));
    assert_eq!(&buffer[..], b"X\0\0");
}

#[test]
fn lengths_out_of_bounds_are_errors() {
    for (length, error) in [
        (3_i32, FrameError::TooShort(3)),
        (0, FrameError::TooShort(0)),
        (-1, FrameError::TooShort(-1)),
        (i32::MIN, FrameError::TooShort(i64::from(i32::MIN))),
        (105, FrameError::TooLong { length: 105, limit: 100 }),
        (i32::MAX, FrameError::TooLong { length: i64::from(i32::MAX), limit: 100 }),
    ] {
        let mut buffer = BytesMut::from(&b"Q"[..]);
        buffer.extend_from_slice(&length.to_be_bytes());
        assert_eq!(Framer::new(100).next(&mut buffer), Err(error));
    }
    let mut buffer = BytesMut::from(&10_001_u32.to_be_bytes()[..]);
    assert!(matches!(startup(&mut buffer), Err(StartupError::Frame(FrameError::TooLong { .. }))));
    let mut buffer = BytesMut::from(&10_000_u32.to_be_bytes()[..]);
    assert_eq!(startup(&mut buffer), Ok(None));
}

/// The attack of RUSTSEC-2024-0363: a text so long that its length wraps, and the rest of it is
/// read as messages of its own.
#[test]
fn a_length_never_wraps() {
    let most = usize::try_from(i32::MAX).unwrap() - 4;
    assert_eq!(length(most), Ok(i32::MAX));
    for bytes in [most + 1, usize::try_from(u32::MAX).unwrap() - 3, usize::MAX] {
        assert_eq!(length(bytes), Err(TooLong { bytes }));
    }
    let mut out = BytesMut::from(&b"before"[..]);
    let items = vec![0; 65_536];
    let parse = Parse { name: String::new(), sql: "SELECT 1".to_owned(), types: items };
    let error = Frontend::Parse(parse).encode(&mut out);
    assert_eq!(error, Err(EncodeError::TooLong(TooLong { bytes: 65_536 })));
    assert_eq!(&out[..], b"before", "nothing of a message that failed");
}

#[test]
fn a_failed_message_leaves_nothing() {
    let mut out = BytesMut::new();
    let failed = message(&mut out, b'Q', |out| {
        value(out, Some(b"half"))?;
        Err(TooLong { bytes: 1 })
    });
    assert_eq!(failed, Err(TooLong { bytes: 1 }));
    assert!(out.is_empty());
    let query = Frontend::Query("SELECT 1\0DROP TABLE orders".to_owned());
    assert_eq!(query.encode(&mut out), Err(EncodeError::Nul));
    assert!(out.is_empty());
}

#[test]
fn first_packets() {
    assert_eq!(first_packet(b"\x04\xd2\x16\x2f"), Ok(Some(Startup::Ssl)));
    assert_eq!(first_packet(b"\x04\xd2\x16\x30"), Ok(Some(Startup::GssEnc)));
    let key = CancelKey { process: 7, secret: Bytes::from_static(b"abcd") };
    assert_eq!(first_packet(b"\x04\xd2\x16\x2e\0\0\0\x07abcd"), Ok(Some(Startup::Cancel(key))));
    let session = Startup::Session {
        minor: 0,
        parameters: vec![
            ("user".to_owned(), "bob".to_owned()),
            ("database".to_owned(), "shop".to_owned()),
        ],
    };
    assert_eq!(first_packet(b"\0\x03\0\0user\0bob\0database\0shop\0\0"), Ok(Some(session)));
    for body in [
        &b"\0\x02\0\0user\0bob\0\0"[..], // version 2
        b"\0\x03\0\0user\0bob\0",        // no end
        b"\0\x03\0\0user\0bob\0\0x",     // more after the end
        b"\0\x03\0\0user\0bob",          // no NUL
        b"\0\x03\0\0user\0a\0user\0b\0\0",
        b"\0\x03\0\0user\0\xff\0\0",
        b"\x04\xd2\x16\x2f\0",
        b"\x04\xd2\x16\x2e\0\0\0\x07abc",
        b"\0\x03",
        b"",
    ] {
        assert!(first_packet(body).is_err(), "{body:?}");
    }
}

#[test]
fn messages_of_clients() {
    assert_eq!(read(b'Q', b"SELECT 1\0"), Ok(Frontend::Query("SELECT 1".to_owned())));
    let parse = Parse { name: "s".to_owned(), sql: "SELECT $1".to_owned(), types: vec![23] };
    assert_eq!(read(b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"), Ok(Frontend::Parse(parse)));
    let bind = Bind {
        portal: String::new(),
        statement: "s".to_owned(),
        formats: vec![true],
        values: vec![Some(Bytes::from_static(b"ab")), None],
        results: vec![],
    };
    let body = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0";
    assert_eq!(read(b'B', body), Ok(Frontend::Bind(bind)));
    let named = Named { kind: StatementKind::Portal, name: "p".to_owned() };
    assert_eq!(read(b'D', b"Pp\0"), Ok(Frontend::Describe(named.clone())));
    assert_eq!(read(b'C', b"Pp\0"), Ok(Frontend::Close(named)));
    let execute = Frontend::Execute { portal: "p".to_owned(), max_rows: 5 };
    assert_eq!(read(b'E', b"p\0\0\0\0\x05"), Ok(execute));
    assert_eq!(read(b'F', b"\0\0\x04\xd2rest"), Ok(Frontend::FunctionCall { function: 1234 }));
    assert_eq!(read(b'f', b"why\0"), Ok(Frontend::CopyFail("why".to_owned())));
    for (tag, message) in [
        (b'S', Frontend::Sync),
        (b'H', Frontend::Flush),
        (b'c', Frontend::CopyDone),
        (b'X', Frontend::Terminate),
    ] {
        assert_eq!(read(tag, b""), Ok(message));
        assert!(matches!(read(tag, b"x"), Err(Malformed::Trailing { bytes: 1, .. })));
    }
}

#[test]
fn malformed_messages_of_clients() {
    for (tag, body) in [
        (b'Q', &b"SELECT 1"[..]),                 // no NUL
        (b'Q', b"SELECT 1\0DROP TABLE orders\0"), // a second text
        (b'Q', b""),
        (b'Q', b"\xff\0"),
        (b'P', b"s\0SELECT 1\0\0\x01"),
        (b'P', b"s\0SELECT 1\0\0\0x"),
        (b'B', b"\0s\0\0\x01\0\x02\0\0\0\0"), // format 2
        (b'B', b"\0s\0\0\x02\0\x01\0\x01\0\x01\xff\xff\xff\xff\0\0"), // 2 formats, 1 value
        (b'B', b"\0s\0\0\0\0\x01\xff\xff\xff\xfe\0\0"), // length -2
        (b'B', b"\0s\0\0\0\0\x01\x7f\xff\xff\xff\0\0"),
        (b'D', b"Xp\0"),
        (b'E', b"p\0\0\0\0"),
        (b'F', b"\0"),
        (b'R', b"\0\0\0\0"), // a server's
        (b'\0', b""),
    ] {
        assert!(read(tag, body).is_err(), "{} {body:?}", char::from(tag));
    }
}

#[test]
fn messages_of_servers() {
    let read = |tag, body: &[u8]| Backend::decode(framed(tag, body));
    assert_eq!(read(b'Z', b"T"), Ok(Backend::ReadyForQuery(TransactionStatus::Open)));
    assert!(read(b'Z', b"X").is_err());
    assert!(read(b'Z', b"II").is_err());
    assert_eq!(read(b'C', b"SELECT 1\0"), Ok(Backend::CommandComplete("SELECT 1".to_owned())));
    let Ok(Backend::Error(fields)) = read(b'E', b"SFEHLER\0VERROR\0C42P01\0Mno\0\0") else {
        panic!("not an error");
    };
    assert_eq!((fields.severity(), fields.code(), fields.message()), ("ERROR", "42P01", "no"));
    let sasl = Authentication::Sasl(vec!["SCRAM-SHA-256".to_owned()]);
    assert_eq!(read(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"), Ok(Backend::Authentication(sasl)));
    assert_eq!(
        read(b'R', b"\0\0\0\x07"),
        Ok(Backend::Authentication(Authentication::Unsupported(7)))
    );
    let md5 = Authentication::Md5Password(*b"salt");
    assert_eq!(read(b'R', b"\0\0\0\x05salt"), Ok(Backend::Authentication(md5)));
    let other = framed(b'D', b"\0\x01");
    assert_eq!(Backend::decode(other.clone()), Ok(Backend::Other(other)));
}

#[test]
fn answers_as_bytes() {
    use TransactionStatus::Failed;
    assert_eq!(written(&Answer::AuthenticationOk), b"R\0\0\0\x08\0\0\0\0");
    assert_eq!(written(&Answer::Sasl(&["A"])), b"R\0\0\0\x0b\0\0\0\x0aA\0\0");
    assert_eq!(written(&Answer::SaslFinal(b"v=")), b"R\0\0\0\x0a\0\0\0\x0cv=");
    assert_eq!(written(&Answer::ReadyForQuery(Failed)), b"Z\0\0\0\x05E");
    assert_eq!(written(&Answer::CommandComplete("SET")), b"C\0\0\0\x08SET\0");
    assert_eq!(written(&Answer::ParameterStatus { name: "a", value: "b" }), b"S\0\0\0\x08a\0b\0");
    assert_eq!(written(&Answer::NoData), b"n\0\0\0\x04");
    assert_eq!(
        written(&Answer::RowDescription(&["a"])),
        b"T\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
    );
    assert_eq!(
        written(&Answer::DataRow(&[Some("x"), None])),
        b"D\0\0\0\x0f\0\x02\0\0\0\x01x\xff\xff\xff\xff"
    );
    let report = Report {
        severity: Severity::Error,
        code: "42501",
        message: "held\0 as change 7",
        detail: None,
        hint: Some("wait"),
    };
    assert_eq!(
        written(&Answer::Report(report)),
        b"E\0\0\0\x32SERROR\0VERROR\0C42501\0Mheld as change 7\0Hwait\0\0"
    );
}

#[test]
fn what_may_be_secret_is_not_printed() {
    let key = CancelKey { process: 7, secret: Bytes::from_static(b"hunter2") };
    let printed = [
        format!("{:?}", Frontend::Authentication(Bytes::from_static(b"hunter2"))),
        format!("{:?}", Frontend::Query("ALTER ROLE a PASSWORD 'hunter2'".to_owned())),
        format!("{key:?}"),
        format!("{:?}", read(b'P', b"\0hunter2\0\0\0")),
        format!("{:?}", read(b'B', b"\0s\0\0\0\0\x01\0\0\0\x07hunter2\0\0")),
    ];
    for text in printed {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!text.contains("104, 117"), "{text}");
    }
}

fn any_frontend() -> impl Strategy<Value = Frontend> {
    let text = || "[^\0]{0,20}";
    let data = || proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    let formats = || proptest::collection::vec(any::<bool>(), 0..2);
    let values = proptest::collection::vec(proptest::option::of(data()), 0..4);
    let bind = (text(), text(), formats(), values, formats()).prop_map(
        |(portal, statement, formats, values, results)| {
            Frontend::Bind(Bind { portal, statement, formats, values, results })
        },
    );
    let types = proptest::collection::vec(any::<u32>(), 0..4);
    let parse = (text(), text(), types)
        .prop_map(|(name, sql, types)| Frontend::Parse(Parse { name, sql, types }));
    let kind = prop_oneof![Just(StatementKind::Statement), Just(StatementKind::Portal)];
    let named = (kind, text()).prop_map(|(kind, name)| Named { kind, name });
    prop_oneof![
        text().prop_map(Frontend::Query),
        parse,
        bind,
        named.clone().prop_map(Frontend::Describe),
        named.prop_map(Frontend::Close),
        (text(), any::<i32>())
            .prop_map(|(portal, max_rows)| Frontend::Execute { portal, max_rows }),
        data().prop_map(Frontend::CopyData),
        text().prop_map(Frontend::CopyFail),
        data().prop_map(Frontend::Authentication),
        Just(Frontend::Sync),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same(message in any_frontend()) {
        let mut out = BytesMut::new();
        message.encode(&mut out).unwrap();
        let frame = Framer::new(MAX_FRAME).next(&mut out).unwrap().unwrap();
        prop_assert!(out.is_empty());
        prop_assert_eq!(Frontend::decode(frame).unwrap(), message);
    }

    #[test]
    fn what_is_read_is_written_the_same(tag in any::<u8>(), body in any::<Vec<u8>>()) {
        if let Ok(message) = Frontend::decode(framed(tag, &body)) {
            let mut again = BytesMut::new();
            if message.encode(&mut again).is_ok() {
                let mut out = BytesMut::new();
                framed(tag, &body).encode(&mut out).unwrap();
                prop_assert_eq!(again, out);
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>(), tag in any::<u8>()) {
        let _ = startup(&mut BytesMut::from(&bytes[..]));
        let _ = first_packet(&bytes);
        let _ = Framer::new(64).next(&mut BytesMut::from(&bytes[..]));
        let _ = Frontend::decode(framed(tag, &bytes));
        let _ = Backend::decode(framed(tag, &bytes));
    }
}
