//! Whose events are looked at, and when: of pods that should have started by now, and of Jobs that should
//! have a pod, one at a time, each at its turn, and none of those that do well. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use scalr_core::cluster::{Job, JobTrouble, Object, Pod, PodTrouble, TroubleKind, Uid};
use tokio::time::{Duration, Instant};

use super::{
    api::EventView,
    event::{job_trouble, pod_trouble},
};

/// How long something may be at starting before its events are looked at: most are done by then.
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

/// What can be looked at: a pod or a Job, by its status alone.
pub(super) trait Watched: Clone + PartialEq + Debug {
    /// What its events may tell.
    type Trouble: Clone + PartialEq + Debug;

    fn uid(&self) -> &Uid;
    /// Whether what its events have told of `before` still counts.
    fn goes_on(&self, before: &Self) -> bool;
    /// What its events tell.
    fn hear(&self, events: &[EventView]) -> Option<Self::Trouble>;
    /// With what its events have told, unless its status tells more.
    fn with(&self, told: Option<&Self::Trouble>) -> Self;
    /// As others know it.
    fn object(self) -> Object;
}

impl Watched for Pod {
    type Trouble = PodTrouble;

    fn uid(&self) -> &Uid {
        &self.uid
    }

    fn goes_on(&self, before: &Self) -> bool {
        // Other events count once it has its node.
        self.node == before.node
    }

    fn hear(&self, events: &[EventView]) -> Option<PodTrouble> {
        pod_trouble(self, events)
    }

    fn with(&self, told: Option<&PodTrouble>) -> Self {
        let is_vague = self.trouble.as_ref().is_none_or(|trouble| trouble.kind == TroubleKind::Unschedulable);
        let mut pod = self.clone();
        if is_vague && let Some(told) = told {
            pod.trouble = Some(told.clone());
        }
        pod
    }

    fn object(self) -> Object {
        Object::Pod(self)
    }
}

impl Watched for Job {
    type Trouble = JobTrouble;

    fn uid(&self) -> &Uid {
        &self.uid
    }

    fn goes_on(&self, _: &Self) -> bool {
        true
    }

    fn hear(&self, events: &[EventView]) -> Option<JobTrouble> {
        job_trouble(events)
    }

    fn with(&self, told: Option<&JobTrouble>) -> Self {
        Self { trouble: told.cloned(), ..self.clone() }
    }

    fn object(self) -> Object {
        Object::Job(self)
    }
}

/// Those that are at starting.
#[derive(Debug)]
pub(super) struct Eyes<T: Watched> {
    starting: BTreeMap<Uid, Starting<T>>,
    /// Their turns, in order.
    turns: BTreeSet<(Instant, Uid)>,
    not_before: Instant,
}

#[derive(Debug)]
struct Starting<T: Watched> {
    subject: T,
    told: Option<T::Trouble>,
    at: Instant,
}

impl<T: Watched> Eyes<T> {
    pub(super) fn new(now: Instant) -> Self {
        Self { starting: BTreeMap::new(), turns: BTreeSet::new(), not_before: now }
    }

    /// Something looks so now; how it looks with what its events have told.
    pub(super) fn seen(&mut self, now: Instant, subject: T, is_starting: bool) -> T {
        let known = self.gone(subject.uid());
        if !is_starting {
            return subject;
        }
        let (told, at) = match known {
            Some(known) if subject.goes_on(&known.subject) => (known.told, known.at),
            Some(_) | None => (None, now + Duration::from_millis(FIRST_LOOK_MS)),
        };
        let (uid, whole) = (subject.uid().clone(), subject.with(told.as_ref()));
        self.turns.insert((at, uid.clone()));
        self.starting.insert(uid, Starting { subject, told, at });
        whole
    }

    /// Something is gone.
    pub(super) fn forget(&mut self, uid: &Uid) {
        drop(self.gone(uid));
    }

    /// These are all that there are.
    pub(super) fn keep(&mut self, listed: &BTreeSet<Uid>) {
        self.starting.retain(|uid, _| listed.contains(uid));
        self.turns.retain(|(_, uid)| listed.contains(uid));
    }

    fn gone(&mut self, uid: &Uid) -> Option<Starting<T>> {
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

    /// What the events of something are; how it looks with them, if it looks otherwise now.
    pub(super) fn told(&mut self, uid: &Uid, events: &[EventView]) -> Option<T> {
        let starting = self.starting.get_mut(uid)?;
        let told = starting.subject.hear(events);
        if told == starting.told {
            return None;
        }
        let before = starting.subject.with(starting.told.as_ref());
        starting.told = told;
        let now = starting.subject.with(starting.told.as_ref());
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
