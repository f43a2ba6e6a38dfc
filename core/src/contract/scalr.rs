//! What every Scalr must do for an agent and for the worker of a task.
//!
//! Each function is one clause. It takes a fresh [`Bench`], drives the two seams, and panics with what was
//! expected where an implementation differs.

use scalr_protocol::{
    agent::{
        Acquire, Action, AgentStatus, Grant, Heartbeat, LaunchFailed, LaunchFailure, Mode, Register, Release,
        ReleaseReason, TaskAt, Verdict, WorkerLoss, WorkerLost,
    },
    blob::{BlobKind, BlobRef, Digest},
    id::{AgentId, Fence, InstanceId, RunId, TaskId},
    task::{Finish, Finished, Lease, LogDigest, Outcome, Signal},
};

use crate::{
    scalr::{Door, Scalr, ScalrError, WorkerLostAnswer},
    task_api::{TaskApi, TaskError},
};

/// What a test must supply of the implementation under test: a fresh server, and hands to move it.
pub trait Bench: Send {
    /// An agent's calls.
    type Scalr: Scalr;
    /// A task's calls.
    type Task: TaskApi;

    /// Calls with the pool token, without a session.
    fn agent(&mut self) -> impl Future<Output = Self::Scalr> + Send;
    /// The calls of one task, with the session of these.
    fn task(&mut self, session: &Self::Scalr) -> Self::Task;
    /// Queues a run in a new workspace.
    fn submit(&mut self) -> impl Future<Output = RunId> + Send;
    /// Cancels a run.
    fn cancel(&mut self, run: &RunId) -> impl Future<Output = ()> + Send;
    /// Lets the server's clock run.
    fn advance(&mut self, ms: u64) -> impl Future<Output = ()> + Send;
    /// Loses the answer to the next write, after its effect.
    fn lose_next_answer(&mut self) -> impl Future<Output = ()> + Send;
    /// A file with these bytes, and its digest.
    fn file(&mut self, bytes: &[u8]) -> (std::fs::File, Digest);
}

/// How long after their launch lease tasks are offered again, with room to spare.
const LEASE_AND_MORE_MS: u64 = 65_000;

fn registration(name: &str, instance: &str) -> Register {
    Register {
        name: name.to_owned(),
        instance_id: InstanceId::new(instance).expect("an id"),
        version: "0.1.0".to_owned(),
        os: "linux/x86_64".to_owned(),
        driver: "local".to_owned(),
        mode: Mode::Controller,
        capacity: 5,
        task: None,
        fence: None,
    }
}

fn acquire(slots: u32) -> Acquire {
    Acquire { slots, ahead: 0, actions: Action::ALL.to_vec(), wait_ms: 0 }
}

fn heartbeat(tasks: &[(&TaskId, Fence)]) -> Heartbeat {
    Heartbeat {
        status: AgentStatus::Idle,
        error_message: None,
        slots: 1,
        draining: false,
        tasks: tasks.iter().map(|(id, fence)| TaskAt { id: (*id).clone(), fence: *fence }).collect(),
    }
}

async fn registered<B: Bench>(bench: &mut B, name: &str) -> (B::Scalr, AgentId) {
    let scalr = bench.agent().await;
    let agent = scalr.register(&registration(name, name)).await.expect("registers").agent;
    (scalr, agent)
}

async fn granted<B: Bench>(bench: &mut B) -> (B::Scalr, AgentId, Grant) {
    bench.submit().await;
    let (scalr, agent) = registered(bench, "a").await;
    let grant = one(scalr.acquire(&agent, &acquire(1)).await.expect("acquires").tasks);
    (scalr, agent, grant)
}

fn one(mut grants: Vec<Grant>) -> Grant {
    assert_eq!(grants.len(), 1, "one task was expected: {grants:?}");
    grants.remove(0)
}

async fn verdict<S: Scalr>(scalr: &S, agent: &AgentId, task: &TaskId, fence: Fence) -> Verdict {
    let answer = scalr.heartbeat(agent, &heartbeat(&[(task, fence)])).await.expect("a heartbeat");
    let [only] = answer.verdicts.as_slice() else { panic!("one verdict was expected: {answer:?}") };
    assert_eq!((&only.id, only.fence), (task, fence));
    only.verdict
}

/// A task that was started and confirmed, by a worker of its own session.
async fn started<B: Bench>(bench: &mut B) -> (B::Scalr, AgentId, Grant, B::Task) {
    let (scalr, agent, grant) = granted(bench).await;
    let task = worker(bench, &grant, "w").await;
    task.start(&grant.id, grant.fence, "key").await.expect("starts");
    task.lease(&grant.id, &lease(grant.fence)).await.expect("confirms");
    (scalr, agent, grant, task)
}

async fn worker<B: Bench>(bench: &mut B, grant: &Grant, name: &str) -> B::Task {
    let session = bench.agent().await;
    let mut request = registration(name, name);
    request.mode = Mode::Worker;
    request.capacity = 0;
    request.task = Some(grant.id.clone());
    request.fence = Some(grant.fence);
    session.register(&request).await.expect("a worker registers");
    bench.task(&session)
}

fn lease(fence: Fence) -> Lease {
    Lease { fence, phase: "confirm".to_owned() }
}

fn finish(fence: Fence, outcome: Outcome) -> Finish {
    let log = LogDigest { bytes: 0, sha256: EMPTY };
    Finish { fence, outcome, exit_code: Some(0), error: None, summary: None, log, blobs: Vec::new() }
}

/// SHA-256 of nothing (FIPS 180-4).
const EMPTY: Digest = Digest([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// The same instance takes over from itself; another one must wait for the name.
pub async fn one_name_is_one_instance<B: Bench>(bench: &mut B) {
    let (first, agent) = registered(bench, "a").await;
    let second = bench.agent().await;
    let refused = second.register(&registration("a", "other")).await;
    assert!(matches!(refused, Err(ScalrError::NameInUse { .. })), "{refused:?}");
    second.register(&registration("a", "a")).await.expect("the same instance takes over");
    let expired = first.heartbeat(&agent, &heartbeat(&[])).await;
    assert_eq!(expired, Err(ScalrError::SessionExpired));
}

/// A task is granted to one, renewed by its heartbeats, and adopted when it had lapsed.
pub async fn a_lapsed_lease_is_adopted<B: Bench>(bench: &mut B) {
    let (scalr, agent, grant) = granted(bench).await;
    assert_eq!(grant.fence, Fence::FIRST);
    assert!(scalr.acquire(&agent, &acquire(1)).await.expect("acquires").tasks.is_empty());
    assert_eq!(verdict(&scalr, &agent, &grant.id, grant.fence).await, Verdict::Held);
    bench.advance(LEASE_AND_MORE_MS).await;
    assert_eq!(verdict(&scalr, &agent, &grant.id, grant.fence).await, Verdict::Held);
}

/// A task of one agent is no task of another.
pub async fn another_agent_is_told_who_holds<B: Bench>(bench: &mut B) {
    let (_scalr, _agent, grant) = granted(bench).await;
    let (other, other_agent) = registered(bench, "b").await;
    assert_eq!(verdict(&other, &other_agent, &grant.id, grant.fence).await, Verdict::HeldByOther);
}

/// A release shuts the door, also when its answer was lost, and the next grant has a higher fence.
pub async fn a_release_shuts_the_door<B: Bench>(bench: &mut B) {
    let (scalr, agent, grant) = granted(bench).await;
    let release = Release { fence: grant.fence, reason: ReleaseReason::Drain };
    bench.lose_next_answer().await;
    let lost = scalr.release(&grant.id, &release).await;
    assert!(matches!(lost, Err(ScalrError::Unreachable { .. })), "{lost:?}");
    assert_eq!(scalr.release(&grant.id, &release).await, Ok(Door::Shut));
    assert_eq!(verdict(&scalr, &agent, &grant.id, grant.fence).await, Verdict::Stale);
    let again = one(scalr.acquire(&agent, &acquire(1)).await.expect("acquires").tasks);
    assert_eq!(again.id, grant.id);
    assert!(again.fence > grant.fence, "{again:?}");
    let late = worker(bench, &grant, "w").await.start(&grant.id, grant.fence, "key").await;
    assert_eq!(late.map(drop), Err(TaskError::FenceStale));
}

/// What was given to others is not offered back for a while.
pub async fn a_rebalanced_task_goes_to_others<B: Bench>(bench: &mut B) {
    let (scalr, agent, grant) = granted(bench).await;
    let release = Release { fence: grant.fence, reason: ReleaseReason::Rebalance };
    assert_eq!(scalr.release(&grant.id, &release).await, Ok(Door::Shut));
    assert!(scalr.acquire(&agent, &acquire(1)).await.expect("acquires").tasks.is_empty());
    let (other, other_agent) = registered(bench, "b").await;
    one(other.acquire(&other_agent, &acquire(1)).await.expect("acquires").tasks);
}

/// Five failed launches are enough.
pub async fn five_failed_launches_end_a_task<B: Bench>(bench: &mut B) {
    let (scalr, agent, mut grant) = granted(bench).await;
    for attempt in 1..=5 {
        let failed = LaunchFailed {
            fence: grant.fence,
            reason: LaunchFailure::ImagePull,
            message: "the image can't be pulled".to_owned(),
            diagnostics: String::new(),
            retryable: true,
        };
        assert_eq!(scalr.launch_failed(&grant.id, &failed).await, Ok(Door::Shut));
        assert_eq!(scalr.launch_failed(&grant.id, &failed).await, Ok(Door::Shut), "one failure counts once");
        let next = scalr.acquire(&agent, &acquire(1)).await.expect("acquires").tasks;
        if attempt < 5 {
            grant = one(next);
        } else {
            assert!(next.is_empty(), "{next:?}");
        }
    }
    let seen = verdict(&scalr, &agent, &grant.id, grant.fence).await;
    assert!(matches!(seen, Verdict::Dead | Verdict::Stale), "{seen:?}");
}

/// An agent that has gone is gone, however often it goes.
pub async fn deregistering_is_idempotent<B: Bench>(bench: &mut B) {
    let (scalr, agent) = registered(bench, "a").await;
    assert_eq!(scalr.deregister(&agent).await, Ok(()));
    assert_eq!(scalr.deregister(&agent).await, Ok(()));
    assert_eq!(scalr.heartbeat(&agent, &heartbeat(&[])).await, Err(ScalrError::SessionExpired));
}

/// One of two workers has the task; the winner's answer can be had again until it confirms.
pub async fn a_task_starts_at_most_once<B: Bench>(bench: &mut B) {
    let (scalr, agent, grant) = granted(bench).await;
    let (winner, loser) = (worker(bench, &grant, "w").await, worker(bench, &grant, "x").await);
    bench.lose_next_answer().await;
    let lost = winner.start(&grant.id, grant.fence, "key").await;
    assert!(matches!(lost, Err(TaskError::Unreachable { .. })), "{lost:?}");
    let refused = loser.start(&grant.id, grant.fence, "other").await;
    assert_eq!(refused.map(drop), Err(TaskError::AlreadyStarted));
    winner.start(&grant.id, grant.fence, "key").await.expect("the same key gets the same answer");
    assert_eq!(verdict(&scalr, &agent, &grant.id, grant.fence).await, Verdict::Claimed);
    let release = Release { fence: grant.fence, reason: ReleaseReason::Drain };
    assert_eq!(scalr.release(&grant.id, &release).await, Ok(Door::Claimed));
    winner.lease(&grant.id, &lease(grant.fence)).await.expect("confirms");
    assert_eq!(scalr.release(&grant.id, &release).await, Ok(Door::Started));
    assert_eq!(verdict(&scalr, &agent, &grant.id, grant.fence).await, Verdict::Started);
    let replayed = winner.start(&grant.id, grant.fence, "key").await;
    assert_eq!(replayed.map(drop), Err(TaskError::AlreadyStarted), "a confirmed start is not replayed");
}

/// A claim that nobody confirms goes back to the queue, and its worker can't come back.
pub async fn an_unconfirmed_claim_expires<B: Bench>(bench: &mut B) {
    let (scalr, agent, grant) = granted(bench).await;
    let task = worker(bench, &grant, "w").await;
    task.start(&grant.id, grant.fence, "key").await.expect("starts");
    bench.advance(LEASE_AND_MORE_MS).await;
    assert_eq!(task.lease(&grant.id, &lease(grant.fence)).await, Err(TaskError::ClaimExpired));
    assert_eq!(verdict(&scalr, &agent, &grant.id, grant.fence).await, Verdict::Stale);
    let again = one(scalr.acquire(&agent, &acquire(1)).await.expect("acquires").tasks);
    assert!(again.fence > grant.fence);
}

/// The log takes each byte once, and tells where it is.
pub async fn the_log_is_a_gapless_prefix<B: Bench>(bench: &mut B) {
    let (_scalr, _agent, grant, task) = started(bench).await;
    let text = |text: &'static str| bytes::Bytes::from_static(text.as_bytes());
    assert_eq!(task.append(&grant.id, 0, text("hello")).await, Ok(5));
    assert_eq!(task.append(&grant.id, 0, text("hello")).await, Ok(5), "a repeat changes nothing");
    assert_eq!(task.append(&grant.id, 9, text("gap")).await, Ok(5), "a gap is answered with the length");
    bench.lose_next_answer().await;
    let lost = task.append(&grant.id, 5, text(" world")).await;
    assert!(matches!(lost, Err(TaskError::Unreachable { .. })), "{lost:?}");
    assert_eq!(task.append(&grant.id, 5, text(" world")).await, Ok(11));
}

/// A file is taken once; another one of the same kind is not.
pub async fn a_blob_is_taken_once<B: Bench>(bench: &mut B) {
    let (_scalr, _agent, grant, task) = started(bench).await;
    let put = async |bench: &mut B, content: &[u8]| {
        let (file, sha256) = bench.file(content);
        let blob = BlobRef { kind: BlobKind::PlanFile, bytes: content.len() as u64, sha256 };
        task.put_blob(&grant.id, &blob, file).await
    };
    assert_eq!(put(bench, b"plan").await, Ok(()));
    assert_eq!(put(bench, b"plan").await, Ok(()));
    let differs = put(bench, b"other").await;
    assert!(matches!(differs, Err(TaskError::Differs { .. })), "{differs:?}");
    let missing = task.blob(&grant.id, BlobKind::Policies).await;
    assert!(matches!(missing, Err(TaskError::NotFound)), "there are no policies");
}

/// One outcome is recorded, however often it is told.
pub async fn one_outcome_is_recorded<B: Bench>(bench: &mut B) {
    let (scalr, agent, grant, task) = started(bench).await;
    let failed = finish(grant.fence, Outcome::Failed);
    bench.lose_next_answer().await;
    let lost = task.finish(&grant.id, &failed).await;
    assert!(matches!(lost, Err(TaskError::Unreachable { .. })), "{lost:?}");
    assert_eq!(task.finish(&grant.id, &failed).await, Ok(Finished::Whole));
    let differs = task.finish(&grant.id, &finish(grant.fence, Outcome::Succeeded)).await;
    assert!(matches!(differs, Err(TaskError::Differs { .. })), "{differs:?}");
    assert_eq!(verdict(&scalr, &agent, &grant.id, grant.fence).await, Verdict::Ended);
}

/// A missing piece of the log is asked for.
pub async fn a_finish_waits_for_the_log<B: Bench>(bench: &mut B) {
    let (_scalr, _agent, grant, task) = started(bench).await;
    let content = b"hello";
    let (_file, sha256) = bench.file(content);
    let mut request = finish(grant.fence, Outcome::Failed);
    request.log = LogDigest { bytes: content.len() as u64, sha256 };
    assert_eq!(task.finish(&grant.id, &request).await, Ok(Finished::LogIncomplete { log_bytes: 0 }));
    assert_eq!(task.append(&grant.id, 0, bytes::Bytes::from_static(content)).await, Ok(5));
    assert_eq!(task.finish(&grant.id, &request).await, Ok(Finished::Whole));
}

/// A cancel reaches the worker by its next renewal, and by the signals.
pub async fn a_cancel_is_a_signal<B: Bench>(bench: &mut B) {
    let (_scalr, _agent, grant, task) = started(bench).await;
    bench.cancel(&grant.run).await;
    let renewed = task.lease(&grant.id, &lease(grant.fence)).await.expect("renews");
    assert_eq!(renewed.signal, Some(Signal::Cancel));
    let signals = task.signals(&grant.id, 0, 0).await.expect("signals");
    assert_eq!(signals.signals, [Signal::Cancel]);
    assert!(task.signals(&grant.id, signals.last, 0).await.expect("signals").signals.is_empty());
}

/// A cancel before the confirm shuts the door at once.
pub async fn a_cancel_before_the_confirm_is_final<B: Bench>(bench: &mut B) {
    let (scalr, agent, grant) = granted(bench).await;
    let task = worker(bench, &grant, "w").await;
    task.start(&grant.id, grant.fence, "key").await.expect("starts");
    bench.cancel(&grant.run).await;
    assert_eq!(task.lease(&grant.id, &lease(grant.fence)).await, Err(TaskError::Canceled));
    assert_eq!(verdict(&scalr, &agent, &grant.id, grant.fence).await, Verdict::Dead);
}

/// A worker that was not heard of for too long is lost; what it brings late is kept beside that.
pub async fn what_comes_late_is_kept<B: Bench>(bench: &mut B) {
    let (scalr, agent, grant, task) = started(bench).await;
    bench.advance(90_000).await;
    task.lease(&grant.id, &lease(grant.fence)).await.expect("an unreachable worker comes back");
    bench.advance(31 * 60 * 1_000).await;
    assert_eq!(task.lease(&grant.id, &lease(grant.fence)).await, Err(TaskError::Lost));
    let content = b"late";
    assert_eq!(task.append(&grant.id, 0, bytes::Bytes::from_static(content)).await, Ok(4));
    let (_file, sha256) = bench.file(content);
    let mut request = finish(grant.fence, Outcome::Succeeded);
    request.log = LogDigest { bytes: content.len() as u64, sha256 };
    let late = task.finish(&grant.id, &request).await;
    assert!(matches!(late, Ok(Finished::Late { .. })), "{late:?}");
    // The session may have been purged in the meantime; a new one asks.
    drop((scalr, agent));
    let (other, other_agent) = registered(bench, "b").await;
    assert_eq!(verdict(&other, &other_agent, &grant.id, grant.fence).await, Verdict::Ended);
}

/// What the controller saw of a lost worker is noted, and never re-queues.
pub async fn a_lost_worker_is_noted<B: Bench>(bench: &mut B) {
    let (scalr, agent, grant) = granted(bench).await;
    let lost = WorkerLost {
        fence: grant.fence,
        reason: WorkerLoss::OomKilled,
        container: Some("runner".to_owned()),
        exit_code: Some(137),
        limit: None,
        ended: true,
        diagnostics: String::new(),
    };
    assert_eq!(scalr.worker_lost(&grant.id, &lost).await, Ok(WorkerLostAnswer::NotStarted));
    let task = worker(bench, &grant, "w").await;
    task.start(&grant.id, grant.fence, "key").await.expect("starts");
    task.lease(&grant.id, &lease(grant.fence)).await.expect("confirms");
    assert_eq!(scalr.worker_lost(&grant.id, &lost).await, Ok(WorkerLostAnswer::Noted));
    bench.advance(LEASE_AND_MORE_MS).await;
    bench.advance(LEASE_AND_MORE_MS).await;
    let (other, other_agent) = registered(bench, "b").await;
    assert_eq!(verdict(&other, &other_agent, &grant.id, grant.fence).await, Verdict::Ended);
    assert!(other.acquire(&other_agent, &acquire(1)).await.expect("acquires").tasks.is_empty());
    drop(agent);
}
