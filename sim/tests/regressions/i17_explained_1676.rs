// I17 EXPLAINED at 91.019s, run 2 plan: it says for 20 s that the cap is why it waits, and there is room
#[test]
fn i17_explained_1676() {
    regression(include_str!("../regressions/i17_explained_1676.json"));
}
