//! What an answer says, in a few words.

use scalr_protocol::{
    agent::{Acquire, Action, Hint},
    error::ApiError,
    task::Finished,
};

use super::Desk;
use crate::state::{AgentCall, Command, Reply};

pub(super) fn told(reply: Result<Reply, ApiError>) -> String {
    match reply {
        Err(refused) => {
            let code = serde_json::to_value(refused.code).unwrap();
            format!("{} {}", refused.status, code.as_str().unwrap())
        }
        Ok(Reply::Done) => "done".to_owned(),
        Ok(Reply::UserToken(_) | Reply::PoolToken { .. }) => "a token".to_owned(),
        Ok(Reply::Registered { taken_over, .. }) => (if taken_over { "200" } else { "201" }).to_owned(),
        Ok(Reply::Heartbeat(answer)) => {
            let verdicts =
                answer.verdicts.iter().map(|verdict| format!(" {}={:?}", verdict.id, verdict.verdict));
            format!("wanted {}{}", answer.wanted, verdicts.collect::<String>())
        }
        Ok(Reply::Acquired(acquired)) => {
            let tasks = acquired.tasks.iter().map(|grant| format!("{}@{}", grant.id, grant.fence));
            let tasks: Vec<String> = tasks.collect();
            if tasks.is_empty() { "nothing".to_owned() } else { tasks.join(" ") }
        }
        Ok(Reply::Messages(messages)) => {
            let hints = messages.hints.iter().map(|hint| match hint {
                Hint::Work => "work".to_owned(),
                Hint::Cancel { task } => format!("cancel {task}"),
                Hint::Unknown => "unknown".to_owned(),
            });
            format!("{} [{}]", messages.last, hints.collect::<Vec<_>>().join(", "))
        }
        Ok(Reply::Started(started)) => {
            let blobs = started.payload.blobs.iter().map(|blob| blob.kind.as_str()).collect::<Vec<_>>();
            format!("started {} with {}", started.payload.action.as_str(), blobs.join(" "))
        }
        Ok(Reply::Lease(lease)) => match lease.signal {
            None => "renewed".to_owned(),
            Some(signal) => format!("renewed, {signal:?}"),
        },
        Ok(Reply::Signals(signals)) => format!("{} {:?}", signals.last, signals.signals),
        Ok(Reply::Log { stored, appended }) => {
            format!("202 {stored} bytes{}", if appended { "" } else { ", again" })
        }
        Ok(Reply::LogMismatch { stored }) => format!("416 {stored} bytes"),
        Ok(Reply::Blob(blob)) => format!("{} bytes", blob.bytes),
        Ok(Reply::BlobStored { created }) => (if created { "201" } else { "204" }).to_owned(),
        Ok(Reply::Finished(Finished::Whole)) => "200".to_owned(),
        Ok(Reply::Finished(Finished::LogIncomplete { log_bytes })) => {
            format!("202 log has {log_bytes} bytes")
        }
        Ok(Reply::Finished(Finished::Late { log_bytes })) => {
            format!("202 late, log has {log_bytes} bytes")
        }
        Ok(Reply::State(None)) => "no state".to_owned(),
        Ok(Reply::State(Some(state))) => format!("serial {}", state.serial),
        Ok(Reply::StateStored { created, .. }) => {
            (if created { "stored" } else { "stored before" }).to_owned()
        }
        Ok(Reply::Locked(info)) => format!("423 held by {} ({})", info.id, info.who),
        Ok(Reply::Unlocked(None)) => "was free".to_owned(),
        Ok(Reply::Unlocked(Some(holder))) => {
            format!("unlocked {} of {:?}", holder.info.id, holder.run.map(|run| run.to_string()))
        }
        Ok(Reply::Workspace(_)) => "workspace".to_owned(),
        Ok(Reply::Variable(_)) => "variable".to_owned(),
        Ok(Reply::ConfigurationVersion(_)) => "configuration version".to_owned(),
        Ok(Reply::Run(run)) => run.to_string(),
    }
}

impl Desk {
    /// How long the tasks that an agent acquires now have been queued, by the server's word.
    pub(in crate::state::tests) fn waits(&mut self, name: &str) -> Vec<u64> {
        let (agent, bearer) = self.agents[name].clone();
        let ask = Acquire { slots: 100, ahead: 0, actions: Action::ALL.to_vec(), wait_ms: 0 };
        let call = AgentCall::Acquire { agent, ask };
        let Ok(Reply::Acquired(acquired)) = self.apply(Command::Agent { bearer, key: None, call }) else {
            panic!("no tasks");
        };
        acquired.tasks.iter().map(|grant| grant.queued_for_ms).collect()
    }
}
