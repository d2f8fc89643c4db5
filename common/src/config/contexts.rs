//! Contexts: named endpoints, and how references name one.

use std::path::{Path, PathBuf};

use super::file::ContextEntry;
use super::{Config, GOVC, PasswordSource, Server, Surroundings, suggest};
use crate::error::{Error, Result};

/// The context that always exists: plain files, seen from the current directory unless the
/// configuration gives it a path.
pub const LOCAL: &str = "local";

/// A context with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextConfig {
    /// Its name; may hold `:` and `/`.
    pub name: String,
    /// The provider that serves it, one of [`super::PROVIDERS`].
    pub provider: String,
    /// The directory of a local context, made absolute against the file's folder, `~` expanded;
    /// `None` means the current directory.
    pub path: Option<PathBuf>,
    /// A few words for lists.
    pub title: Option<String>,
    /// The namespace used where none is given.
    pub namespace: Option<String>,
    /// How its server is reached, where its platform has one.
    pub server: Option<Server>,
    /// Whether it stands in the file.
    pub configured: bool,
    /// What the running program offers to its provider.
    pub surroundings: Surroundings,
}

impl Config {
    /// All contexts: those of the file by name, led by `local` and by `govc`, where the
    /// environment makes that, unless they are configured.
    pub fn contexts(&self) -> Vec<ContextConfig> {
        let entries = &self.document.contexts;
        let builtin = [LOCAL, GOVC].into_iter().filter(|name| !entries.contains_key(*name));
        builtin
            .filter_map(|name| self.builtin(name))
            .chain(entries.iter().map(|(name, entry)| self.describe(name, entry)))
            .collect()
    }

    /// The context called `name`.
    ///
    /// # Errors
    /// `NotFound`, with a suggestion.
    pub fn context(&self, name: &str) -> Result<ContextConfig> {
        if let Some(entry) = self.document.contexts.get(name) {
            return Ok(self.describe(name, entry));
        }
        if let Some(builtin) = self.builtin(name) {
            return Ok(builtin);
        }
        if name == GOVC {
            return Err(Error::not_found("there is no context \"govc\"")
                .with_hint("set GOVC_URL: it makes this context"));
        }
        let known = self.names();
        let error = Error::not_found(format!("there is no context {name:?}"));
        Err(match suggest::closest(name, known) {
            Some(close) => error.with_hint(format!("did you mean {close:?}?")),
            None => error.with_hint("`hyper context list` shows all contexts"),
        })
    }

    /// The context used where none is named: `current_context`, else `govc` where the
    /// environment makes that, else `local`.
    pub fn current_context(&self) -> &str {
        let chosen = self.document.current_context.as_ref();
        chosen.map_or_else(|| self.current_where_none_is_chosen(), |name| name.value.as_str())
    }

    pub(super) fn current_where_none_is_chosen(&self) -> &'static str {
        if self.govc.is_some() { GOVC } else { LOCAL }
    }

    /// The names of all contexts.
    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let entries = self.document.contexts.keys().map(String::as_str);
        entries.chain([LOCAL]).chain(self.govc.is_some().then_some(GOVC))
    }

    /// The contexts that `--context` and `--all-contexts` select, in the order given, each once;
    /// the current one when neither is given.
    ///
    /// # Errors
    /// `NotFound` for a name that is no context.
    pub fn select(&self, names: &[String], all: bool) -> Result<Vec<ContextConfig>> {
        if all {
            return Ok(self.contexts());
        }
        if names.is_empty() {
            return Ok(vec![self.context(self.current_context())?]);
        }
        let mut selected: Vec<ContextConfig> = Vec::with_capacity(names.len());
        for name in names {
            if !selected.iter().any(|context| context.name == *name) {
                selected.push(self.context(name)?);
            }
        }
        Ok(selected)
    }

    /// Splits `context:rest` where a known context leads: the longest known name followed by `:`
    /// wins. A reference without one is all rest.
    pub fn split_reference<'r>(&self, reference: &'r str) -> (Option<&'r str>, &'r str) {
        let fits =
            |name: &&str| reference.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
        let Some(length) = self.names().filter(fits).map(str::len).max() else {
            return (None, reference);
        };
        (reference.get(..length), reference.get(length + 1..).unwrap_or_default())
    }

    fn describe(&self, name: &str, entry: &ContextEntry) -> ContextConfig {
        ContextConfig {
            name: name.to_owned(),
            provider: entry.provider.value.clone(),
            path: entry.path.as_deref().map(|path| self.absolute(path)),
            title: entry.title.clone(),
            namespace: entry.namespace.clone(),
            server: entry.url.as_ref().map(|url| self.server(name, url, entry)),
            configured: true,
            surroundings: self.surroundings.clone(),
        }
    }

    fn server(&self, name: &str, url: &str, entry: &ContextEntry) -> Server {
        let all = |paths: &[PathBuf]| paths.iter().map(|path| self.absolute(path)).collect();
        let given = self.passwords.get(name).cloned().map(PasswordSource::Given);
        let file = entry.password_file.as_deref().map(|path| self.absolute(path));
        let passwords = [
            given,
            Some(PasswordSource::Stored(self.password_file(name))),
            file.map(PasswordSource::File),
            entry.password_command.clone().map(PasswordSource::Command),
            Some(PasswordSource::Ask),
        ];
        Server {
            url: url.to_owned(),
            user: entry.user.clone(),
            user_may_be_file: false,
            datacenter: entry.datacenter.clone(),
            ca_files: all(&entry.ca_file.0),
            thumbprint: entry.thumbprint.clone(),
            known_hosts: Vec::new(),
            insecure: entry.insecure,
            passwords: passwords.into_iter().flatten().collect(),
        }
    }

    /// A context that needs no configuration.
    fn builtin(&self, name: &str) -> Option<ContextConfig> {
        let (provider, server) = match name {
            LOCAL => (LOCAL, None),
            GOVC => ("vsphere", Some(self.govc.clone()?)),
            _ => return None,
        };
        Some(ContextConfig {
            name: name.to_owned(),
            provider: provider.to_owned(),
            path: None,
            title: None,
            namespace: None,
            server,
            configured: false,
            surroundings: self.surroundings.clone(),
        })
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        if let Ok(below) = path.strip_prefix("~")
            && let Ok(home) = etcetera::home_dir()
        {
            return home.join(below);
        }
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }
}

/// Whether `name` can name a context.
///
/// # Errors
/// A sentence that says why not.
pub fn check_name(name: &str) -> std::result::Result<(), String> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || c == ',';
    match name {
        "" => Err("a context needs a name".to_owned()),
        name if name.starts_with(['-', '@', ':']) => {
            Err(format!("a context cannot be called {name:?}: it starts with - or @ or :"))
        }
        name if name.contains(bad) => {
            Err(format!("a context cannot be called {name:?}: no spaces and no commas"))
        }
        _ => Ok(()),
    }
}
