// R11 SLOWS_DOWN at 31.754s, run 0 apply: a Job is made, and was asked not to be before 32.963s
#[test]
fn r11_slows_down_4632() {
    regression(include_str!("../regressions/r11_slows_down_4632.json"));
}
