//! The real binary, from the outside.

mod cli;
mod gateway;
mod life;
mod socket;
