// I16 WORK_CONSERVING at 275s: a controller has had 2 free slots for 31 s while another holds 3 tasks
#[test]
fn i16_work_conserving_cec591d6() {
    regression(include_str!("../regressions/i16_work_conserving_cec591d6.json"));
}
