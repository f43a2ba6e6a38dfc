// R19 COMES_BACK_LATER at 112.573s (event 209): process 1 calls to send a heartbeat at 112.573s, and was
// asked not to before 115.466s
#[test]
fn r19_heartbeat_hurried() {
    regression(include_str!("../regressions/r19_heartbeat_hurried.json"));
}
