//! What holds whatever anybody says, in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::desk::Desk;
use crate::state::{
    Command, State,
    status::{RunStatus, TaskStatus},
    tasks::{Phase, Task},
};

impl Desk {
    /// Everything that must hold between two commands.
    #[track_caller]
    pub(super) fn holds(&mut self) {
        self.fences_grow_and_tasks_are_confirmed_once();
        self.tables_say_what_tasks_say();
        self.one_run_writes_in_a_workspace();
        self.waits_are_explained();
    }

    fn fences_grow_and_tasks_are_confirmed_once(&mut self) {
        for (id, task) in &self.state.tasks {
            let before = self.fences.insert(id.clone(), task.fence).unwrap_or_default();
            assert!(before <= task.fence, "{id} went from fence {before} to {}", task.fence);
            if let Some(claim) = &task.claim {
                assert_eq!(claim.fence, task.fence, "a claim ends when the fence grows");
            }
        }
        for (id, confirms) in &self.confirms {
            assert_eq!(*confirms, 1, "{id} was confirmed {confirms} times");
            assert!(self.state.tasks[id].is_confirmed(), "{id} was confirmed and queued again");
        }
    }

    fn tables_say_what_tasks_say(&self) {
        let state = &self.state;
        let (mut queued, mut leased) = (BTreeSet::new(), BTreeSet::new());
        let mut unlaunched: BTreeMap<_, u32> = BTreeMap::new();
        for (id, task) in &state.tasks {
            if task.phase == (Phase::Queued { adopt_until_ms: None }) {
                queued.insert((task.action, task.place.clone()));
            }
            if let (Phase::Leased { .. }, Some(agent)) = (&task.phase, &task.agent) {
                leased.insert((agent.clone(), id.clone()));
                if !task.has_job {
                    *unlaunched.entry(agent.clone()).or_default() += 1;
                }
            }
        }
        let in_queue =
            state.queue.iter().flat_map(|(action, places)| places.iter().map(|p| (*action, p.clone())));
        assert_eq!(in_queue.collect::<BTreeSet<_>>(), queued);
        let in_leases =
            state.leases.iter().flat_map(|(agent, tasks)| tasks.iter().map(|t| (agent.clone(), t.clone())));
        assert_eq!(in_leases.collect::<BTreeSet<_>>(), leased);
        assert_eq!(state.unlaunched, unlaunched);
        let timers = state.timers.len();
        let tasks = state.tasks.values().filter(|task| task.due_ms().is_some()).count();
        assert_eq!(timers, tasks + state.agents.len());
    }

    fn one_run_writes_in_a_workspace(&self) {
        let mut writers = BTreeSet::new();
        for run in self.state.runs(None) {
            let is_active = !run.status.is_terminal() && run.status != RunStatus::Pending && !run.is_dry;
            assert!(
                !is_active || writers.insert(run.workspace.clone()),
                "two runs write in {}",
                run.workspace_name
            );
        }
        let mut busy = BTreeSet::new();
        for task in self.state.tasks.values().filter(|task| !task.is_terminal()) {
            assert!(!self.state.runs[&task.run].status.is_terminal(), "a task outlives its run");
            assert!(busy.insert(&task.run), "a run has two tasks at once");
        }
    }

    fn waits_are_explained(&self) {
        for run in self.state.runs_queue() {
            let runs = matches!(run.status, RunStatus::Planning | RunStatus::Applying);
            assert!(runs || run.waiting_reason.is_some(), "{} is {} and says not why", run.id, run.status);
        }
        for run in self.state.runs(None) {
            assert!(run.status != RunStatus::Errored || run.error_message.is_some());
        }
    }
}

/// Waiting connections are no facts.
fn facts(state: &State) -> State {
    let mut state = state.clone();
    state.waiters.clear();
    state
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(words)
}

fn line() -> impl Strategy<Value = String> {
    let agent = || one_of(&["a", "b"]);
    let worker = || one_of(&["v", "w", "x"]);
    let task = || one_of(&["t1", "t2", "t3"]);
    let run = || one_of(&["r1", "r2", "r3"]);
    let fence = || one_of(&["1", "1", "2", "3", "4", "5"]);
    prop_oneof![
        (agent(), one_of(&["", "instance=new", "key=k"])).prop_map(|(a, o)| format!("register {a} {o}")),
        (agent(), fence(), fence(), one_of(&["", "draining", "slots=2"]))
            .prop_map(|(a, f, g, o)| format!("beat {a} t1@{f} t2@{g} {o}")),
        agent().prop_map(|a| format!("leave {a}")),
        (agent(), one_of(&["", "wait=30000", "slots=2", "key=k", "ahead=3"]))
            .prop_map(|(a, o)| format!("acquire {a} {o}")),
        (agent(), task(), fence(), one_of(&["held full", "job-created", "pulling"]))
            .prop_map(|(a, t, f, k)| format!("events {a} {t} {f} {k}")),
        (agent(), task(), fence(), one_of(&["", "rebalance"]))
            .prop_map(|(a, t, f, o)| format!("release {a} {t} {f} {o}")),
        (agent(), task(), fence(), one_of(&["", "", "final"]))
            .prop_map(|(a, t, f, o)| format!("failed {a} {t} {f} {o}")),
        (agent(), task(), fence(), one_of(&["", "ended"]))
            .prop_map(|(a, t, f, o)| format!("loss {a} {t} {f} {o}")),
        (worker(), task(), fence()).prop_map(|(w, t, f)| format!("worker {w} {t} {f}")),
        (worker(), task(), fence(), one_of(&["", "key=k"]))
            .prop_map(|(w, t, f, o)| format!("start {w} {t} {f} {o}")),
        worker().prop_map(|w| format!("lease {w}")),
        worker().prop_map(|w| format!("lease {w}")),
        (worker(), one_of(&["0", "1", "2"]), one_of(&["1", "2"]))
            .prop_map(|(w, a, n)| format!("log {w} {a} {n}")),
        (worker(), one_of(&["plan-file", "plan-json"]), one_of(&["x", "y"]))
            .prop_map(|(w, k, d)| format!("put {w} {k} {d}")),
        (worker(), one_of(&["succeeded", "failed", "canceled", "succeeded unchanged"]), 0..4u8)
            .prop_map(|(w, o, n)| format!("finish {w} {o} log={n}")),
        (worker(), one_of(&["lock", "unlock"]), one_of(&["A", "B"]))
            .prop_map(|(w, v, i)| format!("{v} {w} id={i}")),
        (worker(), 1..4u8, one_of(&["", "id=A", "id=B"]))
            .prop_map(|(w, n, i)| format!("post {w} {n} d{n} {i}")),
        one_of(&["", "auto", "dry", "of=other", "key=k"]).prop_map(|o| format!("run {o}")),
        run().prop_map(|r| format!("approve {r}")),
        run().prop_map(|r| format!("discard {r}")),
        (run(), one_of(&["", "force"])).prop_map(|(r, o)| format!("cancel {r} {o}")),
        one_of(&["lock-workspace", "unlock-workspace", "unlock admin", "restart", "tick", "revoke"])
            .prop_map(str::to_owned),
    ]
}

/// Mostly quick, now and then long enough for every timer.
fn pause() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..2u32, 3 => 5..40u32, 2 => 60..100u32, 1 => 1_700..2_000u32, 1 => 80_000..90_000u32]
}

/// A run that goes well, so that what comes late is reached too.
const GOES_WELL: [&str; 8] = [
    "0 register a",
    "0 run auto",
    "0 acquire a",
    "0 events a t1 1 job-created",
    "0 worker w t1 1",
    "0 start w t1 1 key=k",
    "0 lease w",
    "0 run",
];

fn scripts() -> impl Strategy<Value = (usize, Vec<(u32, String)>)> {
    (0..=GOES_WELL.len(), proptest::collection::vec((pause(), line()), 1..60))
}

/// Plays a script, looking after each line.
fn play(begun: usize, script: &[(u32, String)], mut look: impl FnMut(&mut Desk, &State)) -> Desk {
    let mut desk = Desk::new();
    for line in &GOES_WELL[..begun] {
        desk.line(line);
    }
    let mut second = 0;
    for (pause, line) in script {
        second += pause;
        let before = desk.state.clone();
        desk.line(&format!("{second} {line}"));
        look(&mut desk, &before);
    }
    desk
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn tasks_are_confirmed_once_and_tables_agree((begun, script) in scripts()) {
        play(begun, &script, |desk, _| desk.holds());
    }

    #[test]
    fn what_does_not_count_as_a_change_changes_nothing((begun, script) in scripts()) {
        play(begun, &script, |desk, before| {
            if desk.state.version() == before.version() {
                assert_eq!(facts(&desk.state), facts(before));
            }
            assert!(desk.state.wake() == before.wake() || desk.state.version() != before.version());
        });
    }

    #[test]
    fn a_refusal_changes_nothing_but_what_the_timers_change((begun, script) in scripts()) {
        play(begun, &script, |desk, before| {
            let Some((stamp, command)) = desk.all.last() else { return };
            let (mut refused, mut ticked) = (before.clone(), before.clone());
            if refused.apply(stamp, command.clone()).is_err() {
                ticked.apply(stamp, Command::Tick).unwrap();
                assert_eq!(refused, ticked);
            }
        });
    }

    #[test]
    fn a_journal_brings_everything_back((begun, script) in scripts()) {
        let desk = play(begun, &script, |_, _| {});
        let replay = |journal: &[(crate::state::Stamp, Command)]| {
            let mut state = State::new(crate::state::Settings::default());
            for (stamp, command) in journal {
                let text = serde_json::to_string(command).unwrap();
                drop(state.apply(stamp, serde_json::from_str(&text).unwrap()));
            }
            state
        };
        prop_assert_eq!(&replay(&desk.all), &desk.state);
        prop_assert_eq!(facts(&replay(&desk.journal)), facts(&desk.state));
        let snapshot: State = serde_json::from_str(&serde_json::to_string(&desk.state).unwrap()).unwrap();
        prop_assert_eq!(&snapshot, &desk.state);
    }

    #[test]
    fn a_tick_at_the_next_deadline_makes_progress((begun, script) in scripts()) {
        let mut desk = play(begun, &script, |_, _| {});
        let mut last_ms = 0;
        // Every task is terminal or queued, and every agent forgotten, after a few steps each.
        for _ in 0..200 {
            let Some(due_ms) = desk.state.next_deadline_ms() else { break };
            prop_assert!(due_ms > last_ms || last_ms == 0, "{} fired and is due again", due_ms);
            let version = desk.state.version();
            let stamp = crate::state::Stamp { now_ms: due_ms, ..desk.stamp() };
            desk.state.apply(&stamp, Command::Tick).unwrap();
            prop_assert!(desk.state.version() > version);
            desk.holds();
            last_ms = due_ms;
        }
        prop_assert_eq!(desk.state.next_deadline_ms(), None);
        let rests = |task: &Task| {
            matches!(task.status(), TaskStatus::Queued | TaskStatus::Finished | TaskStatus::Lost)
        };
        prop_assert!(desk.state.tasks.values().all(rests));
    }
}
