//! Sessions through the door: real clients, a real server behind.

mod simple;
mod stand;
