//! What people do in the browser: a statement is prepared and shown, signed there, and handed in.

use crate::api::json;
use crate::guard;
use crate::login::Work;
use crate::openapi::{Bad, Instead, Refused, Sent};
use crate::problem::Trouble;
use crate::route::App;
use crate::said;
use crate::signer::{Signer, Stop};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use countermand_core::digest::Digest;
use countermand_core::name::{AgentName, GroupName};
use countermand_core::request::ChangeNumber;
use countermand_core::statement::Act;
use countermand_engine::control::{PrepareAct, Scope};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The longest reason, in characters.
const LONGEST_REASON: usize = 1000;

/// A body as a handler gets it.
pub(crate) type Body = Result<Bytes, BytesRejection>;

/// What a page asks to have prepared. What is not here is signed at a terminal.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "act", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Wanted {
    Reject {
        #[schema(value_type = u64)]
        change: ChangeNumber,
        reason: String,
        #[schema(value_type = String)]
        seen: Digest,
    },
    Approve {
        #[schema(value_type = u64)]
        change: ChangeNumber,
        #[schema(value_type = Option<String>)]
        seat: Option<GroupName>,
        #[schema(value_type = String)]
        seen: Digest,
    },
    Adopt {
        #[schema(value_type = u64)]
        change: ChangeNumber,
        #[schema(value_type = String)]
        seen: Digest,
    },
    Restore {
        #[schema(value_type = u64)]
        change: ChangeNumber,
    },
    ResolveCommitted {
        #[schema(value_type = u64)]
        change: ChangeNumber,
        reason: String,
    },
    ResolveRolledBack {
        #[schema(value_type = u64)]
        change: ChangeNumber,
        reason: String,
    },
    Thaw {
        /// `everything`, or an object of one of `agent`, `target` with a name.
        #[schema(value_type = Value)]
        what: Scope,
    },
    ApproveConfiguration {
        number: u64,
        #[schema(value_type = String)]
        seen: Digest,
    },
}

impl Wanted {
    /// What the engine is asked, and what the page showed when it was wanted.
    fn split(self) -> Result<(PrepareAct, Option<Digest>), Trouble> {
        Ok(match self {
            Wanted::Reject { change, reason, seen } => {
                (PrepareAct::Reject { change, reason: reasoned(reason)? }, Some(seen))
            }
            Wanted::Approve { change, seat, seen } => {
                (PrepareAct::Approve { change, seat }, Some(seen))
            }
            Wanted::Adopt { change, seen } => (PrepareAct::Adopt { change }, Some(seen)),
            Wanted::Restore { change } => (PrepareAct::Restore { change, overwrite: false }, None),
            Wanted::ResolveCommitted { change, reason } => {
                (PrepareAct::Resolve { change, committed: true, reason: reasoned(reason)? }, None)
            }
            Wanted::ResolveRolledBack { change, reason } => {
                (PrepareAct::Resolve { change, committed: false, reason: reasoned(reason)? }, None)
            }
            Wanted::Thaw { what } => (PrepareAct::Thaw { what }, None),
            Wanted::ApproveConfiguration { number, seen } => {
                (PrepareAct::ApproveConfiguration { number }, Some(seen))
            }
        })
    }
}

/// What a page shows before it asks for the signature, and what it asks with.
#[derive(Serialize, ToSchema)]
pub(crate) struct ToSign {
    /// The exact text: the page makes the challenge of it.
    statement: String,
    /// The same for people, line by line.
    #[schema(value_type = Vec<Vec<String>>)]
    said: Vec<(&'static str, String)>,
    /// What is typed back first.
    #[serde(skip_serializing_if = "Option::is_none")]
    type_back: Option<String>,
    /// What the browser is asked with.
    options: Value,
}

/// Makes a statement to be signed with the passkey of whoever is logged in.
#[utoipa::path(
    post,
    path = "/api/v1/prepare",
    request_body(content = Wanted, description = "What is to be signed, and `seen`: what the page shows of it"),
    responses((status = 200, description = "The statement, in words too, and what the browser is asked with", body = ToSign), Bad, Refused, Sent, Instead)
)]
pub(crate) async fn prepare(
    State(app): State<App>,
    signer: Signer,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Trouble> {
    let (act, seen) = read::<Wanted>(&headers, body)?.split()?;
    app.logins.pace(signer.human(), Work::Signing, app.engine.clock().now())?;
    let origin = guard::origin(&app, &headers)?;
    let prepared = signer.prepare(act).await?;
    let now = match &prepared.statement.act {
        Act::Approve(subject) | Act::Adopt(subject) | Act::Reject { subject, .. } => {
            Some(said::seen(subject))
        }
        Act::ApproveConfiguration { subject, .. } => Some(subject.digest),
        _ => None,
    };
    if now != seen {
        let why = "it is no longer what this page shows: load it again, and look";
        return Err(Trouble::Refused(why.to_owned()));
    }
    let options = app.passkeys.request(signer.human(), &origin);
    let options = options.ok_or_else(|| {
        Trouble::Refused("you have no passkey that counts at this address".to_owned())
    })?;
    let mut said = said::in_words(&prepared.statement, prepared.change.as_deref());
    if let Act::Restore { change, .. } = prepared.statement.act {
        said.extend(said::of_plan(&signer.plan(change).await?));
    }
    json(&ToSign {
        said,
        statement: prepared.text,
        type_back: prepared.type_back.map(|(number, largest)| format!("{number} {largest}")),
        options,
    })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signed {
    statement: String,
    /// What the browser gave: a `PublicKeyCredential`.
    #[schema(value_type = Object)]
    credential: Value,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Done {
    words: String,
}

/// Hands in a statement with the signature of a passkey over it.
#[utoipa::path(
    post,
    path = "/api/v1/submit",
    request_body(content = Signed),
    responses((status = 200, description = "What it did, in words", body = Done), Bad, Refused, Sent, Instead)
)]
pub(crate) async fn submit(
    signer: Signer,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Trouble> {
    let Signed { statement, credential } = read(&headers, body)?;
    if !credential.is_object() {
        return Err(Trouble::Bad("the passkey's signature is missing".to_owned()));
    }
    let words = signer.submit(statement, credential.to_string()).await?;
    json(&Done { words })
}

/// What is to be stopped.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "act", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Stopping {
    Withdraw {
        #[schema(value_type = u64)]
        change: ChangeNumber,
    },
    StopCooling {
        #[schema(value_type = u64)]
        change: ChangeNumber,
        reason: String,
    },
    StopConfiguration {
        number: u64,
        reason: String,
    },
    Freeze {
        /// `everything`, or an object of one of `agent`, `target` with a name.
        #[schema(value_type = Value)]
        what: Scope,
        reason: String,
    },
    RevokeAgent {
        #[schema(value_type = String)]
        agent: AgentName,
    },
}

/// Stops something; needs no signature, but a session that a passkey began.
#[utoipa::path(
    post,
    path = "/api/v1/stop",
    request_body(content = Stopping, description = "What is to be stopped, and why"),
    responses((status = 200, description = "What it did, in words", body = Done), Bad, Refused, Sent, Instead)
)]
pub(crate) async fn stop(
    signer: Signer,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Trouble> {
    let words = signer.stop(match read(&headers, body)? {
        Stopping::Withdraw { change } => Stop::Withdraw { change },
        Stopping::StopCooling { change, reason } => {
            Stop::Cooling { change, reason: reasoned(reason)? }
        }
        Stopping::StopConfiguration { number, reason } => {
            Stop::Configuration { number, reason: reasoned(reason)? }
        }
        Stopping::Freeze { what, reason } => Stop::Freeze { what, reason: reasoned(reason)? },
        Stopping::RevokeAgent { agent } => Stop::Revoke { agent },
    });
    json(&Done { words: words.await? })
}

/// Whoever is told no wants to know why.
fn reasoned(reason: String) -> Result<String, Trouble> {
    match reason.trim().chars().count() {
        1..=LONGEST_REASON => Ok(reason.trim().to_owned()),
        0 => Err(Trouble::Bad("say why: others read it, and act on it".to_owned())),
        _ => Err(Trouble::Bad(format!("a reason has at most {LONGEST_REASON} characters"))),
    }
}

/// A body of JSON, and of nothing else: no form of another page is one.
pub(crate) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Trouble> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    if kind != Some(b"application/json") {
        return Err(Trouble::Bad("this takes `application/json`".to_owned()));
    }
    let body = body.map_err(|_| Trouble::Bad("that is too long".to_owned()))?;
    serde_json::from_slice(&body).map_err(|error| Trouble::Bad(format!("not understood: {error}")))
}
