//! Admits, previews, holds, reviews, executes and restores; owns the store.
//!
//! The right to act is a [`Permit`]: only the engine makes one, after the intent is durable.
//! Doors call [`Engine::admit`]; people reach [`Engine::control`]; what faces production
//! implements [`target::Target`].
#![forbid(unsafe_code)]

mod admission;
mod admit;
mod adopt;
mod agents;
mod authority;
pub mod backup;
mod batch;
mod circuit;
mod clock;
mod configure;
mod consistency;
pub mod control;
pub mod disk;
mod doubt;
mod engine;
mod enrolment;
mod erase;
mod execute;
pub mod explain;
mod find;
mod freeze;
mod halt;
mod home;
pub mod incident;
mod installation;
pub mod key;
mod keys;
mod kind;
mod look;
pub mod metrics;
mod notify;
pub mod observe;
mod own_backups;
mod passkeys;
mod permit;
mod prepare;
mod probation;
mod propose;
mod prove;
mod publish;
mod question;
mod record;
mod recover;
mod report;
mod review;
mod rotate;
mod sample;
mod serve;
mod session;
mod standing;
mod store;
mod take_back;
mod take_back_writes;
pub mod target;
pub mod trace;
mod twins;
mod view;
mod watch;
mod web;
mod weigh;

pub use admission::{Admission, Caller, Kept, Proposal, Refusal};
pub use agents::ScramVerifier;
pub use clock::Clock;
pub use engine::{Engine, EngineError};
pub use erase::Retention;
pub use halt::Halt;
pub use home::{Home, HomeError};
pub use installation::{Human, Installation, Placement};
pub use kind::{Kind, UnknownKind};
pub use passkeys::{LoggedIn, MadePasskey, Passkeys, PasskeysError};
pub use permit::Permit;
pub use serve::Peer;
pub use store::StoreError;
pub use web::{WebError, client as web_client};
pub use weigh::{Images, Receipt, Weighing};
