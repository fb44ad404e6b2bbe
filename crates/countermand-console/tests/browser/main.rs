//! The console in a real browser, before a real engine with a target in memory.

#![expect(clippy::unwrap_used, reason = "in tests a failure is a panic")]

mod axe;
mod browser;
#[expect(dead_code, reason = "the tests over HTTP use the rest")]
#[path = "../http/client.rs"]
mod client;
mod every_page;
mod hands;
mod hostile;
#[path = "../../../countermand-engine/tests/life/memory.rs"]
mod memory;
mod page;
mod passkeys;
mod pictures;
mod reach;
mod stop;
mod wire;
#[expect(dead_code, reason = "the engine's own tests use the rest")]
#[path = "../../../countermand-engine/tests/life/world.rs"]
mod world;
