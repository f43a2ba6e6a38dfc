//! Many runs in a row through one controller: nothing piles up, on disk or in a process.
//!
//! It counts and never looks at a clock; how long runs take after two thousand others is `just
//! bench-endurance`.

use std::{collections::BTreeMap, fs, path::Path};

use crate::rig::Rig;

/// As many as there are places, each with a workspace of its own.
const LANES: usize = 3;
/// After so many on each lane everything is there that is made once.
const FIRST: usize = 4;
const RUNS: usize = 20;
/// Connections that a client keeps for its next calls come and go. One for each run would be many times this.
const SOCKETS_MORE_MAX: usize = 2 * LANES;

#[test]
fn sixty_runs_leave_no_more_behind_than_twelve() {
    let rig = Rig::serving(&[]);
    rig.stand_in();
    rig.mark("go");
    let concurrency = LANES.to_string();
    rig.start_controller(&["--job-ttl", "1s", "--concurrency", &concurrency]);
    runs(&rig, FIRST);
    let before = AtRest::of(&rig);
    runs(&rig, RUNS - FIRST);
    assert_eq!(rig.marks("ended").len(), RUNS * LANES, "each was applied, once");
    let after = AtRest::of(&rig);
    assert_eq!(after.files, before.files, "below the agent's data and its cache");
    for (name, of_process) in &after.descriptors {
        let (sockets, others) = split(of_process);
        let (sockets_before, others_before) = split(&before.descriptors[name]);
        assert_eq!(others, others_before, "descriptors of the {name}");
        assert!(
            sockets <= sockets_before + SOCKETS_MORE_MAX,
            "{sockets_before} sockets, then {sockets}: {name}"
        );
    }
}

fn runs(rig: &Rig, count: usize) {
    let folders: Vec<_> = (0..LANES)
        .map(|lane| rig.configuration(&format!("lane-{lane}"), "# the stand-in reads nothing\n"))
        .collect();
    for _ in 0..count {
        let submitted: Vec<_> = folders.iter().map(|folder| rig.submit(folder, &["--auto-apply"])).collect();
        for run in &submitted {
            rig.await_status(run, "applied");
        }
    }
}

/// What there is when no Job is left.
struct AtRest {
    /// Below the agent's folders, by name.
    files: Vec<String>,
    /// By process, what its descriptors are, and how many of each.
    descriptors: BTreeMap<&'static str, BTreeMap<String, usize>>,
}

impl AtRest {
    fn of(rig: &Rig) -> Self {
        let names = |part: &str| {
            let listed = fs::read_dir(rig.data().join(part)).into_iter().flatten().flatten();
            listed.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
        };
        // Of all processes, only the server and the controller.
        rig.until("no Job is left", || names("jobs") + names("runs") == 0 && rig.processes(&[]).len() == 2);
        let processes =
            [("controller", &["scalr-agent", "controller"]), ("server", &["fake-scalr", "serve"])];
        let descriptors = processes.map(|(name, words)| {
            let found = rig.processes(words);
            assert_eq!(found.len(), 1, "one {name}");
            (name, descriptors(found[0]))
        });
        let mut files = Vec::new();
        for part in ["data", "cache"] {
            collect(&rig.path().join(part), part, &mut files);
        }
        files.sort();
        Self { files, descriptors: descriptors.into() }
    }
}

/// What a descriptor is, without numbers that differ from time to time.
fn descriptors(pid: i32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten() {
        // One that was just closed is none.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.display().to_string();
        let kind = target.split_once(":[").map_or(target.as_str(), |(kind, _)| kind);
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds
}

fn split(descriptors: &BTreeMap<String, usize>) -> (usize, BTreeMap<String, usize>) {
    let mut others = descriptors.clone();
    (others.remove("socket").unwrap_or_default(), others)
}

fn collect(folder: &Path, name: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), &name, files);
        }
        files.push(name);
    }
}
