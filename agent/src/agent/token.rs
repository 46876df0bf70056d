//! The token with which an agent enrols.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use muster_core::token::MAX_TOKEN;

use crate::link::Secret;

/// Where the token is. It is needed once, to enrol.
#[derive(Debug, Clone, Default, Args)]
pub struct TokenSource {
    /// What lets a new agent enrol (muster token create)
    #[arg(long, env = "MUSTER_TOKEN", hide_env_values = true)]
    pub token: Option<Secret>,
    /// A file that holds it, such as enrol.token in the directory of muster up
    #[arg(long, value_name = "FILE", env = "MUSTER_TOKEN_FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
}

impl TokenSource {
    /// The token.
    ///
    /// # Errors
    /// When none was given, its file cannot be read, or it is none.
    pub fn read(&self) -> anyhow::Result<Secret> {
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => token.0.clone(),
            (None, Some(file)) => {
                fs::read_to_string(file).with_context(|| format!("the token file {}", file.display()))?
            }
            (None, None) => anyhow::bail!(
                "this agent is not enrolled yet and has no token. Make one (muster token create) and start it with \
                 --token, --token-file or MUSTER_TOKEN"
            ),
        };
        let token = token.trim();
        ensure!(!token.is_empty(), "the token is empty");
        ensure!(token.len() <= MAX_TOKEN, "the token has {} bytes; at most {MAX_TOKEN} are sent", token.len());
        Ok(Secret(token.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn given_or_in_a_file_or_missing() {
        let given = |token: &str| TokenSource { token: Some(Secret(token.to_owned())), token_file: None };
        assert_eq!(given("t").read().unwrap().0, "t");
        assert!(given(" ").read().is_err() && given(&"t".repeat(MAX_TOKEN + 1)).read().is_err());
        assert!(TokenSource::default().read().unwrap_err().to_string().contains("muster token create"));
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("token");
        let of_file = TokenSource { token: None, token_file: Some(file.clone()) };
        assert!(of_file.read().unwrap_err().to_string().contains("token file"));
        std::fs::write(file, "t\n").unwrap();
        assert_eq!(of_file.read().unwrap().0, "t");
    }
}
