//! The public side: the ways of a run, whose turn it is, and why it waits.

use expect_test::expect;
use scalr_protocol::{blob::BlobKind, error::ErrorCode, task::VariableCategory};

use super::{check, desk::Desk};
use crate::state::{
    AgentCall, Command, Key, PublicCall, Reply, Token,
    command::WorkspaceChange,
    ids::{ApplyId, PlanId},
    status::StageStatus,
};

#[test]
fn a_plan_waits_for_approval_and_is_applied() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         2 lease w
         3 approve r1
         4 finish w succeeded
         4 show r1
         4 cancel r1
         5 approve r1
         5 approve r1
         5 show r1
         6 acquire a
         6 worker x t2 1
         6 start x t2 1
         7 lease x
         7 show r1
         8 finish x succeeded
         8 show r1
         9 cancel r1",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            2 lease w → renewed
            3 approve r1 → 409 conflict
            4 finish w succeeded → 200
            4 show r1 → planned: waits for somebody to approve or discard its plan
            4 cancel r1 → 409 conflict
            5 approve r1 → r1
            5 approve r1 → 409 conflict
            5 show r1 → apply_queued: queued: 1 agent online, not asked for yet
            6 acquire a → t2@1
            6 worker x t2 1 → 201
            6 start x t2 1 → started apply with configuration-version
            7 lease x → renewed
            7 show r1 → applying
            8 finish x succeeded → 200
            8 show r1 → applied
            9 cancel r1 → 409 conflict
        "#]],
    );
}

#[test]
fn plans_without_changes_and_dry_ones_end_there() {
    check(
        "0 register a
         0 run
         0 run dry
         1 acquire a slots=2
         1 worker w t1 1
         1 start w t1 1
         2 lease w
         2 finish w succeeded unchanged
         2 show r1
         3 worker x t2 1
         3 start x t2 1
         3 lease x
         3 finish x succeeded
         3 show r2",
        expect![[r#"
            0 register a → 201
            0 run → r1
            0 run dry → r2
            1 acquire a slots=2 → t1@1 t2@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            2 lease w → renewed
            2 finish w succeeded unchanged → 200
            2 show r1 → planned_and_finished
            3 worker x t2 1 → 201
            3 start x t2 1 → started plan with configuration-version
            3 lease x → renewed
            3 finish x succeeded → 200
            3 show r2 → planned_and_finished
        "#]],
    );
}

#[test]
fn one_run_writes_at_a_time_and_the_others_say_whom_they_wait_for() {
    check(
        "0 register a
         0 run
         0 run
         0 run
         0 run dry
         0 run of=other
         1 show r2
         1 show r3
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         1 lease w
         1 show r2
         2 finish w succeeded
         2 show r2
         3 discard r1
         3 show r1
         3 show r2
         4 show r3
         5 cancel r2
         5 show r3",
        expect![[r#"
            0 register a → 201
            0 run → r1
            0 run → r2
            0 run → r3
            0 run dry → r4
            0 run of=other → r5
            1 show r2 → pending: waits for r1 (plan_queued) of workspace demo
            1 show r3 → pending: waits for r2 (pending) of workspace demo
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            1 lease w → renewed
            1 show r2 → pending: waits for r1 (planning) of workspace demo
            2 finish w succeeded → 200
            2 show r2 → pending: waits for r1 (planned) of workspace demo
            3 discard r1 → r1
            3 show r1 → discarded
            3 show r2 → plan_queued: queued: 1 agent online, not asked for yet
            4 show r3 → pending: waits for r2 (plan_queued) of workspace demo
            5 cancel r2 → r2
            5 show r3 → plan_queued: queued: 1 agent online, not asked for yet
        "#]],
    );
}

#[test]
fn a_locked_workspace_makes_runs_wait_and_says_who_locked_it() {
    check(
        "0 lock-workspace
         1 lock-workspace
         1 run
         1 run dry
         2 show r1
         2 show r2
         3 discard r2
         3 unlock-workspace
         3 unlock-workspace
         4 show r1
         4 show r2",
        expect![[r#"
            0 lock-workspace → workspace
            1 lock-workspace → 409 conflict
            1 run → r1
            1 run dry → r2
            2 show r1 → pending: waits until workspace demo is unlocked; admin locked it at 2026-11-22T00:00:00Z: a freeze
            2 show r2 → pending: waits until workspace demo is unlocked; admin locked it at 2026-11-22T00:00:00Z: a freeze
            3 discard r2 → r2
            3 unlock-workspace → workspace
            3 unlock-workspace → 409 conflict
            4 show r1 → plan_queued: queued: no agent of the pool is online
            4 show r2 → discarded
        "#]],
    );
}

#[test]
fn a_failed_stage_says_what_its_worker_said() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         2 lease w
         3 finish w failed
         3 show r1
         4 run
         4 acquire a
         4 worker x t2 1
         4 start x t2 1
         5 lease x
         6 finish x errored
         6 show r2",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            2 lease w → renewed
            3 finish w failed → 200
            3 show r1 → errored: no such resource type
            4 run → r2
            4 acquire a → t2@1
            4 worker x t2 1 → 201
            4 start x t2 1 → started plan with configuration-version
            5 lease x → renewed
            6 finish x errored → 200
            6 show r2 → errored: the plan failed
        "#]],
    );
}

#[test]
fn a_plan_that_succeeds_in_spite_of_a_cancel_is_not_applied() {
    check(
        "0 register a
         0 run auto
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         2 lease w
         3 cancel r1
         4 finish w succeeded
         4 show r1",
        expect![[r#"
            0 register a → 201
            0 run auto → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            2 lease w → renewed
            3 cancel r1 → r1
            4 finish w succeeded → 200
            4 show r1 → canceled
        "#]],
    );
}

#[test]
fn a_payload_has_what_the_run_and_its_workspace_say() {
    let mut desk = Desk::new();
    for line in [
        "0 var region=north",
        "0 var PASSWORD=hunter2 shell sensitive",
        "0 run auto",
        "0 register a",
        "0 acquire a",
        "0 worker w t1 1",
    ] {
        assert!(!desk.line(line).starts_with('4'), "{line}");
    }
    let reply = desk.start_reply("w", "t1", 1);
    let Reply::Started(started) = reply else { panic!("{reply:?}") };
    let payload = started.payload;
    let variables: Vec<_> =
        payload.variables.iter().map(|v| (v.key.as_str(), v.category, v.sensitive)).collect();
    assert_eq!(
        variables,
        [("region", VariableCategory::Terraform, false), ("PASSWORD", VariableCategory::Shell, true)]
    );
    assert_eq!(
        payload.secrets.iter().map(scalr_protocol::secret::Secret::expose).collect::<Vec<_>>(),
        ["hunter2"]
    );
    assert_eq!(
        payload.blobs.iter().map(|blob| blob.kind).collect::<Vec<_>>(),
        [BlobKind::ConfigurationVersion]
    );
    assert_eq!(payload.workspace.name, "demo");
    assert_eq!(payload.timeouts.operation_ms, 3_600_000);
    assert_eq!((started.lease_ttl_ms, started.renew_ms, started.lost_after_ms), (60_000, 20_000, 1_800_000));
}

#[test]
fn stages_show_how_far_they_are() {
    let mut desk = Desk::new();
    desk.line("0 run");
    let run = desk.run("r1").unwrap();
    let plan = PlanId::new(&run.as_str().replace("run-", "plan-"));
    let apply = ApplyId::new(&run.as_str().replace("run-", "apply-"));
    let mut seen = Vec::new();
    for line in [
        "0 register a",
        "0 acquire a",
        "0 worker w t1 1",
        "0 start w t1 1",
        "0 lease w",
        "61 tick",
        "62 lease w",
        "63 log w 0 7",
        "64 finish w succeeded log=9",
        "65 log w 7 2",
        "66 approve r1",
    ] {
        desk.line(line);
        let stage = desk.state.plan(&plan).unwrap();
        seen.push((stage.status, stage.log_bytes, stage.is_log_open));
    }
    seen.dedup();
    assert_eq!(
        seen,
        [
            (StageStatus::Queued, 0, true),
            (StageStatus::Running, 0, true),
            (StageStatus::Unreachable, 0, true),
            (StageStatus::Running, 0, true),
            (StageStatus::Running, 7, true),
            (StageStatus::Finished, 7, true),
            (StageStatus::Finished, 9, false),
        ]
    );
    assert_eq!(desk.state.run(&run).unwrap().apply, Some(apply.clone()));
    assert_eq!(desk.state.apply_stage(&apply).unwrap().status, StageStatus::Queued);
}

#[test]
fn a_token_is_good_for_one_thing() {
    let mut desk = Desk::new();
    for line in ["0 register a", "0 run", "0 acquire a", "0 worker w t1 1", "0 start w t1 1", "0 lease w"] {
        desk.line(line);
    }
    let tokens: Vec<Token> = desk.state.tokens.keys().cloned().collect();
    let workspace = desk.demo().clone();
    let refused = |state: &mut crate::state::State, stamp: &crate::state::Stamp, command: Command| {
        state.apply(stamp, command).map_or_else(|refused| Some(refused.code), |_| None)
    };
    let mut good = [0; 3];
    let stamp = desk.stamp();
    for bearer in tokens {
        let call = PublicCall::CreateConfigurationVersion { workspace: workspace.clone() };
        let public = Command::Public { bearer: bearer.clone(), key: None, call };
        let state = Command::State {
            bearer: bearer.clone(),
            workspace: workspace.clone(),
            call: crate::state::StateCall::Get,
        };
        let agent = desk.state.agents.keys().next().unwrap().clone();
        let messages =
            Command::Agent { bearer, key: None::<Key>, call: AgentCall::Messages { agent, after: 0 } };
        for (good, command) in good.iter_mut().zip([public, state, messages]) {
            match refused(&mut desk.state, &stamp, command) {
                None => *good += 1,
                Some(code) => assert_eq!(code, ErrorCode::Forbidden),
            }
        }
    }
    // The user's; the user's and the run's; the session's.
    assert_eq!(good, [1, 2, 1]);
    let nobody =
        Command::State { bearer: Token::new("nobody"), workspace, call: crate::state::StateCall::Get };
    assert_eq!(refused(&mut desk.state, &stamp, nobody), Some(ErrorCode::InvalidToken));
}

#[test]
fn a_pool_token_tells_the_servers_address() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut desk = Desk::new();
    let reply = desk.apply(Command::IssuePoolToken { description: String::new(), text: None }).unwrap();
    let Reply::PoolToken { text, .. } = reply else { panic!("{reply:?}") };
    let parts: Vec<&str> = text.expose().split('.').collect();
    let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!((parts.len(), payload.contains(r#""iss":"http://127.0.0.1:8011""#)), (3, true));
    assert_eq!(format!("{text:?}"), "[redacted]");
}

#[test]
fn what_nobody_could_use_is_refused_with_its_place() {
    let mut desk = Desk::new();
    let workspace = desk.demo().clone();
    let change = |working_directory: &str| WorkspaceChange {
        working_directory: Some(working_directory.to_owned()),
        ..WorkspaceChange::default()
    };
    let mut told = Vec::new();
    for call in [
        PublicCall::CreateWorkspace { name: "demo".to_owned(), settings: WorkspaceChange::default() },
        PublicCall::CreateWorkspace { name: "a/b".to_owned(), settings: WorkspaceChange::default() },
        PublicCall::UpdateWorkspace { workspace: workspace.clone(), settings: change("../up") },
        PublicCall::UpdateWorkspace { workspace, settings: change("/etc") },
    ] {
        let refused = desk.public(call).unwrap_err();
        told.push(format!("{} {:?}", refused.status, refused.source.unwrap().pointer.unwrap()));
    }
    told.push(desk.line("0 var 1x=y"));
    told.push(desk.line("0 var a-b=y"));
    told.push(desk.line("0 var a-b=y shell"));
    told.push(desk.line("0 var a-b=z"));
    assert_eq!(
        told,
        [
            r#"422 "/data/attributes/name""#,
            r#"422 "/data/attributes/name""#,
            r#"422 "/data/attributes/working-directory""#,
            r#"422 "/data/attributes/working-directory""#,
            "422 invalid",
            "variable",
            "422 invalid",
            "422 invalid",
        ]
    );
}
