//! Reading the body of one message, from its front.

use super::frame::{Frame, HEADER};
use bytes::{Buf as _, Bytes};

/// A message is not what the protocol says. The connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message `{}` is not what the protocol says: {what}", tag.escape_default())]
pub struct Malformed {
    /// The message's type; `0` for a start-up packet, which has none.
    pub tag: char,
    /// What should stand where something else, or nothing, does.
    pub what: &'static str,
}

/// The unread part of a body.
pub(super) struct Body {
    tag: char,
    rest: Bytes,
}

impl Body {
    /// The body of a message that must be of this type.
    pub(super) fn of(frame: &Frame, tag: u8) -> Result<Body, Malformed> {
        let body = Body::new(frame.tag(), frame.bytes().slice(HEADER..));
        if frame.tag() == tag { Ok(body) } else { Err(body.wrong("another type of message")) }
    }

    pub(super) fn new(tag: u8, rest: Bytes) -> Body {
        Body { tag: char::from(tag), rest }
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.rest.try_get_u8().map_err(|_| self.wrong(what))
    }

    pub(super) fn i16(&mut self, what: &'static str) -> Result<i16, Malformed> {
        self.rest.try_get_i16().map_err(|_| self.wrong(what))
    }

    pub(super) fn i32(&mut self, what: &'static str) -> Result<i32, Malformed> {
        self.rest.try_get_i32().map_err(|_| self.wrong(what))
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.rest.try_get_u32().map_err(|_| self.wrong(what))
    }

    /// A text that ends with NUL, which is not part of it. UTF-8 is the only encoding spoken here.
    pub(super) fn text(&mut self, what: &'static str) -> Result<String, Malformed> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or_else(|| self.wrong(what))?;
        let text = std::str::from_utf8(&self.rest[..end]).map_err(|_| self.wrong(what))?.to_owned();
        self.rest.advance(end + 1);
        Ok(text)
    }

    /// A value with its length before it; −1 is NULL.
    pub(super) fn value(&mut self, what: &'static str) -> Result<Option<Bytes>, Malformed> {
        match self.i32(what)? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) if length <= self.rest.len() => Ok(Some(self.rest.split_to(length))),
                _ => Err(self.wrong(what)),
            },
        }
    }

    /// A list with the number of its items before it, unsigned as the server reads it.
    pub(super) fn list<T>(
        &mut self,
        what: &'static str,
        mut item: impl FnMut(&mut Body) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.rest.try_get_u16().map_err(|_| self.wrong(what))?;
        (0..count).map(|_| item(self)).collect()
    }

    /// All that is left.
    pub(super) fn rest(self) -> Bytes {
        self.rest
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong("more after the last field")) }
    }

    pub(super) fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { tag: self.tag, what }
    }
}
