//! Real tools, unchanged, through a real gateway: what people and programs use with PostgreSQL
//! every day works as it does without it, and what is held is what they asked to destroy.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "in tests a failure is a panic")]

mod dump;
mod migrations;
mod node;
mod pgbench;
mod psql;
mod python;
mod quiet;
mod rust;
mod stage;
mod venv;
