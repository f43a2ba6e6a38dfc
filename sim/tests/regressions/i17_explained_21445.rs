// I17 EXPLAINED at 146.059s, run 4 plan: it says for 75 s that a quota is why it waits, and it is not so
#[test]
fn i17_explained_21445() {
    regression(include_str!("../regressions/i17_explained_21445.json"));
}
