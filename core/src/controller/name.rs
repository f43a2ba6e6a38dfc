//! A Job's name: told by its task's grant alone, so that whoever makes it again makes the same.

use scalr_protocol::{
    agent::Grant,
    id::{Fence, TaskId},
};

use crate::cluster::JobName;

/// The longest DNS label.
const NAME_MAX: usize = 63;

/// `<basename>-<run>-<stage>`, from the second fence on with `-<fence>`. A hash of the task's id stands
/// before the fence where the name would be too long, where something had to be replaced to make a DNS label
/// of it, and where `is_repeated` says that another task has the plain name.
pub(super) fn job_name(basename: &str, grant: &Grant, is_repeated: bool) -> JobName {
    let plain = format!("{basename}-{}-{}", grant.run, grant.stage);
    let label = label(&plain);
    let fence = if grant.fence > Fence::FIRST { format!("-{}", grant.fence) } else { String::new() };
    if label == plain && !is_repeated && label.len() + fence.len() <= NAME_MAX {
        return JobName::from(format!("{label}{fence}").as_str());
    }
    let tail = format!("-{}{fence}", digest(&grant.id));
    let kept: String = label.chars().take(NAME_MAX - tail.len()).collect();
    JobName::from(format!("{}{tail}", kept.trim_end_matches('-')).as_str())
}

/// A name that nobody finds again: what [`Mutant::JobNameRandom`](crate::mutant::Mutant) makes of one.
pub(super) fn with_dice(name: &JobName, dice: u64) -> JobName {
    let tail = format!("-{dice:x}");
    let kept: String = name.as_str().chars().take(NAME_MAX - tail.len()).collect();
    JobName::from(format!("{}{tail}", kept.trim_end_matches('-')).as_str())
}

/// The text with everything replaced that a DNS label does not allow.
fn label(text: &str) -> String {
    let safe: String = text
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
            _ => '-',
        })
        .collect();
    let trimmed = safe.trim_matches('-');
    if trimmed.is_empty() { "task".to_owned() } else { trimmed.to_owned() }
}

/// Ten characters that stay the same for a task: FNV-1a, cut to 40 bits, since ids are not secret and
/// a collision only makes a Job that is taken for somebody else's.
fn digest(task: &TaskId) -> String {
    let hash = task
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{:010x}", (hash ^ (hash >> 40)) & 0xff_ffff_ffff)
}
