//! The server: fake-scalr's own state machine, its serving time, and the long polls that wait in it.
//!
//! The state is changed by commands only, and each is applied when its call arrives. It must never answer
//! what the state did not say.

mod commands;

use std::collections::BTreeMap;

use fake_scalr::state::{Command, PublicCall, Reply, Stamp, State, Token, ids::PoolTokenId};
use jiff::Timestamp;
use scalr_core::{clock::Millis, op::Op};
use scalr_protocol::{error::ApiError, id::TaskId};

use self::commands::{no_content, with_wait};
use super::{
    World,
    event::{Call, Came, Event, Mail},
    process::{ProcessId, is_empty, wire_key},
    setup::ScalrSetup,
    snag::{Fate, Leg, Refusal},
};
use crate::luck::{Luck, Purpose};

const ENTROPY: Purpose = Purpose::named("entropy");
const REFUSED: Purpose = Purpose::named("scalr refuses");
const CONNECTION_RESET: &str = "connection reset";
const TIMED_OUT: &str = "timed out";

/// The time of day at 0 of the world, in seconds since 1970: people read it, nobody decides by it.
const EPOCH_S: i64 = 1_795_305_600;

/// The server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    state: State,
    luck: Luck,
    stamps: u64,
    user: Token,
    pool: Token,
    pool_id: PoolTokenId,
    is_pool_revoked: bool,
    /// For how long it was away in all.
    away_ms: u64,
    /// When it went away, if it is away, and how it meets callers.
    down: Option<Down>,
    downs: u64,
    /// When the next tick is filed for.
    tick_at: Millis,
    polls: BTreeMap<u64, Poll>,
    polled: u64,
    /// Who waits for signals of a task: looked at when that task changes.
    signal_polls: BTreeMap<TaskId, Vec<u64>>,
    /// Controllers' polls: looked at whenever anything changes.
    agent_polls: Vec<u64>,
    wake: u64,
    last_task: Option<TaskId>,
    slow: (Millis, u64),
    refuses: Option<(Millis, Refusal, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Down {
    since: Millis,
    number: u64,
    hangs: bool,
}

/// A long poll that waits.
#[derive(Clone, Debug)]
struct Poll {
    call: Call,
    until: Millis,
}

impl Server {
    pub(super) fn new(setup: &ScalrSetup, luck: Luck) -> Self {
        let mut server = Self {
            state: State::new(setup.settings.clone()),
            luck,
            stamps: 0,
            user: Token::new("user-token"),
            pool: Token::new("pool-token"),
            pool_id: PoolTokenId::new(""),
            is_pool_revoked: false,
            away_ms: 0,
            down: None,
            downs: 0,
            tick_at: Millis::NEVER,
            polls: BTreeMap::new(),
            polled: 0,
            signal_polls: BTreeMap::new(),
            agent_polls: Vec::new(),
            wake: 0,
            last_task: None,
            slow: (Millis(0), 0),
            refuses: None,
        };
        let text = Some(server.user.clone());
        server.own(Command::IssueUserToken { name: "admin".to_owned(), text });
        server.issue_pool_token();
        server
    }

    /// A command of the server's own, before the first moment.
    fn own(&mut self, command: Command) -> Option<Reply> {
        let stamp = self.stamp(Millis(0));
        self.state.apply(&stamp, command).ok()
    }

    fn issue_pool_token(&mut self) {
        self.pool = Token::new(&format!("pool-token-{}", self.stamps));
        let (description, text) = ("simulated".to_owned(), Some(self.pool.clone()));
        if let Some(Reply::PoolToken { id, .. }) = self.own(Command::IssuePoolToken { description, text }) {
            self.pool_id = id;
        }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn is_up(&self) -> bool {
        self.down.is_none()
    }

    /// What the file of the pool token holds.
    pub(super) fn pool_token(&self) -> &Token {
        &self.pool
    }

    pub(super) fn slow_ms(&self, now: Millis) -> u64 {
        if now < self.slow.0 { self.slow.1 } else { 0 }
    }

    /// The clock that the state knows: it stands still while nobody serves.
    fn served(&self, now: Millis) -> u64 {
        self.down.map_or(now, |down| down.since).0.saturating_sub(self.away_ms)
    }

    fn stamp(&mut self, now: Millis) -> Stamp {
        self.stamps += 1;
        let mut entropy = [0; 16];
        entropy[..8].copy_from_slice(&self.luck.draw(ENTROPY, self.stamps, 0).to_le_bytes());
        entropy[8..].copy_from_slice(&self.luck.draw(ENTROPY, self.stamps, 1).to_le_bytes());
        let now_ms = i64::try_from(now.0).unwrap_or(i64::MAX);
        let wall = Timestamp::from_millisecond(EPOCH_S * 1_000 + now_ms).unwrap_or_default();
        Stamp { now_ms: self.served(now), wall, entropy }
    }

    /// A process is gone: its connections are closed, and what waits on them.
    pub(super) fn hang_up(&mut self, process: ProcessId) {
        self.drop_polls(|call| call.process == process);
    }

    /// A call was dropped by its caller.
    pub(super) fn hang_up_call(&mut self, process: ProcessId, op: Op) {
        self.drop_polls(|call| call.process == process && call.op == op);
    }

    fn drop_polls(&mut self, is_gone: impl Fn(&Call) -> bool) {
        let gone: Vec<u64> =
            self.polls.iter().filter(|(_, poll)| is_gone(&poll.call)).map(|(number, _)| *number).collect();
        for number in gone {
            self.unpark(number);
        }
    }

    fn unpark(&mut self, number: u64) -> Option<Poll> {
        let poll = self.polls.remove(&number)?;
        if let Command::Task { task, .. } = &poll.call.command {
            if let Some(waiting) = self.signal_polls.get_mut(task) {
                waiting.retain(|waits| *waits != number);
                if waiting.is_empty() {
                    self.signal_polls.remove(task);
                }
            }
        } else {
            self.agent_polls.retain(|waits| *waits != number);
        }
        Some(poll)
    }
}

impl World {
    /// A call is at the server's door.
    pub(super) fn at_scalr(&mut self, mut call: Call) {
        if !call.was_late && !call.is_copy {
            if let Some(fate) = self.snag(call.process, call.kind, call.task, Leg::Arrived) {
                call.was_late = true;
                match fate {
                    Fate::Lose { after_ms } => {
                        return self.say_nothing(&call, after_ms, CONNECTION_RESET);
                    }
                    Fate::Delay { by_ms } => {
                        let key = wire_key(call.process, call.op);
                        return self.push(self.now + by_ms, key, Event::AtScalr(Box::new(call)));
                    }
                    Fate::Twice { after_ms } => {
                        let copy = Call { is_copy: true, ..call.clone() };
                        let key = wire_key(call.process, call.op);
                        self.push(self.now + after_ms, key, Event::AtScalr(Box::new(copy)));
                    }
                    Fate::Refuse(refusal) => return self.refuse(&call, refusal),
                    fate @ (Fate::Crash(_) | Fate::Pause { .. } | Fate::Terminate) => {
                        self.befalls(call.process, &fate);
                    }
                }
            }
            if let Some(refusal) = self.scalr_refuses(&call) {
                return self.refuse(&call, refusal);
            }
        }
        match self.scalr.down {
            Some(Down { hangs: true, .. }) => {
                let after_ms = self.adapter_timeout_ms(call.wait_ms);
                self.say_nothing(&call, after_ms, TIMED_OUT);
            }
            Some(Down { hangs: false, .. }) => self.say_nothing(&call, 0, "connection refused"),
            None => self.serve(call),
        }
    }

    fn scalr_refuses(&self, call: &Call) -> Option<Refusal> {
        let (until, refusal, permille) = self.scalr.refuses?;
        let key = wire_key(call.process, call.op);
        (self.now < until && self.luck.permille(REFUSED, key, 0, permille)).then_some(refusal)
    }

    fn refuse(&mut self, call: &Call, refusal: Refusal) {
        let error = ApiError::new(refusal.code, "on purpose");
        self.answer(call, Came::Refused(error, refusal.retry_after_ms));
    }

    /// The caller hears only that its connection is gone.
    fn say_nothing(&mut self, call: &Call, after_ms: u64, detail: &'static str) {
        if call.is_copy {
            return;
        }
        let way_ms = self.scalr_way_ms(call.process, call.kind, call.op);
        self.send_back(call, Came::Nothing(detail), after_ms + way_ms);
    }

    /// Carries a call out, or lets it wait.
    fn serve(&mut self, mut call: Call) {
        let may_wait = call.wait_ms > 0 && !call.is_copy;
        let kept = may_wait.then(|| call.command.clone());
        let command = std::mem::replace(&mut call.command, Command::Tick);
        let came = self.apply_call(&call, command);
        if let Some(command) = kept
            && matches!(&came, Came::Reply(reply) if is_empty(reply))
        {
            // Whoever has hung up waits for nothing.
            if self.processes.get(&call.process).is_some_and(|process| process.flight(call.op).is_some()) {
                self.park(Call { command, ..call });
            }
            return;
        }
        self.answer(&call, came);
    }

    fn park(&mut self, call: Call) {
        let until = self.now + call.wait_ms;
        self.scalr.polled += 1;
        let number = self.scalr.polled;
        if let Command::Task { task, .. } = &call.command {
            self.scalr.signal_polls.entry(task.clone()).or_default().push(number);
        } else {
            self.scalr.agent_polls.push(number);
        }
        self.push(until, wire_key(call.process, call.op), Event::PollDue { poll: number });
        self.scalr.polls.insert(number, Poll { call, until });
    }

    /// A poll has waited long enough. Says whether it still waited.
    pub(super) fn poll_is_due(&mut self, number: u64) -> bool {
        let Some(Poll { call, .. }) = self.scalr.unpark(number) else { return false };
        let came = match self.apply_call(&call, with_wait(&call.command, 0)) {
            Came::Reply(reply) => Came::Reply(no_content(&call.command, reply)),
            came @ (Came::Refused(..) | Came::Nothing(_)) => came,
        };
        self.answer(&call, came);
        true
    }

    /// Looks again for those who wait.
    fn look_again(&mut self, polls: &[u64]) {
        for number in polls {
            // Out of the way: what it brings may make others look again, and it must not be looked at twice.
            while let Some(poll) = self.scalr.polls.remove(number) {
                let wake = self.scalr.state.wake();
                let command = with_wait(&poll.call.command, poll.until.since(self.now));
                let call = Call { command: Command::Tick, ..poll.call };
                let came = self.apply_call(&call, command);
                self.scalr.polls.insert(*number, poll);
                if !matches!(&came, Came::Reply(reply) if is_empty(reply)) {
                    self.scalr.unpark(*number);
                    self.answer(&call, came);
                } else if self.scalr.state.wake() == wake {
                    break;
                }
            }
        }
    }

    /// The answer goes back, unless something happens.
    fn answer(&mut self, call: &Call, came: Came) {
        if call.is_copy {
            return;
        }
        let mut way_ms = self.scalr_way_ms(call.process, call.kind, call.op);
        if let Some(fate) = self.snag(call.process, call.kind, call.task, Leg::Done) {
            match fate {
                Fate::Lose { after_ms } => return self.say_nothing(call, after_ms, CONNECTION_RESET),
                Fate::Delay { by_ms } => way_ms += by_ms,
                fate @ (Fate::Crash(_) | Fate::Pause { .. } | Fate::Terminate) => {
                    self.befalls(call.process, &fate);
                }
                Fate::Twice { .. } | Fate::Refuse(_) => {}
            }
        }
        self.send_back(call, came, way_ms);
    }

    fn send_back(&mut self, call: &Call, came: Came, after_ms: u64) {
        let Call { process, op, kind, task, .. } = *call;
        if !self.processes.contains_key(&process) {
            return;
        }
        let (came, after_ms) = if self.is_cut_from_scalr(process) {
            (Came::Nothing(TIMED_OUT), self.adapter_timeout_ms(call.wait_ms))
        } else {
            (came, after_ms)
        };
        let mail = Mail::Scalr { op, kind, task, came: Box::new(came), was_late: false };
        self.push(self.now + after_ms, wire_key(process, op), Event::Mail { process, mail });
    }

    /// Files the server's next deadline, unless an earlier one is filed.
    fn file_tick(&mut self) {
        if self.scalr.down.is_some() {
            return;
        }
        let Some(due_ms) = self.scalr.state.next_deadline_ms() else { return };
        let at = Millis(due_ms + self.scalr.away_ms).max(self.now);
        if at < self.scalr.tick_at {
            self.scalr.tick_at = at;
            self.push(at, 0, Event::ScalrTick);
        }
    }

    /// The filed deadline has come. Says whether anything was due.
    pub(super) fn scalr_tick(&mut self) -> bool {
        if self.scalr.tick_at != self.now || self.scalr.down.is_some() {
            return false;
        }
        self.scalr.tick_at = Millis::NEVER;
        let served_ms = self.scalr.served(self.now);
        let is_due = self.scalr.state.next_deadline_ms().is_some_and(|due_ms| due_ms <= served_ms);
        if is_due {
            // A tick is never refused.
            let _done = self.apply(Command::Tick, None);
        } else {
            self.file_tick();
        }
        is_due
    }

    /// The server goes away: who waits hears of it at once, or never.
    pub(super) fn scalr_down(&mut self, for_ms: u64, hangs: bool) {
        if self.scalr.down.is_some() {
            return;
        }
        self.scalr.downs += 1;
        let number = self.scalr.downs;
        self.scalr.down = Some(Down { since: self.now, number, hangs });
        let polls = std::mem::take(&mut self.scalr.polls);
        self.scalr.signal_polls.clear();
        self.scalr.agent_polls.clear();
        for poll in polls.into_values() {
            let after_ms = if hangs { self.adapter_timeout_ms(poll.call.wait_ms) } else { 0 };
            self.say_nothing(&poll.call, after_ms, CONNECTION_RESET);
        }
        self.push(self.now + for_ms, 0, Event::ScalrUp { number });
    }

    /// The server serves again.
    pub(super) fn scalr_up(&mut self, number: u64) {
        let Some(down) = self.scalr.down.filter(|down| down.number == number) else { return };
        self.scalr.away_ms += self.now.since(down.since);
        self.scalr.down = None;
        self.scalr.tick_at = Millis::NEVER;
        // A restart is never refused.
        let _done = self.apply(Command::Restart, None);
    }

    /// Everything that was wrong with the server is put right.
    pub(super) fn heal_scalr(&mut self) {
        self.scalr.refuses = None;
        self.scalr.slow = (Millis(0), 0);
        if let Some(down) = self.scalr.down {
            self.scalr_up(down.number);
        }
        if self.scalr.is_pool_revoked {
            self.rotate_pool_token();
        }
    }

    pub(super) fn scalr_slow(&mut self, by_ms: u64, for_ms: u64) {
        self.scalr.slow = (self.now + for_ms, by_ms);
    }

    pub(super) fn scalr_refuses_for(&mut self, refusal: Refusal, permille: u32, for_ms: u64) {
        self.scalr.refuses = Some((self.now + for_ms, refusal, permille));
    }

    /// The pool token is good for nothing any more; its file may hold another one from now on.
    pub(super) fn revoke_pool_token(&mut self, is_rotated: bool) {
        let token = self.scalr.pool_id.clone();
        // One that is revoked already stays so.
        let _done = self.apply_as_user(PublicCall::RevokePoolToken { token }, None);
        self.scalr.is_pool_revoked = true;
        if is_rotated {
            self.rotate_pool_token();
        }
    }

    /// Somebody puts a fresh token into the file.
    fn rotate_pool_token(&mut self) {
        let text = Token::new(&format!("pool-token-{}", self.scalr.stamps));
        let command = Command::IssuePoolToken { description: "rotated".to_owned(), text: Some(text.clone()) };
        if let Ok(Reply::PoolToken { id, .. }) = self.apply(command, None) {
            self.scalr.pool = text;
            self.scalr.pool_id = id;
            self.scalr.is_pool_revoked = false;
        }
    }
}
