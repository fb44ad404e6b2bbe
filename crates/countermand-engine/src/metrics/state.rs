//! How the gateway stands: read when somebody asks, and not before.

use super::Register;
use super::labels::{Folder, InState};
use crate::disk::Space;
use crate::engine::Engine;
use crate::store::StoreError;
use countermand_core::change::State;
use jiff::Timestamp;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::atomic::{AtomicI64, Ordering};

/// The states in which a change is open, by their words.
const OPEN: [&str; 4] = ["forbidden", "held", "running", "committing"];

/// What is set when somebody asks.
pub(super) struct Standing {
    changes: Family<InState, Gauge>,
    oldest_held: Gauge,
    in_doubt: Gauge,
    restores_in_doubt: Gauge,
    frozen: Gauge,
    watches: Gauge,
    backups: Gauge,
    ledger: Gauge,
    checkpoint: Gauge,
    checkpoint_at: Gauge,
    free: Family<Folder, Gauge>,
    size: Family<Folder, Gauge>,
    began: Gauge,
    published: [AtomicI64; 2],
}

impl Standing {
    pub(super) fn new(register: &mut Register) -> Standing {
        let changes = register.gauge("open_changes", "state", "changes that are open");
        let mut one = |name: &str, help: &'static str| {
            let gauge = Gauge::default();
            register.put(name, name, "", help, gauge.clone());
            gauge
        };
        Standing {
            changes,
            oldest_held: one(
                "oldest_held_timestamp_seconds",
                "when the oldest change that is held was asked for, as Unix time; 0 where none is",
            ),
            in_doubt: one(
                "in_doubt_changes",
                "changes of which nobody knows whether they were committed",
            ),
            restores_in_doubt: one(
                "in_doubt_restores",
                "changes of which nobody knows whether they were taken back",
            ),
            frozen: one("frozen_scopes", "what is frozen: everything, targets, agents"),
            watches: one(
                "failed_watches",
                "changes whose target is not as it should be since, for a week",
            ),
            backups: one("stale_backups", "targets whose own newest backup is too old"),
            ledger: one("ledger_size", "entries that the ledger has"),
            checkpoint: one("checkpoint_size", "entries that the last published checkpoint covers"),
            checkpoint_at: one(
                "checkpoint_timestamp_seconds",
                "when a checkpoint was last published, as Unix time; 0 before the first",
            ),
            began: one("start_timestamp_seconds", "when the gateway began to serve, as Unix time"),
            free: register.gauge(
                "disk_free_bytes",
                "folder",
                "what can still be written where `state` and `restore_points` are",
            ),
            size: register.gauge(
                "disk_size_bytes",
                "folder",
                "the size of those disks; 0 where it cannot be measured",
            ),
            published: Default::default(),
        }
    }

    pub(super) fn checkpoint(&self, size: u64, at: Timestamp) {
        self.published[0].store(number(size), Ordering::Relaxed);
        self.published[1].store(at.as_second(), Ordering::Relaxed);
    }
}

impl Engine {
    /// Sets what is only known by looking.
    pub(super) fn look_at_standing(&self, standing: &Standing) -> Result<(), StoreError> {
        let (open, in_doubt, restores) = self.0.store.read_apart(|rows| {
            let open: Result<Vec<_>, _> =
                rows.numbers(true)?.into_iter().map(|number| rows.change(number)).collect();
            Ok((open?, rows.in_doubt()?, rows.restores_in_doubt()?))
        })?;
        for state in OPEN {
            let count = open.iter().filter(|change| change.state.word() == state).count();
            standing.changes.get_or_create(&InState { state }).set(number(count as u64));
        }
        let held = open.iter().filter(|change| change.state == State::Held);
        let oldest = held.map(|change| change.opened.as_second()).min();
        standing.oldest_held.set(oldest.unwrap_or(0));
        standing.in_doubt.set(number(in_doubt));
        standing.restores_in_doubt.set(number(restores));
        standing.frozen.set(number(self.0.freezer.words().len() as u64));
        standing.watches.set(number(self.alarms()?.len() as u64));
        standing.backups.set(number(self.stale_backups().len() as u64));
        standing.ledger.set(number(*self.0.store.size().borrow()));
        standing.checkpoint.set(standing.published[0].load(Ordering::Relaxed));
        standing.checkpoint_at.set(standing.published[1].load(Ordering::Relaxed));
        standing.began.set(self.0.began.as_second());
        for (folder, space) in ["state", "restore_points"].into_iter().zip(self.0.disks.spaces()) {
            // What cannot be measured is taken for full, as everywhere: no disk has a size of 0, and the
            // rules alarm at it.
            let Space { free, total } = space.unwrap_or(Space { free: 0, total: 0 });
            standing.free.get_or_create(&Folder { folder }).set(number(free));
            standing.size.get_or_create(&Folder { folder }).set(number(total));
        }
        Ok(())
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
