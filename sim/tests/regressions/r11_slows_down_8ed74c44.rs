// R11 SLOWS_DOWN at 65.431s, run 3 plan: a Job is made, and was asked not to be before 75.216s
#[test]
fn r11_slows_down_8ed74c44() {
    regression(include_str!("../regressions/r11_slows_down_8ed74c44.json"));
}
