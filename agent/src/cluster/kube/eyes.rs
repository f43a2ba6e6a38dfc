//! Whose events are looked at, and when: of pods that should have started by now, one at a time, each at its
//! turn, and none for those that start. Pure.

use std::collections::{BTreeMap, BTreeSet};

use scalr_core::cluster::{Pod, PodTrouble, TroubleKind, Uid};
use tokio::time::{Duration, Instant};

use super::{api::EventView, event::pod_trouble, pod::is_starting};

/// How long a pod may be at starting before its events are looked at: most are done by then.
const FIRST_LOOK_MS: u64 = 5_000;
/// How long until they are looked at again.
const NEXT_LOOK_MS: u64 = 20_000;
/// Looks follow each other no sooner, so that ten thousand pods that wait for a node cost the API server ten
/// calls a second at most.
const SPACING_MS: u64 = 100;
/// After a look that failed, nobody is looked at for so long.
const REST_MS: u64 = 30_000;
/// After a look that was not allowed: rights are given by people.
const DENIED_REST_MS: u64 = 600_000;

/// The pods that are at starting.
#[derive(Debug)]
pub(super) struct Eyes {
    starting: BTreeMap<Uid, Starting>,
    /// Their turns, in order.
    turns: BTreeSet<(Instant, Uid)>,
    not_before: Instant,
}

#[derive(Debug)]
struct Starting {
    /// By its status alone.
    pod: Pod,
    /// What its events have told since.
    told: Option<PodTrouble>,
    at: Instant,
}

impl Starting {
    /// With what its events have told, unless its status tells more.
    fn whole(&self) -> Pod {
        let mut pod = self.pod.clone();
        if is_vague(&pod) && self.told.is_some() {
            pod.trouble.clone_from(&self.told);
        }
        pod
    }
}

/// Whether events may tell more than the status does.
fn is_vague(pod: &Pod) -> bool {
    pod.trouble.as_ref().is_none_or(|trouble| trouble.kind == TroubleKind::Unschedulable)
}

impl Eyes {
    pub(super) fn new(now: Instant) -> Self {
        Self { starting: BTreeMap::new(), turns: BTreeSet::new(), not_before: now }
    }

    /// A pod looks so now; how it looks with what its events have told.
    pub(super) fn seen(&mut self, now: Instant, pod: Pod) -> Pod {
        let known = self.gone(&pod.uid);
        if !is_starting(&pod) {
            return pod;
        }
        let (told, at) = match known {
            // Other events count once it has its node.
            Some(known) if known.pod.node == pod.node => (known.told, known.at),
            Some(_) | None => (None, now + Duration::from_millis(FIRST_LOOK_MS)),
        };
        let uid = pod.uid.clone();
        let starting = Starting { pod, told, at };
        let whole = starting.whole();
        self.turns.insert((at, uid.clone()));
        self.starting.insert(uid, starting);
        whole
    }

    /// A pod is gone.
    pub(super) fn forget(&mut self, uid: &Uid) {
        drop(self.gone(uid));
    }

    /// These are all that there are.
    pub(super) fn keep(&mut self, listed: &BTreeSet<Uid>) {
        self.starting.retain(|uid, _| listed.contains(uid));
        self.turns.retain(|(_, uid)| listed.contains(uid));
    }

    fn gone(&mut self, uid: &Uid) -> Option<Starting> {
        let known = self.starting.remove(uid)?;
        self.turns.remove(&(known.at, uid.clone()));
        Some(known)
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.turns.first().map(|(at, _)| (*at).max(self.not_before))
    }

    /// Whose events are to be looked at now.
    pub(super) fn turn(&mut self, now: Instant) -> Option<Uid> {
        if self.next().is_none_or(|at| at > now) {
            return None;
        }
        let (_, uid) = self.turns.pop_first()?;
        let at = now + Duration::from_millis(NEXT_LOOK_MS);
        self.not_before = now + Duration::from_millis(SPACING_MS);
        if let Some(starting) = self.starting.get_mut(&uid) {
            starting.at = at;
            self.turns.insert((at, uid.clone()));
        }
        Some(uid)
    }

    /// What the events of a pod are; how it looks with them, if it looks otherwise now.
    pub(super) fn told(&mut self, uid: &Uid, events: &[EventView]) -> Option<Pod> {
        let starting = self.starting.get_mut(uid)?;
        let before = starting.whole();
        starting.told = pod_trouble(&starting.pod, events);
        let now = starting.whole();
        (now != before).then_some(now)
    }

    /// A look has failed.
    pub(super) fn failed(&mut self, now: Instant, is_denied: bool) {
        let rest_ms = if is_denied { DENIED_REST_MS } else { REST_MS };
        self.not_before = now + Duration::from_millis(rest_ms);
    }
}

#[cfg(test)]
mod tests;
