//! Jobs' names.

use proptest::prelude::*;
use scalr_protocol::{agent::Grant, id::RunId};

use super::story::grant;
use crate::controller::name::job_name;

#[test]
fn tells_the_run_and_the_stage_and_from_the_second_fence_on_the_fence() {
    assert_eq!(job_name("agent", &grant("t1@1"), false).as_str(), "agent-run-1-plan");
    assert_eq!(job_name("agent", &grant("t1@3"), false).as_str(), "agent-run-1-plan-3");
    let again = job_name("agent", &grant("t1@3"), true);
    assert!(again.as_str().starts_with("agent-run-1-plan-") && again.as_str().ends_with("-3"));
    assert_ne!(again, job_name("agent", &grant("t2@3"), true));
}

proptest! {
    #[test]
    fn is_always_a_dns_label_and_always_the_same(
        basename in ".{0,80}",
        run in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}",
        stage in ".{0,80}",
        fence in 1_u64..,
        is_repeated: bool,
    ) {
        let mut grant: Grant = grant("t1@1");
        grant.run = RunId::new(&run).unwrap();
        grant.stage = stage;
        grant.fence.0 = fence;
        let name = job_name(&basename, &grant, is_repeated);
        let text = name.as_str();
        prop_assert!((1..=63).contains(&text.len()), "{text}");
        prop_assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        prop_assert!(!text.starts_with('-') && !text.ends_with('-'), "{text}");
        prop_assert_eq!(&name, &job_name(&basename, &grant, is_repeated));
    }
}
