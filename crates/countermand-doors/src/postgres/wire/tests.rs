//! Raw bytes of messages, hostile ones, and what an independent writer of the protocol makes.

use super::write::length;
use super::*;
use bytes::{BufMut as _, Bytes, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::{backend, frontend};
use proptest::prelude::*;

fn bytes_of(tag: u8, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    put(&mut out, tag, body);
    out
}

fn framed(tag: u8, body: &[u8]) -> Frame {
    Framer::new(usize::MAX).next(&mut bytes_of(tag, body)).unwrap().unwrap()
}

fn written(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    write(&mut out);
    out
}

/// Reads a message of an agent's as the door does, and has another writer write it again. Of Bind
/// without the formats of results, which nobody keeps.
fn again(frame: &Frame) -> Result<Option<BytesMut>, Malformed> {
    let mut out = BytesMut::new();
    let wrote = match frame.tag() {
        b'Q' => frontend::query(&query(frame)?, &mut out),
        b'P' => {
            let Parse { name, sql, oids } = Parse::read(frame)?;
            frontend::parse(&name, &sql, oids, &mut out)
        }
        b'B' => {
            let Bind { portal, statement, formats, values } = Bind::read(frame)?;
            let write = |value: Option<Bytes>, out: &mut BytesMut| match value {
                None => Ok(IsNull::Yes),
                Some(value) => {
                    out.put_slice(&value);
                    Ok(IsNull::No)
                }
            };
            let bound = frontend::bind(&portal, &statement, formats, values, write, [], &mut out);
            bound.map_err(|_| std::io::ErrorKind::Other.into())
        }
        b'D' | b'C' => match (frame.tag(), named(frame)?) {
            (b'D', (kind, name)) => frontend::describe(kind, &name, &mut out),
            (_, (kind, name)) => frontend::close(kind, &name, &mut out),
        },
        b'p' => {
            let (mechanism, first) = sasl_initial(frame)?;
            frontend::sasl_initial_response(&mechanism, &first, &mut out)
        }
        _ => return Ok(None),
    };
    wrote.expect("what was read can be written");
    Ok(Some(out))
}

fn is_written_the_same(frame: &Frame) -> bool {
    let Ok(Some(again)) = again(frame) else { return true };
    match frame.tag() {
        // Up to the number of formats of results.
        b'B' => frame.body().starts_with(&again[5..again.len() - 2]),
        _ => again == frame.bytes(),
    }
}

#[test]
fn frames_are_cut_where_their_length_says() {
    let mut buffer = BytesMut::from(&b"Q\0\0\0\x0dSELECT 1\0S\0\0\0\x04X\0\0"[..]);
    let mut framer = Framer::new(100);
    let first = framer.next(&mut buffer).unwrap().unwrap();
    assert_eq!((first.tag(), first.body()), (b'Q', &b"SELECT 1\0"[..]));
    assert_eq!(&first.bytes()[..], b"Q\0\0\0\x0dSELECT 1\0");
    let second = framer.next(&mut buffer).unwrap().unwrap();
    assert_eq!((second.tag(), second.body()), (b'S', &b""[..]));
    assert_eq!(framer.next(&mut buffer), Ok(None));
    assert_eq!(&buffer[..], b"X\0\0");
}

#[test]
fn lengths_out_of_bounds_are_errors() {
    let too_long = |length| FrameError::TooLong { length, limit: 100 };
    for (length, error) in [
        (3_i32, FrameError::Impossible),
        (0, FrameError::Impossible),
        (-1, FrameError::Impossible),
        (i32::MIN, FrameError::Impossible),
        (100, too_long(101)),
        (i32::MAX, too_long(1 << 31)),
    ] {
        let mut buffer = BytesMut::from(&b"Q"[..]);
        buffer.extend_from_slice(&length.to_be_bytes());
        let mut framer = Framer::new(100);
        assert_eq!(framer.next(&mut buffer), Err(error.clone()));
        // What follows is not read as messages of its own.
        buffer.extend_from_slice(b"Q\0\0\0\x17DROP TABLE orders\0\0");
        assert_eq!(framer.next(&mut buffer), Err(error.clone()));
        assert_eq!(framer.stream(&mut buffer), Err(error));
    }
    let startup = FrameError::TooLong { length: 10_001, limit: 10_000 };
    assert_eq!(startup_length(10_001), Err(startup));
    assert_eq!(startup_length(10_000), Ok(9_996));
    for field in [3, 0, -1, i32::MIN] {
        assert_eq!(startup_length(field), Err(FrameError::Impossible));
    }
}

/// The attack of RUSTSEC-2024-0363: a text so long that its length wraps, and the rest of it is
/// read as messages of its own.
#[test]
fn a_length_never_wraps() {
    let most = usize::try_from(i32::MAX).unwrap();
    assert_eq!(length(most), Some(i32::MAX));
    for bytes in [most + 1, usize::try_from(u32::MAX).unwrap() + 5, usize::MAX] {
        assert_eq!(length(bytes), None, "{bytes}");
    }
    // What goes to production is written by another hand, which must hold to it too.
    let many = vec![0; 65_536];
    assert!(frontend::parse("", "SELECT 1", many, &mut BytesMut::new()).is_err());
    for hostile in ["SELECT 1\0", "SELECT 1\0DROP TABLE orders", "\0"] {
        assert!(frontend::parse("", hostile, [], &mut BytesMut::new()).is_err());
        assert!(frontend::query(hostile, &mut BytesMut::new()).is_err());
    }
}

#[test]
fn a_long_row_comes_in_parts_and_what_is_left_of_it_is_never_read_as_messages() {
    let smuggled = b"Q\0\0\0\x17DROP TABLE orders\0\0".repeat(4_000);
    let row = bytes_of(b'd', &smuggled);
    let cut = 5 + 24 * 10;
    let mut framer = Framer::new(100);
    let mut buffer = BytesMut::from(&row[..cut]);
    let part = framer.stream(&mut buffer).unwrap().unwrap();
    assert_eq!(part, Streamed::Part(Bytes::copy_from_slice(&row[..cut])));
    assert_eq!(framer.stream(&mut buffer), Ok(None));
    buffer.extend_from_slice(&row[cut..]);
    buffer.extend_from_slice(b"S\0\0\0\x04");
    let mut other = (framer.clone(), buffer.clone());
    assert_eq!(framer.next(&mut buffer), Ok(Some(framed(b'S', b""))));
    let rest = other.0.stream(&mut other.1).unwrap().unwrap();
    assert_eq!(rest, Streamed::Part(Bytes::copy_from_slice(&row[cut..])));
    assert_eq!(other.0.stream(&mut other.1), Ok(Some(Streamed::Frame(framed(b'S', b"")))));
}

#[test]
fn first_packets() {
    let read = |packet| startup(Bytes::from_static(packet));
    assert_eq!(read(b"\x04\xd2\x16\x2f"), Ok(Startup::Ssl));
    assert_eq!(read(b"\x04\xd2\x16\x30"), Ok(Startup::GssEnc));
    let cancel = Startup::Cancel { process_id: 7, secret: 0x6162_6364 };
    assert_eq!(read(b"\x04\xd2\x16\x2e\0\0\0\x07abcd"), Ok(cancel));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let parameters = vec![pair("user", "bob"), pair("database", "shop")];
    let session = Startup::Session { minor: 2, parameters };
    assert_eq!(read(b"\0\x03\0\x02user\0bob\0database\0shop\0\0"), Ok(session));
    for packet in [
        &b"\0\x02\0\0user\0bob\0\0"[..], // version 2
        b"\0\x03\0\0user\0bob\0",        // no end
        b"\0\x03\0\0user\0bob\0\0x",     // more after the end
        b"\0\x03\0\0user\0bob",          // no NUL
        b"\0\x03\0\0user\0a\0user\0b\0\0",
        b"\0\x03\0\0user\0\xff\0\0",
        b"\x04\xd2\x16\x2f\0",
        b"\x04\xd2\x16\x2e\0\0\0\x07abc",
        b"\x04\xd2\x16\x2e\0\0\0\x07abcde",
        b"\0\x03",
        b"",
    ] {
        assert!(read(packet).is_err(), "{packet:?}");
    }
}

#[test]
fn messages_of_clients() {
    assert_eq!(query(&framed(b'Q', b"SELECT 1\0")), Ok("SELECT 1".to_owned()));
    let parse = Parse { name: "s".to_owned(), sql: "SELECT $1".to_owned(), oids: vec![23] };
    assert_eq!(Parse::read(&framed(b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17")), Ok(parse));
    let bind = Bind {
        portal: String::new(),
        statement: "s".to_owned(),
        formats: vec![1],
        values: vec![Some(Bytes::from_static(b"ab")), None],
    };
    let body = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01";
    assert_eq!(Bind::read(&framed(b'B', body)), Ok(bind.clone()));
    assert_eq!((bind.format(0), bind.format(1)), (1, 1));
    assert_eq!(named(&framed(b'D', b"Pp\0")), Ok((b'P', "p".to_owned())));
    assert_eq!(named(&framed(b'C', b"Ss\0")), Ok((b'S', "s".to_owned())));
    assert_eq!(executed(&framed(b'E', b"p\0\0\0\0\x05")), Ok("p".to_owned()));
    let first = (String::from("SCRAM-SHA-256"), Bytes::from_static(b"n,,"));
    assert_eq!(sasl_initial(&framed(b'p', b"SCRAM-SHA-256\0\0\0\0\x03n,,")), Ok(first));
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
        (b'B', b"\0s\0\0\0\0\0\0\0x"),
        (b'D', b"Xp\0"),
        (b'D', b"Sp\0Pq\0"),
        (b'C', b"Sp"),
        (b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
        (b'p', b"SCRAM-SHA-256\0\0\0\0\x03n,,x"),
    ] {
        assert!(again(&framed(tag, body)).is_err(), "{} {body:?}", char::from(tag));
    }
    assert!(executed(&framed(b'E', b"p\0\0\0\0")).is_err());
    // Read as what it is not.
    assert!(query(&framed(b'P', b"SELECT 1\0")).is_err());
    assert!(named(&framed(b'E', b"Pp\0")).is_err());
}

#[test]
fn messages_of_servers() {
    assert_eq!(ready(&framed(b'Z', b"T")), Ok(b'T'));
    assert!(ready(&framed(b'Z', b"X")).is_err());
    assert!(ready(&framed(b'Z', b"II")).is_err());
    assert_eq!(command_tag(&framed(b'C', b"SELECT 1\0")), Ok("SELECT 1".to_owned()));
    assert!(command_tag(&framed(b'C', b"SELECT 1")).is_err());
    assert_eq!(key_data(&framed(b'K', b"\0\0\0\x07\0\0\0\x08")), Ok((7, 8)));
    let columns = vec![Some("x".to_owned()), None];
    assert_eq!(row(&framed(b'D', b"\0\x02\0\0\0\x01x\xff\xff\xff\xff")), Ok(columns));
    for body in
        [&b"\0\x02\0\0\0\x01x"[..], b"\0\x01\xff\xff\xff\xfe", b"\0\x01\0\0\0\x01\xff", b"\0"]
    {
        assert!(row(&framed(b'D', body)).is_err(), "{body:?}");
    }
    let login = |body| Authentication::read(&framed(b'R', body));
    let sasl = Authentication::Sasl(vec!["SCRAM-SHA-256".to_owned()]);
    assert_eq!(login(b"\0\0\0\x0aSCRAM-SHA-256\0\0"), Ok(sasl));
    assert_eq!(login(b"\0\0\0\x05salt"), Ok(Authentication::Md5));
    assert_eq!(login(b"\0\0\0\x63"), Ok(Authentication::Other(99)));
    assert!(login(b"\0\0\0\0x").is_err());
    assert!(login(b"\0\0\0\x0aSCRAM-SHA-256\0").is_err());
}

#[test]
fn an_error_is_one_however_it_is_cut() {
    let whole = ErrorResponse::read(&framed(b'E', b"SFEHLER\0VERROR\0C42P01\0Mno\0Dwhy\0Hgo\0\0"));
    assert_eq!((whole.code.as_str(), whole.message.as_str()), ("42P01", "no"));
    assert_eq!((whole.detail.as_deref(), whole.hint.as_deref()), (Some("why"), Some("go")));
    assert_eq!(
        ErrorResponse::read(&framed(b'E', b"C42P01\0M\xffno")).to_string(),
        "42P01: \u{fffd}no"
    );
    assert_eq!(ErrorResponse::read(&framed(b'E', b"")).to_string(), ": ");
}

#[test]
fn messages_of_ours_as_bytes() {
    assert_eq!(written(|out| put_authentication(out, 0, &[])), &b"R\0\0\0\x08\0\0\0\0"[..]);
    assert_eq!(written(|out| put_sasl(out, &["A"])), &b"R\0\0\0\x0b\0\0\0\x0aA\0\0"[..]);
    assert_eq!(written(|out| put_ready(out, b'E')), &b"Z\0\0\0\x05E"[..]);
    assert_eq!(written(|out| put_complete(out, "S\0ET")), &b"C\0\0\0\x08SET\0"[..]);
    assert_eq!(written(|out| put_parameter(out, "a", "b")), &b"S\0\0\0\x08a\0b\0"[..]);
    assert_eq!(written(|out| put_key_data(out, 1, 2)), &b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02"[..]);
    assert_eq!(
        written(|out| put_negotiate(out, &["_pq_.x"])),
        &b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0"[..]
    );
    assert_eq!(
        written(|out| put_text_column(out, "a")),
        &b"T\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"[..]
    );
    assert_eq!(written(|out| put_text_row(out, "x")), &b"D\0\0\0\x0b\0\x01\0\0\0\x01x"[..]);
}

#[test]
fn what_may_be_secret_is_not_printed() {
    let packet = Bytes::from_static(b"\x04\xd2\x16\x2e\0\0\0\x07hunt");
    let bind = framed(b'B', b"\0s\0\0\0\0\x01\0\0\0\x07hunter2\0\0");
    let printed = [
        format!("{:?}", startup(packet)),
        format!("{:?}", framed(b'p', b"hunter2")),
        format!("{:?}", Bind::read(&bind).unwrap()),
        format!("{:?}", Parse::read(&framed(b'P', b"\0hunter2\0\0\0")).unwrap()),
        format!("{:?}", Parse::read(&framed(b'P', b"\0hunter2"))),
    ];
    for text in printed {
        assert!(!text.contains("hunt"), "{text}");
        assert!(!text.contains("104, 117") && !text.contains("1752526452"), "{text}");
    }
}

/// Messages of an agent, as another writer of the protocol makes them.
fn any_message() -> impl Strategy<Value = BytesMut> {
    let text = || "[^\0]{0,20}";
    let data = || proptest::collection::vec(any::<u8>(), 0..20);
    let types = proptest::collection::vec(any::<u32>(), 0..4);
    let parse = (text(), text(), types).prop_map(|(name, sql, types)| {
        written(|out| frontend::parse(&name, &sql, types, out).unwrap())
    });
    let values = proptest::collection::vec(proptest::option::of(data()), 0..4);
    let formats = || proptest::collection::vec(0_i16..2, 0..2);
    let bind = (text(), text(), formats(), values, formats()).prop_map(
        |(portal, statement, formats, values, results)| {
            let write = |value: Option<Vec<u8>>, out: &mut BytesMut| match value {
                None => Ok(IsNull::Yes),
                Some(value) => {
                    out.put_slice(&value);
                    Ok(IsNull::No)
                }
            };
            written(|out| {
                let bound =
                    frontend::bind(&portal, &statement, formats, values, write, results, out);
                assert!(bound.is_ok());
            })
        },
    );
    let kind = || prop_oneof![Just(b'S'), Just(b'P')];
    prop_oneof![
        text().prop_map(|sql| written(|out| frontend::query(&sql, out).unwrap())),
        parse,
        bind,
        (kind(), text())
            .prop_map(|(kind, name)| written(|out| frontend::describe(kind, &name, out).unwrap())),
        (kind(), text())
            .prop_map(|(kind, name)| written(|out| frontend::close(kind, &name, out).unwrap())),
        data().prop_map(|data| {
            written(|out| frontend::sasl_initial_response("SCRAM-SHA-256", &data, out).unwrap())
        }),
    ]
}

proptest! {
    #[test]
    fn what_another_writes_is_read(message in any_message()) {
        let mut buffer = message.clone();
        let frame = Framer::new(1 << 20).next(&mut buffer).unwrap().unwrap();
        prop_assert!(buffer.is_empty());
        prop_assert!(again(&frame).unwrap().is_some());
        prop_assert!(is_written_the_same(&frame));
    }

    #[test]
    fn what_is_read_is_written_the_same(tag in "[QPBDCp]", body in any::<Vec<u8>>()) {
        prop_assert!(is_written_the_same(&framed(tag.as_bytes()[0], &body)));
    }

    /// However the bytes arrive, both ways to cut them give the same messages, and another reader
    /// of the protocol finds as many.
    #[test]
    fn messages_end_where_they_end_however_they_arrive(
        sizes in proptest::collection::vec((0_u8..4, 0_usize..200_000), 1..6),
        cut in 1_usize..100_000,
    ) {
        let mut sent = BytesMut::new();
        for (kind, size) in &sizes {
            let tag = [b'D', b'd', b'C', b'Z'][usize::from(*kind)];
            put(&mut sent, tag, &vec![b'Q'; *size]);
        }
        let (mut whole, mut streamed) = (BytesMut::new(), BytesMut::new());
        let (mut by_next, mut by_stream) = (Framer::new(1 << 20), Framer::new(1 << 20));
        let (mut frames, mut seen) = (0, BytesMut::new());
        for chunk in sent.chunks(cut) {
            whole.extend_from_slice(chunk);
            while let Some(frame) = by_next.next(&mut whole).unwrap() {
                prop_assert_eq!(frame.body().len(), sizes[frames].1);
                frames += 1;
            }
            streamed.extend_from_slice(chunk);
            while let Some(next) = by_stream.stream(&mut streamed).unwrap() {
                match next {
                    Streamed::Frame(frame) => seen.extend_from_slice(frame.bytes()),
                    Streamed::Part(part) => {
                        prop_assert!(part.len() <= cut + 64 * 1024);
                        seen.extend_from_slice(&part);
                    }
                }
            }
        }
        prop_assert_eq!(frames, sizes.len());
        prop_assert_eq!(&seen, &sent);
        let mut others = 0;
        while let Some(header) = backend::Header::parse(&sent).unwrap() {
            let _ = sent.split_to(1 + usize::try_from(header.len()).unwrap());
            others += 1;
        }
        prop_assert_eq!(others, sizes.len());
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>(), tag in any::<u8>(), field in any::<i32>()) {
        let _ = startup_length(field);
        let _ = startup(Bytes::from(bytes.clone()));
        let _ = Framer::new(64).next(&mut BytesMut::from(&bytes[..]));
        let _ = Framer::new(64).stream(&mut BytesMut::from(&bytes[..]));
        for tag in [tag, b'Q', b'P', b'B', b'D', b'C', b'E', b'p', b'R', b'K', b'S', b'Z'] {
            let frame = framed(tag, &bytes);
            let _ = (again(&frame), executed(&frame), sasl_response(&frame));
            let _ = (Authentication::read(&frame), key_data(&frame), parameter_status(&frame));
            let _ = (ready(&frame), command_tag(&frame), row(&frame), ErrorResponse::read(&frame));
        }
    }
}
