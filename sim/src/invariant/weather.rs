//! Weather: what has gone wrong by now, and for whom.
//!
//! A fault that has not happened yet excuses nobody. It must never look at what is planned.

use std::collections::BTreeSet;

use scalr_core::clock::Millis;

use crate::{
    fault::{FaultId, What},
    scenario::Scenario,
    world::{
        snag::{Planned, Strike},
        truth::{Fired, FiredWhat},
    },
};

/// How long after everything has healed there may still be traces of it: leases and claims lapse in a minute.
const CALM_MS: u64 = 60_000;

/// What something that can happen is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing that is wrong: users approve, everything heals.
    Fair,
    /// A fault of the catalogue.
    Of(FaultId),
    /// Wrong, and of no kind: snags and strikes of the world's own.
    Other,
}

/// What has gone wrong by now.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    /// What the strikes and the snags of the scenario are, by their numbers.
    strikes: Vec<Kind>,
    snags: Vec<Kind>,
    /// From when on everything goes as it should again.
    calm_from: Millis,
    /// How many of those that have happened were looked at.
    seen: usize,
    kinds: BTreeSet<FaultId>,
    /// Whether anything has gone wrong, and whether anything that a controller has to do with.
    is_foul: bool,
    is_foul_for_controllers: bool,
}

impl Weather {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let own = &scenario.world;
        let of_strike = |planned: &Planned, kind| if is_fair(&planned.what) { Kind::Fair } else { kind };
        let mut strikes: Vec<Kind> =
            own.strikes.iter().map(|planned| of_strike(planned, Kind::Other)).collect();
        let mut snags = vec![Kind::Other; own.snags.len()];
        for fault in &scenario.faults {
            match &fault.what {
                What::Strike(planned) => strikes.push(of_strike(planned, Kind::Of(fault.id))),
                What::Snag(_) => snags.push(Kind::Of(fault.id)),
            }
        }
        // The healing, which every scenario has.
        strikes.push(Kind::Fair);
        Self {
            strikes,
            snags,
            calm_from: scenario.heals_at() + CALM_MS,
            seen: 0,
            kinds: BTreeSet::new(),
            is_foul: false,
            is_foul_for_controllers: false,
        }
    }

    /// Looks at what has happened since.
    pub(super) fn look(&mut self, fired: &[Fired]) {
        for one in fired.iter().skip(self.seen) {
            let kind = match one.what {
                FiredWhat::Strike(place) => self.strikes.get(place),
                // What a strike has put there is of no kind.
                FiredWhat::Snag { number, .. } => self.snags.get(number),
            };
            match kind.copied().unwrap_or(Kind::Other) {
                Kind::Fair => {}
                Kind::Of(id) => {
                    self.kinds.insert(id);
                    self.is_foul = true;
                    self.is_foul_for_controllers |= concerns_controllers(id);
                }
                Kind::Other => (self.is_foul, self.is_foul_for_controllers) = (true, true),
            }
        }
        self.seen = fired.len();
    }

    /// Whether anything has gone wrong by now.
    pub(super) fn is_foul(&self) -> bool {
        self.is_foul
    }

    /// Whether nothing has been wrong since then.
    pub(super) fn was_calm(&self, since: Millis) -> bool {
        !self.is_foul || since >= self.calm_from
    }

    /// Whether nothing has been wrong since then that a controller has to do with, its calls, or what it
    /// sees; pods and nodes may come and go.
    pub(super) fn was_clear(&self, since: Millis) -> bool {
        !self.is_foul_for_controllers || since >= self.calm_from
    }

    /// Whether something of one of these kinds has happened.
    pub(super) fn any(&self, kinds: &[FaultId]) -> bool {
        kinds.iter().any(|kind| self.kinds.contains(kind))
    }
}

fn is_fair(strike: &Strike) -> bool {
    matches!(strike, Strike::Approve { .. } | Strike::Heal)
}

/// Whether it happens to Scalr, to the API server and what it says, or to processes of the agent's own.
fn concerns_controllers(id: FaultId) -> bool {
    id.name().starts_with(['S', 'K', 'W', 'A'])
}
