//! Clusters: small ones and large, with nodes that are there and nodes that come, with and without quotas,
//! over each kind of cache volume.

use crate::{
    fault::Dice,
    luck::Span,
    world::cluster::setup::{
        ApiSetup, CacheKind, CacheSetup, ClusterSetup, ControlSetup, KubeletSetup, PoolSetup, QuotaSetup,
    },
};

/// A cluster in which every task fits somewhere.
pub(super) fn setup(dice: &mut Dice) -> ClusterSetup {
    let mut setup = ClusterSetup {
        pools: vec![pool(dice, 1)],
        quota: quota(dice),
        api: api(dice),
        cache: cache(dice),
        has_budget: dice.permille(700),
        ..ClusterSetup::default()
    };
    if dice.permille(250) {
        setup.pools.push(pool(dice, 0));
    }
    setup.pod.grace_ms = dice.one(&[30_000, 360_000]);
    setup.job.backoff_limit = dice.one(&[0, 1, 1, 3]);
    setup.job.has_failure_policy = dice.permille(850);
    if dice.permille(500) {
        // Images that every node has: what goes wrong later is reached sooner.
        setup.kubelet =
            KubeletSetup { pull_cold: Span::Even { min: 500, max: 3_000 }, ..KubeletSetup::default() };
    }
    if dice.permille(200) {
        setup.watch.lasts = Span::Even { min: 5_000, max: 30_000 };
    }
    if dice.permille(300) {
        setup.watch.delay = Span::Even { min: 1, max: 2_000 };
    }
    // A node that is missed sooner, and pods that leave it sooner, make as many turns of events in less time.
    setup.control = ControlSetup {
        toleration_ms: dice.one(&[10_000, 60_000, 300_000]),
        idle_ms: dice.one(&[60_000, 600_000]),
        stockout_backoff_ms: 60_000,
        ..ControlSetup::default()
    };
    setup
}

fn pool(dice: &mut Dice, least: u32) -> PoolSetup {
    let count = dice.few(least, 3);
    let grows = dice.permille(400);
    // Room for one task and for ten.
    let (cpu_m, memory_mi) = dice.one(&[(1_000, 2_048), (2_000, 4_096), (8_000, 32_768)]);
    PoolSetup {
        count,
        min: count,
        max: if grows { count + 3 } else { count },
        cpu_m,
        memory_mi,
        zones: dice.few(1, 3),
        boot: Span::Even { min: 5_000, max: dice.one(&[10_000, 120_000]) },
    }
}

fn quota(dice: &mut Dice) -> QuotaSetup {
    if dice.permille(800) {
        return QuotaSetup::default();
    }
    QuotaSetup { jobs: Some(dice.few(2, 6)), pods: dice.permille(300).then(|| dice.few(2, 6)) }
}

fn api(dice: &mut Dice) -> ApiSetup {
    let servers = dice.few(1, 3);
    let lag_ms = (0..servers).map(|_| if dice.permille(500) { 0 } else { dice.spread(10, 5_000) }).collect();
    ApiSetup {
        latency: Span::Even { min: 1, max: dice.one(&[4, 40, 400]) },
        servers,
        lag_ms,
        history_changes_max: dice.one(&[20, 20_000]),
        ..ApiSetup::default()
    }
}

fn cache(dice: &mut Dice) -> CacheSetup {
    CacheSetup {
        kind: dice.one(&[CacheKind::EmptyDir, CacheKind::Shared, CacheKind::OneNode, CacheKind::HostPath]),
        capacity_bytes: dice.one(&[1, 20]) * 1024 * 1024 * 1024,
        streams: dice.few(1, 8),
        is_zonal: dice.permille(300),
    }
}
