//! `submit`: a folder becomes a run, and its console comes back.

use std::{collections::BTreeMap, path::Path, sync::OnceLock};

use scalr_protocol::task::VariableCategory;
use serde_json::{Value, json};

use super::{Failure, follow, list, pack::pack, say};
use crate::{
    client::{Client, Method},
    options::{Setting, Submit},
    resource::{One, Resource},
};

/// Submits, and tells `submitted` which run that made as soon as it is known.
pub(super) async fn submit(options: Submit, submitted: &OnceLock<String>) -> Result<(), Failure> {
    let archive = pack(&options.dir, options.working_directory.as_deref().unwrap_or_default())?;
    let name = match &options.workspace {
        Some(name) => name.clone(),
        None => folder_name(&options.dir)?,
    };
    let client = Client::new(&options.connection.url, options.connection.token.clone())?;
    let workspace = workspace(&client, &name, &options).await?;
    variables(&client, &workspace.id, &options).await?;
    let version = One::new("configuration-versions", json!({})).of("workspace", "workspaces", &workspace.id);
    let version: One = client.send(Method::POST, "configuration-versions", &version).await?;
    client.upload(&format!("configuration-versions/{}/upload", version.data.id), archive).await?;
    let run = One::new(
        "runs",
        json!({
            "is-destroy": options.destroy,
            "is-dry": options.dry,
            "auto-apply": options.auto_apply,
            "message": format!("submitted from {}", options.dir.display()),
            "source": "cli",
        }),
    )
    .of("workspace", "workspaces", &workspace.id)
    .of("configuration-version", "configuration-versions", &version.data.id);
    let run: One = client.send(Method::POST, "runs", &run).await?;
    submitted.get_or_init(|| run.data.id.clone());
    if options.no_wait {
        say(&format!("{}\n", run.data.id));
        return Ok(());
    }
    follow::follow(&client, run.data).await
}

fn folder_name(dir: &Path) -> Result<String, Failure> {
    let whole = std::fs::canonicalize(dir)?;
    match whole.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(name.to_owned()),
        None => Err(Failure::Mistake(format!(
            "`{}` has no name that a workspace could have; choose one with --workspace",
            dir.display()
        ))),
    }
}

/// The workspace of this name, with the settings that were given.
async fn workspace(client: &Client, name: &str, options: &Submit) -> Result<Resource, Failure> {
    let mut settings = json!({});
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            settings[key] = value;
        }
    };
    set("working-directory", options.working_directory.as_ref().map(|path| json!(path)));
    set("var-files", (!options.var_files.is_empty()).then(|| json!(options.var_files)));
    set("run-operation-timeout", options.timeout.map(|minutes| json!(minutes)));
    let hooks: BTreeMap<_, _> = options.hooks.iter().map(|hook| (hook.phase, &hook.command)).collect();
    set("hooks", (!hooks.is_empty()).then(|| json!(hooks)));
    let platform = |name: &str| if name == "tofu" { "opentofu" } else { "terraform" };
    set("iac-platform", options.tool.as_ref().map(|tool| json!(platform(&tool.name))));
    set("terraform-version", options.tool.as_ref().map(|tool| json!(tool.version)));
    let found = list::workspace(client, name).await?;
    let nothing_to_set = settings == json!({});
    let workspace: One = match found {
        Some(found) if nothing_to_set => return Ok(found),
        Some(found) => {
            let path = format!("workspaces/{}", found.id);
            client.send(Method::PATCH, &path, &One::new("workspaces", settings)).await?
        }
        None => {
            settings["name"] = json!(name);
            client.send(Method::POST, "workspaces", &One::new("workspaces", settings)).await?
        }
    };
    Ok(workspace.data)
}

/// Sets the variables that were given; those of the same name and category are replaced.
async fn variables(client: &Client, workspace: &str, options: &Submit) -> Result<(), Failure> {
    let terraform = |hcl, sensitive| move |setting| (VariableCategory::Terraform, hcl, sensitive, setting);
    let shell = |sensitive| move |setting| (VariableCategory::Shell, false, sensitive, setting);
    let given: Vec<(VariableCategory, bool, bool, &Setting)> = options
        .vars
        .iter()
        .map(terraform(false, false))
        .chain(options.sensitive_vars.iter().map(terraform(false, true)))
        .chain(options.hcl_vars.iter().map(terraform(true, false)))
        .chain(options.envs.iter().map(shell(false)))
        .chain(options.sensitive_envs.iter().map(shell(true)))
        .collect();
    if given.is_empty() {
        return Ok(());
    }
    let had = list::all(client, &format!("vars?filter[workspace]={workspace}")).await?;
    for (category, hcl, sensitive, setting) in given {
        let same = |had: &&Resource| {
            list::text(had, "key") == setting.key && had.attributes["category"] == json!(category)
        };
        if let Some(had) = had.iter().find(same) {
            client.delete(&format!("vars/{}", had.id)).await?;
        }
        let variable = One::new(
            "vars",
            json!({
                "key": setting.key,
                "value": setting.value,
                "category": category,
                "hcl": hcl,
                "sensitive": sensitive,
            }),
        )
        .of("workspace", "workspaces", workspace);
        client.send::<One>(Method::POST, "vars", &variable).await?;
    }
    Ok(())
}
