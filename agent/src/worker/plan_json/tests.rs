//! What is counted, and what is refused.

use expect_test::{Expect, expect};

use super::*;

#[track_caller]
fn check(mode: RunMode, json: &str, expected: &Expect) {
    let text = match summarize(json.as_bytes(), mode) {
        Ok(Summary {
            has_changes,
            resource_additions,
            resource_changes,
            resource_destructions,
            resource_imports,
            resource_forgets,
        }) => format!(
            "{has_changes}: +{resource_additions} ~{resource_changes} -{resource_destructions} \
             import {resource_imports} forget {resource_forgets}"
        ),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&text);
}

fn with(changes: &str) -> String {
    format!(r#"{{"format_version":"1.2","prior_state":{{"values":[1]}},"resource_changes":[{changes}]}}"#)
}

fn change(actions: &str) -> String {
    format!(r#"{{"address":"a.b","change":{{"before":null,"actions":{actions},"after":{{"x":[1]}}}}}}"#)
}

#[test]
fn counts_as_the_tool_does() {
    let all = [r#"["create"]"#, r#"["update"]"#, r#"["delete","create"]"#, r#"["no-op"]"#, r#"["forget"]"#];
    let all = all.map(change).join(",");
    check(RunMode::Apply, &with(&all), &expect!["true: +2 ~1 -1 import 0 forget 1"]);
    check(RunMode::Apply, &with(&change(r#"["no-op"]"#)), &expect!["false: +0 ~0 -0 import 0 forget 0"]);
    check(RunMode::Apply, &with(&change(r#"["read"]"#)), &expect!["true: +0 ~0 -0 import 0 forget 0"]);
}

#[test]
fn imports_and_moves_are_changes() {
    let import = r#"{"change":{"actions":["no-op"],"importing":{"id":"i-1"}}}"#;
    check(RunMode::Apply, &with(import), &expect!["true: +0 ~0 -0 import 1 forget 0"]);
    let moved = r#"{"previous_address":"a.c","change":{"actions":["no-op"]}}"#;
    check(RunMode::Apply, &with(moved), &expect!["true: +0 ~0 -0 import 0 forget 0"]);
}

#[test]
fn a_changed_output_is_a_change() {
    let outputs = |action: &str| {
        format!(r#"{{"format_version":"1.2","output_changes":{{"o":{{"actions":["{action}"]}}}}}}"#)
    };
    check(RunMode::Apply, &outputs("create"), &expect!["true: +0 ~0 -0 import 0 forget 0"]);
    check(RunMode::Apply, &outputs("no-op"), &expect!["false: +0 ~0 -0 import 0 forget 0"]);
}

#[test]
fn drift_is_a_change_for_a_refresh_only() {
    let drift = r#"{"format_version":"1.2","resource_drift":[{"address":"a.b"}]}"#;
    check(RunMode::Refresh, drift, &expect!["true: +0 ~0 -0 import 0 forget 0"]);
    check(RunMode::Apply, drift, &expect!["false: +0 ~0 -0 import 0 forget 0"]);
}

#[test]
fn the_tool_knows_best_whether_there_is_something_to_apply() {
    let plan = r#"{"format_version":"1.2","resource_changes":null,"applyable":true}"#;
    check(RunMode::Apply, plan, &expect!["true: +0 ~0 -0 import 0 forget 0"]);
}

#[test]
fn what_is_no_plan_is_said() {
    check(RunMode::Apply, "", &expect!["the plan's JSON can't be read: it ends too soon (line 1, column 0)"]);
    check(
        RunMode::Apply,
        "{}",
        &expect!["the plan's JSON can't be read: it is not what a plan holds (line 1, column 2)"],
    );
    check(
        RunMode::Apply,
        r#"{"format_version":"1"} x"#,
        &expect!["the plan's JSON can't be read: it is no JSON (line 1, column 24)"],
    );
}

#[test]
fn a_text_without_end_is_refused() {
    let endless = Read::chain(&b"{\"format_version\":\"1\",\""[..], io::repeat(b'a'));
    let error = summarize(endless, RunMode::Apply).unwrap_err().to_string();
    assert!(error.contains("a text of more than 16777216 bytes"), "{error}");
    let number = Read::chain(&b"{\"format_version\":1"[..], io::repeat(b'1'));
    assert!(summarize(number, RunMode::Apply).is_err());
}

#[test]
fn levels_without_end_are_refused() {
    let skipped = Read::chain(&b"{\"format_version\":"[..], io::repeat(b'['));
    let error = summarize(skipped, RunMode::Apply).unwrap_err().to_string();
    assert!(error.contains("more than 1000 levels"), "{error}");
    // Brackets in a text are no levels.
    let text = format!(r#"{{"format_version":"{}"}}"#, "[".repeat(5_000));
    check(RunMode::Apply, &text, &expect!["false: +0 ~0 -0 import 0 forget 0"]);
}

#[test]
fn no_error_holds_a_value() {
    let places = [
        r#""SECRET""#,
        r#"{"format_version":"1","applyable":"SECRET"}"#,
        r#"{"format_version":"1","resource_changes":"SECRET"}"#,
        r#"{"format_version":"1","resource_changes":["SECRET"]}"#,
        r#"{"format_version":"1","resource_changes":[{"change":"SECRET"}]}"#,
        r#"{"format_version":"1","resource_changes":[{"change":{"actions":"SECRET"}}]}"#,
        r#"{"format_version":"1","resource_changes":[{"change":{"actions":[{"SECRET":"SECRET"}]}}]}"#,
        r#"{"format_version":"1","resource_changes":[{"change":{"SECRET":1,"actions":[7]}}]}"#,
        r#"{"format_version":"1","output_changes":{"SECRET":"SECRET"}}"#,
        r#"{"format_version":"1","applyable":SECRET}"#,
    ];
    for place in places {
        let error = summarize(place.as_bytes(), RunMode::Apply).unwrap_err().to_string();
        assert!(!error.contains("SECRET"), "{place}: {error}");
    }
}
