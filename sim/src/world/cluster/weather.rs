//! Which faults are in force, each until some moment.
//!
//! It only answers questions; what follows is decided where the question is asked.

use scalr_core::clock::Millis;

use super::{
    super::{setup::TaskNumber, snag::CallKind},
    alphabet::PodKey,
    fault::{ApiTrouble, ImageTrouble},
    setup::QuotaSetup,
};

/// Something that is in force until a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Spell<T> {
    until: Millis,
    what: T,
}

/// Things in force, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spells<T>(Vec<Spell<T>>);

impl<T> Default for Spells<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Spells<T> {
    /// From now on until a moment.
    pub(super) fn cast(&mut self, until: Millis, what: T) {
        self.0.push(Spell { until, what });
    }

    /// What is in force.
    pub(super) fn now(&self, now: Millis) -> impl Iterator<Item = &T> {
        self.0.iter().filter(move |spell| now < spell.until).map(|spell| &spell.what)
    }

    fn is_any(&self, now: Millis) -> bool {
        self.0.iter().any(|spell| now < spell.until)
    }

    fn drop_past(&mut self, now: Millis) {
        self.0.retain(|spell| now < spell.until);
    }
}

/// Pods that are meant, once it is known which they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Meant {
    /// All, those to come included.
    All,
    /// All of a task, those to come included.
    Task(TaskNumber),
    /// This one.
    Pod(PodKey),
}

/// A pod as a fault looks at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) key: PodKey,
    pub(super) number: Option<TaskNumber>,
}

impl Meant {
    pub(super) fn fits(self, target: Target) -> bool {
        match self {
            Self::All => true,
            Self::Task(number) => target.number == Some(number),
            Self::Pod(key) => target.key == key,
        }
    }
}

/// The faults in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Weather {
    pub(super) refusals: Spells<(Option<CallKind>, ApiTrouble, u32)>,
    pub(super) slow_calls: Spells<(Option<CallKind>, u64)>,
    pub(super) quotas: Spells<QuotaSetup>,
    pub(super) expiry: Spells<()>,
    pub(super) namespace: Spells<()>,
    pub(super) lags: Spells<(u32, u64)>,
    pub(super) images: Spells<(Meant, ImageTrouble)>,
    pub(super) create_errors: Spells<Meant>,
    pub(super) mount_errors: Spells<Meant>,
    pub(super) quiet: Spells<Meant>,
    pub(super) stuck: Spells<Meant>,
    pub(super) unschedulable: Spells<Meant>,
    pub(super) slow_boots: Spells<u64>,
    pub(super) stockouts: Spells<usize>,
    pub(super) node_limits: Spells<(usize, u32)>,
    pub(super) volume_elsewhere: Spells<()>,
    pub(super) volume_slow: Spells<u32>,
    pub(super) volume_full: Spells<()>,
    pub(super) volume_locked: Spells<()>,
    pub(super) volume_pinned: Spells<u32>,
    /// Creations that find their name taken, and for how long.
    names: Vec<(TaskNumber, u64)>,
    /// How many bindings meet a node that is just going.
    pub(super) races: u32,
}

impl Weather {
    /// Forgets what is over.
    pub(super) fn drop_past(&mut self, now: Millis) {
        self.refusals.drop_past(now);
        self.slow_calls.drop_past(now);
        self.quotas.drop_past(now);
        self.expiry.drop_past(now);
        self.namespace.drop_past(now);
        self.lags.drop_past(now);
        self.images.drop_past(now);
        self.create_errors.drop_past(now);
        self.mount_errors.drop_past(now);
        self.quiet.drop_past(now);
        self.stuck.drop_past(now);
        self.unschedulable.drop_past(now);
        self.slow_boots.drop_past(now);
        self.stockouts.drop_past(now);
        self.node_limits.drop_past(now);
        self.volume_elsewhere.drop_past(now);
        self.volume_slow.drop_past(now);
        self.volume_full.drop_past(now);
        self.volume_locked.drop_past(now);
        self.volume_pinned.drop_past(now);
    }

    /// How the API server answers this call instead, if it does. `is_drawn` throws the dice.
    pub(super) fn refusal(
        &self,
        now: Millis,
        call: CallKind,
        is_drawn: impl Fn(u32) -> bool,
    ) -> Option<ApiTrouble> {
        let is_meant = |kind: &Option<CallKind>, trouble: &ApiTrouble| {
            let needs_create =
                matches!(trouble, ApiTrouble::Denied | ApiTrouble::WebhookTimeout | ApiTrouble::NoTemplate);
            kind.is_none_or(|kind| kind == call) && (!needs_create || call == CallKind::CreateJob)
        };
        self.refusals
            .now(now)
            .find(|(kind, trouble, permille)| is_meant(kind, trouble) && is_drawn(*permille))
            .map(|(_, trouble, _)| trouble.clone())
    }

    /// How much later a call is carried out.
    pub(super) fn slow_ms(&self, now: Millis, call: CallKind) -> u64 {
        let is_meant = |kind: &Option<CallKind>| kind.is_none_or(|kind| kind == call);
        self.slow_calls.now(now).filter(|(kind, _)| is_meant(kind)).map(|(_, by_ms)| *by_ms).sum()
    }

    pub(super) fn quota(&self, now: Millis) -> Option<QuotaSetup> {
        self.quotas.now(now).last().copied()
    }

    pub(super) fn is_expiring_at_once(&self, now: Millis) -> bool {
        self.expiry.is_any(now)
    }

    pub(super) fn is_namespace_ending(&self, now: Millis) -> bool {
        self.namespace.is_any(now)
    }

    /// How much further a server's caches are behind.
    pub(super) fn server_lag_ms(&self, now: Millis, server: u32) -> u64 {
        self.lags.now(now).filter(|(lagging, _)| *lagging == server).map(|(_, by_ms)| *by_ms).sum()
    }

    /// What is wrong with a pod's images: of several, what is worst.
    pub(super) fn image(&self, now: Millis, target: Target) -> Option<&ImageTrouble> {
        let severity = |trouble: &&ImageTrouble| match trouble {
            ImageTrouble::Slow { by_ms } => (0, *by_ms),
            ImageTrouble::Refused => (1, 0),
            ImageTrouble::Invalid => (2, 0),
        };
        let meant = self.images.now(now).filter(|(meant, _)| meant.fits(target));
        meant.map(|(_, trouble)| trouble).max_by_key(severity)
    }

    pub(super) fn is_create_failing(&self, now: Millis, target: Target) -> bool {
        self.create_errors.now(now).any(|meant| meant.fits(target))
    }

    pub(super) fn is_mount_failing(&self, now: Millis, target: Target) -> bool {
        self.mount_errors.now(now).any(|meant| meant.fits(target))
    }

    pub(super) fn is_quiet(&self, now: Millis, target: Target) -> bool {
        self.quiet.now(now).any(|meant| meant.fits(target))
    }

    pub(super) fn is_stuck(&self, now: Millis, target: Target) -> bool {
        self.stuck.now(now).any(|meant| meant.fits(target))
    }

    pub(super) fn is_unschedulable(&self, now: Millis, target: Target) -> bool {
        self.unschedulable.now(now).any(|meant| meant.fits(target))
    }

    pub(super) fn slow_boot_ms(&self, now: Millis) -> u64 {
        self.slow_boots.now(now).sum()
    }

    pub(super) fn is_out_of_stock(&self, now: Millis, pool: usize) -> bool {
        self.stockouts.now(now).any(|short| *short == pool)
    }

    /// How many nodes a pool may have, if that is bounded now.
    pub(super) fn nodes_max(&self, now: Millis, pool: usize) -> Option<u32> {
        self.node_limits.now(now).filter(|(limited, _)| *limited == pool).map(|(_, max)| *max).min()
    }

    pub(super) fn is_volume_elsewhere(&self, now: Millis) -> bool {
        self.volume_elsewhere.is_any(now)
    }

    /// How much longer a shared volume takes, in thousandths of its usual time.
    pub(super) fn volume_slow_permille(&self, now: Millis) -> u32 {
        self.volume_slow.now(now).copied().max().unwrap_or(1_000)
    }

    pub(super) fn is_volume_full(&self, now: Millis) -> bool {
        self.volume_full.is_any(now)
    }

    pub(super) fn is_volume_locked(&self, now: Millis) -> bool {
        self.volume_locked.is_any(now)
    }

    /// In which zone the volume is stuck.
    pub(super) fn volume_zone(&self, now: Millis) -> Option<u32> {
        self.volume_pinned.now(now).last().copied()
    }

    /// The next creation for a task finds its name taken.
    pub(super) fn promise_name(&mut self, task: TaskNumber, for_ms: u64) {
        self.names.push((task, for_ms));
    }

    /// Whether this creation finds its name taken, and for how long.
    pub(super) fn take_name(&mut self, task: TaskNumber) -> Option<u64> {
        let place = self.names.iter().position(|(meant, _)| *meant == task)?;
        Some(self.names.remove(place).1)
    }
}
