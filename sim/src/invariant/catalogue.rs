//! The names of all promises, as in the project's catalogue: I for safety, L for liveness after healing, and
//! R for the rules of this agent.

macro_rules! invariants {
    ($($variant:ident $name:literal $about:literal $(($why:literal))?;)+) => {
        /// A promise, by its name in the catalogue; those with R are the agent's own rules.
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

            /// Why it is not looked at while a scenario runs, where it is not.
            pub const fn why_not(self) -> Option<&'static str> {
                match self { $(Self::$variant => invariants!(@why $($why)?),)+ }
            }
        }
    };
    (@why) => { None };
    (@why $why:literal) => { Some($why) };
}

invariants! {
    NoConcurrentExec "I1 NO_CONCURRENT_EXEC"
        "User code of a task never runs twice at once, nor after Scalr has given the task up.";
    AtMostOnce "I2 AT_MOST_ONCE_AFTER_START"
        "A task is confirmed once at most, its user code begins only after that, and no stage twice.";
    NoTaskLost "I3 NO_TASK_LOST" "Every task that was queued ends in exactly one outcome.";
    ReportMatchesTruth "I4 REPORT_MATCHES_TRUTH" "The outcome says how it really ended.";
    CapRespected "I5 CAP_RESPECTED"
        "No controller makes more Jobs than its capacity leaves room for, those in flight counted, nor \
         two for one grant.";
    WorkspaceSerial "I6 WORKSPACE_SERIAL"
        "Two applies of one workspace never run at once: Scalr sees to it, and nobody here undoes it.";
    UidSafety "I7 UID_SAFETY" "No Job is deleted but the one that was meant.";
    NoForeignTouch "I8 NO_FOREIGN_TOUCH" "Nothing of somebody else's is deleted or given back.";
    CancelHonoured "I9 CANCEL_HONOURED"
        "What is canceled before its start never starts; what runs is stopped in time.";
    CacheLimit "I10 CACHE_LIMIT"
        "No cache volume holds more than it can, and what is in use is never evicted.";
    RwoSingleNode "I11 RWO_SINGLE_NODE" "A volume for one node is never on two.";
    NoLeak "I12 NO_LEAK" "At rest there is no Job, pod, lease, call or timer left of what is over.";
    BoundedApi "I13 BOUNDED_API" "A task costs a bounded number of calls, and nothing goes in a circle.";
    BoundedMemory "I14 BOUNDED_MEMORY" "A brain remembers no more than what lives.";
    MonotoneStatus "I15 MONOTONE_STATUS"
        "What is over stays over, and what was confirmed is never granted again.";
    WorkConserving "I16 WORK_CONSERVING"
        "No free controller waits 30 s while another holds what it can't launch.";
    PolicyPure "I16 POLICY_PURE" "The same view makes the same plan."
        ("a property of every policy, tested where they are; two runs of a scenario have one hash");
    Explained "I17 EXPLAINED" "Every task that is held has a reason, and the reason is true.";
    AllOver "L1 ALL_TERMINAL" "After everything has healed, every run comes to its end.";
    Converged "L2 ESR" "What has come to rest stays at rest.";
    NoStarvation "L3 NO_STARVATION"
        "With fifo nobody waits while one who is less urgent, or as urgent and was queued later, is launched.";
    Fairness "L4 FAIRNESS" "When all have work waiting, each gets its share."
        ("there is one policy, which promises order and no shares; comes with those that do");
    BoundedLatency "L5 BOUNDED_LATENCY" "While there is room for all that comes, nobody waits for long."
        ("a property of a whole workload: its own test, without faults, over many arrivals");
    Recovers "L6 RECOVERS"
        "Half a minute after a controller began in calm weather it knows every Job, and asks for work \
         where it has room.";
    ShutdownInTime "L7 SHUTDOWN_IN_TIME" "Whoever is told to stop has ended before his grace has.";
    DoorBeforeDelete "R1 DOOR_BEFORE_DELETE"
        "No Job is deleted whose task could still start or has started and runs.";
    LogIsPrefix "R2 LOG_GAPLESS_PREFIX"
        "The log is a prefix of the console, and all of it once the outcome is complete.";
    OneInterrupt "R3 ONE_INTERRUPT" "A tool is told to stop once at most, and given its time.";
    NoShortenedLost "R4 NO_SHORTENED_LOST"
        "Lost is never declared early while a container of the task runs.";
    RebalanceLaunches "R5 REBALANCE_LAUNCHES"
        "No task changes hands twice for balance without a launch in between.";
    LaunchLease "R6 LAUNCH_LEASE" "No lease lapses whose holder lives and can reach Scalr.";
    DrainBeforeSignal "R7 DRAIN_BEFORE_SIGNAL"
        "A tool's output is taken whatever becomes of it, before the tool is told to stop: a full pipe \
         would hang it.";
    StateKept "R8 STATE_KEPT" "A state that an apply has left is uploaded, and pushed, before the outcome goes out.";
    LastWord "R9 LAST_WORD"
        "A worker that was confirmed leaves only when its outcome is recorded, late or not.";
    GivenBackUnlaunched "R10 GIVEN_BACK_UNLAUNCHED"
        "What was launched is never given back by a stop or for balance; what was not is, by a stop.";
    SlowsDown "R11 SLOWS_DOWN"
        "Where the cluster asks for patience or leaves Jobs without pods, fewer are made, and none \
         before it said; where it takes them again, more.";
    RefusedOnce "R12 REFUSED_ONCE"
        "A Job that was made, or refused for good, is not made again under its grant; a refusal is told \
         to Scalr.";
    DoorMeansItsFence "R13 DOOR_MEANS_ITS_FENCE"
        "A door is shut only by who was granted this fence or found its Job, and for a reason that is so.";
    StopsInTime "R14 STOPS_IN_TIME"
        "Without contact work is stopped in time before the task is lost, counted from when the last \
         renewal was sent.";
    AsksInTurn "R15 ASKS_IN_TURN"
        "Tasks are asked for neither before the first heartbeat was answered nor after a stop was told.";
    RunnerFirst "R16 RUNNER_FIRST" "Nobody claims a task before the runner has answered.";
    StopsForAReason "R17 STOPS_FOR_A_REASON"
        "What runs, or should, is stopped once its time is over, and not without a reason.";
    SilenceEnds "R18 SILENCE_ENDS" "A watch that has said nothing for five minutes is replaced.";
    ComesBackLater "R19 COMES_BACK_LATER"
        "Whoever is asked to come back later makes that call no sooner.";
    LossTold "R20 LOSS_TOLD"
        "Where a worker has ended without a word, somebody who sees it tells Scalr.";
    LeaseBeforeJob "R21 LEASE_BEFORE_JOB" "No Job is made under a lease that has lapsed.";
}

impl std::fmt::Display for Invariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
