//! The console over real HTTP, before a real engine with a target in memory.

#![expect(clippy::unwrap_used, reason = "in tests a failure is a panic")]

mod access;
mod api;
mod client;
mod login;
#[path = "../../../countermand-engine/tests/life/memory.rs"]
mod memory;
mod pages;
mod passkeys;
mod policies;
mod schemathesis;
mod seats;
#[path = "../../../countermand-engine/tests/life/soft_passkey.rs"]
mod soft_passkey;
mod stop;
mod tls;
#[path = "../../../countermand/tests/tools/venv.rs"]
mod venv;
#[expect(dead_code, reason = "the engine's own tests use the rest")]
#[path = "../../../countermand-engine/tests/life/world.rs"]
mod world;
