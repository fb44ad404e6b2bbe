//! The words of Countermand as types: actions, effects, blast radius, changes, policy.
//!
//! Pure and synchronous: no clock, no randomness, no files, no network. Time and identifiers
//! are arguments.
#![forbid(unsafe_code)]

pub mod action;
pub mod backups;
pub mod change;
pub mod configuration;
pub mod digest;
pub mod effect;
pub mod evidence;
pub mod limits;
pub mod name;
pub mod policy;
pub mod preview;
pub mod probation;
pub mod radius;
pub mod request;
pub mod standing;
pub mod statement;
pub mod verb;
pub mod visible;
pub mod watch;
