//! How fast Jobs may be released: at the rate at which pods really appear.
//!
//! It bounds how many own Jobs wait for a first pod. It grows with every pod that appears, and halves when
//! the cluster asks for patience or leaves Jobs without pods. It never falls to nothing.

use crate::{
    clock::Millis,
    mutant::{Mutant, planted},
};

/// What it begins with: as much as an idle cluster takes without noticing.
const FIRST: u32 = 10;
/// What it never falls below, so that there is always a probe.
const LEAST: u32 = 1;
/// What it never grows over: the Job controller of a large cluster makes some hundred pods a second.
const MOST: u32 = 500;
/// One trouble is told by many answers; they halve it once.
const REST_MS: u64 = 5_000;
/// A Job without a pod for so long means trouble: the Job controller takes about a second.
pub(super) const PODLESS_MS: u64 = 15_000;

/// The window.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Window {
    size: u32,
    /// Until the first trouble it grows by one for each pod, afterwards by one for each windowful.
    is_probing: bool,
    pods_since: u32,
    halved_at: Option<Millis>,
    /// When Jobs without pods were last looked for.
    checked_at: Millis,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: FIRST, is_probing: true, pods_since: 0, halved_at: None, checked_at: Millis(0) }
    }
}

impl Window {
    /// How many own Jobs may wait for their pods.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// A Job got its first pod, while so many waited. A window that is not used does not grow.
    pub(super) fn pod_appeared(&mut self, waiting: u32) {
        if waiting < self.size / 2 || planted(Mutant::WindowNeverGrows) {
            return;
        }
        self.pods_since += 1;
        if self.is_probing || self.pods_since >= self.size {
            self.size = (self.size + 1).min(MOST);
            self.pods_since = 0;
        }
    }

    /// Jobs without pods are looked for. Says when they were the last time.
    pub(super) fn checked(&mut self, now: Millis) -> Millis {
        std::mem::replace(&mut self.checked_at, now)
    }

    /// The cluster is in trouble.
    pub(super) fn halve(&mut self, now: Millis) {
        if planted(Mutant::WindowNeverShrinks) || self.halved_at.is_some_and(|at| now.since(at) < REST_MS) {
            return;
        }
        self.size = (self.size / 2).max(LEAST);
        self.is_probing = false;
        self.pods_since = 0;
        self.halved_at = Some(now);
    }
}
