//! The frontend/backend protocol 3.0: bytes to messages and back.
//!
//! Pure and total: no input panics, and a message that is not exactly what the protocol says is an
//! error, which ends the connection. Messages go on re-encoded or as a whole [`Frame`], never as a
//! run of raw bytes, so that both sides always agree where one message ends and the next begins.

mod answer;
mod backend;
mod body;
mod encode;
mod frame;
mod frontend;
mod request;
mod startup;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Report, Severity};
pub use backend::{Authentication, Backend, ErrorFields, TransactionStatus};
pub use body::Malformed;
pub use encode::{EncodeError, TooLong};
pub use frame::{Frame, FrameError, Framer, MAX_FRAME};
pub use frontend::{Bind, Frontend, Named, Parse, StatementKind};
pub use startup::{CancelKey, MAX_STARTUP, Startup, StartupError, startup};
