//! Every single fault, and every pair of kinds of fault, in every workload that everybody knows: most bugs
//! need two things to go wrong, and few need more.
//!
//! A case is named by what it consists of and by a seed: nothing else decides it.

use crate::{
    fault::{Dice, FaultId, Swarm},
    scenario::Scenario,
    workload,
};

/// One workload with one or two things that go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Case {
    /// The workload, by its place in [`workload::canonical`].
    pub workload: usize,
    /// What goes wrong.
    pub first: FaultId,
    /// What else does; the same kind once more for a pair of one kind, nothing for a single fault.
    pub second: Option<FaultId>,
}

/// The kinds that are drawn, in order.
pub fn kinds() -> impl Iterator<Item = FaultId> + Clone {
    FaultId::ALL.iter().copied().filter(|id| id.why_not().is_none())
}

/// Every kind in every workload.
pub fn singles() -> Vec<Case> {
    let of = |workload| kinds().map(move |first| Case { workload, first, second: None });
    (0..workload::canonical().len()).flat_map(of).collect()
}

/// Every pair of kinds in every workload, those of one kind included; in which order they come is drawn.
pub fn pairs() -> Vec<Case> {
    let of = |workload| {
        kinds().enumerate().flat_map(move |(place, first)| {
            kinds().skip(place).map(move |second| Case { workload, first, second: Some(second) })
        })
    };
    (0..workload::canonical().len()).flat_map(of).collect()
}

/// The workloads, once: making them for every case would cost as much as a short one.
#[derive(Clone, Debug)]
pub struct Bench(Vec<(&'static str, Scenario)>);

impl Default for Bench {
    fn default() -> Self {
        Self(workload::canonical())
    }
}

impl Bench {
    /// What a case is called.
    pub fn name(&self, case: Case) -> String {
        let workload = self.0.get(case.workload).map_or("?", |(name, _)| name);
        match case.second {
            None => format!("{workload}: {}", case.first),
            Some(second) => format!("{workload}: {} and {second}", case.first),
        }
    }

    /// The scenario of a case. Its faults are examples that this seed draws; a kind that could not happen in
    /// this world is not there.
    pub fn scenario(&self, case: Case, seed: u64) -> Scenario {
        let mut scenario =
            self.0.get(case.workload).map(|(_, scenario)| scenario.clone()).unwrap_or_default();
        scenario.world.seed = seed;
        let chaos_ms = scenario.chaos_ms;
        for (place, id) in (0_u64..).zip([Some(case.first), case.second].into_iter().flatten()) {
            let object = place << 32 | (case.workload as u64) << 16 | id as u64;
            let mut dice = Dice::new(seed, object);
            scenario.faults.extend(Swarm::of(&[id]).fault(&mut dice, &scenario.world, chaos_ms));
        }
        scenario
    }
}
