//! What a person decides about one run, and its console after the fact.

use serde_json::json;

use super::{Failure, note, write_out};
use crate::{
    client::Client,
    options::{Cancel, OneRun},
    resource::One,
};

async fn act(options: &OneRun, action: &str, done: &str) -> Result<(), Failure> {
    let client = Client::new(&options.connection.url, options.connection.token.clone())?;
    client.act(&format!("runs/{}/actions/{action}", options.run), &json!({})).await?;
    note(&format!("{}: {done}", options.run));
    Ok(())
}

pub(super) async fn approve(options: OneRun) -> Result<(), Failure> {
    act(&options, "apply", "approved").await
}

pub(super) async fn discard(options: OneRun) -> Result<(), Failure> {
    act(&options, "discard", "discarded").await
}

pub(super) async fn cancel(options: Cancel) -> Result<(), Failure> {
    if options.force {
        act(&options.of, "force-cancel", "its tool will be killed").await
    } else {
        act(&options.of, "cancel", "cancel was asked for").await
    }
}

/// Prints what there is of the plan's console, then of the apply's, until nobody reads it any more.
pub(super) async fn logs(options: OneRun) -> Result<(), Failure> {
    let client = Client::new(&options.connection.url, options.connection.token)?;
    let run: One = client.get(&format!("runs/{}", options.run)).await?;
    for (kind, name) in [("plans", "plan"), ("applies", "apply")] {
        let Some(id) = run.data.related(name) else { continue };
        let mut bytes = client.bytes(&format!("{kind}/{id}/output")).await?;
        while let Some(part) = bytes.next().await? {
            if !write_out(&part)? {
                return Ok(());
            }
        }
    }
    Ok(())
}
