//! Lists of runs and agents: a table for people, the server's own JSON for programs.

use comfy_table::{Table, presets};
use scalr_protocol::id::WorkspaceId;
use serde_json::Value;

use super::{Failure, say};
use crate::{
    client::Client,
    options::{Listing, Runs},
    resource::{Many, Resource},
};

/// As many pages as a fake server ever has.
const PAGES_MAX: usize = 1_000;

/// All pages of a list; `path` may have a query.
pub(super) async fn all(client: &Client, path: &str) -> Result<Vec<Resource>, Failure> {
    let mut all = Vec::new();
    let and = if path.contains('?') { '&' } else { '?' };
    for page in 1..=PAGES_MAX {
        let many: Many = client.get(&format!("{path}{and}page[size]=100&page[number]={page}")).await?;
        all.extend(many.data);
        if many.meta.pagination.next_page.is_none() {
            break;
        }
    }
    Ok(all)
}

/// The workspace of a name or an id.
pub(super) async fn workspace(client: &Client, name: &str) -> Result<Option<Resource>, Failure> {
    let query: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let named = all(client, &format!("workspaces?filter[name]={query}")).await?.into_iter().next();
    if named.is_some() || WorkspaceId::new(name).is_err() {
        return Ok(named);
    }
    Ok(all(client, &format!("workspaces?filter[workspace]={query}")).await?.into_iter().next())
}

/// One text of a resource's attributes; nothing where there is none.
pub(super) fn text<'a>(resource: &'a Resource, attribute: &str) -> &'a str {
    resource.attributes.get(attribute).and_then(Value::as_str).unwrap_or_default()
}

pub(super) async fn runs(options: Runs) -> Result<(), Failure> {
    let Listing { json, connection } = options.listing;
    let client = Client::new(&connection.url, connection.token)?;
    let path = match options.workspace {
        None => "runs".to_owned(),
        Some(name) => {
            let found = workspace(&client, &name).await?;
            let workspace =
                found.ok_or_else(|| Failure::Failed(format!("there is no workspace `{name}`")))?;
            format!("runs?filter[workspace]={}", workspace.id)
        }
    };
    let runs = all(&client, &path).await?;
    let row = |run: &Resource| {
        let why = match text(run, "error-message") {
            "" => text(run, "waiting-reason"),
            error => error,
        };
        [
            run.id.clone(),
            text(run, "workspace-name").into(),
            text(run, "status").into(),
            when(run),
            why.into(),
        ]
    };
    show(json, &runs, ["RUN", "WORKSPACE", "STATUS", "CREATED", "WHY"], row)
}

pub(super) async fn agents(options: Listing) -> Result<(), Failure> {
    let client = Client::new(&options.connection.url, options.connection.token)?;
    let agents = all(&client, "agents").await?;
    let row = |agent: &Resource| {
        [
            text(agent, "name").to_owned(),
            text(agent, "status").to_owned(),
            text(agent, "driver").to_owned(),
            text(agent, "version").to_owned(),
            free(agent),
            whole_seconds(text(agent, "last-seen-at")),
        ]
    };
    show(options.json, &agents, ["AGENT", "STATUS", "DRIVER", "VERSION", "FREE", "LAST SEEN"], row)
}

/// How many slots are free; nobody knows that of an agent that is away.
fn free(agent: &Resource) -> String {
    let number = |name: &str| agent.attributes.get(name).and_then(Value::as_u64).unwrap_or_default();
    match text(agent, "status") {
        "offline" => "-".to_owned(),
        _ => format!("{} of {}", number("slots"), number("capacity")),
    }
}

fn when(resource: &Resource) -> String {
    whole_seconds(text(resource, "created-at"))
}

/// A time as people read it; whatever is none stays as it is.
pub(super) fn whole_seconds(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => time.to_owned(),
    }
}

fn show<const N: usize>(
    json: bool,
    resources: &[Resource],
    header: [&str; N],
    row: impl Fn(&Resource) -> [String; N],
) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string_pretty(resources)
            .map_err(|e| Failure::Failed(format!("the list can't be printed: {e}")))?;
        say(&format!("{text}\n"));
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table.add_rows(resources.iter().map(row));
    for line in table.lines() {
        say(&format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_agent_that_is_away_has_no_free_slots() {
        let free_of = |status: &str| {
            let attributes = json!({"status": status, "slots": 3, "capacity": 5});
            free(&Resource::new("agents", "agent-1", attributes))
        };
        assert_eq!(["idle", "busy", "offline"].map(free_of), ["3 of 5", "3 of 5", "-"]);
    }
}
