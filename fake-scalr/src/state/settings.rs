//! What the server is told once: its address, how long things may take, how many there may be.

use scalr_protocol::task::Tool;
use serde::{Deserialize, Serialize};

/// What holds for as long as the server's data lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Where agents reach the server; pool tokens carry it as `iss`.
    pub url: String,
    /// How long things take.
    pub timings: Timings,
    /// How many controllers may be online at once. Workers stand outside it.
    pub agent_quota: u32,
    /// After how many failed launches a task is given up.
    pub launch_attempts_max: u32,
    /// The tool of a workspace that names none.
    pub tool: Tool,
    /// How long a plan or an apply may take where the workspace says nothing.
    pub operation_timeout_ms: u64,
    /// The account's name.
    pub account_name: String,
    /// The environment's name.
    pub environment_name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8011".to_owned(),
            timings: Timings::default(),
            // Scalr's own default for an account.
            agent_quota: 25,
            launch_attempts_max: 5,
            // The one that this project's own tests run.
            tool: Tool {
                name: "terraform".to_owned(),
                version: "1.15.5".to_owned(),
                url: None,
                sha256: None,
            },
            // Scalr's own default, an hour.
            operation_timeout_ms: HOUR_MS,
            account_name: "main".to_owned(),
            environment_name: "default".to_owned(),
        }
    }
}

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// Every duration that the protocol names, in time in which the server serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Timings {
    /// How often an agent sends a heartbeat.
    pub heartbeat_ms: u64,
    /// After how long without one it counts as offline.
    pub offline_after_ms: u64,
    /// After how long offline it is forgotten.
    pub purge_after_ms: u64,
    /// How long a launch lease runs without a heartbeat that names the task.
    pub launch_lease_ms: u64,
    /// How long a claim may stay unconfirmed.
    pub confirm_ms: u64,
    /// How long a started task may go without a renewal before it is unreachable.
    pub lease_ttl_ms: u64,
    /// How often its worker renews.
    pub renew_ms: u64,
    /// How long a started task may go without a renewal before it is lost.
    pub lost_after_ms: u64,
    /// The same, once it is proved that its containers ended.
    pub lost_after_proof_ms: u64,
    /// The longest wait of a long poll.
    pub wait_ms_max: u64,
    /// How long a lapsed task with a Job is offered only to whoever sees that Job.
    pub adopt_only_ms: u64,
    /// How long a task that was given back for balance is not offered to whoever gave it back.
    pub rebalance_ms: u64,
    /// How long log and blobs of a finished task are still taken.
    pub log_open_ms: u64,
    /// How long log, blobs, outcome and state of a lost task are still taken.
    pub late_ms: u64,
    /// How long the answer to an idempotency key is kept.
    pub replay_ms: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat_ms: 10 * SECOND_MS,
            offline_after_ms: 30 * SECOND_MS,
            purge_after_ms: 4 * HOUR_MS,
            launch_lease_ms: MINUTE_MS,
            confirm_ms: MINUTE_MS,
            lease_ttl_ms: MINUTE_MS,
            renew_ms: 20 * SECOND_MS,
            lost_after_ms: 30 * MINUTE_MS,
            lost_after_proof_ms: MINUTE_MS,
            wait_ms_max: 30 * SECOND_MS,
            adopt_only_ms: 20 * SECOND_MS,
            rebalance_ms: 30 * SECOND_MS,
            log_open_ms: 10 * MINUTE_MS,
            late_ms: 24 * HOUR_MS,
            replay_ms: 10 * MINUTE_MS,
        }
    }
}
