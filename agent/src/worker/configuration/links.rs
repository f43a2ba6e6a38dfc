//! Where the symbolic links of an archive lead, found out on names alone.
//!
//! A link is resolved as the kernel would do it, through the other links of the archive. What is no link is
//! taken for a folder, whether it is there or not: a dangling link is allowed, one that could ever lead out
//! of the folder is not.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    path::{Component, Path, PathBuf},
};

use super::{Problem, error::shown};

/// How many links Linux itself follows in one path.
const LINKS_FOLLOWED_MAX: usize = 40;
/// How many steps all links of an archive may take together. Thousands of honest links take a hundred each;
/// without a bound, links through links would be a way to keep a worker busy for minutes.
pub(super) const STEPS_MAX: usize = 1_000_000;

/// Says whether `link` → `target` stays inside. `steps` is what is left of [`STEPS_MAX`].
pub(super) fn check(
    link: &Path,
    target: &Path,
    links: &BTreeMap<PathBuf, PathBuf>,
    steps: &mut usize,
) -> Result<(), Problem> {
    let outside = || Problem::LinkOutside { target: shown(target) };
    let mut reached = link.parent().unwrap_or(Path::new("")).to_owned();
    let mut left: VecDeque<Step> = VecDeque::new();
    push_front(&mut left, target).ok_or_else(outside)?;
    let mut followed = 0;
    while let Some(step) = left.pop_front() {
        *steps = steps.checked_sub(1).ok_or(Problem::LinksTooTangled { max: STEPS_MAX })?;
        match step {
            Step::Up => {
                if !reached.pop() {
                    return Err(outside());
                }
            }
            Step::Into(name) => {
                reached.push(name);
                let Some(target_of_reached) = links.get(&reached) else { continue };
                followed += 1;
                if followed >= LINKS_FOLLOWED_MAX {
                    let target = shown(target);
                    return Err(Problem::LinkLoop { target, max: LINKS_FOLLOWED_MAX });
                }
                reached.pop();
                push_front(&mut left, target_of_reached).ok_or_else(outside)?;
            }
        }
    }
    Ok(())
}

enum Step {
    Up,
    Into(OsString),
}

/// Puts the steps of a target before those that are left; none if it is absolute.
fn push_front(left: &mut VecDeque<Step>, target: &Path) -> Option<()> {
    for component in target.components().rev() {
        match component {
            Component::Normal(name) => left.push_front(Step::Into(name.to_owned())),
            Component::ParentDir => left.push_front(Step::Up),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(())
}
