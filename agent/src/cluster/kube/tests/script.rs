//! An API server that answers what it was told to, in order, and writes down what it was asked. The template
//! it serves as a real one does: by a list and a watch.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::{KubeCluster, KubeOptions, TemplateKind, template::tests::least};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What there is to be found of the template.
#[derive(Clone, Copy)]
pub(super) enum Template {
    Valid,
    Invalid,
    Missing,
    NotInstalled,
}

pub(super) struct Script {
    answers: Mutex<VecDeque<Option<Answer>>>,
    calls: Mutex<Vec<String>>,
    template: Mutex<Value>,
    kind: Template,
    watches: Mutex<Vec<mpsc::UnboundedSender<Bytes>>>,
}

/// A driver and the server that it speaks to.
pub(super) fn open() -> (KubeCluster, Arc<Script>) {
    open_with(Template::Valid)
}

pub(super) fn open_with(kind: Template) -> (KubeCluster, Arc<Script>) {
    let template = json!({
        "metadata": {"name": "scalr-agent-task", "uid": "u-t", "resourceVersion": "1", "generation": 1},
        "spec": {"jobTemplate": least()},
    });
    let script = Arc::new(Script {
        answers: Mutex::default(),
        calls: Mutex::default(),
        template: Mutex::new(template),
        kind,
        watches: Mutex::default(),
    });
    let served = Arc::clone(&script);
    let service = tower::service_fn(move |request: Request<Body>| {
        let script = Arc::clone(&served);
        async move { script.serve(request).await }
    });
    let options = KubeOptions {
        namespace: "runs".to_owned(),
        template_kind: TemplateKind::AgentTask,
        template: "scalr-agent-task".to_owned(),
        server: "example.scalr.io".to_owned(),
        ttl_s: 60,
        deadline_s: 151_800,
    };
    (KubeCluster::open(kube::Client::new(service, "runs"), options), script)
}

impl Script {
    /// The next call is answered so.
    pub(super) fn answer(&self, code: u16, body: &Value) {
        self.answers.lock().unwrap().push_back(Some(whole(code, body)));
    }

    /// The next call is answered by these pieces, and ends with them.
    pub(super) fn stream<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) {
        let frames: Vec<_> =
            pieces.map(|piece| Ok(hyper::body::Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        self.answers.lock().unwrap().push_back(Some(Response::new(body.boxed_unsync())));
    }

    /// The next call is answered by a stream that says nothing and does not end.
    pub(super) fn open_stream(&self) {
        let body = StreamBody::new(futures_util::stream::pending());
        self.answers.lock().unwrap().push_back(Some(Response::new(body.boxed_unsync())));
    }

    /// The next call is never answered.
    pub(super) fn silence(&self) {
        self.answers.lock().unwrap().push_back(None);
    }

    /// What was asked, but for the template.
    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// Somebody edits the template's specification.
    pub(super) fn change_template(&self, change: impl FnOnce(&mut Value)) {
        let mut template = self.template.lock().unwrap();
        change(&mut template);
        let generation = template["metadata"]["generation"].as_u64().unwrap() + 1;
        template["metadata"]["generation"] = generation.into();
        template["metadata"]["resourceVersion"] = generation.to_string().into();
        let line = format!("{}\n", json!({"type": "MODIFIED", "object": *template}));
        self.watches.lock().unwrap().retain(|watch| watch.send(line.clone().into()).is_ok());
    }

    async fn serve(&self, request: Request<Body>) -> Result<Answer, Infallible> {
        let (head, body) = request.into_parts();
        let uri = head.uri.to_string();
        if uri.contains("/atasks") {
            return Ok(self.serve_template(&uri));
        }
        let body = body.collect_bytes().await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        self.calls.lock().unwrap().push(format!("{} {uri} {text}", head.method).trim_end().to_owned());
        let answer = self.answers.lock().unwrap().pop_front();
        match answer {
            Some(Some(answer)) => Ok(answer),
            Some(None) => std::future::pending().await,
            None => panic!("nobody told what to answer to {} {uri}", head.method),
        }
    }

    fn serve_template(&self, uri: &str) -> Answer {
        let mut template = self.template.lock().unwrap().clone();
        if uri.contains("watch=true") {
            let (sender, mut lines) = mpsc::unbounded_channel::<Bytes>();
            self.watches.lock().unwrap().push(sender);
            let stream = futures_util::stream::poll_fn(move |context| {
                lines.poll_recv(context).map(|line| line.map(|line| Ok(hyper::body::Frame::data(line))))
            });
            return Response::new(StreamBody::new(stream).boxed_unsync());
        }
        let items = match self.kind {
            Template::NotInstalled => return whole(404, &json!("404 page not found")),
            Template::Missing => json!([]),
            Template::Valid => json!([template]),
            Template::Invalid => {
                template["spec"]["jobTemplate"]["spec"]["suspend"] = true.into();
                json!([template])
            }
        };
        whole(200, &json!({"metadata": {"resourceVersion": "1"}, "items": items}))
    }
}

fn whole(code: u16, body: &Value) -> Answer {
    let body = http_body_util::Full::new(Bytes::from(body.to_string()));
    Response::builder().status(code).body(body.boxed_unsync()).unwrap()
}

/// A Job of ours, with some of what a real one has besides.
pub(super) fn job(name: &str, uid: &str, version: u64, task: &str, fence: u64) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name, "uid": uid, "resourceVersion": version.to_string(), "generation": 1,
            "creationTimestamp": "2026-11-22T08:00:00Z",
            "labels": {"scalr.io/server": "example.scalr.io", "scalr.io/template": "scalr-agent-task"},
            "annotations": {"scalr.io/task": task, "scalr.io/fence": fence.to_string()},
            "managedFields": [{"manager": "scalr-agent", "operation": "Update"}],
        },
        "spec": {"template": {"spec": {"containers": []}}},
        "status": {"active": 1, "ready": 0, "uncountedTerminatedPods": {}},
    })
}

pub(super) fn pod(name: &str, uid: &str, version: u64) -> Value {
    json!({
        "metadata": {
            "name": name, "uid": uid, "resourceVersion": version.to_string(),
            "labels": {"batch.kubernetes.io/job-name": "job-1", "batch.kubernetes.io/controller-uid": "u-1"},
            "annotations": {"scalr.io/task": "atask-1", "scalr.io/fence": "1"},
        },
        "spec": {"containers": []},
        "status": {"phase": "Pending"},
    })
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message})
}
