//! Follows a run to its end: the consoles of plan and apply to stdout, byte for byte, and what happens round
//! them to stderr.

use tokio::sync::watch;

use super::{Failure, list::text, note, write_out};
use crate::{
    client::Client,
    resource::{One, Resource},
};

/// How long one question for news waits at the server.
const WAIT_MS: u64 = 1_000;
/// How long a reason to wait stands before it is said: nearly every run waits some milliseconds for an agent
/// to ask and to launch, and nobody wants to hear of it. As the status did not change either, an answer came
/// after a whole wait.
const REASON_STANDS_MS: u64 = WAIT_MS;

/// Follows a run that was just made.
pub(super) async fn follow(client: &Client, run: Resource) -> Result<(), Failure> {
    note(&format!("{}: created in workspace {}", run.id, text(&run, "workspace-name")));
    if run.attributes["auto-apply"] != true && run.attributes["is-dry"] != true {
        note(&format!(
            "{0}: changes will wait for `fake-scalr approve {0}`; submit with --auto-apply to go on without",
            run.id
        ));
    }
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

/// Reasons to wait, each of which is said once, when it has stood.
#[derive(Default)]
struct Reasons {
    said: Vec<String>,
    /// The status and the reason of the last answer.
    last: (String, String),
}

impl Reasons {
    /// What is to be said after an answer, `REASON_STANDS_MS` after the last one if the status is the same.
    fn news(&mut self, status: &str, reason: &str) -> Option<String> {
        let now = (status.to_owned(), reason.to_owned());
        let stood = self.last == now;
        self.last = now;
        // An approval is asked for in words of its own.
        if !stood || reason.is_empty() || status == "planned" || self.said.iter().any(|said| said == reason) {
            return None;
        }
        self.said.push(reason.to_owned());
        Some(reason.to_owned())
    }
}

/// Says each status and each reason to wait once, until the run is over.
async fn watch_run(client: &Client, id: &str, seen: &watch::Sender<Resource>) -> Result<Resource, Failure> {
    let (mut status, mut reasons) = (String::new(), Reasons::default());
    loop {
        let One { data: run } =
            client.get(&format!("runs/{id}?unless-status={status}&wait-ms={REASON_STANDS_MS}")).await?;
        if text(&run, "status") != status {
            text(&run, "status").clone_into(&mut status);
            if !is_over(&run) {
                note(&format!("{id}: {status}"));
            }
            if status == "planned" && run.attributes["auto-apply"] != true {
                note(&format!("approve with: fake-scalr approve {id}"));
            }
        }
        if let Some(reason) = reasons.news(&status, text(&run, "waiting-reason")) {
            note(&format!("{id}: waiting: {reason}"));
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
/// came in one wait: a worker that was lost may deliver for a day. When nobody reads it any more, how the
/// run ends is still wanted.
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
            if !write_out(&part)? {
                return Ok(());
            }
        }
        if whole || (was_past && from == before) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once_and_only_when_it_stands() {
        let mut reasons = Reasons::default();
        let mut said = Vec::new();
        for (status, reason) in [
            ("plan_queued", "not asked for yet"),
            ("plan_queued", "at agent a, which has not launched it yet"),
            ("planning", ""),
            ("planned", "waits for somebody to approve or discard its plan"),
            ("planned", "waits for somebody to approve or discard its plan"),
            ("apply_queued", "no agent"),
            ("apply_queued", "no agent"),
            ("apply_queued", "no agent"),
            ("apply_queued", "no slot"),
            ("apply_queued", "no agent"),
            ("apply_queued", "no agent"),
            ("confirmed", "the same, in another status"),
            ("apply_queued", "the same, in another status"),
        ] {
            said.extend(reasons.news(status, reason));
        }
        assert_eq!(said, ["no agent"]);
    }
}
