//! What may happen to one task: its life as a list of facts, each looked at once.

use std::collections::{BTreeMap, BTreeSet};

use scalr_core::clock::Millis;
use scalr_protocol::{
    agent::ReleaseReason,
    blob::BlobKind,
    id::{AgentId, Fence},
    task::Outcome,
};

use super::{Checked, Checks, Invariant};
use crate::words;
use crate::world::{
    World,
    cluster::PodKey,
    process::ProcessId,
    setup::TaskNumber,
    snag::CallKind,
    truth::{Fact, FactKind, TaskTruth},
};

/// What is remembered of a task.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    holder: Option<AgentId>,
    /// To whom it is lent, under which fence.
    pub(super) lent: Option<(ProcessId, Fence)>,
    pub(super) granted: Millis,
    pub(super) was_claimed: bool,
    /// How often it was given away for balance since its last Job was asked for.
    rebalanced: u32,
    /// What its workers said, the first time each.
    pub(super) said: Vec<(ProcessId, Outcome, u64)>,
    /// The worker that ended by itself after its outcome was sent.
    pub(super) left: Option<(ProcessId, i32)>,
    /// A command of it was interrupted, of whom, and when.
    pub(super) interrupted: Option<(PodKey, Millis)>,
    /// Where its workers began.
    pub(super) began: BTreeMap<ProcessId, PodKey>,
    /// The worker whose runner has died under its command, and when.
    pub(super) runner_died: Option<(ProcessId, Millis)>,
    /// Where it was confirmed.
    pub(super) pod: Option<PodKey>,
    /// A pod of it was told to stop.
    pub(super) stopped: bool,
    /// And had no time for it.
    is_hurried: bool,
    /// The shortest and the longest grace of those.
    pub(super) grace_ms: Option<(u64, u64)>,
    /// When each worker had sent the last renewal that it knows to be taken.
    pub(super) acked: BTreeMap<ProcessId, Millis>,
    /// When each has signaled first.
    pub(super) signaled: BTreeMap<ProcessId, Millis>,
    pub(super) drained: BTreeSet<ProcessId>,
    /// Whose apply has left a state, and what has become of that.
    /// Whose plan Scalr has.
    pub(super) has_plan: Option<ProcessId>,
    pub(super) state_of: Option<ProcessId>,
    pub(super) state_sent: bool,
    pub(super) state_stored: bool,
}

/// A grace in which the last word is said, where nothing keeps it from Scalr.
const ENOUGH_MS: u64 = 25_000;

impl Checks {
    /// Whether a worker of this task was told to stop and may not have had time for all that it owes.
    pub(super) fn is_pressed(&self, number: TaskNumber) -> bool {
        let least = self.tasks.get(&number).and_then(|watched| watched.grace_ms).map(|(least, _)| least);
        least.is_some_and(|least| least < ENOUGH_MS || self.is_scalr_troubled())
    }
}

/// Heartbeats follow each other no sooner, and a network adds to that.
const SPACING_MS: u64 = 1_500;

/// For so long after a quota has refused a Job nobody knows what room there is.
const CROWDED_MS: u64 = 120_000;

/// A shorter grace than this is none.
const GRACE_MS_MIN: u64 = 1_000;

/// Calls about a task of one kind that are always few, whatever fails.
const FEW: u64 = 25;

/// One more for so much time: what is repeated is repeated at the longest backoff in the end, and what is
/// polled is polled no faster.
const REPEATED_MS: u64 = 3_000;
const POLLED_MS: u64 = 500;
const APPENDED_MS: u64 = 50;

impl Checks {
    pub(super) fn fact(&mut self, world: &World, fact: &Fact) -> Checked {
        let number = fact.task;
        let Some(truth) = world.truth().task(number) else { return Ok(()) };
        match &fact.what {
            FactKind::Queued => Ok(()),
            FactKind::Granted { agent, process, fence } => {
                self.granted(world, number, truth, (agent, *process, *fence))
            }
            FactKind::Released { process, fence, reason } => {
                self.door_shut(number, *fence);
                self.released(number, *process, *reason)
            }
            FactKind::LaunchFailed { fence, .. } => {
                self.door_shut(number, *fence);
                Ok(())
            }
            FactKind::DoorSent { process, fence, reason } => {
                self.door_sent(world, number, *process, (*fence, *reason))
            }
            FactKind::CreateSent { process, fence } => self.create_sent(world, number, *process, *fence),
            FactKind::CreateAnswered { process, fence, answer } => {
                self.create_answered(world, number, *process, (*fence, *answer))
            }
            FactKind::JobAsked { process, fence } => {
                self.tasks.entry(number).or_default().rebalanced = 0;
                self.job_asked(world, number, *process, *fence)
            }
            FactKind::DeleteAsked { process, fence, status, current, is_running, of } => {
                let (who, how) = ((*process, *fence), (*status, *current));
                self.delete_asked(number, truth, who, how, (*is_running, *of))
            }
            FactKind::WorkerBegan { .. }
            | FactKind::WorkerEnded { .. }
            | FactKind::Claimed { .. }
            | FactKind::Confirmed { .. }
            | FactKind::Stopped { .. }
            | FactKind::Overstayed { .. }
            | FactKind::Renewed { .. }
            | FactKind::CodeBegan { .. }
            | FactKind::CodeEnded { .. }
            | FactKind::Interrupted { .. }
            | FactKind::Drained { .. }
            | FactKind::Signaled { .. }
            | FactKind::StateLeft { .. }
            | FactKind::UploadSent { .. }
            | FactKind::Uploaded { .. }
            | FactKind::FinishSent { .. }
            | FactKind::Ended { .. }
            | FactKind::Late { .. } => self.fact_of_worker(world, number, truth, &fact.what),
        }
    }

    fn fact_of_worker(
        &mut self,
        world: &World,
        number: TaskNumber,
        truth: &TaskTruth,
        what: &FactKind,
    ) -> Checked {
        match what {
            FactKind::WorkerBegan { process, pod, .. } => {
                self.tasks.entry(number).or_default().began.insert(*process, *pod);
                Ok(())
            }
            FactKind::WorkerEnded { process, exit_code, .. } => {
                self.worker_ended(number, truth, *process, *exit_code)
            }
            FactKind::Claimed { process, .. } => {
                self.runner_first(world, number, *process)?;
                self.tasks.entry(number).or_default().was_claimed = true;
                self.is_not_over(number, truth, "claimed")
            }
            FactKind::Confirmed { process, .. } => self.confirmed(number, truth, *process),
            FactKind::Stopped { grace_ms, .. } => {
                let watched = self.tasks.entry(number).or_default();
                watched.stopped = true;
                let (least, most) = watched.grace_ms.unwrap_or((*grace_ms, *grace_ms));
                watched.grace_ms = Some((least.min(*grace_ms), most.max(*grace_ms)));
                watched.is_hurried |= *grace_ms < GRACE_MS_MIN;
                Ok(())
            }
            FactKind::Overstayed { process } => self.overstayed(number, *process),
            FactKind::Renewed { process, sent } => self.renewed(number, *process, *sent),
            FactKind::CodeBegan { process, pod, stage, is_confirmed, .. } => {
                self.code_began(world, number, (*process, *pod, *stage), *is_confirmed)
            }
            FactKind::CodeEnded { pod, stage, .. } => self.code_ended(world, number, (*pod, *stage)),
            FactKind::Interrupted { pod, nth } => self.interrupted(number, truth, *pod, *nth),
            FactKind::Drained { process } => {
                self.tasks.entry(number).or_default().drained.insert(*process);
                Ok(())
            }
            FactKind::Signaled { process, signal } => self.signaled(world, number, *process, *signal),
            FactKind::StateLeft { process } => {
                self.mark("an apply left its state");
                self.tasks.entry(number).or_default().state_of = Some(*process);
                Ok(())
            }
            FactKind::Uploaded { kind: BlobKind::PlanFile, process } => {
                self.tasks.entry(number).or_default().has_plan = Some(*process);
                Ok(())
            }
            FactKind::UploadSent { kind, .. } => self.uploaded(number, *kind, false),
            FactKind::Uploaded { kind, .. } => self.uploaded(number, *kind, true),
            FactKind::FinishSent { process, outcome, exit_code, log_bytes } => {
                self.finish_sent(world, number, truth, *process, (*outcome, *exit_code, *log_bytes))
            }
            FactKind::Ended { status, outcome, was_confirmed } => {
                self.ended(world, number, (*status, *outcome), *was_confirmed)
            }
            FactKind::Late { .. } => {
                self.mark("an outcome after the loss");
                Ok(())
            }
            FactKind::Queued
            | FactKind::Granted { .. }
            | FactKind::Released { .. }
            | FactKind::LaunchFailed { .. }
            | FactKind::DoorSent { .. }
            | FactKind::CreateSent { .. }
            | FactKind::CreateAnswered { .. }
            | FactKind::JobAsked { .. }
            | FactKind::DeleteAsked { .. } => Ok(()),
        }
    }

    /// What is over stays over.
    fn is_not_over(&self, number: TaskNumber, truth: &TaskTruth, what: &str) -> Checked {
        self.require(truth.end.is_none(), Invariant::MonotoneStatus, number, || {
            format!("it was {what} after its end")
        })
    }

    fn granted(
        &mut self,
        world: &World,
        number: TaskNumber,
        truth: &TaskTruth,
        (agent, process, fence): (&AgentId, ProcessId, Fence),
    ) -> Checked {
        self.is_not_over(number, truth, "granted")?;
        self.require(truth.confirms.is_empty(), Invariant::AtMostOnce, number, || {
            "it was granted again after its confirm".to_owned()
        })?;
        self.lease_kept(world, number, process, fence)?;
        self.was_granted(process, (number, fence));
        let now = self.now;
        let watched = self.tasks.entry(number).or_default();
        let is_passed_on = watched.holder.as_ref().is_some_and(|holder| holder != agent);
        watched.holder = Some(agent.clone());
        watched.granted = now;
        self.forget_wait(number);
        if is_passed_on {
            self.mark("a task changed hands");
        }
        Ok(())
    }

    fn released(&mut self, number: TaskNumber, process: ProcessId, reason: ReleaseReason) -> Checked {
        if reason == ReleaseReason::Drain {
            self.mark("a task given back by a drain");
            return Ok(());
        }
        self.mark("a task given back for balance");
        self.fleet.gave_back(self.now, process);
        // Nobody can know of room that a quota will not leave: slots that are free by all that is known are
        // not.
        let is_crowded = self.fleet.no_room > Millis(0) && self.now.since(self.fleet.no_room) < CROWDED_MS;
        let is_calm = self.is_clear() && !is_crowded;
        // Two controllers may learn of one slot at once: one was promised what another took in that moment,
        // or takes it now; who lost it says so by its next heartbeat.
        let granted = self.tasks.get(&number).map_or(self.now, |watched| watched.granted);
        let is_race = self.fleet.is_race(self.now, SPACING_MS) || self.fleet.is_race(granted, SPACING_MS);
        let watched = self.tasks.entry(number).or_default();
        let held_ms = self.now.since(watched.granted);
        if !is_calm {
            // A controller that dies, or goes blind, after it was given a task can do nothing for it.
            watched.rebalanced = 0;
        } else if !is_race && (watched.rebalanced == 0 || held_ms > SPACING_MS) {
            watched.rebalanced += 1;
        }
        let times = watched.rebalanced;
        self.require(times <= 1, Invariant::RebalanceLaunches, number, || {
            format!("it was given away for balance {times} times without a launch")
        })
    }

    fn confirmed(&mut self, number: TaskNumber, truth: &TaskTruth, process: ProcessId) -> Checked {
        self.is_not_over(number, truth, "confirmed")?;
        let watched = self.tasks.entry(number).or_default();
        watched.pod = watched.began.get(&process).copied();
        self.require(truth.confirms.len() <= 1, Invariant::AtMostOnce, number, || {
            format!("it was confirmed {} times", truth.confirms.len())
        })
    }

    /// A worker was killed because its grace was over.
    fn overstayed(&self, number: TaskNumber, process: ProcessId) -> Checked {
        let is_hurried = self.tasks.get(&number).is_some_and(|watched| watched.is_hurried);
        self.require(is_hurried || self.loses_time(number), Invariant::ShutdownInTime, number, || {
            format!("{process} was told to stop, and is killed at the end of its grace")
        })
    }

    /// Looks at what a worker has cost.
    pub(super) fn worker(&mut self, world: &World, number: TaskNumber) -> Checked {
        let Some(truth) = world.truth().task(number) else { return Ok(()) };
        self.duties(world, number)?;
        self.calls(number, truth)
    }

    /// A task costs few calls of each kind, and more only with time.
    pub(super) fn calls(&self, number: TaskNumber, truth: &TaskTruth) -> Checked {
        let lived_ms = self.now.since(truth.queued);
        for (kind, calls) in &truth.calls {
            let each_ms = match kind {
                CallKind::Append => APPENDED_MS,
                CallKind::Renew | CallKind::Signals => POLLED_MS,
                CallKind::Register
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
                | CallKind::BlobGet
                | CallKind::BlobPut
                | CallKind::Finish
                | CallKind::List
                | CallKind::Watch
                | CallKind::WatchEvent
                | CallKind::CreateJob
                | CallKind::DeleteJob => REPEATED_MS,
            };
            let most = FEW + lived_ms / each_ms;
            self.require(u64::from(*calls) <= most, Invariant::BoundedApi, number, || {
                format!("{calls} calls to {} in {lived_ms} ms, expected at most {most}", words::call(*kind))
            })?;
        }
        Ok(())
    }
}
