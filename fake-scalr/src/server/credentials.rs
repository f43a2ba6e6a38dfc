//! The tokens that the server hands out when it starts, and where they are kept.
//!
//! They must never be in a log, and their files are the owner's only.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use scalr_protocol::secret::Secret;
use serde::{Deserialize, Serialize};

use super::{Server, ServerError};
use crate::state::{Command, Reply, Token};

const KEPT: &str = "tokens.json";

/// A token for people and one for agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// For the public API.
    pub user: Secret,
    /// For agents to register.
    pub agent: Secret,
}

impl Server {
    /// Gives the tokens of this server: those that were wanted, those that it had, or new ones.
    pub fn credentials(
        &self,
        data_dir: Option<&Path>,
        wanted_user: Option<Secret>,
        wanted_agent: Option<Secret>,
    ) -> Result<Credentials, ServerError> {
        let kept = data_dir.map(|dir| read(&dir.join(KEPT))).transpose()?.flatten();
        let (had_user, had_agent) = kept.map(|k| (k.user, k.agent)).unzip();
        let credentials = Credentials {
            user: self.user_token(wanted_user, had_user)?,
            agent: self.agent_token(wanted_agent, had_agent)?,
        };
        if let Some(dir) = data_dir {
            let text = serde_json::to_vec(&credentials).map_err(ServerError::Unreadable)?;
            write_private(&dir.join(KEPT), &text).map_err(ServerError::Store)?;
        }
        Ok(credentials)
    }

    fn user_token(&self, wanted: Option<Secret>, had: Option<Secret>) -> Result<Secret, ServerError> {
        if let Some(had) = had.filter(|had| wanted.as_ref().is_none_or(|wanted| wanted == had)) {
            return Ok(had);
        }
        let text = wanted.map(|wanted| Token::new(wanted.expose()));
        match self.apply(Command::IssueUserToken { name: "user".to_owned(), text }) {
            Ok(Reply::UserToken(token)) => Ok(Secret::new(token.expose())),
            Ok(reply) => unreachable!("a user token is answered with a token, not with {reply:?}"),
            Err(error) => Err(ServerError::Token(error)),
        }
    }

    fn agent_token(&self, wanted: Option<Secret>, had: Option<Secret>) -> Result<Secret, ServerError> {
        if let Some(had) = had.filter(|had| wanted.as_ref().is_none_or(|wanted| wanted == had)) {
            return Ok(had);
        }
        let text = wanted.map(|wanted| Token::new(wanted.expose()));
        match self.apply(Command::IssuePoolToken { description: "serve".to_owned(), text }) {
            Ok(Reply::PoolToken { text, .. }) => Ok(Secret::new(text.expose())),
            Ok(reply) => unreachable!("a pool token is answered with a token, not with {reply:?}"),
            Err(error) => Err(ServerError::Token(error)),
        }
    }
}

fn read(path: &Path) -> Result<Option<Credentials>, ServerError> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(ServerError::Unreadable),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ServerError::Store(e)),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    // One that is left over may have other rights.
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text)?;
    fs::rename(&temporary, path)
}
