// R19 COMES_BACK_LATER at 2.000s (event 47): process 1 calls to list at 2.000s, and was asked not to before
// 26.192s
#[test]
fn r19_watch_hurried() {
    regression(include_str!("../regressions/r19_watch_hurried.json"));
}
