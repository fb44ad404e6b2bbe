//! PostgreSQL: the frontend/backend protocol 3.0.

pub mod door;
pub mod interpret;
mod refuse;
pub mod scratch;
pub mod target;
pub mod unit;
pub mod wire;
