//! Reading the body of one message.

use bytes::{Buf, Bytes};

/// Why the body of a message is not what the protocol says. The connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends before what it announces.
    #[error("message `{tag}` ends in the middle of {what}")]
    Truncated {
        /// The message.
        tag: char,
        /// What should stand there.
        what: &'static str,
    },
    /// It goes on after its last field.
    #[error("message `{tag}` has {bytes} bytes after its last field")]
    Trailing {
        /// The message.
        tag: char,
        /// How many.
        bytes: usize,
    },
    /// A text is not UTF-8, which is the only encoding spoken here.
    #[error("message `{tag}` holds text that is not UTF-8: set `client_encoding` to UTF8")]
    NotUtf8 {
        /// The message.
        tag: char,
    },
    /// A field has a value that the protocol does not know.
    #[error("message `{tag}` has {value} for {what}")]
    Value {
        /// The message.
        tag: char,
        /// The field.
        what: &'static str,
        /// What stands there.
        value: i64,
    },
    /// A message that no client of this door may send here.
    #[error("message type `{}` is not known", tag.escape_default())]
    Unknown {
        /// The message.
        tag: char,
    },
}

/// The unread part of a body.
pub(super) struct Body {
    tag: char,
    rest: Bytes,
}

impl Body {
    pub(super) fn new(tag: u8, rest: Bytes) -> Body {
        Body { tag: char::from(tag), rest }
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.need(1, what)?;
        Ok(self.rest.get_u8())
    }

    pub(super) fn i16(&mut self, what: &'static str) -> Result<i16, Malformed> {
        self.need(2, what)?;
        Ok(self.rest.get_i16())
    }

    pub(super) fn i32(&mut self, what: &'static str) -> Result<i32, Malformed> {
        self.need(4, what)?;
        Ok(self.rest.get_i32())
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.need(4, what)?;
        Ok(self.rest.get_u32())
    }

    /// A text that ends with NUL, which is not part of it.
    pub(super) fn text(&mut self, what: &'static str) -> Result<String, Malformed> {
        let end = self.rest.iter().position(|byte| *byte == 0);
        let end = end.ok_or(Malformed::Truncated { tag: self.tag, what })?;
        let text = self.rest.split_to(end);
        self.rest.advance(1);
        let text = std::str::from_utf8(&text).map_err(|_| Malformed::NotUtf8 { tag: self.tag })?;
        Ok(text.to_owned())
    }

    pub(super) fn bytes(&mut self, count: usize, what: &'static str) -> Result<Bytes, Malformed> {
        self.need(count, what)?;
        Ok(self.rest.split_to(count))
    }

    /// A value with its length before it; −1 is NULL.
    pub(super) fn value(&mut self, what: &'static str) -> Result<Option<Bytes>, Malformed> {
        match self.i32(what)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| self.strange(what, length))?;
                self.bytes(length, what).map(Some)
            }
        }
    }

    /// A list with the number of its items before it, unsigned as the server reads it.
    pub(super) fn list<T>(
        &mut self,
        what: &'static str,
        mut item: impl FnMut(&mut Body) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        self.need(2, what)?;
        let count = self.rest.get_u16();
        (0..count).map(|_| item(self)).collect()
    }

    /// All that is left.
    pub(super) fn rest(self) -> Bytes {
        self.rest
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(Malformed::Trailing { tag: self.tag, bytes }),
        }
    }

    pub(super) fn strange(&self, what: &'static str, value: impl Into<i64>) -> Malformed {
        Malformed::Value { tag: self.tag, what, value: value.into() }
    }

    fn need(&self, count: usize, what: &'static str) -> Result<(), Malformed> {
        match self.rest.len() >= count {
            true => Ok(()),
            false => Err(Malformed::Truncated { tag: self.tag, what }),
        }
    }
}
