//! What a worker owes while it works, and a controller to what it watches: a runner before the claim, one
//! call at a time, contact, a stop for a reason and in its time, and no trust in silence.

use std::collections::BTreeSet;

use fake_scalr::state::status::TaskStatus;
use scalr_core::{
    clock::Millis,
    cluster::{Pod, TroubleKind},
    supervisor::effect::Stage,
};
use scalr_protocol::id::Fence;

use super::{Checked, Checks, Invariant, hands::status_of};
use crate::{
    fault::FaultId,
    world::{
        World,
        process::ProcessId,
        setup::TaskNumber,
        snag::{CallKind, Strike},
        truth::{FiredWhat, TaskTruth, UserCode},
    },
};

/// A brain that is awake does what is due at once; the slowest way to Scalr without trouble adds to that.
const SOON_MS: u64 = 2_000;

/// A poll pauses for a second, and a killed tool dies within another.
const FORCED_MS: u64 = 5_000;

/// Who lost his runner waits five seconds for its last word, and then says his own.
const WORDLESS_MS: u64 = 60_000;

/// A watch that says nothing for five minutes is replaced; a controller looks at least every twenty seconds.
const SILENCE_MS: u64 = 330_000;

impl Checks {
    /// A worker has taken a step.
    pub(super) fn duties(&self, world: &World, number: TaskNumber) -> Checked {
        let Some(watched) = self.tasks.get(&number) else { return Ok(()) };
        for process in watched.began.keys() {
            let is_one = |kind| world.calls_of(*process).filter(|(of, _)| *of == kind).count() <= 1;
            let holds = is_one(CallKind::Append) && is_one(CallKind::Finish) && is_one(CallKind::Renew);
            self.require(holds, Invariant::BoundedApi, number, || {
                format!("{process} makes a call of a kind before the last was answered")
            })?;
        }
        self.keeps_in_touch(world, number)?;
        let Some((process, died)) = watched.runner_died else { return Ok(()) };
        let is_mute = world.clock_of(process).is_some()
            && watched.said.iter().all(|(who, ..)| *who != process)
            && !self.is_scalr_troubled()
            && !self.loses_time(number);
        self.require(!is_mute || self.now <= died + WORDLESS_MS, Invariant::LastWord, number, || {
            format!("the runner of {process} died at {died}, and it has not said yet how it ended")
        })
    }

    /// Whoever works or has something to deliver keeps his lease, where nothing keeps him from Scalr.
    fn keeps_in_touch(&self, world: &World, number: TaskNumber) -> Checked {
        let (Some(watched), Some(truth)) = (self.tasks.get(&number), world.truth().task(number)) else {
            return Ok(());
        };
        if truth.end.is_some() || self.is_scalr_troubled() || self.loses_time(number) {
            return Ok(());
        }
        let lease_ms = world.scalr().settings().timings.lease_ttl_ms;
        for (process, acked) in &watched.acked {
            let holds = self.now <= *acked + lease_ms || world.clock_of(*process).is_none();
            self.require(holds, Invariant::LaunchLease, number, || {
                format!("{process} is there, and was last heard by what it sent at {acked}")
            })?;
        }
        Ok(())
    }

    /// A task is claimed.
    pub(super) fn runner_first(&self, world: &World, number: TaskNumber, process: ProcessId) -> Checked {
        let pod = self.tasks.get(&number).and_then(|watched| watched.began.get(&process));
        let has_answered = pod.is_none_or(|pod| world.has_runner_answered(*pod));
        self.require(has_answered, Invariant::RunnerFirst, number, || {
            format!("{process} claims it, and its runner has not answered yet")
        })
    }

    /// A worker signals what runs, for the first time.
    pub(super) fn has_a_reason(&self, world: &World, number: TaskNumber, process: ProcessId) -> Checked {
        let (Some(watched), Some(truth)) = (self.tasks.get(&number), world.truth().task(number)) else {
            return Ok(());
        };
        let is_canceled = [false, true].iter().any(|by_force| self.is_canceled(number, *by_force));
        let is_told = is_canceled || watched.stopped || truth.end.is_some();
        if is_told || watched.signaled.contains_key(&process) || self.loses_time(number) {
            return Ok(());
        }
        let lost_ms = world.scalr().settings().timings.lost_after_ms;
        let stop_ms = world.setup().workers.options.stop_timeout_ms.min(lost_ms / 2);
        let acked = watched.acked.get(&process).copied().unwrap_or_default();
        let is_alone = self.now + SOON_MS >= acked + (lost_ms - stop_ms);
        let is_late = timeout(world, number, truth).is_some_and(|(due, _)| self.now + SOON_MS >= due);
        self.require(is_alone || is_late, Invariant::StopsForAReason, number, || {
            format!("{process} stops its work, was last heard by what it sent at {acked}, and nobody said so")
        })
    }

    /// A command that was told to stop has ended: it was not waited for beyond its time.
    fn is_killed_in_time(&self, world: &World, number: TaskNumber, code: &UserCode) -> Checked {
        let Some(watched) = self.tasks.get(&number) else { return Ok(()) };
        let is_sure = world.clock_of(code.process).is_some() && !self.loses_time(number);
        let Some(told) = watched.signaled.get(&code.process).copied().filter(|_| is_sure) else {
            return Ok(());
        };
        let options = &world.setup().workers.options;
        let is_hook = matches!(code.stage, Stage::Hooks(_));
        let given_ms = if is_hook {
            options.hook_interrupt_ms + options.hook_terminate_ms
        } else {
            // Whoever is told to stop with its pod has as long as that.
            options.stop_timeout_ms.max(watched.grace_ms.map_or(0, |(_, most)| most))
        };
        let due = told + given_ms + SOON_MS;
        self.require(self.now <= due, Invariant::StopsForAReason, number, || {
            format!("{} was told to stop at {told}, and is not killed until now", code.stage.name())
        })
    }

    /// A command of a worker that lives has ended.
    pub(super) fn ends_in_time(&mut self, world: &World, number: TaskNumber, code: &UserCode) -> Checked {
        self.is_killed_in_time(world, number, code)?;
        let process = code.process;
        let is_sure = world.clock_of(process).is_some()
            && code.stage != Stage::PushState
            && !self.is_scalr_troubled()
            && !self.loses_time(number);
        let Some(truth) = world.truth().task(number).filter(|truth| is_sure && truth.end.is_none()) else {
            return Ok(());
        };
        let now = self.now;
        let watched = self.tasks.entry(number).or_default();
        let told = watched.signaled.get(&process).copied();
        if code.exit_code == Some(super::last_word::KILLED) && told.is_none() {
            watched.runner_died.get_or_insert((process, now));
        }
        if let Some(canceled) = canceled(world, number, truth) {
            let due = canceled + FORCED_MS;
            let holds = now <= due || told.is_some_and(|told| told <= due);
            self.require(holds, Invariant::CancelHonoured, number, || {
                format!("{} runs until now, and was canceled at {canceled}", code.stage.name())
            })?;
        }
        if let Some((_, due)) = timeout(world, number, truth) {
            let holds = now <= due + SOON_MS || told.is_some_and(|told| told <= due + SOON_MS);
            self.require(holds, Invariant::StopsForAReason, number, || {
                format!("{} runs, and its time was over at {due}", code.stage.name())
            })?;
        }
        if let Some(forced) = forced(world, number).filter(|forced| *forced >= code.from) {
            self.require(now <= forced + FORCED_MS, Invariant::CancelHonoured, number, || {
                format!("{} ends only now, and was canceled by force at {forced}", code.stage.name())
            })?;
        }
        let acked = self.tasks.get(&number).and_then(|watched| watched.acked.get(&process)).copied();
        let lease_ms = world.scalr().settings().timings.lease_ttl_ms;
        let is_heard = acked.is_none_or(|acked| now <= acked + lease_ms);
        self.require(is_heard, Invariant::LaunchLease, number, || {
            format!("{process} works, and was last heard by what it sent at {}", acked.unwrap_or_default())
        })
    }

    /// A controller has taken a step: no watch of it has said nothing for too long.
    pub(super) fn silence_ends(&self, world: &World, process: ProcessId) -> Checked {
        let is_sure = !self.any(&[FaultId::A10, FaultId::A11, FaultId::A12]);
        let Some(since) = world.hears_nothing_since(process).filter(|_| is_sure) else { return Ok(()) };
        if self.now <= since + SILENCE_MS {
            return Ok(());
        }
        let what = format!("{process} listens to a watch that has said nothing since {since}");
        Err(self.broken(Invariant::SilenceEnds, None, what))
    }
}

/// For how long a launch may go on after its time is over: a timer, and a call.
const LAUNCH_MS: u64 = 30_000;

/// What is said of a pod is known by then.
const KNOWN_MS: u64 = 10_000;

/// The kinds that take machines away, or change when others come.
pub(super) const OF_NODES: [FaultId; 14] = [
    FaultId::N1,
    FaultId::N2,
    FaultId::N3,
    FaultId::N4,
    FaultId::N5,
    FaultId::N6,
    FaultId::N7,
    FaultId::N8,
    FaultId::N9,
    FaultId::C1,
    FaultId::C2,
    FaultId::C3,
    FaultId::C4,
    FaultId::C5,
];

impl Checks {
    /// A controller has taken a step: it has given up what takes too long to start, where no node can be
    /// waited for.
    pub(super) fn gives_launches_up(&self, world: &World, process: ProcessId) -> Checked {
        let grows = world.setup().cluster.pools.iter().any(|pool| pool.count < pool.max);
        let is_sure = !grows
            && !self.is_scalr_troubled()
            && !self.any(&OF_NODES)
            && !self.any(&[FaultId::S13, FaultId::A10, FaultId::A11, FaultId::A12])
            && status_of(world, process).is_some_and(|status| status.is_ready && !status.is_draining);
        if !is_sure {
            return Ok(());
        }
        let (Some(timeout_ms), Some(hands)) = (startup_ms(world, process), self.hands.get(&process)) else {
            return Ok(());
        };
        for job in world.cluster().jobs() {
            let Some(number) = world.truth().number_of(&job.task) else { continue };
            let Some(made) = hands.made((number, job.fence)) else { continue };
            let Some(glance) = world.scalr().glance(&job.task) else { continue };
            let waits = glance.status == TaskStatus::Leased && glance.fence == job.fence;
            let holds =
                !waits || hands.has_shut((number, job.fence)) || self.now <= made + timeout_ms + LAUNCH_MS;
            self.require(holds, Invariant::StopsForAReason, number, || {
                format!("{process} has made its Job at {made}, and waits for its worker still")
            })?;
        }
        Ok(())
    }

    /// A launch is said to have failed: not for the time that its node takes to come.
    pub(super) fn waits_for_its_node(
        &self,
        world: &World,
        number: TaskNumber,
        (process, fence): (ProcessId, Fence),
    ) -> Checked {
        let made = self.hands.get(&process).and_then(|hands| hands.made((number, fence)));
        let (Some(made), Some(timeout_ms)) = (made, startup_ms(world, process)) else { return Ok(()) };
        let is_early = self.now <= made + timeout_ms + SOON_MS && self.is_calm();
        let coming = self.fleet.coming.get(&number).copied();
        let is_known = coming.is_some_and(|since| self.now >= since + KNOWN_MS);
        self.require(!(is_early && is_known), Invariant::StopsForAReason, number, || {
            format!(
                "{process} gives its launch up, and a node for it is coming since {}",
                coming.unwrap_or_default()
            )
        })
    }

    /// A controller has taken a step: for whom nodes are coming by now.
    pub(super) fn look_for_nodes(&mut self, world: &World) {
        if !self.is_calm() || world.setup().cluster.pools.iter().all(|pool| pool.count >= pool.max) {
            return;
        }
        let comes = |pod: &Pod| pod.trouble.as_ref().is_some_and(|it| it.kind == TroubleKind::ScalingUp);
        let pods = world.cluster().pods().filter(|(_, pod)| comes(pod));
        let waiting: BTreeSet<TaskNumber> =
            pods.filter_map(|(_, pod)| world.truth().number_of(&pod.task)).collect();
        self.fleet.coming.retain(|number, _| waiting.contains(number));
        for number in waiting {
            self.fleet.coming.entry(number).or_insert(self.now);
        }
    }
}

fn startup_ms(world: &World, process: ProcessId) -> Option<u64> {
    let (seat, ..) = world.controllers().find(|(_, id, _)| *id == process)?;
    world.setup().controllers.get(seat as usize).map(|setup| setup.startup_timeout_ms)
}

/// When the time of a task's work is over: not before the first, not after the second. Which run of a
/// workspace has made it, and said so, is not known here.
pub(super) fn timeout(world: &World, number: TaskNumber, truth: &TaskTruth) -> Option<(Millis, Millis)> {
    let runs = &world.setup().runs;
    let own = runs.get(number.run as usize)?;
    let confirmed = truth.confirms.last()?.at;
    let usual_ms = world.scalr().settings().operation_timeout_ms;
    let said = runs.iter().filter(|run| run.workspace == own.workspace);
    let due = said.map(|run| confirmed + run.operation_timeout_ms.unwrap_or(usual_ms));
    Some((due.clone().min()?, due.max()?))
}

/// When its run was canceled while this task was started.
fn canceled(world: &World, number: TaskNumber, truth: &TaskTruth) -> Option<Millis> {
    let confirmed = truth.confirms.last()?.at;
    let is_it =
        |what: &FiredWhat| match what {
            FiredWhat::Strike(place) => world.setup().strikes.get(*place).is_some_and(
                |planned| matches!(planned.what, Strike::Cancel { run, .. } if run == number.run),
            ),
            FiredWhat::Snag { .. } => false,
        };
    let fired = world.truth().fired().iter();
    fired.filter(|fired| is_it(&fired.what)).map(|fired| fired.at).find(|at| *at > confirmed)
}

/// When its run was canceled by force.
fn forced(world: &World, number: TaskNumber) -> Option<Millis> {
    let is_it = |what: &FiredWhat| match what {
        FiredWhat::Strike(place) => world.setup().strikes.get(*place).is_some_and(
            |planned| matches!(planned.what, Strike::Cancel { run, force: true } if run == number.run),
        ),
        FiredWhat::Snag { .. } => false,
    };
    world.truth().fired().iter().find(|fired| is_it(&fired.what)).map(|fired| fired.at)
}
