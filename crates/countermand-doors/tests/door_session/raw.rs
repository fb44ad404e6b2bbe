//! A client of the extended protocol that sends what it is told to, in that order.

use crate::stand::Stand;
use bytes::{BufMut as _, BytesMut};
use countermand_doors::postgres::target::connection::Connection;
use postgres_protocol::message::frontend;

pub(crate) struct Raw {
    pub(crate) connection: Connection,
    out: BytesMut,
}

impl Raw {
    pub(crate) async fn connect(stand: &Stand) -> Raw {
        let (address, login) = stand.raw();
        let connection = Connection::open(&address, &login, &[]).await.unwrap();
        Raw { connection, out: BytesMut::new() }
    }

    pub(crate) fn parse(&mut self, name: &str, sql: &str) -> &mut Raw {
        frontend::parse(name, sql, [], &mut self.out).unwrap();
        self
    }

    pub(crate) fn bind(&mut self, portal: &str, statement: &str, values: &[&str]) -> &mut Raw {
        let mut body = BytesMut::new();
        for text in [portal, statement] {
            body.put_slice(text.as_bytes());
            body.put_u8(0);
        }
        body.put_u16(0);
        body.put_u16(values.len() as u16);
        for value in values {
            body.put_u32(value.len() as u32);
            body.put_slice(value.as_bytes());
        }
        body.put_u16(0);
        self.message(b'B', &body)
    }

    pub(crate) fn describe(&mut self, kind: u8, name: &str) -> &mut Raw {
        frontend::describe(kind, name, &mut self.out).unwrap();
        self
    }

    pub(crate) fn execute(&mut self, portal: &str, rows: i32) -> &mut Raw {
        frontend::execute(portal, rows, &mut self.out).unwrap();
        self
    }

    /// Parse, Bind, Execute of one statement, all unnamed.
    pub(crate) fn run(&mut self, sql: &str) -> &mut Raw {
        self.parse("", sql).bind("", "", &[]).execute("", 0)
    }

    pub(crate) fn flush(&mut self) -> &mut Raw {
        frontend::flush(&mut self.out);
        self
    }

    pub(crate) fn sync(&mut self) -> &mut Raw {
        frontend::sync(&mut self.out);
        self
    }

    pub(crate) fn message(&mut self, tag: u8, body: &[u8]) -> &mut Raw {
        self.begun(tag, body.len(), body)
    }

    /// The beginning of a message whose body shall have this length.
    pub(crate) fn begun(&mut self, tag: u8, length: usize, body: &[u8]) -> &mut Raw {
        self.out.put_u8(tag);
        self.out.put_u32(length as u32 + 4);
        self.plain(body)
    }

    /// Bytes as they are.
    pub(crate) fn plain(&mut self, bytes: &[u8]) -> &mut Raw {
        self.out.put_slice(bytes);
        self
    }

    pub(crate) async fn send(&mut self) {
        let out = self.out.split();
        self.connection.send(&out).await.unwrap();
    }

    /// What comes, up to and with a message of this type, in short: tags, with the columns of
    /// rows, command tags, SQLSTATEs and transaction states.
    pub(crate) async fn until(&mut self, last: u8) -> Vec<String> {
        self.until_either(last, last).await
    }

    /// The same, up to and with a message of one of these types.
    pub(crate) async fn until_either(&mut self, last: u8, other: u8) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let frame = self.connection.receive().await.unwrap();
            let body = frame.body();
            let word = match frame.tag() {
                b'D' => format!("D {}", String::from_utf8_lossy(&body[6..])),
                b'C' => format!("C {}", String::from_utf8_lossy(&body[..body.len() - 1])),
                b'Z' => format!("Z {}", char::from(body[0])),
                b'E' | b'N' => {
                    let fields = String::from_utf8_lossy(body).into_owned();
                    let code = fields.split('\0').find_map(|f| f.strip_prefix('C')).unwrap();
                    format!("{} {code}", char::from(frame.tag()))
                }
                tag => char::from(tag).to_string(),
            };
            seen.push(word);
            if frame.tag() == last || frame.tag() == other {
                return seen;
            }
        }
    }

    /// Sends what is there and reads up to the next `ReadyForQuery`.
    pub(crate) async fn answers(&mut self) -> Vec<String> {
        self.send().await;
        self.until(b'Z').await
    }
}
