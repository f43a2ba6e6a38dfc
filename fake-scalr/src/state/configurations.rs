//! Configuration versions: what is planned and applied. Their bytes come once and never change.

use jiff::Timestamp;
use scalr_protocol::{
    blob::{BlobKind, BlobRef, Digest},
    error::{ApiError, ErrorCode},
    id::WorkspaceId,
};
use serde::{Deserialize, Serialize};

use super::{Now, Reply, State, ids::ConfigurationVersionId, tokens::not_found};

/// A configuration version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConfigurationVersion {
    pub(super) workspace: WorkspaceId,
    pub(super) blob: Option<BlobRef>,
    pub(super) created_at: Timestamp,
}

impl State {
    pub(super) fn create_configuration(
        &mut self,
        now: Now,
        workspace: WorkspaceId,
    ) -> Result<Reply, ApiError> {
        self.workspace_at(&workspace)?;
        let id = ConfigurationVersionId::new(&self.new_id(now, "cv"));
        let configuration = ConfigurationVersion { workspace, blob: None, created_at: now.wall };
        self.configuration_versions.insert(id.clone(), configuration);
        self.touch_and_wake();
        Ok(Reply::ConfigurationVersion(id))
    }

    pub(super) fn configuration_uploaded(
        &mut self,
        id: ConfigurationVersionId,
        bytes: u64,
        sha256: Digest,
    ) -> Result<Reply, ApiError> {
        let configuration = self.configuration_versions.get_mut(&id);
        let configuration = configuration.ok_or_else(|| not_found("configuration version", id.as_str()))?;
        let blob = BlobRef { kind: BlobKind::ConfigurationVersion, bytes, sha256 };
        match &configuration.blob {
            Some(stored) if *stored == blob => {}
            Some(stored) => {
                let detail = format!("{id} is there with {:?}: create another", stored.sha256);
                return Err(ApiError::new(ErrorCode::Differs, detail));
            }
            None => {
                configuration.blob = Some(blob);
                let workspace = configuration.workspace.clone();
                self.change_workspace(&workspace, |workspace| {
                    workspace.latest_configuration = Some(id.clone());
                });
            }
        }
        Ok(Reply::ConfigurationVersion(id))
    }
}
