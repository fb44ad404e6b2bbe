//! Sessions through the door: real clients, a real server behind.

mod extended;
mod raw;
mod simple;
mod stand;
mod transaction;
mod wall;
