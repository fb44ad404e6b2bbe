//! PostgreSQL: the frontend/backend protocol 3.0.

pub mod interpret;
pub mod scratch;
pub mod target;
pub mod unit;
pub mod wire;
