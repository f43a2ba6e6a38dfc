//! What holds in the cluster whatever anybody believes: cache volumes, by the cluster's own books.

use super::{Checked, Checks, Invariant};
use crate::world::{World, cluster::volumes::VolumeFault};

/// Volumes are looked at after so many events of the cluster, and at the end.
const EACH: u64 = 16;

impl Checks {
    /// The cluster has done something.
    pub(super) fn volumes_now_and_then(&mut self, world: &World) -> Checked {
        self.cluster_steps += 1;
        if self.cluster_steps.is_multiple_of(EACH) { self.volumes(world) } else { Ok(()) }
    }

    pub(super) fn volumes(&self, world: &World) -> Checked {
        match world.cluster().volume_fault() {
            None => Ok(()),
            Some(VolumeFault::OnTwoNodes(what)) => Err(self.broken(Invariant::RwoSingleNode, None, what)),
            Some(VolumeFault::TooFull(what) | VolumeFault::Evicted(what)) => {
                Err(self.broken(Invariant::CacheLimit, None, what))
            }
        }
    }
}
