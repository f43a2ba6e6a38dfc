// R19 COMES_BACK_LATER at 79.320s (event 964), run 2 plan: process 2 calls to say that its worker is lost at
// 79.320s, and was asked not to before 80.227s
#[test]
fn r19_loss_hurried() {
    regression(include_str!("../regressions/r19_loss_hurried.json"));
}
