//! The side of PostgreSQL that faces production.

pub mod connection;
