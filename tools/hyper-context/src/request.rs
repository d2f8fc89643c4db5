//! What is to be done, checked.

use std::path::{Path, PathBuf};

use hyper_common::config::{Config, ContextDraft, LOCAL, PasswordSource, Server, split_url};
use hyper_common::error::{Error, Result};
use serde::Serialize;

use crate::args::{AddArgs, ContextArgs, ServerArgs, Verb};

/// The provider whose endpoints are in a kubeconfig.
const CLUSTER: &str = "kubevirt";

/// What is to be done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Show all contexts.
    List {
        /// Whether each is asked about itself.
        probe: bool,
    },
    /// Add one.
    Add(Box<Addition>),
    /// Make one the current.
    Use(String),
    /// Remove one.
    Remove(String),
    /// End the login of one.
    Logout(String),
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
    pub kubeconfig: Option<PathBuf>,
    pub kube_context: Option<String>,
    pub namespace: Option<String>,
    pub make_current: bool,
    pub password_fd: Option<u32>,
    /// What holds no secret of the server.
    pub url: Option<String>,
    #[serde(skip)]
    server: Option<Server>,
}

impl Request {
    /// Checks the arguments.
    ///
    /// # Errors
    /// `NotFound` for a folder or a context that is not there.
    pub fn new(args: ContextArgs, config: &Config) -> Result<Self> {
        Ok(match args.verb {
            Verb::List(args) => Self::List { probe: args.probe },
            Verb::Add(args) => Self::Add(Box::new(Addition::new(*args)?)),
            Verb::Use(args) => Self::Use(config.context(&args.name)?.name),
            Verb::Remove(args) => Self::Remove(config.context(&args.name)?.name),
            Verb::Logout(args) => Self::Logout(config.context(&args.name)?.name),
            Verb::Test(args) => {
                // Typed names win over `--all-contexts` from elsewhere.
                let all = args.all_contexts && args.names.is_empty();
                let contexts = config.select(&args.names, all)?;
                Self::Test(contexts.into_iter().map(|context| context.name).collect())
            }
            Verb::Capabilities(args) => {
                Self::Capabilities(config.named_or_current(args.name.as_deref())?.name)
            }
        })
    }
}

impl Addition {
    fn new(args: AddArgs) -> Result<Self> {
        let AddArgs { name, provider, path, title, make_current, server, .. } = args;
        let AddArgs { kubeconfig, kube_context, namespace, .. } = args;
        let path = path.as_deref().map(folder).transpose()?;
        let cluster =
            [("kubeconfig", kubeconfig.is_some()), ("kube-context", kube_context.is_some())];
        if let Some((flag, _)) =
            cluster.into_iter().find(|(_, given)| *given && provider != CLUSTER)
        {
            return Err(Error::usage(format!("--{flag} is for clusters, not for {provider}")));
        }
        let kubeconfig = kubeconfig.as_deref().map(full).transpose()?;
        let password_fd = server.password_fd;
        let server = self::server(&provider, server)?;
        if server.is_some() && path.is_some() {
            return Err(Error::usage("a server has no --path, it has a --url"));
        }
        if provider == CLUSTER && path.is_some() {
            return Err(Error::usage("a cluster has no --path, it has a --kube-context"));
        }
        let url = server.as_ref().map(|server| server.url.clone());
        Ok(Self {
            name,
            provider,
            path,
            title,
            kubeconfig,
            kube_context,
            namespace,
            make_current,
            password_fd,
            url,
            server,
        })
    }

    /// The entry of the configuration.
    pub fn draft(self) -> ContextDraft {
        let Self { name, provider, path, title, namespace, server, .. } = self;
        let (kubeconfig, kube_context) = (self.kubeconfig, self.kube_context);
        ContextDraft { name, provider, path, title, namespace, kubeconfig, kube_context, server }
    }
}

/// What the flags say about a server; local files have none.
fn server(provider: &str, args: ServerArgs) -> Result<Option<Server>> {
    if provider == LOCAL || provider == CLUSTER {
        let flag = [
            ("url", args.url.is_some()),
            ("user", args.user.is_some()),
            ("datacenter", args.datacenter.is_some()),
            ("ca-file", !args.ca_file.is_empty()),
            ("thumbprint", args.thumbprint.is_some()),
            ("insecure", args.insecure),
            ("password-fd", args.password_fd.is_some()),
            ("password-file", args.password_file.is_some()),
            ("password-command", args.password_command.is_some()),
        ];
        return match flag.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) if provider == CLUSTER => {
                Err(Error::usage(format!("--{flag} is not for clusters"))
                    .with_hint("the kubeconfig says how a cluster is reached, and by whom"))
            }
            Some((flag, _)) => Err(Error::usage(format!("--{flag} is for servers, not for files"))),
            None => Ok(None),
        };
    }
    let url = args.url.ok_or_else(|| {
        Error::usage(format!("a context on {provider} needs --url"))
            .with_hint("such as --url https://vc.example.com/sdk")
    })?;
    let address = split_url(&url);
    if address.password.is_some() {
        return Err(Error::usage("a password does not belong on the command line")
            .with_hint("others can see it there; give it with --password-fd 3 3<FILE"));
    }
    let file = args.password_file.map(|file| full(&file)).transpose()?.map(PasswordSource::File);
    let command = args.password_command.map(PasswordSource::Command);
    Ok(Some(Server {
        url: address.url,
        user: args.user.or(address.user),
        datacenter: args.datacenter,
        ca_files: args.ca_file.iter().map(|file| full(file)).collect::<Result<_>>()?,
        thumbprint: args.thumbprint,
        insecure: args.insecure,
        passwords: file.into_iter().chain(command).collect(),
        ..Server::default()
    }))
}

/// A file by its absolute path, so that the context means the same from everywhere.
fn full(file: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(file).map_err(|error| {
        Error::io("look for the file", error).with_subject(file.display().to_string())
    })
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
