use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use scalr_protocol::task::{Argument, ProviderConfiguration, Variable, VariableCategory};
use serde_json::json;

use super::*;
use crate::worker::variables;

fn payload(action: &str) -> Payload {
    serde_json::from_value(json!({
        "task": "atask-1", "action": action,
        "run": {"id": "run-1", "is-destroy": false, "is-dry": false, "mode": "apply", "source": "cli",
                "vcs": {"branch": "main", "commit": "e59f09e"}},
        "workspace": {"id": "ws-1", "name": "network"},
        "environment": {"id": "env-1", "name": "prod"},
        "account": {"id": "acc-1", "name": "acme"},
        "tool": {"name": "terraform", "version": "1.11.4"},
        "timeouts": {"operation-ms": 1},
    }))
    .unwrap()
}

fn shell(key: &str, value: &str) -> Variable {
    Variable {
        key: key.to_owned(),
        value: Secret::new(value),
        category: VariableCategory::Shell,
        hcl: false,
        sensitive: true,
    }
}

fn made(
    payload: &Payload,
    operation: Operation,
    shell: &[Variable],
    declared: &[&str],
) -> Result<Environment, EnvironmentError> {
    let declared: BTreeSet<String> = declared.iter().map(|name| (*name).to_owned()).collect();
    let inherited = BTreeMap::from(
        [
            ("PATH", "/usr/bin"),
            ("HTTPS_PROXY", "http://proxy"),
            ("SCALR_AGENT_TOKEN", "pool"),
            ("AWS_KEY", "node"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let surroundings = Surroundings {
        payload,
        hostname: "acme.scalr.io",
        state_address: "https://acme.scalr.io/state",
        run_token: &Secret::new("RUN-TOKEN"),
        paths: &RunPaths::kubernetes(Path::new("/data"), Path::new("/cache")),
        tool_folder: Path::new("/opt/binary-cache/terraform/1.11.4"),
        cli_config: Path::new("/opt/data/cli.tfrc"),
        inherited: &inherited,
    };
    environment(&surroundings, operation, &variables::sort(shell, &declared).unwrap(), &declared)
}

fn lines(values: impl IntoIterator<Item = (String, String)>) -> String {
    let lines: Vec<String> = values.into_iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    lines.concat()
}

/// The names and values that one environment has and the plainest has not.
#[track_caller]
fn check(payload: &Payload, operation: Operation, shell: &[Variable], declared: &[&str], expected: &Expect) {
    let text = match made(payload, operation, shell, declared) {
        Ok(environment) => {
            let plain = made(&self::payload("plan"), Operation::Plan, &[], &[]).unwrap();
            let differs = |(key, value): &(String, String)| plain.get(key) != Some(value);
            lines(environment.into_map().into_iter().filter(differs))
        }
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&text);
}

#[test]
fn a_plan_gets_what_is_promised_and_nothing_of_the_agents_own() {
    let environment = made(&payload("plan"), Operation::Plan, &[], &[]).unwrap();
    let text = lines(environment.into_map());
    expect![[r"
        CHECKPOINT_DISABLE=1
        HOME=/tmp
        HTTPS_PROXY=http://proxy
        PATH=/opt/binary-cache/terraform/1.11.4:/usr/bin
        SCALR_ACCOUNT_ID=acc-1
        SCALR_ENVIRONMENT_ID=env-1
        SCALR_ENVIRONMENT_NAME=prod
        SCALR_HOSTNAME=acme.scalr.io
        SCALR_RUN_CONTENT_ROOT=/opt/workdir
        SCALR_RUN_ID=run-1
        SCALR_RUN_IS_DESTROY=0
        SCALR_RUN_MODE=apply
        SCALR_RUN_PHASE=plan
        SCALR_RUN_SOURCE=cli
        SCALR_RUN_VCS_BRANCH=main
        SCALR_RUN_VCS_COMMIT=e59f09e
        SCALR_TERRAFORM_OPERATION=plan
        SCALR_TOKEN=RUN-TOKEN
        SCALR_WORKSPACE_ID=ws-1
        SCALR_WORKSPACE_NAME=network
        TF_CLI_CONFIG_FILE=/opt/data/cli.tfrc
        TF_HTTP_ADDRESS=https://acme.scalr.io/state
        TF_HTTP_LOCK_ADDRESS=https://acme.scalr.io/state
        TF_HTTP_PASSWORD=RUN-TOKEN
        TF_HTTP_RETRY_MAX=13
        TF_HTTP_RETRY_WAIT_MAX=30
        TF_HTTP_RETRY_WAIT_MIN=1
        TF_HTTP_UNLOCK_ADDRESS=https://acme.scalr.io/state
        TF_HTTP_USERNAME=run-1
        TF_INPUT=0
        TF_IN_AUTOMATION=1
        TMPDIR=/tmp
    "]]
    .assert_eq(&text);
}

#[test]
fn shell_variables_win_and_the_tool_stays_first_in_the_path() {
    let own = [shell("SCALR_TOKEN", "mine"), shell("PATH", "/mine"), shell("AWS_REGION", "eu")];
    check(
        &payload("plan"),
        Operation::Plan,
        &own,
        &[],
        &expect![[r"
        AWS_REGION=eu
        PATH=/opt/binary-cache/terraform/1.11.4:/mine
        SCALR_TOKEN=mine
    "]],
    );
}

#[test]
fn declared_facts_become_variables_but_tokens_do_not() {
    let declared =
        ["scalr_run_id", "SCALR_WORKSPACE_NAME", "SCALR_TERRAFORM_OPERATION", "SCALR_TOKEN", "other"];
    check(
        &payload("plan"),
        Operation::Plan,
        &[],
        &declared,
        &expect![[r"
        TF_VAR_SCALR_TERRAFORM_OPERATION=plan
        TF_VAR_SCALR_WORKSPACE_NAME=network
        TF_VAR_scalr_run_id=run-1
    "]],
    );
    check(
        &payload("apply"),
        Operation::Apply,
        &[],
        &declared,
        &expect![[r"
        SCALR_RUN_PHASE=apply
        SCALR_TERRAFORM_OPERATION=apply
        TF_VAR_SCALR_WORKSPACE_NAME=network
        TF_VAR_scalr_run_id=run-1
    "]],
    );
}

fn with_provider(action: &str, key: &str, apply_only: bool) -> Payload {
    let argument = Argument { key: key.to_owned(), value: Secret::new("value") };
    let configuration = ProviderConfiguration {
        provider_name: "aws".to_owned(),
        alias: None,
        apply_only,
        environment: vec![argument],
    };
    Payload { provider_configurations: vec![configuration], ..payload(action) }
}

#[test]
fn credentials_for_applies_are_for_applies_only() {
    check(
        &with_provider("plan", "AWS_KEY", false),
        Operation::Plan,
        &[],
        &[],
        &expect![[r"
        AWS_KEY=value
    "]],
    );
    check(&with_provider("plan", "AWS_KEY", true), Operation::Plan, &[], &[], &expect![""]);
    check(
        &with_provider("apply", "AWS_KEY", true),
        Operation::Init,
        &[],
        &[],
        &expect![[r"
        AWS_KEY=value
        SCALR_RUN_PHASE=apply
        SCALR_TERRAFORM_OPERATION=init
    "]],
    );
    check(
        &with_provider("plan", "AWS=KEY", false),
        Operation::Plan,
        &[],
        &[],
        &expect![[
            r#"provider configuration "aws" sets "AWS=KEY", which can't be set in an environment; rename it"#
        ]],
    );
    check(
        &with_provider("plan", "TF_HTTP_ADDRESS", false),
        Operation::Plan,
        &[],
        &[],
        &expect![[
            r#"provider configuration "aws" sets "TF_HTTP_ADDRESS", which can't be set in an environment; rename it"#
        ]],
    );
}

#[test]
fn modes_are_named_as_scalr_names_them() {
    let mode = |mode: RunMode, is_dry: bool| {
        let mut payload = payload("plan");
        (payload.run.mode, payload.run.is_dry, payload.run.is_destroy) = (mode, is_dry, is_dry);
        let made = made(&payload, Operation::Plan, &[], &[]).unwrap();
        format!("{} {}", made.get("SCALR_RUN_MODE").unwrap(), made.get("SCALR_RUN_IS_DESTROY").unwrap())
    };
    assert_eq!(mode(RunMode::Apply, true), "dry 1");
    assert_eq!(mode(RunMode::Dry, false), "dry 0");
    assert_eq!(mode(RunMode::Refresh, false), "refresh 0");
    assert_eq!(mode(RunMode::SkipRefresh, false), "skip_refresh 0");
}

#[test]
fn too_much_for_the_system_is_said() {
    let many: Vec<Variable> = (0..9).map(|n| shell(&format!("V{n}"), &"x".repeat(130_000))).collect();
    check(
        &payload("plan"),
        Operation::Plan,
        &many,
        &[],
        &expect!["the variables have 1170896 bytes in all, the limit is 1048576; put large values in files"],
    );
}

#[test]
fn hooks_after_a_command_hear_how_it_ended_and_programs_hear_no_logs() {
    let own = [shell("TF_LOG", "trace"), shell("TF_LOG_PATH", "/x"), shell("TF_CLI_ARGS_show", "-x")];
    let environment = made(&payload("plan"), Operation::Plan, &own, &[]).unwrap();
    assert_eq!(environment.clone().after(false).get("SCALR_TERRAFORM_EXIT_CODE"), Some("1"));
    assert_eq!(environment.get("SCALR_TERRAFORM_EXIT_CODE"), None);
    let quiet = environment.quiet();
    assert_eq!([quiet.get("TF_LOG"), quiet.get("TF_LOG_PATH"), quiet.get("TF_CLI_ARGS_show")], [None; 3]);
    let shown = format!("{quiet:?}");
    assert!(shown.contains("SCALR_TOKEN") && !shown.contains("RUN-TOKEN"), "{shown}");
}
