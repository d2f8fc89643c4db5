//! What is to be done, checked.

use std::path::{Path, PathBuf};

use hyper_common::config::{Config, ContextDraft};
use hyper_common::error::{Error, Result};
use serde::Serialize;

use crate::args::{AddArgs, ContextArgs, Verb};

/// What is to be done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Show all contexts.
    List,
    /// Add one.
    Add(Addition),
    /// Make one the current.
    Use(String),
    /// Remove one.
    Remove(String),
    /// Ask them whether they answer.
    Test(Vec<String>),
    /// Show the facets of one.
    Capabilities(String),
}

/// A context to be added.
#[derive(Debug, Serialize)]
pub struct Addition {
    pub name: String,
    pub provider: String,
    pub path: Option<PathBuf>,
    pub title: Option<String>,
    pub make_current: bool,
}

impl Request {
    /// Checks the arguments.
    ///
    /// # Errors
    /// `NotFound` for a folder or a context that is not there.
    pub fn new(args: ContextArgs, config: &Config) -> Result<Self> {
        Ok(match args.verb {
            Verb::List(_) => Self::List,
            Verb::Add(args) => Self::Add(Addition::new(args)?),
            Verb::Use(args) => Self::Use(config.context(&args.name)?.name),
            Verb::Remove(args) => Self::Remove(config.context(&args.name)?.name),
            Verb::Test(args) => {
                // Typed names win over `--all-contexts` from elsewhere.
                let all = args.all_contexts && args.names.is_empty();
                let contexts = config.select(&args.names, all)?;
                Self::Test(contexts.into_iter().map(|context| context.name).collect())
            }
            Verb::Capabilities(args) => {
                let name = args.name.as_deref().unwrap_or(config.current_context());
                Self::Capabilities(config.context(name)?.name)
            }
        })
    }
}

impl Addition {
    fn new(args: AddArgs) -> Result<Self> {
        let AddArgs { name, provider, path, title, make_current, .. } = args;
        let path = path.as_deref().map(folder).transpose()?;
        Ok(Self { name, provider, path, title, make_current })
    }

    /// The entry of the configuration.
    pub fn draft(self) -> ContextDraft {
        let Self { name, provider, path, title, .. } = self;
        ContextDraft { name, provider, path, title, namespace: None, server: None }
    }
}

/// The folder by its absolute path, so that the context means the same from everywhere.
fn folder(path: &Path) -> Result<PathBuf> {
    let subject = || path.display().to_string();
    let absolute = std::fs::canonicalize(path)
        .map_err(|error| Error::io("look for the folder", error).with_subject(subject()))?;
    if absolute.is_dir() {
        return Ok(absolute);
    }
    Err(Error::usage("this is not a folder")
        .with_subject(subject())
        .with_hint("a context names the folder that holds machines"))
}
