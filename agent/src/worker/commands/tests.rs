use std::{fs, os::unix::fs::symlink, path::PathBuf};

use expect_test::{Expect, expect};
use scalr_protocol::task::HookPhase;
use serde_json::json;
use tempfile::TempDir;

use super::{
    directory::{LEFTOVERS, OVERRIDE},
    *,
};
use crate::worker::beneath::Folder;

fn workspace(directory: &str, var_files: &[&str]) -> Workspace {
    let set = json!({"id": "ws-1", "name": "w", "working-directory": directory, "var-files": var_files});
    serde_json::from_value(set).unwrap()
}

fn run(change: impl FnOnce(&mut Run)) -> Run {
    let set = json!({"id": "run-1", "is-destroy": false, "is-dry": false, "mode": "apply", "source": "cli"});
    let mut run = serde_json::from_value(set).unwrap();
    change(&mut run);
    run
}

fn commands(directory: &WorkingDirectory) -> Commands {
    let paths = RunPaths::kubernetes(Path::new("/data"), Path::new("/cache"));
    Commands::new(Path::new("/bin/terraform"), &paths, directory)
}

fn root() -> WorkingDirectory {
    WorkingDirectory { path: PathBuf::new() }
}

fn shown(command: &Command) -> String {
    format!("{}$ {}", command.cwd, command.argv.join(" "))
}

#[track_caller]
fn check_plan(change: impl FnOnce(&mut Run), expected: &Expect) {
    let text = match commands(&root()).plan(&run(change), &workspace("", &["prod.tfvars", "../a.tfvars"])) {
        Ok(command) => shown(&command),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&text);
}

#[test]
fn commands_are_what_a_person_would_type() {
    let commands = commands(&WorkingDirectory { path: "envs/prod".into() });
    let hook = Hook {
        phase: HookPhase::PreInit,
        source: "workspace".to_owned(),
        command: "echo $X | cat".to_owned(),
    };
    let all = [
        commands.init(Lock::Free),
        commands.init(Lock::FromPlan),
        commands.show(),
        commands.apply(),
        commands.push_errored_state(),
        commands.hook(&hook),
    ];
    expect![[r"
        /opt/workdir/envs/prod$ /bin/terraform init -input=false -reconfigure
        /opt/workdir/envs/prod$ /bin/terraform init -input=false -reconfigure -lockfile=readonly
        /opt/workdir/envs/prod$ /bin/terraform show -json -no-color /opt/data/plan.tfplan
        /opt/workdir/envs/prod$ /bin/terraform apply -input=false -lock-timeout=20s /opt/data/plan.tfplan
        /opt/workdir/envs/prod$ /bin/terraform state push -lock-timeout=20s errored.tfstate
        /opt/workdir/envs/prod$ /bin/sh -c echo $X | cat"]]
    .assert_eq(&all.iter().map(shown).collect::<Vec<_>>().join("\n"));
    expect![[r"
        Executing pre-init hook...
        ~$ echo $X | cat
        Exit code: 3
    "]]
    .assert_eq(&(hook_begins(&hook) + &hook_ended(3)));
}

#[test]
fn a_plan_is_what_the_run_says() {
    check_plan(
        |_| {},
        &expect![
            "/opt/workdir$ /bin/terraform plan -input=false -lock-timeout=20s -out=/opt/data/plan.tfplan -var-file=prod.tfvars -var-file=../a.tfvars"
        ],
    );
    check_plan(
        |run| (run.is_destroy, run.mode) = (true, RunMode::SkipRefresh),
        &expect![
            "/opt/workdir$ /bin/terraform plan -input=false -lock-timeout=20s -out=/opt/data/plan.tfplan -destroy -refresh=false -var-file=prod.tfvars -var-file=../a.tfvars"
        ],
    );
    check_plan(
        |run| (run.targets, run.mode) = (vec!["a.b[\"c d\"]".into()], RunMode::Refresh),
        &expect![[
            r#"/opt/workdir$ /bin/terraform plan -input=false -lock-timeout=20s -out=/opt/data/plan.tfplan -refresh-only -target=a.b["c d"] -var-file=prod.tfvars -var-file=../a.tfvars"#
        ]],
    );
    check_plan(
        |run| run.replace = vec!["a.b".into(), "a.c".into()],
        &expect![
            "/opt/workdir$ /bin/terraform plan -input=false -lock-timeout=20s -out=/opt/data/plan.tfplan -replace=a.b -replace=a.c -var-file=prod.tfvars -var-file=../a.tfvars"
        ],
    );
}

#[test]
fn what_the_tool_would_refuse_is_refused_before() {
    check_plan(
        |run| (run.is_destroy, run.mode) = (true, RunMode::Refresh),
        &expect!["destroy and refresh only can't be used together"],
    );
    check_plan(
        |run| (run.is_destroy, run.replace) = (true, vec!["a.b".into()]),
        &expect!["replacing resources and destroy can't be used together"],
    );
    check_plan(|run| run.targets = vec![" ".into()], &expect![[r#"-target " " is no resource address"#]]);
    check_plan(
        |run| run.replace = vec!["a\0b".into()],
        &expect![[r#"-replace "a\0b" is no resource address"#]],
    );
    check_plan(
        |run| run.targets = vec!["a.b".into(); 1001],
        &expect!["the run has 1001 targets, the limit is 1000"],
    );
}

fn configuration() -> (TempDir, Folder) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir_all(path.join("envs/prod")).unwrap();
    fs::create_dir_all(path.join("docs")).unwrap();
    fs::write(path.join("envs/prod/main.tf"), "").unwrap();
    fs::write(path.join("envs/common.tfvars"), "").unwrap();
    fs::write(path.join("docs/README.md"), "").unwrap();
    symlink("envs/prod", path.join("link")).unwrap();
    let open = Folder::open(path).unwrap();
    (folder, open)
}

#[track_caller]
fn check_directory(directory: &str, var_files: &[&str], expected: &Expect) {
    let (_folder, config) = configuration();
    let workspace = workspace(directory, var_files);
    let found = WorkingDirectory::find(&config, &workspace)
        .and_then(|found| found.check_var_files(&config, &workspace).map(|()| found));
    expected.assert_eq(&match found {
        Ok(found) => found.path().display().to_string(),
        Err(error) => error.to_string(),
    });
}

#[test]
fn the_working_directory_has_a_module() {
    check_directory("./envs/prod/", &["../common.tfvars"], &expect!["envs/prod"]);
    check_directory(
        "",
        &[],
        &expect![[r#"working directory "" has no .tf file; set it to the folder of the root module"#]],
    );
    check_directory(
        "docs",
        &[],
        &expect![[r#"working directory "docs" has no .tf file; set it to the folder of the root module"#]],
    );
    check_directory(
        "env",
        &[],
        &expect![[
            r#"working directory "env": is not in the configuration; set it to a folder of the configuration"#
        ]],
    );
    check_directory(
        "../x",
        &[],
        &expect![[
            r#"working directory "../x": leads out of the configuration; set it to a folder of the configuration"#
        ]],
    );
    check_directory(
        "/envs",
        &[],
        &expect![[
            r#"working directory "/envs": leads out of the configuration; set it to a folder of the configuration"#
        ]],
    );
    check_directory(
        "link",
        &[],
        &expect![[
            r#"working directory "link": is a file, or goes through a link; set it to a folder of the configuration"#
        ]],
    );
    check_directory(
        "envs/prod/main.tf",
        &[],
        &expect![[
            r#"working directory "envs/prod/main.tf": is a file, or goes through a link; set it to a folder of the configuration"#
        ]],
    );
}

#[test]
fn variable_files_are_files_of_the_configuration() {
    check_directory(
        "envs/prod",
        &["x.tfvars"],
        &expect![[
            r#"variable file "x.tfvars": is not in the configuration; it is looked for from the working directory"#
        ]],
    );
    check_directory(
        "envs/prod",
        &["../../../x"],
        &expect![[
            r#"variable file "../../../x": leads out of the configuration; it is looked for from the working directory"#
        ]],
    );
    check_directory(
        "envs/prod",
        &["/etc/passwd"],
        &expect![[
            r#"variable file "/etc/passwd": leads out of the configuration; it is looked for from the working directory"#
        ]],
    );
    check_directory(
        "envs/prod",
        &["../../docs"],
        &expect![[r#"variable file "../../docs": is no file; it is looked for from the working directory"#]],
    );
    check_directory(
        "envs/prod",
        &[""],
        &expect![[
            r#"variable file "": is empty, too long, or has a NUL; it is looked for from the working directory"#
        ]],
    );
}

#[test]
fn what_would_confuse_the_tool_is_taken_away() {
    let (folder, config) = configuration();
    let prod = folder.path().join("envs/prod");
    fs::create_dir(prod.join(".terraform")).unwrap();
    for leftover in LEFTOVERS {
        fs::write(prod.join(leftover), "old").unwrap();
    }
    fs::write(folder.path().join("outside"), "kept").unwrap();
    symlink("../../outside", prod.join(OVERRIDE_FILE)).unwrap();
    let directory = WorkingDirectory { path: "envs/prod".into() };
    assert_eq!(directory.prepare(&config).unwrap(), LEFTOVERS);
    assert_eq!(fs::read_to_string(prod.join(OVERRIDE_FILE)).unwrap(), OVERRIDE);
    assert_eq!(fs::read_to_string(folder.path().join("outside")).unwrap(), "kept");
    assert!(!prod.join(ERRORED_STATE).exists());
    assert!(directory.prepare(&config).unwrap().is_empty());
}

#[test]
fn two_is_success_only_for_who_asked_for_it() {
    let environment = |arguments: &str| {
        let declared = std::collections::BTreeSet::new();
        let variable = json!([{"key": "TF_CLI_ARGS_plan", "value": arguments, "category": "shell"}]);
        let variables: Vec<scalr_protocol::task::Variable> = serde_json::from_value(variable).unwrap();
        let variables = crate::worker::variables::sort(&variables, &declared).unwrap();
        crate::worker::environment::of_variables(&variables)
    };
    let (plain, asked) = (environment("-parallelism=1"), environment("-detailed-exitcode"));
    let said = |code| (plan_succeeded(code, &plain), plan_succeeded(code, &asked));
    assert_eq!([said(0), said(1), said(2)], [(true, true), (false, false), (false, true)]);
}
