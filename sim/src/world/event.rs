//! What is to come, in order: one heap of `(at, tie, number)`.
//!
//! The tie is a keyed permutation, so that every order of equal times is met under some seed; events of one
//! key keep their order, as bytes on one wire do. It must never look into what it holds.

use std::{cmp::Reverse, collections::BinaryHeap};

use fake_scalr::state::{Command, Reply};
use scalr_core::{
    clock::Millis,
    controller::{effect::ClusterCall, input::Input},
    op::Op,
    supervisor::input::TaskInput,
};
use scalr_protocol::error::ApiError;

use super::{
    cluster::{Internal, PodKey},
    process::ProcessId,
    setup::TaskNumber,
    snag::{CallKind, Rebirth, Strike},
};

/// One thing that will happen.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A controller's process begins.
    Begin { seat: u32 },
    /// Something for a process.
    Mail { process: ProcessId, mail: Mail },
    /// An alarm that a brain asked for; an older one is nothing.
    Alarm { process: ProcessId, number: u64 },
    /// A suspended process goes on.
    Resume { process: ProcessId, number: u64 },
    /// A grace is over.
    Reap { process: ProcessId, rebirth: Option<Rebirth> },
    /// A call reaches Scalr.
    AtScalr(Box<Call>),
    /// A long poll has waited long enough.
    PollDue { poll: u64 },
    /// The server's next deadline.
    ScalrTick,
    /// The server serves again.
    ScalrUp { number: u64 },
    /// A call reaches the API server.
    AtCluster(Box<ClusterRequest>),
    /// An event of the cluster's own.
    Cluster(Internal),
    /// Something in a pod.
    Pod { pod: PodKey, what: PodEvent },
    /// A stage of a worker's own is done.
    Own { process: ProcessId, number: u64 },
    /// A user makes a run.
    CreateRun { run: u32 },
    /// A user approves a plan.
    Approve { run: u32 },
    /// A strike of the setup.
    Strike { index: usize },
    /// A strike that somebody else wants.
    Struck(Box<Strike>),
}

/// What happens in a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PodEvent {
    /// A worker's container is as far as its first step.
    WorkerBegins,
    /// A runner listens.
    RunnerReady,
    /// A runner has waited for its worker long enough.
    RunnerAlone,
    /// A runner with nothing to do ends.
    RunnerExits { exit_code: i32 },
    /// A command in a runner writes, or ends.
    Command { number: u64, what: CommandEvent },
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum CommandEvent {
    /// It writes a piece of its console.
    Writes,
    /// It ends.
    Ends,
    /// A runner without a worker has waited for it long enough.
    OutlivesItsWorker,
}

/// Something for a process.
#[derive(Clone, Debug)]
pub(super) enum Mail {
    /// For a controller's brain, as it is.
    Input(Input),
    /// For a worker's brain, as it is.
    Task(TaskInput),
    /// What came of a call to Scalr.
    Scalr { op: Op, kind: CallKind, task: Option<TaskNumber>, came: Box<Came>, was_late: bool },
    /// What the cluster says.
    Cluster { op: Op, kind: CallKind, task: Option<TaskNumber>, input: Input, was_late: bool },
}

/// What came of a call to Scalr.
#[derive(Clone, Debug)]
pub(super) enum Came {
    /// An answer.
    Reply(Reply),
    /// A refusal, and when to come back.
    Refused(ApiError, Option<u64>),
    /// Nothing.
    Nothing(&'static str),
}

impl Came {
    /// After how long to come back, where that was asked.
    pub(super) fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Refused(_, retry_after_ms) => *retry_after_ms,
            Self::Reply(_) | Self::Nothing(_) => None,
        }
    }
}

/// A call on its way to Scalr.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) process: ProcessId,
    pub(super) op: Op,
    pub(super) kind: CallKind,
    pub(super) task: Option<TaskNumber>,
    pub(super) command: Command,
    /// How long it may wait at the server.
    pub(super) wait_ms: u64,
    /// It met its snag on the way here.
    pub(super) was_late: bool,
    /// It is the second copy of a call: nobody hears of it.
    pub(super) is_copy: bool,
}

/// A call on its way to the API server.
#[derive(Clone, Debug)]
pub(super) struct ClusterRequest {
    pub(super) process: ProcessId,
    pub(super) op: Op,
    pub(super) kind: CallKind,
    pub(super) task: Option<TaskNumber>,
    pub(super) call: ClusterCall,
    pub(super) was_late: bool,
}

/// When, which of those at once, and in which order it was filed; then its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Millis,
    tie: u64,
    number: u64,
    place: u32,
}

/// Everything that is to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Heap {
    due: BinaryHeap<Reverse<Due>>,
    events: Vec<Option<Event>>,
    free: Vec<u32>,
    filed: u64,
}

impl Heap {
    /// Files an event.
    pub(super) fn push(&mut self, at: Millis, tie: u64, event: Event) {
        self.filed += 1;
        let place = if let Some(place) = self.free.pop() {
            self.events[place as usize] = Some(event);
            place
        } else {
            self.events.push(Some(event));
            u32::try_from(self.events.len() - 1)
                .unwrap_or_else(|_| unreachable!("a heap of 4 billion events"))
        };
        self.due.push(Reverse(Due { at, tie, number: self.filed, place }));
    }

    /// Takes the next event.
    pub(super) fn pop(&mut self) -> Option<(Millis, Event)> {
        let Reverse(Due { at, place, .. }) = self.due.pop()?;
        self.free.push(place);
        let event = self.events[place as usize].take();
        Some((at, event.unwrap_or_else(|| unreachable!("each place is due once"))))
    }

    /// When the next event is.
    pub(super) fn next_at(&self) -> Option<Millis> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}
