//! Any bytes as a start-up packet and as messages of both sides, through what door and target
//! read with: nothing panics, messages end where they end however they arrive, and what is read
//! of an agent is what another writer of the protocol makes of it.
#![no_main]

use bytes::{BufMut as _, Bytes, BytesMut};
use countermand_doors::postgres::wire::{self, Frame, Framer, Streamed};
use libfuzzer_sys::fuzz_target;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: (u8, &[u8])| {
    let (cut, bytes) = data;
    let _ = wire::startup(Bytes::copy_from_slice(bytes));
    let mut buffer = BytesMut::from(bytes);
    let mut framer = Framer::new(LIMIT);
    let mut whole = BytesMut::new();
    while let Ok(Some(frame)) = framer.next(&mut buffer) {
        whole.put_slice(frame.bytes());
        of_a_server(&frame);
        of_an_agent(&frame);
    }
    let streamed = streamed(bytes, usize::from(cut) + 1);
    assert!(streamed.starts_with(&whole));
});

/// What comes out where the bytes arrive in pieces of this size.
fn streamed(bytes: &[u8], cut: usize) -> BytesMut {
    let (mut framer, mut buffer, mut out) = (Framer::new(LIMIT), BytesMut::new(), BytesMut::new());
    for chunk in bytes.chunks(cut) {
        buffer.put_slice(chunk);
        loop {
            match framer.stream(&mut buffer) {
                Ok(Some(Streamed::Frame(frame))) => out.put_slice(frame.bytes()),
                Ok(Some(Streamed::Part(part))) => out.put_slice(&part),
                Ok(None) => break,
                Err(_) => return out,
            }
        }
    }
    out
}

fn of_a_server(frame: &Frame) {
    let _ = (wire::Authentication::read(frame), wire::ErrorResponse::read(frame));
    let _ = (wire::key_data(frame), wire::parameter_status(frame), wire::ready(frame));
    let _ = (wire::command_tag(frame), wire::row(frame));
}

fn of_an_agent(frame: &Frame) {
    let _ = (wire::executed(frame), wire::sasl_response(frame));
    let mut again = BytesMut::new();
    if let Ok(sql) = wire::query(frame) {
        frontend::query(&sql, &mut again).expect("what was read can be written");
    } else if let Ok(parse) = wire::Parse::read(frame) {
        frontend::parse(&parse.name, &parse.sql, parse.oids, &mut again).expect("as above");
    } else if let Ok(bind) = wire::Bind::read(frame) {
        write_bind(bind, &mut again);
        // Up to the number of formats of results, which nobody keeps.
        assert!(frame.body().starts_with(&again[5..again.len() - 2]));
        return;
    } else if let Ok((kind, name)) = wire::named(frame) {
        match frame.tag() {
            b'D' => frontend::describe(kind, &name, &mut again).expect("as above"),
            _ => frontend::close(kind, &name, &mut again).expect("as above"),
        }
    } else if let Ok((mechanism, first)) = wire::sasl_initial(frame) {
        frontend::sasl_initial_response(&mechanism, &first, &mut again).expect("as above");
    } else {
        return;
    }
    assert_eq!(again, frame.bytes());
}

fn write_bind(bind: wire::Bind, out: &mut BytesMut) {
    let write = |value: Option<Bytes>, out: &mut BytesMut| match value {
        None => Ok(IsNull::Yes),
        Some(value) => {
            out.put_slice(&value);
            Ok(IsNull::No)
        }
    };
    let wire::Bind { portal, statement, formats, values } = bind;
    let bound = frontend::bind(&portal, &statement, formats, values, write, [], out);
    assert!(bound.is_ok(), "what was read can be written");
}
