//! What must hold in every world, whatever goes wrong in it: checked after every event, against what really
//! was, and named as in the project's catalogue.
//!
//! A check costs as much as what has changed, never as much as what there is. In reading order: `task` is
//! what may happen to one task, `fleet` what controllers owe, `rest` what must be left when all is over.
//! It must never look into a brain for what is true: beliefs are only asked for what they explain.

mod excuse;
mod fleet;
mod rest;
mod room;
mod task;

use std::collections::BTreeMap;

use scalr_core::clock::Millis;

use self::{excuse::Excuses, fleet::Fleet, room::Room, task::Watched};
use crate::{
    scenario::Scenario,
    world::{EventRecord, Happening, World, process::ProcessId, setup::TaskNumber},
};

macro_rules! invariants {
    ($($variant:ident $name:literal $about:literal;)+) => {
        /// A promise, by its name in the catalogue; those with R are the issue's own rules.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Invariant {
            $(#[doc = $about] $variant,)+
        }

        impl Invariant {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its id and its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it promises.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)+ }
            }
        }
    };
}

invariants! {
    NoConcurrentExec "I1 NO_CONCURRENT_EXEC" "User code of a task never runs twice at once, nor after Scalr has given the task up.";
    AtMostOnce "I2 AT_MOST_ONCE_AFTER_START" "A task is confirmed once at most, its user code begins only after that, and no stage twice.";
    NoTaskLost "I3 NO_TASK_LOST" "Every task that was queued ends in exactly one outcome.";
    ReportMatchesTruth "I4 REPORT_MATCHES_TRUTH" "The outcome says how it really ended.";
    CapRespected "I5 CAP_RESPECTED" "No controller makes more Jobs than its capacity leaves room for, those in flight counted, nor two for one grant.";
    WorkspaceSerial "I6 WORKSPACE_SERIAL" "Two applies of one workspace never run at once.";
    UidSafety "I7 UID_SAFETY" "No Job is deleted but the one that was meant.";
    NoForeignTouch "I8 NO_FOREIGN_TOUCH" "Nothing of somebody else's is deleted.";
    CancelHonoured "I9 CANCEL_HONOURED" "What is canceled before its start never starts; what runs is stopped in time.";
    NoLeak "I12 NO_LEAK" "At rest there is no Job, pod, lease, call or timer left of what is over.";
    BoundedApi "I13 BOUNDED_API" "A task costs a bounded number of calls, and nothing goes in a circle.";
    BoundedMemory "I14 BOUNDED_MEMORY" "A controller remembers no more than what lives.";
    MonotoneStatus "I15 MONOTONE_STATUS" "What is over stays over, and what was confirmed is never granted again.";
    WorkConserving "I16 WORK_CONSERVING" "No free controller waits 30 s while another holds what it can't launch.";
    Explained "I17 EXPLAINED" "Every task that is held has a reason.";
    AllOver "L1 ALL_TERMINAL" "After everything has healed, every run comes to its end.";
    Converged "L2 ESR" "What has come to rest stays at rest.";
    DoorBeforeDelete "R1 DOOR_BEFORE_DELETE" "No Job is deleted whose task could still start or has started and runs.";
    LogIsPrefix "R2 LOG_GAPLESS_PREFIX" "The log is a prefix of the console, and all of it once the outcome is complete.";
    OneInterrupt "R3 ONE_INTERRUPT" "A tool is told to stop once at most, and given its time.";
    NoShortenedLost "R4 NO_SHORTENED_LOST" "Lost is never declared early while a container of the task runs.";
    RebalanceLaunches "R5 REBALANCE_LAUNCHES" "No task changes hands twice for balance without a launch in between.";
}

impl std::fmt::Display for Invariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When.
    pub at: Millis,
    /// At which event.
    pub step: u64,
    /// About which task, if it is about one.
    pub task: Option<TaskNumber>,
    /// What happened.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {} (event {})", self.invariant, self.at, self.step)?;
        if let Some(task) = self.task {
            write!(f, ", {task}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// So many events of one moment are a circle.
const AT_ONCE_MAX: u64 = 20_000;

/// So many steps of one process in a second are a circle, and so many more for each run.
const A_SECOND_MAX: u64 = 400;
const A_SECOND_MAX_OF_RUN: u64 = 60;

/// Everything that is checked, and what has to be remembered for it.
#[derive(Clone, Debug)]
pub struct Checks {
    excuses: Excuses,
    tasks: BTreeMap<TaskNumber, Watched>,
    fleet: Fleet,
    rooms: BTreeMap<ProcessId, Room>,
    /// The last moment, and how many events it had.
    moment: (Millis, u64),
    /// The last second, and how many steps each process had in it.
    second: (u64, BTreeMap<Happening, u64>),
    marks: BTreeMap<&'static str, u64>,
    now: Millis,
    step: u64,
}

type Checked = Result<(), Violation>;

impl Checks {
    /// What must hold in a world of this scenario.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            excuses: Excuses::of(scenario),
            tasks: BTreeMap::new(),
            fleet: Fleet::new(scenario),
            rooms: BTreeMap::new(),
            moment: (Millis(0), 0),
            second: (0, BTreeMap::new()),
            marks: BTreeMap::new(),
            now: Millis(0),
            step: 0,
        }
    }

    /// What was seen at least once, and how often.
    pub fn marks(&self) -> BTreeMap<&'static str, u64> {
        self.marks.clone()
    }

    /// Checks what a step has changed. The facts are still there.
    pub fn after(&mut self, world: &World, record: EventRecord) -> Checked {
        self.now = record.at;
        self.step = record.number;
        for fact in world.truth().facts() {
            self.fact(world, fact)?;
        }
        self.circles(record)?;
        match record.what {
            Happening::Controller(seat) => self.controller(world, seat),
            Happening::Worker(task) => self.worker(world, task),
            Happening::Scalr
            | Happening::Cluster
            | Happening::Pod
            | Happening::User
            | Happening::Strike
            | Happening::Nobody => Ok(()),
        }
    }

    /// A scenario that has more events than it could have.
    pub fn runs_in_circles(&self, world: &World) -> Violation {
        let what = format!("{} events, and no end", world.steps());
        self.broken(Invariant::BoundedApi, None, what)
    }

    fn circles(&mut self, record: EventRecord) -> Checked {
        let (moment, events) = &mut self.moment;
        if *moment == record.at {
            *events += 1;
            if *events > AT_ONCE_MAX {
                let what = format!("more than {AT_ONCE_MAX} events at one moment");
                return Err(self.broken(Invariant::BoundedApi, None, what));
            }
        } else {
            (*moment, *events) = (record.at, 1);
        }
        if !matches!(record.what, Happening::Controller(_) | Happening::Worker(_)) {
            return Ok(());
        }
        let (second, steps) = &mut self.second;
        if *second != record.at.0 / 1_000 {
            *second = record.at.0 / 1_000;
            steps.clear();
        }
        let count = steps.entry(record.what).or_default();
        *count += 1;
        let most = A_SECOND_MAX + A_SECOND_MAX_OF_RUN * self.fleet.runs();
        if *count > most {
            let what = format!("{:?} took more than {most} steps in a second", record.what);
            return Err(self.broken(Invariant::BoundedApi, None, what));
        }
        Ok(())
    }

    fn broken(&self, invariant: Invariant, task: Option<TaskNumber>, what: String) -> Violation {
        Violation { invariant, at: self.now, step: self.step, task, what }
    }

    fn require(
        &self,
        holds: bool,
        invariant: Invariant,
        task: TaskNumber,
        what: impl FnOnce() -> String,
    ) -> Checked {
        if holds { Ok(()) } else { Err(self.broken(invariant, Some(task), what())) }
    }

    fn mark(&mut self, name: &'static str) {
        *self.marks.entry(name).or_default() += 1;
    }
}
