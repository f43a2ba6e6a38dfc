// R5 REBALANCE_LAUNCHES at 87.075s, run 2 plan: it was given away for balance 2 times without a launch
#[test]
fn r5_rebalance_launches_76b69e9b() {
    regression(include_str!("../regressions/r5_rebalance_launches_76b69e9b.json"));
}
