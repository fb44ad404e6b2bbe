//! Roles belong to a whole server, not to one of its databases: what two targets of one server
//! call the same is the same.

use super::Config;

/// A role that two targets of one server share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRole {
    /// In words, with the remedy.
    pub words: String,
    /// What agents' statements run as in one target is what executes in the other: no wall stands
    /// between them.
    pub is_bad: bool,
}

impl Config {
    /// What targets of one server share, as far as their addresses tell.
    pub fn shared_roles(&self) -> Vec<SharedRole> {
        let mut shared = Vec::new();
        for (name, target) in &self.targets {
            for (other, second) in &self.targets {
                let at = target.address.to_string();
                if name == other || at != second.address.to_string() {
                    continue;
                }
                let (session, executor) = (&target.session.user, &target.executor.user);
                if *session == second.executor.user {
                    let words = format!(
                        "agents' statements in `{name}` run as `{session}`, which is the executor of \
                         `{other}` on the same server, {at}: give each target roles of its own"
                    );
                    shared.push(SharedRole { words, is_bad: true });
                }
                let same = [(session, &second.session.user), (executor, &second.executor.user)];
                for (role, _) in same.into_iter().filter(|(one, two)| name < other && one == two) {
                    let words = format!(
                        "`{name}` and `{other}` are on one server, {at}, and both call a role \
                         `{role}`: it is one role, with one password and the rights of both; give \
                         each target roles of its own"
                    );
                    shared.push(SharedRole { words, is_bad: false });
                }
            }
        }
        shared
    }
}
