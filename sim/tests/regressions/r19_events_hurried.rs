// R19 COMES_BACK_LATER at 57.386s (event 161): process 1 calls to tell how launches go at 57.386s, and was
// asked not to before 64.366s
#[test]
fn r19_events_hurried() {
    regression(include_str!("../regressions/r19_events_hurried.json"));
}
