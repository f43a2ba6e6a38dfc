//! What happens by itself: every deadline in one ordered set, fired at the moment it was due, so that it
//! makes no difference how late somebody looks.

use jiff::SignedDuration;
use scalr_protocol::id::{AgentId, TaskId};
use serde::{Deserialize, Serialize};

use super::{Now, Stamp, State, tasks::Phase};

/// Whom a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Timer {
    /// A task's phase ends.
    Task(TaskId),
    /// An agent is offline, or forgotten.
    Agent(AgentId),
}

impl State {
    /// Lets everything happen that was due until now, in order.
    pub(super) fn fire(&mut self, stamp: &Stamp) {
        while self.next_deadline_ms().is_some_and(|due_ms| due_ms <= stamp.now_ms) {
            let Some((due_ms, timer)) = self.timers.first().cloned() else { break };
            let ago_ms = i64::try_from(stamp.now_ms - due_ms).unwrap_or(i64::MAX);
            let wall = stamp.wall.checked_sub(SignedDuration::from_millis(ago_ms)).unwrap_or(stamp.wall);
            let now = Now { ms: due_ms, wall, entropy: stamp.entropy };
            match timer {
                Timer::Task(task) => self.task_is_due(now, &task),
                Timer::Agent(agent) => self.agent_is_due(now, &agent),
            }
        }
    }

    /// The server was away: nobody could be heard, so every lease starts anew with its full length.
    pub(super) fn restart(&mut self, now: Now) {
        self.waiters.clear();
        let timings = self.settings.timings.clone();
        for (_, timer) in self.timers.clone() {
            match timer {
                Timer::Task(id) => self.change_task(&id, |task| {
                    let lost_ms = now.ms + task.lost_after_ms;
                    match &mut task.phase {
                        Phase::Queued { adopt_until_ms } => {
                            *adopt_until_ms = adopt_until_ms.map(|_| now.ms + timings.adopt_only_ms);
                        }
                        Phase::Leased { until_ms } => *until_ms = now.ms + timings.launch_lease_ms,
                        Phase::Claimed { until_ms } => *until_ms = now.ms + timings.confirm_ms,
                        Phase::Started { until_ms, lost_ms: lost } => {
                            *until_ms = now.ms + timings.lease_ttl_ms;
                            *lost = lost_ms;
                        }
                        Phase::Unreachable { lost_ms: lost } => *lost = lost_ms,
                        Phase::Ended { .. } => {}
                    }
                }),
                Timer::Agent(id) => self.restart_agent(now, &id),
            }
        }
        self.touch_and_wake();
    }
}
