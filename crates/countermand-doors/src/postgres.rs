//! PostgreSQL: the frontend/backend protocol 3.0.

pub mod door;
mod images;
pub mod interpret;
pub mod quoting;
mod refuse;
pub mod scratch;
pub mod target;
pub mod unit;
pub mod wire;
