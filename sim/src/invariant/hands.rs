//! What a controller may do: which doors it shuts, which Jobs it makes and when, whose it deletes.

use std::collections::{BTreeMap, BTreeSet};

use fake_scalr::state::status::TaskStatus;
use scalr_core::{clock::Millis, controller::Status};
use scalr_protocol::{agent::ReleaseReason, id::Fence};

use super::{Checked, Checks, Invariant};
use crate::{
    fault::FaultId,
    words,
    world::{
        World,
        process::ProcessId,
        setup::TaskNumber,
        snag::CallKind,
        truth::{CreateAnswer, JobOwner, TaskTruth},
    },
};

/// One trouble halves the window once: for so long, and the drift of a clock.
const REST_MS: u64 = 5_500;

/// Jobs that wait for their pods for so long are trouble, at the latest when it is looked for next.
const PODLESS_MS: u64 = 35_000;

/// So many creations of one Job in so long are no backoff, whatever the dice say.
const HURRY: usize = 12;
const HURRY_MS: u64 = 10_000;

/// For so long a request of which nothing was heard may still make a Job, and a list to tell.
const UNHEARD_MS: u64 = 90_000;

/// An answer of Scalr's is there within this, where nothing holds it up.
const ON_ITS_WAY_MS: u64 = 1_000;

/// The kinds that end a process without its doing, or take its time.
const BREAKING: [FaultId; 10] = [
    FaultId::A1,
    FaultId::A2,
    FaultId::A3,
    FaultId::A4,
    FaultId::A5,
    FaultId::A9,
    FaultId::A10,
    FaultId::A11,
    FaultId::A12,
    FaultId::S13,
];

/// A task under one grant.
type Grant = (TaskNumber, Fence);

/// What one process of a controller has done and heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Hands {
    granted: BTreeSet<Grant>,
    doors: BTreeSet<Grant>,
    /// What it heard last of the Job of a grant, and when.
    heard: BTreeMap<Grant, (Millis, CreateAnswer)>,
    /// When it last heard nothing of a Job that it made.
    unheard: BTreeMap<Grant, Millis>,
    /// When it first made a Job of a grant.
    first: BTreeMap<Grant, Millis>,
    /// When it has made a Job of a grant, the last few times.
    sent: BTreeMap<Grant, Vec<Millis>>,
    /// The cluster has asked for patience until then by its last word, and has taken nothing since.
    patience: Millis,
    /// The same of the Job of one grant.
    patience_of: BTreeMap<Grant, Millis>,
    /// The window's size, and when it shrank last.
    window: Option<u32>,
    shrank: Option<Millis>,
    /// The last word about a Job was that none is taken.
    is_shut: bool,
    /// Jobs that were made while others waited only for the window: how wide it was, and when.
    pub(super) limited: Vec<(u32, Millis)>,
}

impl Hands {
    /// How many Jobs it must reckon with that may be made still: requests of which it heard nothing.
    pub(super) fn unheard(&self, now: Millis) -> usize {
        self.unheard.values().filter(|at| now.since(**at) < UNHEARD_MS).count()
    }

    /// Whether the last word that it has heard about a Job is that none is taken.
    pub(super) fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// Whether it has shut the door of a grant, or is about to.
    pub(super) fn has_shut(&self, grant: Grant) -> bool {
        self.doors.contains(&grant)
    }

    /// When it has heard that the Job of a grant was made, if it has.
    pub(super) fn made(&self, grant: Grant) -> Option<Millis> {
        self.heard.get(&grant).filter(|(_, answer)| *answer == CreateAnswer::Made).map(|(at, _)| *at)
    }
}

impl Checks {
    pub(super) fn hands(&mut self, process: ProcessId) -> &mut Hands {
        self.hands.entry(process).or_default()
    }

    /// Whether this process has asked for a Job of this grant.
    pub(super) fn has_made(&self, process: ProcessId, grant: Grant) -> bool {
        self.hands.get(&process).is_some_and(|hands| hands.sent.contains_key(&grant))
    }

    pub(super) fn was_granted(&mut self, process: ProcessId, grant: Grant) {
        self.hands(process).granted.insert(grant);
    }

    /// The call that shuts a door is sent.
    pub(super) fn door_sent(
        &mut self,
        world: &World,
        number: TaskNumber,
        process: ProcessId,
        (fence, reason): (Fence, Option<ReleaseReason>),
    ) -> Checked {
        let grant = (number, fence);
        let is_first = self.hands(process).doors.insert(grant);
        let hands = &self.hands[&process];
        let was_asked = self.hands.values().any(|hands| hands.sent.contains_key(&grant));
        self.require(
            hands.granted.contains(&grant) || was_asked,
            Invariant::DoorMeansItsFence,
            number,
            || format!("{process} shuts the door of fence {}, which it never had", fence.0),
        )?;
        let Some(reason) = reason else {
            self.waits_for_its_node(world, number, (process, fence))?;
            return self.require(was_asked, Invariant::DoorMeansItsFence, number, || {
                format!("{process} says that fence {} could not be launched, and nobody has tried", fence.0)
            });
        };
        // A repeated call says what was so when it was first sent.
        if !is_first {
            return Ok(());
        }
        let heard = hands.heard.get(&grant).map(|(_, answer)| *answer);
        let is_known = matches!(heard, Some(CreateAnswer::Made | CreateAnswer::Over));
        self.require(!is_known, Invariant::GivenBackUnlaunched, number, || {
            let why = words::given_back(reason);
            format!("{process} gives it back {why}, and has made its Job for fence {}", fence.0)
        })?;
        let Some(status) = status_of(world, process) else { return Ok(()) };
        let is_draining = reason == ReleaseReason::Drain;
        self.require(is_draining == status.is_draining, Invariant::DoorMeansItsFence, number, || {
            let state = if status.is_draining { "is stopping" } else { "is not stopping" };
            format!("{process} gives it back {}, and {state}", words::given_back(reason))
        })
    }

    /// The creation of a Job is sent.
    pub(super) fn create_sent(
        &mut self,
        world: &World,
        number: TaskNumber,
        process: ProcessId,
        fence: Fence,
    ) -> Checked {
        let now = self.now;
        let grant = (number, fence);
        let is_first = !self.has_made(process, grant);
        if is_first {
            self.in_turn(world, number, process)?;
            self.window_has_grown(world, number, process)?;
            self.is_lent_still(world, number, (process, fence))?;
        }
        self.tries_alone(world, number, process)?;
        self.moved(process);
        let hands = self.hands(process);
        hands.first.entry(grant).or_insert(now);
        let sent = hands.sent.entry(grant).or_default();
        sent.retain(|at| now.since(*at) < HURRY_MS);
        sent.push(now);
        let times = sent.len();
        let patience = hands.patience.max(hands.patience_of.get(&grant).copied().unwrap_or_default());
        let heard = hands.heard.get(&grant).map(|(_, answer)| *answer);
        self.require(times <= HURRY, Invariant::BoundedApi, number, || {
            format!("{process} makes its Job for the {} time in {HURRY_MS} ms", words::ordinal(times as u64))
        })?;
        let is_settled =
            matches!(heard, Some(CreateAnswer::Made | CreateAnswer::Over | CreateAnswer::Refused));
        self.require(!is_settled, Invariant::RefusedOnce, number, || {
            let heard = heard.map_or_else(String::new, words::created);
            format!("{process} makes its Job for fence {} again, and has heard of it: {heard}", fence.0)
        })?;
        // A clock that runs wrong, or goes on while its process does not, has its own patience.
        let is_sure = !self.any(&[FaultId::A11, FaultId::A12]);
        self.require(now >= patience || !is_sure, Invariant::SlowsDown, number, || {
            format!("{process} makes a Job, and was asked not to before {patience}")
        })?;
        self.slowed_down(world, number, process)
    }

    /// What came of it is heard, and was thought over.
    pub(super) fn create_answered(
        &mut self,
        world: &World,
        number: TaskNumber,
        process: ProcessId,
        (fence, answer): (Fence, CreateAnswer),
    ) -> Checked {
        let now = self.now;
        let hands = self.hands(process);
        hands.heard.insert((number, fence), (now, answer));
        match answer {
            CreateAnswer::Made => hands.is_shut = false,
            CreateAnswer::NoRoom | CreateAnswer::Later { .. } => {
                hands.is_shut = true;
                hands.limited.clear();
            }
            CreateAnswer::Over | CreateAnswer::Unheard | CreateAnswer::Refused => hands.limited.clear(),
        }
        if answer == CreateAnswer::Unheard {
            hands.unheard.insert((number, fence), now);
        }
        let retry_after_ms = match answer {
            CreateAnswer::Later { retry_after_ms } => retry_after_ms,
            CreateAnswer::Unheard => return Ok(()),
            CreateAnswer::Made | CreateAnswer::Over | CreateAnswer::NoRoom | CreateAnswer::Refused => {
                // It takes calls again, whatever it makes of them.
                hands.patience = Millis(0);
                if answer == CreateAnswer::NoRoom {
                    self.fleet.no_room = now;
                }
                return Ok(());
            }
        };
        hands.patience = now + retry_after_ms;
        hands.patience_of.insert((number, fence), now + retry_after_ms);
        let (before, shrank) = (hands.window, hands.shrank);
        self.mark("the cluster asked for patience");
        let (Some(before), Some(status)) = (before, status_of(world, process)) else { return Ok(()) };
        let is_resting = shrank.is_some_and(|at| now.since(at) < REST_MS);
        let most = (before / 2).max(1);
        self.require(status.window <= most || is_resting, Invariant::SlowsDown, number, || {
            format!("{process} was asked for patience, and its window is {} after {before}", status.window)
        })
    }

    /// Whether Jobs that get no pods have made it slower.
    fn slowed_down(&self, world: &World, number: TaskNumber, process: ProcessId) -> Checked {
        let hands = &self.hands[&process];
        let Some(window) = hands.window else { return Ok(()) };
        let is_waiting = |(task, fence): Grant| {
            // What a user has put in its place is another Job.
            if self.is_deleted(task) {
                return false;
            }
            let id = world.truth().task(task).and_then(|task| task.id.as_ref());
            id.is_some_and(|id| world.cluster().is_podless(id, fence))
        };
        let mut late = hands.heard.iter().filter(|(grant, (at, answer))| {
            *answer == CreateAnswer::Made && self.now.since(*at) > PODLESS_MS && is_waiting(**grant)
        });
        let Some((grant, _)) = late.next() else { return Ok(()) };
        // It has waited since it was first asked for, however long that took.
        let since = hands.first.get(grant).copied().unwrap_or_default();
        let has_shrunk = hands.shrank.is_some_and(|at| at > since);
        let is_sure = !self.any(&[FaultId::A10, FaultId::A11, FaultId::A12]);
        self.require(has_shrunk || !is_sure, Invariant::SlowsDown, number, || {
            format!("{process} makes a Job, and one made at {since} has no pod yet: its window is {window}")
        })
    }

    /// A controller has taken a step: how large its window is now.
    pub(super) fn look_at_window(&mut self, process: ProcessId, status: Status) {
        let now = self.now;
        let hands = self.hands(process);
        // One that can't shrink any more has shrunk.
        if status.window == 1 || hands.window.is_some_and(|before| status.window < before) {
            hands.shrank = Some(now);
        }
        hands.window = Some(status.window);
    }

    /// A controller that was stopping is gone: what it held and had not launched it has given back.
    pub(super) fn left(&mut self, world: &World, seat: u32) -> Checked {
        let Some(seen) = self.fleet.seats.remove(&seat) else { return Ok(()) };
        self.overdue.unsettle();
        let grace_ms = world.setup().controllers.get(seat as usize).map_or(0, |setup| setup.grace_ms);
        let is_killed = world.truth().overstayed().iter().any(|(_, process)| *process == seen.process);
        // Who is killed, or can't reach Scalr, gives nothing back; neither does a stop of a moment. In all
        // other weather it is asked for, until such a thing has happened; how long its traces last nobody
        // here knows.
        let is_sure = !self.any(&BREAKING) && !self.is_scalr_troubled() && grace_ms >= 10_000;
        if !seen.is_draining || is_killed || !is_sure {
            return Ok(());
        }
        for (number, watched) in &self.tasks {
            let Some((_, fence)) = watched.lent.filter(|(holder, _)| *holder == seen.process) else {
                continue;
            };
            let id = world.truth().task(*number).and_then(|truth| truth.id.as_ref());
            let Some(glance) = id.and_then(|id| world.scalr().glance(id)) else { continue };
            let is_held = glance.status == TaskStatus::Leased && glance.fence == fence;
            // A grant that was on its way when the stop began never reached it: it had hung up.
            if watched.granted + ON_ITS_WAY_MS > seen.stops_since {
                continue;
            }
            let was_launched = self.hands.values().any(|hands| hands.sent.contains_key(&(*number, fence)));
            self.require(!is_held || was_launched, Invariant::GivenBackUnlaunched, *number, || {
                format!("{} has stopped, and keeps it under fence {}", seen.process, fence.0)
            })?;
        }
        Ok(())
    }

    /// Whether it asks for tasks only when it may.
    pub(super) fn asks_in_turn(&self, world: &World, process: ProcessId, status: Status) -> Checked {
        if status.is_ready && !status.is_draining {
            return Ok(());
        }
        if world.has_just_sent(process, CallKind::Acquire) && !world.is_suspended(process) {
            let why = if status.is_draining { "is stopping" } else { "has not asked about what is there" };
            let what = format!("{process} asks for tasks, and {why}");
            return Err(self.broken(Invariant::AsksInTurn, None, what));
        }
        Ok(())
    }

    /// The deletion of a Job is at the API server's door.
    pub(super) fn delete_asked(
        &mut self,
        number: TaskNumber,
        truth: &TaskTruth,
        (process, fence): (ProcessId, Fence),
        (status, current): (TaskStatus, Fence),
        (is_running, of): (bool, JobOwner),
    ) -> Checked {
        self.require(of != JobOwner::Foreign, Invariant::NoForeignTouch, number, || {
            format!("{process} deletes somebody else's Job")
        })?;
        self.require(of != JobOwner::Another, Invariant::UidSafety, number, || {
            format!("{process} deletes a Job by a UID that is another's")
        })?;
        let is_terminal = matches!(status, TaskStatus::Finished | TaskStatus::Lost);
        let is_open = !is_terminal && fence >= current;
        let is_lent = self.tasks.get(&number).and_then(|task| task.lent);
        let is_others = is_lent.is_some_and(|(holder, under)| holder != process && under == fence);
        self.require(!(is_open && is_others), Invariant::NoForeignTouch, number, || {
            let holder = is_lent.map_or("nobody".to_owned(), |(holder, _)| holder.to_string());
            format!("{process} deletes the Job of what is lent to {holder}")
        })?;
        self.require(!is_open, Invariant::DoorBeforeDelete, number, || {
            format!("its Job is deleted while it is {status} under the Job's own fence {}", fence.0)
        })?;
        let is_of_confirm = truth.confirms.iter().any(|confirm| confirm.fence == fence);
        self.mark(if is_terminal {
            "a Job of a task that is over was deleted"
        } else {
            "a shut Job was deleted"
        });
        self.require(!(is_of_confirm && is_running), Invariant::DoorBeforeDelete, number, || {
            "the Job in which it has started is deleted while its worker or runner runs".to_owned()
        })
    }
}

/// How things stand with a controller, if it lives.
pub(super) fn status_of(world: &World, process: ProcessId) -> Option<Status> {
    world.controllers().find(|(_, id, _)| *id == process).map(|(_, _, brain)| brain.status())
}
