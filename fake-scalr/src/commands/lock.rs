//! `lock` and `unlock` of a workspace, and of its state.

use serde_json::{Value, json};

use super::{
    Failure,
    list::{text, whole_seconds, workspace},
    say,
};
use crate::{
    client::{Client, Method},
    options::{Lock, OneWorkspace, Unlock},
    resource::Resource,
};

async fn found(options: &OneWorkspace) -> Result<(Client, Resource), Failure> {
    let client = Client::new(&options.connection.url, options.connection.token.clone())?;
    match workspace(&client, &options.workspace).await? {
        Some(workspace) => Ok((client, workspace)),
        None => Err(Failure::Failed(format!(
            "there is no workspace `{}`; `runs` lists those in use",
            options.workspace
        ))),
    }
}

pub(super) async fn lock(options: Lock) -> Result<(), Failure> {
    let (client, workspace) = found(&options.of).await?;
    let reason = json!({"reason": options.reason.unwrap_or_default()});
    client.act(&format!("workspaces/{}/actions/lock", workspace.id), &reason).await?;
    say(&format!("workspace {} is locked\n", text(&workspace, "name")));
    Ok(())
}

/// Takes both locks away: that of the workspace, which a person set, and that of its state, which a tool set.
/// The latter stays with whoever may be writing, unless it is forced.
pub(super) async fn unlock(options: Unlock) -> Result<(), Failure> {
    let (client, workspace) = found(&options.of).await?;
    let name = text(&workspace, "name");
    let is_locked = workspace.attributes["locked"] == true;
    let has_holder = !workspace.attributes["state-lock"].is_null();
    if is_locked {
        client.act(&format!("workspaces/{}/actions/unlock", workspace.id), &json!({})).await?;
        let because = match text(&workspace, "lock-reason") {
            "" => String::new(),
            reason => format!(", because: {reason}"),
        };
        let (by, since) = (text(&workspace, "locked-by-name"), whole_seconds(text(&workspace, "locked-at")));
        say(&format!("workspace {name} is unlocked; {by} had locked it at {since}{because}\n"));
    }
    let mut had = Value::Null;
    if has_holder {
        let path = format!("workspaces/{}/actions/force-unlock", workspace.id);
        let answer: Value = client.send(Method::POST, &path, &json!({"force": options.force})).await?;
        had = answer["meta"]["state-lock"].clone();
    }
    if !had.is_null() {
        say(&format!("the state of workspace {name} is unlocked; {}\n", held(&had)));
    }
    if !is_locked && had.is_null() {
        say(&format!("workspace {name} is not locked, nor is its state\n"));
    }
    Ok(())
}

/// Who held a state's lock, since when, and when he was last seen.
fn held(holder: &Value) -> String {
    let of = |name: &str| holder[name].as_str().unwrap_or_default();
    let run = match of("run") {
        "" => String::new(),
        run => format!(" for run {run}"),
    };
    format!(
        "{} held it{run} ({}) since {}, and was last seen at {}{}",
        of("who"),
        of("operation"),
        whole_seconds(of("locked-at")),
        whole_seconds(of("last-seen-at")),
        if holder["is-running"] == true { ": taken by force, its run goes on" } else { "" },
    )
}
