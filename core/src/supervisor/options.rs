//! What a Supervisor is told once, and the bounds of its waits.

use scalr_protocol::agent::Action;
use serde::{Deserialize, Serialize};

/// Everything that does not change while one task is seen through.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TaskOptions {
    /// The dice of all backoffs: drawn by the shell at the start, so that a replay waits as the original did.
    pub seed: u64,
    /// The actions that this worker offers. One that is not among them is finished as unsupported.
    pub actions: Vec<Action>,
    /// How long an interrupted tool is waited for before it is killed, in milliseconds.
    pub stop_timeout_ms: u64,
    /// What uploads, log and outcome need at the end of a SIGTERM's grace, in milliseconds. Never more than
    /// half of the grace is taken.
    pub upload_reserve_ms: u64,
    /// From a hook's SIGINT to its SIGTERM, in milliseconds.
    pub hook_interrupt_ms: u64,
    /// From a hook's SIGTERM to its SIGKILL, in milliseconds.
    pub hook_terminate_ms: u64,
    /// How long the runner may take to come up, in milliseconds. Afterwards nothing is claimed.
    pub runner_wait_ms: u64,
    /// The pause between two appends while the console trickles, in milliseconds. An append after a longer
    /// silence, or of a full chunk, does not wait.
    pub log_interval_ms: u64,
    /// The most bytes of one append.
    pub log_chunk_bytes_max: u64,
    /// How long log and outcome are being delivered after the work has ended or was lost, in milliseconds.
    pub delivery_max_ms: u64,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            actions: vec![Action::Plan, Action::Apply],
            // A provider's call in flight is waited for; ten minutes cover the slow ones (databases,
            // clusters).
            stop_timeout_ms: 10 * 60_000,
            // A state of 100 MiB over a slow line, the rest of the log, and one retry of each.
            upload_reserve_ms: 60_000,
            // What shells and build tools are given elsewhere before a harder signal.
            hook_interrupt_ms: 10_000,
            hook_terminate_ms: 10_000,
            // Both containers of a pod start within seconds of each other; an image pulled late takes
            // minutes.
            runner_wait_ms: 3 * 60_000,
            // Leaves 150 ms of the aim (p99 of 250 ms) to masking, the spool and the network.
            log_interval_ms: 100,
            // Large enough for 50 MB/s over one connection, small enough for a proxy's usual limit.
            log_chunk_bytes_max: 1024 * 1024,
            // As long as the server keeps the door open after `lost`.
            delivery_max_ms: 24 * 60 * 60_000,
        }
    }
}

/// How long the claim may be tried for: the controller's `startup-max`, after which it has given the launch
/// up.
pub(super) const CLAIM_MS_MAX: u64 = 6 * 60 * 60_000;
/// The longest `Retry-After` that is believed: with more, a renewal would come after the task was lost.
pub(super) const RETRY_AFTER_MS_MAX: u64 = 5 * 60_000;
/// How long a killed stage may take to end. What the kernel holds longer than this holds for good.
pub(super) const KILL_WAIT_MS: u64 = 60_000;
/// How long the end of a stage is waited for after its runner is gone: it brings facts about the run folder.
pub(super) const RUNNER_GONE_WAIT_MS: u64 = 5_000;
/// How long our own line may take to appear in the spool before the outcome is sent without it.
pub(super) const PRINT_WAIT_MS: u64 = 1_000;
/// How long appends may bring nothing before the outcome is sent ahead of the log: it would otherwise wait
/// for a day where only the log's store is down. Not less, since from then on the server keeps the log open
/// for ten minutes only.
pub(super) const LOG_PATIENCE_MS: u64 = 15 * 60_000;
/// How long the rest of the log is tried for once the outcome is recorded. The server says `closed` after ten
/// minutes in which it serves (protocol, call 15); this is for one that does not serve.
pub(super) const LOG_OPEN_MS: u64 = 60 * 60_000;
/// How often a finish may be refused (not unanswered) before it is given up: five minutes of backoff.
pub(super) const FINISH_REFUSALS_MAX: u32 = 15;
/// The longest wait of a poll for signals: the protocol's own bound.
pub(super) const SIGNALS_WAIT_MS: u64 = 30_000;
/// The shortest time from one poll for signals to the next, for servers that do not wait.
pub(super) const SIGNALS_PAUSE_MS: u64 = 1_000;
/// The longest backoff of the confirm: a claim lives for 60 s.
pub(super) const CONFIRM_BACKOFF_MS_MAX: u64 = 4_000;
/// The longest backoff of a delivery within a grace, and how long an answer is waited for: a grace of half a
/// minute must have room for several tries.
pub(super) const GRACE_BACKOFF_MS_MAX: u64 = 2_000;
pub(super) const GRACE_PATIENCE_MS: u64 = 5_000;
/// The least that the process needs to exit before its SIGKILL.
pub(super) const EXIT_MARGIN_MS: u64 = 1_000;
/// The longest message of an error (protocol, `TaskError`).
pub(super) const MESSAGE_BYTES_MAX: usize = 1024;
/// The smallest chunk to which "too large" shrinks appends.
pub(super) const LOG_CHUNK_BYTES_MIN: u64 = 4 * 1024;
