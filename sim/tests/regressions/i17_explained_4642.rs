// I17 EXPLAINED, run 4 plan: it says that the cap is why it waits, and there is room
#[test]
fn i17_explained_4642() {
    regression(include_str!("../regressions/i17_explained_4642.json"));
}
