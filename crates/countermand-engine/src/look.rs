//! What whoever looks on needs beside [`crate::control`]: when to look again, and who they are.

use crate::control::{ChangeLine, ChangeView};
use crate::engine::Engine;
use crate::explain::Explanation;
use crate::store::StoreError;
use countermand_core::limits::Limits;
use countermand_core::name::{AgentName, HumanName, TargetName};
use countermand_core::policy::Forbid;
use countermand_core::request::ChangeNumber;
use jiff::Timestamp;
use std::collections::BTreeMap;
use tokio::sync::watch;

impl Engine {
    /// Counts up whenever any change moves.
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.0.moved.subscribe()
    }

    /// A change's version, which counts up with its events, and whether it is open.
    ///
    /// # Errors
    /// [`StoreError`] where there is no such change, or the store does not answer.
    pub fn version_of(&self, number: ChangeNumber) -> Result<(u64, bool), StoreError> {
        self.0.store.read(|rows| rows.version(number))
    }

    /// A change, whole, with why it is as it is: policy is asked once for both.
    ///
    /// # Errors
    /// [`StoreError`] where there is no such change, or the store does not answer.
    pub fn explained(&self, number: ChangeNumber) -> Result<(ChangeView, Explanation), StoreError> {
        let change = self.0.store.read(|rows| rows.change(number))?;
        let decision = self.judge(&change, &change.preview, &self.evidence(&change));
        let view = self.view_under(&change, &decision)?;
        Ok((view, self.explain_change(&change, decision)))
    }

    /// An agent's latest changes beside one, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn beside(
        &self,
        agent: &AgentName,
        number: ChangeNumber,
        most: u64,
    ) -> Result<Vec<ChangeLine>, StoreError> {
        let numbers = self.0.store.read(|rows| rows.numbers_of(agent, most))?;
        let others = numbers.into_iter().filter(|other| *other != number);
        let change = |other| self.0.store.read(|rows| rows.change(other));
        others.map(|other| Ok(self.line(&change(other)?))).collect()
    }

    /// The open changes with their versions.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_versions(&self) -> Result<BTreeMap<ChangeNumber, u64>, StoreError> {
        self.0.store.read(|rows| {
            let numbers = rows.numbers(true)?.into_iter();
            numbers.map(|number| Ok((number, rows.version(number)?.0))).collect()
        })
    }

    /// The forbids in force. They were validated when they were loaded; nothing else is loaded.
    pub fn forbids(&self) -> Vec<Forbid> {
        self.authority().policy.forbids()
    }

    /// In each target of an agent's grant, how many rows it changed within the last hour, and how
    /// many it may.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn used_limits(
        &self,
        agent: &AgentName,
    ) -> Result<BTreeMap<TargetName, (u64, Limits)>, StoreError> {
        let authority = self.authority();
        let granted = authority.agent(agent).map(|row| row.grant.targets.clone());
        let since = self.0.clock.now().checked_sub(crate::weigh::WINDOW).unwrap_or(Timestamp::MIN);
        let used = |target: TargetName| {
            let used = self.0.store.read(|rows| rows.changed_since(agent, &target, since))?;
            let limits = self.limits(agent, &target);
            Ok((target, (used, limits)))
        };
        granted.into_iter().flatten().map(used).collect()
    }

    /// Whether this is a person of the installation who counts now.
    pub fn knows(&self, human: &HumanName) -> bool {
        self.people().get(human).is_some()
    }
}
