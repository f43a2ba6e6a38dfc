//! Every check has teeth: a world that goes as it should, and one thing put into it that should not be.
//!
//! Those that a planted mutant of a brain must break are shown where mutants are hunted.

use fake_scalr::state::status::TaskStatus;
use scalr_core::{
    clock::Millis,
    controller::{Remembered, Status},
    supervisor::effect::StopSignal,
};
use scalr_protocol::{
    agent::{Action, ReleaseReason},
    id::{AgentId, Fence},
    task::Outcome,
};

use super::{Checks, Invariant};
use crate::{
    scenario::Scenario,
    world::{
        World,
        process::ProcessId,
        setup::{RunSetup, TaskNumber},
        snag::CallKind,
        truth::{CreateAnswer, Fact, FactKind, JobOwner},
    },
};

const FIRST: TaskNumber = TaskNumber { run: 0, action: Action::Plan };
const SECOND: TaskNumber = TaskNumber { run: 1, action: Action::Plan };
const THIRD: TaskNumber = TaskNumber { run: 2, action: Action::Plan };
const FENCE: Fence = Fence(1);

/// Three runs, the last of which comes later, and a controller with one slot; nothing goes wrong.
struct Stage {
    world: World,
    checks: Checks,
}

impl Stage {
    fn new() -> Self {
        let mut scenario = Scenario::default();
        let run = |run: u32, at_ms| RunSetup { at_ms, workspace: run, is_dry: true, ..RunSetup::default() };
        scenario.world.runs = vec![run(0, 1_000), run(1, 1_500), run(2, 9_000)];
        scenario.world.controllers[0].capacity = 1;
        Self { world: World::new(scenario.setup(7)), checks: Checks::new(&scenario) }
    }

    /// Goes on until something has happened to the first task.
    fn until(mut self, is_it: impl Fn(&FactKind) -> bool) -> Self {
        for _ in 0..20_000 {
            let record = self.world.step().expect("it happens before all is over");
            self.checks.after(&self.world, record).expect("nothing is wrong so far");
            let has_happened =
                self.world.truth().facts().iter().any(|fact| fact.task == FIRST && is_it(&fact.what));
            self.world.forget_facts();
            if has_happened {
                return self;
            }
        }
        panic!("it does not happen");
    }

    /// Goes on until a moment.
    fn at(mut self, at: Millis) -> Self {
        while self.world.now() < at {
            let record = self.world.step().expect("there is more to come");
            self.checks.after(&self.world, record).expect("nothing is wrong so far");
            self.world.forget_facts();
        }
        self
    }

    /// What the check says of one more thing that happened, or pretends to have.
    fn then(&mut self, task: TaskNumber, what: FactKind) -> Option<Invariant> {
        let fact = Fact { at: self.world.now(), task, what };
        self.checks.now = self.world.now();
        self.checks.fact(&self.world, &fact).err().map(|violation| violation.invariant)
    }

    fn controller(&self) -> ProcessId {
        self.world.controllers().next().expect("there is a controller").1
    }

    fn worker(&self) -> ProcessId {
        self.world.workers().next().expect("there is a worker").1
    }
}

fn is_granted(what: &FactKind) -> bool {
    matches!(what, FactKind::Granted { .. })
}

fn is_made(what: &FactKind) -> bool {
    matches!(what, FactKind::CreateAnswered { .. })
}

fn is_begun(what: &FactKind) -> bool {
    matches!(what, FactKind::CodeBegan { .. })
}

fn door(process: ProcessId, fence: u64, reason: Option<ReleaseReason>) -> FactKind {
    FactKind::DoorSent { process, fence: Fence(fence), reason }
}

#[test]
fn a_door_is_shut_only_for_a_reason_that_is_so() {
    let mut stage = Stage::new().until(is_granted);
    let process = stage.controller();
    assert_eq!(stage.then(FIRST, door(process, 1, None)), Some(Invariant::DoorMeansItsFence), "nobody tried");
    assert_eq!(
        stage.then(FIRST, door(process, 9, Some(ReleaseReason::Rebalance))),
        Some(Invariant::DoorMeansItsFence),
        "another's fence"
    );
    let mut stage = Stage::new().until(is_granted);
    assert_eq!(
        stage.then(FIRST, door(process, 1, Some(ReleaseReason::Drain))),
        Some(Invariant::DoorMeansItsFence),
        "it is not stopping"
    );
    let mut stage = Stage::new().until(is_made);
    assert_eq!(stage.then(FIRST, door(process, 1, None)), None);
}

#[test]
fn what_was_launched_is_never_given_back() {
    let mut stage = Stage::new().until(is_made);
    let process = stage.controller();
    let given_back = door(process, 1, Some(ReleaseReason::Rebalance));
    assert_eq!(stage.then(FIRST, given_back), Some(Invariant::GivenBackUnlaunched));
}

#[test]
fn a_job_is_made_once() {
    let stage = Stage::new().until(is_made);
    let process = stage.controller();
    let again = FactKind::CreateSent { process, fence: FENCE };
    let mut made = stage;
    assert_eq!(made.then(FIRST, again.clone()), Some(Invariant::RefusedOnce));
    let mut refused = Stage::new().until(is_made);
    let answer = CreateAnswer::Refused;
    assert_eq!(refused.then(FIRST, FactKind::CreateAnswered { process, fence: FENCE, answer }), None);
    assert_eq!(refused.then(FIRST, again), Some(Invariant::RefusedOnce));
}

#[test]
fn the_cluster_is_given_the_time_that_it_asks_for() {
    let mut stage = Stage::new().until(is_granted);
    let process = stage.controller();
    stage = stage.until(|what| matches!(what, FactKind::CreateSent { .. }));
    let answer = CreateAnswer::Later { retry_after_ms: 5_000 };
    let answered = FactKind::CreateAnswered { process, fence: FENCE, answer };
    // The brain has not heard of it, so its window is as wide as before.
    assert_eq!(stage.then(FIRST, answered), Some(Invariant::SlowsDown));
    assert_eq!(stage.then(FIRST, FactKind::CreateSent { process, fence: FENCE }), Some(Invariant::SlowsDown));
}

#[test]
fn a_creation_is_not_repeated_in_a_hurry() {
    let mut stage = Stage::new().until(|what| matches!(what, FactKind::CreateSent { .. }));
    let process = stage.controller();
    let again = FactKind::CreateSent { process, fence: FENCE };
    let said: Vec<_> = (0..20).filter_map(|_| stage.then(FIRST, again.clone())).collect();
    assert_eq!(said.first(), Some(&Invariant::BoundedApi));
}

#[test]
fn only_the_job_that_is_meant_is_deleted_and_only_once_its_door_is_shut() {
    let mut stage = Stage::new().until(is_made);
    let process = stage.controller();
    let asked = |process, current, of| FactKind::DeleteAsked {
        process,
        fence: FENCE,
        status: TaskStatus::Leased,
        current: Fence(current),
        is_running: false,
        of,
    };
    assert_eq!(stage.then(FIRST, asked(process, 2, JobOwner::Own)), None);
    assert_eq!(stage.then(FIRST, asked(process, 2, JobOwner::Nobody)), None);
    assert_eq!(stage.then(FIRST, asked(process, 1, JobOwner::Own)), Some(Invariant::DoorBeforeDelete));
    assert_eq!(stage.then(FIRST, asked(process, 2, JobOwner::Another)), Some(Invariant::UidSafety));
    assert_eq!(stage.then(FIRST, asked(process, 2, JobOwner::Foreign)), Some(Invariant::NoForeignTouch));
    let other = ProcessId(99);
    assert_eq!(stage.then(FIRST, asked(other, 1, JobOwner::Own)), Some(Invariant::NoForeignTouch));
}

#[test]
fn room_is_kept() {
    let mut stage = Stage::new().until(is_made).at(Millis(3_000));
    let process = stage.controller();
    let asked = FactKind::JobAsked { process, fence: FENCE };
    assert_eq!(stage.then(SECOND, asked), Some(Invariant::CapRespected));
}

#[test]
fn jobs_of_an_earlier_life_take_room() {
    let mut stage = Stage::new().until(is_made).at(Millis(3_000));
    let process = stage.controller();
    // As a process that has just begun: it has asked for nothing, and finds what is there.
    stage.checks.rooms.clear();
    stage.checks.began(&stage.world, process);
    let asked = FactKind::JobAsked { process, fence: FENCE };
    assert_eq!(stage.then(SECOND, asked), Some(Invariant::CapRespected));
}

#[test]
fn nobody_waits_while_one_who_was_queued_later_is_launched() {
    let mut stage = Stage::new().until(is_made).at(Millis(15_000));
    let process = stage.controller();
    assert!(stage.checks.has_made(process, (FIRST, FENCE)));
    let overtakes = FactKind::CreateSent { process, fence: FENCE };
    assert_eq!(stage.then(THIRD, overtakes), Some(Invariant::NoStarvation));
}

#[test]
fn a_lease_does_not_lapse_while_its_holder_lives() {
    let mut stage = Stage::new().until(is_granted);
    let process = stage.controller();
    let agent = AgentId::new("agent-1").expect("an id");
    let again = FactKind::Granted { agent, process, fence: Fence(2) };
    assert_eq!(stage.then(FIRST, again), Some(Invariant::LaunchLease));
}

#[test]
fn a_task_is_given_away_for_balance_once() {
    let mut stage = Stage::new().until(is_made).at(Millis(15_000));
    let process = stage.controller();
    let away = |fence| FactKind::Released { process, fence, reason: ReleaseReason::Rebalance };
    assert_eq!(stage.then(THIRD, away(Fence(1))), None);
    assert_eq!(stage.then(THIRD, away(Fence(3))), Some(Invariant::RebalanceLaunches));
}

#[test]
fn a_stop_gives_back_what_was_not_launched() {
    let mut stage = Stage::new().until(is_made).at(Millis(5_000));
    let seen = stage.checks.fleet.seats.get_mut(&0).expect("a controller was seen");
    seen.is_draining = true;
    seen.stops_since = Millis(4_000);
    let said = stage.checks.left(&stage.world, 0).expect_err("the second task is held still");
    assert_eq!((said.invariant, said.task), (Invariant::GivenBackUnlaunched, Some(SECOND)));
}

#[test]
fn tasks_are_asked_for_between_the_first_heartbeat_and_the_stop() {
    let mut stage = Stage::new();
    let process = loop {
        stage.world.step().expect("it asks before all is over");
        assert!(stage.world.now() < Millis(60_000), "it asks");
        if let Some((_, process, _)) = stage.world.controllers().next()
            && stage.world.has_just_sent(process, CallKind::Acquire)
        {
            break process;
        }
    };
    let says = |is_ready, is_draining| {
        let status = Status { is_ready, is_draining, ..Status::default() };
        stage.checks.asks_in_turn(&stage.world, process, status).err().map(|said| said.invariant)
    };
    assert_eq!(says(true, false), None);
    assert_eq!(says(false, false), Some(Invariant::AsksInTurn));
    assert_eq!(says(true, true), Some(Invariant::AsksInTurn));
}

#[test]
fn a_controller_finds_out_what_is_there_and_then_works() {
    let Stage { world, mut checks } = Stage::new().until(is_made);
    let process = world.controllers().next().expect("there is a controller").1;
    let after = |checks: &mut Checks, at, status| {
        checks.now = at;
        checks.recovers(&world, process, status).err().map(|said| said.invariant)
    };
    let blind = Status { is_ready: true, ..Status::default() };
    assert_eq!(after(&mut checks, Millis(10_000), blind), None);
    assert_eq!(after(&mut checks, Millis(30_000), blind), None);
    assert_eq!(after(&mut checks, Millis(60_000), blind), Some(Invariant::Recovers));
    let unready = Status { live: 1, ..Status::default() };
    assert_eq!(after(&mut checks, Millis(60_000), unready), Some(Invariant::Recovers));
    let works = Status { live: 1, is_ready: true, ..Status::default() };
    assert_eq!(after(&mut checks, Millis(61_000), works), None);
}

#[test]
fn whoever_is_told_to_stop_has_ended_in_time() {
    let mut stage = Stage::new().until(is_begun);
    let process = stage.worker();
    assert_eq!(stage.then(FIRST, FactKind::Overstayed { process }), Some(Invariant::ShutdownInTime));
    let controller = stage.controller();
    stage.world.truth_mut().overstay(Millis(1), controller);
    let said = stage.checks.controller(&stage.world, 0).expect_err("a controller was killed");
    assert_eq!(said.invariant, Invariant::ShutdownInTime);
}

#[test]
fn output_is_taken_before_a_tool_is_told_to_stop_and_the_tool_is_given_its_time() {
    let signal = |process, signal| FactKind::Signaled { process, signal };
    let mut stage = Stage::new().until(is_begun);
    let process = stage.worker();
    let interrupt = signal(process, StopSignal::Interrupt);
    assert_eq!(stage.then(FIRST, interrupt.clone()), Some(Invariant::DrainBeforeSignal));
    let mut stage = Stage::new().until(is_begun);
    assert_eq!(stage.then(FIRST, FactKind::Drained { process }), None);
    assert_eq!(stage.then(FIRST, signal(process, StopSignal::Kill)), Some(Invariant::OneInterrupt));
    assert_eq!(stage.then(FIRST, signal(process, StopSignal::Terminate)), Some(Invariant::OneInterrupt));
    let mut stage = Stage::new().until(is_begun);
    assert_eq!(stage.then(FIRST, FactKind::Drained { process }), None);
    // That there is no reason for it at all is another promise's.
    assert_eq!(stage.then(FIRST, interrupt), Some(Invariant::StopsForAReason));
    let now = stage.world.now();
    stage.checks.tasks.entry(FIRST).or_default().signaled.insert(process, now);
    let too_soon = stage.then(FIRST, signal(process, StopSignal::Kill));
    assert_eq!(too_soon, Some(Invariant::OneInterrupt));
}

#[test]
fn without_contact_work_is_stopped_in_time() {
    let mut stage = Stage::new().until(is_begun);
    let process = stage.worker();
    let lost_ms = stage.world.scalr().settings().timings.lost_after_ms;
    // As if nothing had been heard since it began.
    stage.checks.now = Millis(lost_ms) + stage.world.now().0;
    let said = stage.checks.stops_in_time(&stage.world, FIRST, process).expect_err("it is too late");
    assert_eq!(said.invariant, Invariant::StopsInTime);
}

#[test]
fn a_state_that_was_left_is_uploaded_and_the_last_word_is_said() {
    let mut stage = Stage::new().until(|what| matches!(what, FactKind::Ended { .. }));
    let process = stage.worker();
    let finish =
        FactKind::FinishSent { process, outcome: Outcome::Succeeded, exit_code: Some(0), log_bytes: 0 };
    assert_eq!(stage.then(FIRST, finish.clone()), None);
    assert_eq!(stage.then(FIRST, FactKind::StateLeft { process }), None);
    assert_eq!(stage.then(FIRST, finish), Some(Invariant::StateKept));

    let mut stage = Stage::new().until(is_begun);
    let process = stage.worker();
    let pod = stage.checks.tasks[&FIRST].pod.expect("it was confirmed in a pod");
    let ended = FactKind::WorkerEnded { process, pod, exit_code: 1 };
    assert_eq!(stage.then(FIRST, ended.clone()), Some(Invariant::LastWord), "it leaves without a word");
    let watched = stage.checks.tasks.entry(FIRST).or_default();
    watched.said.push((process, Outcome::Succeeded, 0));
    assert_eq!(stage.then(FIRST, ended), Some(Invariant::LastWord), "its word is not recorded");
}

#[test]
fn lost_is_not_declared_early_while_a_container_runs() {
    let mut stage = Stage::new().until(is_begun);
    let ended = FactKind::Ended { status: TaskStatus::Lost, outcome: None, was_confirmed: true };
    assert_eq!(stage.then(FIRST, ended), Some(Invariant::NoShortenedLost));
}

#[test]
fn no_stage_begins_twice_nor_before_the_confirm() {
    let mut stage = Stage::new().until(is_begun);
    let process = stage.worker();
    let code = stage.world.truth().task(FIRST).expect("it was queued").code[0];
    let begins = |is_confirmed| FactKind::CodeBegan {
        process,
        pod: code.pod,
        fence: FENCE,
        stage: code.stage,
        is_confirmed,
    };
    assert_eq!(stage.then(FIRST, begins(false)), Some(Invariant::AtMostOnce));
    // As if it were there twice.
    stage.world.truth_mut().note(Millis(60_000), FIRST, begins(true));
    assert_eq!(stage.then(FIRST, begins(true)), Some(Invariant::AtMostOnce));
}

#[test]
fn a_brain_remembers_what_lives() {
    let stage = Stage::new().until(is_made);
    let process = stage.controller();
    let says = |remembered| {
        stage.checks.remembers_at_most(process, remembered, 2, 5).err().map(|said| said.invariant)
    };
    assert_eq!(says(Remembered { entries: 2, objects: 2, timers: 5, ..Remembered::default() }), None);
    let too_much = [
        Remembered { entries: 3, ..Remembered::default() },
        Remembered { objects: 3, ..Remembered::default() },
        Remembered { doors: 3, ..Remembered::default() },
        Remembered { calls: 6, ..Remembered::default() },
        Remembered { timers: 6, ..Remembered::default() },
    ];
    assert!(too_much.into_iter().all(|remembered| says(remembered) == Some(Invariant::BoundedMemory)));
}

#[test]
fn every_promise_has_a_name_of_its_own_and_says_what_it_is() {
    let mut names: Vec<_> = Invariant::ALL.iter().map(|invariant| invariant.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Invariant::ALL.len());
    assert!(Invariant::ALL.iter().all(|invariant| invariant.about().ends_with('.')));
    let why: Vec<_> = Invariant::ALL.iter().filter(|invariant| invariant.why_not().is_some()).collect();
    assert_eq!(why, [&Invariant::PolicyPure, &Invariant::Fairness, &Invariant::BoundedLatency]);
}
