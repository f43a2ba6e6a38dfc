use fake_scalr::state::status::RunStatus;
use scalr_core::clock::Millis;

use super::{
    World,
    setup::{RunSetup, Setup},
};

fn runs(count: u32) -> Setup {
    let runs = (0..count).map(|n| RunSetup {
        at_ms: 1_000 + u64::from(n) * 100,
        workspace: n,
        ..RunSetup::default()
    });
    Setup { runs: runs.collect(), ..Setup::default() }
}

#[test]
fn a_run_is_planned_and_applied() {
    let mut world = World::new(runs(1));
    world.keep_score();
    while !world.is_over() && world.now() < Millis(3_600_000) {
        if world.step().is_none() {
            break;
        }
        print!("{}", world.score().unwrap());
    }
    assert_eq!(world.run_status(0), Some(RunStatus::Applied));
}
