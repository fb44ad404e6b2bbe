//! Flights of a session: what is pending goes, and `ReadyForQuery` says where the transaction went.

use super::flight::{Broken, Errors, Report};
use super::gate::Gate;
use super::session::{Session, Tx};
use super::step::Step;
use crate::postgres::refuse::{CANNOT_JUDGE, Said};

impl<G: Gate> Session<G> {
    /// Sends what is pending, and follows where the transaction went.
    pub(super) async fn land(&mut self) -> Result<Report, Broken> {
        let mut steps = std::mem::take(&mut self.pending);
        if steps.is_empty() {
            return Ok(Report::default());
        }
        steps.push(Step::sync());
        let report = self.fly(steps).await?;
        self.follow(&report, false)?;
        Ok(report)
    }

    /// As [`Session::land`], where the last statement ends the transaction.
    pub(super) async fn land_for_good(&mut self) -> Result<Report, Broken> {
        let mut steps = std::mem::take(&mut self.pending);
        steps.push(Step::sync());
        let report = self.fly(steps).await?;
        self.follow(&report, true)?;
        Ok(report)
    }

    /// What `ReadyForQuery` says must be what this side believes.
    fn follow(&mut self, report: &Report, ends: bool) -> Result<(), Broken> {
        if self.reading {
            return self.expect(report, b"TE");
        }
        match (&mut self.tx, report.status) {
            (Tx::None | Tx::Aborted, b'I') => Ok(()),
            (Tx::Open(open), b'T') => {
                open.failed = false;
                Ok(())
            }
            (Tx::Open(open), b'E') => {
                open.failed = true;
                Ok(())
            }
            (Tx::Open(_), b'I') if ends => {
                self.tx = Tx::None;
                self.names.forget_portals();
                Ok(())
            }
            _ => Err(lost_track()),
        }
    }

    pub(super) async fn fly(&mut self, steps: Vec<Step>) -> Result<Report, Broken> {
        let mut report = self.line.fly(steps, &mut self.output, Errors::Shown).await?;
        if report.error.is_some() {
            let other_columns = report.not_kept.as_ref().is_some_and(|e| e.code == "0A000");
            self.stale = self.planned.forget() && other_columns;
        }
        self.learn(&mut report);
        Ok(report)
    }

    /// Steps of ours alone: their errors are not for the agent.
    pub(super) async fn fly_silently(&mut self, steps: Vec<Step>) -> Result<Report, Broken> {
        self.line.fly(steps, &mut self.output, Errors::Kept).await
    }

    pub(super) fn expect(&self, report: &Report, statuses: &[u8]) -> Result<(), Broken> {
        if statuses.contains(&report.status) { Ok(()) } else { Err(lost_track()) }
    }
}

pub(super) fn took_no_xid(report: &mut Report) -> Result<(), Broken> {
    match report.rows.pop().as_deref() {
        Some([Some(none)]) if none == "t" => Ok(()),
        // The question was skipped: the transaction had failed.
        None => Ok(()),
        _ => {
            let words = "cannot judge: a read did more than read; it was rolled back";
            Err(Broken::Fatal(Said::fatal(CANNOT_JUDGE, words)))
        }
    }
}

pub(super) fn lost_track() -> Broken {
    let words = "cannot judge: the transaction is not where it should be";
    Broken::Fatal(
        Said::fatal(CANNOT_JUDGE, words).hint("Whether the last statement ran must be looked up."),
    )
}
