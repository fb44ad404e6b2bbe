//! What would create only what is not there, and it is: it does nothing, and is no change.

use super::flight::Broken;
use super::gate::Gate;
use super::piece::{Class, Piece};
use super::session::{Open, Session, Tx};
use super::step::Step;
use crate::postgres::refuse::{CANNOT_JUDGE, Said};

/// As many are looked up in one unit.
const MOST: usize = 20;

impl<G: Gate> Session<G> {
    /// Finds the pieces that have nothing to create. They are part of their unit all the same,
    /// which may be a change by what else is in it.
    pub(super) async fn find_existing(&mut self, pieces: &mut [Piece]) -> Result<(), Broken> {
        if !self.is_well() || matches!(self.tx, Tx::Open(Open { read_only: true, .. })) {
            return Ok(());
        }
        // What steers the session or the transaction can change what a name means.
        let steers =
            |piece: &Piece| matches!(piece.class, Class::Session(_) | Class::Transaction(_));
        let first = pieces.iter().position(steers).unwrap_or(pieces.len());
        let creates = pieces[..first].iter_mut().filter(|piece| piece.creates.is_some());
        for piece in creates.take(MOST) {
            let Some(creates) = &piece.creates else { continue };
            let steps = vec![Step::own(&creates.question()), Step::sync()];
            let report = self.fly_silently(steps).await?;
            if let Some(why) = report.error {
                let words = format!("cannot judge: what is there cannot be read: {why}");
                return Err(Broken::Fatal(Said::fatal(CANNOT_JUDGE, words)));
            }
            let there = |row: &Vec<Option<String>>| matches!(row.as_slice(), [Some(t)] if t == "t");
            piece.is_there = report.rows.first().is_some_and(there);
            piece.measurable |= piece.is_there;
        }
        Ok(())
    }
}
