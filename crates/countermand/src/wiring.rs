//! From configuration to what the engine and the doors are made of.

use crate::config::Config;
use crate::serve::ServeError;
use async_trait::async_trait;
use countermand_core::action::Action;
use countermand_core::change::Abort;
use countermand_core::change::{CommitToken, Rehearsal, RestorePoint};
use countermand_core::name::TargetName;
use countermand_core::preview::Preview;
use countermand_core::request::Payload;
use countermand_engine::target::{
    Aborted, Fate, Ran, Rehearse, Restore, RestorePlan, Restored, Run, Target, TargetError,
};
use countermand_engine::{Engine, Permit};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The targets.
pub(crate) fn targets(config: &Config) -> BTreeMap<TargetName, Arc<dyn Target>> {
    let absent = || Arc::new(Absent) as Arc<dyn Target>;
    config.targets.keys().map(|name| (name.clone(), absent())).collect()
}

/// Opens the door and serves it among `running`, until told to stop. Gives its address.
pub(crate) async fn open_door(
    config: &Config,
    _engine: &Engine,
    _stop: watch::Receiver<bool>,
    _running: &mut JoinSet<()>,
) -> Result<SocketAddr, ServeError> {
    Ok(config.door.listen)
}

/// Nothing behind it: everything is refused.
struct Absent;

fn absent() -> TargetError {
    TargetError::Unreachable("nothing is connected".to_owned())
}

#[async_trait]
impl Target for Absent {
    async fn preview(&self, _: &Payload, _: &[Action]) -> Result<Preview, TargetError> {
        Err(absent())
    }
    async fn trial(&self, _: &Preview, _: PathBuf) -> Result<RestorePoint, TargetError> {
        Err(absent())
    }
    async fn rehearse(&self, _: Permit<Rehearse>) -> Result<Rehearsal, TargetError> {
        Err(absent())
    }
    async fn run(&self, _: Permit<Run>) -> Result<Ran, Aborted> {
        Err(Aborted { abort: Abort::Interrupted, why: absent().to_string() })
    }
    async fn fate(&self, _: &CommitToken) -> Result<Fate, TargetError> {
        Err(absent())
    }
    async fn plan_restore(&self, _: PathBuf, _: &RestorePoint) -> Result<RestorePlan, TargetError> {
        Err(absent())
    }
    async fn restore(&self, _: Permit<Restore>) -> Result<Restored, TargetError> {
        Err(absent())
    }
}
