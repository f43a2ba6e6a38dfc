//! Every message once, as a file in `fixtures/`: read, written again, and the same.

use std::{collections::BTreeSet, fs, path::PathBuf};

use scalr_protocol::{
    agent::{
        Acquire, Acquired, Heartbeat, HeartbeatAnswer, Hint, LaunchEvents, LaunchFailed, Messages, Register,
        Registered, Release, WorkerLost,
    },
    document::{Document, Message},
    error::{ErrorCode, Errors},
    state::LockInfo,
    task::{Finish, Finished, Lease, LeaseAnswer, Signal, Signals, Start, Started},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// What a fixture is read as, and its JSON when written again.
type Rewrite = fn(Value) -> Result<Value, serde_json::Error>;

const FIXTURES: &[(&str, Rewrite)] = &[
    ("acquire", document::<Acquire>),
    ("acquired", document::<Acquired>),
    ("errors", bare::<Errors>),
    ("finish", document::<Finish>),
    ("finish-errored", document::<Finish>),
    ("finished", document::<Finished>),
    ("finished-late", document::<Finished>),
    ("finished-log-incomplete", document::<Finished>),
    ("heartbeat", document::<Heartbeat>),
    ("heartbeat-answer", document::<HeartbeatAnswer>),
    ("heartbeat-errored", document::<Heartbeat>),
    ("launch-events", document::<LaunchEvents>),
    ("launch-failed", document::<LaunchFailed>),
    ("lease", document::<Lease>),
    ("lease-answer", document::<LeaseAnswer>),
    ("lock-info", bare::<LockInfo>),
    ("messages", document::<Messages>),
    ("register", document::<Register>),
    ("register-worker", document::<Register>),
    ("registered", document::<Registered>),
    ("release", document::<Release>),
    ("signals", document::<Signals>),
    ("start", document::<Start>),
    ("started", document::<Started>),
    ("worker-lost", document::<WorkerLost>),
];

fn bare<T: Serialize + DeserializeOwned>(json: Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(json)?)
}

fn document<A: Message + Serialize + DeserializeOwned>(json: Value) -> Result<Value, serde_json::Error> {
    let document: Document<A> = serde_json::from_value(json)?;
    assert_eq!(document.data.kind, A::TYPE, "the fixture's type is not the message's");
    serde_json::to_value(document)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn fixture(name: &str) -> Value {
    let path = folder().join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read<A: DeserializeOwned>(json: Value) -> A {
    let document: Document<A> = serde_json::from_value(json).unwrap_or_else(|error| panic!("{error}"));
    document.data.attributes
}

#[test]
fn every_file_of_the_folder_is_read_and_no_other() {
    let files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .collect();
    let named: BTreeSet<String> = FIXTURES.iter().map(|(name, _)| format!("{name}.json")).collect();
    assert_eq!(files, named);
}

#[test]
fn every_message_is_written_as_it_was_read() {
    for (name, rewrite) in FIXTURES {
        let original = fixture(name);
        let written = rewrite(original.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(written, original, "{name}");
    }
}

#[test]
fn attributes_of_a_later_version_are_ignored() {
    for (name, rewrite) in FIXTURES {
        let original = fixture(name);
        let mut later = original.clone();
        add_an_attribute_everywhere(&mut later);
        let written = rewrite(later).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(written, original, "{name}");
    }
}

fn add_an_attribute_everywhere(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            fields.values_mut().for_each(add_an_attribute_everywhere);
            fields.insert("of-a-later-version".to_owned(), json!({"deep": [1, null]}));
        }
        Value::Array(items) => items.iter_mut().for_each(add_an_attribute_everywhere),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_message_without_one_of_its_attributes_is_refused_by_name() {
    let mut json = fixture("lease");
    json["data"]["attributes"].as_object_mut().unwrap().remove("fence");
    let error = serde_json::from_value::<Document<Lease>>(json).unwrap_err();
    expect_test::expect!["missing field `fence`"].assert_eq(&error.to_string());
}

#[test]
fn an_unknown_action_is_kept_as_unknown() {
    let mut json = fixture("acquired");
    json["data"]["attributes"]["tasks"][0]["action"] = json!("drift.detect");
    let acquired: Acquired = read(json);
    expect_test::expect!["unknown at stage plan"].assert_eq(&format!(
        "{} at stage {}",
        acquired.tasks[0].action.as_str(),
        acquired.tasks[0].stage
    ));
}

#[test]
fn an_unknown_signal_is_kept_as_unknown() {
    let mut json = fixture("signals");
    json["data"]["attributes"]["signals"][0] = json!("pause");
    let signals: Signals = read(json);
    assert_eq!(signals.signals, [Signal::Unknown, Signal::ForceCancel]);
    let mut json = fixture("lease-answer");
    json["data"]["attributes"]["signal"] = json!("pause");
    assert_eq!(read::<LeaseAnswer>(json).signal, Some(Signal::Unknown));
}

#[test]
fn an_unknown_hint_is_kept_as_unknown() {
    let mut json = fixture("messages");
    json["data"]["attributes"]["hints"][0] = json!({"kind": "upgrade", "to": "9.9"});
    assert_eq!(read::<Messages>(json).hints[0], Hint::Unknown);
}

#[test]
fn an_unknown_error_code_is_kept_as_unknown() {
    let mut json = fixture("errors");
    json["errors"][0]["code"] = json!("teapot");
    let errors: Errors = serde_json::from_value(json).unwrap();
    assert_eq!(errors.errors[0].code, ErrorCode::Unknown);
    assert_eq!(errors.errors[0].status, "422", "the status decides, so it must survive");
}

#[test]
fn secrets_do_not_show_in_debug() {
    for text in [
        format!("{:?}", read::<Started>(fixture("started"))),
        format!("{:#?}", read::<Started>(fixture("started"))),
        format!("{:?}", read::<Registered>(fixture("registered"))),
    ] {
        assert!(text.contains("[redacted]"), "{text}");
        assert!(!text.contains("s3cr3t"), "{text}");
    }
}
