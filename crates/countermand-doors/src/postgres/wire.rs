//! The frontend/backend protocol 3.0: bytes to messages, and messages to the agent.
//!
//! Pure and total: no input panics, and a message that is not exactly what the protocol says is an
//! error, which ends the connection. The door and the target read every message through here, and
//! pass it on as the [`Frame`] it came in, so that both sides agree where one message ends and the
//! next begins. What is read is read when it is needed: rows go by without being looked at. What
//! goes to production in our own words is written by `postgres_protocol`.

mod body;
mod frame;
mod request;
mod response;
mod startup;
mod write;

#[cfg(test)]
mod tests;

pub use body::Malformed;
pub use frame::{Frame, FrameError, Framer, Streamed};
pub use request::{Bind, Parse, executed, named, query, sasl_initial, sasl_response};
pub use response::{
    Authentication, Column, ErrorResponse, Row, columns, command_tag, key_data, parameter_status,
    parameters, ready, row, values,
};
pub use startup::{MAX_STARTUP, Startup, StartupError, startup, startup_length};
pub use write::{
    put, put_authentication, put_complete, put_key_data, put_negotiate, put_parameter, put_ready,
    put_sasl, put_text_column, put_text_row,
};
