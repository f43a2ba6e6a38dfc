//! Follows a run to its end: the consoles of plan and apply to stdout, byte for byte, and what happens round
//! them to stderr.

use std::io::{self, Write};

use tokio::sync::watch;

use super::{Failure, list::text, note};
use crate::{
    client::Client,
    resource::{One, Resource},
};

/// How long one question for news waits at the server.
const WAIT_MS: u64 = 1_000;

/// Follows a run that was just made.
pub(super) async fn follow(client: &Client, run: Resource) -> Result<(), Failure> {
    note(&format!("{}: created in workspace {}", run.id, text(&run, "workspace-name")));
    let id = run.id.clone();
    let (seen, mut runs) = watch::channel(run);
    let followed = tokio::try_join!(watch_run(client, &id, &seen), consoles(client, &mut runs));
    let (run, ()) = followed.map_err(|failure| still_there(&id, failure))?;
    ended(&run)
}

/// A server that went away took nothing with it.
fn still_there(run: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Failed(line) => {
            Failure::Failed(format!("{line} (the run goes on: `fake-scalr logs {run}` shows its console)"))
        }
        mistake @ Failure::Mistake(_) => mistake,
    }
}

fn ended(run: &Resource) -> Result<(), Failure> {
    let status = text(run, "status");
    match (status, text(run, "error-message")) {
        ("applied" | "planned_and_finished", _) => {
            note(&format!("{}: {status}", run.id));
            Ok(())
        }
        (_, "") => Err(Failure::Failed(format!("{}: {status}", run.id))),
        (_, error) => Err(Failure::Failed(format!("{}: {status}: {error}", run.id))),
    }
}

fn is_over(run: &Resource) -> bool {
    matches!(text(run, "status"), "applied" | "planned_and_finished" | "errored" | "canceled" | "discarded")
}

fn is_planned(run: &Resource) -> bool {
    !matches!(text(run, "status"), "pending" | "plan_queued" | "planning")
}

/// Says each status and each reason to wait once, until the run is over.
async fn watch_run(client: &Client, id: &str, seen: &watch::Sender<Resource>) -> Result<Resource, Failure> {
    let (mut status, mut reasons) = (String::new(), Vec::new());
    loop {
        let One { data: run } =
            client.get(&format!("runs/{id}?unless-status={status}&wait-ms={WAIT_MS}")).await?;
        if text(&run, "status") != status {
            text(&run, "status").clone_into(&mut status);
            if !is_over(&run) {
                note(&format!("{id}: {status}"));
            }
            if status == "planned" && run.attributes["auto-apply"] != true {
                note(&format!("approve with: fake-scalr approve {id}"));
            }
        }
        let reason = text(&run, "waiting-reason").to_owned();
        if !reason.is_empty() && !reasons.contains(&reason) {
            note(&format!("{id}: waiting: {reason}"));
            reasons.push(reason);
        }
        seen.send_replace(run.clone());
        if is_over(&run) {
            return Ok(run);
        }
    }
}

async fn consoles(client: &Client, runs: &mut watch::Receiver<Resource>) -> Result<(), Failure> {
    let plan = runs.borrow().related("plan").map(str::to_owned);
    if let Some(plan) = plan {
        console(client, &format!("plans/{plan}/output"), runs, is_planned).await?;
    }
    // The watcher holds the other end for as long as this is polled.
    let Ok(run) = runs.wait_for(|run| run.related("apply").is_some() || is_over(run)).await else {
        return Ok(());
    };
    let apply = run.related("apply").map(str::to_owned);
    drop(run);
    match apply {
        Some(apply) => console(client, &format!("applies/{apply}/output"), runs, is_over).await,
        None => Ok(()),
    }
}

/// Copies one console until the server says that it is whole, or until its stage is over and nothing more
/// came in one wait: a worker that was lost may deliver for a day.
async fn console(
    client: &Client,
    path: &str,
    runs: &watch::Receiver<Resource>,
    is_past: fn(&Resource) -> bool,
) -> Result<(), Failure> {
    let mut from = 0;
    loop {
        let was_past = is_past(&runs.borrow());
        let before = from;
        let mut bytes = client.bytes(&format!("{path}?from={from}&wait-ms={WAIT_MS}")).await?;
        let whole = bytes.ended();
        while let Some(part) = bytes.next().await? {
            from += part.len() as u64;
            let mut stdout = io::stdout().lock();
            stdout.write_all(&part).and_then(|()| stdout.flush())?;
        }
        if whole || (was_past && from == before) {
            return Ok(());
        }
    }
}
