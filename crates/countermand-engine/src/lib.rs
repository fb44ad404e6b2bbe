//! Admits, previews, holds, reviews, executes and restores; owns the store.
//!
//! The right to act is a [`Permit`]: only the engine makes one, after the intent is durable.
#![forbid(unsafe_code)]

mod admission;
pub mod control;
mod installation;
mod permit;
pub mod target;

pub use admission::{Admission, Caller, Proposal, Refusal};
pub use installation::{Human, Installation, Placement};
pub use permit::Permit;
