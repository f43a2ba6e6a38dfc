//! Small steps towards a plainer scenario. Each is tried, and kept where the promise still breaks.

use crate::{
    fault::{Fault, What},
    luck::Span,
    scenario::Scenario,
    world::{
        cluster::{ClusterSetup, setup::QuotaSetup},
        setup::{ClockSetup, ControllerSetup, FailsPermille, Profile, RunSetup, ScalrSetup, WorkerSetup},
        snag::{Fate, Identity, Moment, Rebirth, Strike},
    },
};

/// What can be made plainer in a whole scenario.
pub(super) const CHANGES: [fn(&mut Scenario); 17] = [
    |it| it.world.cluster = ClusterSetup::default(),
    |it| {
        let pools = it.world.cluster.pools.clone();
        it.world.cluster = ClusterSetup { pools, ..ClusterSetup::default() };
    },
    |it| it.world.workers = WorkerSetup::default(),
    |it| {
        let lost_after_ms = it.world.scalr.settings.timings.lost_after_ms;
        it.world.scalr = ScalrSetup::default();
        it.world.scalr.settings.timings.lost_after_ms = lost_after_ms;
    },
    |it| it.world.scalr = ScalrSetup::default(),
    |it| it.world.scalr.latency = Span::Fixed(1),
    |it| {
        it.world.profiles.truncate(1);
        it.world.runs.iter_mut().for_each(|run| run.profile = 0);
    },
    |it| it.world.profiles.iter_mut().for_each(|profile| *profile = Profile::default()),
    |it| it.world.profiles.iter_mut().for_each(|profile| profile.hooks.clear()),
    |it| {
        it.world.profiles.iter_mut().for_each(|profile| {
            profile.fails_permille = FailsPermille::default();
            profile.deaf_permille = 0;
            profile.no_changes_permille = 0;
        });
    },
    |it| {
        for (place, controller) in it.world.controllers.iter_mut().enumerate() {
            *controller = ControllerSetup {
                name: format!("agent-{place}"),
                capacity: controller.capacity,
                ..ControllerSetup::default()
            };
        }
    },
    |it| {
        it.world.controllers.iter_mut().for_each(|controller| {
            controller.begins_ms = 0;
            controller.clock = ClockSetup::default();
        });
    },
    |it| it.world.controllers.iter_mut().for_each(|controller| controller.capacity = 10),
    // Where it is room that matters, little room needs few runs.
    |it| it.world.controllers.iter_mut().for_each(|controller| controller.capacity = 1),
    |it| {
        it.world.controllers.iter_mut().for_each(|it| it.capacity = (it.capacity / 2).max(1));
    },
    |it| it.world.cluster.quota = QuotaSetup::default(),
    |it| it.chaos_ms = it.chaos_ms / 2 + 1_000,
];

/// What can be made plainer in a run.
pub(super) const RUN_CHANGES: [fn(&mut RunSetup); 5] = [
    |run| *run = RunSetup { workspace: run.workspace, is_dry: run.is_dry, ..RunSetup::default() },
    |run| run.is_dry = true,
    |run| run.approval_ms = None,
    |run| run.operation_timeout_ms = None,
    |run| run.at_ms = 1_000,
];

/// What can be made plainer in a fault.
pub(super) const FAULT_CHANGES: [fn(&mut Fault); 6] = [
    |fault| {
        if let What::Snag(snag) = &mut fault.what {
            snag.skip /= 2;
        }
    },
    |fault| {
        if let What::Snag(snag) = &mut fault.what {
            snag.times = 1;
            snag.permille = 1_000;
        }
    },
    |fault| match &mut fault.what {
        What::Snag(snag) => plain_fate(&mut snag.fate),
        What::Strike(planned) => match &mut planned.what {
            Strike::Crash { rebirth, .. } | Strike::Terminate { rebirth, .. } => {
                if let Some(rebirth) = rebirth {
                    *rebirth = Rebirth { after_ms: 1_000, identity: Identity::Same };
                }
            }
            Strike::Approve { .. }
            | Strike::Discard { .. }
            | Strike::Cancel { .. }
            | Strike::KillRunner { .. }
            | Strike::Pause { .. }
            | Strike::Drift { .. }
            | Strike::Jump { .. }
            | Strike::Cut { .. }
            | Strike::ScalrDown { .. }
            | Strike::ScalrSlow { .. }
            | Strike::ScalrRefuses { .. }
            | Strike::RevokePoolToken { .. }
            | Strike::Snag(_)
            | Strike::Cluster(_)
            | Strike::Heal => {}
        },
    },
    |fault| match &mut fault.what {
        What::Strike(planned) => match &mut planned.when {
            Moment::When { after_ms, .. } => *after_ms = 0,
            Moment::At(at_ms) => *at_ms = *at_ms / 1_000 * 1_000,
        },
        What::Snag(_) => {}
    },
    |fault| match &mut fault.what {
        What::Strike(planned) => halve(&mut planned.what),
        What::Snag(snag) => match &mut snag.fate {
            Fate::Delay { by_ms } | Fate::Pause { for_ms: by_ms } => *by_ms /= 2,
            Fate::Twice { after_ms } | Fate::Lose { after_ms } => *after_ms /= 2,
            Fate::Crash(_) | Fate::Terminate | Fate::Refuse(_) => {}
        },
    },
    |fault| match &mut fault.what {
        What::Strike(planned) => match &mut planned.when {
            Moment::When { after_ms, .. } => *after_ms /= 2,
            Moment::At(at_ms) => *at_ms /= 2,
        },
        What::Snag(snag) => snag.task = None,
    },
];

fn plain_fate(fate: &mut Fate) {
    match fate {
        Fate::Crash(rebirth) => *rebirth = Rebirth { after_ms: 1_000, identity: Identity::Same },
        Fate::Lose { after_ms } | Fate::Twice { after_ms } => *after_ms = 1,
        Fate::Pause { .. } | Fate::Terminate | Fate::Delay { .. } | Fate::Refuse(_) => {}
    }
}

fn halve(strike: &mut Strike) {
    match strike {
        Strike::Pause { for_ms, .. }
        | Strike::Cut { for_ms, .. }
        | Strike::ScalrDown { for_ms, .. }
        | Strike::ScalrSlow { for_ms, .. }
        | Strike::ScalrRefuses { for_ms, .. }
        | Strike::Jump { ahead_ms: for_ms, .. } => *for_ms = *for_ms / 2 / 100 * 100,
        Strike::Approve { .. }
        | Strike::Discard { .. }
        | Strike::Cancel { .. }
        | Strike::Crash { .. }
        | Strike::KillRunner { .. }
        | Strike::Terminate { .. }
        | Strike::Drift { .. }
        | Strike::RevokePoolToken { .. }
        | Strike::Snag(_)
        | Strike::Cluster(_)
        | Strike::Heal => {}
    }
}
