//! The right to act: a value that only the engine makes, carrying what was judged, spent once.

/// The right to do exactly `T`.
///
/// It has no public constructor, cannot be copied, and gives up what it carries only by being
/// spent. Everything that writes to production takes one.
#[must_use = "a permit that is dropped was granted for nothing"]
pub struct Permit<T> {
    act: T,
}

impl<T> Permit<T> {
    /// Only the engine calls this, after the intent is durable.
    pub(crate) fn grant(act: T) -> Permit<T> {
        Permit { act }
    }

    /// What may be done, for looking at it.
    pub fn act(&self) -> &T {
        &self.act
    }

    /// Gives the right up for the act itself.
    pub fn spend(self) -> T {
        self.act
    }
}

impl<T> std::fmt::Debug for Permit<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}
