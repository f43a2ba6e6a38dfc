//! Stages of the worker's own: fetching, unpacking, uploading.

use fake_scalr::state::{Reply, TaskCall};
use scalr_core::{
    op::Op,
    supervisor::{
        effect::Stage,
        input::{StageEnd, StageFacts, TaskInput},
    },
    task_api::TaskError,
};
use scalr_protocol::{
    blob::{BlobKind, BlobRef},
    task::TaskErrorCode,
};

use super::{
    super::{
        World,
        cluster::PodKey,
        event::{Came, Event},
        process::{ProcessId, made_up, task_error},
        snag::CallKind,
    },
    LASTS, code, done, failed, stage_key,
};
use crate::luck::mix;

/// How long made-up files are.
const BLOB_BYTES: u64 = 20_000;

/// A stage of a worker's own.
#[derive(Clone, Debug)]
pub(in super::super) struct Own {
    pub(super) op: Op,
    stage: Stage,
    number: u64,
    /// What is on its way there or back.
    blob: Option<BlobKind>,
    /// How it will end, once all is fetched.
    end: Option<StageEnd>,
}

impl World {
    pub(super) fn begin_own(&mut self, id: ProcessId, op: Op, stage: Stage) {
        let Some(shell) = self.processes.get_mut(&id).and_then(|process| process.worker_mut()) else {
            return;
        };
        shell.owns += 1;
        let (number, pod, owns) = (shell.number, shell.pod, shell.owns);
        let fetched = match stage {
            Stage::Configuration => Some(BlobKind::ConfigurationVersion),
            Stage::SavedPlan => Some(BlobKind::PlanFile),
            Stage::Tool
            | Stage::Hooks(_)
            | Stage::Init
            | Stage::Plan
            | Stage::Show
            | Stage::Apply
            | Stage::PushState
            | Stage::Upload(_) => None,
        };
        let is_missing = fetched.is_some_and(|kind| !shell.blobs.contains(&kind));
        shell.own = Some(Own { op, stage, number: owns, blob: fetched, end: None });
        let profile = self.profile(number);
        let (tool, transfer) = (profile.tool, profile.transfer);
        match (fetched, stage) {
            (Some(_), _) if is_missing => {
                let end = failed(code(stage), "there is nothing to fetch", None, StageFacts::default());
                self.own_ends(id, end, 1);
            }
            (Some(kind), _) => self.fetch(id, op, kind),
            (None, Stage::Upload(kind)) => self.upload(id, pod, op, kind),
            (None, Stage::Tool) => {
                let after_ms = self.luck.span(LASTS, stage_key(number, stage), 0, &tool);
                self.own_ends(id, done(), after_ms);
            }
            (None, _) => {
                let after_ms = self.luck.span(LASTS, stage_key(number, stage), 0, &transfer);
                self.own_ends(id, done(), after_ms);
            }
        }
    }

    fn fetch(&mut self, id: ProcessId, op: Op, kind: BlobKind) {
        let call = TaskCall::BlobGet { kind };
        self.call_blob(id, op, CallKind::BlobGet, call);
    }

    fn call_blob(&mut self, id: ProcessId, op: Op, kind: CallKind, call: TaskCall) {
        self.note_upload(id, &call);
        let Some(command) = self.blob_command(id, call) else { return };
        let task = self.processes.get(&id).and_then(|process| process.worker()).map(|shell| shell.number);
        self.send_to_scalr(id, op, kind, task, command, 0, 0);
    }

    fn upload(&mut self, id: ProcessId, pod: PodKey, op: Op, kind: BlobKind) {
        let Some(folder) = self.pods.get(&pod).map(|run| run.folder) else { return };
        let (exists, is_required) = match kind {
            BlobKind::PlanFile => (folder.has_plan, true),
            BlobKind::PlanJson => (folder.has_plan_json, true),
            BlobKind::LockFile => (folder.has_lock_file, false),
            BlobKind::ErroredState => (folder.has_errored_state, false),
            BlobKind::ConfigurationVersion
            | BlobKind::Policies
            | BlobKind::PolicyInput
            | BlobKind::PolicyResult
            | BlobKind::CostBreakdown => (false, false),
        };
        if exists {
            let Some(blob) = self.blob_of(id, kind) else { return };
            self.call_blob(id, op, CallKind::BlobPut, TaskCall::BlobPut(blob));
        } else if is_required {
            let end = failed(TaskErrorCode::UploadFailed, "the file is gone", None, StageFacts::default());
            self.own_ends(id, end, 1);
        } else {
            self.own_ends(id, done(), 1);
        }
    }

    fn blob_of(&self, id: ProcessId, kind: BlobKind) -> Option<BlobRef> {
        let shell = self.processes.get(&id)?.worker()?;
        let sha256 = made_up(shell.number.key() ^ mix(kind as u64), shell.fence.0);
        Some(BlobRef { kind, bytes: BLOB_BYTES, sha256 })
    }

    /// What a transfer of a stage of the worker's own came to.
    pub(in super::super) fn blob_answered(&mut self, id: ProcessId, op: Op, came: Came) {
        let Some(shell) = self.processes.get(&id).and_then(|process| process.worker()) else { return };
        let Some(own) = shell.own.as_ref().filter(|own| own.op == op && own.end.is_none()) else { return };
        let (stage, fetched, number) = (own.stage, own.blob, shell.number);
        let has_lock_file = shell.blobs.contains(&BlobKind::LockFile);
        let profile = self.profile(number);
        let (configuration, transfer) = (profile.configuration, profile.transfer);
        match came {
            Came::Reply(Reply::Blob(_)) => {
                if fetched == Some(BlobKind::PlanFile) && has_lock_file {
                    self.change_own(id, |own| own.blob = Some(BlobKind::LockFile));
                    return self.fetch(id, op, BlobKind::LockFile);
                }
                let after_ms = self.luck.span(LASTS, stage_key(number, stage), 0, &configuration);
                self.own_ends(id, done(), after_ms);
            }
            Came::Reply(Reply::BlobStored { .. }) => {
                if let Stage::Upload(kind) = stage
                    && let Some(blob) = self.blob_of(id, kind)
                    && let Some(shell) = self.processes.get_mut(&id).and_then(|process| process.worker_mut())
                {
                    shell.uploaded.push(blob);
                }
                let after_ms = self.luck.span(LASTS, stage_key(number, stage), 0, &transfer);
                self.own_ends(id, done(), after_ms);
            }
            came @ (Came::Reply(_) | Came::Refused(..) | Came::Nothing(_)) => {
                let error = task_error(came);
                let end = if let TaskError::Unreachable { detail } = error {
                    StageEnd::Unreachable { detail, retry_after_ms: 0 }
                } else if let TaskError::RateLimited { retry_after_ms } = error {
                    StageEnd::Unreachable { detail: error.to_string(), retry_after_ms }
                } else if error == TaskError::NotFound && fetched == Some(BlobKind::LockFile) {
                    done()
                } else {
                    failed(code(stage), &error.to_string(), None, StageFacts::default())
                };
                self.own_ends(id, end, 1);
            }
        }
    }

    fn change_own(&mut self, id: ProcessId, change: impl FnOnce(&mut Own)) {
        let shell = self.processes.get_mut(&id).and_then(|process| process.worker_mut());
        if let Some(own) = shell.and_then(|shell| shell.own.as_mut()) {
            change(own);
        }
    }

    pub(super) fn own_ends(&mut self, id: ProcessId, end: StageEnd, after_ms: u64) {
        let shell = self.processes.get_mut(&id).and_then(|process| process.worker_mut());
        let Some(own) = shell.and_then(|shell| shell.own.as_mut()) else { return };
        own.end = Some(end);
        let number = own.number;
        self.push(self.now + after_ms, u64::from(id.0), Event::Own { process: id, number });
    }

    /// A stage of a worker's own is done. Says whether it still ran.
    pub(in super::super) fn own_is_done(&mut self, id: ProcessId, number: u64) -> bool {
        let shell = self.processes.get_mut(&id).and_then(|process| process.worker_mut());
        let Some(own) = shell.and_then(|shell| shell.own.take_if(|own| own.number == number)) else {
            return false;
        };
        let Own { op, end, .. } = own;
        let Some(end) = end else { return false };
        self.tell(id, TaskInput::StageEnded { op, end }, 0);
        true
    }
}
