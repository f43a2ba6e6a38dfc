// R19 COMES_BACK_LATER at 59.169s (event 153), run 0 plan: process 2 calls to append to its log at 59.169s,
// and was asked not to before 63.556s
#[test]
fn r19_loss_hurried() {
    regression(include_str!("../regressions/r19_loss_hurried.json"));
}
