//! Where hyper keeps its own files for a user.

use std::path::PathBuf;

use etcetera::BaseStrategy;

use crate::error::{Error, ErrorKind, Result};

/// The environment variable that replaces the state folder as a whole.
const STATE_OVERRIDE: &str = "HYPER_STATE_DIR";

/// The folders of the user who runs hyper, after the XDG Base Directory Specification. Nothing
/// is made or looked at here; only the environment is read, so this is for a tool's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Configuration: `$XDG_CONFIG_HOME/hyper` or `~/.config/hyper`.
    pub config: PathBuf,
    /// The history and other state that outlives a run: `$HYPER_STATE_DIR`, else
    /// `$XDG_STATE_HOME/hyper` or `~/.local/state/hyper`.
    pub state: PathBuf,
    /// What can be had again: `$XDG_CACHE_HOME/hyper` or `~/.cache/hyper`.
    pub cache: PathBuf,
}

impl Folders {
    /// The folders that the environment names. As the specification demands, XDG variables with
    /// a relative path are ignored; a relative `HYPER_STATE_DIR` is taken from the current folder.
    ///
    /// # Errors
    /// `Config` where there is neither `HOME` nor an entry in the user database.
    pub fn from_environment() -> Result<Self> {
        let strategy = etcetera::base_strategy::Xdg::new().map_err(|e| {
            Error::new(ErrorKind::Config, "find the home folder")
                .with_source(e)
                .with_hint("set HOME, or HYPER_STATE_DIR and the XDG variables")
        })?;
        let state = match std::env::var_os(STATE_OVERRIDE).filter(|value| !value.is_empty()) {
            Some(folder) => std::path::absolute(&folder)
                .map_err(|e| Error::io("find the state folder", e).with_subject(STATE_OVERRIDE))?,
            None => strategy
                .state_dir()
                .unwrap_or_else(|| strategy.home_dir().join(".local/state"))
                .join("hyper"),
        };
        Ok(Self {
            config: strategy.config_dir().join("hyper"),
            cache: strategy.cache_dir().join("hyper"),
            state,
        })
    }

    /// The folder of the journal of runs.
    pub fn history(&self) -> PathBuf {
        self.state.join("history")
    }

    /// The folder of logins that are kept from run to run.
    pub fn sessions(&self) -> PathBuf {
        self.state.join("sessions")
    }
}
