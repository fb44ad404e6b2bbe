//! Prepared statements and portals: what their names stand for.

use crate::postgres::interpret::{Interpretation, Statement};
use crate::postgres::unit::Parameter;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// As many names as one session may have.
const MOST: usize = 10_000;

/// A statement with a name, from a Parse message or from `PREPARE`; the names are shared.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Told apart from every other one of this session.
    pub(super) id: u64,
    /// It stays until the client closes it.
    pub(super) is_named: bool,
    /// The text that runs.
    pub(super) sql: String,
    /// The whole of `PREPARE name AS …`, where it came as that.
    pub(super) prepare: Option<String>,
    /// Types of the parameters as the client declared them.
    pub(super) oids: Vec<u32>,
    /// What it does: nothing for an empty text.
    pub(super) statement: Option<Statement>,
    /// The Parse message, as it came.
    pub(super) parse: Bytes,
    /// Types of the parameters as the server understands them, once it has said so.
    pub(super) types: OnceLock<Vec<u32>>,
}

/// A portal: a statement with its parameters.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) prepared: Arc<Prepared>,
    pub(super) parameters: Vec<Parameter>,
}

/// The names of a session, and over them those that a unit which has not run yet would make.
#[derive(Debug, Default)]
pub(super) struct Names {
    prepared: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Arc<Bound>>,
    last_id: u64,
}

/// What the messages of one unit would change; none is a name that they free.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    pub(super) prepared: HashMap<String, Option<Arc<Prepared>>>,
    pub(super) portals: HashMap<String, Option<Arc<Bound>>>,
}

impl Names {
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn is_full(&self) -> bool {
        self.prepared.len() >= MOST || self.portals.len() >= MOST
    }

    pub(super) fn prepared(&self, over: &Overlay, name: &str) -> Option<Arc<Prepared>> {
        match over.prepared.get(name) {
            Some(known) => known.clone(),
            None => self.prepared.get(name).cloned(),
        }
    }

    pub(super) fn portal(&self, over: &Overlay, name: &str) -> Option<Arc<Bound>> {
        match over.portals.get(name) {
            Some(known) => known.clone(),
            None => self.portals.get(name).cloned(),
        }
    }

    pub(super) fn prepare(&mut self, name: String, prepared: Arc<Prepared>) {
        self.prepared.insert(name, prepared);
    }

    pub(super) fn bind(&mut self, name: String, bound: Arc<Bound>) {
        self.portals.insert(name, bound);
    }

    pub(super) fn close(&mut self, kind: u8, name: &str) {
        match kind {
            b'S' => drop(self.prepared.remove(name)),
            _ => drop(self.portals.remove(name)),
        }
    }

    /// `DEALLOCATE ALL`. The unnamed statement stays.
    pub(super) fn deallocate_all(&mut self) {
        self.prepared.retain(|name, _| name.is_empty());
    }

    /// The transaction has ended, and every portal with it.
    pub(super) fn forget_portals(&mut self) {
        self.portals.clear();
    }
}

/// The one statement of a Parse message. Several are an error of the server's, before it runs
/// anything: what they would do together is what counts until then.
pub(super) fn only(meaning: Interpretation) -> Option<Statement> {
    let mut statements = meaning.statements.into_iter();
    let mut first = statements.next()?;
    for other in statements {
        first.actions.extend(other.actions);
    }
    Some(first)
}
