//! The contexts of a kubeconfig, each of which is one of hyper's without any configuration. Only
//! names and namespaces are read here, and only when they are asked for: what the file says about
//! servers and credentials is for the provider.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};

/// Before the name of a kubeconfig's context: reaches one whose name is taken by another.
pub const KUBE: &str = "kube/";

/// The context that a pod has without any kubeconfig.
const IN_CLUSTER: &str = "in-cluster";

/// Where a pod finds the token of its service account, and its own namespace.
const POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What the flags say about clusters: which kubeconfig, which namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--namespace`.
    pub namespace: Option<String>,
    /// `--all-namespaces`.
    pub all_namespaces: bool,
    /// Whether kubectl is the caller.
    pub plugin: bool,
}

impl Scope {
    /// Whether somebody who names no context means a cluster.
    pub(super) fn means_cluster(&self) -> bool {
        self.plugin || self.kubeconfig.is_some() || self.namespace.is_some() || self.all_namespaces
    }
}

/// How the provider finds a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeTarget {
    /// The kubeconfig, in parts that are merged as kubectl does; none for the pod's own.
    pub files: Vec<PathBuf>,
    /// The context in it; `None` for its current one.
    pub context: Option<String>,
}

/// One context of a kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KubeContext {
    pub name: String,
    pub namespace: Option<String>,
    in_cluster: bool,
}

impl KubeContext {
    /// How it is found.
    pub fn target(&self, files: &[PathBuf]) -> KubeTarget {
        let files = if self.in_cluster { Vec::new() } else { files.to_vec() };
        KubeTarget { files, context: (!self.in_cluster).then(|| self.name.clone()) }
    }
}

/// A kubeconfig that is read when it is first needed. Clones share what was read.
#[derive(Debug, Clone, Default)]
pub struct Kubeconfig {
    files: Vec<PathBuf>,
    /// Files that were named must be there, the usual one need not.
    named: bool,
    /// The folder of a pod's credentials, in a pod.
    pod: Option<PathBuf>,
    read: Arc<OnceLock<std::result::Result<Content, (PathBuf, String)>>>,
}

#[derive(Debug, Default)]
struct Content {
    contexts: Vec<KubeContext>,
    current: Option<String>,
    /// Whether there is no file at all.
    missing: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    contexts: Vec<Named>,
    #[serde(rename = "current-context")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    context: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    namespace: Option<String>,
}

impl Kubeconfig {
    /// The files that `KUBECONFIG` names, else `~/.kube/config`, else the pod's own credentials.
    pub(super) fn from_environment(variable: &impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let named = set("KUBECONFIG").map(|list| {
            std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect()
        });
        let usual = || set("HOME").map(|home| vec![PathBuf::from(home).join(".kube/config")]);
        Self {
            named: named.is_some(),
            files: named.or_else(usual).unwrap_or_default(),
            pod: set("KUBERNETES_SERVICE_HOST")
                .map(|_| PathBuf::from(POD))
                .filter(|pod| pod.join("token").exists()),
            read: Arc::default(),
        }
    }

    /// These files and no others.
    pub(super) fn of_files(files: Vec<PathBuf>) -> Self {
        Self { files, named: true, ..Self::default() }
    }

    /// Its files.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// All contexts, by name; none where the file cannot be read.
    pub(super) fn contexts(&self) -> &[KubeContext] {
        self.content().map_or(&[], |content| &content.contexts)
    }

    /// The context of a name, with or without [`KUBE`] before it.
    pub(super) fn find(&self, name: &str) -> Option<&KubeContext> {
        let find = |name: &str| self.contexts().iter().find(|it| it.name == name);
        find(name).or_else(|| find(name.strip_prefix(KUBE)?))
    }

    /// The context that the kubeconfig has as its current one.
    pub(super) fn current(&self) -> Option<&str> {
        self.content().ok()?.current.as_deref()
    }

    /// Whether it could be read.
    ///
    /// # Errors
    /// `Config`, naming the file.
    pub(super) fn check(&self) -> Result<()> {
        self.content().map(drop).map_err(|(path, reason)| {
            Error::new(ErrorKind::Config, "read the kubeconfig")
                .with_subject(path.display().to_string())
                .with_source(reason.clone())
        })
    }

    /// Whether there is none.
    pub(super) fn is_missing(&self) -> bool {
        self.content().is_ok_and(|content| content.missing)
    }

    fn content(&self) -> std::result::Result<&Content, &(PathBuf, String)> {
        self.read.get_or_init(|| self.load()).as_ref()
    }

    fn load(&self) -> std::result::Result<Content, (PathBuf, String)> {
        let mut content = Content::default();
        let mut found = false;
        for path in &self.files {
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                // As kubectl: a part that is missing is passed over, a single file must be there.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    if self.named && self.files.len() == 1 {
                        return Err((path.clone(), error.to_string()));
                    }
                    continue;
                }
                Err(error) => return Err((path.clone(), error.to_string())),
            };
            found = true;
            let file = parse(&text).map_err(|reason| (path.clone(), reason))?;
            for Named { name, context } in file.contexts {
                // The first part that has a name wins.
                if !content.contexts.iter().any(|it| it.name == name) {
                    let namespace = context.and_then(|it| it.namespace);
                    let namespace = namespace.filter(|namespace| !namespace.is_empty());
                    content.contexts.push(KubeContext { name, namespace, in_cluster: false });
                }
            }
            let current = file.current_context.filter(|name| !name.is_empty());
            content.current = content.current.take().or(current);
        }
        content.missing = !found && self.pod.is_none();
        if let Some(pod) = self.pod.as_ref().filter(|_| !found) {
            let name = IN_CLUSTER.to_owned();
            content.current = Some(name.clone());
            let namespace = std::fs::read_to_string(pod.join("namespace")).ok();
            let namespace = namespace.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
            content.contexts.push(KubeContext { name, namespace, in_cluster: true });
        }
        content.contexts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(content)
    }
}

fn parse(text: &str) -> std::result::Result<File, String> {
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let text = error.without_snippet().to_string();
        text.lines().next().unwrap_or("not valid YAML").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: v1\nkind: Config\ncurrent-context: b\ncontexts:\n\
        - name: b\n  context: {cluster: c, user: u, namespace: web}\n\
        - name: 'arn:aws:eks:eu/a'\n  context: {cluster: c, user: u}\n\
        users:\n- name: u\n  user: {token: secret}\n";

    #[test]
    fn contexts_are_read_with_their_namespaces() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&first, TEXT).unwrap();
        std::fs::write(&second, "current-context: x\ncontexts: [{name: b}, {name: x}]").unwrap();
        let config = Kubeconfig::of_files(vec![first.clone(), second, folder.path().join("none")]);
        let names: Vec<_> = config.contexts().iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["arn:aws:eks:eu/a", "b", "x"]);
        assert_eq!(config.current(), Some("b"));
        assert_eq!(config.find("kube/b").unwrap().namespace.as_deref(), Some("web"));
        let target = config.find("b").unwrap().target(&[first]);
        assert_eq!(target.context.as_deref(), Some("b"));
    }

    #[test]
    fn a_pod_is_a_context_in_its_own_namespace_where_there_is_no_file() {
        let pod = tempfile::tempdir().unwrap();
        std::fs::write(pod.path().join("namespace"), "shop\n").unwrap();
        let within =
            |files| Kubeconfig { files, pod: Some(pod.path().into()), ..Kubeconfig::default() };
        let config = within(vec![pod.path().join("none")]);
        assert_eq!(config.current(), Some(IN_CLUSTER));
        assert_eq!(config.find(IN_CLUSTER).unwrap().namespace.as_deref(), Some("shop"));
        assert!(!config.is_missing());
        let file = pod.path().join("config");
        std::fs::write(&file, TEXT).unwrap();
        assert!(within(vec![file]).find(IN_CLUSTER).is_none());
    }

    #[test]
    fn a_file_that_is_named_must_be_there_and_be_yaml() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Kubeconfig::of_files(vec![folder.path().join("none")]);
        assert!(missing.contexts().is_empty());
        assert_eq!(missing.check().unwrap_err().kind(), ErrorKind::Config);
        let broken = folder.path().join("broken");
        std::fs::write(&broken, "contexts: {").unwrap();
        assert!(Kubeconfig::of_files(vec![broken]).check().is_err());
    }

    #[test]
    fn where_nothing_is_named_nothing_need_be_there() {
        let home = tempfile::tempdir().unwrap();
        let at_home = |name: &str| (name == "HOME").then(|| home.path().into());
        let config = Kubeconfig::from_environment(&at_home);
        assert!(config.check().is_ok() && config.current().is_none());
    }
}
