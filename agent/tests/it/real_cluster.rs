//! The Kubernetes driver against a real API server, that of `KUBECONFIG`: `just contract-kube`.
//!
//! Each clause has a namespace of its own, gone at its end. It takes rights over the whole cluster and
//! `kubectl` in the `PATH`; `CONTRACT_IMAGE` is an image with a shell that its nodes can have.

use std::{
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use scalr_agent::cluster::{KubeCluster, KubeOptions, TemplateKind, access, crd};
use scalr_core::{
    cluster::Job,
    contract::cluster::{self as contract, Bench},
};
use serde_json::{Value, json};

/// A clause takes seconds, and a small machine under load a minute.
const CLAUSE_S_MAX: u64 = 180;
/// How often a container is asked to end: it may not have begun yet.
const ASKS_MAX: u32 = 300;

/// A namespace with a template whose containers stay up until they are told to end.
struct Real {
    kubeconfig: PathBuf,
    namespace: String,
}

#[expect(clippy::disallowed_methods, reason = "tests have no options to read their surroundings for them")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Real {
    async fn new(clause: &str) -> Self {
        let kubeconfig = PathBuf::from(variable("KUBECONFIG").expect("KUBECONFIG names a cluster"));
        let namespace = format!("contract-{:08x}", rand::random::<u32>());
        let real = Self { kubeconfig, namespace };
        let (client, _) = access::connect(Some(&real.kubeconfig)).await.expect("a cluster");
        crd::apply(client, TemplateKind::AgentTask).await.expect("rights over the whole cluster");
        let labels = json!({"contract": clause});
        real.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": real.namespace, "labels": labels},
        }));
        real.apply(&real.template());
        real
    }

    fn template(&self) -> Value {
        let image = variable("CONTRACT_IMAGE").unwrap_or_else(|| "busybox".to_owned());
        let stay = "trap 'exit 0' TERM; while [ ! -e /tmp/end ]; do sleep 0.1; done";
        let container = |name: &str| {
            json!({
                "name": name, "image": image, "imagePullPolicy": "IfNotPresent", "command": ["/bin/sh", "-c", stay],
                "volumeMounts": [{"name": "podinfo", "mountPath": "/etc/podinfo"}],
            })
        };
        let item = json!({"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}});
        let pod = json!({
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "containers": [container("worker"), container("runner")],
            "volumes": [{"name": "podinfo", "downwardAPI": {"items": [item]}}],
        });
        json!({
            "apiVersion": "scalr.io/v1", "kind": "AgentTask",
            "metadata": {"name": "scalr-agent-task", "namespace": self.namespace},
            "spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}},
        })
    }

    fn kubectl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--namespace", &self.namespace])
            .args(arguments);
        command.output().expect("kubectl is in the PATH")
    }

    fn apply(&self, object: &Value) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        let output = self.kubectl(&["apply", "--filename", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

impl Bench for Real {
    type Cluster = KubeCluster;

    async fn cluster(&mut self) -> KubeCluster {
        let (client, _) = access::connect(Some(&self.kubeconfig)).await.expect("a cluster");
        let options = KubeOptions {
            namespace: self.namespace.clone(),
            template_kind: TemplateKind::AgentTask,
            template: "scalr-agent-task".to_owned(),
            server: "example.scalr.io".to_owned(),
            ttl_s: 600,
            deadline_s: 600,
        };
        KubeCluster::open(client, options)
    }

    async fn finish(&mut self, job: &Job) {
        let name = format!("job/{}", job.name);
        for container in ["worker", "runner"] {
            let ask = ["exec", &name, "--container", container, "--", "touch", "/tmp/end"];
            let mut asks = 0;
            loop {
                let output = self.kubectl(&ask);
                if output.status.success() {
                    break;
                }
                asks += 1;
                assert!(asks < ASKS_MAX, "{}", String::from_utf8_lossy(&output.stderr));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

macro_rules! clauses {
    ($($clause:ident),+ $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "it takes a real cluster: see the recipe for it in the Justfile"]
        async fn $clause() {
            let clause = contract::$clause(Real::new(stringify!($clause)).await);
            let bound = Duration::from_secs(CLAUSE_S_MAX);
            tokio::time::timeout(bound, clause).await.expect("the clause ends");
        }
    )+ };
}

clauses! {
    a_created_job_is_in_the_next_quorum_list,
    creating_the_same_again_is_success,
    a_name_taken_for_something_else_is_refused,
    two_that_race_for_a_name_get_one_job,
    a_finished_job_is_complete_and_its_pod_proves_it,
    a_finished_job_is_over,
    a_deleted_job_is_over_or_gone,
    another_uid_deletes_nothing,
    deleting_what_is_gone_is_success,
    a_deleted_job_takes_its_pods_along,
    a_watch_goes_on_where_its_list_ended,
    a_jobs_life_is_told_in_order,
}
