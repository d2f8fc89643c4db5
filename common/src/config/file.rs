//! The file's form, and errors that name line and likely meaning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::contexts::{self, LOCAL};
use super::suggest::closest;
use super::{PROVIDERS, defaults, govc};
use crate::error::{Error, ErrorKind, Result};

/// Defaults by flag name, without the dashes.
pub type Flags = BTreeMap<String, Spanned<Value>>;

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    pub current_context: Option<Spanned<String>>,
    pub contexts: BTreeMap<String, ContextEntry>,
    pub providers: BTreeMap<String, ProviderEntry>,
    pub defaults: Flags,
    pub aliases: BTreeMap<String, String>,
}

/// A named endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextEntry {
    pub provider: Spanned<String>,
    #[serde(default)]
    pub path: Option<PathBuf>,
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub namespace: Option<String>,
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    #[serde(default)]
    pub kube_context: Option<String>,
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub datacenter: Option<String>,
    #[serde(default)]
    pub ca_file: Paths,
    #[serde(default)]
    pub thumbprint: Option<String>,
    #[serde(default)]
    pub insecure: bool,
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    #[serde(default)]
    pub password_command: Option<String>,
    #[serde(default)]
    pub defaults: Flags,
}

/// One path or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Paths(pub Vec<PathBuf>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

impl From<OneOrMany> for Paths {
    fn from(paths: OneOrMany) -> Self {
        Self(match paths {
            OneOrMany::One(path) => vec![path],
            OneOrMany::Many(paths) => paths,
        })
    }
}

/// What holds for every context of a provider.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderEntry {
    pub defaults: Flags,
}

/// A mistake in the file: where, what, and what to do.
#[derive(Debug)]
pub struct Mistake {
    pub line: Option<u64>,
    pub message: String,
    pub hint: Option<String>,
}

impl Mistake {
    pub fn at(location: Location, message: String, hint: Option<String>) -> Self {
        let line = Some(location.line()).filter(|&line| line > 0);
        Self { line, message, hint }
    }
}

/// Reads and checks the text of the file. An empty file is an empty document.
pub fn parse(text: &str) -> Result<Document, Mistake> {
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(blank) {
        return Ok(Document::default());
    }
    let document: Document = serde_saphyr::from_str(text).map_err(|error| explain(&error))?;
    check(&document)?;
    Ok(document)
}

/// The error that a run ends with.
pub fn located(path: &Path, mistake: Mistake) -> Error {
    let place = match mistake.line {
        Some(line) => format!("{}:{line}", path.display()),
        None => path.display().to_string(),
    };
    let error = Error::new(ErrorKind::Config, mistake.message).with_subject(place);
    match mistake.hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// A hint that names the likely word, or else all of them.
pub fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match closest(word, known.clone()) {
        Some(word) => format!("did you mean {word:?}?"),
        None => {
            let words: Vec<_> = known.into_iter().collect();
            format!("known are: {}", words.join(", "))
        }
    }
}

/// The parser's words, shortened, with a suggestion for an unknown key.
fn explain(error: &serde_saphyr::Error) -> Mistake {
    let error = error.without_snippet();
    let location = error.location().unwrap_or(Location::UNKNOWN);
    if let serde_saphyr::Error::SerdeUnknownField { field, expected, .. } = error {
        let hint = meant(field, expected.iter().copied());
        return Mistake::at(location, format!("there is no key {field:?} here"), Some(hint));
    }
    let text = error.to_string();
    let message = text.lines().next().unwrap_or("not valid YAML");
    // The parser ends its sentence with the place, which the subject names already.
    let message = message.split(" at line ").next().unwrap_or(message);
    Mistake::at(location, message.trim_start_matches("error: ").to_owned(), None)
}

/// What the types cannot say.
fn check(document: &Document) -> Result<(), Mistake> {
    for (name, entry) in &document.contexts {
        let provider = &entry.provider;
        let fail = |message, hint| Mistake::at(provider.referenced, message, hint);
        contexts::check_name(name).map_err(|reason| fail(reason, None))?;
        if !PROVIDERS.contains(&provider.value.as_str()) {
            let message = format!("context {name:?}: there is no provider {:?}", provider.value);
            return Err(fail(message, Some(meant(&provider.value, PROVIDERS.iter().copied()))));
        }
        if name == LOCAL && provider.value != LOCAL {
            return Err(fail("the context \"local\" has the provider local".to_owned(), None));
        }
        check_server(name, entry).map_err(|(message, hint)| fail(message, hint))?;
        defaults::check(&entry.defaults)?;
    }
    for (name, entry) in &document.providers {
        if !PROVIDERS.contains(&name.as_str()) {
            return Err(Mistake {
                line: None,
                message: format!("providers: there is no provider {name:?}"),
                hint: Some(meant(name, PROVIDERS.iter().copied())),
            });
        }
        defaults::check(&entry.defaults)?;
    }
    defaults::check(&document.defaults)
}

/// Whether an entry has the keys that its provider needs, and none of another's.
fn check_server(name: &str, entry: &ContextEntry) -> Result<(), (String, Option<String>)> {
    let server_keys = [
        ("url", entry.url.is_some()),
        ("user", entry.user.is_some()),
        ("datacenter", entry.datacenter.is_some()),
        ("ca_file", !entry.ca_file.0.is_empty()),
        ("thumbprint", entry.thumbprint.is_some()),
        ("insecure", entry.insecure),
        ("password_file", entry.password_file.is_some()),
        ("password_command", entry.password_command.is_some()),
    ];
    let cluster = entry.provider.value == "kubevirt";
    let kube_keys = [
        ("kubeconfig", entry.kubeconfig.is_some()),
        ("kube_context", entry.kube_context.is_some()),
    ];
    if let Some((key, _)) = kube_keys.iter().find(|(_, set)| *set && !cluster) {
        return Err((format!("context {name:?}: only clusters have a {key}"), None));
    }
    if entry.provider.value == LOCAL || cluster {
        let what = if cluster { "a cluster has" } else { "local files have" };
        let path = [("path", cluster && entry.path.is_some())];
        return match server_keys.iter().chain(&path).find(|(_, set)| *set) {
            Some((key, _)) => Err((
                format!("context {name:?}: {what} no {key}"),
                cluster.then(|| "the kubeconfig says how a cluster is reached".to_owned()),
            )),
            None => Ok(()),
        };
    }
    let Some(url) = &entry.url else {
        return Err((format!("context {name:?}: the key url is missing"), None));
    };
    if entry.path.is_some() {
        return Err((format!("context {name:?}: a server has no path, it has a url"), None));
    }
    let found = govc::split(url);
    if found.user.is_some() || found.password.is_some() {
        let hint = "user: has a key of its own, and a password never stands in this file";
        return Err((
            format!("context {name:?}: the URL holds a user or a password"),
            Some(hint.to_owned()),
        ));
    }
    Ok(())
}

impl ContextEntry {
    /// Whether both say the same, wherever they stand in the file.
    pub fn same(&self, other: &Self) -> bool {
        let plain = |flags: &Flags| -> Vec<(String, Value)> {
            flags.iter().map(|(flag, value)| (flag.clone(), value.value.clone())).collect()
        };
        self.provider.value == other.provider.value
            && self.path == other.path
            && self.title == other.title
            && self.namespace == other.namespace
            && self.kubeconfig == other.kubeconfig
            && self.kube_context == other.kube_context
            && self.url == other.url
            && self.user == other.user
            && self.datacenter == other.datacenter
            && self.ca_file == other.ca_file
            && self.thumbprint == other.thumbprint
            && self.insecure == other.insecure
            && self.password_file == other.password_file
            && self.password_command == other.password_command
            && plain(&self.defaults) == plain(&other.defaults)
    }
}
