use proptest::{collection::vec, prelude::*};
use scalr_core::{
    cluster::{Container, JobEnd},
    contract::cluster::spec,
};

use super::{
    super::folder::{Seen, Stored},
    *,
};

fn seen(name: &str, uid: u8, is_deleting: bool, has_ended: bool) -> Seen {
    let container =
        if has_ended { Container::Terminated { exit_code: 0, is_oom: false } } else { Container::Running };
    Seen {
        stored: Stored { uid: format!("uid-{uid}").as_str().into(), spec: spec("atask-1", 1, name) },
        is_deleting,
        end: has_ended.then_some(JobEnd::Complete),
        is_settled: has_ended,
        is_kept: !has_ended,
        worker: container.clone(),
        runner: container,
    }
}

/// Any few Jobs, in any state.
fn look() -> impl Strategy<Value = BTreeMap<JobName, Seen>> {
    let job = (0..4_u8, 0..3_u8, any::<bool>(), any::<bool>());
    vec(job, 0..5).prop_map(|jobs| {
        let one = |(name, uid, is_deleting, has_ended)| {
            let name = format!("job-{name}");
            (JobName::from(name.as_str()), seen(&name, uid, is_deleting, has_ended))
        };
        jobs.into_iter().map(one).collect()
    })
}

/// What one knows who had a list and was told the changes since, each in its turn.
fn follow(history: &History, kind: Kind, listing: Listing) -> Listing {
    let name = |object: &Object| match object {
        Object::Job(job) => job.name.clone(),
        Object::Pod(pod) => pod.job.clone(),
    };
    let mut version = listing.version.0;
    let mut known: BTreeMap<JobName, Object> =
        listing.objects.into_iter().map(|object| (name(&object), object)).collect();
    loop {
        match history.after(kind, version) {
            Next::Change(now, WatchEvent::Seen(object)) => {
                assert!(now > version);
                version = now;
                known.insert(name(&object), object);
            }
            Next::Change(now, WatchEvent::Gone(object)) => {
                assert!(now > version);
                version = now;
                let known = known.remove(&name(&object)).expect("it was known");
                assert_eq!(uid(&known), uid(&object));
            }
            Next::Change(_, event @ (WatchEvent::Bookmark(_) | WatchEvent::Ended(_))) => {
                panic!("no change: {event:?}")
            }
            Next::Nothing => {
                return Listing { version: Version(version), objects: known.into_values().collect() };
            }
            Next::Forgotten => panic!("so few are not forgotten"),
        }
    }
}

proptest! {
    #[test]
    fn who_follows_knows_what_a_list_says(looks in vec(look(), 1..20), begin in 0..20_usize) {
        for kind in [Kind::Jobs, Kind::Pods] {
            let mut history = History::new("node".into());
            let mut first = history.listing(kind);
            for (n, look) in looks.iter().enumerate() {
                history.take(look);
                if n == begin {
                    first = history.listing(kind);
                }
            }
            prop_assert_eq!(follow(&history, kind, first), history.listing(kind));
        }
    }

    #[test]
    fn the_same_look_twice_changes_nothing(look in look()) {
        let mut history = History::new("node".into());
        history.take(&look);
        let before = history.listing(Kind::Pods);
        prop_assert!(!history.take(&look));
        prop_assert_eq!(history.listing(Kind::Pods), before);
    }
}

#[test]
fn what_is_too_old_or_another_process_s_is_forgotten() {
    let mut history = History::new("node".into());
    assert_eq!(history.after(Kind::Jobs, 0), Next::Forgotten);
    assert_eq!(history.after(Kind::Jobs, 1), Next::Nothing);
    assert_eq!(history.after(Kind::Jobs, 2), Next::Forgotten);
    for n in 0..CHANGES_MAX {
        let look = [("job-1".into(), seen("job-1", 0, n % 2 == 0, false))];
        assert!(history.take(&look.into()));
    }
    assert!(matches!(history.after(Kind::Jobs, 1), Next::Change(2, _)), "all of them are kept");
    history.take(&BTreeMap::new());
    assert_eq!(history.after(Kind::Jobs, 1), Next::Forgotten);
    assert!(matches!(history.after(Kind::Jobs, 2), Next::Change(3, _)));
}
