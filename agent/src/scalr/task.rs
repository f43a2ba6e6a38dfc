//! [`HttpTask`]: the calls of one task.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Body, Response,
    header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, RANGE},
};
use scalr_core::task_api::{BlobBytes, TaskApi, TaskError};
use scalr_protocol::{
    IDEMPOTENCY_HEADER,
    blob::{BlobKind, BlobRef, DIGEST_HEADER},
    console::{ContentRange, parse_stored},
    id::{Fence, TaskId},
    secret::Secret,
    task::{Finish, Finished, Lease, LeaseAnswer, Signals, Start, Started},
};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::{
    HttpScalr,
    answer::{Refusal, task_error},
    call::{Call, Caller},
};

/// How much of a file is read at a time: large enough that calls don't count, small in a worker's memory.
const FILE_CHUNK_BYTES: usize = 64 * 1024;

/// Scalr, for the worker of one task. Cheap to clone; clones share the task's token.
#[derive(Clone, Debug)]
pub struct HttpTask {
    caller: Caller,
    session: HttpScalr,
    token: Arc<OnceLock<Secret>>,
}

impl HttpTask {
    pub(super) fn new(caller: Caller, session: HttpScalr) -> Self {
        Self { caller, session, token: Arc::new(OnceLock::new()) }
    }

    /// The task's token; the session's before there is one, which the server then refuses.
    fn token(&self) -> Secret {
        self.token.get().cloned().unwrap_or_else(|| self.session.session_token())
    }
}

fn header(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

impl TaskApi for HttpTask {
    type Bytes = BlobBody;

    async fn start(&self, task: &TaskId, fence: Fence, key: &str) -> Result<Started, TaskError> {
        let path = format!("/agent-tasks/{task}/start");
        let call = Call::post(&path, &self.session.session_token()).message(&Start { fence }).for_payload();
        let started: Started =
            self.caller.ask(call.header(header(IDEMPOTENCY_HEADER), key)).await.map_err(task_error)?;
        // A replayed answer brings the same token; whichever came first is the one.
        self.token.get_or_init(|| started.task_token.clone());
        Ok(started)
    }

    async fn lease(&self, task: &TaskId, request: &Lease) -> Result<LeaseAnswer, TaskError> {
        let path = format!("/agent-tasks/{task}/lease");
        self.caller.ask(Call::put(&path, &self.token()).message(request)).await.map_err(task_error)
    }

    async fn signals(&self, task: &TaskId, after: u64, wait_ms: u64) -> Result<Signals, TaskError> {
        let path = format!("/agent-tasks/{task}/signals?after={after}&wait-ms={wait_ms}");
        let call = Call::get(&path, &self.token()).long_poll(wait_ms);
        let answer = self.caller.ask_if_any(call).await.map_err(task_error)?;
        Ok(answer.unwrap_or(Signals { last: after, signals: Vec::new() }))
    }

    async fn append(&self, task: &TaskId, offset: u64, bytes: Bytes) -> Result<u64, TaskError> {
        let Some(range) = ContentRange::new(offset, bytes.len() as u64) else { return Ok(offset) };
        let path = format!("/agent-tasks/{task}/log");
        let call = Call::patch(&path, &self.token()).octets(bytes).header(CONTENT_RANGE, &range.to_string());
        match self.caller.send(call).await {
            Ok(answer) => stored(&answer),
            Err(refusal) => refusal.stored().ok_or_else(|| task_error(refusal)),
        }
    }

    async fn blob(&self, task: &TaskId, kind: BlobKind) -> Result<BlobBody, TaskError> {
        let path = format!("/agent-tasks/{task}/blobs/{kind}");
        let call = Call::get(&path, &self.token()).of_blob();
        let silence_ms = self.caller.bounds.blob_silence_ms;
        let answer = self.caller.send(call).await.map_err(task_error)?;
        Ok(BlobBody { answer, silence_ms })
    }

    async fn put_blob(&self, task: &TaskId, blob: &BlobRef, file: std::fs::File) -> Result<(), TaskError> {
        let path = format!("/agent-tasks/{task}/blobs/{}", blob.kind);
        // No more than was announced: user code may be appending to the file.
        let file = tokio::fs::File::from_std(file).take(blob.bytes);
        let bytes = ReaderStream::with_capacity(file, FILE_CHUNK_BYTES);
        let call = Call::put(&path, &self.token())
            .octets(Body::wrap_stream(bytes))
            .header(header(DIGEST_HEADER), &blob.sha256.to_header())
            .header(CONTENT_LENGTH, &blob.bytes.to_string())
            .of_blob();
        self.caller.tell(call).await.map_err(task_error)
    }

    async fn finish(&self, task: &TaskId, request: &Finish) -> Result<Finished, TaskError> {
        let path = format!("/agent-tasks/{task}/finish");
        self.caller.ask(Call::post(&path, &self.token()).message(request)).await.map_err(task_error)
    }
}

fn stored(answer: &Response) -> Result<u64, TaskError> {
    let value = match answer.headers().get(RANGE).map(|value| value.to_str()) {
        None => None,
        Some(Ok(value)) => Some(value),
        Some(Err(_)) => {
            return Err(TaskError::Unreachable { detail: "an unreadable Range header".to_owned() });
        }
    };
    parse_stored(value).map_err(|error| TaskError::Unreachable { detail: error.to_string() })
}

/// A blob on its way here.
#[derive(Debug)]
pub struct BlobBody {
    answer: Response,
    silence_ms: u64,
}

impl BlobBytes for BlobBody {
    async fn next(&mut self) -> Result<Option<Bytes>, TaskError> {
        let silence_ms = self.silence_ms;
        match tokio::time::timeout(Duration::from_millis(silence_ms), self.answer.chunk()).await {
            Ok(piece) => piece.map_err(|error| task_error(Refusal::unanswered(&error))),
            Err(_) => Err(TaskError::Unreachable { detail: format!("nothing came for {silence_ms} ms") }),
        }
    }
}
