//! What the rig tells of a story that failed: runs, consoles, logs.

use std::{fmt::Write as _, fs};

use super::{Rig, plain, text};

/// How many lines of each log are shown.
const LINES_MAX: usize = 60;

impl Rig {
    /// Everything there is to know.
    pub(super) fn tell(&self) -> String {
        let mut told = String::new();
        for run in self.runs.borrow().iter() {
            // The server may be what failed: its answers are shown as they are.
            let console = self.person(&["logs", run]);
            let (console, complaint) = (plain(&text(&console.stdout)), text(&console.stderr));
            let web = self.web.borrow();
            let json = match web.as_ref().map(|web| web.get(&format!("runs/{run}"))) {
                Some(Ok(run)) => serde_json::to_string_pretty(&run).unwrap_or_default(),
                Some(Err(error)) => error.to_string(),
                None => String::new(),
            };
            let _ = write!(told, "\n──── {run}\n{json}\n──── console of {run}\n{console}{complaint}\n");
        }
        told + &self.tell_logs()
    }

    /// The ends of all logs.
    pub(super) fn tell_logs(&self) -> String {
        let mut told = String::new();
        let mut folders = vec![self.path.clone()];
        let jobs = fs::read_dir(self.data().join("jobs")).into_iter().flatten().flatten();
        folders.extend(jobs.map(|entry| entry.path()));
        for folder in folders {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let is_told = path.extension().is_some_and(|end| end == "log" || end == "exit");
                if !is_told && !path.ends_with("end.json") {
                    continue;
                }
                let log = plain(&fs::read_to_string(&path).unwrap_or_default());
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(LINES_MAX)..].join("\n");
                let _ = write!(told, "\n──── {}\n{end}\n", path.display());
            }
        }
        told
    }
}
