//! Cache volumes of four kinds: what lies in them, who uses them, and where they may be attached.
//!
//! A set is what one `init` needs; it is warm where somebody has filled it before. What is least used goes
//! first when room is needed, and what is in use never. A volume for one node is never on two.

use std::collections::{BTreeMap, BTreeSet};

use scalr_core::{clock::Millis, cluster::NodeName};

use super::{
    ClusterModel,
    alphabet::{NodeKey, PodKey},
    setup::{CacheKind, CacheSetup},
    weather::Weather,
};
use crate::luck::key_of;

/// How much of what `init` needs lies in a pod's cache volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmth {
    /// Of 1000 bytes, how many.
    pub cached_permille: u32,
    /// How much longer reading and writing take, in thousandths of their usual time.
    pub slow_permille: u32,
}

/// What a pod's cache volume looks like for one set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the volume")]
pub struct CacheView {
    /// Its kind.
    pub kind: CacheKind,
    /// Where the pod is.
    pub node: NodeName,
    /// Whether the whole set lies there.
    pub is_warm: bool,
    /// Whether what lies there is broken.
    pub is_corrupt: bool,
    /// Whether somebody has emptied it under the pod.
    pub is_emptied: bool,
    /// Whether nothing more fits.
    pub is_full: bool,
    /// Whether whoever fills it waits for the others.
    pub is_locked: bool,
    /// How many pods use the same volume now, this one included.
    pub users: u32,
    /// How much longer reading and writing take, in thousandths of their usual time.
    pub slow_permille: u32,
}

/// What came of filling a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheFill {
    /// It lies there.
    Kept,
    /// There was no room (`ENOSPC`).
    NoRoom,
    /// The pod has no volume any more.
    NoPod,
}

/// A volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Volume {
    Pod(PodKey),
    Node(NodeKey),
    All,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Set {
    bytes: u64,
    /// When it was used last, in uses of anything.
    used: u64,
    is_corrupt: bool,
}

/// All cache volumes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Volumes {
    setup: CacheSetup,
    /// The zone of a zonal volume, once a pod has decided.
    zone: Option<u32>,
    users: BTreeMap<PodKey, NodeKey>,
    in_use: BTreeSet<(PodKey, u64)>,
    sets: BTreeMap<(Volume, u64), Set>,
    hurt: BTreeSet<PodKey>,
    uses: u64,
}

impl Volumes {
    pub(super) fn new(setup: &CacheSetup) -> Self {
        Self {
            setup: setup.clone(),
            zone: None,
            users: BTreeMap::new(),
            in_use: BTreeSet::new(),
            sets: BTreeMap::new(),
            hurt: BTreeSet::new(),
            uses: 0,
        }
    }

    /// Where a zonal volume is, once that is decided.
    pub(super) fn zone(&self) -> Option<u32> {
        self.zone
    }

    /// Whether a pod on this node may have its volume.
    pub(super) fn can_attach(&self, now: Millis, weather: &Weather, node: NodeKey) -> bool {
        self.setup.kind != CacheKind::OneNode
            || !weather.is_volume_elsewhere(now) && self.users.values().all(|user| *user == node)
    }

    /// A pod has its volume.
    pub(super) fn attach(&mut self, pod: PodKey, node: NodeKey, zone: u32) {
        self.users.insert(pod, node);
        if self.setup.is_zonal {
            self.zone.get_or_insert(zone);
        }
    }

    /// Nothing of a pod uses its volume any more.
    pub(super) fn detach(&mut self, pod: PodKey) {
        self.users.remove(&pod);
        self.hurt.remove(&pod);
        let used: Vec<_> = self.in_use.range((pod, 0)..=(pod, u64::MAX)).copied().collect();
        for key in used {
            self.in_use.remove(&key);
        }
        let own = (Volume::Pod(pod), 0)..=(Volume::Pod(pod), u64::MAX);
        let own: Vec<_> = self.sets.range(own).map(|(key, _)| *key).collect();
        for key in own {
            self.sets.remove(&key);
        }
    }

    /// A machine is gone, and what was on its disk.
    pub(super) fn node_off(&mut self, node: NodeKey) {
        self.sets.retain(|(volume, _), _| *volume != Volume::Node(node));
        let users = self.users.iter().filter(|(_, on)| **on == node).map(|(pod, _)| *pod);
        let users: Vec<PodKey> = users.collect();
        self.hurt.extend(users);
    }

    fn volume(&self, pod: PodKey) -> Option<Volume> {
        let node = *self.users.get(&pod)?;
        Some(match self.setup.kind {
            CacheKind::EmptyDir => Volume::Pod(pod),
            CacheKind::Shared | CacheKind::OneNode => Volume::All,
            CacheKind::HostPath => Volume::Node(node),
        })
    }

    fn users_of(&self, volume: Volume) -> u32 {
        let is_user = |(_, node): &(&PodKey, &NodeKey)| match volume {
            Volume::Pod(_) => false,
            Volume::Node(of) => **node == of,
            Volume::All => true,
        };
        u32::try_from(self.users.iter().filter(is_user).count()).unwrap_or(u32::MAX).max(1)
    }

    /// How many bytes lie in a volume.
    fn bytes_in(&self, volume: Volume) -> u64 {
        self.sets.range((volume, 0)..=(volume, u64::MAX)).map(|(_, set)| set.bytes).sum()
    }

    /// Makes room for so many bytes. Says whether there is.
    fn make_room(&mut self, volume: Volume, bytes: u64) -> bool {
        loop {
            if self.bytes_in(volume).saturating_add(bytes) <= self.setup.capacity_bytes {
                return true;
            }
            let used: BTreeSet<u64> = self
                .in_use
                .iter()
                .filter(|(pod, _)| self.volume(*pod) == Some(volume))
                .map(|(_, set)| *set)
                .collect();
            let idle = self
                .sets
                .range((volume, 0)..=(volume, u64::MAX))
                .filter(|((_, set), _)| !used.contains(set))
                .min_by_key(|(_, set)| set.used)
                .map(|(key, _)| *key);
            match idle {
                Some(key) => self.sets.remove(&key),
                None => return false,
            };
        }
    }

    fn fill(&mut self, pod: PodKey, set: u64, bytes: u64) -> CacheFill {
        let Some(volume) = self.volume(pod) else { return CacheFill::NoPod };
        self.uses += 1;
        let used = self.uses;
        self.in_use.insert((pod, set));
        let before = self.sets.get(&(volume, set)).map_or(0, |set| set.bytes);
        if !self.make_room(volume, bytes.saturating_sub(before)) {
            self.in_use.remove(&(pod, set));
            return CacheFill::NoRoom;
        }
        self.sets.insert((volume, set), Set { bytes: bytes.max(before), used, is_corrupt: false });
        CacheFill::Kept
    }

    /// What lies in all volumes is broken.
    pub(super) fn corrupt(&mut self) {
        for set in self.sets.values_mut() {
            set.is_corrupt = true;
        }
    }

    /// Volumes are empty again: those of these nodes, and what all share.
    pub(super) fn wipe(&mut self, nodes: &[NodeKey]) {
        let is_meant = |volume: Volume| match volume {
            Volume::Pod(_) => false,
            Volume::Node(node) => nodes.contains(&node),
            Volume::All => true,
        };
        self.sets.retain(|(volume, _), _| !is_meant(*volume));
        let users = self.users.keys().filter(|user| self.volume(**user).is_some_and(is_meant));
        let users: Vec<PodKey> = users.copied().collect();
        self.hurt.extend(users);
    }

    /// The volume of a pod is emptied while others may use it too.
    pub(super) fn empty(&mut self, pod: PodKey) {
        let Some(volume) = self.volume(pod) else { return };
        self.sets.retain(|(of, _), _| *of != volume);
        let users = self.users.keys().filter(|user| self.volume(**user) == Some(volume));
        let users: Vec<PodKey> = users.copied().collect();
        self.hurt.extend(users);
    }
}

impl ClusterModel {
    /// Where pods must be for the sake of their volume.
    pub(super) fn volume_zone(&self, now: Millis) -> Option<u32> {
        self.weather.volume_zone(now).or(self.volumes.zone)
    }

    /// What a pod's cache volume looks like for a set; none without a running pod.
    pub fn cache(&self, pod: PodKey, set: u64) -> Option<CacheView> {
        let volumes = &self.volumes;
        let node = self.nodes.get(volumes.users.get(&pod)?)?.name.clone();
        let volume = volumes.volume(pod)?;
        let found = volumes.sets.get(&(volume, set));
        let users = volumes.users_of(volume);
        let weather_permille = self.weather.volume_slow_permille(self.now);
        let slow_permille = match volumes.setup.kind {
            CacheKind::Shared => {
                let crowd = users.div_ceil(volumes.setup.streams.max(1)).max(1);
                weather_permille.saturating_mul(crowd)
            }
            CacheKind::EmptyDir | CacheKind::OneNode | CacheKind::HostPath => 1_000,
        };
        Some(CacheView {
            kind: volumes.setup.kind,
            node,
            is_warm: found.is_some(),
            is_corrupt: found.is_some_and(|set| set.is_corrupt),
            is_emptied: volumes.hurt.contains(&pod),
            is_full: self.weather.is_volume_full(self.now),
            is_locked: self.weather.is_volume_locked(self.now) && users > 1,
            users,
            slow_permille,
        })
    }

    /// A pod has put a set of so many bytes into its cache volume, and uses it until it ends.
    pub fn cache_filled(&mut self, pod: PodKey, set: u64, bytes: u64) -> CacheFill {
        if self.weather.is_volume_full(self.now) {
            return CacheFill::NoRoom;
        }
        self.volumes.fill(pod, set, bytes)
    }

    /// How warm a pod's cache is for its own workspace.
    pub fn warmth(&self, pod: PodKey) -> Warmth {
        let view = self.set_of(pod).and_then(|set| self.cache(pod, set));
        let is_warm = view.as_ref().is_some_and(|view| view.is_warm && !view.is_corrupt);
        let slow =
            |view: CacheView| view.slow_permille.saturating_mul(if view.is_locked { view.users } else { 1 });
        Warmth { cached_permille: if is_warm { 1_000 } else { 0 }, slow_permille: view.map_or(1_000, slow) }
    }

    /// `init` of this pod has ended well and has written so many bytes into the cache.
    pub fn cached(&mut self, pod: PodKey, bytes: u64) {
        if let Some(set) = self.set_of(pod) {
            self.cache_filled(pod, set, bytes);
        }
    }

    fn set_of(&self, pod: PodKey) -> Option<u64> {
        Some(key_of(self.pods.get(&pod)?.spec.workspace.as_str()))
    }

    /// What is wrong with the volumes, for whoever checks: never anything.
    pub fn volume_fault(&self) -> Option<VolumeFault> {
        self.volumes.fault()
    }
}

/// What must never be so of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VolumeFault {
    /// One for a single node is on two.
    OnTwoNodes(String),
    /// More lies in it than it holds.
    TooFull(String),
    /// What is in use was evicted.
    Evicted(String),
}

impl Volumes {
    fn fault(&self) -> Option<VolumeFault> {
        if self.setup.kind == CacheKind::OneNode {
            let mut nodes = self.users.values();
            let first = nodes.next();
            if nodes.any(|node| Some(node) != first) {
                let nodes: BTreeSet<_> = self.users.values().collect();
                let what = format!("a volume for one node is on {} nodes", nodes.len());
                return Some(VolumeFault::OnTwoNodes(what));
            }
        }
        let mut at: Option<(Volume, u64)> = None;
        for ((volume, _), set) in &self.sets {
            let bytes = at.filter(|(of, _)| of == volume).map_or(0, |(_, bytes)| bytes) + set.bytes;
            if bytes > self.setup.capacity_bytes {
                return Some(VolumeFault::TooFull(format!(
                    "a cache volume holds {bytes} bytes of {}",
                    self.setup.capacity_bytes
                )));
            }
            at = Some((*volume, bytes));
        }
        let gone = self.in_use.iter().find(|(pod, set)| {
            let volume = self.volume(*pod);
            !self.hurt.contains(pod) && volume.is_some_and(|volume| !self.sets.contains_key(&(volume, *set)))
        });
        gone.map(|(pod, set)| VolumeFault::Evicted(format!("{set} is gone, and {pod} uses it")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(kind: CacheKind) -> Volumes {
        Volumes::new(&CacheSetup { kind, capacity_bytes: 100, ..CacheSetup::default() })
    }

    #[test]
    fn one_for_a_single_node_on_two_is_told() {
        let mut volumes = volumes(CacheKind::OneNode);
        volumes.attach(PodKey(1), NodeKey(1), 0);
        assert_eq!(volumes.fault(), None);
        volumes.attach(PodKey(2), NodeKey(2), 0);
        assert!(matches!(volumes.fault(), Some(VolumeFault::OnTwoNodes(_))));
    }

    #[test]
    fn one_that_holds_more_than_it_can_is_told() {
        let mut volumes = volumes(CacheKind::Shared);
        volumes.attach(PodKey(1), NodeKey(1), 0);
        assert_eq!(volumes.fill(PodKey(1), 1, 60), CacheFill::Kept);
        assert_eq!(volumes.fault(), None);
        volumes.sets.insert((Volume::All, 2), Set { bytes: 60, used: 9, is_corrupt: false });
        assert!(matches!(volumes.fault(), Some(VolumeFault::TooFull(_))));
    }

    #[test]
    fn what_goes_while_it_is_in_use_is_told_unless_somebody_took_it() {
        let mut volumes = volumes(CacheKind::Shared);
        volumes.attach(PodKey(1), NodeKey(1), 0);
        assert_eq!(volumes.fill(PodKey(1), 1, 60), CacheFill::Kept);
        let mut evicted = volumes.clone();
        evicted.sets.clear();
        assert!(matches!(evicted.fault(), Some(VolumeFault::Evicted(_))));
        volumes.wipe(&[]);
        assert_eq!(volumes.fault(), None);
    }
}
