//! Links and sessions: in memory only, so that a restart logs everybody out.
//!
//! Of a link's token and of a session's only the SHA-256 is kept. The time is an argument.

use crate::problem::Trouble;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countermand_core::digest::Digest;
use countermand_core::name::HumanName;
use countermand_engine::{Clock, LoggedIn};
use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A link is good for so long.
const LINK: SignedDuration = SignedDuration::from_mins(5);
/// A session is.
const SESSION: SignedDuration = SignedDuration::from_hours(1);
/// As many links, and as many sessions, at the same time.
const MOST: usize = 100;
/// Wrong tokens that are answered as such in [`WINDOW`].
const TRIES: usize = 10;
/// What one human has prepared, made or explained in [`WINDOW`].
const MOST_ASKED: usize = 30;
/// See [`TRIES`].
const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// 256 random bits, for whoever they are given to.
pub(crate) struct Token(String);

impl Token {
    fn random() -> Token {
        Token(BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who reads, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) human: HumanName,
    pub(crate) until: Timestamp,
    /// The fingerprint of the passkey that proved who it is; none where a link was enough.
    pub(crate) proof: Option<String>,
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotLetIn {
    /// It is none, was used, or is too old.
    Unknown,
    /// The same, once too often. Who has a good one is let in all the same: a stranger who guesses
    /// must not keep people out.
    TooMany,
}

/// What the engine works for. Each is counted by itself: who may only read uses up nobody's turns to
/// sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    Enrolment,
    Looking,
    Signing,
    Explaining,
}

/// Everybody who was given a link, and everybody who used one.
#[derive(Default)]
pub(crate) struct Logins(Mutex<State>);

#[derive(Default)]
struct State {
    links: HashMap<Digest, Session>,
    sessions: HashMap<Digest, Session>,
    failures: VecDeque<Timestamp>,
    /// When who had something prepared, signed or made.
    asked: HashMap<(HumanName, Work), VecDeque<Timestamp>>,
}

impl Logins {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token that lets this human in, once.
    pub(crate) fn link(&self, human: HumanName, now: Timestamp) -> (Token, Timestamp) {
        let token = Token::random();
        let until = now.saturating_add(LINK).unwrap_or(now);
        insert(&mut self.state().links, &token, Session { human, until, proof: None }, now);
        (token, until)
    }

    /// Spends a link's token. The session that the browser had before ends: no cookie outlives a
    /// login.
    pub(crate) fn enter(
        &self,
        token: &str,
        before: Option<&str>,
        now: Timestamp,
    ) -> Result<(Token, Session), NotLetIn> {
        let mut state = self.state();
        let link = state.links.remove(&name_of(token)).filter(|link| now < link.until);
        let Some(link) = link else { return Err(state.failed(now)) };
        Ok(state.open(link.human, None, before, now))
    }

    /// Lets in whom a passkey proved. The session before ends, too.
    pub(crate) fn enter_proven(
        &self,
        who: LoggedIn,
        before: Option<&str>,
        now: Timestamp,
    ) -> (Token, Session) {
        self.state().open(who.human, Some(who.key), before, now)
    }

    /// Counts one more request of a human that the engine works for. What stops is never counted.
    pub(crate) fn pace(
        &self,
        human: &HumanName,
        work: Work,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let mut state = self.state();
        let asked = state.asked.entry((human.clone(), work)).or_default();
        asked.retain(|at| now.duration_since(*at) < WINDOW);
        if asked.len() >= MOST_ASKED {
            return Err(Trouble::TooMany);
        }
        asked.push_back(now);
        Ok(())
    }

    /// Counts a login that failed.
    pub(crate) fn failed(&self, now: Timestamp) -> NotLetIn {
        self.state().failed(now)
    }

    /// Whose session this is.
    pub(crate) fn session(&self, token: &Digest, now: Timestamp) -> Option<Session> {
        self.state().sessions.get(token).filter(|session| now < session.until).cloned()
    }

    /// Ends a session.
    pub(crate) fn leave(&self, token: &str) {
        self.state().sessions.remove(&name_of(token));
    }
}

impl State {
    fn open(
        &mut self,
        human: HumanName,
        proof: Option<String>,
        before: Option<&str>,
        now: Timestamp,
    ) -> (Token, Session) {
        if let Some(before) = before {
            self.sessions.remove(&name_of(before));
        }
        let until = now.saturating_add(SESSION).unwrap_or(now);
        let (token, session) = (Token::random(), Session { human, until, proof });
        insert(&mut self.sessions, &token, session.clone(), now);
        (token, session)
    }

    fn failed(&mut self, now: Timestamp) -> NotLetIn {
        let recent = |at: &Timestamp| now.duration_since(*at) < WINDOW;
        while self.failures.front().is_some_and(|at| !recent(at)) {
            self.failures.pop_front();
        }
        if self.failures.len() >= TRIES {
            return NotLetIn::TooMany;
        }
        self.failures.push_back(now);
        NotLetIn::Unknown
    }
}

/// Keeps one more; of too many, the one that ends first goes.
fn insert(kept: &mut HashMap<Digest, Session>, token: &Token, new: Session, now: Timestamp) {
    kept.retain(|_, session| now < session.until);
    if kept.len() >= MOST
        && let Some(first) = kept.iter().min_by_key(|(_, session)| session.until)
    {
        let first = *first.0;
        kept.remove(&first);
    }
    kept.insert(name_of(token.as_str()), new);
}

/// What a token is kept as.
pub(crate) fn name_of(token: &str) -> Digest {
    Digest::of_bytes(token.as_bytes())
}

/// Makes links into a console.
#[derive(Clone)]
pub struct Links {
    pub(crate) logins: Arc<Logins>,
    pub(crate) clock: Clock,
    /// Scheme, name and port.
    pub(crate) origin: String,
}

impl Links {
    /// An address that lets this human read for an hour, and until when it can be used, once. Its
    /// secret stands behind the `#`: no browser sends that to any server.
    pub fn make(&self, human: HumanName) -> (String, Timestamp) {
        let (token, until) = self.logins.link(human, self.clock.now());
        (format!("{}/enter#{}", self.origin, token.as_str()), until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn bob() -> HumanName {
        "bob".parse().unwrap()
    }

    #[test]
    fn a_link_is_spent_once_and_ends() {
        let logins = Logins::default();
        let (token, _) = logins.link(bob(), at(0));
        let (session, whose) = logins.enter(token.as_str(), None, at(299)).ok().unwrap();
        assert_eq!(whose, Session { human: bob(), until: at(299 + 3600), proof: None });
        assert!(logins.enter(token.as_str(), None, at(299)).is_err(), "spent");
        assert!(logins.enter(session.as_str(), None, at(299)).is_err(), "a session is no link");
        let (late, _) = logins.link(bob(), at(0));
        assert!(logins.session(&name_of(late.as_str()), at(0)).is_none(), "a link is no session");
        assert!(logins.enter(late.as_str(), None, at(300)).is_err());
        assert!(logins.enter(late.as_str(), None, at(1)).is_err(), "tried too late, it is gone");
    }

    #[test]
    fn a_session_ends_in_time_when_left_and_at_the_next_login() {
        let logins = Logins::default();
        let enter = |before: Option<&str>| {
            let (token, _) = logins.link(bob(), at(0));
            logins.enter(token.as_str(), before, at(0)).ok().unwrap().0
        };
        let first = enter(None);
        assert!(logins.session(&name_of(first.as_str()), at(3599)).is_some());
        assert!(logins.session(&name_of(first.as_str()), at(3600)).is_none());
        let second = enter(Some(first.as_str()));
        assert_ne!(first.as_str(), second.as_str());
        assert!(logins.session(&name_of(first.as_str()), at(1)).is_none(), "rotated");
        logins.leave(second.as_str());
        assert!(logins.session(&name_of(second.as_str()), at(1)).is_none());
    }

    #[test]
    fn who_guesses_is_stopped_and_keeps_nobody_out() {
        let logins = Logins::default();
        let (good, _) = logins.link(bob(), at(0));
        let mut said = Vec::new();
        for guess in 0..=TRIES {
            said.extend(logins.enter(&guess.to_string(), None, at(0)).err());
        }
        assert_eq!((said[TRIES - 1], said[TRIES]), (NotLetIn::Unknown, NotLetIn::TooMany));
        assert!(logins.enter(good.as_str(), None, at(0)).is_ok());
        assert_eq!(logins.enter("x", None, at(60)).err(), Some(NotLetIn::Unknown));
    }

    #[test]
    fn one_human_does_not_keep_the_engine_busy() {
        let logins = Logins::default();
        for _ in 0..MOST_ASKED {
            assert!(logins.pace(&bob(), Work::Signing, at(0)).is_ok());
        }
        assert!(logins.pace(&bob(), Work::Signing, at(59)).is_err());
        assert!(
            logins.pace(&"alice".parse().unwrap(), Work::Signing, at(59)).is_ok(),
            "others go on"
        );
        assert!(logins.pace(&bob(), Work::Enrolment, at(59)).is_ok(), "so does other work");
        assert!(logins.pace(&bob(), Work::Signing, at(60)).is_ok());
    }

    #[test]
    fn many_links_push_out_the_oldest_and_are_never_more_than_so_many() {
        let logins = Logins::default();
        let (oldest, _) = logins.link(bob(), at(0));
        for second in 1..=100 {
            logins.link(bob(), at(second));
        }
        assert_eq!(logins.state().links.len(), MOST);
        assert!(logins.enter(oldest.as_str(), None, at(100)).is_err());
    }
}
