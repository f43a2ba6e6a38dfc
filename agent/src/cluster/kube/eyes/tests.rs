//! Whose turn it is.

use scalr_core::cluster::{Container, NodeName, Version};
use scalr_protocol::id::{Fence, TaskId};
use serde_json::json;

use super::*;

fn pod(uid: &str, node: Option<&str>, worker: Container) -> Pod {
    Pod {
        name: uid.into(),
        uid: uid.into(),
        version: Version::default(),
        job: "job-1".into(),
        job_uid: "u-0".into(),
        task: TaskId::new("atask-1").unwrap(),
        fence: Fence(1),
        is_deleting: false,
        node: node.map(NodeName::from),
        trouble: None,
        worker,
        runner: Container::Waiting,
        disruption: None,
    }
}

fn waiting(uid: &str) -> Pod {
    pod(uid, None, Container::Waiting)
}

fn events(reason: &str) -> Vec<EventView> {
    serde_json::from_value(
        json!([{"reason": reason, "message": "m", "lastTimestamp": "2026-11-22T08:00:00Z"}]),
    )
    .unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn only_who_is_long_at_starting_is_looked_at_one_after_the_other_and_again() {
    let begin = Instant::now();
    let mut eyes = Eyes::<Pod>::new(begin);
    assert_eq!(eyes.next(), None);
    eyes.seen(begin, pod("runs", Some("n"), Container::Running), false);
    assert_eq!(eyes.next(), None);
    eyes.seen(begin, waiting("a"), true);
    eyes.seen(begin, waiting("b"), true);
    // Whatever else changes, its turn stays.
    eyes.seen(begin + ms(4_000), waiting("a"), true);
    assert_eq!(eyes.turn(begin + ms(FIRST_LOOK_MS - 1)), None);
    let due = begin + ms(FIRST_LOOK_MS);
    assert_eq!(eyes.turn(due), Some("a".into()));
    assert_eq!(eyes.turn(due), None, "looks keep their distance");
    assert_eq!(eyes.turn(due + ms(SPACING_MS)), Some("b".into()));
    assert_eq!(eyes.next(), Some(due + ms(NEXT_LOOK_MS)));
    eyes.seen(due, pod("a", Some("n"), Container::Running), false);
    eyes.forget(&"b".into());
    assert_eq!(eyes.next(), None);
    eyes.seen(due, waiting("c"), true);
    eyes.keep(&["d".into()].into());
    assert_eq!(eyes.next(), None);
}

#[test]
fn what_events_tell_stays_until_the_status_tells_more_or_a_node_has_the_pod() {
    let now = Instant::now();
    let mut eyes = Eyes::<Pod>::new(now);
    let kind = |pod: Pod| pod.trouble.map(|trouble| trouble.kind);
    assert_eq!(kind(eyes.seen(now, waiting("a"), true)), None);
    let told = eyes.told(&"a".into(), &events("TriggeredScaleUp")).map(kind);
    assert_eq!(told, Some(Some(TroubleKind::ScalingUp)));
    assert_eq!(eyes.told(&"a".into(), &events("TriggeredScaleUp")), None, "that is nothing new");
    assert_eq!(kind(eyes.seen(now, waiting("a"), true)), Some(TroubleKind::ScalingUp));
    assert_eq!(eyes.told(&"a".into(), &events("NotTriggerScaleUp")).map(kind), Some(None));
    eyes.told(&"a".into(), &events("TriggeredScaleUp"));
    assert_eq!(kind(eyes.seen(now, pod("a", Some("n"), Container::Waiting), true)), None);
    assert_eq!(eyes.told(&"a".into(), &events("FailedMount")).map(kind), Some(Some(TroubleKind::Volume)));
    let mut pulling = pod("a", Some("n"), Container::Waiting);
    pulling.trouble = Some(PodTrouble { kind: TroubleKind::ImagePull, message: String::new() });
    assert_eq!(kind(eyes.seen(now, pulling, true)), Some(TroubleKind::ImagePull));
    assert_eq!(eyes.told(&"gone".into(), &events("FailedMount")), None);
}

#[test]
fn after_a_look_that_failed_nobody_is_looked_at_for_a_while() {
    let now = Instant::now();
    let mut eyes = Eyes::<Pod>::new(now);
    eyes.seen(now, waiting("a"), true);
    eyes.failed(now, false);
    assert_eq!(eyes.next(), Some(now + ms(REST_MS)));
    eyes.failed(now, true);
    assert_eq!(eyes.next(), Some(now + ms(DENIED_REST_MS)));
}
