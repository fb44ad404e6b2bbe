//! The ledger's format: one canonical JSON line per entry, an RFC 6962 Merkle tree over the lines,
//! a signed checkpoint over the tree, and the verification of all of it from files alone.
//!
//! This crate is pure: it opens no file or socket and asks no clock or random source. Times, salts,
//! nonces and key material are arguments. Whoever keeps the leaves (the engine) and whoever doubts
//! them (an auditor) run the same code. `README.md` beside this crate describes the bytes precisely
//! enough to write another verifier.
//!
//! # What an auditor must trust
//!
//! - SHA-256 and Ed25519.
//! - The verifier key string (*vkey*), obtained from somewhere other than the ledger's own files.
//! - Nothing else, to know that no covered entry was altered, removed, inserted or reordered **since
//!   the checkpoint was signed**.
//!
//! What the files alone cannot show, and what to do about it:
//!
//! - *That the signer did not rewrite everything and sign again.* Keep a checkpoint elsewhere, at any
//!   time, and pass it as [`verify::Evidence::kept`]: a rewritten or cut ledger cannot match it.
//! - *That the newest entries are the newest.* Entries after the last checkpoint are counted as
//!   [`verify::Report::unsigned_tail`], never silently accepted.
//! - *That what was written is true.* A ledger proves what was said and in which order.
//!
//! # Modules
//!
//! [`leaf`] one entry · [`text`] erasable texts beside it · [`erasure`] which were erased · [`tree`] hashes and proofs ·
//! [`frontier`] the writer's part of the tree ·
//! [`checkpoint`] the signed tree head · [`keyring`] which keys may have signed it · [`segment`] how entries lie in files · [`verify`] the audit ·
//! [`proof`] one entry proven to someone who has nothing else.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod checkpoint;
pub mod erasure;
pub mod frontier;
mod instant;
pub mod keyring;
pub mod leaf;
pub mod proof;
pub mod segment;
pub mod text;
pub mod tree;
pub mod verify;
