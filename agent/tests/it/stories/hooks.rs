//! Commands of the user's around the stages.

use expect_test::expect;

use crate::rig::{Rig, example};

/// The console's lines about hooks, and what the hooks said.
fn hooks(console: &str) -> String {
    let is_of_hooks = |line: &&str| {
        ["Executing ", "hook: ", "Exit code: ", "~$ "].iter().any(|begin| line.starts_with(begin))
    };
    let lines: Vec<&str> = console.lines().filter(is_of_hooks).collect();
    lines.join("\n") + "\n"
}

#[test]
fn hooks_run_in_their_order_and_know_where_they_are() {
    let rig = Rig::new();
    let hook = |phase: &str, command: &str| format!("{phase}=echo \"hook: {phase} {command}\"");
    let given = [
        hook("post-apply", "exit=$SCALR_TERRAFORM_EXIT_CODE $SCALR_TERRAFORM_OPERATION"),
        hook("pre-apply", "$SCALR_TERRAFORM_OPERATION $SCALR_RUN_MODE"),
        hook("post-plan", "exit=$SCALR_TERRAFORM_EXIT_CODE"),
        hook("pre-plan", "$SCALR_WORKSPACE_NAME $FROM_THE_WORKSPACE"),
        hook("pre-init", "$SCALR_TERRAFORM_OPERATION $SCALR_RUN_SOURCE"),
    ];
    let given = given.iter().flat_map(|hook| ["--hook", hook]);
    let args: Vec<&str> = given.chain(["--auto-apply", "--env", "FROM_THE_WORKSPACE=yes"]).collect();
    let run = rig.submit(&example("hello"), &args);
    rig.await_status(&run, "applied");
    expect![[r#"
        Executing pre-init hook...
        ~$ echo "hook: pre-init $SCALR_TERRAFORM_OPERATION $SCALR_RUN_SOURCE"
        hook: pre-init init cli
        Exit code: 0
        Executing pre-plan hook...
        ~$ echo "hook: pre-plan $SCALR_WORKSPACE_NAME $FROM_THE_WORKSPACE"
        hook: pre-plan hello yes
        Exit code: 0
        Executing post-plan hook...
        ~$ echo "hook: post-plan exit=$SCALR_TERRAFORM_EXIT_CODE"
        hook: post-plan exit=0
        Exit code: 0
        Executing pre-init hook...
        ~$ echo "hook: pre-init $SCALR_TERRAFORM_OPERATION $SCALR_RUN_SOURCE"
        hook: pre-init init cli
        Exit code: 0
        Executing pre-apply hook...
        ~$ echo "hook: pre-apply $SCALR_TERRAFORM_OPERATION $SCALR_RUN_MODE"
        hook: pre-apply apply apply
        Exit code: 0
        Executing post-apply hook...
        ~$ echo "hook: post-apply exit=$SCALR_TERRAFORM_EXIT_CODE $SCALR_TERRAFORM_OPERATION"
        hook: post-apply exit=0 apply
        Exit code: 0
    "#]]
    .assert_eq(&hooks(&rig.console(&run)));
}

#[test]
fn a_failing_hook_fails_the_run_before_the_stage() {
    let rig = Rig::new();
    let run = rig.submit(&example("hello"), &["--auto-apply", "--hook", "pre-plan=echo 'hook: no'; exit 7"]);
    rig.await_status(&run, "errored");
    let console = rig.console(&run);
    expect![[r"
        Executing pre-plan hook...
        ~$ echo 'hook: no'; exit 7
        hook: no
        Exit code: 7
        the pre-plan hook failed with exit code 7
    "]]
    .assert_eq(&format!("{}{}\n", hooks(&console), rig.error(&run)));
    assert!(!console.contains("Terraform will perform"), "{console}");
    assert_eq!(rig.state("hello"), None);
}

#[test]
fn a_hook_that_waits_is_stopped_by_a_cancel() {
    let rig = Rig::new();
    let hook = format!("pre-plan={}", rig.mark_and_wait("waits"));
    let run = rig.submit(&example("hello"), &["--auto-apply", "--hook", &hook]);
    rig.await_mark("waits");
    rig.does(&["cancel", &run]);
    rig.await_status(&run, "canceled");
    let console = rig.console(&run);
    assert!(console.contains("Run canceled. Stopping gracefully..."), "{console}");
}
