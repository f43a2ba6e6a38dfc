//! Answers that are given again for the same idempotency key. Only what was done is kept: a refusal, and an
//! acquire that came back with nothing, are asked anew. A key that comes with another question is a mistake.

use std::collections::{BTreeMap, VecDeque};

use scalr_protocol::{
    agent::Register,
    error::{ApiError, ErrorCode},
};
use serde::{Deserialize, Serialize};

use super::{Key, Now, PublicCall, Reply, State, Token};

/// What was asked with a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Asked {
    Register(Register),
    /// Its wait may be another: the server asks again with what is left.
    Acquire,
    Public(Box<PublicCall>),
}

/// What was answered, and until when that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    until_ms: u64,
    asked: Asked,
    reply: Reply,
}

/// What was answered to whom, by the keys that they drew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Replays {
    answers: BTreeMap<Token, BTreeMap<Key, Answer>>,
    /// The oldest first. Kept answers are forgotten when a new one comes, so that nothing else changes them.
    expiries: VecDeque<(u64, Token, Key)>,
}

impl Replays {
    fn get(&self, now: Now, bearer: &Token, key: &Key) -> Option<&Answer> {
        self.answers.get(bearer)?.get(key).filter(|answer| now.ms < answer.until_ms)
    }

    fn keep(&mut self, now: Now, bearer: Token, key: Key, answer: Answer) {
        while let Some((_, bearer, key)) = self.expiries.pop_front_if(|(until_ms, _, _)| *until_ms <= now.ms)
        {
            if let Some(keys) = self.answers.get_mut(&bearer) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.answers.remove(&bearer);
                }
            }
        }
        self.expiries.push_back((answer.until_ms, bearer.clone(), key.clone()));
        self.answers.entry(bearer).or_default().insert(key, answer);
    }
}

impl State {
    /// Does something once for a key, and gives the first answer again to whoever repeats it.
    pub(super) fn replayed(
        &mut self,
        now: Now,
        bearer: Token,
        keyed: Option<(Key, Asked)>,
        call: impl FnOnce(&mut Self) -> Result<Reply, ApiError>,
    ) -> Result<Reply, ApiError> {
        let Some((key, asked)) = keyed else { return call(self) };
        if let Some(answer) = self.replays.get(now, &bearer, &key) {
            if answer.asked == asked {
                return Ok(answer.reply.clone());
            }
            let detail = "it came with another request before: draw a new key for each";
            return Err(ApiError::new(ErrorCode::Invalid, detail).of_parameter("Idempotency-Key"));
        }
        let version = self.version;
        let reply = call(self)?;
        if self.version != version {
            let until_ms = now.ms + self.settings.timings.replay_ms;
            self.replays.keep(now, bearer, key, Answer { until_ms, asked, reply: reply.clone() });
        }
        Ok(reply)
    }
}
