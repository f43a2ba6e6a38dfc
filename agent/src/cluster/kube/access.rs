//! The way to an API server: from inside a pod, or by a kubeconfig file.

use std::path::Path;

use ::kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use anyhow::Context;

/// What is in the environment of every pod.
const INSIDE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Finds the cluster and the namespace of its own there. Makes no call.
///
/// # Errors
/// In one line: the file that can't be read, or that there is neither a file nor a pod round this process.
pub async fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<(Client, String)> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::incluster().with_context(|| {
            format!("there is no service account (`{INSIDE}`): name a file (KUBECONFIG), or mount the token")
        })?,
    };
    // One place retries, and it is not here.
    config.default_retry = false;
    let namespace = config.default_namespace.trim().to_owned();
    let client = Client::try_from(config).context("the API server can't be reached as it is configured")?;
    Ok((client, namespace))
}

async fn from_file(path: &Path) -> anyhow::Result<Config> {
    let place = || format!("`{}` can't be used (KUBECONFIG)", path.display());
    let file = Kubeconfig::read_from(path).with_context(place)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.with_context(place)
}
