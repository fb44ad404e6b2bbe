//! A target that is observed: nothing that is asked about a unit may stop it.
//!
//! What is asked runs behind a savepoint of its own, which is undone where it fails: the agent's
//! transaction goes on as if nobody had asked.

use super::flight::Broken;
use super::gate::Gate;
use super::piece::Question;
use super::question;
use super::run::Ran;
use super::session::Session;
use super::step::Step;
use crate::postgres::refuse::{FORBIDDEN, Said};

const KEEP: &str = "SAVEPOINT countermand_keep";
const KEPT: &str = "RELEASE SAVEPOINT countermand_keep";
const NOT_KEPT: &str = "ROLLBACK TO SAVEPOINT countermand_keep; RELEASE SAVEPOINT countermand_keep";
const ASIDE: &str = "SAVEPOINT countermand_aside";
const BACK: &str = "ROLLBACK TO SAVEPOINT countermand_aside; RELEASE SAVEPOINT countermand_aside";
/// Code that ran could have become somebody else for what follows.
const STILL_ITSELF: &str = "SELECT CURRENT_USER OPERATOR(pg_catalog.=) SESSION_USER";

impl<G: Gate> Session<G> {
    /// Keeps the rows that a statement is about to change, as far as they can be. False where the
    /// agent has an error of what came before.
    pub(super) async fn keep_aside(
        &mut self,
        question: &Question,
        ran: &mut Ran,
    ) -> Result<bool, Broken> {
        ran.add(self.land().await?);
        if ran.error.is_some() {
            return Ok(false);
        }
        let Some(asks) = self.question(question) else {
            self.scales.hides_changes();
            return Ok(true);
        };
        let steps = vec![Step::own(KEEP), asks, question::close(), Step::own(KEPT), Step::sync()];
        let mut report = self.fly_silently(steps).await?;
        if report.error.is_some() {
            // Whether it is prepared nobody knows.
            self.forget_questions();
            self.scales.hides_changes();
            self.fly_silently(vec![Step::query(NOT_KEPT)]).await?;
        } else {
            self.keep(&mut report);
        }
        Ok(true)
    }

    /// Begins what is asked of a transaction before its commit. One that became another role ends its
    /// session: nobody knows what it would be next.
    pub(super) async fn begin_aside(&mut self) -> Result<(), Broken> {
        let steps = vec![Step::own(STILL_ITSELF), Step::own(ASIDE), Step::sync()];
        let report = self.fly_silently(steps).await?;
        let itself = report.rows.first().and_then(|row| row.first()?.as_deref());
        if itself == Some("t") && report.error.is_none() {
            return Ok(());
        }
        let words = "forbidden: it became another role, and was rolled back";
        Err(Broken::Fatal(Said::fatal(FORBIDDEN, words)))
    }

    /// Undoes all that was asked, whatever became of it.
    pub(super) async fn end_aside(&mut self) -> Result<(), Broken> {
        self.fly_silently(vec![Step::query(BACK)]).await.map(drop)
    }
}
