//! Small pieces that policies are made of.

use scalr_protocol::id::TaskId;

use super::{Capacity, Plan, Queued};

/// Launches the ordered queue from its head while there is room, passing over what is blocked, and holds the
/// rest in that order, each with what it waits for. No slot stays free that an unblocked task could use.
pub fn fill(ordered: &[&Queued<'_>], capacity: &Capacity) -> Plan {
    let mut plan = Plan::default();
    let mut free = capacity.free;
    for queued in ordered {
        if let Some(reason) = queued.blocked {
            plan.hold.push((queued.task.clone(), reason.clone()));
        } else if free > 0 {
            free -= 1;
            plan.launch.push(queued.task.clone());
        } else {
            plan.hold.push((queued.task.clone(), capacity.limit.clone()));
        }
    }
    plan
}

/// Whether each queued task stands in the plan exactly once, and no more are launched than there is room
/// for: what every policy promises. Says what is wrong.
pub fn check(queue: &[Queued<'_>], capacity: &Capacity, plan: &Plan) -> Result<(), String> {
    if plan.launch.len() > capacity.free as usize {
        return Err(format!("{} launched where {} fit", plan.launch.len(), capacity.free));
    }
    let mut planned: Vec<&TaskId> =
        plan.launch.iter().chain(plan.hold.iter().map(|(task, _)| task)).collect();
    let mut queued: Vec<&TaskId> = queue.iter().map(|queued| queued.task).collect();
    planned.sort();
    queued.sort();
    if planned != queued {
        return Err("the plan is not the queue, each task once".to_owned());
    }
    let is_blocked = |task: &TaskId| queue.iter().any(|q| q.task == task && q.blocked.is_some());
    if let Some(task) = plan.launch.iter().find(|task| is_blocked(task)) {
        return Err(format!("{task} is launched though it is blocked"));
    }
    Ok(())
}
