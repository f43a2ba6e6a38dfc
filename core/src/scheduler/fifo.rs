//! `fifo`: Scalr's priority first, then whoever was queued first, then in the order of the grants.
//!
//! Nobody of the same priority overtakes anybody, and no slot stays free that somebody could use.

use super::{Memory, Plan, Queued, Scheduler, View, limits};
use crate::mutant::{Mutant, planted};

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct Fifo;

impl Scheduler for Fifo {
    fn name(&self) -> &'static str {
        "fifo"
    }

    fn options(&self) -> &'static [&'static str] {
        &[]
    }

    fn plan(&self, view: &View<'_>, _memory: &mut Memory) -> Plan {
        let mut ordered: Vec<&Queued<'_>> = view.queue.iter().collect();
        // Stable, so that equals stay in the order of their grants.
        let urgency =
            |queued: &Queued<'_>| if planted(Mutant::PriorityIgnored) { 0 } else { queued.priority };
        ordered.sort_by_key(|queued| (std::cmp::Reverse(urgency(queued)), queued.queued_at));
        limits::fill(&ordered, &view.capacity)
    }
}
