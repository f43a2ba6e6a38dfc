//! Every message of the agent protocol: a line with its fixture's name, then JSON.

use std::fmt::Debug;

use scalr_protocol::{
    agent::{
        Acquire, Acquired, Heartbeat, HeartbeatAnswer, LaunchEvents, LaunchFailed, Messages, Register,
        Registered, Release, WorkerLost,
    },
    document::Document,
    error::Errors,
    secret::Secret,
    state::LockInfo,
    task::{Finish, Finished, Lease, LeaseAnswer, Signals, Start, Started},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Met, Target, mutate::Shape, script, sure};

pub(crate) const TARGET: Target = Target {
    name: "protocol",
    about: "a message that is read is written as it was read, in no more room, and shows no secret",
    shape: Shape::NamedJson,
    words: &["\"data\"", "\"attributes\"", "\"fence\"", "\"id\"", "\"kind\"", "\"2026-11-22T00:00:00Z\""],
    classes: CLASSES,
    inputs: 30_000,
    run,
};

const CLASSES: &[&str] = &[
    "acquire",
    "acquired",
    "errors",
    "finish",
    "finished",
    "heartbeat",
    "heartbeat-answer",
    "launch-events",
    "launch-failed",
    "lease",
    "lease-answer",
    "lock-info",
    "messages",
    "register",
    "registered",
    "release",
    "signals",
    "start",
    "started",
    "worker-lost",
    "no message of this name",
    "no JSON",
    "ends early",
    "a field is missing",
    "a field twice",
    "an unknown variant",
    "a wrong type",
    "a wrong value",
    "no id",
    "no digest",
    "no moment",
];

type Check = fn(&[u8]) -> Result<(), serde_json::Error>;

/// By the class of a message that is read.
const MESSAGES: &[(&str, Check)] = &[
    ("acquire", document::<Acquire>),
    ("acquired", document::<Acquired>),
    ("errors", whole::<Errors>),
    ("finish", document::<Finish>),
    ("finished", document::<Finished>),
    ("heartbeat", document::<Heartbeat>),
    ("heartbeat-answer", document::<HeartbeatAnswer>),
    ("launch-events", document::<LaunchEvents>),
    ("launch-failed", document::<LaunchFailed>),
    ("lease", document::<Lease>),
    ("lease-answer", document::<LeaseAnswer>),
    ("lock-info", whole::<LockInfo>),
    ("messages", document::<Messages>),
    ("register", document::<Register>),
    ("registered", registered),
    ("release", document::<Release>),
    ("signals", document::<Signals>),
    ("start", document::<Start>),
    ("started", started),
    ("worker-lost", document::<WorkerLost>),
];

fn run(input: &[u8], met: &mut Met) {
    let (name, json) = script::first_line(input);
    let Some((class, check)) = MESSAGES.iter().find(|(known, _)| known.as_bytes() == name) else {
        met.see("no message of this name");
        return;
    };
    met.see(match check(json) {
        Ok(()) => class,
        Err(error) => class_of(&error),
    });
}

fn class_of(error: &serde_json::Error) -> &'static str {
    let said = error.to_string();
    let classes = [
        ("missing field", "a field is missing"),
        ("duplicate field", "a field twice"),
        ("an id has 1 to 128", "no id"),
        ("not a SHA-256", "no digest"),
        ("unknown variant", "an unknown variant"),
        ("invalid type", "a wrong type"),
        ("invalid value", "a wrong value"),
    ];
    let known = classes.iter().find(|(words, _)| said.contains(words)).map(|(_, class)| *class);
    known.unwrap_or_else(|| match error.classify() {
        serde_json::error::Category::Eof => "ends early",
        serde_json::error::Category::Syntax => "no JSON",
        // All that is left of what types say themselves: the library of time has many ways to say it.
        serde_json::error::Category::Data => "no moment",
        serde_json::error::Category::Io => unreachable!("nothing is read but memory"),
    })
}

fn document<A: Serialize + DeserializeOwned + PartialEq + Debug>(
    json: &[u8],
) -> Result<(), serde_json::Error> {
    whole::<Document<A>>(json)
}

/// Reads, writes and reads again.
fn whole<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) -> Result<(), serde_json::Error> {
    let read: T = serde_json::from_slice(json)?;
    let written = sure(serde_json::to_vec(&read), "it can be written");
    let again: T = sure(serde_json::from_slice(&written), "what was written can be read");
    assert_eq!(again, read);
    assert_eq!(sure(serde_json::to_vec(&again), "again"), written, "written in one way only");
    // What may be left out is written: a few names for each that was read.
    assert!(written.len() <= json.len() * 4 + 1_024, "{} bytes of {}", written.len(), json.len());
    Ok(())
}

fn other() -> Secret {
    Secret::new("another text, of another length")
}

fn registered(json: &[u8]) -> Result<(), serde_json::Error> {
    document::<Registered>(json)?;
    let message: Document<Registered> = serde_json::from_slice(json)?;
    let mut changed = message.clone();
    changed.data.attributes.session_token = other();
    assert_eq!(format!("{message:?}"), format!("{changed:?}"));
    Ok(())
}

fn started(json: &[u8]) -> Result<(), serde_json::Error> {
    document::<Started>(json)?;
    let message: Document<Started> = serde_json::from_slice(json)?;
    let mut changed = message.clone();
    let started = &mut changed.data.attributes;
    (started.task_token, started.run_token) = (other(), other());
    let payload = &mut started.payload;
    let variables = payload.variables.iter_mut().map(|variable| &mut variable.value);
    let arguments = payload.provider_configurations.iter_mut().flat_map(|provider| &mut provider.environment);
    let secrets = variables.chain(arguments.map(|argument| &mut argument.value)).chain(&mut payload.secrets);
    secrets.for_each(|secret| *secret = other());
    assert_eq!(format!("{message:?}"), format!("{changed:?}"));
    Ok(())
}
