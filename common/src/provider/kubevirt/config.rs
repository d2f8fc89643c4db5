//! From a context to a client of the `kube` crate, which knows kubeconfigs, their credential
//! plugins and TLS.

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::config::{ContextConfig, KubeTarget};
use crate::error::{Error, ErrorKind, Result};

/// What a context says about its cluster.
#[derive(Debug, Clone)]
pub struct Endpoint {
    target: KubeTarget,
}

impl Endpoint {
    /// That of a context.
    pub fn new(context: &ContextConfig) -> Self {
        let nothing = KubeTarget { files: Vec::new(), context: None };
        Self { target: context.kube.clone().unwrap_or(nothing) }
    }

    /// Reads the kubeconfig and sets up the client. Nothing is contacted, but a credential plugin
    /// that the kubeconfig names may be run.
    ///
    /// # Errors
    /// `Config` for a kubeconfig that cannot be read or lacks something; `Auth` for credentials
    /// in it that cannot be used.
    pub async fn connect(&self) -> Result<(kube::Client, String)> {
        let mut config = self.load().await?;
        // What may be tried again, and how long, is said in one place (net/retry.rs).
        config.default_retry = false;
        let url = config.cluster_url.to_string();
        let url = url.trim_end_matches('/').to_owned();
        let client = kube::Client::try_from(config).map_err(|error| {
            self.subject(Error::new(ErrorKind::Auth, "use the credentials of the kubeconfig"))
                .with_source(error)
        })?;
        Ok((client, url))
    }

    async fn load(&self) -> Result<kube::Config> {
        if self.target.files.is_empty() {
            return kube::Config::incluster().map_err(|error| {
                Error::new(ErrorKind::Config, "use the pod's own credentials").with_source(error)
            });
        }
        let mut merged = Kubeconfig::default();
        for file in &self.target.files {
            if !file.exists() && self.target.files.len() > 1 {
                continue;
            }
            let wrong = |error| self.broken("read the kubeconfig", error);
            let part = Kubeconfig::read_from(file).map_err(wrong)?;
            merged = merged.merge(part).map_err(wrong)?;
        }
        let context = self.target.context.clone();
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(merged, &options).await;
        let mut config = config.map_err(|error| self.broken("use the kubeconfig", error))?;
        // A watch is silent for as long as nothing happens; its own deadline is in the request.
        config.read_timeout = None;
        config.write_timeout = None;
        Ok(config)
    }

    fn broken(&self, doing: &str, error: kube::config::KubeconfigError) -> Error {
        self.subject(Error::new(ErrorKind::Config, doing)).with_source(error)
    }

    fn subject(&self, error: Error) -> Error {
        match self.target.files.as_slice() {
            [] => error,
            files => error.with_subject(
                files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(":"),
            ),
        }
    }
}
