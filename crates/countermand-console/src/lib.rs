//! The web console and the HTTP API: what people read before they decide.
//!
//! Everything is behind one table, `route::ROUTES`, in which every address says who may call it.
//! What is asked of the engine goes through a `Reader`, which only a login makes and which can do
//! nothing but ask. Every text that somebody else wrote is a `text::Text` before a page has it.
#![forbid(unsafe_code)]

mod api;
mod assets;
mod guard;
mod live;
mod login;
mod pages;
mod patient;
mod picture;
mod problem;
mod radius;
mod reader;
mod route;
mod server;
mod text;

pub use login::Links;
pub use server::{Certificate, Console, ConsoleConfig, ConsoleError};
