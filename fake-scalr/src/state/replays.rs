//! Answers that are given again for the same idempotency key. Only what was done is kept: a refusal, and an
//! acquire that came back with nothing, are asked anew.

use std::collections::{BTreeMap, VecDeque};

use scalr_protocol::error::ApiError;
use serde::{Deserialize, Serialize};

use super::{Key, Now, Reply, State, Token};

/// What was answered to whom, by the keys that they drew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Replays {
    answers: BTreeMap<Token, BTreeMap<Key, (u64, Reply)>>,
    /// The oldest first. Kept answers are forgotten when a new one comes, so that nothing else changes them.
    expiries: VecDeque<(u64, Token, Key)>,
}

impl Replays {
    fn get(&self, now: Now, bearer: &Token, key: &Key) -> Option<Reply> {
        let (until_ms, reply) = self.answers.get(bearer)?.get(key)?;
        (now.ms < *until_ms).then(|| reply.clone())
    }

    fn keep(&mut self, now: Now, until_ms: u64, bearer: Token, key: Key, reply: Reply) {
        while let Some((_, bearer, key)) = self.expiries.pop_front_if(|(until_ms, _, _)| *until_ms <= now.ms)
        {
            if let Some(keys) = self.answers.get_mut(&bearer) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.answers.remove(&bearer);
                }
            }
        }
        self.expiries.push_back((until_ms, bearer.clone(), key.clone()));
        self.answers.entry(bearer).or_default().insert(key, (until_ms, reply));
    }
}

impl State {
    /// Does something once for a key, and gives the first answer again to whoever repeats it.
    pub(super) fn replayed(
        &mut self,
        now: Now,
        bearer: Token,
        key: Option<Key>,
        call: impl FnOnce(&mut Self) -> Result<Reply, ApiError>,
    ) -> Result<Reply, ApiError> {
        let Some(key) = key else { return call(self) };
        if let Some(reply) = self.replays.get(now, &bearer, &key) {
            return Ok(reply);
        }
        let version = self.version;
        let reply = call(self)?;
        if self.version != version {
            let until_ms = now.ms + self.settings.timings.replay_ms;
            self.replays.keep(now, until_ms, bearer, key, reply.clone());
        }
        Ok(reply)
    }
}
