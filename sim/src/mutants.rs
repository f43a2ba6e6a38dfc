//! Whether the simulator notices when a brain is wrong: one planted mutant at a time, ordinary scenarios
//! until one breaks a promise, and that one made small.
//!
//! A catch counts only where the sound brains come through the same scenario, before it was made small and
//! after. Scenarios are those that the ordinary generator makes; for a rare mutant those are passed over that
//! lack what it needs. It must never draw one of its own, nor leave a mutant planted.

use scalr_core::mutant::{Mutant, plant};

use crate::{
    fault::{FaultId, What},
    generate::{self, Shape},
    invariant::{Checks, Violation},
    luck::{Luck, Purpose, key_of},
    scenario::Scenario,
    shrink::{self, Shrunk},
    story, trial,
    world::{
        World,
        snag::{CallKind, Fate},
    },
};

const SHAPE: Purpose = Purpose::named("mutants");

/// So many scenarios are drawn for each that may be run, at most.
const DRAWN_PER_RUN_MAX: u64 = 200;

/// A scenario in which a mutant breaks a promise and the sound brains do not.
#[derive(Clone, Debug, PartialEq)]
pub struct Catch {
    /// The scenario.
    pub scenario: Scenario,
    /// What breaks.
    pub violation: Violation,
    /// How many scenarios were drawn, this one counted.
    pub drawn: u64,
    /// How many of them were run: the others lack what the mutant needs.
    pub run: u64,
}

/// Whether a scenario has in it what this mutant needs; any will do for most.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rare ones are named, all others are met everywhere")]
pub fn is_worth_a_run(mutant: Mutant, scenario: &Scenario) -> bool {
    use FaultId as F;
    let has = |kinds: &[FaultId]| scenario.faults.iter().any(|fault| kinds.contains(&fault.id));
    match mutant {
        // A launch fails, and the answer to the word of it gets lost.
        Mutant::DoorRetriedUnderNewestFence => {
            has(&[F::P5, F::P6, F::P10, F::K8, F::N6])
                && scenario.faults.iter().any(|fault| {
                    matches!(&fault.what, What::Snag(snag)
                    if snag.call == Some(CallKind::LaunchFailed) && matches!(snag.fate, Fate::Lose { .. }))
                })
        }
        // An unanswered create, and a cluster that asks for patience.
        Mutant::RepeatDropsRetryAfter => has(&[F::K1, F::K2, F::K9]) && has(&[F::K5]),
        Mutant::OldQuotaToldAsReason => has(&[F::K7]) && scenario.world.controllers.len() > 1,
        Mutant::OldOutputTakenForOwnLine => has(&[F::A10]),
        // Contact is lost for long.
        Mutant::GoesOnAfterLostAfter | Mutant::LostAfterFromAnswer | Mutant::LateDeliverySkipped => {
            has(&[F::S7, F::A9, F::N2, F::N3, F::N9, F::S5, F::S8])
        }
        // A confirm that takes too long.
        Mutant::FenceUnchecked | Mutant::ConfirmRepeatedAfterGone => {
            has(&[F::S4, F::S5, F::S6, F::S7, F::S8, F::A9, F::N2, F::N3])
        }
        // A worker dies under its tool.
        Mutant::OneContainerReadAsProof => has(&[F::A1, F::A2, F::A3]),
        Mutant::MissingPodReadAsProof => has(&[F::K13, F::N1, F::N2, F::N4, F::N9, F::P2, F::C5]),
        Mutant::RunnerGoneIgnored => has(&[F::P4]),
        Mutant::CancelIgnoredBeforeStart
        | Mutant::ForceCancelWaits
        | Mutant::KilledAtOnceOnCancel
        | Mutant::CancelIgnoredAtWork
        | Mutant::CanceledDespiteSuccess => has(&[F::S9]),
        Mutant::ListResetsLaterNews => has(&[F::W4, F::W5, F::W7, F::W8]),
        Mutant::StaleListBelieved | Mutant::FirstListNotQuorum => has(&[F::W6, F::W7]),
        Mutant::SilentWatchKept => has(&[F::W2]),
        Mutant::StartupDeadlineNeverFires => has(&[F::P5, F::P6, F::P10, F::C2, F::N6]),
        // Somebody asks for patience.
        Mutant::PatienceIgnored
        | Mutant::ScalrsPatienceIgnored
        | Mutant::HeartbeatHurried
        | Mutant::EventsHurried => has(&[F::S6]),
        Mutant::WatchHurried => has(&[F::K5]),
        // Many tasks wait for a window that has shrunk, and nothing else.
        Mutant::WindowNeverGrows => {
            let is_wide = scenario.world.controllers.iter().any(|it| it.capacity >= 5);
            has(&[F::K5]) && scenario.world.runs.len() >= 6 && is_wide
        }
        Mutant::GraceWithoutReserve => has(&[F::P1, F::P2, F::P3, F::N4, F::N5, F::C5]),
        Mutant::LossNeverTold => has(&[F::P2, F::P4, F::N1, F::N4, F::N6, F::N9]),
        Mutant::EndedLaunchKept => has(&[F::P1, F::P3, F::P4, F::N1, F::N4, F::N6, F::N8]),
        Mutant::StartupMaxIgnored => has(&[F::C1]),
        Mutant::AdoptedLaunchKept => has(&[F::A1, F::A2, F::A3, F::A4, F::A5, F::A7]),
        _ => true,
    }
}

/// A mutant that is planted until this goes out of scope.
struct Planted;

impl Planted {
    fn now(mutant: Mutant) -> Self {
        plant(Some(mutant));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

/// The promise that a mutant breaks in this scenario, if it breaks one.
pub fn broken_by(mutant: Mutant, scenario: &Scenario) -> Option<Violation> {
    let _planted = Planted::now(mutant);
    trial::run(scenario).violation
}

/// How this scenario goes under a mutant.
pub fn story_of(mutant: Mutant, scenario: &Scenario) -> String {
    let _planted = Planted::now(mutant);
    story::tell(scenario)
}

/// How many tasks there were until a mutant broke a promise.
pub fn tasks_until(mutant: Mutant, scenario: &Scenario) -> usize {
    let _planted = Planted::now(mutant);
    let mut world = World::new(scenario.setup(scenario.world.seed));
    let _broken = trial::watch(&mut world, scenario, &mut Checks::new(scenario), &mut |_| {});
    world.truth().tasks().count()
}

/// Draws scenarios of a seed until one catches this mutant; at most so many are run.
pub fn hunt(mutant: Mutant, seed: u64, run_max: u64) -> Option<Catch> {
    let luck = Luck::new(seed);
    let mut run = 0;
    for drawn in 1..=run_max * DRAWN_PER_RUN_MAX {
        let scenario = generate::scenario(Shape::of(luck.draw(SHAPE, key_of(mutant.name()), drawn)));
        if !is_worth_a_run(mutant, &scenario) {
            continue;
        }
        run += 1;
        if let Some(violation) = broken_by(mutant, &scenario)
            && trial::run(&scenario).violation.is_none()
        {
            return Some(Catch { scenario, violation, drawn, run });
        }
        if run >= run_max {
            break;
        }
    }
    None
}

/// Makes the scenario of a catch small: the mutant breaks the same promise, the sound brains none.
pub fn shrink(mutant: Mutant, caught: &Catch) -> Shrunk {
    shrink::shrink_by(&caught.scenario, &caught.violation, &mut |scenario| {
        let violation = broken_by(mutant, scenario)?;
        let is_same = violation.invariant == caught.violation.invariant;
        (is_same && trial::run(scenario).violation.is_none()).then_some(violation)
    })
}
