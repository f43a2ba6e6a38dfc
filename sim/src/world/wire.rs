//! Calls to the API server and what comes back: on the way there and on the way back things go wrong.

use scalr_core::{
    cluster::{ClusterError, WatchEnd, WatchEvent},
    controller::{
        effect::ClusterCall,
        input::{Answer, Input},
    },
    op::Op,
};
use scalr_protocol::{
    error::ErrorCode,
    id::{Fence, TaskId},
};

use super::{
    World,
    cluster::{Reaction, Stimulus},
    event::{ClusterRequest, Event, Mail},
    process::{ProcessId, wire_key},
    setup::TaskNumber,
    snag::{CallKind, Fate, Leg, Refusal},
    truth::FactKind,
};

/// A Job by its name, as its creator has told.
#[derive(Clone, Debug)]
pub(super) struct KnownJob {
    pub(super) number: TaskNumber,
    task: TaskId,
    fence: Fence,
}

/// What a caller hears of a call to the API server that nobody answers.
pub(super) fn unanswered(op: Op, kind: CallKind, detail: &str) -> Option<Input> {
    refused(op, kind, ClusterError::Unreachable { detail: detail.to_owned() })
}

fn refused(op: Op, kind: CallKind, error: ClusterError) -> Option<Input> {
    let answer = match kind {
        CallKind::List => Answer::Listed(Err(error)),
        CallKind::Watch => Answer::Watching(Err(error)),
        CallKind::CreateJob => Answer::Created(Err(error)),
        CallKind::DeleteJob => Answer::Deleted(Err(error)),
        CallKind::WatchEvent
        | CallKind::Register
        | CallKind::Heartbeat
        | CallKind::Deregister
        | CallKind::Acquire
        | CallKind::Release
        | CallKind::LaunchEvents
        | CallKind::LaunchFailed
        | CallKind::WorkerLost
        | CallKind::Messages
        | CallKind::Start
        | CallKind::Confirm
        | CallKind::Renew
        | CallKind::Signals
        | CallKind::Append
        | CallKind::BlobGet
        | CallKind::BlobPut
        | CallKind::Finish => return None,
    };
    Some(Input::Answer { op, answer })
}

/// What the API server says for a refusal on purpose.
fn cluster_error(refusal: Refusal) -> ClusterError {
    let detail = "on purpose".to_owned();
    match refusal.code {
        ErrorCode::RateLimited => {
            ClusterError::RateLimited { retry_after_ms: refusal.retry_after_ms.unwrap_or(1_000) }
        }
        ErrorCode::QuotaExceeded => ClusterError::QuotaExceeded { detail },
        ErrorCode::Forbidden | ErrorCode::Invalid => ClusterError::Refused { detail },
        ErrorCode::NotFound => ClusterError::Template { detail },
        ErrorCode::Conflict => ClusterError::NameTaken,
        ErrorCode::Closed => ClusterError::Gone,
        ErrorCode::Malformed
        | ErrorCode::InvalidToken
        | ErrorCode::MethodNotAllowed
        | ErrorCode::NameInUse
        | ErrorCode::Draining
        | ErrorCode::AlreadyStarted
        | ErrorCode::Claimed
        | ErrorCode::Canceled
        | ErrorCode::Finished
        | ErrorCode::Differs
        | ErrorCode::NotStarted
        | ErrorCode::SessionExpired
        | ErrorCode::FenceStale
        | ErrorCode::ClaimExpired
        | ErrorCode::Lost
        | ErrorCode::TooLarge
        | ErrorCode::UnsupportedMediaType
        | ErrorCode::RangeMismatch
        | ErrorCode::DigestMismatch
        | ErrorCode::Locked
        | ErrorCode::ProtocolUnsupported
        | ErrorCode::Internal
        | ErrorCode::Unavailable
        | ErrorCode::Unknown => ClusterError::Unreachable { detail },
    }
}

impl World {
    /// A call is at the API server's door.
    pub(super) fn at_cluster(&mut self, mut request: ClusterRequest) {
        let ClusterRequest { process, op, kind, task, .. } = request;
        if !request.was_late
            && let Some(fate) = self.snag(process, kind, task, Leg::Arrived)
        {
            request.was_late = true;
            let key = wire_key(process, op);
            match fate {
                Fate::Lose { after_ms } => {
                    return self.cluster_says(
                        process,
                        op,
                        kind,
                        task,
                        unanswered(op, kind, "reset"),
                        after_ms,
                    );
                }
                Fate::Delay { by_ms } => {
                    return self.push(self.now + by_ms, key, Event::AtCluster(Box::new(request)));
                }
                Fate::Twice { after_ms } => {
                    self.push(self.now + after_ms, key, Event::AtCluster(Box::new(request.clone())));
                }
                Fate::Refuse(refusal) => {
                    let input = refused(op, kind, cluster_error(refusal));
                    return self.cluster_says(process, op, kind, task, input, 1);
                }
                fate @ (Fate::Crash(_) | Fate::Pause { .. } | Fate::Terminate) => {
                    self.befalls(process, &fate);
                }
            }
        }
        // A watch whose caller has gone would watch for nobody.
        let is_awaited = self.processes.get(&process).is_some_and(|process| process.flight(op).is_some());
        if kind == CallKind::Watch && !is_awaited {
            return;
        }
        self.note_cluster_call(process, &request.call);
        self.react(Stimulus::Call { client: process, op, call: request.call });
    }

    fn note_cluster_call(&mut self, process: ProcessId, call: &ClusterCall) {
        match call {
            ClusterCall::List(..) | ClusterCall::Watch(..) => {}
            ClusterCall::Create(spec) => {
                let Some(number) = self.truth.number_of(&spec.task) else { return };
                let (task, fence) = (spec.task.clone(), spec.fence);
                self.jobs.insert(spec.name.clone(), KnownJob { number, task, fence });
                self.note(number, FactKind::JobAsked { process, fence });
            }
            ClusterCall::Delete(name, uid) => {
                let Some(KnownJob { number, task, fence }) = self.jobs.get(name).cloned() else { return };
                let Some(glance) = self.scalr().glance(&task) else { return };
                let is_running =
                    self.pods.values().any(|pod| pod.task == task && pod.fence == fence && pod.is_running());
                let (status, current) = (glance.status, glance.fence);
                let of = self.cluster.owner_of(name, uid, (&task, fence));
                let what = FactKind::DeleteAsked { process, fence, status, current, is_running, of };
                self.note(number, what);
            }
        }
    }

    /// Lets something happen to the cluster, and carries out what follows.
    pub(super) fn react(&mut self, stimulus: Stimulus) {
        let mut reactions = self.scratch.reactions.pop().unwrap_or_default();
        self.cluster.react(self.now, &self.luck, stimulus, &mut reactions);
        for reaction in reactions.drain(..) {
            self.carry_out_reaction(reaction);
        }
        self.scratch.reactions.push(reactions);
    }

    fn carry_out_reaction(&mut self, reaction: Reaction) {
        match reaction {
            Reaction::Answer { client, op, answer, after_ms } => {
                let Some((kind, task)) = self.flight_of(client, op) else { return };
                let input = Input::Answer { op, answer };
                self.answer_from_cluster(client, op, (kind, task), input, after_ms);
            }
            Reaction::Watched { client, op, kind, event, after_ms } => {
                if self.flight_of(client, op).is_none() {
                    return;
                }
                let input = Input::Watched { op, kind, event };
                self.answer_from_cluster(client, op, (CallKind::WatchEvent, None), input, after_ms);
            }
            Reaction::Later { after_ms, event } => {
                self.push(self.now + after_ms, super::digest::digest_of(&event), Event::Cluster(event));
            }
            Reaction::Run { pod, role, job, node: _ } => self.run_container(pod, role, &job),
            Reaction::Terminate { pod, grace_ms } => self.terminate_pod(pod, grace_ms),
            Reaction::Kill { pod, role } => self.kill_container(pod, role, false),
            Reaction::Cut { pod, is_cut } => {
                if let Some(run) = self.pods.get_mut(&pod) {
                    run.is_cut = is_cut;
                }
            }
        }
    }

    fn flight_of(&self, id: ProcessId, op: Op) -> Option<(CallKind, Option<TaskNumber>)> {
        let flight = self.processes.get(&id)?.flight(op)?;
        Some((flight.kind, flight.task))
    }

    fn answer_from_cluster(
        &mut self,
        id: ProcessId,
        op: Op,
        (kind, task): (CallKind, Option<TaskNumber>),
        input: Input,
        mut after_ms: u64,
    ) {
        let mut input = Some(input);
        if self.is_cut_from_cluster(id) {
            after_ms = self.setup.scalr.timeout_ms;
            input = self.broken(id, op, kind, input.as_ref(), "timed out");
        } else if let Some(fate) = self.snag(id, kind, task, Leg::Done) {
            match fate {
                Fate::Lose { after_ms: told_ms } => {
                    after_ms = told_ms;
                    input = self.broken(id, op, kind, input.as_ref(), "reset");
                }
                Fate::Delay { by_ms } => after_ms += by_ms,
                fate @ (Fate::Crash(_) | Fate::Pause { .. } | Fate::Terminate) => {
                    self.befalls(id, &fate);
                }
                Fate::Twice { .. } | Fate::Refuse(_) => {}
            }
        }
        self.cluster_says(id, op, kind, task, input, after_ms);
    }

    /// What is heard instead of something that got lost. A watch that has lost something is over.
    fn broken(
        &mut self,
        id: ProcessId,
        op: Op,
        kind: CallKind,
        input: Option<&Input>,
        detail: &str,
    ) -> Option<Input> {
        match input {
            Some(Input::Watched { kind, .. }) => {
                self.react(Stimulus::Abandon { client: id, op });
                let event = WatchEvent::Ended(WatchEnd::Error { detail: detail.to_owned() });
                Some(Input::Watched { op, kind: *kind, event })
            }
            Some(
                Input::Answer { .. } | Input::Began | Input::Wake | Input::Stop { .. } | Input::Paused(_),
            )
            | None => {
                if kind == CallKind::Watch {
                    self.react(Stimulus::Abandon { client: id, op });
                }
                unanswered(op, kind, detail)
            }
        }
    }

    /// The cluster says something to a process; what is said to one call keeps its order.
    fn cluster_says(
        &mut self,
        id: ProcessId,
        op: Op,
        kind: CallKind,
        task: Option<TaskNumber>,
        input: Option<Input>,
        after_ms: u64,
    ) {
        let now = self.now;
        let Some(input) = input else { return };
        let Some(flight) = self.processes.get_mut(&id).and_then(|process| process.flight_mut(op)) else {
            return;
        };
        let at = (now + after_ms).max(flight.last_at);
        flight.last_at = at;
        let mail = Mail::Cluster { op, kind, task, input, was_late: false };
        self.push(at, wire_key(id, op), Event::Mail { process: id, mail });
    }
}
