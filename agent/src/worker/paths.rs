//! Where the parts of a run's folder are, as the worker sees them and as the runner sees them.
//!
//! In Kubernetes one volume is mounted at two places; with the local driver both see the same paths. It
//! never touches a file system: it only knows names.

use std::path::{Path, PathBuf};

/// A run's folder from both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPaths {
    /// As the worker opens them.
    pub worker: Side,
    /// As they stand in commands and in the environment of the runner.
    pub runner: Side,
}

/// The parts of a run's folder as one process sees them. All paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The unpacked configuration; commands run in it, or below.
    pub config: PathBuf,
    /// What the agent adds: plan file, plan JSON, the tool's own configuration.
    pub data: PathBuf,
    /// Where providers go.
    pub providers: PathBuf,
    /// The runner's `HOME` and, where it is short enough, its `TMPDIR`.
    pub tmp: PathBuf,
    /// The binary cache, `<name>/<version>/<name>` below.
    pub binaries: PathBuf,
}

/// Where the reference chart mounts the parts in the runner's container.
/// Source: the public chart `agent-job`, `templates/task.yaml`.
const KUBERNETES_RUNNER: [&str; 5] =
    ["/opt/workdir", "/opt/data", "/opt/providers", "/tmp", "/opt/binary-cache"];

impl RunPaths {
    /// For the local driver: both sides see the same. `run` is the run's folder, `cache` the agent's cache.
    pub fn local(run: &Path, cache: &Path) -> Self {
        let side = Side::below(run, cache);
        Self { worker: side.clone(), runner: side }
    }

    /// For Kubernetes: the worker sees the run at `<data_dir>/run`, the runner sees each part at its mount.
    pub fn kubernetes(data_dir: &Path, cache: &Path) -> Self {
        let [config, data, providers, tmp, binaries] = KUBERNETES_RUNNER.map(PathBuf::from);
        Self {
            worker: Side::below(&data_dir.join("run"), cache),
            runner: Side { config, data, providers, tmp, binaries },
        }
    }

    /// The runner's name for a path of the worker's; none where the runner can't see it.
    pub fn to_runner(&self, path: &Path) -> Option<PathBuf> {
        translate(&self.worker, &self.runner, path)
    }

    /// The worker's name for a path of the runner's; none where the worker can't see it.
    pub fn to_worker(&self, path: &Path) -> Option<PathBuf> {
        translate(&self.runner, &self.worker, path)
    }

    /// Whether both processes see one file system, so that the worker can look at what the runner runs.
    pub fn same_view(&self) -> bool {
        self.worker == self.runner
    }
}

impl Side {
    fn below(run: &Path, cache: &Path) -> Self {
        Self {
            config: run.join("config"),
            data: run.join("data"),
            providers: run.join("providers"),
            tmp: run.join("tmp"),
            binaries: cache.join("binaries"),
        }
    }

    fn parts(&self) -> [&Path; 5] {
        [&self.config, &self.data, &self.providers, &self.tmp, &self.binaries]
    }
}

fn translate(from: &Side, to: &Side, path: &Path) -> Option<PathBuf> {
    from.parts().into_iter().zip(to.parts()).find_map(|(from, to)| {
        let rest = path.strip_prefix(from).ok()?;
        // `join("")` would leave a slash at the end.
        Some(if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_translated_both_ways() {
        let paths = RunPaths::kubernetes(Path::new("/var/lib/scalr-agent/data"), Path::new("/cache"));
        let worker = Path::new("/var/lib/scalr-agent/data/run/config/envs/prod");
        let runner = Path::new("/opt/workdir/envs/prod");
        assert_eq!(paths.to_runner(worker).as_deref(), Some(runner));
        assert_eq!(paths.to_worker(runner).as_deref(), Some(worker));
        assert_eq!(
            paths.to_runner(Path::new("/cache/binaries")).as_deref(),
            Some(Path::new("/opt/binary-cache"))
        );
    }

    #[test]
    fn what_the_runner_cannot_see_has_no_name_there() {
        let paths = RunPaths::kubernetes(Path::new("/data"), Path::new("/cache"));
        assert_eq!(paths.to_runner(Path::new("/data/token")), None);
        assert_eq!(paths.to_runner(Path::new("/data/run/configuration")), None);
    }

    #[test]
    fn the_local_driver_sees_one_folder() {
        let paths = RunPaths::local(Path::new("/run/1"), Path::new("/cache"));
        assert!(paths.same_view());
        assert_eq!(
            paths.to_runner(Path::new("/run/1/data/plan")).as_deref(),
            Some(Path::new("/run/1/data/plan"))
        );
    }
}
