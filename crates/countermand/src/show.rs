//! What commands print: as wide as the terminal, coloured where it is one, plain where it is not.

pub mod change;
pub(crate) mod configuration;
pub(crate) mod observed;
mod page;
pub mod plan;
pub(crate) mod rows;
pub(crate) mod standing;
mod table;
mod tree;

pub use countermand_core::visible as escape;
pub use page::{Page, Tone};
pub use table::{Align, Table};
pub use tree::tree;
