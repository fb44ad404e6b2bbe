//! From configuration to what the engine and the doors are made of.

use crate::config::{Config, PostgresConfig};
use crate::serve::ServeError;
use countermand_core::name::TargetName;
use countermand_doors::postgres::scratch::Tools;
use countermand_doors::postgres::target::{PostgresTarget, Setup};
use countermand_engine::target::Target;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The side of every target that faces production. Nothing is connected yet.
pub(crate) fn targets(
    config: &Config,
) -> Result<BTreeMap<TargetName, Arc<dyn Target>>, ServeError> {
    let tools = Tools::find().map_err(|error| ServeError::Tools(error.to_string()))?;
    let target = |(name, postgres): (&TargetName, &PostgresConfig)| {
        let setup = Setup {
            name: name.clone(),
            address: postgres.address.clone(),
            executor: postgres.executor.clone(),
            tags: config.installation.targets[name].object_tags.clone(),
            statement_timeout: postgres.limits.statement,
            lock_wait: postgres.limits.lock,
            lock_hold: postgres.limits.unavailable,
            programs: tools.directory().to_owned(),
        };
        (name.clone(), Arc::new(PostgresTarget::new(setup)) as Arc<dyn Target>)
    };
    Ok(config.targets.iter().map(target).collect())
}
