// R2 LOG_GAPLESS_PREFIX at 140.021s, run 0 plan: its worker left, and 18121 of 18178 bytes of its console are
// stored
#[test]
fn r2_log_gapless_prefix_7203c2d9() {
    regression(include_str!("../regressions/r2_log_gapless_prefix_7203c2d9.json"));
}
