// R5 REBALANCE_LAUNCHES at 518s, run 1 apply: it was given away for balance 2 times without a launch
#[test]
fn r5_rebalance_launches_16254() {
    regression(include_str!("../regressions/r5_rebalance_launches_16254.json"));
}
