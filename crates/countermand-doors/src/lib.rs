#![forbid(unsafe_code)]

pub mod postgres;
pub mod secret;
