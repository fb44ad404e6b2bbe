//! Who is let in to which target, and for how long.

use crate::admission::{Caller, Refusal};
use crate::admit::unavailable;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::probation;
use countermand_core::name::{AgentName, TargetName};
use serde_json::json;

/// The longest that a client may call itself, in characters.
const SAID: usize = 128;

impl Engine {
    /// Lets a checked agent in to a target.
    ///
    /// # Errors
    /// A refusal in words that tell a stranger nothing.
    pub async fn open_session(
        &self,
        agent: &str,
        target: &str,
        said: &str,
        peer: &str,
    ) -> Result<Caller, Refusal> {
        let unknown = || {
            self.login_refused();
            Refusal::CannotJudge { why: "there is no such agent or target here".into() }
        };
        let (name, target) = match (AgentName::new(agent), TargetName::new(target)) {
            (Ok(name), Ok(target)) => (name, target),
            _ => return Err(unknown()),
        };
        let authority = self.authority();
        let row = authority.agent(&name).filter(|row| row.is_valid(self.0.clock.now()));
        let row = row.ok_or_else(unknown)?;
        if !self.0.installation.targets.contains_key(&target)
            || !row.grant.targets.contains(&target)
        {
            return Err(unknown());
        }
        if let Some(why) = self.is_frozen(&name, &target) {
            return Err(Refusal::Frozen { why });
        }
        self.refuse_twin(&name, &target).await?;
        self.identify_observed(&target).await?;
        let session = format!("{}{:016x}", row.generation(), rand::random::<u64>());
        let body = json!({
            "agent": name, "sponsor": row.sponsor, "target": target, "session": session,
            "peer": peer,
        });
        let said: String = said.chars().take(SAID).collect();
        let said_too = said.clone();
        let sponsor = row.sponsor.clone();
        let (seen, by, told) = (name.clone(), row.sponsor.clone(), self.has_probation());
        let opened = self.0.store.write(move |tx| {
            tx.append(Kind::SessionOpened, &body, &[("said", said_too.as_bytes())])?;
            probation::seen(tx, &seen, &by, told)
        });
        opened.await.map_err(|error| unavailable(&error))?;
        let observed = self.observation(&target);
        Ok(Caller { agent: name, sponsor, session, said, observed })
    }

    /// Why this caller may do nothing here now, if so: frozen, or its credential has ended.
    pub fn stops(&self, caller: &Caller, target: &TargetName) -> Option<String> {
        let ended = || (!self.valid(caller)).then(|| "its credential has ended".to_owned());
        self.is_frozen(&caller.agent, target).or_else(ended).or_else(|| self.lapsed(caller))
    }

    pub(crate) fn valid(&self, caller: &Caller) -> bool {
        let now = self.0.clock.now();
        let authority = self.authority();
        let row = authority.agent(&caller.agent).filter(|row| row.is_valid(now));
        row.is_some_and(|row| caller.session.starts_with(&row.generation()))
    }
}
