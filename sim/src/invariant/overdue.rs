//! What is overdue: things that every controller can see, and that one of them should have seen to by now.
//!
//! Looked at only while all of them are there, ready and left in peace. It must never count what the cluster
//! does not show.

use std::collections::BTreeMap;

use fake_scalr::state::{glance::TaskGlance, status::TaskStatus};
use scalr_core::{
    clock::Millis,
    cluster::{Container, Disruption, Job, Pod, TroubleKind},
};
use scalr_protocol::id::Fence;

use super::{Checked, Checks, Invariant, duty::OF_NODES, room::is_over};
use crate::world::{World, setup::TaskNumber, snag::CallKind, truth::TaskTruth};

/// What is to be seen to, and by when: a heartbeat or two, a call, and what is seen of the cluster is
/// seconds old. A door that Scalr refuses to shut is knocked at again after a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Duty {
    /// A launch that is over is said to have failed.
    SayThatItFailed,
    /// A launch is given up when its time is over.
    GiveUp,
    /// A loss is told.
    TellTheLoss,
    /// A Job that can't start any more is deleted.
    Delete,
}

/// For how long each may be left.
const LEFT_MS: u64 = 100_000;

/// What is overdue, and since when it was there to be seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Overdue {
    since: BTreeMap<(TaskNumber, Fence, Duty), Millis>,
    /// Since when all controllers have been there and ready.
    settled: Option<Millis>,
}

impl Overdue {
    /// A controller has come, gone, or is not at work.
    pub(super) fn unsettle(&mut self) {
        self.settled = None;
    }
}

impl Checks {
    /// A controller has taken a step.
    pub(super) fn nothing_is_overdue(&mut self, world: &World) -> Checked {
        let all = world.setup().controllers.len();
        let works = |(_, process, brain): (u32, _, &scalr_core::controller::Controller)| {
            let status = brain.status();
            status.is_ready && !status.is_draining && !world.is_suspended(process)
        };
        if !self.is_clear() || world.controllers().filter(|it| works(*it)).count() < all {
            self.overdue.unsettle();
            return Ok(());
        }
        let now = self.now;
        let settled = *self.overdue.settled.get_or_insert(now);
        let mut seen = Vec::new();
        for job in world.cluster().jobs() {
            let Some(number) = world.truth().number_of(&job.task) else { continue };
            let (Some(truth), Some(glance)) = (world.truth().task(number), world.scalr().glance(&job.task))
            else {
                continue;
            };
            seen.extend(duty(world, job, truth, &glance).map(|duty| (number, job.fence, duty)));
        }
        for (number, truth) in world.truth().open_tasks() {
            let glance = truth.id.as_ref().and_then(|id| world.scalr().glance(id));
            let Some(glance) = glance.filter(|glance| glance.status == TaskStatus::Leased) else { continue };
            let is_of = |job: &Job| truth.id.as_ref() == Some(&job.task) && job.fence == glance.fence;
            let was_made = world.controllers().any(|(_, process, _)| {
                self.hands.get(&process).is_some_and(|hands| hands.made((number, glance.fence)).is_some())
            });
            if was_made && !world.cluster().jobs().any(is_of) {
                seen.push((number, glance.fence, Duty::SayThatItFailed));
            }
        }
        self.overdue.since.retain(|key, _| seen.contains(key));
        for key @ (number, fence, duty) in seen {
            let since = (*self.overdue.since.entry(key).or_insert(now)).max(settled);
            let has_all_nodes = !self.any(&OF_NODES);
            let most_ms = LEFT_MS + if duty == Duty::GiveUp { startup_ms(world, has_all_nodes) } else { 0 };
            let (which, what) = broken(duty);
            self.require(now.since(since) <= most_ms, which, number, || {
                format!("since {since} {what} (fence {}), and nobody has seen to it", fence.0)
            })?;
        }
        Ok(())
    }
}

/// What somebody has to do about a Job, if anything.
fn duty(world: &World, job: &Job, truth: &TaskTruth, glance: &TaskGlance) -> Option<Duty> {
    let pods: Vec<&Pod> =
        world.cluster().pods().map(|(_, pod)| pod).filter(|pod| pod.job_uid == job.uid).collect();
    let has_ended = |pod: &&Pod| matches!(pod.worker, Container::Terminated { .. });
    let is_current = glance.fence == job.fence;
    let was_confirmed = truth.confirms.iter().any(|confirm| confirm.fence == job.fence);
    match glance.status {
        TaskStatus::Leased if is_current => {
            let is_invalid = |pod: &&Pod| {
                pod.trouble.as_ref().is_some_and(|trouble| trouble.kind == TroubleKind::ImageInvalid)
            };
            let is_done = !pods.is_empty() && pods.iter().all(has_ended);
            if job.end.is_some() || is_done || pods.iter().any(is_invalid) {
                Some(Duty::SayThatItFailed)
            } else {
                Some(Duty::GiveUp)
            }
        }
        TaskStatus::Started | TaskStatus::Unreachable if was_confirmed => {
            let is_gone = |pod: &&Pod| has_ended(pod) || pod.disruption == Some(Disruption::NodeLost);
            let is_told = truth.calls.contains_key(&CallKind::WorkerLost);
            (!pods.is_empty() && pods.iter().all(is_gone) && !is_told).then_some(Duty::TellTheLoss)
        }
        TaskStatus::Finished | TaskStatus::Lost if !was_confirmed => can_go(world, job),
        TaskStatus::Queued
        | TaskStatus::Leased
        | TaskStatus::Claimed
        | TaskStatus::Started
        | TaskStatus::Unreachable
        | TaskStatus::Finished
        | TaskStatus::Lost => (glance.fence > job.fence && !was_confirmed).then(|| can_go(world, job))?,
    }
}

/// A Job that nobody has deleted yet, and that is not over.
fn can_go(world: &World, job: &Job) -> Option<Duty> {
    (!job.is_deleting && !is_over(world, job)).then_some(Duty::Delete)
}

/// How long a launch may take for whoever is the most patient: while a node is coming, in the place of one
/// that is gone too, it may take longer.
fn startup_ms(world: &World, has_all_nodes: bool) -> u64 {
    let grows = !has_all_nodes || world.setup().cluster.pools.iter().any(|pool| pool.count < pool.max);
    let each = world.setup().controllers.iter();
    let longest = each.map(|it| if grows { it.startup_max_ms } else { it.startup_timeout_ms }).max();
    longest.unwrap_or(0)
}

fn broken(duty: Duty) -> (Invariant, &'static str) {
    match duty {
        Duty::SayThatItFailed => (Invariant::StopsForAReason, "its launch is over"),
        Duty::GiveUp => (Invariant::StopsForAReason, "its worker has not come"),
        Duty::TellTheLoss => (Invariant::LossTold, "its worker has ended without a word"),
        Duty::Delete => (Invariant::NoLeak, "its Job can't start any more and is there"),
    }
}
