//! The examples of this repository, as their README says to submit them.

use crate::rig::{Rig, example, text};

const MASK: &str = "***************";

#[test]
fn hello_is_applied_and_its_outputs_are_shown() {
    let rig = Rig::new();
    let submitted = rig.person(&["submit", &example("hello").display().to_string(), "--auto-apply"]);
    let (console, notes) = (text(&submitted.stdout), text(&submitted.stderr));
    assert!(submitted.status.success(), "{console}{notes}");
    assert!(console.contains("Apply complete! Resources: 2 added, 0 changed, 0 destroyed."), "{console}");
    assert!(console.contains("greeting = \"Hello, world!\""), "{console}");
    assert!(notes.trim_end().ends_with(": applied"), "{notes}");
    assert_eq!(rig.state("hello").unwrap()["outputs"]["length"]["value"], 13);
}

#[test]
fn modules_work_in_a_sub_folder_with_a_variable_file_and_no_secret_is_shown() {
    let rig = Rig::new();
    let run = rig.submit(
        &example("modules"),
        &[
            "--working-directory",
            "stacks/web",
            "--var-file",
            "production.tfvars",
            "--sensitive-var",
            "password=correct-horse",
            "--hcl-var",
            "labels=[\"blue\", \"green\"]",
            "--auto-apply",
        ],
    );
    rig.await_status(&run, "applied");
    let console = rig.console(&run);
    assert!(console.contains("Apply complete!"), "{console}");
    assert!(console.contains(&format!("logging in to production-api with {MASK}")), "{console}");
    assert!(!console.contains("correct-horse"), "{console}");
    let state = rig.state("modules").unwrap();
    assert_eq!(state["outputs"]["services"]["value"]["static"], "production-static.example.com");
    assert_eq!(state["outputs"]["password"]["value"], "correct-horse", "the state has what was set");
}

#[test]
fn a_failed_plan_ends_its_run_in_the_tools_own_words() {
    let rig = Rig::new();
    let run = rig.submit(&example("fails-at-plan"), &["--auto-apply"]);
    rig.await_status(&run, "errored");
    let console = rig.console(&run);
    assert!(console.contains("Error: Error in function call"), "{console}");
    assert!(console.contains("jsondecode"), "{console}");
    assert_eq!(rig.error(&run), "plan failed with exit code 1");
    assert_eq!(rig.run(&run).related("apply"), None, "there is no apply");
    assert_eq!(rig.state("fails-at-plan"), None);
}

#[test]
fn a_failed_apply_ends_its_run_and_what_it_made_is_in_the_state() {
    let rig = Rig::new();
    let run = rig.submit(&example("fails-at-apply"), &["--auto-apply"]);
    rig.await_status(&run, "errored");
    let console = rig.console(&run);
    assert!(console.contains("the second resource says no"), "{console}");
    assert!(console.contains("Error: local-exec provisioner error"), "{console}");
    assert_eq!(rig.error(&run), "apply failed with exit code 1");
    let state = rig.state("fails-at-apply").unwrap();
    assert_eq!(state["outputs"]["first"]["value"], "created before the failure");
}

#[test]
fn submit_fails_when_its_run_fails_and_says_why_in_one_line() {
    let rig = Rig::new();
    let submitted = rig.person(&["submit", &example("fails-at-plan").display().to_string()]);
    assert_eq!(submitted.status.code(), Some(1));
    let last = text(&submitted.stderr).lines().last().unwrap_or_default().to_owned();
    assert!(last.ends_with(": errored: plan failed with exit code 1"), "{last}");
}
