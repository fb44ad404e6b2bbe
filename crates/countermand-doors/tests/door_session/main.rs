//! Sessions through the door: real clients, a real server behind.

#![allow(clippy::unwrap_used)] // helpers of tests fail as tests do

mod available;
mod bounds;
mod carried;
mod evasion;
mod existing;
mod extended;
mod observed;
mod pooler;
mod raw;
mod search;
mod simple;
mod stand;
mod tls;
mod transaction;
mod wall;
mod weighed;
