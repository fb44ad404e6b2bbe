//! COPY … FROM STDIN: rows go from the agent to production, which may say no at any time.

use super::flight::{Broken, Report};
use super::gate::Gate;
use super::session::{Session, malformed};
use super::step::{Kind, Show, Step};
use crate::postgres::wire::{ErrorResponse, Streamed};
use bytes::Bytes;

/// How the rows ended.
enum Rows {
    /// The agent sent all, or gave up; production's answer is still to come.
    Sent,
    /// Production refused; the agent has the error.
    Refused(String),
}

impl<G: Gate> Session<G> {
    /// Runs what is pending, whose last statement copies rows in. In COPY mode production ignores
    /// Sync and would take anything else for the end, so nothing is sent behind it.
    pub(super) async fn copy_in(&mut self) -> Result<Report, Broken> {
        let steps = std::mem::take(&mut self.pending);
        let mut report = self.fly(steps).await?;
        if !report.copy_in {
            // It failed before it began: production waits for a Sync.
            self.pending.push(Step::sync());
            return self.after_copy(report).await;
        }
        report.copy_in = false;
        self.output.flush().await?;
        match self.pump().await? {
            Rows::Sent => {
                // Its end goes with what follows.
                self.pending.push(Step::new(Kind::Execute, Show::Agent, Bytes::new()));
                Ok(report)
            }
            Rows::Refused(error) => {
                report.error = Some(error);
                self.after_copy(report).await
            }
        }
    }

    /// Brings production back to where it listens.
    async fn after_copy(&mut self, mut report: Report) -> Result<Report, Broken> {
        self.pending.clear();
        let nothing = Step::new(Kind::Say(Bytes::new()), Show::Agent, Bytes::new());
        self.pending.push(nothing);
        let landed = self.land().await?;
        report.error = report.error.or(landed.error);
        report.status = landed.status;
        Ok(report)
    }

    /// Passes rows on until the agent or production ends it.
    async fn pump(&mut self) -> Result<Rows, Broken> {
        loop {
            tokio::select! {
                biased;
                answer = self.line.reader.stream() => {
                    let Streamed::Frame(frame) = answer.map_err(Broken::Upstream)? else {
                        return Err(malformed());
                    };
                    self.output.push(frame.bytes());
                    match frame.tag() {
                        b'E' => {
                            self.finish_row().await?;
                            return Ok(Rows::Refused(ErrorResponse::read(&frame).to_string()));
                        }
                        b'N' | b'A' | b'S' => self.output.flush().await?,
                        _ => return Err(malformed()),
                    }
                }
                rows = self.input.stream() => {
                    match rows.map_err(Broken::Client)? {
                        Streamed::Part(part) => self.send(&part).await?,
                        Streamed::Frame(frame) => match frame.tag() {
                            b'd' => self.send(frame.bytes()).await?,
                            b'c' | b'f' => {
                                self.send(frame.bytes()).await?;
                                return Ok(Rows::Sent);
                            }
                            b'H' | b'S' => {}
                            b'X' => return Err(Broken::Terminated),
                            _ => return Err(malformed()),
                        },
                    }
                }
            }
        }
    }

    /// Production that has the beginning of a row takes whatever comes for the rest of it.
    async fn finish_row(&mut self) -> Result<(), Broken> {
        if self.input.is_within_row() {
            self.output.flush().await?;
        }
        while self.input.is_within_row() {
            match self.input.stream().await.map_err(Broken::Client)? {
                Streamed::Part(part) => self.send(&part).await?,
                Streamed::Frame(_) => return Err(malformed()),
            }
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.line.writer.send(bytes).await.map_err(Broken::Upstream)
    }
}
