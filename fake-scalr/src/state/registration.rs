//! Calls 1 and 3: who comes, and who goes. A name belongs to one live controller; workers exclude nobody.

use scalr_protocol::{
    agent::{AgentStatus, Mode, Register, Registered},
    error::{ApiError, ErrorCode},
    id::{AgentId, Fence, TaskId},
};

use super::{
    Now, Reply, State, Token,
    agents::Agent,
    ids::{PoolTokenId, fixed},
    tasks::Worker,
    tokens::{TokenUse, forbidden, not_found},
};

/// The longest name of an agent: a pod's name is shorter.
const NAME_CHARS_MAX: usize = 256;

impl State {
    /// Call 1.
    pub(super) fn register(
        &mut self,
        now: Now,
        pool_token: PoolTokenId,
        register: Register,
    ) -> Result<Reply, ApiError> {
        if register.name.is_empty() || register.name.chars().count() > NAME_CHARS_MAX {
            let detail = format!("`name` has 1 to {NAME_CHARS_MAX} characters");
            return Err(ApiError::new(ErrorCode::Invalid, detail).at("/data/attributes/name"));
        }
        match (register.mode, register.task.clone(), register.fence) {
            (Mode::Controller, None, None) => self.register_controller(now, pool_token, register),
            (Mode::Controller, _, _) => Err(invalid("task", "a controller registers for no task")),
            (Mode::Worker, Some(task), Some(fence)) => {
                self.register_worker(now, pool_token, register, &task, fence)
            }
            (Mode::Worker, None, _) => Err(invalid("task", "a worker registers for its task")),
            (Mode::Worker, Some(_), None) => Err(invalid("fence", "a worker names the fence of its Job")),
        }
    }

    fn register_controller(
        &mut self,
        now: Now,
        pool_token: PoolTokenId,
        register: Register,
    ) -> Result<Reply, ApiError> {
        let known =
            self.agent_names.get(&register.name).and_then(|id| Some((id.clone(), self.agents.get(id)?)));
        let is_same = known.as_ref().is_some_and(|(_, agent)| agent.instance == register.instance_id);
        let was_online = known.as_ref().is_some_and(|(_, agent)| !agent.is_offline);
        if was_online && !is_same {
            let detail =
                format!("`{}` is online as another process; it is free when that is offline", register.name);
            return Err(ApiError::new(ErrorCode::NameInUse, detail).at("/data/attributes/name"));
        }
        let others = self.agents.values().filter(|agent| !agent.is_offline).count() - usize::from(was_online);
        if others >= self.settings.agent_quota as usize {
            let detail = format!("{others} agents are online, and no more may be");
            return Err(ApiError::new(ErrorCode::QuotaExceeded, detail));
        }
        let known = known.map(|(id, agent)| (id, agent.created_at));
        let (id, created_at) = match known {
            Some((id, created_at)) if is_same => {
                // It may be a new process in the place of one that was killed, and know nothing of what that
                // one held: the leases lapse, and what it does know of it adopts by its next heartbeat.
                for task in self.leased_by(&id) {
                    self.lapse(now, &task);
                }
                if let Some(old) = self.agents.get(&id) {
                    self.tokens.remove(&old.token);
                    self.timers.remove(&old.timer(&id));
                }
                self.waiters.remove(&id);
                (id, created_at)
            }
            Some((id, _)) => {
                self.forget_agent(now, &id);
                (fixed(AgentId::new(&self.new_id(now, "agent"))), now.wall)
            }
            None => (fixed(AgentId::new(&self.new_id(now, "agent"))), now.wall),
        };
        let token = self.new_session_token(now);
        self.tokens.insert(token.clone(), TokenUse::Session { agent: id.clone() });
        let agent = Agent {
            name: register.name.clone(),
            instance: register.instance_id,
            token: token.clone(),
            pool_token,
            version: register.version,
            os: register.os,
            driver: register.driver,
            capacity: register.capacity,
            status: AgentStatus::Idle,
            error_message: None,
            slots: None,
            is_draining: false,
            is_offline: false,
            due_ms: now.ms + self.settings.timings.offline_after_ms,
            last_seen_at: now.wall,
            created_at,
            cancels: std::collections::VecDeque::new(),
        };
        self.timers.insert(agent.timer(&id));
        self.agent_names.insert(register.name, id.clone());
        self.agents.insert(id.clone(), agent);
        self.touch_and_wake();
        Ok(Reply::Registered { answer: self.registered(id, &token), taken_over: is_same })
    }

    /// A contender for its task, of which there may be any number: `start` decides. One that comes too late
    /// is registered all the same, so that `start` can tell it why.
    fn register_worker(
        &mut self,
        now: Now,
        pool_token: PoolTokenId,
        register: Register,
        id: &TaskId,
        fence: Fence,
    ) -> Result<Reply, ApiError> {
        let task = self.tasks.get(id).ok_or_else(|| not_found("task", id.as_str()))?;
        let known = task
            .workers
            .get(&register.instance_id)
            .map(|worker| (worker.agent.clone(), worker.token.clone()));
        let taken_over = known.is_some();
        let agent = match known {
            Some((agent, token)) => {
                self.tokens.remove(&token);
                agent
            }
            None => fixed(AgentId::new(&self.new_id(now, "agent"))),
        };
        let token = self.new_session_token(now);
        let instance = register.instance_id;
        self.tokens.insert(token.clone(), TokenUse::Worker { task: id.clone(), instance: instance.clone() });
        let worker =
            Worker { agent: agent.clone(), name: register.name, token: token.clone(), pool_token, fence };
        self.change_task(id, |task| task.workers.insert(instance, worker));
        Ok(Reply::Registered { answer: self.registered(agent, &token), taken_over })
    }

    fn registered(&self, agent: AgentId, token: &Token) -> Registered {
        let timings = &self.settings.timings;
        Registered {
            agent,
            session_token: scalr_protocol::secret::Secret::new(token.expose()),
            heartbeat_ms: timings.heartbeat_ms,
            offline_after_ms: timings.offline_after_ms,
            wait_ms_max: timings.wait_ms_max,
        }
    }

    /// Call 3. Of a controller the leases lapse, with their fences unchanged.
    pub(super) fn deregister(&mut self, now: Now, bearer: &Token, id: &AgentId) -> Result<Reply, ApiError> {
        if let TokenUse::Worker { task, instance } = self.use_of(bearer)?.clone() {
            let worker = self.tasks.get(&task).and_then(|task| task.workers.get(&instance));
            if worker.is_none_or(|worker| worker.agent != *id) {
                return Err(forbidden(&format!("the session is not that of {id}")));
            }
            self.change_task(&task, |task| task.workers.remove(&instance));
            self.tokens.remove(bearer);
        } else {
            self.authorise_agent(bearer, id)?;
            self.forget_agent(now, id);
        }
        Ok(Reply::Done)
    }

    /// Ends a controller's life.
    pub(super) fn forget_agent(&mut self, now: Now, id: &AgentId) {
        let Some(agent) = self.agents.remove(id) else { return };
        self.timers.remove(&agent.timer(id));
        self.tokens.remove(&agent.token);
        if self.agent_names.get(&agent.name) == Some(id) {
            self.agent_names.remove(&agent.name);
        }
        self.waiters.remove(id);
        for task in self.leased_by(id) {
            self.lapse(now, &task);
        }
        self.touch_and_wake();
    }
}

fn invalid(attribute: &str, detail: &str) -> ApiError {
    ApiError::new(ErrorCode::Invalid, detail).at(&format!("/data/attributes/{attribute}"))
}
