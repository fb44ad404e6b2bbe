//! Messages of ours to the agent: a length is computed from what was written. A length that wraps
//! would let the rest of a text be read as messages of its own (RUSTSEC-2024-0363).

use bytes::{BufMut as _, BytesMut};

/// The protocol that is spoken here: 3.0.
const VERSION: i32 = 3 << 16;
/// The type of a text column: `text`.
const TEXT_OID: u32 = 25;

/// Appends a message with this body.
pub fn put(out: &mut BytesMut, tag: u8, body: &[u8]) {
    put_with(out, tag, |out| out.put_slice(body));
}

/// Appends `Authentication…` of this kind: 0 says that the login is done.
pub fn put_authentication(out: &mut BytesMut, kind: i32, data: &[u8]) {
    put_with(out, b'R', |out| {
        out.put_i32(kind);
        out.put_slice(data);
    });
}

/// Appends `AuthenticationSASL`: one of these mechanisms is asked for.
pub fn put_sasl(out: &mut BytesMut, mechanisms: &[&str]) {
    put_with(out, b'R', |out| {
        out.put_i32(10);
        mechanisms.iter().for_each(|name| put_text(out, name));
        out.put_u8(0);
    });
}

/// Appends `NegotiateProtocolVersion`: this is 3.0, without these extensions.
pub fn put_negotiate(out: &mut BytesMut, unknown: &[&str]) {
    put_with(out, b'v', |out| {
        out.put_i32(VERSION);
        out.put_i32(i32::try_from(unknown.len()).expect("a start-up packet holds fewer"));
        unknown.iter().for_each(|name| put_text(out, name));
    });
}

/// Appends `BackendKeyData`.
pub fn put_key_data(out: &mut BytesMut, process_id: i32, secret: i32) {
    put_with(out, b'K', |out| {
        out.put_i32(process_id);
        out.put_i32(secret);
    });
}

/// Appends `ParameterStatus`.
pub fn put_parameter(out: &mut BytesMut, name: &str, value: &str) {
    put_with(out, b'S', |out| {
        put_text(out, name);
        put_text(out, value);
    });
}

/// Appends `CommandComplete`.
pub fn put_complete(out: &mut BytesMut, tag: &str) {
    put_with(out, b'C', |out| put_text(out, tag));
}

/// Appends `ReadyForQuery`.
pub fn put_ready(out: &mut BytesMut, status: u8) {
    put(out, b'Z', &[status]);
}

/// Appends the description of one column of text.
pub fn put_text_column(out: &mut BytesMut, name: &str) {
    put_with(out, b'T', |out| {
        out.put_u16(1);
        put_text(out, name);
        out.put_u32(0); // no table
        out.put_i16(0); // no column of one
        out.put_u32(TEXT_OID);
        out.put_i16(-1); // of any length
        out.put_i32(-1); // no modifier
        out.put_i16(0); // as text
    });
}

/// Appends a row of one text.
pub fn put_text_row(out: &mut BytesMut, value: &str) {
    put_with(out, b'D', |out| {
        out.put_u16(1);
        out.put_i32(length(value.len()).expect("texts of ours are shorter than 2 GiB"));
        out.put_slice(value.as_bytes());
    });
}

/// Appends a message whose body `write` appends.
pub(super) fn put_with(out: &mut BytesMut, tag: u8, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_i32(0);
    write(out);
    let length = length(out.len() - start).expect("messages of ours are shorter than 2 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A text and its NUL; one inside would end it early, and is left out.
fn put_text(out: &mut BytesMut, text: &str) {
    text.split('\0').for_each(|part| out.put_slice(part.as_bytes()));
    out.put_u8(0);
}

/// A length field; none where it would wrap.
pub(super) fn length(bytes: usize) -> Option<i32> {
    i32::try_from(bytes).ok()
}
