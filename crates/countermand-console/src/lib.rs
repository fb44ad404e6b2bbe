//! The web console and the HTTP API: what people read before they decide.
//!
//! Everything is behind one table, `route::ROUTES`, in which every address says who may call it.
//! What is asked of the engine goes through a `Reader`, which only a login makes and which can do
//! nothing but ask; what is done goes through a `Signer`, which only a passkey's login makes, in the
//! name of its own human alone. Every text that somebody else wrote is a `text::Text` before a page has it.
#![forbid(unsafe_code)]

mod act;
mod api;
mod assets;
mod findings;
mod guard;
mod live;
mod login;
mod metrics;
mod openapi;
mod pages;
mod patient;
mod picture;
mod problem;
mod radius;
mod reader;
mod rounds;
mod route;
mod said;
mod server;
mod signer;
mod text;

pub use findings::{Doctor, Finding, Tested, Tests, Verdict};
pub use login::Links;
pub use metrics::{Metrics, MetricsError};
pub use pages::explain::Reading;
pub use server::{Certificate, Console, ConsoleConfig, ConsoleError};
