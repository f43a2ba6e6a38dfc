//! Planted mutants: small wrong changes in the two brains, one of which is chosen at run time.
//!
//! They are there for the simulator: a harness that does not catch them proves nothing. A brain asks
//! `planted` where the wrong change would be made. Without feature `mutants` that is a constant no, and
//! the compiler leaves nothing of it; with it, one build holds them all, and `plant` chooses for the thread
//! that calls it. Nothing that ships may be built with the feature.
//!
//! Each says what goes wrong and what catches it, by the name of an invariant in the simulator's catalogue: I
//! for safety, L for liveness after healing, R for the rules of this agent. A test of the simulator holds
//! that to the example that it keeps of each.
//!
//! Not here, because they are no change of a brain: the start's key stored on a disk (the worker's shell and
//! the simulated process draw it), a Job deleted without propagation policy or UID precondition and
//! `AlreadyExists` taken for success whatever its labels say (`KubeCluster`, the World's API server), what a
//! task template may change, stages of the shell (a link followed, a digest unchecked), and a Scalr that
//! does not keep its protocol (fake-scalr's faults).

#[cfg(all(test, feature = "mutants"))]
pub(crate) mod tests;

/// Which brain a mutant is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Brain {
    /// The one of a worker.
    Supervisor,
    /// The one of a controller.
    Controller,
}

macro_rules! mutants {
    ($($brain:ident { $($(#[doc = $doc:literal])+ $mutant:ident = $name:literal,)+ })+) => {
        /// A small wrong change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant {
            $($($(#[doc = $doc])+ $mutant,)+)+
        }

        impl Mutant {
            /// All of them, the Supervisor's first.
            pub const ALL: &'static [Self] = &[$($(Self::$mutant,)+)+];

            /// Its name, as options and tables have it.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$mutant => $name,)+)+
                }
            }

            /// Where it is.
            pub const fn brain(self) -> Brain {
                match self {
                    $($(Self::$mutant)|+ => Brain::$brain,)+
                }
            }

            /// What goes wrong, and what catches it.
            pub const fn about(self) -> &'static str {
                match self {
                    $($(Self::$mutant => concat!($($doc),+).trim_ascii(),)+)+
                }
            }
        }
    };
}

mutants! {
    Supervisor {
        /// The work begins with the answer to `start`, while the confirm is under way. Caught by I4
        /// `REPORT_MATCHES_TRUTH`: an outcome of a worker that was never confirmed; and I2
        /// `AT_MOST_ONCE_AFTER_START`.
        UserCodeBeforeConfirm = "user-code-before-confirm",
        /// A confirm or renewal that is refused with `claim-expired` or `fence-stale` is taken for a yes.
        /// Caught by I4 `REPORT_MATCHES_TRUTH`: an outcome of a worker that was never confirmed; and I1
        /// `NO_CONCURRENT_EXEC`, where another worker has the task.
        FenceUnchecked = "fence-unchecked",
        /// A confirm that is refused with `canceled` is taken for a yes. Caught by I4 `REPORT_MATCHES_TRUTH`:
        /// an outcome of a worker that was never confirmed; and I9 `CANCEL_HONOURED`.
        CancelIgnoredBeforeStart = "cancel-ignored-before-start",
        /// A start that was refused because another has the task is repeated instead of left alone. Caught by
        /// I12 `NO_LEAK` and I13 `BOUNDED_API`: losers stay, and keep their pods.
        RefusedStartRepeated = "refused-start-repeated",
        /// The task is claimed though no runner has answered. Caught by R16 `RUNNER_FIRST`.
        ClaimsBeforeRunner = "claims-before-runner",
        /// An unanswered confirm is taken for a no. Caught by R9 `LAST_WORD`: it may be recorded, and then
        /// nobody has the task.
        GivesUpUnansweredConfirm = "gives-up-unanswered-confirm",
        /// A confirm that is refused with `claim-expired` or `fence-stale` is repeated without end. Caught by
        /// I13 `BOUNDED_API` and I12 `NO_LEAK`: the worker never leaves.
        ConfirmRepeatedAfterGone = "confirm-repeated-after-gone",
        /// One renewal without an answer stops the work. Caught by R17 `STOPS_FOR_A_REASON`: contact was not
        /// lost for too long.
        StopsAtFirstMissedRenewal = "stops-at-first-missed-renewal",
        /// The work goes on however long nothing is heard of Scalr. Caught by I1 `NO_CONCURRENT_EXEC`: user
        /// code after lost-after.
        GoesOnAfterLostAfter = "goes-on-after-lost-after",
        /// The time to lost-after counts from a renewal's answer, not from its sending. Caught by R14
        /// `STOPS_IN_TIME`: too late, by as much as the answer took.
        LostAfterFromAnswer = "lost-after-from-answer",
        /// No lease is renewed while a stage runs. Caught by R6 `LAUNCH_LEASE`: unreachable, though Scalr
        /// serves.
        RenewalsPauseDuringStage = "renewals-pause-during-stage",
        /// Every further reason to stop interrupts the tool once more. Caught by R3 `ONE_INTERRUPT`: it
        /// leaves its state behind.
        SecondInterrupt = "second-interrupt",
        /// A tool is signaled as a hook is: SIGTERM after its interrupt. Caught by R3 `ONE_INTERRUPT`.
        TerminateSentToTool = "terminate-sent-to-tool",
        /// A cancel kills at once. Caught by R3 `ONE_INTERRUPT`: a tool is given its time.
        KilledAtOnceOnCancel = "killed-at-once-on-cancel",
        /// A force-cancel stops as gently as a cancel. Caught by I9 `CANCEL_HONOURED`.
        ForceCancelWaits = "force-cancel-waits",
        /// A SIGTERM changes nothing. Caught by L7 `SHUTDOWN_IN_TIME`: user code runs into the SIGKILL, and
        /// no outcome comes.
        SigtermIgnored = "sigterm-ignored",
        /// A stop does not drain the tool's output. Caught by R7 `DRAIN_BEFORE_SIGNAL`: a full spool would
        /// hang the tool on its pipe.
        DrainNotSent = "drain-not-sent",
        /// Stages that run user code are begun after a stop. Caught by I9 `CANCEL_HONOURED`.
        WorkGoesOnAfterStop = "work-goes-on-after-stop",
        /// Work may take for ever. Caught by R17 `STOPS_FOR_A_REASON`: its time was over.
        OperationTimeoutIgnored = "operation-timeout-ignored",
        /// A stage that ran user code is begun again when its end says `Unreachable`. Caught by I2
        /// `AT_MOST_ONCE_AFTER_START`, where a shell says so of such a stage.
        StageRepeatedAfterUnreachable = "stage-repeated-after-unreachable",
        /// A failed init is begun again, as if it were ours. Caught by I2 `AT_MOST_ONCE_AFTER_START`: user
        /// code of a stage begins twice.
        FailedInitRepeated = "failed-init-repeated",
        /// Nobody hears that the runner is gone. Caught by R9 `LAST_WORD`: the end of what ran in it is
        /// waited for.
        RunnerGoneIgnored = "runner-gone-ignored",
        /// A state that the tool could not push is not uploaded. Caught by R8 `STATE_KEPT`: what the apply
        /// did is known to nobody.
        ErroredStateNotUploaded = "errored-state-not-uploaded",
        /// A failed command is reported as a success. Caught by I4 `REPORT_MATCHES_TRUTH`.
        SuccessDespiteFailure = "success-despite-failure",
        /// Work that was done when its cancel came is reported as canceled. Caught by I4
        /// `REPORT_MATCHES_TRUTH`.
        CanceledDespiteSuccess = "canceled-despite-success",
        /// An unanswered append counts as delivered, and what the server says it has is not believed where it
        /// is less. Caught by I13 `BOUNDED_API`: the outcome is refused as long as the log is not whole; and
        /// R2 `LOG_GAPLESS_PREFIX`.
        LogOffsetNotResynced = "log-offset-not-resynced",
        /// The next append does not wait for the answer to the last. Caught by I13 `BOUNDED_API`: two appends
        /// in flight.
        TwoAppendsInFlight = "two-appends-in-flight",
        /// The outcome says that the console is as long as what the server has already. Caught by R2
        /// `LOG_GAPLESS_PREFIX`: the log is whole at the end.
        LogCutAtFinish = "log-cut-at-finish",
        /// The outcome is sent without waiting for the log. Caught by I13 `BOUNDED_API`, and by R2
        /// `LOG_GAPLESS_PREFIX` where the worker then dies.
        FinishBeforeLog = "finish-before-log",
        /// An unanswered finish is not repeated. Caught by R9 `LAST_WORD`: its outcome is not recorded.
        FinishNotRetried = "finish-not-retried",
        /// Of a task that was declared lost nothing more is delivered. Caught by R9 `LAST_WORD`: no late
        /// outcome, no end of the log.
        LateDeliverySkipped = "late-delivery-skipped",
        /// What the tool had written before is taken for the line that was just printed: a bug that was.
        /// Caught by R2 `LOG_GAPLESS_PREFIX`: that line is missing from the log.
        OldOutputTakenForOwnLine = "old-output-taken-for-own-line",
        /// A cancel that comes while the work goes on changes nothing. Caught by I9 `CANCEL_HONOURED`.
        CancelIgnoredAtWork = "cancel-ignored-at-work",
        /// A tool that does not listen to its interrupt is waited for without end. Caught by R17
        /// `STOPS_FOR_A_REASON`.
        DeafToolKept = "deaf-tool-kept",
        /// A stop gives the tool the whole grace. Caught by R9 `LAST_WORD`: nothing is left of it for the
        /// outcome.
        GraceWithoutReserve = "grace-without-reserve",
        /// A state that an apply has left is uploaded and never pushed. Caught by R8 `STATE_KEPT`: the next
        /// run plans from an older one.
        ErroredStateNotPushed = "errored-state-not-pushed",
        /// Work that was done is reported as failed. Caught by I4 `REPORT_MATCHES_TRUTH`.
        FailureDespiteSuccess = "failure-despite-success",
        /// The plan is made, and not stored. Caught by I4 `REPORT_MATCHES_TRUTH`: it is called a success, and
        /// no apply can ever follow.
        PlanFileNotUploaded = "plan-file-not-uploaded",
        /// What Scalr asks to wait is not waited. Caught by R19 `COMES_BACK_LATER`.
        PatienceIgnored = "patience-ignored",
    }
    Controller {
        /// The name of a Job has a random end, another one for each attempt. Caught by I5 `CAP_RESPECTED`:
        /// two Jobs for one grant.
        JobNameRandom = "job-name-random",
        /// An unanswered create is repeated under another name. Caught by I5 `CAP_RESPECTED`, likewise.
        UnansweredCreateRenamed = "unanswered-create-renamed",
        /// An unanswered create counts as one that made nothing. Caught by I5 `CAP_RESPECTED` and I13
        /// `BOUNDED_API`.
        UnansweredCreateForgotten = "unanswered-create-forgotten",
        /// Whatever has the Job's name is taken for the task's Job, at work. Caught by L1 `ALL_TERMINAL` and
        /// I17 `EXPLAINED`: the task is held for ever.
        NameTakenBelieved = "name-taken-believed",
        /// A refused create is repeated at the next plan. Caught by I13 `BOUNDED_API`.
        RefusedCreateRepeatedAtOnce = "refused-create-repeated-at-once",
        /// Calls that failed are made again after a millisecond. Caught by I13 `BOUNDED_API`.
        RetriesWithoutBackoff = "retries-without-backoff",
        /// Lists after the first may come from a cache, and are believed all the same. Caught by I5
        /// `CAP_RESPECTED`.
        StaleListBelieved = "stale-list-believed",
        /// The first list may come from a cache. Caught by I5 `CAP_RESPECTED`: it hides Jobs of an earlier
        /// life.
        FirstListNotQuorum = "first-list-not-quorum",
        /// A list wins over what was learned after it was sent. Caught by I5 `CAP_RESPECTED`: a new Job is
        /// forgotten.
        ListResetsLaterNews = "list-resets-later-news",
        /// After 410 a watch is begun again where it was. Caught by I12 `NO_LEAK`: what has ended is believed
        /// to live, since nothing is seen any more.
        GoneWatchNotRelisted = "gone-watch-not-relisted",
        /// A watch that says nothing is never replaced. Caught by R18 `SILENCE_ENDS`.
        SilentWatchKept = "silent-watch-kept",
        /// Room is what this process has launched, not what is live. Caught by I5 `CAP_RESPECTED`: Jobs of
        /// others and of an earlier life take none.
        CapacityByCounter = "capacity-by-counter",
        /// Jobs that are being made take no room. Caught by I5 `CAP_RESPECTED`.
        CreationsNotCounted = "creations-not-counted",
        /// The verdict `dead` changes nothing. Caught by I9 `CANCEL_HONOURED` and I12 `NO_LEAK`: a canceled
        /// task stays here, and its Job too.
        DeadVerdictIgnored = "dead-verdict-ignored",
        /// Heartbeats leave out what was launched. Caught by R6 `LAUNCH_LEASE`: leases of pending pods lapse,
        /// and each task is granted and launched again.
        LaunchLeaseNotRenewed = "launch-lease-not-renewed",
        /// A verdict counts for the newest fence of its task. Caught by I17 `EXPLAINED`: what was granted
        /// anew is held for ever; and R1 `DOOR_BEFORE_DELETE`.
        VerdictFenceUnchecked = "verdict-fence-unchecked",
        /// A door that was answered `already-started` counts as shut. Caught by R1 `DOOR_BEFORE_DELETE`.
        StartedDoorReadAsShut = "started-door-read-as-shut",
        /// The verdict `ended` is read as `dead`. Caught by R1 `DOOR_BEFORE_DELETE`: the worker may still be
        /// delivering.
        EndedReadAsDead = "ended-read-as-dead",
        /// The verdict `claimed` is read as `dead`. Caught by R1 `DOOR_BEFORE_DELETE`: the claim is about to
        /// be confirmed.
        ClaimedJobDeleted = "claimed-job-deleted",
        /// The verdict `held-by-other` is read as `stale`. Caught by I8 `NO_FOREIGN_TOUCH`.
        OthersJobDeleted = "others-job-deleted",
        /// A task whose Job is gone may be launched again under its fence: it never ran, did it? Caught by
        /// R12 `REFUSED_ONCE`: two Jobs for one grant.
        TtlDeletionReadAsNeverRan = "ttl-deletion-read-as-never-ran",
        /// The Job is deleted while its door is being shut. Caught by R1 `DOOR_BEFORE_DELETE`.
        DeleteBeforeRelease = "delete-before-release",
        /// What is deleted is the task's newest Job, whatever its UID. Caught by R1 `DOOR_BEFORE_DELETE` and
        /// I7 `UID_SAFETY`: the newest may still start.
        DeleteWithoutUid = "delete-without-uid",
        /// A release or launch failure that is repeated names the newest fence. Caught by R13
        /// `DOOR_MEANS_ITS_FENCE`: it shuts the door of another grant, and a task is relaunched that was on
        /// its way.
        DoorRetriedUnderNewestFence = "door-retried-under-newest-fence",
        /// Tasks wait, and nobody says why. Caught by I17 `EXPLAINED`.
        HoldWithoutReason = "hold-without-reason",
        /// 429 and Jobs without pods don't slow creations down. Caught by R11 `SLOWS_DOWN`.
        WindowNeverShrinks = "window-never-shrinks",
        /// A launch may take for ever. Caught by R17 `STOPS_FOR_A_REASON`: a launch is over that is still
        /// waited for.
        StartupDeadlineNeverFires = "startup-deadline-never-fires",
        /// The time to start counts while a node is coming. Caught by R17 `STOPS_FOR_A_REASON`: a slow
        /// scale-up ends in launch failures.
        StartupDeadlineNotPaused = "startup-deadline-not-paused",
        /// Pods that are gone count as seen to end. Caught by R4 `NO_SHORTENED_LOST`.
        MissingPodReadAsProof = "missing-pod-read-as-proof",
        /// A worker that has ended is proof for its runner too. Caught by R4 `NO_SHORTENED_LOST`.
        OneContainerReadAsProof = "one-container-read-as-proof",
        /// A stop neither releases what did not start nor says goodbye. Caught by R10
        /// `GIVEN_BACK_UNLAUNCHED`: tasks wait for their leases to lapse while others have room.
        ReleaseOnStopSkipped = "release-on-stop-skipped",
        /// A stop releases also what was launched. Caught by R10 `GIVEN_BACK_UNLAUNCHED`: a rollout undoes
        /// every launch under way.
        LaunchedReleasedOnStop = "launched-released-on-stop",
        /// A stop does not end acquiring. Caught by R15 `ASKS_IN_TURN`: tasks come and go.
        AcquiresWhileDraining = "acquires-while-draining",
        /// Acquires while Jobs of an earlier process are still being asked about. Caught by R15
        /// `ASKS_IN_TURN`.
        AcquiresBeforeFirstHeartbeat = "acquires-before-first-heartbeat",
        /// What is only to be held is asked for as if there were a slot for it. Caught by I13 `BOUNDED_API`:
        /// tasks are given back and taken again; and R5 `REBALANCE_LAUNCHES`.
        LookAheadCountedAsWanted = "look-ahead-counted-as-wanted",
        /// When another has room, tasks are given back that were launched here. Caught by R10
        /// `GIVEN_BACK_UNLAUNCHED`.
        LaunchedTaskRebalanced = "launched-task-rebalanced",
        /// A session that has ended is not begun again. Caught by L6 `RECOVERS`.
        SessionNotRenewed = "session-not-renewed",
        /// Room that comes with a Job that goes is not planned: a bug that was. Caught by I17 `EXPLAINED`:
        /// who waits there waits for nothing.
        RoomOfGoneJobUnplanned = "room-of-gone-job-unplanned",
        /// The repeat of an unanswered create comes back before the cluster said it may: a bug that was.
        /// Caught by R11 `SLOWS_DOWN`.
        RepeatDropsRetryAfter = "repeat-drops-retry-after",
        /// An older quota is told as the reason where there is no room anyway: a bug that was. Caught by I17
        /// `EXPLAINED`: the reason is not true any more.
        OldQuotaToldAsReason = "old-quota-told-as-reason",
        /// Pods that appear don't widen the window. Caught by R11 `SLOWS_DOWN`: once it has shrunk, Jobs are
        /// made one by one for ever.
        WindowNeverGrows = "window-never-grows",
        /// Jobs that get no pods don't slow creations down. Caught by R11 `SLOWS_DOWN`.
        PodlessJobsUnnoticed = "podless-jobs-unnoticed",
        /// After a refusal that concerns every Job all are tried again at once. Caught by R11 `SLOWS_DOWN`:
        /// one at a time tries.
        GateTriedByAll = "gate-tried-by-all",
        /// A task is launched whose lease may have lapsed. Caught by R21 `LEASE_BEFORE_JOB`: another may have
        /// it.
        LapsedLeaseLaunched = "lapsed-lease-launched",
        /// What Scalr asks to wait is not waited. Caught by R19 `COMES_BACK_LATER`.
        ScalrsPatienceIgnored = "scalrs-patience-ignored",
        /// Whatever wants a verdict soon brings the next heartbeat before Scalr has asked for it: a bug that
        /// was. Caught by R19 `COMES_BACK_LATER`.
        HeartbeatHurried = "heartbeat-hurried",
        /// The next launch event is told before Scalr has asked for it: a bug that was. Caught by R19
        /// `COMES_BACK_LATER`.
        EventsHurried = "events-hurried",
        /// A list that is answered begins the watch that the cluster has asked to wait for: a bug that was.
        /// Caught by R19 `COMES_BACK_LATER`.
        WatchHurried = "watch-hurried",
        /// What became of a worker is seen and told to nobody. Caught by R20 `LOSS_TOLD`: its run hangs until
        /// the server misses it.
        LossNeverTold = "loss-never-told",
        /// A Job whose door is shut is left alone. Caught by I12 `NO_LEAK`: it takes room, and its pod a
        /// node.
        ShutJobKept = "shut-job-kept",
        /// A launch whose Job or worker has ended is waited for until its time is over. Caught by R17
        /// `STOPS_FOR_A_REASON`.
        EndedLaunchKept = "ended-launch-kept",
        /// A lease that came with the Job of an earlier process is not taken over. Caught by R17
        /// `STOPS_FOR_A_REASON`: nobody gives that launch up.
        AdoptedLaunchKept = "adopted-launch-kept",
        /// A node that is coming is waited for without end. Caught by R17 `STOPS_FOR_A_REASON`.
        StartupMaxIgnored = "startup-max-ignored",
        /// Who was queued first goes first, however urgent another is. Caught by L3 `NO_STARVATION`.
        PriorityIgnored = "priority-ignored",
    }
}

impl Mutant {
    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mutant| mutant.name() == name)
    }
}

/// Whether this wrong change is to be made here.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn planted(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Makes this wrong change in every brain that this thread steps from now on, and no other; with none the
/// brains are sound again.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

/// Whether this wrong change is to be made here.
#[cfg(feature = "mutants")]
pub(crate) fn planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}
