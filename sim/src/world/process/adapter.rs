//! What an adapter makes of a call, and of an answer: from the server's replies and refusals to those of the
//! seams. It is to say exactly what `HttpScalr` and `HttpTask` say.

use fake_scalr::state::{AgentCall, Reply, Token};
use scalr_core::{
    controller::{effect::ScalrCall, input::Answer},
    refusal::Refusal,
    scalr::{Door, Registration, ScalrError, WorkerLostAnswer},
    supervisor::input::TaskAnswer,
    task_api::TaskError,
};
use scalr_protocol::{agent::Messages, error::ApiError, task::Signals};

use super::super::{event::Came, snag::CallKind};

/// A call as the server takes it, and how long it may wait there.
pub(super) fn agent_call(call: ScalrCall) -> (AgentCall, u64) {
    match call {
        ScalrCall::Register(register) => (AgentCall::Register(register), 0),
        ScalrCall::Heartbeat(agent, beat) => (AgentCall::Heartbeat { agent, beat }, 0),
        ScalrCall::Deregister(agent) => (AgentCall::Deregister { agent }, 0),
        ScalrCall::Acquire(agent, ask) => {
            let wait_ms = ask.wait_ms;
            (AgentCall::Acquire { agent, ask }, wait_ms)
        }
        ScalrCall::Release(task, release) => (AgentCall::Release { task, release }, 0),
        ScalrCall::LaunchEvents(agent, events) => (AgentCall::LaunchEvents { agent, events }, 0),
        ScalrCall::LaunchFailed(task, failure) => (AgentCall::LaunchFailed { task, failure }, 0),
        ScalrCall::WorkerLost(task, loss) => (AgentCall::WorkerLost { task, loss }, 0),
        ScalrCall::Messages(agent, after, wait_ms) => (AgentCall::Messages { agent, after }, wait_ms),
    }
}

/// What a refusal or a silence means to an agent.
pub(super) fn scalr_error(came: Came) -> ScalrError {
    let (error, retry_after_ms) = match came {
        Came::Reply(reply) => return odd(&reply),
        Came::Nothing(detail) => return ScalrError::Unreachable { detail: detail.to_owned() },
        Came::Refused(error, retry_after_ms) => (error, retry_after_ms),
    };
    refusal(error, retry_after_ms).into()
}

fn refusal(error: ApiError, retry_after_ms: Option<u64>) -> Refusal {
    let ApiError { code, detail, .. } = error;
    Refusal { status: code.status(), code, detail, retry_after_ms }
}

fn odd(reply: &Reply) -> ScalrError {
    ScalrError::Unreachable { detail: format!("an unreadable answer: {reply:?}") }
}

/// What a refusal or a silence means to a worker.
pub(in super::super) fn task_error(came: Came) -> TaskError {
    let (error, retry_after_ms) = match came {
        Came::Reply(reply) => {
            return TaskError::Unreachable { detail: format!("an unreadable answer: {reply:?}") };
        }
        Came::Nothing(detail) => return TaskError::Unreachable { detail: detail.to_owned() },
        Came::Refused(error, retry_after_ms) => (error, retry_after_ms),
    };
    refusal(error, retry_after_ms).into()
}

/// Some refusals are answers.
fn unless<T>(
    came: Came,
    told: T,
    answers: impl FnOnce(Refusal) -> Result<T, ScalrError>,
) -> Result<T, ScalrError> {
    match came {
        Came::Reply(Reply::Done) => Ok(told),
        Came::Refused(error, retry_after_ms) => answers(refusal(error, retry_after_ms)),
        came @ (Came::Reply(_) | Came::Nothing(_)) => Err(scalr_error(came)),
    }
}

/// A registration, and the session's token.
pub(super) fn registered(came: Came) -> Result<(Registration, Token), ScalrError> {
    match came {
        Came::Reply(Reply::Registered { answer, .. }) => {
            let token = Token::new(answer.session_token.expose());
            let (agent, heartbeat_ms, wait_ms_max) = (answer.agent, answer.heartbeat_ms, answer.wait_ms_max);
            Ok((Registration { agent, heartbeat_ms, wait_ms_max }, token))
        }
        came @ (Came::Reply(_) | Came::Refused(..) | Came::Nothing(_)) => Err(scalr_error(came)),
    }
}

fn done(came: Came) -> Result<(), ScalrError> {
    match came {
        Came::Reply(Reply::Done) => Ok(()),
        came @ (Came::Reply(_) | Came::Refused(..) | Came::Nothing(_)) => Err(scalr_error(came)),
    }
}

/// The answer to a controller's call; none for a call that a controller never makes.
pub(super) fn controller_answer(kind: CallKind, came: Came) -> Option<Answer> {
    Some(match kind {
        CallKind::Heartbeat => Answer::Heartbeat(match came {
            Came::Reply(Reply::Heartbeat(answer)) => Ok(answer),
            came @ (Came::Reply(_) | Came::Refused(..) | Came::Nothing(_)) => Err(scalr_error(came)),
        }),
        CallKind::Deregister => Answer::Deregistered(unless(came, (), Refusal::deregistered)),
        CallKind::Acquire => Answer::Acquired(match came {
            Came::Reply(Reply::Acquired(acquired)) => Ok(acquired),
            came @ (Came::Reply(_) | Came::Refused(..) | Came::Nothing(_)) => Err(scalr_error(came)),
        }),
        CallKind::Release => Answer::Released(unless(came, Door::Shut, Refusal::door)),
        CallKind::LaunchEvents => Answer::LaunchEvents(done(came)),
        CallKind::LaunchFailed => Answer::LaunchFailed(unless(came, Door::Shut, Refusal::door)),
        CallKind::WorkerLost => {
            Answer::WorkerLost(unless(came, WorkerLostAnswer::Noted, Refusal::worker_lost))
        }
        CallKind::Messages => Answer::Messages(match came {
            Came::Reply(Reply::Messages(messages)) => Ok(messages),
            came @ (Came::Reply(_) | Came::Refused(..) | Came::Nothing(_)) => Err(scalr_error(came)),
        }),
        CallKind::Register
        | CallKind::Start
        | CallKind::Confirm
        | CallKind::Renew
        | CallKind::Signals
        | CallKind::Append
        | CallKind::BlobGet
        | CallKind::BlobPut
        | CallKind::Finish
        | CallKind::List
        | CallKind::Watch
        | CallKind::WatchEvent
        | CallKind::CreateJob
        | CallKind::DeleteJob => return None,
    })
}

/// The answer to a worker's call, but for those that bring more than the brain gets.
pub(super) fn task_answer(kind: CallKind, came: Came) -> Option<TaskAnswer> {
    Some(match kind {
        CallKind::Confirm | CallKind::Renew => TaskAnswer::Lease(match came {
            Came::Reply(Reply::Lease(answer)) => Ok(answer),
            came @ (Came::Reply(_) | Came::Refused(..) | Came::Nothing(_)) => Err(task_error(came)),
        }),
        CallKind::Signals => TaskAnswer::Signals(match came {
            Came::Reply(Reply::Signals(signals)) => Ok(signals),
            came @ (Came::Reply(_) | Came::Refused(..) | Came::Nothing(_)) => Err(task_error(came)),
        }),
        CallKind::Append => TaskAnswer::Appended(match came {
            Came::Reply(Reply::Log { stored, .. } | Reply::LogMismatch { stored }) => Ok(stored),
            came @ (Came::Reply(_) | Came::Refused(..) | Came::Nothing(_)) => Err(task_error(came)),
        }),
        CallKind::Finish => TaskAnswer::Finish(match came {
            Came::Reply(Reply::Finished(finished)) => Ok(finished),
            came @ (Came::Reply(_) | Came::Refused(..) | Came::Nothing(_)) => Err(task_error(came)),
        }),
        CallKind::Register
        | CallKind::Start
        | CallKind::BlobGet
        | CallKind::BlobPut
        | CallKind::Heartbeat
        | CallKind::Deregister
        | CallKind::Acquire
        | CallKind::Release
        | CallKind::LaunchEvents
        | CallKind::LaunchFailed
        | CallKind::WorkerLost
        | CallKind::Messages
        | CallKind::List
        | CallKind::Watch
        | CallKind::WatchEvent
        | CallKind::CreateJob
        | CallKind::DeleteJob => return None,
    })
}

/// What 204 means: a poll that brought nothing says with which number to go on.
pub(in super::super) fn is_empty(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::Acquired(acquired) if acquired.tasks.is_empty())
        || matches!(reply, Reply::Messages(Messages { hints, .. }) if hints.is_empty())
        || matches!(reply, Reply::Signals(Signals { signals, .. }) if signals.is_empty())
}
