//! Small setups, and what must hold of every world that was let run.

use fake_scalr::state::status::{RunStatus, TaskStatus};
use scalr_core::{clock::Millis, supervisor::effect::Stage};
use scalr_protocol::{agent::Action, task::Outcome};

use super::super::{
    World,
    setup::{ControllerSetup, RunSetup, Setup, TaskNumber},
    truth::TaskTruth,
};

pub(super) const HOUR: Millis = Millis(3_600_000);

pub(super) const PLAN: TaskNumber = TaskNumber { run: 0, action: Action::Plan };
pub(super) const APPLY: TaskNumber = TaskNumber { run: 0, action: Action::Apply };

/// So many runs, one every tenth of a second, each in a workspace of its own.
pub(super) fn runs(count: u32) -> Setup {
    let run = |n| RunSetup { at_ms: 1_000 + u64::from(n) * 100, workspace: n, ..RunSetup::default() };
    Setup { seed: 1, runs: (0..count).map(run).collect(), ..Setup::default() }
}

/// The same with so many controllers.
pub(super) fn with_controllers(count: u32, setup: Setup) -> Setup {
    let controller = |n| ControllerSetup { name: format!("agent-{n}"), ..ControllerSetup::default() };
    Setup { controllers: (0..count).map(controller).collect(), ..setup }
}

/// Lets a world run until its runs are over, and looks whether the promises were kept.
#[track_caller]
pub(super) fn play(setup: Setup, until: Millis) -> World {
    let mut world = World::new(setup);
    let is_over = world.run_until_over(until);
    assert!(is_over, "not over by {until}:\n{}", open_tasks(&world).join("\n"));
    check(&world);
    world
}

fn open_tasks(world: &World) -> Vec<String> {
    let open = world.truth().tasks().filter(|(_, task)| task.end.is_none());
    open.map(|(number, task)| {
        let glance = task.id.as_ref().and_then(|id| world.scalr().glance(id));
        format!("{number}: {glance:?}, {:?}", task.reached)
    })
    .collect()
}

/// The promises, for every task.
#[track_caller]
pub(super) fn check(world: &World) {
    for (number, task) in world.truth().tasks() {
        check_task(number, task);
    }
}

#[track_caller]
fn check_task(number: TaskNumber, task: &TaskTruth) {
    assert!(task.confirms.len() <= 1, "{number} was confirmed twice: {:?}", task.confirms);
    for code in &task.code {
        let confirm = task.confirms.first().unwrap_or_else(|| panic!("{number} ran unconfirmed: {code:?}"));
        assert!(code.process == confirm.process && code.fence == confirm.fence, "{number} ran for another");
        assert!(code.from >= confirm.at, "{number} ran before its confirm");
    }
    let Some(end) = task.end else { return };
    let main = task.code.iter().find(|code| matches!(code.stage, Stage::Plan | Stage::Apply));
    if end.outcome == Some(Outcome::Succeeded) {
        assert_eq!(main.and_then(|code| code.exit_code), Some(0), "{number} did not succeed");
    }
    if end.status == TaskStatus::Lost {
        assert!(!task.confirms.is_empty(), "{number} was lost before its confirm");
    }
}

/// How all runs have ended.
pub(super) fn ends(world: &World) -> Vec<RunStatus> {
    let count = u32::try_from(world.setup().runs.len()).unwrap();
    (0..count).filter_map(|run| world.run_status(run)).collect()
}

#[track_caller]
pub(super) fn assert_applied(world: &World) {
    assert!(ends(world).iter().all(|end| *end == RunStatus::Applied), "{:?}", ends(world));
}
