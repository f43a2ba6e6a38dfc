//! Templates in, Jobs out.

use std::collections::BTreeSet;

use expect_test::{expect, expect_file};
use proptest::prelude::*;
use scalr_core::contract::cluster::spec;

use super::*;
use crate::cluster::kube::{template::tests::least, yaml};

const ENDS: Ends = Ends { ttl_s: 60, deadline_s: 151_800 };

fn made(template: &Value, spec: &JobSpec) -> Value {
    let own = [
        ("scalr.io/server", "example.scalr.io".to_owned()),
        ("scalr.io/template", "scalr-agent-task".to_owned()),
    ];
    let template = Template::read(template, 0).unwrap();
    job(&template, spec, "runs", &own, ENDS)
}

#[test]
fn a_job_is_its_template_with_its_task_written_on_it() {
    let made = made(&least(), &spec("atask-1", 2, "scalr-agent-run-1-plan-2"));
    expect_file!["plan.yaml"].assert_eq(&yaml::document(&made));
}

#[test]
fn presets_are_the_runners_image_and_resources() {
    let mut template = least();
    template["spec"]["template"]["spec"]["containers"][1]["resources"] =
        json!({"limits": {"cpu": "1", "memory": "1Gi", "example.com/gpu": 1}, "requests": {"cpu": "500m"}});
    let mut spec = spec("atask-1", 1, "job-1");
    spec.presets = Presets { image: Some("big".into()), cpu: Some("2".into()), memory: Some("4Gi".into()) };
    let made = made(&template, &spec);
    let containers = &made["spec"]["template"]["spec"]["containers"];
    assert_eq!(
        containers[0],
        least()["spec"]["template"]["spec"]["containers"][0],
        "the worker keeps its own"
    );
    expect![[r#"
        image: big
        name: runner
        resources:
          limits:
            cpu: "2"
            example.com/gpu: 1
            memory: "4Gi"
          requests:
            cpu: "2"
            memory: "4Gi"
    "#]]
    .assert_eq(&yaml::document(&containers[1]));
}

#[test]
fn what_the_template_says_of_failure_and_end_stays() {
    let mut template = least();
    for (key, value) in [
        ("backoffLimit", json!(3)),
        ("ttlSecondsAfterFinished", json!(0)),
        ("podReplacementPolicy", json!("Failed")),
        ("podFailurePolicy", json!({"rules": []})),
        ("activeDeadlineSeconds", json!(999_999)),
    ] {
        template["spec"][key] = value;
    }
    let made = made(&template, &spec("atask-1", 1, "job-1"));
    for key in ["backoffLimit", "ttlSecondsAfterFinished", "podFailurePolicy", "activeDeadlineSeconds"] {
        assert_eq!(made["spec"][key], template["spec"][key], "{key}");
    }
}

/// Any JSON that is not too large to look at.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-zA-Z./ -]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            fields(inner).prop_map(Value::Object),
        ]
    })
}

fn fields(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[a-zA-Z][a-zA-Z./-]{0,10}", inner, 0..5)
        .prop_map(|map| map.into_iter().collect())
}

fn texts() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        "[a-z]{1,5}(/[a-z]{1,5})?",
        Just("scalr.io/task".to_owned()),
        Just("scalr.io/mine".to_owned())
    ];
    prop::collection::btree_map(key, "[a-z0-9]{0,8}", 0..4).prop_map(|map| {
        map.into_iter().map(|(key, value)| (key, Value::from(value))).collect::<Map<_, _>>().into()
    })
}

/// A template that Kubernetes might take, with fields that this version has never heard of everywhere.
fn any_template() -> impl Strategy<Value = Value> {
    let maps =
        (fields(any_json()), fields(any_json()), fields(any_json()), fields(any_json()), fields(any_json()));
    (maps, texts(), texts(), texts(), texts()).prop_map(|((job, spec, pod, worker, runner), a, b, c, d)| {
        let mut template = Value::Object(job);
        let least = least();
        merge(&mut template, json!({"metadata": {"labels": a, "annotations": b, "finalizers": ["x"]}}));
        merge(&mut template, least);
        merge(&mut template["spec"], Value::Object(harmless(spec)));
        merge(&mut template["spec"]["template"], json!({"metadata": {"labels": c, "annotations": d}}));
        merge(&mut template["spec"]["template"]["spec"], Value::Object(harmless(pod)));
        merge(&mut template["spec"]["template"]["spec"]["containers"][0], Value::Object(harmless(worker)));
        merge(&mut template["spec"]["template"]["spec"]["containers"][1], Value::Object(harmless(runner)));
        template
    })
}

/// Without what would make it another thing than a template of a task.
fn harmless(mut fields: Map<String, Value>) -> Map<String, Value> {
    fields.retain(|key, _| !least().to_string().contains(&format!("\"{key}\"")) && key.len() > 2);
    fields
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Every place of a value with what is there, but for objects and lists.
fn places(value: &Value, at: String, out: &mut Vec<(String, Value)>) {
    let key = |part: &str| format!("{at}/{}", part.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| places(value, key(name), out));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(n, value)| places(value, key(&n.to_string()), out));
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            out.push((at, value.clone()));
        }
    }
}

/// What is written on every Job, wherever it is not filled in: names, labels, annotations.
fn written(spec: &JobSpec) -> BTreeSet<String> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    places(&least(), String::new(), &mut before);
    places(&made(&least(), spec), String::new(), &mut after);
    let before: BTreeSet<String> = before.into_iter().map(|(at, _)| at).collect();
    let is_written = |at: &String| {
        !before.contains(at) && (!at.starts_with("/spec/") || at.starts_with("/spec/template/metadata"))
    };
    after.into_iter().map(|(at, _)| at).filter(is_written).collect()
}

proptest! {
    #[test]
    fn a_job_keeps_every_field_of_its_template_and_ours_win_only_where_it_is_written(
        template in any_template(),
        image in prop::option::of("[a-z]{1,8}"),
        cpu in prop::option::of("[1-9]"),
        memory in prop::option::of("[1-9]Gi"),
    ) {
        prop_assume!(Template::read(&template, 0).is_ok());
        let mut spec = spec("atask-1", 2, "job-1");
        spec.presets = Presets { image, cpu, memory };
        let made = made(&template, &spec);
        let written = written(&spec);
        let ours = |at: &str| {
            let runner = "/spec/template/spec/containers/1/";
            let is_resource = spec.presets.cpu.is_some() || spec.presets.memory.is_some();
            written.contains(at)
                || (spec.presets.image.is_some() && at == format!("{runner}image"))
                || (is_resource && at.starts_with(&format!("{runner}resources")))
        };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        places(&template, String::new(), &mut before);
        places(&made, String::new(), &mut after);
        for (at, value) in &before {
            // An empty object may have got something in it.
            let is_filled = value.as_object().is_some_and(Map::is_empty);
            if !ours(at) && !is_filled {
                prop_assert_eq!(made.pointer(at), Some(value), "{}", at);
            }
        }
        // And nothing is added but what is written.
        let filled = [
            "backoffLimit", "podFailurePolicy", "podReplacementPolicy", "ttlSecondsAfterFinished",
            "activeDeadlineSeconds",
        ];
        for (at, value) in &after {
            let is_filled = filled.iter().any(|key| at.starts_with(&format!("/spec/{key}")));
            let was_there = template.pointer(at).is_some();
            prop_assert!(was_there || is_filled || ours(at), "{} {}", at, value);
        }
    }
}
