//! Whole runs, told from outside: what a person submits, and what then happens to the processes.

mod cancel;
mod endurance;
mod examples;
mod hooks;
mod hostile;
mod kills;
mod mistakes;
mod once;
mod outages;
mod runs;
mod server;
mod signals;
mod stops;
mod strangers;

use crate::rig::{self, Rig};

/// Starts a controller without room, named `one`: a run is being applied in its only place, until `go` is
/// marked, and another waits at the controller, not launched. It counts itself at the mark `ran`.
fn full(rig: &Rig) -> [String; 2] {
    rig.start_controller(&["--concurrency", "1", "--name", "one"]);
    let applied = rig.submit(&rig.slow(), &["--auto-apply"]);
    rig.await_mark("began");
    let hook = format!("pre-plan=echo ran >> {}", rig.mark_path("ran").display());
    let held = rig.submit(&rig::example("hello"), &["--auto-apply", "--hook", &hook]);
    rig.until("the controller holds the second run", || rig.waits(&held).contains("at agent one"));
    [applied, held]
}
