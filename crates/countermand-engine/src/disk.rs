//! The disk budget: low disk warns, and then nothing that writes flows.
//!
//! A disk that is full takes the ledger with it, and with the ledger everything stops. Before that,
//! what needs room is refused: writes, whose rows are kept, and changes, whose restore points are.
//! Reads go on for as long as the ledger takes them.

use crate::engine::Engine;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Below this share of a disk, in percent, it is said.
pub const WARN_BELOW: u64 = 15;
/// Below this share nothing that writes flows.
pub const REFUSE_BELOW: u64 = 5;
/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(5);

/// The room on a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What we could still write: without what is reserved for root.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl Space {
    /// The room where this path is, or will be.
    ///
    /// # Errors
    /// What the system says.
    pub fn at(path: &Path) -> io::Result<Space> {
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        let disk = rustix::fs::statvfs(there)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(Space { free: bytes(disk.f_bavail), total: bytes(disk.f_blocks) })
    }

    /// How it stands.
    pub fn level(self) -> Level {
        let below = |percent: u64| {
            u128::from(self.free) * 100 < u128::from(self.total) * u128::from(percent)
        };
        match (below(REFUSE_BELOW), below(WARN_BELOW)) {
            (true, _) => Level::Out,
            (false, true) => Level::Low,
            (false, false) => Level::Enough,
        }
    }

    /// What is free, in percent, rounded down.
    pub fn percent(self) -> u64 {
        u64::try_from(u128::from(self.free) * 100 / u128::from(self.total.max(1))).unwrap_or(100)
    }
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Enough.
    Enough,
    /// Little enough to be said.
    Low,
    /// Nothing that writes flows.
    Out,
}

/// Says how much room there is at a path. Tests have their own: they fill no disks.
pub type Measure = Arc<dyn Fn(&Path) -> io::Result<Space> + Send + Sync>;

/// How the folders that grow stand, by the last look.
pub(crate) struct Budget {
    measure: Measure,
    folders: [PathBuf; 2],
    state: Mutex<(Level, Option<String>)>,
}

impl Budget {
    /// Looks at once: nothing flows before that.
    pub(crate) fn new(measure: Measure, folders: [PathBuf; 2]) -> Budget {
        let budget = Budget { measure, folders, state: Mutex::new((Level::Enough, None)) };
        budget.look();
        budget
    }

    fn look(&self) {
        let found = self.folders.iter().map(|folder| self.look_at(folder));
        // The worst; of two the first, which is the state directory.
        let worst = found.reduce(|one, other| if other.0 > one.0 { other } else { one });
        let worst = worst.unwrap_or((Level::Out, None));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 != worst.0 {
            match (&worst, &worst.1) {
                ((Level::Enough, _), _) => tracing::info!("there is enough room again"),
                (_, why) => tracing::warn!(why, "low disk"),
            }
        }
        *state = worst;
    }

    /// What cannot be measured is taken for full.
    fn look_at(&self, folder: &Path) -> (Level, Option<String>) {
        let shown = folder.display();
        match (self.measure)(folder) {
            Ok(space) => {
                let words = format!("{} % of the disk of `{shown}` is free", space.percent());
                let level = space.level();
                (level, (level > Level::Enough).then_some(words))
            }
            Err(error) => {
                (Level::Out, Some(format!("the disk of `{shown}` cannot be measured: {error}")))
            }
        }
    }

    /// The room at each folder now; none where it cannot be measured.
    pub(crate) fn spaces(&self) -> [Option<Space>; 2] {
        self.folders.each_ref().map(|folder| (self.measure)(folder).ok())
    }

    /// Why nothing that writes flows now, if so.
    pub(crate) fn stops(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.0 == Level::Out).then(|| state.1.clone().unwrap_or_default())
    }

    /// What there is to say about it, if anything.
    pub(crate) fn words(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let consequence = match state.0 {
            Level::Enough => return None,
            Level::Low => format!("below {REFUSE_BELOW} % nothing that writes flows"),
            Level::Out => "nothing that writes flows".to_owned(),
        };
        Some(format!("{}; {consequence}", state.1.as_deref().unwrap_or_default()))
    }
}

impl Engine {
    /// Looks at the disks, until told to stop.
    pub(crate) async fn keep_looking_at_disks(self) {
        let mut stopping = self.0.stopping.subscribe();
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            self.look_at_disks().await;
        }
    }

    /// Looks at the disks now. A disk that does not answer keeps nobody else waiting.
    pub async fn look_at_disks(&self) {
        let engine = self.clone();
        let looked = tokio::task::spawn_blocking(move || engine.0.disks.look()).await;
        if let Err(error) = looked {
            tracing::error!(%error, "the disks could not be looked at");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_shares_of_the_disk() {
        let level = |free, total| Space { free, total }.level();
        assert_eq!(level(15, 100), Level::Enough);
        assert_eq!(level(149, 1000), Level::Low);
        assert_eq!(level(5, 100), Level::Low);
        assert_eq!(level(49, 1000), Level::Out);
        assert_eq!(level(u64::MAX / 20, u64::MAX), Level::Out, "no product wraps");
        assert_eq!(level(0, 0), Level::Enough, "a file system that counts nothing");
    }

    #[test]
    fn what_cannot_be_measured_is_taken_for_full() {
        let fails: Measure = Arc::new(|_| Err(io::Error::other("gone")));
        let budget = Budget::new(fails, ["/a".into(), "/b".into()]);
        assert!(budget.stops().unwrap().contains("`/a` cannot be measured: gone"));
    }

    #[test]
    fn the_worse_of_two_disks_counts() {
        let measure: Measure = Arc::new(|path| {
            let free = if path == Path::new("/b") { 4 } else { 10 };
            Ok(Space { free, total: 100 })
        });
        let budget = Budget::new(measure, ["/a".into(), "/b".into()]);
        assert!(budget.stops().unwrap().starts_with("4 % of the disk of `/b`"));
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_measured_where_it_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::at(&folder.path().join("a/b")).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
    }
}
