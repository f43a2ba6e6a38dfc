//! The API server: what calls do and how they are answered.
//!
//! A call acts at the moment it arrives, or later if the server is slow, and is answered after it was served
//! and has come back. Each of several servers has its own caches, which may be behind; writes and quorum
//! reads are never. It must never act on anything but what it stores.

use std::{collections::BTreeMap, sync::Arc};

use scalr_core::{
    clock::Millis,
    cluster::{
        ClusterError, Consistency, Job, JobName, JobSpec, Kind, Listing, Object, TroubleKind, Uid, Version,
    },
    controller::{effect::ClusterCall, input::Answer},
    op::Op,
};
use serde::{Deserialize, Serialize};

use super::{
    super::snag::CallKind,
    ClusterModel,
    alphabet::{ClientId, Internal, Reaction},
    fault::ApiTrouble,
    history::History,
    job_controller::JobRecord,
    quantity::Room,
    turn::Turn,
};
use crate::luck::{Purpose, key_of};

const SERVER: Purpose = Purpose::named("kube server");
const SERVE: Purpose = Purpose::named("kube serve");
const WAY_BACK: Purpose = Purpose::named("kube way back");
const TROUBLE: Purpose = Purpose::named("kube trouble");

/// How long the API server waits for a webhook: its own default.
const WEBHOOK_TIMEOUT_MS: u64 = 10_000;

/// What the API server keeps, but for the objects themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ApiServer {
    /// The version of the last write, of any kind.
    pub(super) revision: u64,
    pub(super) jobs: History,
    pub(super) pods: History,
    /// How far each server's caches were seen to be: they never go back.
    seen: BTreeMap<(u32, Kind), u64>,
    waiting: BTreeMap<u64, (ClientId, Op, ClusterCall)>,
    waited: u64,
    /// What was asked of it, for whoever checks.
    pub(super) ledger: Ledger,
}

/// What was asked of the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ledger {
    /// Calls that arrived and were carried out or refused.
    pub calls: u64,
    /// Jobs that calls have made.
    pub created: u64,
    /// Creations that found their own Job.
    pub found: u64,
    /// Deletions that found their Job by name and UID.
    pub deleted: u64,
    /// Deletions whose Job was gone or another one.
    pub missed: u64,
    /// Pods that ever were.
    pub pods: u64,
}

impl ApiServer {
    /// No server knows how far its caches were.
    pub(super) fn forget_servers(&mut self) {
        self.seen.clear();
    }

    pub(super) fn history(&mut self, kind: Kind) -> &mut History {
        match kind {
            Kind::Jobs => &mut self.jobs,
            Kind::Pods => &mut self.pods,
        }
    }
}

/// A client's call as an object of draws.
pub(super) fn luck_of(client: ClientId, op: Op) -> u64 {
    (u64::from(client.0) << 40) ^ op.0
}

impl ClusterModel {
    /// A request has arrived.
    pub(super) fn call(&mut self, turn: &mut Turn<'_>, client: ClientId, op: Op, call: ClusterCall) {
        let slow_ms = self.weather.slow_ms(turn.now, kind_of(&call));
        if slow_ms > 0 {
            self.api.waited += 1;
            self.api.waiting.insert(self.api.waited, (client, op, call));
            turn.later(turn.now + slow_ms, Internal::Act(self.api.waited));
        } else {
            self.act(turn, client, op, &call);
        }
    }

    /// A slow request is carried out.
    pub(super) fn act_late(&mut self, turn: &mut Turn<'_>, number: u64) {
        if let Some((client, op, call)) = self.api.waiting.remove(&number) {
            self.act(turn, client, op, &call);
        }
    }

    /// Every slow request is carried out now.
    pub(super) fn act_on_all(&mut self, turn: &mut Turn<'_>) {
        for (client, op, call) in std::mem::take(&mut self.api.waiting).into_values() {
            self.act(turn, client, op, &call);
        }
    }

    /// Drops what has not begun, if it changes nothing. A write goes on without its caller.
    pub(super) fn forget_waiting(&mut self, is_meant: impl Fn(ClientId, Op) -> bool) {
        self.api.waiting.retain(|_, (client, op, call)| {
            let is_read = matches!(call, ClusterCall::List(..) | ClusterCall::Watch(..));
            !(is_read && is_meant(*client, *op))
        });
    }

    fn act(&mut self, turn: &mut Turn<'_>, client: ClientId, op: Op, call: &ClusterCall) {
        self.api.ledger.calls += 1;
        let luck = turn.luck;
        let drawn = |permille| luck.permille(TROUBLE, luck_of(client, op), 0, permille);
        let trouble = self.weather.refusal(turn.now, kind_of(call), drawn);
        let mut extra_ms = 0;
        let after = match trouble {
            None => None,
            Some(ApiTrouble::BrokenAfter) => Some(unreachable_of(&ApiTrouble::BrokenAfter)),
            Some(trouble) => {
                if trouble == ApiTrouble::WebhookTimeout {
                    extra_ms = WEBHOOK_TIMEOUT_MS;
                }
                let answer = refused(call, unreachable_of(&trouble));
                return self.answer(turn, client, op, call, answer, extra_ms);
            }
        };
        let answer = match call {
            ClusterCall::List(kind, consistency) => {
                Answer::Listed(Ok(self.list(turn, client, op, *kind, *consistency)))
            }
            ClusterCall::Watch(kind, version) => {
                if after.is_none() {
                    return self.begin_watch(turn, client, op, *kind, *version);
                }
                Answer::Watching(Ok(()))
            }
            ClusterCall::Create(spec) => Answer::Created(self.create(turn, spec)),
            ClusterCall::Delete(name, uid) => {
                self.delete_asked(turn, name, uid);
                Answer::Deleted(Ok(()))
            }
        };
        let answer = after.map_or(answer, |error| refused(call, error));
        self.answer(turn, client, op, call, answer, extra_ms);
    }

    fn answer(
        &mut self,
        turn: &mut Turn<'_>,
        client: ClientId,
        op: Op,
        call: &ClusterCall,
        answer: Answer,
        extra_ms: u64,
    ) {
        let is_read = matches!(call, ClusterCall::List(..) | ClusterCall::Watch(..));
        let after_ms = self.serving_ms(turn, client, op, is_read) + extra_ms;
        turn.out.push(Reaction::Answer { client, op, answer, after_ms });
    }

    /// How long it takes to serve a call and to bring the answer back.
    pub(super) fn serving_ms(&self, turn: &Turn<'_>, client: ClientId, op: Op, is_read: bool) -> u64 {
        let api = &self.setup.api;
        let luck = luck_of(client, op);
        let serve = if is_read { &api.read } else { &api.write };
        turn.span(SERVE, luck, 0, serve) + turn.span(WAY_BACK, luck, 0, &api.latency)
    }

    /// Which server a call meets.
    pub(super) fn server_of(&self, turn: &Turn<'_>, client: ClientId, op: Op) -> u32 {
        let servers = u64::from(self.setup.api.servers.max(1));
        u32::try_from(turn.luck.below(SERVER, luck_of(client, op), 0, servers)).unwrap_or(0)
    }

    /// How far a server's caches are behind.
    pub(super) fn lag_ms(&self, now: Millis, server: u32) -> u64 {
        let own = self.setup.api.lag_ms.get(server as usize).copied().unwrap_or(0);
        own + self.weather.server_lag_ms(now, server % self.setup.api.servers.max(1))
    }

    fn list(
        &mut self,
        turn: &Turn<'_>,
        client: ClientId,
        op: Op,
        kind: Kind,
        consistency: Consistency,
    ) -> Listing {
        let server = self.server_of(turn, client, op);
        let behind = turn.now - self.lag_ms(turn.now, server);
        let revision = self.api.revision;
        let history = self.api.history(kind);
        let (now, then) = (history.end(), history.place_at(behind));
        let seen = self.api.seen.entry((server, kind)).or_default();
        let place = match consistency {
            Consistency::Quorum => now,
            Consistency::Cached => then.max(*seen).min(now),
        };
        *seen = place;
        if place == now {
            return Listing { version: Version(revision), objects: self.api.history(kind).objects() };
        }
        let (version, objects) = self.api.history(kind).objects_before(place);
        Listing { version: Version(version), objects }
    }

    fn create(&mut self, turn: &mut Turn<'_>, spec: &JobSpec) -> Result<Job, ClusterError> {
        let number = self.number_of(&spec.task);
        if let Some(number) = number
            && let Some(for_ms) = self.weather.take_name(number)
        {
            self.take_name(turn, spec, for_ms);
        }
        if self.weather.is_namespace_ending(turn.now) {
            let detail = format!("namespaces: unable to create job {}: it is being terminated", spec.name);
            return Err(ClusterError::Refused { detail });
        }
        let room = match Room::asked(&self.setup.pod, &spec.presets) {
            Ok(room) => room,
            Err(detail) => return Err(ClusterError::Refused { detail }),
        };
        // Admission comes before the store: a full quota refuses even the Job that is there already.
        if let Some(limit) = self.quota(turn.now).jobs
            && self.jobs.len() as u64 >= u64::from(limit)
        {
            let detail =
                format!("exceeded quota: used: count/jobs.batch={}, limited: {limit}", self.jobs.len());
            return Err(ClusterError::QuotaExceeded { detail });
        }
        if let Some(key) = self.names.get(&spec.name) {
            let job = &self.jobs[key];
            let is_same = job.is_ours && job.view.task == spec.task && job.view.fence == spec.fence;
            return match (is_same, job.view.is_deleting || job.view.end.is_some()) {
                (false, _) => Err(ClusterError::NameTaken),
                (true, true) => Err(ClusterError::Over),
                (true, false) => {
                    self.api.ledger.found += 1;
                    Ok(job.view.clone())
                }
            };
        }
        self.api.ledger.created += 1;
        *self.made.entry((spec.task.clone(), spec.fence)).or_default() += 1;
        let key = self.make_job(turn, &Arc::new(spec.clone()), room, true);
        Ok(self.jobs[&key].view.clone())
    }

    fn delete_asked(&mut self, turn: &mut Turn<'_>, name: &JobName, uid: &Uid) {
        let found = self.names.get(name).copied().filter(|key| self.jobs[key].view.uid == *uid);
        match found {
            Some(key) => {
                self.api.ledger.deleted += 1;
                self.delete_job(turn, key, false);
            }
            None => self.api.ledger.missed += 1,
        }
    }

    /// Somebody's Job has the name already.
    fn take_name(&mut self, turn: &mut Turn<'_>, spec: &JobSpec, for_ms: u64) {
        if !self.names.contains_key(&spec.name) {
            let key = self.make_job(turn, &Arc::new(spec.clone()), Room::default(), false);
            if let Some(job) = self.jobs.get_mut(&key) {
                job.expire.set(turn, turn.now + for_ms, Internal::Expire(key));
            }
        }
    }

    /// Writes a Job as it is now.
    pub(super) fn write_job(&mut self, turn: &mut Turn<'_>, key: super::JobKey, is_gone: bool) {
        self.api.revision += 1;
        let Some(job) = self.jobs.get_mut(&key) else { return };
        job.view.version = Version(self.api.revision);
        // Others' Jobs are in no list of ours; only the version shows that something was written.
        if job.is_ours {
            let object = Object::Job(job.view.clone());
            self.api.jobs.push(turn.now, self.api.revision, key.0, object, is_gone);
            self.tell(turn, Kind::Jobs);
        }
    }

    /// Writes a pod as it is now.
    pub(super) fn write_pod(&mut self, turn: &mut Turn<'_>, key: super::PodKey, is_gone: bool) {
        self.api.revision += 1;
        let Some(pod) = self.pods.get_mut(&key) else { return };
        pod.view.version = Version(self.api.revision);
        let object = Object::Pod(pod.view.clone());
        self.api.pods.push(turn.now, self.api.revision, key.0, object, is_gone);
        self.tell(turn, Kind::Pods);
    }

    /// A change was made: watches hear of it, and old history is forgotten.
    fn tell(&mut self, turn: &mut Turn<'_>, kind: Kind) {
        let before = turn.now - self.setup.api.history_ms;
        let changes_max = self.setup.api.history_changes_max as usize;
        self.speak(turn, kind);
        self.api.history(kind).forget(before, changes_max);
    }

    /// The object of a task's draws.
    pub(super) fn task_luck(&self, spec: &JobSpec) -> u64 {
        let key =
            self.numbers.get(&spec.task).map_or_else(|| key_of(spec.task.as_str()), |number| number.key());
        key.wrapping_add(spec.fence.0 << 40)
    }

    /// What the namespace may hold now.
    pub(super) fn quota(&self, now: Millis) -> super::setup::QuotaSetup {
        self.weather.quota(now).unwrap_or(self.setup.quota)
    }

    /// The Jobs of a task, oldest first.
    pub(super) fn jobs_of(&self, is_meant: impl Fn(&JobRecord) -> bool) -> Vec<super::JobKey> {
        self.jobs.iter().filter(|(_, job)| is_meant(job)).map(|(key, _)| *key).collect()
    }
}

/// Which call it is.
fn kind_of(call: &ClusterCall) -> CallKind {
    match call {
        ClusterCall::List(..) => CallKind::List,
        ClusterCall::Watch(..) => CallKind::Watch,
        ClusterCall::Create(_) => CallKind::CreateJob,
        ClusterCall::Delete(..) => CallKind::DeleteJob,
    }
}

/// The answer to a call that failed.
fn refused(call: &ClusterCall, error: ClusterError) -> Answer {
    match call {
        ClusterCall::List(..) => Answer::Listed(Err(error)),
        ClusterCall::Watch(..) => Answer::Watching(Err(error)),
        ClusterCall::Create(_) => Answer::Created(Err(error)),
        ClusterCall::Delete(..) => Answer::Deleted(Err(error)),
    }
}

/// What a client hears of trouble.
fn unreachable_of(trouble: &ApiTrouble) -> ClusterError {
    let unreachable = |detail: &str| ClusterError::Unreachable { detail: detail.to_owned() };
    match trouble {
        ApiTrouble::TooMany { retry_after_ms } => {
            ClusterError::RateLimited { retry_after_ms: *retry_after_ms }
        }
        ApiTrouble::Broken | ApiTrouble::BrokenAfter => unreachable("500 etcdserver: request timed out"),
        ApiTrouble::Conflict => unreachable("409 the object has been modified"),
        ApiTrouble::Denied => {
            ClusterError::Refused { detail: "admission webhook \"policy\" denied the request".to_owned() }
        }
        ApiTrouble::WebhookTimeout => unreachable("500 failed calling webhook: context deadline exceeded"),
        ApiTrouble::NoTemplate => {
            ClusterError::Template { detail: "the AgentTaskTemplate is not there".to_owned() }
        }
    }
}

/// Whether nothing about a pod in this trouble can be expected to change by itself.
pub(super) fn message_of(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Unschedulable => "no node has room, and none is coming",
        TroubleKind::ScalingUp => "pod triggered scale-up",
        TroubleKind::ImagePull => "Back-off pulling image: 429 Too Many Requests",
        TroubleKind::ImageInvalid => "InvalidImageName: couldn't parse image name",
        TroubleKind::ContainerCreate => "CreateContainerError: context deadline exceeded",
        TroubleKind::Volume => "FailedMount: Multi-Attach error or timed out waiting for the volume",
    }
}
