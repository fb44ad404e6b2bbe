//! What policy would say of a request that nobody makes.
//!
//! A text may be long and is nobody's business but the reader's: it comes in a body, stands in no
//! address and in no log, and of it nothing is kept.

use super::why::{Rule, Step, rules, ways};
use super::{Frame, html};
use crate::login::Work;
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::route::App;
use crate::text::{Listing, Text, listing};
use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::Response;
use countermand_core::action::Action;
use countermand_core::name::{AgentName, TargetName};
use countermand_core::policy::Decision;
use countermand_engine::explain::Explanation;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Of a text that does more than so many things policy is asked at a terminal.
const MOST: usize = 1000;
/// So many of them are shown.
const DOES: usize = 50;

/// Who reads a text now: other tasks of this process serve agents.
static READING: Semaphore = Semaphore::const_new(1);

/// What a request would do, by its text alone, as a server with its standard settings would read it.
/// It takes its time, and asks nobody.
pub type Reading = Arc<dyn Fn(&str) -> Vec<Action> + Send + Sync>;

/// What is asked.
#[derive(Default, Deserialize)]
pub(crate) struct Asked {
    agent: String,
    target: String,
    text: String,
}

struct Answer {
    class: &'static str,
    word: &'static str,
    sponsor: String,
    environment: String,
    payload: Listing,
    does: Vec<Text>,
    /// It does so many things more.
    more: usize,
    rules: Vec<Rule>,
    ways: Vec<Vec<Step>>,
    notes: Vec<Text>,
}

#[derive(Template)]
#[template(path = "explain.html")]
struct Page {
    frame: Frame,
    agents: Vec<String>,
    targets: Vec<String>,
    asked: Asked,
    answer: Option<Answer>,
    /// Why there is none.
    refused: Option<Text>,
}

/// `GET /policies/explain`
pub(crate) async fn page(reader: Reader) -> Result<Response, Trouble> {
    html(&asking(&reader, Asked::default()).await?)
}

/// `POST /policies/explain`
pub(crate) async fn explain(
    State(app): State<App>,
    reader: Reader,
    asked: Result<Form<Asked>, FormRejection>,
) -> Result<Response, Trouble> {
    let wrong = |_| Trouble::Bad("say who would send what where, in at most 1 MiB".to_owned());
    let Form(mut asked) = asked.map_err(wrong)?;
    // Forms end lines with both.
    asked.text = asked.text.replace("\r\n", "\n");
    app.logins.pace(reader.human(), Work::Explaining, reader.now())?;
    let answered = answered(&app, &reader, &asked).await;
    let mut page = asking(&reader, asked).await?;
    match answered {
        Ok(answer) => page.answer = Some(answer),
        Err(Trouble::Refused(why)) => page.refused = Some(Text::of(why)),
        Err(trouble) => return Err(trouble),
    }
    html(&page)
}

/// The form, with what was asked.
async fn asking(reader: &Reader, asked: Asked) -> Result<Page, Trouble> {
    let status = reader.status().await?;
    let agents = reader.agents().await?;
    let agents = agents.iter().filter(|line| !line.revoked && line.expires > status.now);
    let agents = agents.map(|line| line.agent.to_string()).collect();
    let frame = Frame::of(reader, &status, "policies", "Explain");
    let targets = reader.targets().await?.keys().cloned().collect();
    Ok(Page { frame, agents, targets, asked, answer: None, refused: None })
}

async fn answered(app: &App, reader: &Reader, asked: &Asked) -> Result<Answer, Trouble> {
    let refused = |why: &str| Trouble::Refused(why.to_owned());
    let agent =
        AgentName::new(asked.agent.trim()).map_err(|_| refused("that is no agent's name"))?;
    let target =
        TargetName::new(asked.target.trim()).map_err(|_| refused("that is no target's name"))?;
    if asked.text.trim().is_empty() {
        return Err(refused("nothing is asked: write what would be sent"));
    }
    let actions = read(app, asked.text.clone()).await?;
    let told = reader.explain(agent, target, actions).await?;
    Ok(answer(&told, &asked.text, reader.human().as_str()))
}

/// What the text does, each thing once.
async fn read(app: &App, text: String) -> Result<Vec<Action>, Trouble> {
    let missing = || Trouble::Missing("nobody reads here: use `countermand policy explain`".into());
    let reading = app.reading.clone().ok_or_else(missing)?;
    let turn = READING.acquire().await.map_err(|_| Trouble::Unexpected)?;
    let read = tokio::task::spawn_blocking(move || {
        // It is held for as long as it is read, whoever still waits.
        let _turn = turn;
        reading(&text).into_iter().collect::<BTreeSet<Action>>()
    });
    let actions = read.await.map_err(|_| Trouble::Unexpected)?;
    match actions.len() {
        // It says nothing but comments.
        0 => Err(Trouble::Refused("it does nothing: there is nothing to judge".to_owned())),
        1..=MOST => Ok(actions.into_iter().collect()),
        _ => Err(Trouble::Refused(format!(
            "it does more than {MOST} things: use `countermand policy explain - --agent NAME \
             --target NAME`"
        ))),
    }
}

fn answer(told: &Explanation, text: &str, reader: &str) -> Answer {
    let (class, word) = match &told.decision {
        Decision::Allow { .. } => ("good", "would flow"),
        Decision::Hold { .. } => ("waits", "would be held"),
        Decision::Forbid { .. } => ("bad", "would be forbidden"),
    };
    Answer {
        class,
        word,
        sponsor: told.sponsor.to_string(),
        environment: told.environment.to_string(),
        payload: listing(text),
        does: Text::each(told.does.iter().take(DOES)),
        more: told.does.len().saturating_sub(DOES),
        rules: rules(told),
        ways: ways(told, reader),
        notes: Text::each(&told.notes),
    }
}
