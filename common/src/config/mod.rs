//! The configuration file: named contexts, defaults for flags, aliases.
//!
//! In: finding, reading and checking the file ([`Config`]), contexts and how a reference names
//! one ([`ContextConfig`]), where their passwords may come from. Not in: passwords, which never
//! stand in this file, and reading them. The file is
//! strict: an unknown key or flag is an error with a suggestion. `man 5 hyper-config` shows it.

mod contexts;
mod defaults;
mod edit;
mod file;
mod govc;
mod kube;
mod secret;
mod server;
mod suggest;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub use self::contexts::{ContextConfig, LOCAL, check_name};
pub use self::defaults::{DESTRUCTIVE, FlagDefaults, known_flags};
pub use self::edit::ContextDraft;
use self::file::Document;
pub use self::govc::{Address, GOVC, split as split_url};
pub use self::kube::{KUBE, KubeTarget, Kubeconfig, Scope};
pub use self::secret::Secret;
pub use self::server::{Ask, Login, LoginKind, Logins, PasswordSource, Server, Surroundings};
pub use self::suggest::closest;
use crate::error::{Error, ErrorKind, Result};

/// The providers that a context may name in this release.
pub const PROVIDERS: &[&str] = &["kubevirt", "local", "vsphere"];

/// The folder beside the configuration that holds a context's password in a file of its name.
const CREDENTIALS: &str = "credentials";

/// The configuration of one run: the file's content, or nothing where there is no file.
#[derive(Debug, Clone, Default)]
pub struct Config {
    path: PathBuf,
    text: Option<String>,
    document: Document,
    govc: Option<Server>,
    kube: Kubeconfig,
    scope: Scope,
    passwords: BTreeMap<String, Secret>,
    surroundings: Surroundings,
}

impl Config {
    /// Where the file is: `$HYPER_CONFIG`, else `hyper/config.yaml` in `$XDG_CONFIG_HOME`, else in
    /// `~/.config`. `variable` looks up an environment variable. Empty variables count as unset,
    /// and so does a relative `XDG_CONFIG_HOME` (XDG Base Directory Specification).
    ///
    /// # Errors
    /// `Config` where none of the variables and no `HOME` is set.
    pub fn location(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<PathBuf> {
        let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(file) = set("HYPER_CONFIG") {
            return Ok(file);
        }
        let folder = set("XDG_CONFIG_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| set("HOME").map(|home| home.join(".config")));
        folder.map(|folder| folder.join("hyper/config.yaml")).ok_or_else(|| {
            Error::new(ErrorKind::Config, "cannot tell where the configuration file is")
                .with_hint("set HOME or HYPER_CONFIG")
        })
    }

    /// Reads and checks the file; a missing file is an empty configuration.
    ///
    /// # Errors
    /// `Config`, naming file and line, for an unknown key or flag (with a suggestion), a wrong
    /// type or value, a context that is not there, or a file that cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self { path: path.to_owned(), ..Self::default() })
            }
            Err(error) => {
                Err(Error::new(ErrorKind::Config, "read the configuration").with_source(error))
                    .map_err(|error| error.with_subject(path.display().to_string()))
            }
        }
    }

    /// Checks `text` as the content of the file at `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: String) -> Result<Self> {
        let document = file::parse(&text).map_err(|error| file::located(path, error))?;
        Ok(Self { path: path.to_owned(), text: Some(text), document, ..Self::default() })
    }

    /// The same with what the environment says: the context of govc's variables, those of the
    /// kubeconfig, and `HYPER_<CONTEXT>_PASSWORD` for the contexts of the file. `variable` looks
    /// one up.
    #[must_use]
    pub fn with_environment(mut self, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        self.govc = govc::server(&variable);
        self.kube = Kubeconfig::from_environment(&variable);
        for name in self.document.contexts.keys() {
            let value = variable(&password_variable(name)).and_then(|it| it.into_string().ok());
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                self.passwords.insert(name.clone(), Secret::new(value));
            }
        }
        self
    }

    /// The same with what the running program offers to platforms.
    #[must_use]
    pub fn with_surroundings(mut self, surroundings: Surroundings) -> Self {
        self.surroundings = surroundings;
        self
    }

    /// The same as the flags `--kubeconfig`, `--namespace` and `--all-namespaces` narrow it.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        if let Some(file) = &scope.kubeconfig {
            self.kube = Kubeconfig::of_files(vec![file.clone()]);
        }
        self.scope = scope;
        self
    }

    /// The logins of this run, those to come included.
    pub fn logins_of_run(&self) -> Logins {
        self.surroundings.logins.clone()
    }

    /// The file that holds the password of the context `name`, if there is any: beside the
    /// configuration, never in it.
    pub fn password_file(&self, name: &str) -> PathBuf {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        folder.join(CREDENTIALS).join(name)
    }

    /// Where the file is or would be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Words that stand for others in front of `hyper`'s arguments, by name.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.document.aliases.iter().map(|(name, words)| (name.as_str(), words.as_str()))
    }

    /// The defaults for flags that apply to a run on `context`, or on none or several
    /// contexts (`None`): the context's own before its provider's before the common ones.
    pub fn flag_defaults(&self, context: Option<&str>) -> FlagDefaults {
        let mut merged = FlagDefaults::default();
        merged.add("defaults", &self.document.defaults);
        let Some(context) = context else { return merged };
        let entry = self.document.contexts.get(context);
        let provider = entry
            .map_or_else(|| self.builtin_provider(context), |entry| entry.provider.value.as_str());
        if let Some(provider_entry) = self.document.providers.get(provider) {
            merged.add(&format!("providers.{provider}.defaults"), &provider_entry.defaults);
        }
        if let Some(entry) = entry {
            merged.add(&format!("contexts.{context}.defaults"), &entry.defaults);
        }
        merged
    }
}

/// `HYPER_<NAME>_PASSWORD`, the name in capitals, other characters than letters and digits as `_`.
fn password_variable(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("HYPER_{}_PASSWORD", name.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests;
