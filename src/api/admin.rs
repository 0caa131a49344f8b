//! The admin router: step-down, cordon, uncordon, shutdown, removal of members, recover. Loopback only, guarded by [`super::guard`].
//!
//! Each command is answered once its outcome is known, at the latest after [`COMMAND_TIMEOUT`]; it is not taken back
//! then. Answers are JSON, `{"message": …}` or `{"error": …}`, and each is a sentence.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use elector_raft::CommandError;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::status::StatusReport;
use super::{Shared, guard};
use crate::role::RoleCommand;

/// Longest time for a command's outcome: a handover waits for a reload of Prometheus and, at worst, for several targets
/// in turn.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_mins(1);
/// Longest member name that is looked at: that of a DNS name.
const NAME_BYTES_MAX: usize = 253;

/// A command was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// One sentence: what happened.
    pub(crate) message: String,
}

/// A command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// One sentence: why, and the way out.
    pub(crate) error: String,
    /// The member to ask instead, where another one can do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) leader: Option<String>,
    #[serde(skip)]
    status: StatusCode,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { error: error.into(), leader: None, status }
    }

    /// Nothing is wrong with the request, but the state of member or group forbids it.
    fn conflict(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, error)
    }

    fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "this member is shutting down")
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        let status = match error {
            CommandError::NotLeader { .. } | CommandError::NoTarget(_) | CommandError::Refused(_) => {
                StatusCode::CONFLICT
            }
            CommandError::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
            CommandError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        };
        let text = error.to_string();
        let leader = match error {
            CommandError::NotLeader { leader } if !leader.is_empty() => Some(leader),
            _ => None,
        };
        Self { error: text, leader, status }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

type Answer = Result<Json<Done>, Refusal>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/step-down", post(step_down))
        .route("/cordon", post(cordon))
        .route("/uncordon", post(uncordon))
        .route("/shutdown", post(shutdown))
        .route("/members/{name}/remove", post(remove))
        .route("/recover", post(recover))
        .route("/status", get(status))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "commands are POST requests, /status is a GET request")
        })
        .fallback(async || {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "no such admin request; there are: /step-down, /cordon, /uncordon, /shutdown, /members/NAME/remove, /recover and /status",
            )
        })
        .layer(axum::middleware::from_fn(guard::guard))
        .with_state(shared)
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<StatusReport> {
    Json(shared.report())
}

async fn step_down(State(shared): State<Arc<Shared>>) -> Answer {
    let reason = "an operator asked for it (step-down)".to_owned();
    let outcome = async {
        let leader = if shared.inputs.role.is_some() {
            ask_role(&shared, |reply| RoleCommand::StepDown { reason, reply }).await?
        } else {
            witness_hands_over(&shared, reason).await?
        };
        Ok(format!("stepped down; {leader} leads now"))
    };
    command("step-down", outcome).await
}

/// A witness never acts, so there is no configuration to take back: it only hands over the lead of the Raft group.
async fn witness_hands_over(shared: &Shared, reason: String) -> Result<String, Refusal> {
    let leads = shared.inputs.group.leadership.borrow().leader.as_ref().is_some_and(|leader| leader.is_self);
    if !leads {
        return Err(Refusal::conflict(
            "this member is a witness and does not lead: there is nothing to step down from",
        ));
    }
    Ok(shared.inputs.group.hand_over(reason).await?)
}

async fn cordon(State(shared): State<Arc<Shared>>) -> Answer {
    command("cordon", ask_role(&shared, |reply| RoleCommand::Cordon { reply })).await
}

async fn uncordon(State(shared): State<Arc<Shared>>) -> Answer {
    command("uncordon", ask_role(&shared, |reply| RoleCommand::Uncordon { reply })).await
}

/// Answered at once: who waits for the end sees the process end.
async fn shutdown(State(shared): State<Arc<Shared>>) -> Answer {
    shared.inputs.shutting_down.cancel();
    let words = "shutting down: hands over, and ends once its Prometheus has stopped, or the grace delay is over";
    command("shutdown", async { Ok(words.to_owned()) }).await
}

async fn remove(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Answer {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let error = format!("a member's name has 1 to {NAME_BYTES_MAX} bytes, this one has {}", name.len());
        return Err(Refusal::new(StatusCode::BAD_REQUEST, error));
    }
    let outcome = async {
        let id = shared.inputs.group.remove(&name).await?;
        Ok(format!("removed {name} (node {id}) from the group"))
    };
    command("member remove", outcome).await
}

async fn recover(State(shared): State<Arc<Shared>>) -> Answer {
    let outcome = async {
        let id = shared.inputs.group.recover().await?;
        Ok(format!("this member is blank now, with the new node id {id}; it forms or joins a group by itself"))
    };
    command("recover", outcome).await
}

async fn ask_role(
    shared: &Shared,
    command: impl FnOnce(oneshot::Sender<Result<String, String>>) -> RoleCommand,
) -> Result<String, Refusal> {
    let Some(role) = &shared.inputs.role else {
        return Err(Refusal::conflict("this member is a witness: it never acts as the leader, so it needs no cordon"));
    };
    let (reply, answer) = oneshot::channel();
    role.commands.send(command(reply)).await.map_err(|_| Refusal::stopping())?;
    answer.await.map_err(|_| Refusal::stopping())?.map_err(Refusal::conflict)
}

/// Bounds the wait, and leaves a line in the log: what an operator did belongs there.
async fn command(name: &str, outcome: impl Future<Output = Result<String, Refusal>>) -> Answer {
    tracing::info!(command = name, "admin request");
    let outcome = tokio::time::timeout(COMMAND_TIMEOUT, outcome).await.unwrap_or_else(|_| {
        let waited = COMMAND_TIMEOUT.as_secs();
        let error = format!("no outcome within {waited} s; it may still happen: look at `prometheus-elector status`");
        Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, error))
    });
    match outcome {
        Ok(message) => {
            tracing::info!(command = name, outcome = %message, "admin request done");
            Ok(Json(Done { message }))
        }
        Err(refusal) => {
            tracing::warn!(command = name, error = %refusal.error, "admin request refused");
            Err(refusal)
        }
    }
}
