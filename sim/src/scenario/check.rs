//! What a scenario must be beyond its shape: places that exist, names that are known, bounds that are kept.

use scalr_core::scheduler;
use serde_json::Value;

use super::{Scenario, VERSION, bad::Step};
use crate::{
    fault::What,
    luck::Span,
    world::{
        cluster::ClusterSetup,
        setup::{ControllerSetup, Profile, RunSetup, TaskNumber},
        snag::{Moment, Planned, Snag, Strike, Who},
    },
};

/// A value that can't be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) path: Vec<Step>,
    pub(super) expected: String,
}

/// No time in a scenario is longer: a year.
const MS_MAX: u64 = 366 * 86_400_000;

/// No number of bytes is larger: what a double holds exactly.
const BYTES_MAX: u64 = 1 << 53;

/// More nodes than any Kubernetes is tested with.
const NODES_MAX: u64 = 10_000;

/// More of anything would not be a scenario but a load test.
const COUNT_MAX: usize = 100_000;

macro_rules! at {
    ($($step:expr),+) => { vec![$(Step::from($step)),+] };
}

impl From<&'static str> for Step {
    fn from(key: &'static str) -> Self {
        Self::Key(key.into())
    }
}

impl From<usize> for Step {
    fn from(place: usize) -> Self {
        Self::Place(place)
    }
}

fn wrong<T>(path: Vec<Step>, expected: String) -> Result<T, Mistake> {
    Err(Mistake { path, expected })
}

fn at_most(path: Vec<Step>, value: u64, most: u64) -> Result<(), Mistake> {
    if value > most { wrong(path, format!("{value}, expected at most {most}")) } else { Ok(()) }
}

/// Whether a file says that it is of another version: then its members may be others too.
pub(super) fn of_another_version(text: &str) -> Option<Mistake> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: Value,
    }
    let version = serde_json::from_str::<Versioned>(text).ok()?.version;
    let is_another = version.is_number() && version != VERSION;
    is_another.then(|| Mistake { path: at!["version"], expected: format!("{version}, expected {VERSION}") })
}

/// The first mistake, in the order of the file.
pub(super) fn first_mistake(scenario: &Scenario, text: &str) -> Option<Mistake> {
    check(scenario, text).err()
}

fn check(scenario: &Scenario, text: &str) -> Result<(), Mistake> {
    if scenario.version != VERSION {
        return wrong(at!["version"], format!("{}, expected {VERSION}", scenario.version));
    }
    let world = &scenario.world;
    for (name, count) in [
        ("controllers", world.controllers.len()),
        ("profiles", world.profiles.len()),
        ("runs", world.runs.len()),
        ("snags", world.snags.len()),
        ("strikes", world.strikes.len()),
    ] {
        at_most(at!["world", name], count as u64, COUNT_MAX as u64)?;
    }
    let whole = serde_json::to_value(scenario).unwrap_or_default();
    let written = serde_json::from_str(text).unwrap_or_default();
    objects_are_objects(&written, &whole, &mut Vec::new())?;
    numbers_are_sound(&whole, &mut Vec::new())?;
    tasks_are_there(&whole, world.runs.len(), &mut Vec::new())?;
    pools_are_sound(&world.cluster)?;
    if world.controllers.is_empty() {
        return wrong(at!["world", "controllers"], "none, expected at least one".to_owned());
    }
    if world.profiles.is_empty() {
        return wrong(at!["world", "profiles"], "none, expected at least one".to_owned());
    }
    for (place, controller) in world.controllers.iter().enumerate() {
        controller_is_sound(place, controller)?;
    }
    for (place, profile) in world.profiles.iter().enumerate() {
        profile_is_sound(place, profile)?;
    }
    for (place, run) in world.runs.iter().enumerate() {
        run_is_sound(place, run, world.profiles.len())?;
    }
    let counts = Counts { runs: world.runs.len(), controllers: world.controllers.len() };
    for (place, snag) in world.snags.iter().enumerate() {
        counts.snag(snag, &[Step::from("world"), "snags".into(), place.into()])?;
    }
    for (place, planned) in world.strikes.iter().enumerate() {
        counts.planned(planned, &[Step::from("world"), "strikes".into(), place.into()])?;
    }
    at_most(at!["faults"], scenario.faults.len() as u64, COUNT_MAX as u64)?;
    for (place, fault) in scenario.faults.iter().enumerate() {
        let what = |name| at!["faults", place, "what", name];
        match &fault.what {
            What::Snag(snag) => counts.snag(snag, &what("snag"))?,
            What::Strike(planned) => counts.planned(planned, &what("strike"))?,
        }
    }
    Ok(())
}

/// The library reads a list as an object, member after member; no person means that.
fn objects_are_objects(written: &Value, whole: &Value, path: &mut Vec<Step>) -> Result<(), Mistake> {
    let mut each = |step: Step, written: &Value, whole: &Value| {
        path.push(step);
        let checked = objects_are_objects(written, whole, path);
        path.pop();
        checked
    };
    match (written, whole) {
        (Value::Array(_), Value::Object(_)) => {
            wrong(path.clone(), "a list, expected an object with named members".to_owned())
        }
        (Value::Array(written), Value::Array(whole)) => written
            .iter()
            .zip(whole)
            .enumerate()
            .try_for_each(|(place, (written, whole))| each(Step::Place(place), written, whole)),
        (Value::Object(written), Value::Object(whole)) => written
            .iter()
            .filter_map(|(name, written)| Some((name, written, whole.get(name)?)))
            .try_for_each(|(name, written, whole)| each(Step::Key(name.clone().into()), written, whole)),
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => Ok(()),
    }
}

/// No time is longer than [`MS_MAX`] and no number of bytes above [`BYTES_MAX`]: sums of them must not
/// overflow, wherever they are used.
fn numbers_are_sound(value: &Value, path: &mut Vec<Step>) -> Result<(), Mistake> {
    match value {
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            path.push(Step::Key(name.clone().into()));
            let checked = numbers_are_sound(member, path);
            path.pop();
            checked
        }),
        Value::Array(elements) => elements.iter().enumerate().try_for_each(|(place, element)| {
            path.push(Step::Place(place));
            let checked = numbers_are_sound(element, path);
            path.pop();
            checked
        }),
        Value::Number(number) => {
            let most = match path.last() {
                Some(Step::Key(name)) if name == "seed" => return Ok(()),
                Some(Step::Key(name)) if name.contains("bytes") => BYTES_MAX,
                _ => MS_MAX,
            };
            at_most(path.clone(), number.as_u64().unwrap_or(0), most)
        }
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

/// Whatever is called by a run's place and a stage is one of the scenario, wherever it is named.
fn tasks_are_there(value: &Value, runs: usize, path: &mut Vec<Step>) -> Result<(), Mistake> {
    let mut each = |step: Step, value: &Value| {
        path.push(step);
        let checked = tasks_are_there(value, runs, path);
        path.pop();
        checked
    };
    match value {
        Value::Object(members) => {
            members.iter().try_for_each(|(name, member)| each(Step::Key(name.clone().into()), member))?;
            let (Some(run), Some(action)) = (members.get("run"), members.get("action")) else {
                return Ok(());
            };
            if action != "plan" && action != "apply" {
                path.push(Step::from("action"));
                return wrong(path.clone(), "no stage, expected \"plan\" or \"apply\"".to_owned());
            }
            if run.as_u64().is_none_or(|run| run >= runs as u64) {
                path.push(Step::from("run"));
                return wrong(path.clone(), format!("{run}, expected the place of one of {runs} runs"));
            }
            Ok(())
        }
        Value::Array(elements) => {
            elements.iter().enumerate().try_for_each(|(place, element)| each(Step::Place(place), element))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn pools_are_sound(cluster: &ClusterSetup) -> Result<(), Mistake> {
    let field = |place, name| at!["world", "cluster", "pools", place, name];
    at_most(at!["world", "cluster", "pools"], cluster.pools.len() as u64, 100)?;
    for (place, pool) in cluster.pools.iter().enumerate() {
        for (name, count) in [("count", pool.count), ("max", pool.max), ("zones", pool.zones)] {
            at_most(field(place, name), u64::from(count), NODES_MAX)?;
        }
    }
    at_most(at!["world", "cluster", "api", "servers"], u64::from(cluster.api.servers), 100)
}

fn controller_is_sound(place: usize, controller: &ControllerSetup) -> Result<(), Mistake> {
    let field = |name| at!["world", "controllers", place, name];
    if scheduler::by_name(&controller.scheduler).is_none() {
        let known: Vec<&str> = scheduler::names().collect();
        let known = known.join(", ");
        return wrong(field("scheduler"), format!("\"{}\", expected one of: {known}", controller.scheduler));
    }
    Ok(())
}

fn profile_is_sound(place: usize, profile: &Profile) -> Result<(), Mistake> {
    let field = |name| at!["world", "profiles", place, name];
    for (name, span) in [
        ("configuration", &profile.configuration),
        ("tool", &profile.tool),
        ("init-cold", &profile.init_cold),
        ("init-warm", &profile.init_warm),
        ("plan", &profile.plan),
        ("show", &profile.show),
        ("apply", &profile.apply),
        ("hook", &profile.hook),
        ("transfer", &profile.transfer),
        ("stop", &profile.stop),
    ] {
        if let Span::Even { min, max } = span
            && min > max
        {
            return wrong(
                field(name),
                format!("min {min} is above max {max}, expected min to be at most max"),
            );
        }
    }
    if profile.console_pieces == 0 {
        return wrong(field("console-pieces"), "0, expected at least 1".to_owned());
    }
    at_most(field("console-pieces"), u64::from(profile.console_pieces), 10_000)?;
    at_most(field("no-changes-permille"), u64::from(profile.no_changes_permille), 1_000)?;
    at_most(field("errored-state-permille"), u64::from(profile.errored_state_permille), 1_000)?;
    at_most(field("deaf-permille"), u64::from(profile.deaf_permille), 1_000)
}

fn run_is_sound(place: usize, run: &RunSetup, profiles: usize) -> Result<(), Mistake> {
    let field = |name| at!["world", "runs", place, name];
    if run.profile as usize >= profiles {
        let expected = format!("{}, expected the place of one of {profiles} profiles", run.profile);
        return wrong(field("profile"), expected);
    }
    Ok(())
}

struct Counts {
    runs: usize,
    controllers: usize,
}

impl Counts {
    fn task(&self, task: TaskNumber, path: &[Step]) -> Result<(), Mistake> {
        self.run(task.run, path)
    }

    fn run(&self, run: u32, path: &[Step]) -> Result<(), Mistake> {
        if run as usize >= self.runs {
            return wrong(
                path.to_vec(),
                format!("run {run}, expected the place of one of {} runs", self.runs),
            );
        }
        Ok(())
    }

    fn who(&self, who: Who, path: &[Step]) -> Result<(), Mistake> {
        match who {
            Who::Controller(place) if place as usize >= self.controllers => {
                let count = self.controllers;
                wrong(
                    path.to_vec(),
                    format!("controller {place}, expected the place of one of {count} controllers"),
                )
            }
            Who::WorkersOf(task) => self.task(task, path),
            Who::Controllers | Who::Controller(_) | Who::Workers => Ok(()),
        }
    }

    fn snag(&self, snag: &Snag, path: &[Step]) -> Result<(), Mistake> {
        let field = |name| [path, &[Step::from(name)]].concat();
        at_most(field("permille"), u64::from(snag.permille), 1_000)?;
        if let Some(who) = snag.who {
            self.who(who, &field("who"))?;
        }
        match snag.task {
            Some(task) => self.task(task, &field("task")),
            None => Ok(()),
        }
    }

    fn planned(&self, planned: &Planned, path: &[Step]) -> Result<(), Mistake> {
        let field = |name| [path, &[Step::from(name)]].concat();
        match planned.when {
            Moment::At(_) => {}
            Moment::When { task, .. } => self.task(task, &field("when"))?,
        }
        let path = field("what");
        match &planned.what {
            Strike::Approve { run } | Strike::Discard { run } | Strike::Cancel { run, .. } => {
                self.run(*run, &path)
            }
            Strike::Crash { who, .. }
            | Strike::Terminate { who, .. }
            | Strike::Pause { who, .. }
            | Strike::Drift { who, .. }
            | Strike::Jump { who, .. }
            | Strike::Cut { who, .. } => self.who(*who, &path),
            Strike::KillRunner { task, .. } => self.task(*task, &path),
            Strike::Snag(snag) => self.snag(snag, &path),
            Strike::ScalrDown { .. }
            | Strike::ScalrSlow { .. }
            | Strike::ScalrRefuses { .. }
            | Strike::RevokePoolToken { .. }
            | Strike::Cluster(_)
            | Strike::Heal => Ok(()),
        }
    }
}
