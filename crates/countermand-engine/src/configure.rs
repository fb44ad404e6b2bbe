//! Configuration is production too: what `serve` runs under is proposed, signed, cooled, applied.

use crate::control::{ConfigurationView, Reply};
use crate::engine::{Engine, EngineError};
use crate::installation::Installation;
use crate::key::Signed;
use crate::kind::Kind;
use crate::review::{ReviewError, Spent, no};
use crate::store::{ConfigurationRow, Rows, Store, StoreError, Tx};
use countermand_core::configuration::{
    Configuration, Enrolment, Observations, Proposed, Waits, difference, observe_fault,
};
use countermand_core::name::HumanName;
use countermand_core::statement::{Act, ConfigurationSubject, Statement};
use countermand_ledger::leaf::Leaf;
use serde_json::{Value, json};
use std::collections::VecDeque;
use tokio::sync::watch;

/// Configurations that somebody was given to sign, at a time.
const MOST_DRAFTS: usize = 32;

/// What a configuration cannot change.
const SETTINGS_THAT_STAY: [&str; 1] = ["installation"];

/// Configurations that were given out to be signed and not proposed yet, the oldest first.
pub(crate) type Drafts = VecDeque<Configuration>;

/// Takes in the installation's configuration, or refuses to run under it: once an agent was let
/// in, only what was signed is run.
pub(crate) async fn take_in(
    store: &Store,
    installation: &Installation,
) -> Result<(Enrolment, Observations), EngineError> {
    let now = &installation.configuration;
    let history = store.read(|rows| rows.applied_configurations())?;
    let known = history.last().is_some_and(|last| last.configuration == *now);
    let free = history.is_empty() || !store.read(|rows| rows.has_let_in())?;
    match (known, free) {
        (true, _) => {}
        (false, false) => return Err(EngineError::NotApplied(now.digest().short())),
        (false, true) => {
            let configuration = now.clone();
            store.write(move |tx| apply_unsigned(tx, &configuration)).await?;
        }
    }
    Ok(store.read(enrolled)?)
}

/// Who counts, and what is observed, since when, by the ledger's own entries: each configuration that
/// the store says was in force must be in one.
fn enrolled(rows: &Rows<'_>) -> Result<(Enrolment, Observations), StoreError> {
    let (mut enrolment, mut observations) = (Enrolment::default(), Observations::default());
    for row in rows.applied_configurations()? {
        let line = rows.leaves(row.idx, 1)?.pop().unwrap_or_default();
        let leaf = Leaf::parse(line.as_bytes());
        let leaf = leaf.map_err(|error| StoreError::Leaf(error.to_string()))?;
        let digest = leaf.body().get("digest").and_then(Value::as_str);
        let says = digest == Some(&row.configuration.digest().to_string());
        if leaf.kind() != "config.applied" || !says {
            let number = row.number;
            return Err(StoreError::Unreadable(format!(
                "the ledger does not say that configuration {number} was in force"
            )));
        }
        let unsigned = leaf.body().get("unsigned").and_then(Value::as_bool) == Some(true);
        enrolment.apply(&row.configuration, leaf.at(), unsigned);
        observations.apply(&row.configuration, leaf.at());
    }
    for (target, since, said) in rows.observed_as()? {
        observations.identify(&target, since, &said);
    }
    Ok((enrolment, observations))
}

/// The first of a gateway, or another before any agent: it is in force because it is there.
fn apply_unsigned(tx: &mut Tx<'_>, configuration: &Configuration) -> Result<(), StoreError> {
    if !tx.rows().agents()?.is_empty() {
        tracing::warn!(
            "the gateway was upgraded: what its file says is in force, with all its people"
        );
    }
    let body = json!({
        "digest": configuration.digest(), "unsigned": true, "signers": configuration.signers(),
    });
    let idx =
        tx.append(Kind::ConfigApplied, &body, &[("configuration", &text_of(configuration))])?;
    if let Some(row) = tx.rows().waiting_configuration()? {
        tx.end_configuration(row.number, "another came into force", idx)?;
    }
    tx.put_configuration(configuration, None, idx).map(|_| ())
}

fn text_of(configuration: &Configuration) -> Vec<u8> {
    countermand_core::digest::canonical(configuration)
}

impl Engine {
    /// Turns true when another configuration than this engine's is in force: start again.
    pub fn reconfigured(&self) -> watch::Receiver<bool> {
        self.0.reconfigured.subscribe()
    }

    /// What this human would sign to have `wanted` replace the configuration in force.
    pub(crate) fn draft(&self, wanted: Configuration) -> Result<Act, ReviewError> {
        let now = self.in_force()?;
        for stays in SETTINGS_THAT_STAY {
            if wanted.settings.get(stays) != now.settings.get(stays) {
                return no(format!(
                    "`{stays}` never changes: statements that were signed carry it"
                ));
            }
        }
        let subject = self.subject_of(&wanted, now);
        if subject.digest == subject.replaces {
            return no("nothing differs from the configuration in force");
        }
        if let Some(why) = observe_fault(&wanted) {
            return no(why);
        }
        self.leaves_people(&wanted)?;
        self.none_waits()?;
        let mut drafts = self.drafts();
        drafts.retain(|draft| *draft != wanted);
        if drafts.len() >= MOST_DRAFTS {
            drafts.pop_front();
        }
        drafts.push_back(wanted);
        Ok(Act::ProposeConfiguration(subject))
    }

    /// Nobody is locked out: what is in force must leave somebody who can sign at once, and where
    /// there are several, one who reviews.
    fn leaves_people(&self, wanted: &Configuration) -> Result<(), ReviewError> {
        let now = self.0.clock.now();
        let mut enrolment = self.0.enrolment.clone();
        enrolment.apply(wanted, now, false);
        let (people, reviewers) = wanted.people_and_reviewers();
        if !enrolment.has_key(now) {
            return no(
                "nobody could sign anything for 24 hours: keep a key that counts beside new ones",
            );
        }
        if people > 1 && reviewers == 0 {
            return no(
                "one of two people must review, or nobody could approve anything: name them under \
                 [reviewers]",
            );
        }
        Ok(())
    }

    /// What is signed of a configuration that is to replace `now`.
    fn subject_of(&self, wanted: &Configuration, now: &Configuration) -> ConfigurationSubject {
        let observed = self.observations().words(wanted);
        ConfigurationSubject { observed, ..wanted.subject(now) }
    }

    /// The configuration that this engine runs under, as long as it is the one in force.
    fn in_force(&self) -> Result<&Configuration, ReviewError> {
        let now = &self.0.installation.configuration;
        if *self.0.reconfigured.borrow() {
            return no("another configuration is in force: the gateway is starting under it");
        }
        if !self.0.store.read(|rows| rows.has_let_in())? {
            return no(
                "no agent was let in yet: start the gateway again, and what is in the file \
                 is in force",
            );
        }
        Ok(now)
    }

    fn none_waits(&self) -> Result<(), ReviewError> {
        match self.0.store.read(|rows| rows.waiting_configuration())? {
            None => Ok(()),
            Some(row) => {
                let number = row.number;
                no(format!("configuration {number} waits: approve it, or stop it first"))
            }
        }
    }

    /// What another human would sign to let the configuration that waits be in force.
    pub(crate) fn second(&self, signer: &HumanName, number: u64) -> Result<Act, ReviewError> {
        let (row, proposed) = self.waiting(number)?;
        if proposed.editor == *signer {
            return no(format!(
                "`{signer}` wrote configuration {number}: another human approves it"
            ));
        }
        if !self.people().seats().contains_key(signer) {
            return no(format!("`{signer}` is not a reviewer, or does not count yet"));
        }
        let subject = self.subject_of(&row.configuration, self.in_force()?);
        Ok(Act::ApproveConfiguration { number, editor: proposed.editor, subject })
    }

    fn waiting(&self, number: u64) -> Result<(ConfigurationRow, Proposed), ReviewError> {
        let row = self.0.store.read(|rows| rows.waiting_configuration())?;
        match row.map(|row| (row.proposed.clone(), row)) {
            Some((Some(proposed), row)) if row.number == number => Ok((row, proposed)),
            _ => no(format!("configuration {number} does not wait to be in force")),
        }
    }

    /// Takes in a signed proposal.
    pub(crate) async fn propose_configuration(
        &self,
        statement: &Statement,
        subject: ConfigurationSubject,
        signed: Signed,
        proof: Value,
    ) -> Result<Reply, ReviewError> {
        let draft = self.drafts().iter().find(|draft| draft.digest() == subject.digest).cloned();
        let Some(configuration) = draft else {
            return no("the gateway no longer has this configuration; propose it again");
        };
        if self.subject_of(&configuration, self.in_force()?) != subject {
            return no("another configuration is in force by now; propose it again");
        }
        self.configuration_key_counts(&configuration, &signed)?;
        self.none_waits()?;
        let proposed = Proposed {
            editor: statement.signer.clone(),
            at: self.0.clock.now(),
            loosens: subject.loosens,
            approval: None,
        };
        let spent = Spent::of(statement);
        let body =
            described(&subject, json!({ "editor": proposed.editor, "key": signed.key }), proof);
        let number = self.0.store.write(move |tx| {
            spent.take(tx)?;
            if tx.rows().waiting_configuration()?.is_some() {
                return Err(StoreError::Refused("another configuration waits by now".into()));
            }
            let text = text_of(&configuration);
            let idx = tx.append(Kind::ConfigProposed, &body, &[("configuration", &text)])?;
            tx.put_configuration(&configuration, Some(&proposed), idx)
        });
        let number = number.await?;
        tracing::warn!(number, editor = %statement.signer, "a configuration is proposed");
        self.apply_due().await?;
        self.told_of_configuration(number)
    }

    /// Takes in another human's signature.
    pub(crate) async fn approve_configuration(
        &self,
        statement: &Statement,
        number: u64,
        subject: ConfigurationSubject,
        signed: Signed,
        proof: Value,
    ) -> Result<Reply, ReviewError> {
        let human = statement.signer.clone();
        let Act::ApproveConfiguration { subject: now, editor, .. } = self.second(&human, number)?
        else {
            return no("that statement approves no configuration");
        };
        if now != subject {
            return no(format!("configuration {number} is no longer what this statement says"));
        }
        let (row, _) = self.waiting(number)?;
        self.configuration_key_counts(&row.configuration, &signed)?;
        let spent = Spent::of(statement);
        let by =
            json!({ "configuration": number, "editor": editor, "human": human, "key": signed.key });
        let body = described(&subject, by, proof);
        let approved = self.0.store.write(move |tx| {
            spent.take(tx)?;
            let idx = tx.append(Kind::ConfigApproved, &body, &[])?;
            tx.approve_configuration(number, &human, idx)
        });
        approved.await?;
        tracing::warn!(number, by = %statement.signer, "a configuration is approved");
        self.0.nudge.notify_one();
        self.told_of_configuration(number)
    }

    /// In production, now or by the new configuration, only a user-verified key counts.
    fn configuration_key_counts(
        &self,
        wanted: &Configuration,
        signed: &Signed,
    ) -> Result<(), ReviewError> {
        let installation = &self.0.installation;
        let production = wanted.names_production(crate::installation::is_production);
        if production && !signed.user_verified && !installation.plain_keys_count {
            return no(crate::review::ONLY_VERIFIED_KEYS);
        }
        self.key_counts(installation.targets.keys(), signed)
    }

    /// Ends the wait of a configuration. Only stops, so needs no signature.
    pub(crate) async fn stop_configuration(
        &self,
        number: u64,
        by: String,
        reason: String,
    ) -> Result<Reply, ReviewError> {
        self.waiting(number)?;
        self.end_configuration(number, format!("stopped by {by}"), reason).await?;
        let words = format!("configuration {number} will not be in force");
        Ok(Reply::Done { words, credential: None })
    }

    async fn end_configuration(
        &self,
        number: u64,
        why: String,
        reason: String,
    ) -> Result<(), StoreError> {
        let body = json!({ "configuration": number, "why": why });
        let ended = self.0.store.write(move |tx| {
            let idx = tx.append(Kind::ConfigStopped, &body, &[("reason", reason.as_bytes())])?;
            tx.end_configuration(number, &why, idx)
        });
        ended.await
    }

    /// Applies what waits, if everything for it is there now.
    pub(crate) async fn apply_due(&self) -> Result<(), StoreError> {
        let Some(row) = self.0.store.read(|rows| rows.waiting_configuration())? else {
            return Ok(());
        };
        let number = row.number;
        match self.waits(&row) {
            Waits::Until(then) if then <= self.0.clock.now() => {}
            Waits::Expired => {
                return self.end_configuration(number, "expired".into(), String::new()).await;
            }
            Waits::Another | Waits::Until(_) => return Ok(()),
        }
        let body = json!({
            "configuration": number, "digest": row.configuration.digest(),
            "replaces": self.0.installation.configuration.digest(),
            "editor": row.proposed.as_ref().map(|proposed| &proposed.editor),
            "human": row.proposed.as_ref().and_then(|p| Some(&p.approval.as_ref()?.0)),
            "solo": self.people().is_solo(), "signers": row.configuration.signers(),
        });
        let applied = self.0.store.write(move |tx| {
            // What was given out under another configuration is not signed by who may be gone.
            tx.forget_nonces()?;
            let idx = tx.append(Kind::ConfigApplied, &body, &[])?;
            tx.apply_configuration(number, idx)
        });
        applied.await?;
        tracing::info!(number, "another configuration is in force");
        self.0.reconfigured.send_replace(true);
        Ok(())
    }

    fn waits(&self, row: &ConfigurationRow) -> Waits {
        let Some(proposed) = &row.proposed else { return Waits::Expired };
        let people = self.people();
        let seats = people.seats();
        let reviews = |human: &HumanName| seats.contains_key(human);
        proposed.waits(self.0.clock.now(), self.0.began, people.is_solo(), reviews)
    }

    /// The configurations in force and waiting, now.
    pub(crate) async fn configurations(&self) -> Result<Reply, StoreError> {
        self.apply_due().await?;
        let in_force = self.0.store.read(|rows| rows.applied_configurations())?.pop();
        let waiting = self.0.store.read(|rows| rows.waiting_configuration())?;
        Ok(Reply::Configurations {
            in_force: in_force.map(|row| Box::new(self.configuration_view(row))),
            waiting: waiting.map(|row| Box::new(self.configuration_view(row))),
        })
    }

    fn configuration_view(&self, row: ConfigurationRow) -> ConfigurationView {
        let now = &self.0.installation.configuration;
        let (waits, differences) = match row.is_open() {
            false => (None, Vec::new()),
            true => (Some(self.waits_words(&row)), difference(now, &row.configuration)),
        };
        ConfigurationView {
            number: row.number,
            digest: row.configuration.digest(),
            editor: row.proposed.as_ref().map(|proposed| proposed.editor.clone()),
            approved: row.proposed.and_then(|proposed| proposed.approval),
            applied: row.applied,
            waits,
            differences: differences.iter().map(ToString::to_string).collect(),
            configuration: row.configuration,
        }
    }

    fn waits_words(&self, row: &ConfigurationRow) -> String {
        match self.waits(row) {
            Waits::Another => "for the signature of a reviewer who did not write it".to_owned(),
            Waits::Until(then) => format!("until {then:.0}"),
            Waits::Expired => "no longer: it has expired".to_owned(),
        }
    }

    /// What waits to be in force, for whoever looks at the gateway.
    pub(crate) fn waiting_words(&self) -> Result<Option<String>, StoreError> {
        let waiting = self.0.store.read(|rows| rows.waiting_configuration())?;
        Ok(waiting.map(|row| {
            let (number, waits) = (row.number, self.waits_words(&row));
            let found = difference(&self.0.installation.configuration, &row.configuration).len();
            format!("configuration {number} with {found} differences waits {waits}")
        }))
    }

    fn told_of_configuration(&self, number: u64) -> Result<Reply, ReviewError> {
        let all = self.0.store.read(|rows| rows.all_configurations())?;
        let Some(row) = all.into_iter().find(|row| row.number == number) else {
            return no(format!("there is no configuration {number}"));
        };
        let words = match (&row.applied, &row.ended) {
            (Some(_), _) => format!("configuration {number} is in force"),
            (None, Some(why)) => format!("configuration {number} will not be in force: {why}"),
            (None, None) => {
                let waits = self.waits_words(&row);
                format!("configuration {number} waits {waits}; anyone may stop it")
            }
        };
        Ok(Reply::Done { words, credential: None })
    }

    fn drafts(&self) -> std::sync::MutexGuard<'_, Drafts> {
        self.0.drafts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What an entry says of a signature over a configuration.
fn described(subject: &ConfigurationSubject, by: Value, proof: Value) -> Value {
    let mut body = json!({
        "digest": subject.digest, "replaces": subject.replaces, "loosens": subject.loosens,
    });
    if let Value::Object(body) = &mut body {
        for part in [by, proof] {
            body.extend(part.as_object().cloned().unwrap_or_default());
        }
    }
    body
}
