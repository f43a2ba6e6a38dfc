//! A failure as a story: what happened, in at most thirty lines; and as a test that can be kept.

use std::{collections::VecDeque, fmt::Write as _};

use scalr_protocol::agent::ReleaseReason;

use crate::{
    invariant::{Checks, Violation},
    scenario::Scenario,
    trial, words,
    world::{
        World,
        setup::TaskNumber,
        truth::{Fact, FactKind},
    },
};

/// No story is longer.
pub const LINES_MAX: usize = 30;

/// How the story of a scenario goes, up to the promise that it breaks, or to its end.
pub fn tell(scenario: &Scenario) -> String {
    let mut world = World::new(scenario.setup(scenario.world.seed));
    let mut checks = Checks::new(scenario);
    let mut lines = Lines::default();
    let mut told = 0;
    let ended = trial::watch(&mut world, scenario, &mut checks, &mut |world| {
        for fact in world.truth().facts() {
            lines.add(Some(fact.task), fact_line(fact));
        }
        for fired in world.truth().fired().iter().skip(told) {
            told += 1;
            if let Some(fault) = scenario.fault_of(fired.what).and_then(|place| scenario.faults.get(place)) {
                let task = fired.task.map_or(String::new(), |task| format!(", {task}"));
                lines.add(None, format!("{} !! {}: {}{task}", fired.at, fault.id, fault.id.about()));
            }
        }
    });
    let end = match &ended {
        Ok(()) => format!("{} all is over, and nothing is left", world.now()),
        Err(violation) => violation.to_string(),
    };
    lines.tell(&opening(scenario), ended.err().as_ref(), &end)
}

fn opening(scenario: &Scenario) -> String {
    let world = &scenario.world;
    let controllers: Vec<String> =
        world.controllers.iter().map(|it| format!("{} of {}", it.name, it.capacity)).collect();
    format!(
        "{} runs, controllers {}, {} faults, healing at {}, seed {}",
        world.runs.len(),
        controllers.join(" and "),
        scenario.faults.len(),
        scenario.heals_at(),
        world.seed
    )
}

/// A fact as a line.
pub fn fact_line(fact: &Fact) -> String {
    format!("{} {}: {}", fact.at, fact.task, fact_what(fact))
}

/// What happened to a task, without when and to which.
pub fn fact_what(fact: &Fact) -> String {
    match &fact.what {
        FactKind::Queued => "is queued".to_owned(),
        FactKind::Granted { agent, process, fence } => {
            format!("is granted to {agent} ({process}) under fence {}", fence.0)
        }
        FactKind::Released { process, fence, reason } => {
            format!("is given back by {process} {}, fence {} is shut", words::given_back(*reason), fence.0)
        }
        FactKind::JobAsked { process, fence } => {
            format!("{process} asks for its Job under fence {}", fence.0)
        }
        FactKind::DeleteAsked { process, fence, status, current, is_running, of: _ } => format!(
            "{process} asks to delete its Job of fence {} ({status} under {}, {})",
            fence.0,
            current.0,
            if *is_running { "running" } else { "not running" }
        ),
        FactKind::DoorSent { process, fence, reason } => {
            format!("{process} shuts the door of fence {}: {}", fence.0, why(*reason))
        }
        FactKind::LaunchFailed { process, fence } => {
            format!("is not launched by {process}, fence {} is shut", fence.0)
        }
        FactKind::CreateSent { process, fence } => {
            format!("{process} makes its Job for fence {}", fence.0)
        }
        FactKind::CreateAnswered { process, fence, answer } => {
            format!("{process} hears of its Job for fence {}: {}", fence.0, words::created(*answer))
        }
        FactKind::Renewed { process, sent } => format!("{process} has its lease since {sent}"),
        FactKind::Drained { process } => format!("{process} takes all output from now on"),
        FactKind::Signaled { process, signal } => format!("{process} sends {}", words::signal(*signal)),
        FactKind::StateLeft { process } => format!("a state lies in the run's folder of {process}"),
        FactKind::UploadSent { process, kind } => format!("{process} sends its {}", kind.as_str()),
        FactKind::Uploaded { process, kind } => format!("{process} has sent its {}", kind.as_str()),
        FactKind::Stopped { pod, grace_ms } => format!("{pod} is told to stop within {grace_ms} ms"),
        FactKind::Overstayed { process } => format!("{process} has not ended within its grace"),
        FactKind::WorkerBegan { process, pod, fence } => {
            format!("a worker begins: {process} in {pod} for fence {}", fence.0)
        }
        FactKind::WorkerEnded { process, exit_code, .. } => format!("{process} ends with {exit_code}"),
        FactKind::Claimed { process, fence } => format!("{process} claims it under fence {}", fence.0),
        FactKind::Confirmed { process, .. } => format!("{process} is confirmed"),
        FactKind::CodeBegan { pod, stage, .. } => format!("{} begins in {pod}", stage.name()),
        FactKind::CodeEnded { pod, stage, exit_code, is_state_lost } => {
            let lost = if *is_state_lost { ", its state lost" } else { "" };
            format!("{} ends in {pod} with {exit_code}{lost}", stage.name())
        }
        FactKind::Interrupted { pod, nth } => {
            format!("its tool in {pod} is told to stop for the {} time", words::ordinal(u64::from(*nth)))
        }
        FactKind::FinishSent { process, outcome, log_bytes, .. } => {
            let outcome = words::outcome(*outcome);
            format!("{process} says that it has {outcome}, with {log_bytes} bytes of log")
        }
        FactKind::Ended { status, outcome: Some(outcome), .. } => {
            format!("is over: {status}, {}", words::outcome(*outcome))
        }
        FactKind::Ended { status, outcome: None, .. } => format!("is over: {status}"),
        FactKind::Late { outcome } => {
            format!("an outcome comes late: {}", words::outcome(*outcome))
        }
    }
}

fn why(reason: Option<ReleaseReason>) -> &'static str {
    match reason {
        None => "its launch has failed",
        Some(ReleaseReason::Drain) => "drain",
        Some(ReleaseReason::Rebalance) => "balance",
    }
}

#[derive(Default)]
struct Lines(Vec<(Option<TaskNumber>, String)>);

impl Lines {
    fn add(&mut self, task: Option<TaskNumber>, line: String) {
        self.0.push((task, line));
    }

    /// The opening, what concerns the violation, and the end; the middle goes first where it is too much.
    fn tell(self, opening: &str, violation: Option<&Violation>, end: &str) -> String {
        let room = LINES_MAX - 2;
        let concerned = violation.and_then(|violation| violation.task);
        let mut lines = self.0;
        if lines.len() > room && concerned.is_some() {
            lines.retain(|(task, _)| task.is_none() || *task == concerned);
        }
        let mut last: VecDeque<String> = lines.into_iter().map(|(_, line)| line).collect();
        let mut text = format!("{opening}\n");
        if last.len() > room {
            let first = room / 3;
            let dropped = last.len() - (room - 1);
            for line in last.drain(..first) {
                let _ = writeln!(text, "{line}");
            }
            last.drain(..dropped);
            let _ = writeln!(text, "… {dropped} more …");
        }
        for line in last {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "{end}");
        text
    }
}

/// A test that keeps a scenario from breaking again, for `sim/tests/regressions/<name>.json`.
pub fn ready_test(name: &str, violation: &Violation) -> String {
    let about = comment(&violation.to_string());
    format!(
        "{about}#[test]\nfn {name}() {{\n    \
         regression(include_str!(\"../regressions/{name}.json\"));\n}}\n"
    )
}

/// As wide as a line of this repository may be.
const COMMENT_COLUMNS: usize = 110;

/// Words as a comment of lines that fit.
fn comment(text: &str) -> String {
    let mut lines = vec!["//".to_owned()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= COMMENT_COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(format!("// {word}")),
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}
