//! What the gateway answers by itself: an agent's view of its own changes.

use super::flight::{Broken, Report};
use super::gate::Gate;
use super::piece::{Class, Piece};
use super::session::Session;
use super::step::{Kind, Show, Step};
use crate::postgres::interpret::SessionStatement;
use crate::postgres::refuse::{self, Said};
use crate::postgres::wire;
use countermand_core::request::ChangeNumber;
use countermand_engine::control::AgentQuery;

const PREFIX: &str = "countermand.";

/// What a statement asks of the gateway.
fn asked(statement: &SessionStatement) -> Option<AgentQuery> {
    let number = |text: &str| text.parse().ok().map(ChangeNumber);
    match statement {
        SessionStatement::Show { name } => match name.strip_prefix(PREFIX)? {
            "changes" => Some(AgentQuery::Changes),
            name => number(name.strip_prefix("change_")?).map(AgentQuery::Show),
        },
        SessionStatement::Set { name, value: Some(value), .. } => (name.strip_prefix(PREFIX)?
            == "withdraw")
            .then(|| number(value))?
            .map(AgentQuery::Withdraw),
        _ => None,
    }
}

impl<G: Gate> Session<G> {
    /// Answers a piece that is for the gateway; production hears of its names only.
    pub(super) async fn answer(&mut self, piece: Piece) -> Result<Report, Broken> {
        let Class::Gateway(statement) = &piece.class else { return Ok(Report::default()) };
        let answer = match asked(statement) {
            Some(what) => self.gate.agent_query(&self.caller, what).await,
            None => {
                let words = "the gateway knows SHOW countermand.changes, SHOW \
                             countermand.change_N and SET countermand.withdraw = 'N'";
                return self.answer_no(Said::error("42704", words)).await;
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(refusal) => return self.answer_no(refuse::refusal(&refusal)).await,
        };
        let column = match statement {
            SessionStatement::Show { name } => Some(name.clone()),
            _ => None,
        };
        let steps =
            piece.steps.into_iter().filter_map(|step| said(step, column.as_deref(), &answer));
        let mut steps: Vec<Step> = steps.collect();
        if steps.iter().any(|step| !step.sends.is_empty()) {
            steps.push(Step::sync());
        }
        self.fly(steps).await
    }

    async fn answer_no(&mut self, said: Said) -> Result<Report, Broken> {
        let error = Some(said.message().to_owned());
        self.fail(said).await?;
        Ok(Report { error, ..Report::default() })
    }
}

/// What the agent hears in the place of a step.
fn said(step: Step, column: Option<&str>, answer: &str) -> Option<Step> {
    if step.show == Show::Nobody {
        return None;
    }
    let simple = step.show == Show::Rows;
    Some(match step.kind {
        Kind::Bind => Step::say(|out| wire::put(out, b'2', &[])),
        Kind::DescribeStatement | Kind::DescribePortal => {
            let statement = matches!(step.kind, Kind::DescribeStatement);
            Step::say(|out| {
                if statement {
                    wire::put(out, b't', &[0, 0]);
                }
                match column {
                    Some(column) => wire::put_text_column(out, column),
                    None if simple => {}
                    None => wire::put(out, b'n', &[]),
                }
            })
        }
        Kind::Execute => Step::say(|out| match column {
            Some(_) => {
                wire::put_text_row(out, answer);
                wire::put_complete(out, "SHOW");
            }
            None => wire::put_complete(out, "SET"),
        }),
        _ => step,
    })
}
