//! Variables of workspaces. A sensitive value goes in and never comes out.

use axum::{extract::State, http::StatusCode};
use scalr_protocol::{
    error::{ApiError, ErrorCode},
    secret::Secret,
    task::{Variable, VariableCategory},
};
use serde::Deserialize;
use serde_json::json;

use super::{Attributes, Listing, Sent, many, missing, one};
use crate::{
    resource::Resource,
    server::{
        Server,
        agent_api::odd,
        answer::{Answer, Asked, Bearer, Of, Once, nothing},
    },
    state::{PublicCall, Reply, ids::VariableId, views::VariableView},
};

/// What a variable is.
#[derive(Debug, Default, Deserialize)]
pub(in crate::server) struct VariableAttributes {
    key: Option<String>,
    value: Option<Secret>,
    category: Option<VariableCategory>,
    #[serde(default)]
    hcl: bool,
    #[serde(default)]
    sensitive: bool,
}

impl Attributes for VariableAttributes {
    const TYPE: &'static str = "vars";
}

impl VariableAttributes {
    fn variable(self) -> Result<Variable, ApiError> {
        let absent = |what: &str| {
            ApiError::new(ErrorCode::Invalid, format!("the {what} is missing"))
                .at(&format!("/data/attributes/{what}"))
        };
        Ok(Variable {
            key: self.key.filter(|key| !key.is_empty()).ok_or_else(|| absent("key"))?,
            value: self.value.unwrap_or_else(|| Secret::new("")),
            category: self.category.ok_or_else(|| absent("category"))?,
            hcl: self.hcl,
            sensitive: self.sensitive,
        })
    }
}

fn resource(view: &VariableView) -> Resource {
    let variable = &view.variable;
    let value = (!variable.sensitive).then(|| variable.value.expose());
    let attributes = json!({
        "key": variable.key,
        "value": value,
        "category": variable.category,
        "hcl": variable.hcl,
        "sensitive": variable.sensitive,
    });
    Resource::new("vars", &view.id, attributes).with("workspace", "workspaces", Some(&view.workspace))
}

pub(in crate::server) async fn list(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Asked(listing): Asked<Listing>,
) -> Answer {
    let all = server.read_as(&bearer, |state| {
        let workspaces = match &listing.workspace {
            Some(workspace) => vec![workspace.clone()],
            None => state.workspaces().into_iter().map(|view| view.id).collect(),
        };
        let of = |id| state.variables(id).unwrap_or_default();
        workspaces.iter().flat_map(of).map(|view| resource(&view)).collect()
    })?;
    Ok(many(all, &listing))
}

pub(in crate::server) async fn create(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Once(key): Once,
    sent: Sent<VariableAttributes>,
) -> Answer {
    let workspace = sent.workspace()?;
    let variable = sent.0.attributes.variable()?;
    let reply = server.change(&bearer, key, PublicCall::CreateVariable { workspace, variable })?;
    let Reply::Variable(id) = reply else { return Err(odd()) };
    let view = server.read(|state| state.variable(&id)).ok_or_else(|| missing("variable", &id))?;
    Ok(one(StatusCode::CREATED, resource(&view)))
}

pub(in crate::server) async fn delete(
    State(server): State<Server>,
    Of(id): Of<String>,
    Bearer(bearer): Bearer,
    Once(key): Once,
) -> Answer {
    let variable = VariableId::new(&id);
    let Reply::Done = server.change(&bearer, key, PublicCall::DeleteVariable { variable })? else {
        return Err(odd());
    };
    Ok(nothing(StatusCode::NO_CONTENT))
}
