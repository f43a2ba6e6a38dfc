//! What the server says of runs, workspaces and states, and what a story does to it behind everybody's back.
//!
//! It goes by the public API, as a person would. It must never look into a file of the server's.

use fake_scalr::resource::Resource;
use serde_json::Value;

use super::{OVER, Rig, plain};

impl Rig {
    /// A run as the public API shows it.
    pub(crate) fn run(&self, run: &str) -> Resource {
        self.get(&format!("runs/{run}"))
    }

    /// A resource of the public API.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Resource {
        match self.web.borrow().as_ref().expect("a server").get(path) {
            Ok(resource) => resource,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Everything that the server knows.
    pub(crate) fn inspect(&self) -> Value {
        self.web.borrow().as_ref().expect("a server").inspect()
    }

    /// Revokes all tokens of the agent pool.
    pub(crate) fn revoke_pool_tokens(&self) {
        self.web.borrow().as_ref().expect("a server").revoke_pool_tokens();
    }

    /// Sets a fault of the server.
    pub(crate) fn fault(&self, fault: &Value) {
        self.web.borrow().as_ref().expect("a server").post("/fake/faults", fault);
    }

    /// Forgets all faults.
    pub(crate) fn clear_faults(&self) {
        self.web.borrow().as_ref().expect("a server").clear_faults();
    }

    /// Locks the state of a workspace as a tool elsewhere would.
    pub(crate) fn lock_state(&self, workspace: &str, lock: &Value) {
        let workspace = self.workspace(workspace).id;
        let path = format!("/api/agent/v1/workspaces/{workspace}/state");
        self.web.borrow().as_ref().expect("a server").send("LOCK", &path, lock);
    }

    /// A workspace by its name.
    pub(crate) fn workspace(&self, name: &str) -> Resource {
        let listed =
            self.web.borrow().as_ref().expect("a server").list(&format!("workspaces?filter[name]={name}"));
        listed.into_iter().next().expect("the workspace")
    }

    /// The state of a workspace, if it has one.
    pub(crate) fn state(&self, workspace: &str) -> Option<Value> {
        let workspace = self.workspace(workspace).id;
        let web = self.web.borrow();
        let web = web.as_ref().expect("a server");
        let version = web.get(&format!("workspaces/{workspace}/current-state-version")).ok()?;
        Some(web.download(&format!("state-versions/{}/download", version.id)))
    }

    /// The names of the resources in the state of a workspace.
    pub(crate) fn resources(&self, workspace: &str) -> Vec<String> {
        let state = self.state(workspace).unwrap_or_default();
        let name = |resource: &Value| Some(resource["name"].as_str()?.to_owned());
        state["resources"].as_array().into_iter().flatten().filter_map(name).collect()
    }

    /// The console of a run, without colours.
    pub(crate) fn console(&self, run: &str) -> String {
        plain(&self.does(&["logs", run]))
    }

    /// The status of a run.
    pub(crate) fn status(&self, run: &str) -> String {
        text_of(&self.run(run), "status")
    }

    /// Why a run waits.
    pub(crate) fn waits(&self, run: &str) -> String {
        text_of(&self.run(run), "waiting-reason")
    }

    /// What went wrong in a run.
    pub(crate) fn error(&self, run: &str) -> String {
        text_of(&self.run(run), "error-message")
    }

    /// Waits until a run is so, and fails at once when it will never be.
    #[track_caller]
    pub(crate) fn await_status(&self, run: &str, status: &str) {
        let mut now = String::new();
        self.until(&format!("{run} is {status}"), || {
            now = self.status(run);
            now == status || OVER.contains(&now.as_str())
        });
        assert_eq!(now, status, "{run}: {}", self.error(run));
    }
}

fn text_of(resource: &Resource, attribute: &str) -> String {
    resource.attributes[attribute].as_str().unwrap_or_default().to_owned()
}
