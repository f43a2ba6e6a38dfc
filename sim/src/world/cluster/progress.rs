//! How far a task's pod has really come on its way to running, in one sentence.
//!
//! It must never say what is not so, whatever the API server has been told.

use scalr_protocol::id::TaskId;

use super::{
    ClusterModel,
    pods::{PodRecord, Stage},
};

impl ClusterModel {
    /// How far the newest pod of a task has come; nothing where it has none.
    pub fn progress_of(&self, task: &TaskId) -> Option<String> {
        let is_its = |pod: &&PodRecord| {
            pod.spec.task == *task && (pod.is_stored || pod.local.running().next().is_some())
        };
        let pod = self.pods.values().rev().map(AsRef::as_ref).find(is_its)?;
        let Some(node) = pod.node.and_then(|node| self.nodes.get(&node)) else {
            return Some(match &pod.view.trouble {
                Some(trouble) => format!("its pod waits for a node: {}", trouble.message),
                None => "its pod waits for a node".to_owned(),
            });
        };
        let node = &node.name;
        if pod.view.is_deleting {
            return Some(format!("its pod on {node} is being deleted"));
        }
        let trouble = pod.view.trouble.as_ref().map(|trouble| format!(": {}", trouble.message));
        let trouble = trouble.unwrap_or_default();
        Some(match pod.local.stage {
            Stage::Unseen => format!("its pod is on {node}, whose kubelet has not begun with it{trouble}"),
            Stage::Mounting => format!("its volumes are being mounted on {node}{trouble}"),
            Stage::Pulling => format!("its images are being pulled on {node}{trouble}"),
            Stage::Creating => format!("its containers are being made on {node}{trouble}"),
            Stage::Running => format!("its worker comes up on {node}{trouble}"),
            Stage::Ended => format!("its pod on {node} has ended"),
        })
    }
}
