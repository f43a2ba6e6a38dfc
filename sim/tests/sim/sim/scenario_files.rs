//! Scenario files: what is written is read again, the schema says what they are, each bad one is told where
//! and why in one line, and none makes the reader panic.

use std::{fmt::Write as _, fs, path::PathBuf};

use expect_test::{Expect, expect, expect_file};
use proptest::prelude::*;
use serde_json::Value;
use sim::{
    generate::{self, Shape},
    scenario::Scenario,
    trial, workload,
    world::setup::RunSetup,
};

use super::schema::first_mismatch;

/// Thousands of files; all of them together take some seconds.
const CASES: u32 = 2_000;

fn schema() -> Value {
    serde_json::from_str(&Scenario::schema()).expect("the schema is JSON")
}

fn examples() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/scenarios");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_schema_is_kept() {
    expect_file!["../../../../docs/scenario.schema.json"].assert_eq(&Scenario::schema());
}

#[test]
fn every_example_keeps_its_promises_and_says_what_it_shows() {
    let examples = examples();
    assert!(examples.len() >= 7, "{} examples", examples.len());
    let schema = schema();
    for (name, text) in examples {
        let scenario = Scenario::read(&name, &text).unwrap();
        assert!(scenario.about.len() > 40, "{name} says too little of itself");
        assert_eq!(first_mismatch(&schema, &serde_json::from_str(&text).unwrap()), None, "{name}");
        let trial = trial::run(&scenario);
        assert_eq!(trial.violation, None, "{name}");
        let planned = scenario.faults.len();
        assert_eq!(trial.fired.len(), planned, "{name}: every fault of an example has its moment");
    }
}

#[track_caller]
fn check_whole(scenario: &Scenario, schema: &Value) {
    let text = scenario.write();
    assert_eq!(Scenario::read("written", &text).as_ref(), Ok(scenario), "{text}");
    let file = serde_json::from_str(&text).unwrap();
    assert_eq!(first_mismatch(schema, &file), None, "{text}");
    // With every member written out, too.
    let whole = serde_json::to_value(scenario).unwrap();
    assert_eq!(first_mismatch(schema, &whole), None, "{whole}");
}

#[test]
fn what_is_written_is_read_again_and_is_as_the_schema_says() {
    let schema = schema();
    check_whole(&Scenario::default(), &schema);
    let mut usual_run = Scenario::default();
    usual_run.world.runs.push(RunSetup::default());
    check_whole(&usual_run, &schema);
    for (_, scenario) in workload::canonical() {
        check_whole(&scenario, &schema);
    }
    for seed in 0..1_000 {
        check_whole(&generate::scenario(Shape::of(seed)), &schema);
    }
}

/// A scenario file of one run, with one thing changed.
fn with(change: &str) -> String {
    format!("{{\n  \"version\": 1,\n  {change}\n}}\n")
}

#[track_caller]
fn check(files: &[&str], expected: &Expect) {
    let mut text = String::new();
    for file in files {
        let said = match Scenario::read_bytes("f", file.as_bytes()) {
            Ok(_) => "is read".to_owned(),
            Err(bad) => bad.to_string(),
        };
        let _ = writeln!(text, "{said}");
    }
    expected.assert_eq(&text);
}

#[test]
fn files_that_are_no_json() {
    check(
        &["", "{", "no", "[]", "1", "{}\n", "{\"version\": 1,}", "{\"version\": 1}\n{}", "\u{feff}{}"],
        &expect![[r#"
            f:1:1: .: EOF while parsing a value, expected JSON
            f:1:1: .: EOF while parsing an object, expected JSON
            f:1:2: .: expected ident
            f:1:2: .: a list, expected an object with named members
            f:1:1: .: invalid type: integer `1`, expected struct Scenario
            f:1:2: .: missing field `version`, expected 1
            f:1:15: .: trailing comma, expected JSON
            f:2:1: .: characters after the scenario, expected the end of the file
            f:1:2: .: missing field `version`, expected 1
        "#]],
    );
    let bad = Scenario::read_bytes("f", b"{\"about\": \"\xff\"}").unwrap_err();
    expect!["f:1:12: .: a byte that is no UTF-8, expected text"].assert_eq(&bad.to_string());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of examples and what is said to each")]
fn fields_that_are_wrong() {
    let files = [
        "{\"version\": 2, \"what\": 1}".to_owned(),
        "{\"version\": \"1\"}".to_owned(),
        with("\"chaos\": 1"),
        with("\"chaos-ms\": -1"),
        with("\"chaos-ms\": 1.5"),
        with("\"chaos-ms\": 1e30"),
        with("\"chaos-ms\": 99999999999999"),
        with("\"about\": null"),
        with("\"about\": \"a\", \"about\": \"b\""),
        with("\"world\": []"),
        with("\"world\": {\n    \"runs\": [{\"at-ms\": 0}, {\"at\": 0}]\n  }"),
        with("\"world\": {\n    \"runs\": [{\"profile\": 1}]\n  }"),
        with("\"world\": {\n    \"controllers\": []\n  }"),
        with("\"world\": {\n    \"controllers\": [{\"scheduler\": \"best\"}]\n  }"),
        with("\"world\": {\n    \"profiles\": [{\"plan\": {\"even\": {\"min\": 2, \"max\": 1}}}]\n  }"),
        with("\"world\": {\n    \"profiles\": [{\"plan\": {\"often\": 1}}]\n  }"),
        with("\"world\": {\n    \"profiles\": [{\"deaf-permille\": 1001}]\n  }"),
        with("\"world\": {\n    \"cluster\": {\"pools\": [{\"count\": 1000000}]}\n  }"),
        with("\"world\": {\n    \"cluster\": {\"cache\": {\"kind\": \"tape\"}}\n  }"),
        with("\"world\": {\n    \"scalr\": {\"settings\": {\"timings\": {\"lost-after\": 1}}}\n  }"),
        with("\"faults\": [\n    {\"id\": \"Z9\", \"what\": {}}\n  ]"),
        with("\"faults\": [\n    {\"id\": \"S4\", \"what\": {\"snag\": {\"leg\": \"done\"}}}\n  ]"),
        with(
            "\"faults\": [\n    {\"id\": \"S4\", \"what\": {\"snag\": {\"leg\": \"home\", \
               \"fate\": \"terminate\"}}}\n  ]",
        ),
        with(
            "\"faults\": [\n    {\"id\": \"S9\", \"what\": {\"strike\": {\"when\": {\"at\": 1}, \
               \"what\": {\"cancel\": {\"run\": 3, \"force\": false}}}}}\n  ]",
        ),
        with(
            "\"world\": {\"runs\": [{}]},\n  \"faults\": [\n    {\"id\": \"P4\", \
               \"what\": {\"strike\": {\"when\": {\"at\": 1},\n      \"what\": {\"kill-runner\": {\"task\": {\"run\": 0, \
               \"action\": \"destroy\"}, \"is-oom\": true}}}}}\n  ]",
        ),
        with(
            "\"world\": {\"runs\": [{}]},\n  \"faults\": [\n    {\"id\": \"A1\", \
               \"what\": {\"strike\": {\"when\": {\"at\": 1},\n      \"what\": {\"pause\": {\"who\": {\"controller\": 1}, \
               \"for-ms\": 5}}}}}\n  ]",
        ),
    ];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    check(
        &files,
        &expect![[r#"
            f:1:13: version: 2, expected 1
            f:1:15: version: invalid type: string "1", expected u32
            f:3:9: chaos: unknown field `chaos`, expected one of `version`, `about`, `chaos-ms`, `patience-ms`, `world`, `faults`
            f:3:16: chaos-ms: invalid value: integer `-1`, expected u64
            f:3:17: chaos-ms: invalid type: floating point `1.5`, expected u64
            f:3:18: chaos-ms: invalid type: floating point `1e+30`, expected u64
            f:3:15: chaos-ms: 99999999999999, expected at most 31622400000
            f:3:15: about: invalid type: null, expected a string
            f:3:23: .: duplicate field `about`, expected it once
            f:3:12: world: a list, expected an object with named members
            f:4:32: world.runs[1].at: unknown field `at`, expected one of `at-ms`, `workspace`, `is-dry`, `approval-ms`, `priority`, `profile`, `operation-timeout-ms`
            f:4:26: world.runs[0].profile: 1, expected the place of one of 1 profiles
            f:4:20: world.controllers: none, expected at least one
            f:4:35: world.controllers[0].scheduler: "best", expected one of: fifo
            f:4:27: world.profiles[0].plan: min 2 is above max 1, expected min to be at most max
            f:4:34: world.profiles[0].plan: unknown variant `often`, expected one of `fixed`, `even`, `exponential`, `lognormal`
            f:4:36: world.profiles[0].deaf-permille: 1001, expected at most 1000
            f:4:37: world.cluster.pools[0].count: 1000000, expected at most 10000
            f:4:40: world.cluster.cache.kind: unknown variant `tape`, expected one of `empty-dir`, `shared`, `one-node`, `host-path`
            f:4:51: world.scalr.settings.timings.lost-after: unknown field `lost-after`, expected one of `heartbeat-ms`, `offline-after-ms`, `purge-after-ms`, `launch-lease-ms`, `confirm-ms`, `lease-ttl-ms`, `renew-ms`, `lost-after-ms`, `lost-after-proof-ms`, `wait-ms-max`, `adopt-only-ms`, `rebalance-ms`, `log-open-ms`, `late-ms`, `replay-ms`
            f:4:15: faults[0].id: unknown variant `Z9`, expected one of `S1`, `S2`, `S3`, `S4`, `S5`, `S6`, `S7`, `S8`, `S9`, `S10`, `S11`, `S12`, `S13`, `S14`, `K1`, `K2`, `K3`, `K4`, `K5`, `K6`, `K7`, `K8`, `K9`, `K10`, `K11`, `K12`, `K13`, `K14`, `K15`, `W1`, `W2`, `W3`, `W4`, `W5`, `W6`, `W7`, `W8`, `W9`, `W10`, `W11`, `A1`, `A2`, `A3`, `A4`, `A5`, `A6`, `A7`, `A8`, `A9`, `A10`, `A11`, `A12`, `A13`, `A14`, `P1`, `P2`, `P3`, `P4`, `P5`, `P6`, `P7`, `P8`, `P9`, `P10`, `P11`, `N1`, `N2`, `N3`, `N4`, `N5`, `N6`, `N7`, `N8`, `N9`, `C1`, `C2`, `C3`, `C4`, `C5`, `V1`, `V2`, `V3`, `V4`, `V5`, `V6`, `V7`, `V8`
            f:4:49: faults[0].what.snag: missing field `fate`, expected it here
            f:4:48: faults[0].what.snag.leg: unknown variant `home`, expected one of `wanted`, `sent`, `arrived`, `done`, `answered`, `processed`
            f:4:65: faults[0].what.strike.what: run 3, expected the place of one of 0 runs
            f:6:61: faults[0].what.strike.what.kill-runner.task.action: no stage, expected "plan" or "apply"
            f:6:15: faults[0].what.strike.what: controller 1, expected the place of one of 1 controllers
        "#]],
    );
}

/// Reads what may be anything. What is wrong is said in one line, at a place that the file has.
fn reads(bytes: &[u8]) -> Option<Scenario> {
    match Scenario::read_bytes("f", bytes) {
        Ok(scenario) => Some(scenario),
        Err(bad) => {
            let said = bad.to_string();
            assert!(!said.contains('\n'), "{said:?}");
            assert!(said.contains("expected"), "{said:?}");
            let lines = bytes.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&bad.line), "{said:?} of {lines} lines");
            assert!((1..=bytes.len() + 1).contains(&bad.column), "{said:?}");
            None
        }
    }
}

#[derive(Clone, Debug)]
enum Edit {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index, usize),
    Put(prop::sample::Index, &'static str),
    Twice(prop::sample::Index, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let word = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "-1",
        "1e999",
        "18446744073709551616",
        "\\u0000",
        "\\ud800",
        "\n",
        "{}",
        "[[[[[[[[[[",
        "\"run\":9,",
        "true",
    ]);
    let edit = prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<prop::sample::Index>(), 1..40_usize).prop_map(|(at, count)| Edit::Cut(at, count)),
        (any::<prop::sample::Index>(), word).prop_map(|(at, word)| Edit::Put(at, word)),
        (any::<prop::sample::Index>(), 1..40_usize).prop_map(|(at, count)| Edit::Twice(at, count)),
    ];
    prop::collection::vec(edit, 1..5)
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let length = bytes.len() + 1;
        match edit {
            Edit::Set(at, byte) => {
                if let Some(place) = bytes.get_mut(at.index(length)) {
                    *place = *byte;
                }
            }
            Edit::Cut(at, count) => {
                let from = at.index(length);
                bytes.drain(from..(from + count).min(length - 1));
            }
            Edit::Put(at, word) => {
                let from = at.index(length);
                bytes.splice(from..from, word.bytes());
            }
            Edit::Twice(at, count) => {
                let from = at.index(length);
                let again = bytes[from..(from + count).min(length - 1)].to_vec();
                bytes.splice(from..from, again);
            }
        }
    }
    bytes
}

/// Any JSON, not too deep.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0..10_u64).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let name = prop_oneof![
            prop::sample::select(vec![
                "version", "world", "runs", "faults", "id", "what", "snag", "at-ms", "even"
            ])
            .prop_map(str::to_owned),
            "[a-z-]{0,8}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Puts another value at one place of a file: the how manieth, in order.
fn replaced(value: &mut Value, place: &mut usize, other: &Value) {
    if *place == 0 {
        *value = other.clone();
    }
    *place = place.wrapping_sub(1);
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| replaced(member, place, other)),
        Value::Array(elements) => elements.iter_mut().for_each(|element| replaced(element, place, other)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(members) => members.values().map(count).sum(),
        Value::Array(elements) => elements.iter().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn broken_bytes_are_told_and_nothing_panics(seed in 0..200_u64, edits in edits()) {
        let bytes = edited(generate::scenario(Shape::of(seed)).write().into_bytes(), &edits);
        if let Some(scenario) = reads(&bytes) {
            let written = scenario.write();
            prop_assert_eq!(Scenario::read("written", &written), Ok(scenario));
        }
    }

    #[test]
    fn any_bytes_are_told_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        reads(&bytes);
    }

    #[test]
    fn any_json_is_told_and_nothing_panics(value in json()) {
        reads(value.to_string().as_bytes());
    }

    #[test]
    fn whatever_is_read_is_as_the_schema_says(
        seed in 0..200_u64,
        place in any::<prop::sample::Index>(),
        other in json(),
    ) {
        let mut value: Value = serde_json::from_str(&generate::scenario(Shape::of(seed)).write()).unwrap();
        let mut place = place.index(count(&value));
        replaced(&mut value, &mut place, &other);
        if let Some(scenario) = reads(serde_json::to_string_pretty(&value).unwrap().as_bytes()) {
            prop_assert_eq!(first_mismatch(&schema(), &value), None);
            prop_assert_eq!(Scenario::read("written", &scenario.write()), Ok(scenario));
        }
    }
}
