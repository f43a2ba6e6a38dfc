//! Anything may come at any time, in any order, twice or for nobody.

use proptest::prelude::*;
use scalr_protocol::{
    agent::{Acquired, HeartbeatAnswer, Hint, Messages, TaskVerdict, Verdict},
    id::{AgentId, TaskId},
};

use super::{
    story::{ended, grant, job, key, options, pod, troubled},
    world::Dice,
};
use crate::{
    clock::Millis,
    cluster::{
        ClusterError, Container, JobEnd, Kind, Listing, Object, TroubleKind, Version, WatchEnd, WatchEvent,
    },
    controller::{
        Controller,
        effect::Effect,
        input::{Answer, Input},
    },
    op::Op,
    scalr::{Door, Registration, ScalrError, WorkerLostAnswer},
};

fn number(dice: &mut Dice) -> u64 {
    dice.roll(4)
}

fn task(dice: &mut Dice) -> String {
    format!("t{}@{}", number(dice), number(dice))
}

fn object(dice: &mut Dice) -> Object {
    let (task, version) = (task(dice), dice.roll(60));
    let container = |dice: &mut Dice| match number(dice) {
        0 => Container::Waiting,
        1 => Container::Running,
        code => Container::Terminated { exit_code: i32::try_from(code).unwrap(), is_oom: code == 3 },
    };
    match number(dice) {
        0 => Object::Job(ended(&task, version, JobEnd::Complete)),
        1 => Object::Job(job(&task, version)),
        2 => Object::Pod(troubled(&task, version, TroubleKind::ImageInvalid, "no name")),
        _ => {
            let (worker, runner) = (container(dice), container(dice));
            Object::Pod(pod(&task, version, worker, runner))
        }
    }
}

fn scalr<T>(dice: &mut Dice, ok: T) -> Result<T, ScalrError> {
    let detail = "nonsense".to_owned();
    match dice.roll(16) {
        0 => Err(ScalrError::SessionExpired),
        1 => Err(ScalrError::Unreachable { detail }),
        2 => Err(ScalrError::RateLimited { retry_after_ms: u64::MAX }),
        3 => Err(ScalrError::Refused { status: 418, detail }),
        4 => Err(ScalrError::Draining),
        5 if dice.roll(20) == 0 => Err(ScalrError::Unauthorized { detail }),
        _ => Ok(ok),
    }
}

fn cluster<T>(dice: &mut Dice, ok: T) -> Result<T, ClusterError> {
    let detail = "nonsense".to_owned();
    match dice.roll(16) {
        0 => Err(ClusterError::NameTaken),
        1 => Err(ClusterError::Over),
        2 => Err(ClusterError::QuotaExceeded { detail }),
        3 => Err(ClusterError::Refused { detail }),
        4 => Err(ClusterError::Template { detail }),
        5 => Err(ClusterError::RateLimited { retry_after_ms: 1 }),
        6 => Err(ClusterError::Gone),
        7 => Err(ClusterError::Unreachable { detail }),
        8 => Err(ClusterError::NotAllowed { detail }),
        _ => Ok(ok),
    }
}

fn heartbeat_answer(dice: &mut Dice) -> HeartbeatAnswer {
    let all = [
        Verdict::Stale,
        Verdict::Dead,
        Verdict::Ended,
        Verdict::Started,
        Verdict::Claimed,
        Verdict::HeldByOther,
        Verdict::Held,
    ];
    let verdicts = (0..dice.roll(5))
        .map(|_| {
            let at = key(&task(dice));
            let verdict = dice.pick(&all).unwrap();
            let ttl_ms = (number(dice) > 0).then_some(number(dice) * 20_000);
            TaskVerdict { id: at.id, fence: at.fence, verdict, ttl_ms }
        })
        .collect();
    HeartbeatAnswer { wanted: u32::try_from(number(dice)).unwrap(), verdicts }
}

fn answer(dice: &mut Dice) -> Answer {
    let doors = [Door::Shut, Door::Started, Door::Claimed];
    let lost = [WorkerLostAnswer::Noted, WorkerLostAnswer::NotStarted, WorkerLostAnswer::Finished];
    match dice.roll(13) {
        0 => {
            let agent = AgentId::new("agent-1").unwrap();
            let heartbeat_ms = dice.roll(u64::MAX);
            Answer::Registered(scalr(dice, Registration { agent, heartbeat_ms, wait_ms_max: u64::MAX }))
        }
        1 => {
            let said = heartbeat_answer(dice);
            Answer::Heartbeat(scalr(dice, said))
        }
        2 => Answer::Deregistered(scalr(dice, ())),
        3 => {
            let tasks = (0..dice.roll(4)).map(|_| grant(&task(dice))).collect();
            Answer::Acquired(scalr(dice, Acquired { tasks }))
        }
        4 => {
            let door = dice.pick(&doors).unwrap();
            Answer::Released(scalr(dice, door))
        }
        5 => Answer::LaunchEvents(scalr(dice, ())),
        6 => {
            let door = dice.pick(&doors).unwrap();
            Answer::LaunchFailed(scalr(dice, door))
        }
        7 => {
            let said = dice.pick(&lost).unwrap();
            Answer::WorkerLost(scalr(dice, said))
        }
        8 => {
            let task = TaskId::new(&format!("t{}", number(dice))).unwrap();
            let hints = vec![Hint::Work, Hint::Cancel { task }, Hint::Unknown];
            Answer::Messages(scalr(dice, Messages { last: u64::MAX, hints }))
        }
        9 => {
            let objects = (0..dice.roll(5)).map(|_| object(dice)).collect();
            let version = Version(dice.roll(60));
            Answer::Listed(cluster(dice, Listing { version, objects }))
        }
        10 => Answer::Watching(cluster(dice, ())),
        11 => {
            let version = dice.roll(60);
            let made = job(&task(dice), version);
            Answer::Created(cluster(dice, made))
        }
        _ => Answer::Deleted(cluster(dice, ())),
    }
}

fn watch_event(dice: &mut Dice) -> WatchEvent {
    match dice.roll(8) {
        0 => WatchEvent::Ended(WatchEnd::Gone),
        1 => WatchEvent::Ended(WatchEnd::Eof),
        2 => WatchEvent::Ended(WatchEnd::Error { detail: String::new() }),
        3 => WatchEvent::Bookmark(Version(dice.roll(u64::MAX))),
        4 => WatchEvent::Gone(object(dice)),
        _ => WatchEvent::Seen(object(dice)),
    }
}

fn input(dice: &mut Dice, newest: Op) -> Input {
    // Mostly of calls that were made lately, some of none at all.
    let op = Op(newest.0.saturating_sub(dice.roll(12)).wrapping_add(dice.roll(2)));
    match dice.roll(40) {
        0 => Input::Began,
        1 => Input::Paused(number(dice) == 0),
        2 if dice.roll(30) == 0 => Input::Stop { grace_ms: dice.roll(u64::MAX) },
        2..=7 => Input::Wake,
        8..=16 => {
            let kind = if number(dice) < 2 { Kind::Jobs } else { Kind::Pods };
            Input::Watched { op, kind, event: watch_event(dice) }
        }
        _ => Input::Answer { op, answer: answer(dice) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nonsense_neither_breaks_it_nor_makes_it_run_in_a_circle(seed: u64) {
        let mut dice = Dice(seed);
        let mut brain = Controller::new(options());
        let mut now = Millis(0);
        let mut effects = 0;
        let mut out = Vec::new();
        brain.step(now, Input::Began, &mut out);
        let mut newest = Op(3);
        for _ in 0..600 {
            now = match dice.roll(30) {
                0 => Millis(now.0.saturating_sub(5_000)),
                1 => now + dice.roll(200_000),
                _ => now + dice.roll(300),
            };
            out.clear();
            brain.step(now, input(&mut dice, newest), &mut out);
            effects += out.len();
            for effect in &out {
                if let Effect::Scalr { op, .. } | Effect::Cluster { op, .. } = effect {
                    prop_assert!(*op > newest, "an op is used twice");
                    newest = *op;
                }
            }
            super::properties::check_indexes(&brain);
        }
        prop_assert!(effects < 600 * 12, "{effects} effects of 600 inputs");
    }
}
