//! Room: a controller makes no more Jobs than fit, and none twice.

use std::collections::{BTreeMap, BTreeSet};

use scalr_core::cluster::{Container, Job, Pod, Uid};
use scalr_protocol::id::{Fence, TaskId};

use super::{Checked, Checks, Invariant};
use crate::words;
use crate::world::{World, process::ProcessId, setup::TaskNumber, snag::CallKind};

/// What one process of a controller must reckon with.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    /// The Jobs that were stored when it began: its first list shows them all.
    found: BTreeSet<Uid>,
    /// For which tasks, under which fences, it has asked for a Job.
    asked: BTreeMap<TaskNumber, Fence>,
}

impl Checks {
    /// A process that was never seen before has begun.
    pub(super) fn began(&mut self, world: &World, process: ProcessId) {
        let found = world.cluster().jobs().map(|job| job.uid.clone()).collect();
        self.rooms.insert(process, Room { found, asked: BTreeMap::new() });
    }

    /// The creation of a Job is at the API server's door.
    pub(super) fn job_asked(
        &mut self,
        world: &World,
        number: TaskNumber,
        process: ProcessId,
        fence: Fence,
    ) -> Checked {
        let Some(id) = world.truth().task(number).and_then(|task| task.id.as_ref()) else { return Ok(()) };
        self.fleet.job_asked(self.now);
        self.capacity(world, number, process, fence)?;
        self.one_job(world, number, id, fence)
    }

    /// A controller asks for no more Jobs than it has room for: those that it has made or is making, and
    /// those that were there when it began. What others make meanwhile it can't know in time.
    fn capacity(&mut self, world: &World, number: TaskNumber, process: ProcessId, fence: Fence) -> Checked {
        let Some(seat) = world.controllers().find(|(_, id, _)| *id == process).map(|(seat, ..)| seat) else {
            // Who asked is dead already.
            return Ok(());
        };
        let capacity = world.setup().controllers.get(seat as usize).map_or(0, |setup| setup.capacity);
        self.rooms.entry(process).or_default().asked.insert(number, fence);
        let room = &self.rooms[&process];
        let mut taken: BTreeSet<(TaskNumber, Fence)> = BTreeSet::from([(number, fence)]);
        for job in world.cluster().jobs() {
            let Some(of) = world.truth().number_of(&job.task) else { continue };
            let is_known = room.found.contains(&job.uid) || room.asked.get(&of) == Some(&job.fence);
            // Where a pod ends without an end of its Job, another may follow it, and that is heard of late.
            // So is a Job that a user has put in the place of one that was made.
            let is_sure = !world.cluster().has_lost_pods(&job.uid) && !self.is_deleted(of);
            if is_known && is_sure && !is_over(world, job) {
                taken.insert((of, job.fence));
            }
        }
        // Those that are being made right now may be there in a moment.
        let in_flight = world.calls_of(process).filter(|(kind, _)| *kind == CallKind::CreateJob);
        for of in in_flight.filter_map(|(_, of)| of) {
            taken.extend(room.asked.get(&of).map(|fence| (of, *fence)));
        }
        let wanted = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        self.require(wanted <= capacity, Invariant::CapRespected, number, || {
            format!(
                "{process} makes its {} Job at once, and may have {capacity}",
                words::ordinal(u64::from(wanted))
            )
        })
    }

    fn one_job(&self, world: &World, number: TaskNumber, id: &TaskId, fence: Fence) -> Checked {
        let made = world.cluster().jobs_made().get(&(id.clone(), fence)).copied().unwrap_or(0);
        // Where others delete its Jobs, one that was asked for and never heard of may be made again; one that
        // was heard of is not, by a rule of its own.
        self.require(made <= 1 || self.is_deleted(number), Invariant::CapRespected, number, || {
            format!("{made} Jobs were made for its fence {}", fence.0)
        })
    }
}

/// Whether nothing of a Job runs or will: it takes no room.
pub(super) fn is_over(world: &World, job: &Job) -> bool {
    let mut pods = world.cluster().pods().filter(|(_, pod)| pod.job_uid == job.uid).peekable();
    if job.end.is_some() {
        return !pods.any(|(_, pod)| is_running(pod));
    }
    pods.peek().is_some() && pods.all(|(_, pod)| pod.is_proved_over())
}

fn is_running(pod: &Pod) -> bool {
    pod.worker == Container::Running || pod.runner == Container::Running
}
