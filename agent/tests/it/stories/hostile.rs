//! User code that means harm: what stands in the worker's way, and what it must not bring about.
//!
//! It may do what it likes to its own run. It never gets more than that: the worker follows nothing that it
//! made, stays within its memory, shows no secret, and the next run finds nothing of it. What the local
//! driver does not keep it from is said in docs/operations.md, and is no story here.

mod archives;
mod files;
mod neighbours;
mod output;
mod plans;
mod processes;

use crate::rig::{Rig, example, text};

/// A server and a controller whose tool does what the scripts of each run say.
fn obedient(args: &[&str]) -> Rig {
    let rig = Rig::serving(&[]);
    rig.obey();
    rig.start_controller(args);
    rig
}

/// Whatever was before, the next run is fine.
fn next_run_is_fine(rig: &Rig) {
    let next = rig.submit(&example("hello"), &["--auto-apply", "--workspace", "next"]);
    rig.await_status(&next, "applied");
}

/// What a run ended with: its status and its error. The rig's own folder is `DIR`.
fn ended(rig: &Rig, run: &str) -> String {
    rig.until(&format!("{run} is over"), || rig.is_over(run));
    let said = rig.error(run).replace(&rig.path().display().to_string(), "DIR");
    format!("{}: {said}", rig.status(run))
}

/// Submits runs whose scripts differ, all at once, and tells how each ended. The second part of each is what
/// its tool's command `of` does.
fn each(rig: &Rig, of: &str, others: &[(&str, &str)], args: &[&str], cases: &[(&str, &str)]) -> String {
    let submit = |(name, script): &(&str, &str)| {
        let scripts = [&[(of, *script)], others].concat();
        rig.submit(&rig.scripts(&name.replace(' ', "-"), &scripts), args)
    };
    let runs: Vec<String> = cases.iter().map(submit).collect();
    let told = cases.iter().zip(&runs).map(|((name, _), run)| format!("{name}: {}", ended(rig, run)));
    told.collect::<Vec<_>>().join("\n") + "\n"
}

/// No file of server or agent holds the pool's token, consoles and blobs included, but those in which the
/// server keeps its tokens.
#[track_caller]
fn no_token_is_anywhere(rig: &Rig) {
    let mut found = rig.found_in(&rig.pool_token());
    let is_kept =
        |file: &String| ["server.log", "tokens.json", "server/journal-"].iter().any(|own| file.contains(own));
    found.retain(|file| !is_kept(file));
    assert_eq!(found, [""; 0]);
}

/// A program in Python, as the tool and a hook can start it.
fn python(program: &str) -> String {
    assert!(!program.contains('\''), "it stands in single quotes");
    let found = std::process::Command::new("sh").args(["-c", "command -v python3"]).output().expect("sh");
    assert!(found.status.success(), "there is no python3, which Terraform needs here too");
    format!("{} -c '{program}'", text(&found.stdout).trim())
}
