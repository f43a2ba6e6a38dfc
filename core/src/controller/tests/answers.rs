//! What the small world answers to a call.

use scalr_protocol::{
    agent::{Messages, TaskAt},
    id::AgentId,
};

use super::{life::Life, world::State};
use crate::{
    cluster::ClusterError,
    controller::{
        effect::{ClusterCall, Effect, ScalrCall},
        input::Answer,
    },
    scalr::{Registration, ScalrError, WorkerLostAnswer},
};

impl Life {
    /// What a call does, and says.
    pub(super) fn carry_out(&mut self, call: &Effect) -> Answer {
        match call {
            Effect::Scalr { call, .. } => self.carry_out_scalr(call),
            Effect::Cluster { call, .. } => match call {
                ClusterCall::List(kind, _) => Answer::Listed(Ok(self.cluster.list(*kind))),
                ClusterCall::Watch(..) => Answer::Watching(Ok(())),
                ClusterCall::Create(spec) => {
                    let luck = if self.has_faults { self.dice.roll(12) } else { 11 };
                    let detail = "bad luck".to_owned();
                    Answer::Created(match luck {
                        0 => Err(ClusterError::QuotaExceeded { detail }),
                        1 => Err(ClusterError::Template { detail }),
                        2 => Err(ClusterError::Refused { detail }),
                        3 => Err(ClusterError::NotAllowed { detail }),
                        _ => self.cluster.create(spec),
                    })
                }
                ClusterCall::Delete(_, uid) => {
                    if self.dice.roll(2) == 0 {
                        self.cluster.change_job(uid, |job| job.is_deleting = true);
                    } else {
                        self.end_job(&uid.clone(), false);
                    }
                    Answer::Deleted(Ok(()))
                }
            },
            Effect::Abandon { .. } | Effect::WakeAt(_) | Effect::Log(_) | Effect::Exit(_) => {
                unreachable!("only calls are kept")
            }
        }
    }

    fn carry_out_scalr(&mut self, call: &ScalrCall) -> Answer {
        if let ScalrCall::Register(_) = call {
            self.sessions += 1;
            self.server.session = Some(self.sessions);
            let agent = AgentId::new("agent-1").unwrap();
            return Answer::Registered(Ok(Registration { agent, heartbeat_ms: 10_000, wait_ms_max: 30_000 }));
        }
        if self.session.is_none() || self.session != self.server.session {
            return failed_scalr(call, ScalrError::SessionExpired);
        }
        match call {
            ScalrCall::Register(_) => unreachable!("answered above"),
            ScalrCall::Heartbeat(_, request) => {
                let wanted = if self.has_faults { u32::try_from(self.dice.roll(3)).unwrap() } else { 0 };
                Answer::Heartbeat(Ok(self.server.heartbeat(self.now, request, wanted)))
            }
            ScalrCall::Deregister(_) => {
                self.server.forget_session();
                Answer::Deregistered(Ok(()))
            }
            ScalrCall::Acquire(_, request) => Answer::Acquired(Ok(self.server.acquire(self.now, request))),
            ScalrCall::Release(task, request) => {
                Answer::Released(Ok(self.server.shut(task, request.fence, false, true)))
            }
            ScalrCall::LaunchFailed(task, request) => {
                let door = self.server.shut(task, request.fence, true, request.retryable);
                Answer::LaunchFailed(Ok(door))
            }
            ScalrCall::LaunchEvents(..) => Answer::LaunchEvents(Ok(())),
            ScalrCall::WorkerLost(task, request) => {
                let at = TaskAt { id: task.clone(), fence: request.fence };
                let state = self.server.tasks.get(task).map(|task| task.state);
                Answer::WorkerLost(Ok(match state {
                    Some(State::Started) => {
                        if request.ended {
                            self.server.silence(&at, self.now + 60_000);
                        }
                        WorkerLostAnswer::Noted
                    }
                    Some(State::Over { .. }) | None => WorkerLostAnswer::Finished,
                    Some(State::Queued | State::Leased { .. } | State::Claimed { .. }) => {
                        WorkerLostAnswer::NotStarted
                    }
                }))
            }
            ScalrCall::Messages(..) => Answer::Messages(Ok(Messages::default())),
        }
    }
}

pub(super) fn failed(call: &Effect, retry_after_ms: u64) -> Answer {
    let detail = "lost".to_owned();
    match call {
        Effect::Scalr { call, .. } if retry_after_ms > 0 => {
            failed_scalr(call, ScalrError::RateLimited { retry_after_ms })
        }
        Effect::Scalr { call, .. } => failed_scalr(call, ScalrError::Unreachable { detail }),
        Effect::Cluster { call, .. } => {
            let error = if retry_after_ms > 0 {
                ClusterError::RateLimited { retry_after_ms }
            } else {
                ClusterError::Unreachable { detail }
            };
            match call {
                ClusterCall::List(..) => Answer::Listed(Err(error)),
                ClusterCall::Watch(..) => Answer::Watching(Err(error)),
                ClusterCall::Create(_) => Answer::Created(Err(error)),
                ClusterCall::Delete(..) => Answer::Deleted(Err(error)),
            }
        }
        Effect::Abandon { .. } | Effect::WakeAt(_) | Effect::Log(_) | Effect::Exit(_) => {
            unreachable!("only calls are answered")
        }
    }
}

fn failed_scalr(call: &ScalrCall, error: ScalrError) -> Answer {
    match call {
        ScalrCall::Register(_) => Answer::Registered(Err(error)),
        ScalrCall::Heartbeat(..) => Answer::Heartbeat(Err(error)),
        ScalrCall::Deregister(_) => Answer::Deregistered(Err(error)),
        ScalrCall::Acquire(..) => Answer::Acquired(Err(error)),
        ScalrCall::Release(..) => Answer::Released(Err(error)),
        ScalrCall::LaunchEvents(..) => Answer::LaunchEvents(Err(error)),
        ScalrCall::LaunchFailed(..) => Answer::LaunchFailed(Err(error)),
        ScalrCall::WorkerLost(..) => Answer::WorkerLost(Err(error)),
        ScalrCall::Messages(..) => Answer::Messages(Err(error)),
    }
}
