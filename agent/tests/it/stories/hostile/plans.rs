//! What a tool shows as its plan, when it is no plan.

use expect_test::expect;

use super::{each, next_run_is_fine, obedient, python};

#[test]
fn whatever_the_tool_shows_as_its_plan_is_counted_or_refused_in_little_memory() {
    let rig = obedient(&["--concurrency", "2"]);
    let memory = rig.watch_memory();
    let prints = |program: &str| python(&format!("import sys\nw = sys.stdout.write\n{program}"));
    let levels = prints(
        r#"w("{\"format_version\":")
for n in range(12): w("[" * 1000000)"#,
    );
    // Each character becomes six in a message that quotes it.
    let text = prints(r#"w("{\"format_version\":1,\"applyable\":\"" + "\x7f" * 15000000 + "\"}")"#);
    let actions = prints(
        r#"w("{\"format_version\":1,\"resource_changes\":[{\"change\":{\"actions\":[")
w("\"create\"," * 300000 + "\"create\"]}}]}")"#,
    );
    let cases = [
        ("no json", "head -c 100000 /dev/urandom | tr -d '\\0-\\177'"),
        ("cut", "echo '{\"format_version\":1,\"resource_changes\":[{\"change\"'"),
        ("a secret in the wrong place", "echo '{\"format_version\":1,\"applyable\":\"'$KEY'\"}'"),
        ("levels without end", levels.as_str()),
        ("a text without end", text.as_str()),
        ("actions without end", actions.as_str()),
    ];
    let args = ["--dry", "--sensitive-env", "KEY=the-key-of-this-story"];
    expect![[r"
        no json: errored: the plan's JSON can't be read: it is no JSON (line 1, column 1)
        cut: errored: the plan's JSON can't be read: it ends too soon (line 2, column 0)
        a secret in the wrong place: errored: the plan's JSON can't be read: it is not what a plan holds (line 1, column 55)
        levels without end: errored: the plan's JSON can't be read: more than 1000 levels
        a text without end: errored: the plan's JSON can't be read: it is not what a plan holds (line 1, column 15000034)
        actions without end: planned_and_finished: 
    "]]
    .assert_eq(&each(&rig, "show", &[], &args, &cases));
    memory.stayed_within_bounds(cases.len());
    next_run_is_fine(&rig);
}
