#![forbid(unsafe_code)]

pub mod postgres;
