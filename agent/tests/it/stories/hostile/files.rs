//! What user code puts in the place of a file that the worker will read.

use expect_test::expect;

use super::{each, ended, next_run_is_fine, no_token_is_anywhere, obedient};
use crate::rig::Rig;

/// Ways to put something into the place of the file `$it`. What is a device is one only where the test may
/// make one; else it is another FIFO.
const TRICKS: [(&str, &str); 8] = [
    ("own environment", "ln -s /proc/self/environ $it"),
    ("environment of the worker", "ln -s /proc/$(cat /proc/$PPID/cwd/worker.pid)/environ $it"),
    ("link to a file", "ln -s main.tf $it"),
    ("fifo", "mkfifo $it"),
    ("device", "mknod $it c 1 5 2>/dev/null || mkfifo $it"),
    ("folder", "mkdir -p $it/below"),
    ("sparse", "truncate -s 100G $it"),
    ("nothing", ":"),
];

/// The tricks with this in the place of `$it`, which is made room for.
fn tricks(it: &str) -> Vec<(&'static str, String)> {
    TRICKS.iter().map(|(name, trick)| (*name, format!("it={it}; rm -rf $it; {trick}"))).collect()
}

fn borrowed<'a>(tricks: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    tricks.iter().map(|(name, trick)| (*name, trick.as_str())).collect()
}

#[test]
fn whatever_stands_in_the_place_of_the_plan_file_is_not_followed() {
    let rig = obedient(&["--concurrency", "3"]);
    let memory = rig.watch_memory();
    let tricks = tricks("$plan");
    expect![[r#"
        own environment: errored: the plan-file can't be taken: "plan.tfplan" is a link, not a regular file
        environment of the worker: errored: the plan-file can't be taken: "plan.tfplan" is a link, not a regular file
        link to a file: errored: the plan-file can't be taken: "plan.tfplan" is a link, not a regular file
        fifo: errored: the plan-file can't be taken: "plan.tfplan" is a device, FIFO or socket, not a regular file
        device: errored: the plan-file can't be taken: "plan.tfplan" is a device, FIFO or socket, not a regular file
        folder: errored: the plan-file can't be taken: "plan.tfplan" is a folder, not a regular file
        sparse: errored: the plan-file can't be taken: "plan.tfplan" has 107374182400 bytes, the limit is 1073741824
        nothing: errored: the plan file is gone
    "#]]
    .assert_eq(&each(&rig, "plan", &[], &["--dry"], &borrowed(&tricks)));
    memory.stayed_within_bounds(tricks.len());
    no_token_is_anywhere(&rig);
    next_run_is_fine(&rig);
}

#[test]
fn whatever_stands_in_the_place_of_the_lock_file_is_not_followed() {
    let rig = obedient(&["--concurrency", "3"]);
    let memory = rig.watch_memory();
    let tricks = tricks(".terraform.lock.hcl");
    expect![[r#"
        own environment: errored: the lock-file can't be taken: ".terraform.lock.hcl" is a link, not a regular file
        environment of the worker: errored: the lock-file can't be taken: ".terraform.lock.hcl" is a link, not a regular file
        link to a file: errored: the lock-file can't be taken: ".terraform.lock.hcl" is a link, not a regular file
        fifo: errored: the lock-file can't be taken: ".terraform.lock.hcl" is a device, FIFO or socket, not a regular file
        device: errored: the lock-file can't be taken: ".terraform.lock.hcl" is a device, FIFO or socket, not a regular file
        folder: errored: the lock-file can't be taken: ".terraform.lock.hcl" is a folder, not a regular file
        sparse: errored: the lock-file can't be taken: ".terraform.lock.hcl" has 107374182400 bytes, the limit is 4194304
        nothing: planned_and_finished: 
    "#]]
    .assert_eq(&each(&rig, "plan", &[], &["--dry"], &borrowed(&tricks)));
    memory.stayed_within_bounds(tricks.len());
    no_token_is_anywhere(&rig);
    next_run_is_fine(&rig);
}

#[test]
fn whatever_stands_in_the_place_of_an_errored_state_is_not_followed() {
    let rig = obedient(&["--concurrency", "3"]);
    let memory = rig.watch_memory();
    let tricks: Vec<_> = tricks("errored.tfstate")
        .into_iter()
        .map(|(name, trick)| (name, format!("{trick}; exit 1")))
        .collect();
    let push = [("state", "echo pushed >> $marks/pushed")];
    expect![[r"
        own environment: errored: apply failed with exit code 1
        environment of the worker: errored: apply failed with exit code 1
        link to a file: errored: apply failed with exit code 1
        fifo: errored: apply failed with exit code 1
        device: errored: apply failed with exit code 1
        folder: errored: apply failed with exit code 1
        sparse: errored: apply failed with exit code 1
        nothing: errored: apply failed with exit code 1
    "]]
    .assert_eq(&each(&rig, "apply", &push, &["--auto-apply"], &borrowed(&tricks)));
    memory.stayed_within_bounds(2 * tricks.len());
    assert_eq!(rig.marks("pushed").len(), 1, "only one looks like a file of the tool's");
    no_token_is_anywhere(&rig);
    next_run_is_fine(&rig);
}

#[test]
fn a_folder_that_was_swapped_for_a_link_is_still_the_folder_that_it_was() {
    let rig = obedient(&["--concurrency", "3"]);
    let swap = "swap() { mv $1 $1.was; ln -s $2 $1; }; cd $(dirname $plan)/..";
    let swaps = [
        ("data for the worker", "swap data /proc/$(cat /proc/$PPID/cwd/worker.pid)"),
        ("config for the root", "swap config /"),
        ("providers for the job", "swap providers /proc/$PPID/cwd"),
        ("the run for another", "cd ..; swap $SCALR_RUN_ID /tmp"),
    ];
    let swaps = swaps.map(|(name, then)| (name, format!("{swap}; {then}")));
    expect![[r"
        data for the worker: planned_and_finished: 
        config for the root: planned_and_finished: 
        providers for the job: planned_and_finished: 
        the run for another: errored: showing the plan failed with exit code 1
    "]]
    .assert_eq(&each(&rig, "plan", &[], &["--dry"], &borrowed(&swaps)));
    no_token_is_anywhere(&rig);
    next_run_is_fine(&rig);
}

#[test]
fn a_hard_link_is_the_file_that_it_is() {
    let rig = obedient(&[]);
    let links = "ln -f main.tf $plan; ln -f main.tf .terraform.lock.hcl";
    let reads = "cat $plan .terraform.lock.hcl > $marks/read; ln main.tf errored.tfstate; exit 1";
    let run = rig.submit(&rig.scripts("hard", &[("plan", links), ("apply", reads)]), &["--auto-apply"]);
    assert_eq!(ended(&rig, &run), "errored: apply failed with exit code 1");
    assert_eq!(rig.marks("read").concat(), "# nothing".repeat(2));
    next_run_is_fine(&rig);
}

#[test]
fn a_tree_deeper_than_descriptors_and_locked_against_itself_is_gone_after_its_run() {
    let rig = Rig::serving(&[]);
    rig.obey();
    rig.start_controller_under("ulimit -n 256; exec \"$@\"", &[]);
    let deep = super::python(
        "import os\nfor n in range(3000):\n os.mkdir(\"d\"); os.chdir(\"d\")\nos.mkdir(\"locked\"); os.chmod(\"locked\", 0)",
    );
    let run = rig.submit(&rig.scripts("deep", &[("plan", &deep)]), &["--dry"]);
    rig.await_status(&run, "planned_and_finished");
    next_run_is_fine(&rig);
}
