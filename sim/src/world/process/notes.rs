//! What is written down of calls and effects, for whoever checks. It changes nothing else.

use fake_scalr::state::{Reply, TaskCall as ServerCall};
use scalr_core::{
    cluster::ClusterError,
    controller::{
        effect::{ClusterCall, ScalrCall},
        input::{Answer, Input},
    },
    op::Op,
    supervisor::effect::StopSignal,
};

use super::{
    super::{
        World,
        event::Came,
        setup::TaskNumber,
        snag::CallKind,
        truth::{CreateAnswer, FactKind},
    },
    ProcessId,
};

/// Nobody believes that he is to stay away for longer: his task would be lost.
const BELIEVED_MS: u64 = 300_000;

/// How long the API server asks for patience, if it does.
pub(super) fn retry_after_ms(input: &Input) -> Option<u64> {
    use Answer as A;
    use ClusterError::RateLimited;
    let Input::Answer { answer, .. } = input else { return None };
    match answer {
        A::Listed(Err(RateLimited { retry_after_ms }))
        | A::Watching(Err(RateLimited { retry_after_ms }))
        | A::Created(Err(RateLimited { retry_after_ms }))
        | A::Deleted(Err(RateLimited { retry_after_ms })) => Some(*retry_after_ms),
        A::Listed(_)
        | A::Watching(_)
        | A::Created(_)
        | A::Deleted(_)
        | A::Registered(_)
        | A::Deregistered(_)
        | A::Heartbeat(_)
        | A::Acquired(_)
        | A::Messages(_)
        | A::LaunchEvents(_)
        | A::Released(_)
        | A::LaunchFailed(_)
        | A::WorkerLost(_) => None,
    }
}

impl World {
    /// A door is being shut.
    pub(super) fn note_door(&mut self, process: ProcessId, task: Option<TaskNumber>, call: &ScalrCall) {
        let (fence, reason) = match call {
            ScalrCall::Release(_, release) => (release.fence, Some(release.reason)),
            ScalrCall::LaunchFailed(_, failed) => (failed.fence, None),
            ScalrCall::Register(_)
            | ScalrCall::Heartbeat(..)
            | ScalrCall::Deregister(_)
            | ScalrCall::Acquire(..)
            | ScalrCall::LaunchEvents(..)
            | ScalrCall::WorkerLost(..)
            | ScalrCall::Messages(..) => return,
        };
        if let Some(number) = task {
            self.note(number, FactKind::DoorSent { process, fence, reason });
        }
    }

    /// A Job is being made.
    pub(super) fn note_create(
        &mut self,
        process: ProcessId,
        op: Op,
        task: Option<TaskNumber>,
        call: &ClusterCall,
    ) {
        let (ClusterCall::Create(spec), Some(number)) = (call, task) else { return };
        let fence = spec.fence;
        let flight = self.processes.get_mut(&process).and_then(|process| process.flight_mut(op));
        if let Some(flight) = flight {
            flight.fence = Some(fence);
        }
        self.note(number, FactKind::CreateSent { process, fence });
    }

    /// What came of that, as the brain is about to hear it.
    pub(super) fn note_create_answer(&mut self, process: ProcessId, op: Op, input: &Input) {
        let Input::Answer { answer: Answer::Created(answer), .. } = input else { return };
        let flight = self.processes.get(&process).and_then(|process| process.flight(op));
        if let Some((number, fence)) = flight.and_then(|flight| flight.task.zip(flight.fence)) {
            let answer = CreateAnswer::of(answer);
            self.note(number, FactKind::CreateAnswered { process, fence, answer });
        }
    }

    /// A process is asked to come back later, with the same call.
    pub(super) fn note_patience(&mut self, id: ProcessId, op: Op, retry_after_ms: Option<u64>) {
        let Some(until) = retry_after_ms.map(|ms| self.now + ms.min(BELIEVED_MS)) else { return };
        let Some(process) = self.processes.get_mut(&id) else { return };
        if let Some(flight) = process.flight(op).copied() {
            process.patience.insert((flight.kind, flight.of, flight.task), (self.now, until));
        }
    }

    /// A renewal was acknowledged, as the brain is about to hear it.
    pub(super) fn note_renewal(&mut self, process: ProcessId, op: Op, kind: CallKind, came: &Came) {
        let is_one = matches!(kind, CallKind::Confirm | CallKind::Renew);
        if !is_one || !matches!(came, Came::Reply(Reply::Lease(_))) {
            return;
        }
        let flight = self.processes.get(&process).and_then(|process| process.flight(op));
        if let Some((number, sent)) = flight.and_then(|flight| Some((flight.task?, flight.sent))) {
            self.note(number, FactKind::Renewed { process, sent });
        }
    }

    /// A worker signals a command of the user's that runs.
    pub(super) fn note_signal(&mut self, process: ProcessId, op: Op, signal: StopSignal) {
        let Some(shell) = self.processes.get(&process).and_then(|process| process.worker()) else { return };
        let (number, pod) = (shell.number, shell.pod);
        let is_running = self.pods.get(&pod).and_then(|run| run.command.as_ref()).is_some_and(|it| it.is(op));
        if is_running {
            self.note(number, FactKind::Signaled { process, signal });
        }
    }

    /// A worker takes all output from now on.
    pub(super) fn note_drain(&mut self, process: ProcessId) {
        let shell = self.processes.get(&process).and_then(|process| process.worker());
        if let Some(number) = shell.map(|shell| shell.number) {
            self.note(number, FactKind::Drained { process });
        }
    }

    /// A worker sends a file.
    pub(in super::super) fn note_upload(&mut self, process: ProcessId, call: &ServerCall) {
        let ServerCall::BlobPut(blob) = call else { return };
        let shell = self.processes.get(&process).and_then(|process| process.worker());
        if let Some(number) = shell.map(|shell| shell.number) {
            let kind = blob.kind;
            self.note(number, FactKind::UploadSent { process, kind });
        }
    }
}
