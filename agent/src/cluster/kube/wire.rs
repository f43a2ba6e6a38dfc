//! One call to the API, once: sent, bounded, and read as far as it has to be.
//!
//! It never repeats a call: whether and when is decided in the brains, and kube's own retries are off.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Limited};
use kube::{
    Client,
    client::Body,
    core::{
        Request,
        params::{
            DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions,
            PropagationPolicy, WatchParams,
        },
        request,
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{CallError, Refusal};

/// How long a call may take: an API server gives up by itself after a minute, and the brain after one too.
const CALL_MS: u64 = 30_000;
/// How long a watch lasts. A minute after the API server's shortest default, and less than the silence after
/// which the brain takes a watch for dead.
const WATCH_S: u32 = 290;
/// How large an answer may be: a page of the largest Jobs that are usual, twice over.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How large the text of a refusal may be.
const REFUSAL_BYTES_MAX: usize = 1 << 20;
/// How large one line of a watch may be: etcd keeps objects of 1.5 MiB, and JSON is larger than that.
const LINE_BYTES_MAX: usize = 8 << 20;
/// How many objects a page of a list has at most, so that a page stays some megabytes.
const PAGE_OBJECTS_MAX: u32 = 250;

/// A kind of object in a namespace, or without one.
#[derive(Clone, Debug)]
pub(super) struct Resource(Request);

type Built = Result<http::Request<Vec<u8>>, request::Error>;

impl Resource {
    /// A path of the API, such as `/apis/batch/v1/namespaces/runs/jobs`.
    pub(super) fn at(path: String) -> Self {
        Self(Request::new(path))
    }
}

/// Which objects, and how fresh: as lists take it.
#[derive(Clone, Debug, Default)]
pub(super) struct Select<'a> {
    /// By labels.
    pub(super) labels: Option<&'a str>,
    /// By fields.
    pub(super) fields: Option<&'a str>,
    /// From a cache, if need be.
    pub(super) is_cached: bool,
    /// The token of the page before.
    pub(super) more: Option<&'a str>,
}

/// The API of one cluster.
#[derive(Clone)]
pub(super) struct Wire {
    client: Client,
    bound_ms: u64,
}

impl Wire {
    pub(super) fn new(client: Client) -> Self {
        Self { client, bound_ms: CALL_MS }
    }

    /// With another bound on its calls.
    #[cfg(test)]
    pub(super) fn bounded(self, bound_ms: u64) -> Self {
        Self { bound_ms, ..self }
    }

    /// One page. A cached list has no pages: the API server has it whole.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        of: &Resource,
        select: &Select<'_>,
    ) -> Result<T, CallError> {
        let mut params = ListParams {
            label_selector: select.labels.map(str::to_owned),
            field_selector: select.fields.map(str::to_owned),
            continue_token: select.more.map(str::to_owned),
            ..ListParams::default()
        };
        params = if select.is_cached { params.match_any() } else { params.limit(PAGE_OBJECTS_MAX) };
        self.read(of.0.list(&params)).await
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, of: &Resource, name: &str) -> Result<T, CallError> {
        self.read(of.0.get(name, &GetParams::default())).await
    }

    pub(super) async fn create<T: DeserializeOwned>(
        &self,
        of: &Resource,
        object: &Value,
    ) -> Result<T, CallError> {
        self.read(of.0.create(&PostParams::default(), object.to_string().into_bytes())).await
    }

    /// Deletes in the background: the API's default would leave the pods of a Job behind.
    pub(super) async fn delete(&self, of: &Resource, name: &str, uid: &str) -> Result<(), CallError> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        self.answer(of.0.delete(name, &params)).await.map(drop)
    }

    /// Merges a patch into an object, or into one of its subresources.
    pub(super) async fn merge(
        &self,
        of: &Resource,
        name: &str,
        subresource: Option<&str>,
        patch: &Value,
    ) -> Result<(), CallError> {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let built = match subresource {
            Some(subresource) => of.0.patch_subresource(subresource, name, &params, &patch),
            None => of.0.patch(name, &params, &patch),
        };
        self.answer(built).await.map(drop)
    }

    /// Applies an object as ours, whoever had its fields before.
    pub(super) async fn apply(&self, of: &Resource, name: &str, object: &Value) -> Result<(), CallError> {
        let params = PatchParams::apply("scalr-agent").force();
        self.answer(of.0.patch(name, &params, &Patch::Apply(object))).await.map(drop)
    }

    /// Begins a watch. What it says comes by [`Lines`].
    pub(super) async fn watch(
        &self,
        of: &Resource,
        labels: Option<&str>,
        fields: Option<&str>,
        after: &str,
    ) -> Result<Lines, CallError> {
        let params = WatchParams {
            label_selector: labels.map(str::to_owned),
            field_selector: fields.map(str::to_owned),
            timeout: Some(WATCH_S),
            bookmarks: true,
            send_initial_events: false,
        };
        let body = self.send(of.0.watch(&params, after)).await?;
        Ok(Lines { body, buffer: BytesMut::new(), looked_at: 0 })
    }

    async fn read<T: DeserializeOwned>(&self, built: Built) -> Result<T, CallError> {
        let bytes = self.answer(built).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| CallError::Nothing(format!("the answer can't be read: {error}")))
    }

    /// The whole answer.
    async fn answer(&self, built: Built) -> Result<Bytes, CallError> {
        let whole = async { collect(self.send(built).await?, ANSWER_BYTES_MAX).await };
        self.within(whole).await
    }

    /// Sends, and waits for the begin of an answer that is a success.
    async fn send(&self, built: Built) -> Result<Body, CallError> {
        let request = built.map_err(|error| CallError::Nothing(error.to_string()))?;
        let sent = async {
            let response = self
                .client
                .send(request.map(Body::from))
                .await
                .map_err(|error| CallError::Nothing(chain(&error)))?;
            let (code, retry_after) = {
                let header = response.headers().get("retry-after");
                (response.status().as_u16(), header.and_then(|value| value.to_str().ok()).map(str::to_owned))
            };
            if response.status().is_success() {
                return Ok(response.into_body());
            }
            let body = collect(response.into_body(), REFUSAL_BYTES_MAX).await?;
            Err(CallError::Said(Refusal::read(code, retry_after.as_deref(), &body)))
        };
        self.within(sent).await
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
        let bound_ms = self.bound_ms;
        let bound = tokio::time::timeout(Duration::from_millis(bound_ms), call);
        bound.await.unwrap_or_else(|_| Err(CallError::Nothing(format!("no answer in {bound_ms} ms"))))
    }
}

async fn collect(body: Body, bytes_max: usize) -> Result<Bytes, CallError> {
    let collected = Limited::new(body, bytes_max).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| CallError::Nothing(chain(&*error)))
}

/// An error with what is behind it, once each.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

/// The lines of a watch, as they come.
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of a line.
    looked_at: usize,
}

impl Lines {
    /// The next line; `None` is the end. Nothing is lost when it is dropped on the way.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, CallError>> {
        loop {
            if let Some(line) = self.take() {
                return Some(Ok(line));
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Some(Err(CallError::Nothing(format!(
                    "a line is longer than {LINE_BYTES_MAX} bytes"
                ))));
            }
            match self.body.frame().await {
                // A last line without its end was cut.
                None => return None,
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Some(Err(CallError::Nothing(chain(&error)))),
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        loop {
            let new = &self.buffer[self.looked_at..];
            let Some(at) = new.iter().position(|byte| *byte == b'\n') else {
                self.looked_at = self.buffer.len();
                return None;
            };
            let line = self.buffer.split_to(self.looked_at + at).freeze();
            self.buffer.advance(1);
            self.looked_at = 0;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines")
    }
}
