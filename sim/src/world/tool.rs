//! What a stage does and how long: the worker's own are in `own`, here are the commands in the runner, a
//! model of the tool.
//!
//! Lengths and ends are drawn by task and stage, so that every policy and every history meets the same tool.
//! It never asks why it was told to stop: one interrupt is heard, a second or a kill takes along what an
//! apply had done.

mod own;

use scalr_core::{
    clock::Millis,
    op::Op,
    supervisor::{
        effect::{Stage, StopSignal},
        input::{StageEnd, StageFacts, TaskInput},
    },
};
use scalr_protocol::task::{Summary, TaskErrorCode};

pub(super) use self::own::Own;

use super::{
    World,
    cluster::PodKey,
    event::{CommandEvent, PodEvent},
    process::ProcessId,
    setup::TaskNumber,
    truth::FactKind,
};
use crate::luck::{Purpose, key_of, mix};

const LASTS: Purpose = Purpose::named("lasts");
const WRITES: Purpose = Purpose::named("writes");
const FAILS: Purpose = Purpose::named("fails");
const STOPS: Purpose = Purpose::named("stops");
const DEAF: Purpose = Purpose::named("deaf");
const ERRORED_STATE: Purpose = Purpose::named("errored state");
const UNREAD: Purpose = Purpose::named("unread");
const UNHEARD: Purpose = Purpose::named("unheard");
const NO_CHANGES: Purpose = Purpose::named("no changes");

/// Of 1000 commands that end with their runner, of how many nobody hears.
const UNHEARD_PERMILLE: u32 = 300;
/// How soon a tool that hangs on a full pipe finds that there is room.
const ROOM_MS: u64 = 1_000;
/// How long the kernel takes for a SIGKILL to everything below.
const KILL_MS: u64 = 5;
/// 128 + the signal's number.
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;
const KILLED: i32 = 137;

/// What lies in the run's folder.
#[expect(clippy::struct_excessive_bools, reason = "four files, each there or not")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Folder {
    has_plan: bool,
    has_plan_json: bool,
    has_lock_file: bool,
    has_errored_state: bool,
}

/// A command in a runner.
#[derive(Clone, Debug)]
pub(super) struct Command {
    op: Op,
    stage: Stage,
    /// For whom it began; he may be gone.
    process: ProcessId,
    /// Changes whenever its end does: events of an older number are nothing.
    number: u64,
    ends_at: Millis,
    exit_code: i32,
    is_state_lost: bool,
    interrupts: u32,
    is_killed: bool,
    bytes_left: u64,
    pieces_left: u32,
}

impl Command {
    /// Whether it was begun by this.
    pub(super) fn is(&self, op: Op) -> bool {
        self.op == op
    }
}

fn stage_key(number: TaskNumber, stage: Stage) -> u64 {
    number.key() ^ mix(key_of(stage.name()))
}

/// How a failed stage is classed.
fn code(stage: Stage) -> TaskErrorCode {
    match stage {
        Stage::Configuration | Stage::SavedPlan => TaskErrorCode::ConfigurationInvalid,
        Stage::Tool => TaskErrorCode::ToolUnavailable,
        Stage::Hooks(_) => TaskErrorCode::HookFailed,
        Stage::Init => TaskErrorCode::InitFailed,
        Stage::Plan | Stage::Show => TaskErrorCode::PlanFailed,
        Stage::Apply => TaskErrorCode::ApplyFailed,
        Stage::PushState => TaskErrorCode::StatePushFailed,
        Stage::Upload(_) => TaskErrorCode::UploadFailed,
    }
}

fn failed(code: TaskErrorCode, message: &str, exit_code: Option<i32>, facts: StageFacts) -> StageEnd {
    StageEnd::Failed { code, message: message.to_owned(), exit_code, facts }
}

fn done() -> StageEnd {
    StageEnd::Done(StageFacts::default())
}

impl World {
    /// A worker begins a stage.
    pub(super) fn begin_stage(&mut self, id: ProcessId, op: Op, stage: Stage) {
        if stage.is_user_code() {
            self.begin_command(id, op, stage);
        } else {
            self.begin_own(id, op, stage);
        }
    }

    /// A worker signals a stage.
    pub(super) fn signal_stage(&mut self, id: ProcessId, op: Op, signal: StopSignal) {
        let Some(shell) = self.processes.get(&id).and_then(|process| process.worker()) else { return };
        let pod = shell.pod;
        if shell.own.as_ref().is_some_and(|own| own.op == op) {
            if signal == StopSignal::Kill {
                self.abandon(id, op);
                let end = failed(TaskErrorCode::Internal, "stopped", None, StageFacts::default());
                self.own_ends(id, end, 1);
            }
            return;
        }
        let is_running =
            self.pods.get(&pod).and_then(|run| run.command.as_ref()).is_some_and(|command| command.op == op);
        if is_running {
            self.signal_command(pod, signal);
        }
    }
}

impl World {
    fn begin_command(&mut self, id: ProcessId, op: Op, stage: Stage) {
        let Some(shell) = self.processes.get(&id).and_then(|process| process.worker()) else { return };
        let (number, pod, fence, is_confirmed) = (shell.number, shell.pod, shell.fence, shell.is_confirmed);
        let Some(run) = self.pods.get(&pod) else { return };
        if !run.is_linked || run.command.is_some() {
            let end = failed(TaskErrorCode::RunnerLost, "there is no runner", None, StageFacts::default());
            return self.tell(id, TaskInput::StageEnded { op, end }, 1);
        }
        let key = stage_key(number, stage);
        let lasts_ms = self.lasts_ms(pod, number, stage);
        let profile = self.profile(number);
        let bytes = self.luck.span(WRITES, key, 0, &profile.console);
        let pieces = profile.console_pieces.max(1);
        let fails_permille = match stage {
            Stage::Init => profile.fails_permille.init,
            Stage::Plan => profile.fails_permille.plan,
            Stage::Apply => profile.fails_permille.apply,
            Stage::Hooks(_) => profile.fails_permille.hook,
            Stage::Configuration
            | Stage::SavedPlan
            | Stage::Tool
            | Stage::Show
            | Stage::PushState
            | Stage::Upload(_) => 0,
        };
        let exit_code = i32::from(self.luck.permille(FAILS, key, 0, fails_permille));
        self.note(number, FactKind::CodeBegan { process: id, pod, fence, stage, is_confirmed });
        let Some(run) = self.pods.get_mut(&pod) else { return };
        run.commands += 1;
        let command = run.commands;
        let ends_at = self.now + lasts_ms;
        run.command = Some(Command {
            op,
            stage,
            process: id,
            number: command,
            ends_at,
            exit_code,
            is_state_lost: false,
            interrupts: 0,
            is_killed: false,
            bytes_left: bytes,
            pieces_left: pieces,
        });
        for piece in 1..u64::from(pieces) {
            let at = self.now + lasts_ms * piece / u64::from(pieces);
            let what = CommandEvent::Writes;
            self.push_to_pod(at, pod, PodEvent::Command { number: command, what });
        }
        let what = CommandEvent::Ends;
        self.push_to_pod(ends_at, pod, PodEvent::Command { number: command, what });
    }

    fn lasts_ms(&self, pod: PodKey, number: TaskNumber, stage: Stage) -> u64 {
        let profile = self.profile(number);
        let key = stage_key(number, stage);
        let draw = self.luck.draw(LASTS, key, 0);
        match stage {
            Stage::Init => {
                let warmth = self.cluster.warmth(pod);
                let (cold, warm) = (profile.init_cold.at(draw), profile.init_warm.at(draw));
                let missing = u64::from(1_000_u32.saturating_sub(warmth.cached_permille));
                let lasts_ms = warm + cold.saturating_sub(warm) * missing / 1_000;
                lasts_ms * u64::from(warmth.slow_permille) / 1_000
            }
            Stage::Plan => profile.plan.at(draw),
            Stage::Show => profile.show.at(draw),
            Stage::Apply => profile.apply.at(draw),
            Stage::Hooks(_) => profile.hook.at(draw),
            Stage::Configuration | Stage::SavedPlan | Stage::Tool | Stage::PushState | Stage::Upload(_) => {
                profile.transfer.at(draw)
            }
        }
    }

    /// Something of a command is due. Says whether it still runs so.
    pub(super) fn command_event(&mut self, pod: PodKey, number: u64, what: CommandEvent) -> bool {
        let Some(command) = self.pods.get_mut(&pod).and_then(|run| run.command.as_mut()) else {
            return false;
        };
        match what {
            CommandEvent::Writes if command.number == number => {
                let bytes = command.bytes_left / u64::from(command.pieces_left.max(1));
                let process = command.process;
                if self.waits_for_room(pod, bytes, what) {
                    return true;
                }
                let Some(command) = self.pods.get_mut(&pod).and_then(|run| run.command.as_mut()) else {
                    return false;
                };
                command.bytes_left -= bytes;
                command.pieces_left = command.pieces_left.saturating_sub(1);
                self.spool_output(process, bytes, 1);
                true
            }
            CommandEvent::Ends if command.number == number => {
                let bytes = command.bytes_left;
                if !self.waits_for_room(pod, bytes, what) {
                    self.end_command(pod);
                }
                true
            }
            CommandEvent::OutlivesItsWorker if !command.is_killed => {
                self.signal_command(pod, StopSignal::Kill);
                true
            }
            CommandEvent::Writes | CommandEvent::Ends | CommandEvent::OutlivesItsWorker => false,
        }
    }

    /// Whether a command can't go on: its output finds no room, and whoever hangs on a pipe neither works nor
    /// listens. Then this comes again.
    fn waits_for_room(&mut self, pod: PodKey, bytes: u64, what: CommandEvent) -> bool {
        let Some(command) = self.pods.get(&pod).and_then(|run| run.command.as_ref()) else { return false };
        let number = command.number;
        let waits = !command.is_killed && self.hangs(command.process, bytes);
        if waits {
            self.push_to_pod(self.now + ROOM_MS, pod, PodEvent::Command { number, what });
        }
        waits
    }

    /// A signal reaches a command.
    fn signal_command(&mut self, pod: PodKey, signal: StopSignal) {
        let now = self.now;
        let Some(run) = self.pods.get(&pod) else { return };
        let Some(command) = &run.command else { return };
        let (number, stage) = (run.number, command.stage);
        let key = stage_key(number, stage);
        let profile = self.profile(number);
        let is_hook = matches!(stage, Stage::Hooks(_));
        let is_deaf = self.luck.permille(DEAF, key, 0, profile.deaf_permille);
        let stop_ms = self.luck.span(STOPS, key, 0, &profile.stop);
        let nth = command.interrupts + 1;
        let is_apply = stage == Stage::Apply;
        let (after_ms, exit_code, loses) = match signal {
            StopSignal::Kill => (KILL_MS, KILLED, is_apply),
            StopSignal::Interrupt if is_hook => (stop_ms.min(1_000), INTERRUPTED, false),
            StopSignal::Terminate if is_hook => (KILL_MS, TERMINATED, false),
            StopSignal::Interrupt | StopSignal::Terminate if nth > 1 || signal == StopSignal::Terminate => {
                (KILL_MS, 1, is_apply)
            }
            StopSignal::Interrupt | StopSignal::Terminate => (stop_ms, 1, false),
        };
        let is_told = signal != StopSignal::Kill;
        let Some(run) = self.pods.get_mut(&pod) else { return };
        run.commands += 1;
        let fresh = run.commands;
        let Some(command) = &mut run.command else { return };
        command.interrupts += u32::from(is_told);
        command.is_killed |= !is_told;
        let ends_at = now + after_ms;
        let is_heard = !is_told || !is_deaf;
        if is_heard && ends_at < command.ends_at {
            command.number = fresh;
            command.ends_at = ends_at;
            command.exit_code = exit_code;
            command.is_state_lost |= loses;
            let what = CommandEvent::Ends;
            self.push_to_pod(ends_at, pod, PodEvent::Command { number: fresh, what });
        }
        if is_told {
            self.note(number, FactKind::Interrupted { pod, nth });
        }
    }

    /// The worker of a command is gone: as the real runner does it, one interrupt, the wait, then an end.
    pub(super) fn orphan_command(&mut self, pod: PodKey) {
        let Some(command) = self.pods.get(&pod).and_then(|run| run.command.as_ref()) else { return };
        let (number, is_told) = (command.number, command.interrupts > 0);
        if !is_told {
            self.signal_command(pod, StopSignal::Interrupt);
        }
        let what = CommandEvent::OutlivesItsWorker;
        let at = self.now + self.setup.workers.orphan_wait_ms;
        self.push_to_pod(at, pod, PodEvent::Command { number, what });
    }

    /// A runner has ended, and its command with it.
    pub(super) fn runner_took_command_along(&mut self, pod: PodKey, is_oom: bool) {
        let Some(run) = self.pods.get_mut(&pod) else { return };
        let Some(command) = run.command.take() else { return };
        let (number, stage) = (run.number, command.stage);
        let is_state_lost = stage == Stage::Apply;
        self.note(number, FactKind::CodeEnded { pod, stage, exit_code: KILLED, is_state_lost });
        self.spool(command.process, 0, 1);
        // Whether it still says so depends on which breaks first, the command or the connection.
        if self.luck.permille(UNHEARD, stage_key(number, stage), 0, UNHEARD_PERMILLE) {
            return;
        }
        let facts = StageFacts { is_oom, ..StageFacts::default() };
        let end = failed(TaskErrorCode::RunnerLost, "connection closed", None, facts);
        self.tell(command.process, TaskInput::StageEnded { op: command.op, end }, 2);
    }

    /// A command ends.
    fn end_command(&mut self, pod: PodKey) {
        let Some(run) = self.pods.get_mut(&pod) else { return };
        let Some(command) = run.command.take() else { return };
        let Command { op, stage, process, exit_code, is_state_lost, bytes_left, .. } = command;
        let (number, is_linked) = (run.number, run.is_linked);
        let key = stage_key(number, stage);
        let profile = self.profile(number);
        let init_bytes = profile.init_bytes;
        let has_changes = !self.luck.permille(NO_CHANGES, number.key(), 0, profile.no_changes_permille);
        let is_away = !self.is_scalr_up() || self.is_pod_cut(pod);
        // A state that can't be pushed stays in the run's folder, and the apply has failed.
        let is_unpushed = is_away && stage == Stage::Apply;
        let leaves_state = self.luck.permille(ERRORED_STATE, key, 0, profile.errored_state_permille);
        let has_errored_state =
            stage == Stage::Apply && !is_state_lost && (is_unpushed || (exit_code != 0 && leaves_state));
        let is_unread = is_away
            && matches!(stage, Stage::Init | Stage::Plan)
            && self.luck.permille(UNREAD, key, 0, profile.unread_permille);
        let is_refused = stage == Stage::PushState && !self.is_scalr_up();
        let is_alone = is_unpushed || is_unread || is_refused;
        let exit_code = if is_alone && exit_code == 0 { 1 } else { exit_code };
        self.note(number, FactKind::CodeEnded { pod, stage, exit_code, is_state_lost });
        if has_errored_state {
            self.note(number, FactKind::StateLeft { process });
        }
        let is_done = exit_code == 0;
        if let Some(run) = self.pods.get_mut(&pod) {
            let folder = &mut run.folder;
            folder.has_plan |= is_done && stage == Stage::Plan;
            folder.has_plan_json |= is_done && stage == Stage::Show;
            folder.has_lock_file |= is_done && stage == Stage::Init;
            folder.has_errored_state |= has_errored_state;
        }
        if is_done && stage == Stage::Init {
            self.cluster.cached(pod, init_bytes);
        }
        if !is_linked {
            let after_ms = KILL_MS;
            return self.push_to_pod(self.now + after_ms, pod, PodEvent::RunnerExits { exit_code: 1 });
        }
        let summary = (is_done && stage == Stage::Show).then(|| Summary {
            has_changes,
            resource_additions: u32::from(has_changes),
            ..Summary::default()
        });
        let facts = StageFacts { summary, has_errored_state, is_oom: false };
        let end = if is_done {
            StageEnd::Done(facts)
        } else if is_unread {
            // A shell that takes the tool's word for it. The user's code has run all the same.
            StageEnd::Unreachable { detail: "the backend could not be reached".to_owned(), retry_after_ms: 0 }
        } else {
            failed(code(stage), "the command failed", Some(exit_code), facts)
        };
        self.spool_output(process, bytes_left, 1);
        self.tell(process, TaskInput::StageEnded { op, end }, 1);
    }
}
