//! What every policy promises, put to each of them.

use proptest::prelude::*;
use scalr_protocol::{
    agent::Action,
    id::{AccountId, EnvironmentId, Fence, TaskId, WorkspaceId},
};

use super::{
    Capacity, HoldReason, LiveTasks, Memory, POLICIES, Plan, Queued, Scheduler, SchedulerOptions, View,
    by_name, limits, names,
};
use crate::clock::Millis;

#[derive(Clone, Debug)]
struct Waiting {
    task: TaskId,
    workspace: WorkspaceId,
    environment: EnvironmentId,
    account: AccountId,
    priority: i32,
    queued_at: u64,
    blocked: Option<HoldReason>,
}

fn waiting() -> impl Strategy<Value = Vec<Waiting>> {
    let one = (0_u8..4, -2_i32..3, 0_u64..50, prop::bool::weighted(0.2));
    prop::collection::vec(one, 0..60).prop_map(|tasks| {
        let task = |(n, (ws, priority, queued_at, is_blocked)): (usize, (u8, i32, u64, bool))| Waiting {
            task: TaskId::new(&format!("t{n}")).unwrap(),
            workspace: WorkspaceId::new(&format!("ws-{ws}")).unwrap(),
            environment: EnvironmentId::new("env-1").unwrap(),
            account: AccountId::new("acc-1").unwrap(),
            priority,
            queued_at,
            blocked: is_blocked.then_some(HoldReason::Paused),
        };
        tasks.into_iter().enumerate().map(task).collect()
    })
}

fn view<'a>(waiting: &'a [Waiting], options: &'a SchedulerOptions, free: u32) -> View<'a> {
    let queued = |w: &'a Waiting| Queued {
        task: &w.task,
        fence: Fence::FIRST,
        action: Action::Plan,
        workspace: &w.workspace,
        environment: &w.environment,
        account: &w.account,
        priority: w.priority,
        queued_at: Millis(w.queued_at),
        blocked: w.blocked.as_ref(),
    };
    View {
        now: Millis(100),
        options,
        queue: waiting.iter().map(queued).collect(),
        live: LiveTasks::new(Box::new(Vec::new)),
        capacity: Capacity { free, limit: HoldReason::InFlightCap { cap: free } },
        ended: &[],
    }
}

proptest! {
    #[test]
    fn each_task_stands_in_a_plan_once_and_no_more_are_launched_than_fit(
        waiting in waiting(), free in 0_u32..80,
    ) {
        let options = SchedulerOptions::default();
        for policy in POLICIES {
            let view = view(&waiting, &options, free);
            let plan = policy.plan(&view, &mut Memory::default());
            prop_assert_eq!(limits::check(&view.queue, &view.capacity, &plan), Ok(()), "{}", policy.name());
            for (task, reason) in &plan.hold {
                let blocked = waiting.iter().find(|w| w.task == *task).and_then(|w| w.blocked.as_ref());
                prop_assert!(blocked.is_none_or(|blocked| blocked == reason));
            }
        }
    }

    #[test]
    fn no_slot_stays_free_that_somebody_could_use(waiting in waiting(), free in 0_u32..80) {
        let options = SchedulerOptions::default();
        let ready = waiting.iter().filter(|w| w.blocked.is_none()).count();
        for policy in POLICIES {
            let plan = policy.plan(&view(&waiting, &options, free), &mut Memory::default());
            prop_assert_eq!(plan.launch.len(), ready.min(free as usize), "{}", policy.name());
        }
    }

    #[test]
    fn the_same_view_makes_the_same_plan(waiting in waiting(), free in 0_u32..80) {
        let options = SchedulerOptions::default();
        for policy in POLICIES {
            let plan = || policy.plan(&view(&waiting, &options, free), &mut Memory::default());
            prop_assert_eq!(plan(), plan(), "{}", policy.name());
        }
    }

    #[test]
    fn fifo_lets_nobody_of_the_same_priority_overtake(waiting in waiting(), free in 0_u32..80) {
        let options = SchedulerOptions::default();
        let plan = super::fifo::Fifo.plan(&view(&waiting, &options, free), &mut Memory::default());
        let rank = |task: &TaskId| {
            let at = waiting.iter().position(|w| w.task == *task).unwrap();
            (std::cmp::Reverse(waiting[at].priority), waiting[at].queued_at, at)
        };
        let last = plan.launch.iter().map(rank).max();
        let held = plan.hold.iter().map(|(task, _)| task);
        let is_free = |task: &TaskId| waiting.iter().any(|w| w.task == *task && w.blocked.is_none());
        let ready = held.clone().filter(|task| is_free(task));
        if let (Some(last), Some(first)) = (last, ready.map(rank).min()) {
            prop_assert!(last < first);
        }
        let order: Vec<_> = held.map(rank).collect();
        prop_assert!(order.is_sorted());
    }
}

#[test]
fn policies_are_found_by_name() {
    assert_eq!(names().collect::<Vec<_>>(), ["fifo"]);
    assert_eq!(by_name("fifo").map(Scheduler::name), Some("fifo"));
    assert!(by_name("lifo").is_none());
}

#[test]
fn a_plan_that_breaks_a_promise_is_told() {
    let options = SchedulerOptions::default();
    let waiting = [Waiting {
        task: TaskId::new("t1").unwrap(),
        workspace: WorkspaceId::new("ws-1").unwrap(),
        environment: EnvironmentId::new("env-1").unwrap(),
        account: AccountId::new("acc-1").unwrap(),
        priority: 0,
        queued_at: 0,
        blocked: Some(HoldReason::Paused),
    }];
    let view = view(&waiting, &options, 1);
    let check = |plan: &Plan| limits::check(&view.queue, &view.capacity, plan);
    assert!(check(&Plan::default()).is_err());
    let task = waiting[0].task.clone();
    assert!(check(&Plan { launch: vec![task.clone()], hold: vec![] }).is_err());
    assert!(check(&Plan { launch: vec![task.clone(), task.clone()], hold: vec![] }).is_err());
    assert_eq!(check(&Plan { launch: vec![], hold: vec![(task, HoldReason::Paused)] }), Ok(()));
}
