//! What is where, and how it is reached.

use super::fault::{ConfigError, Source};
use super::file::{self, Kind};
use super::{resolve, watch};
use countermand_core::name::TargetName;
use countermand_doors::postgres::target::connection::{Address, Host, Login, Roots, Tls};
use countermand_engine::Placement;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The word that says that a target has no rehearsal partner.
const NONE: &str = "none";

/// How one PostgreSQL database is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    /// Where it listens.
    pub address: Address,
    /// What agents' statements run as.
    pub session: Login,
    /// What only the engine uses, with a permit.
    pub executor: Login,
    /// How long things may take there.
    pub limits: Limits,
    /// The session role may own what it changes, for as long as the target is observed.
    pub observed_as_owner: bool,
}

/// How long things may take in a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// One statement.
    pub statement: Duration,
    /// Waiting for one lock.
    pub lock: Duration,
    /// Holding a lock that others wait for; above it the resource counts as unavailable.
    pub unavailable: Duration,
}

type Read = (BTreeMap<TargetName, Placement>, BTreeMap<TargetName, PostgresConfig>);

/// Every target, or the first thing that cannot be so.
pub(super) fn read(
    source: &Source<'_>,
    folder: &Path,
    targets: BTreeMap<TargetName, file::Target>,
) -> Result<Read, ConfigError> {
    if targets.is_empty() {
        let why = "there is nothing to guard: add a `[targets.NAME]`";
        return Err(source.at(&["targets"], why));
    }
    let mut placements = BTreeMap::new();
    let mut configs = BTreeMap::new();
    for (name, target) in targets {
        let at = At { source, name: &name };
        placements.insert(name.clone(), at.placement(folder, &target)?);
        let config = match target.kind {
            Kind::Postgres => at.postgres(folder, target)?,
        };
        configs.insert(name, config);
    }
    for name in placements.keys() {
        At { source, name }.check_partner(&placements, &configs)?;
    }
    Ok((placements, configs))
}

/// One target's place in the file.
struct At<'a> {
    source: &'a Source<'a>,
    name: &'a TargetName,
}

impl At<'_> {
    fn fault(&self, key: &str, why: impl Into<String>) -> ConfigError {
        self.source.at(&["targets", self.name.as_str(), key], why)
    }

    fn placement(&self, folder: &Path, target: &file::Target) -> Result<Placement, ConfigError> {
        if self.name.as_str() == NONE {
            return Err(self.fault("", "a target cannot be called `none`: choose another name"));
        }
        if target.disposable && target.environment.as_str() == "production" {
            let why = "production is not disposable: no rule of the floor would bind there";
            return Err(self.fault("disposable", why));
        }
        if let Some(why) = target.observe.and_then(|observe| observe.fault()) {
            return Err(self.fault("observe", why));
        }
        let partner = match target.rehearsal.as_deref() {
            Some(NONE) => None,
            Some(partner) => {
                let named = TargetName::new(partner);
                Some(named.map_err(|error| self.fault("rehearsal", error.to_string()))?)
            }
            None if target.disposable => None,
            None => {
                let why = "say where its changes are rehearsed: `rehearsal = \"NAME\"` of a \
                    target in staging, or `rehearsal = \"none\"`, which asks for two peers instead";
                return Err(self.fault("rehearsal", why));
            }
        };
        for pattern in target.object_tags.keys() {
            let plain = pattern.strip_suffix('*').unwrap_or(pattern);
            if plain.contains('*') || pattern.is_empty() {
                let why = format!(
                    "`{pattern}` is not a pattern: write `schema.table`, `schema.*` or `*`"
                );
                return Err(self.fault("object_tags", why));
            }
        }
        Ok(Placement {
            environment: target.environment.clone(),
            disposable: target.disposable,
            tags: target.tags.clone(),
            object_tags: target.object_tags.clone(),
            partner,
            limits: target.writes,
            limits_of: target.writes_of.clone(),
            probation: target.probation,
            watch: watch::probes(self.source, self.name, &target.watch)?,
            backups: watch::backups(self.source, folder, self.name, target.backups.as_ref())?,
            notify: watch::notify(self.source, folder, self.name, target.notify.as_ref())?,
        })
    }

    fn postgres(&self, folder: &Path, target: file::Target) -> Result<PostgresConfig, ConfigError> {
        if target.session.user == target.executor.user {
            let why = "`session` and `executor` must be two roles: a statement that was judged \
                wrongly then still meets a role that cannot drop";
            return Err(self.fault("executor", why));
        }
        let tls = self.tls(folder, &target)?;
        let host = match target.host.starts_with('/') {
            true => Host::Unix(target.host.into()),
            false => Host::Tcp(target.host),
        };
        let login =
            |login: file::Login| Login { user: login.user, secret: resolve(folder, login.secret) };
        let observed_as_owner = target.observe.is_some_and(|observe| observe.session_may_own);
        Ok(PostgresConfig {
            observed_as_owner,
            address: Address { host, port: target.port, database: target.database, tls },
            session: login(target.session),
            executor: login(target.executor),
            limits: self.limits(&target.limits)?,
        })
    }

    fn tls(&self, folder: &Path, target: &file::Target) -> Result<Tls, ConfigError> {
        let roots = target.tls_roots.as_ref().map(|roots| Roots::File(folder.join(roots)));
        match target.tls {
            file::Tls::VerifyFull => Ok(Tls::VerifyFull {
                roots: roots.unwrap_or(Roots::Native),
                name: target.tls_name.clone(),
            }),
            _ if roots.is_some() => {
                Err(self.fault("tls_roots", "`tls_roots` needs `tls = \"verify-full\"`"))
            }
            _ if target.tls_name.is_some() => {
                Err(self.fault("tls_name", "`tls_name` needs `tls = \"verify-full\"`"))
            }
            file::Tls::Automatic => Ok(Tls::Automatic),
            file::Tls::Disable => Ok(Tls::Disable),
        }
    }

    fn limits(&self, limits: &file::Limits) -> Result<Limits, ConfigError> {
        let positive = |limit: Option<jiff::SignedDuration>, usual: u64| match limit {
            None => Ok(Duration::from_secs(usual)),
            Some(limit) => Duration::try_from(limit)
                .ok()
                .filter(|limit| !limit.is_zero())
                .ok_or_else(|| self.fault("limits", "a limit must be longer than nothing: `30s`")),
        };
        Ok(Limits {
            statement: positive(limits.statement, 300)?,
            lock: positive(limits.lock, 2)?,
            unavailable: positive(limits.unavailable, 1)?,
        })
    }

    /// A partner is where the unit is run to see what it does: it must be there, be another
    /// database, and not be production.
    fn check_partner(
        &self,
        placements: &BTreeMap<TargetName, Placement>,
        configs: &BTreeMap<TargetName, PostgresConfig>,
    ) -> Result<(), ConfigError> {
        let Some(partner) = &placements[self.name].partner else { return Ok(()) };
        let Some(placement) = placements.get(partner) else {
            let why = format!("there is no `[targets.{partner}]` to rehearse in: add it");
            return Err(self.fault("rehearsal", why));
        };
        if placement.is_production() {
            let why = format!("`{partner}` is production: nothing is rehearsed there");
            return Err(self.fault("rehearsal", why));
        }
        let (here, there) = (&configs[self.name].address, &configs[partner].address);
        if here.to_string() == there.to_string() && here.database == there.database {
            let why = format!("`{partner}` is the same database: a rehearsal would be the act");
            return Err(self.fault("rehearsal", why));
        }
        Ok(())
    }
}
