//! `serve`: opens the data, binds the socket, tells how to reach it, serves until it is told to stop.

use std::path::Path;

use tokio::net::TcpListener;

use super::{Failure, say, stop_signal};
use crate::{
    options::{Serve, Timing},
    server::{self, Credentials, Server, ServerError},
    state::{Settings, Timings},
};

pub(super) async fn serve(options: Serve) -> Result<(), Failure> {
    // Before anything else, so that a signal is never missed.
    let stop = stop_signal()?;
    let listener = TcpListener::bind(options.listen).await.map_err(|e| {
        Failure::Failed(format!("can't listen on {}: {e}; choose another --listen", options.listen))
    })?;
    let url = match &options.url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => server::local_url(listener.local_addr()?),
    };
    let data_dir = options.data_dir.as_deref();
    let settings = settings(&options, &url);
    let server = Server::open(settings, options.tools, data_dir)?;
    let credentials = server.credentials(data_dir, options.user_token, options.agent_token)?;
    tell(&url, &credentials, options.credentials.as_deref())?;
    server::serve(listener, server, stop).await?;
    Ok(())
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        Self::Failed(error.to_string())
    }
}

fn tell(url: &str, credentials: &Credentials, file: Option<&Path>) -> Result<(), Failure> {
    let (user, agent) = (credentials.user.expose(), credentials.agent.expose());
    say(&format!(
        "export SCALR_URL={url}\nexport SCALR_TOKEN={user}          # for people\n\
         export SCALR_AGENT_TOKEN={agent}    # for the agent\n"
    ));
    let Some(file) = file else { return Ok(()) };
    let text = format!("SCALR_URL={url}\nSCALR_TOKEN={user}\nSCALR_AGENT_TOKEN={agent}\n");
    server::write_private(file, text.as_bytes())
        .map_err(|e| Failure::Failed(format!("can't write the credentials to `{}`: {e}", file.display())))
}

fn settings(options: &Serve, url: &str) -> Settings {
    let default = Settings::default();
    Settings {
        url: url.to_owned(),
        timings: timings(options.timing, &default.timings),
        tool: options.tools.first().cloned().unwrap_or(default.tool),
        ..default
    }
}

fn timings(given: Timing, default: &Timings) -> Timings {
    Timings {
        heartbeat_ms: given.heartbeat_ms.unwrap_or(default.heartbeat_ms),
        offline_after_ms: given.offline_after_ms.unwrap_or(default.offline_after_ms),
        purge_after_ms: given.purge_after_ms.unwrap_or(default.purge_after_ms),
        launch_lease_ms: given.launch_lease_ms.unwrap_or(default.launch_lease_ms),
        confirm_ms: given.confirm_within_ms.unwrap_or(default.confirm_ms),
        lease_ttl_ms: given.lease_ttl_ms.unwrap_or(default.lease_ttl_ms),
        renew_ms: given.renew_ms.unwrap_or(default.renew_ms),
        lost_after_ms: given.lost_after_ms.unwrap_or(default.lost_after_ms),
        ..default.clone()
    }
}
