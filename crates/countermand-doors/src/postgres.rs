//! PostgreSQL: the frontend/backend protocol 3.0.

pub mod scratch;
