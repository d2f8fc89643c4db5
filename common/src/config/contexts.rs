//! Contexts: named endpoints, and how references name one.

use std::path::{Path, PathBuf};

use super::file::{self, ContextEntry, Mistake};
use super::kube::{KUBE, KubeContext};
use super::{Config, GOVC, KubeTarget, PasswordSource, Server, Surroundings, suggest};
use crate::error::{Error, ErrorKind, Result};

/// The context that always exists: plain files, seen from the current directory unless the
/// configuration gives it a path.
pub const LOCAL: &str = "local";

/// The most names of contexts in a hint.
const MOST_NAMES: usize = 3;

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
    /// The namespace that is looked at: the one of the flags, else the context's own.
    pub namespace: Option<String>,
    /// Whether all namespaces are looked at where several can be.
    pub all_namespaces: bool,
    /// The cluster, where it is one.
    pub kube: Option<KubeTarget>,
    /// How its server is reached, where its platform has one.
    pub server: Option<Server>,
    /// Whether it stands in the file.
    pub configured: bool,
    /// What the running program offers to its provider.
    pub surroundings: Surroundings,
}

impl Config {
    /// All contexts: those of the file by name, led by `local` and by `govc`, where the
    /// environment makes that, unless they are configured; then those of the kubeconfig.
    pub fn contexts(&self) -> Vec<ContextConfig> {
        let entries = &self.document.contexts;
        let builtin = [LOCAL, GOVC].into_iter().filter(|name| !entries.contains_key(*name));
        let clusters = self.kube.contexts().iter();
        let clusters = clusters.map(|cluster| self.cluster(&self.shown(&cluster.name), cluster));
        builtin
            .filter_map(|name| self.builtin(name))
            .chain(entries.iter().map(|(name, entry)| self.describe(name, entry)))
            .chain(clusters)
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
        if let Some(cluster) = self.kube.find(name) {
            return Ok(self.cluster(name, cluster));
        }
        // A kubeconfig that cannot be read may hold it.
        self.kube.check()?;
        if name == KUBE && self.kube.is_missing() {
            let files: Vec<_> = self.kube.files().iter().map(|it| it.display()).collect();
            let files = files.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::new(ErrorKind::Config, "there is no kubeconfig")
                .with_subject(if files.is_empty() { "KUBECONFIG".to_owned() } else { files })
                .with_hint("name one with --kubeconfig or KUBECONFIG, or a context with -c"));
        }
        if name == KUBE {
            return Err(Error::new(ErrorKind::Config, "the kubeconfig has no current context")
                .with_hint("name one with --context, or a kubeconfig with --kubeconfig"));
        }
        if name == GOVC {
            return Err(Error::not_found("there is no context \"govc\"")
                .with_hint("set GOVC_URL: it makes this context"));
        }
        let known = self.names();
        let known = known.iter().map(String::as_str);
        let error = Error::not_found(format!("there is no context {name:?}"));
        Err(match suggest::closest(name, known) {
            Some(close) => error.with_hint(format!("did you mean {close:?}?")),
            None => error.with_hint("`hyper context list` shows all contexts"),
        })
    }

    /// The context used where none is named. Where a flag that only clusters have was given, or
    /// kubectl is the caller, it is the kubeconfig's current one, unless the configuration's is a
    /// cluster as well; else `current_context`, else `govc` where the environment makes that, else
    /// `local`.
    pub fn current_context(&self) -> &str {
        let chosen = self.chosen();
        let is_cluster = |name: &&str| self.context(name).is_ok_and(|it| it.kube.is_some());
        if self.scope.means_cluster() && !chosen.as_ref().is_some_and(is_cluster) {
            // Without a current one it stands for none, and says so when it is looked up.
            return self.kube.current().unwrap_or(KUBE);
        }
        chosen.unwrap_or(if self.govc.is_some() { GOVC } else { LOCAL })
    }

    /// What the file has as its current context.
    pub(super) fn chosen(&self) -> Option<&str> {
        self.document.current_context.as_ref().map(|name| name.value.as_str())
    }

    /// The context that [`Config::current_context`] names. Whether the file's is one is seen only
    /// here: it may come from the environment, and who names another has no need of it.
    ///
    /// # Errors
    /// `Config`, naming file and line, where the file's is no context; `Config` for a kubeconfig
    /// that has none.
    pub fn current(&self) -> Result<ContextConfig> {
        let name = self.current_context();
        self.context(name).map_err(|error| match &self.document.current_context {
            Some(chosen) if chosen.value == name && error.kind() == ErrorKind::NotFound => {
                let (message, hint) = if name == GOVC {
                    let hint = "set it, or choose another with `hyper context use`".to_owned();
                    ("the context \"govc\" needs GOVC_URL".to_owned(), hint)
                } else {
                    let known = self.contexts();
                    let hint = file::meant(name, known.iter().map(|it| it.name.as_str()));
                    (format!("there is no context {name:?}"), hint)
                };
                let message = format!("current_context: {message}");
                let mistake = Mistake::at(chosen.referenced, message, Some(hint));
                file::located(&self.path, mistake)
            }
            _ => error,
        })
    }

    /// The context of this name, else the current one.
    ///
    /// # Errors
    /// As [`Config::context`] and [`Config::current`].
    pub fn named_or_current(&self, name: Option<&str>) -> Result<ContextConfig> {
        name.map_or_else(|| self.current(), |name| self.context(name))
    }

    /// How another context is chosen, where there are some and `local` is the current one only
    /// because nobody has chosen any.
    pub fn hint_where_none_is_chosen(&self) -> Option<String> {
        let chosen = self.document.current_context.is_some() || self.govc.is_some();
        if chosen || self.scope.means_cluster() {
            return None;
        }
        let others = self.contexts().into_iter().map(|it| it.name);
        let others: Vec<_> = others.filter(|name| name != LOCAL).collect();
        let some = others.get(..MOST_NAMES.min(others.len()))?.join(", ");
        let more = if others.len() > MOST_NAMES { ", …" } else { "" };
        (!others.is_empty()).then(|| {
            format!(
                "the current context is {LOCAL}; -c NAME or `hyper context use NAME` chooses \
                 another: {some}{more}"
            )
        })
    }

    /// The names of all contexts.
    fn names(&self) -> Vec<String> {
        let entries = self.document.contexts.keys().cloned();
        let builtin = [LOCAL].into_iter().chain(self.govc.is_some().then_some(GOVC));
        let clusters = self.kube.contexts().iter();
        let clusters = clusters.flat_map(|it| [it.name.clone(), format!("{KUBE}{}", it.name)]);
        entries.chain(builtin.map(str::to_owned)).chain(clusters).collect()
    }

    /// How a context of the kubeconfig is called: with a prefix where its name is taken.
    fn shown(&self, name: &str) -> String {
        let taken = self.document.contexts.contains_key(name) || self.builtin(name).is_some();
        if taken { format!("{KUBE}{name}") } else { name.to_owned() }
    }

    /// The provider of a context that does not stand in the file.
    pub(super) fn builtin_provider(&self, name: &str) -> &'static str {
        match name {
            GOVC => "vsphere",
            name if name != LOCAL && self.kube.find(name).is_some() => "kubevirt",
            _ => LOCAL,
        }
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
            return Ok(vec![self.current()?]);
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
        // Most references name none; the kubeconfig is not read for those.
        if !reference.contains(':') {
            return (None, reference);
        }
        let mut names = self.names();
        // Who names it without the variables that make it means no file of that name.
        names.push(GOVC.to_owned());
        let fits = |name: &&String| {
            reference.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(':'))
        };
        let Some(length) = names.iter().filter(fits).map(String::len).max() else {
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
            namespace: self.scope.namespace.clone().or_else(|| entry.namespace.clone()),
            all_namespaces: self.scope.all_namespaces,
            kube: (entry.provider.value == "kubevirt").then(|| self.kube_of(entry)),
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
            all_namespaces: false,
            kube: None,
            server,
            configured: false,
            surroundings: self.surroundings.clone(),
        })
    }

    /// A context of the kubeconfig.
    fn cluster(&self, name: &str, cluster: &KubeContext) -> ContextConfig {
        ContextConfig {
            name: name.to_owned(),
            provider: "kubevirt".to_owned(),
            path: None,
            title: None,
            namespace: self.scope.namespace.clone().or_else(|| cluster.namespace.clone()),
            all_namespaces: self.scope.all_namespaces,
            kube: Some(cluster.target(self.kube.files())),
            server: None,
            configured: false,
            surroundings: self.surroundings.clone(),
        }
    }

    /// The cluster that an entry of the file names: in a kubeconfig of its own, or in the usual.
    fn kube_of(&self, entry: &ContextEntry) -> KubeTarget {
        let own = entry.kubeconfig.as_deref().map(|path| vec![self.absolute(path)]);
        KubeTarget {
            files: own.unwrap_or_else(|| self.kube.files().to_vec()),
            context: entry.kube_context.clone(),
        }
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
