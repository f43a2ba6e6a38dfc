// L3 NO_STARVATION, run 0 plan: others are launched first that were queued later
#[test]
fn l3_no_starvation_12842() {
    regression(include_str!("../regressions/l3_no_starvation_12842.json"));
}
