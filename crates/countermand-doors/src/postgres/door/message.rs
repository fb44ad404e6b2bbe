//! Messages of the client that the door must understand, and those it makes itself.

use crate::postgres::target::connection::Frame;
use bytes::{Buf as _, BufMut as _, BytesMut};

/// A message that breaks the protocol.
#[derive(Debug, thiserror::Error)]
#[error("invalid message format")]
pub(super) struct Malformed;

/// The body of a message, read from its front.
pub(super) struct Body<'a>(&'a [u8]);

/// A `Bind` message.
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    pub(super) formats: Vec<i16>,
    pub(super) values: Vec<Option<Vec<u8>>>,
}

/// A `Parse` message.
pub(super) struct Parse {
    pub(super) name: String,
    pub(super) sql: String,
    pub(super) oids: Vec<u32>,
}

impl<'a> Body<'a> {
    pub(super) fn of(frame: &'a Frame) -> Body<'a> {
        Body(frame.body())
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let text = std::str::from_utf8(&self.0[..end]).map_err(|_| Malformed)?.to_owned();
        self.0.advance(end + 1);
        Ok(text)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.0.try_get_i32().map_err(|_| Malformed)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.0.try_get_i16().map_err(|_| Malformed)
    }

    /// A count that the protocol gives in 16 bits without a sign.
    fn count(&mut self) -> Result<usize, Malformed> {
        self.0.try_get_u16().map(usize::from).map_err(|_| Malformed)
    }

    pub(super) fn value(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                let value = self.0.get(..length).ok_or(Malformed)?.to_vec();
                self.0.advance(length);
                Ok(Some(value))
            }
        }
    }

    /// What is left belongs to nothing.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

impl Parse {
    pub(super) fn read(frame: &Frame) -> Result<Parse, Malformed> {
        let mut body = Body::of(frame);
        let (name, sql) = (body.text()?, body.text()?);
        let count = body.count()?;
        let oids: Result<Vec<u32>, _> =
            (0..count).map(|_| body.i32().map(i32::cast_unsigned)).collect();
        let oids = oids?;
        body.end()?;
        Ok(Parse { name, sql, oids })
    }
}

impl Bind {
    pub(super) fn read(frame: &Frame) -> Result<Bind, Malformed> {
        let mut body = Body::of(frame);
        let (portal, statement) = (body.text()?, body.text()?);
        let count = body.count()?;
        let formats: Vec<i16> = (0..count).map(|_| body.i16()).collect::<Result<_, _>>()?;
        let count = body.count()?;
        let values: Vec<_> = (0..count).map(|_| body.value()).collect::<Result<_, _>>()?;
        // The formats wanted for the result.
        for _ in 0..body.count()? {
            body.i16()?;
        }
        body.end()?;
        let known = formats.iter().all(|format| matches!(format, 0 | 1));
        let fits = formats.len() <= 1 || formats.len() == values.len();
        if known && fits { Ok(Bind { portal, statement, formats, values }) } else { Err(Malformed) }
    }

    /// The format of the value at `index`.
    pub(super) fn format(&self, index: usize) -> i16 {
        match self.formats.as_slice() {
            [] => 0,
            [all] => *all,
            each => each[index],
        }
    }
}

/// `Describe` and `Close`: of a statement (`S`) or a portal (`P`), and which.
pub(super) fn named(frame: &Frame) -> Result<(u8, String), Malformed> {
    let mut body = Body::of(frame);
    let (kind, name) = (body.byte()?, body.text()?);
    body.end()?;
    if matches!(kind, b'S' | b'P') { Ok((kind, name)) } else { Err(Malformed) }
}

/// `Execute`: the portal.
pub(super) fn executed(frame: &Frame) -> Result<String, Malformed> {
    let mut body = Body::of(frame);
    let portal = body.text()?;
    body.i32()?;
    body.end()?;
    Ok(portal)
}

/// `Query`: its text.
pub(super) fn query(frame: &Frame) -> Result<String, Malformed> {
    let mut body = Body::of(frame);
    let sql = body.text()?;
    body.end()?;
    Ok(sql)
}

/// Appends a message with this body.
pub(super) fn put(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.put_u8(tag);
    out.put_u32(u32::try_from(body.len() + 4).expect("messages of ours are shorter than 4 GiB"));
    out.put_slice(body);
}

/// Appends `CommandComplete`.
pub(super) fn put_complete(out: &mut BytesMut, tag: &str) {
    let mut body = tag.replace('\0', "").into_bytes();
    body.push(0);
    put(out, b'C', &body);
}

/// Appends `ReadyForQuery`.
pub(super) fn put_ready(out: &mut BytesMut, status: u8) {
    put(out, b'Z', &[status]);
}

/// Appends `ParameterStatus`.
pub(super) fn put_parameter(out: &mut BytesMut, name: &str, value: &str) {
    put(out, b'S', format!("{name}\0{value}\0").as_bytes());
}

/// Appends the description of one column of text.
pub(super) fn put_text_column(out: &mut BytesMut, name: &str) {
    const TEXT: u32 = 25;
    let mut body = BytesMut::new();
    body.put_u16(1);
    body.put_slice(name.as_bytes());
    body.put_slice(&[0; 1 + 4 + 2]);
    body.put_u32(TEXT);
    body.put_i16(-1);
    body.put_i32(-1);
    body.put_i16(0);
    put(out, b'T', &body);
}

/// Appends a row of one text.
pub(super) fn put_text_row(out: &mut BytesMut, value: &str) {
    let mut body = BytesMut::new();
    body.put_u16(1);
    body.put_u32(u32::try_from(value.len()).expect("texts of ours are shorter than 4 GiB"));
    body.put_slice(value.as_bytes());
    put(out, b'D', &body);
}

/// The columns of a `DataRow`, as text.
pub(super) fn row(frame: &Frame) -> Result<Vec<Option<String>>, Malformed> {
    let mut body = Body::of(frame);
    let count = body.count()?;
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    (0..count).map(|_| Ok(body.value()?.map(text))).collect()
}

/// The texts of a body of NUL-terminated texts: `ParameterStatus`, `CommandComplete`.
pub(super) fn texts(frame: &Frame) -> Vec<String> {
    let texts = frame.body().split(|byte| *byte == 0);
    texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

/// Message and SQLSTATE of an `ErrorResponse`, for records: hostile text.
pub(super) fn error_words(frame: &Frame) -> String {
    let fields = texts(frame);
    let field = |kind: char| {
        fields.iter().find_map(|field| field.strip_prefix(kind)).unwrap_or_default().to_owned()
    };
    format!("{}: {}", field('C'), field('M'))
}
