//! KubeVirt: virtual machines in a Kubernetes cluster, over the API server. Which versions of
//! KubeVirt's groups are spoken is asked of the server, never assumed (releases 1.0 to 1.9).
//!
//! A VM's id is `namespace/name`. The objects' forms, as far as they are read, are in `wire.rs`.

mod client;
mod cloning;
mod config;
mod console;
mod counts;
mod create;
mod crossing;
mod describe;
mod discovery;
mod error;
mod event;
mod events;
mod export;
mod feed;
mod gunzip;
mod hypersdk;
mod inventory;
mod lifecycle;
mod machine;
mod manifest;
mod marks;
mod metrics;
mod migrate;
mod moment;
mod nodes;
mod objects;
mod opening;
mod port;
mod power;
mod quantity;
mod reclaim;
mod record;
mod resize;
mod resolve;
mod session;
mod snapshots;
mod template;
mod template_deploy;
mod template_make;
mod template_remove;
mod transplant;
mod upload;
mod upload_proxy;
mod vmexport;
mod volume;
mod watch;
mod way;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use self::client::{Client, Place};
pub use self::discovery::Resource;
use super::{
    Alarms, Cloning, Console, Create, Events, Export, Feed, Infrastructure, Lifecycle, Metrics,
    Migrate, Pools, Power, Provider, Rearrange, Reclaim, Resize, ServerInfo, Snapshots, Templates,
};
use crate::config::ContextConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::vm::{Vm, VmFilter, VmId};

/// The provider's name.
const NAME: &str = "kubevirt";

/// One cluster, and the namespaces of it that are looked at.
#[derive(Debug, Clone)]
pub struct Kubevirt {
    client: Client,
    /// The context's name, for records.
    context: Arc<str>,
    /// Where names without a namespace are looked for.
    namespace: Arc<str>,
    /// Whether a list is about every namespace.
    everywhere: bool,
}

impl Kubevirt {
    /// The cluster of a context. Nothing is contacted, and no credential is read.
    ///
    /// # Errors
    /// None yet: a kubeconfig that cannot be used is told when it is needed.
    pub fn open(context: &ContextConfig) -> Result<Self> {
        let namespace = context.namespace.as_deref().unwrap_or("default");
        Ok(Self {
            client: Client::new(context),
            context: context.name.as_str().into(),
            namespace: namespace.into(),
            everywhere: context.all_namespaces,
        })
    }

    /// Calls to the API server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// That a namespace is there, as far as it may be seen.
    ///
    /// # Errors
    /// `NotFound` where it is not; the server's.
    async fn check_namespace(&self, namespace: &str) -> Result<()> {
        let place = Place { resource: Resource::core("namespaces"), namespace: None };
        match self.client().get::<serde_json::Value>(place, namespace).await {
            Ok(_) => Ok(()),
            // Who may make machines in it need not be allowed to look at it.
            Err(error) if error.kind() == ErrorKind::Auth => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Error::not_found(format!("there is no namespace {namespace:?}")))
            }
            Err(error) => Err(error),
        }
    }

    /// The namespace that a list is about; `None` for all.
    fn listed(&self) -> Option<&str> {
        (!self.everywhere).then_some(&*self.namespace)
    }
}

#[async_trait]
impl Provider for Kubevirt {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn probe(&self) -> Result<ServerInfo> {
        inventory::probe(self).await
    }

    async fn resolve(&self, reference: &str) -> Result<VmId> {
        resolve::resolve(self, reference).await
    }

    fn list(&self, filter: VmFilter) -> BoxStream<'_, Result<Vm>> {
        inventory::list(self, filter)
    }

    async fn get(&self, vm: &VmId) -> Result<Vm> {
        inventory::get(self, vm).await
    }

    fn export(&self) -> Option<&dyn Export> {
        Some(self)
    }

    fn feed(&self) -> Option<&dyn Feed> {
        Some(self)
    }

    fn events(&self) -> Option<&dyn Events> {
        Some(self)
    }

    fn alarms(&self) -> Option<&dyn Alarms> {
        None
    }

    fn power(&self) -> Option<&dyn Power> {
        Some(self)
    }

    fn console(&self) -> Option<&dyn Console> {
        Some(self)
    }

    fn create(&self) -> Option<&dyn Create> {
        Some(self)
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }

    fn resize(&self) -> Option<&dyn Resize> {
        Some(self)
    }

    fn migrate(&self) -> Option<&dyn Migrate> {
        Some(self)
    }

    fn pools(&self) -> Option<&dyn Pools> {
        None
    }

    fn infrastructure(&self) -> Option<&dyn Infrastructure> {
        None
    }

    fn rearrange(&self) -> Option<&dyn Rearrange> {
        None
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn cloning(&self) -> Option<&dyn Cloning> {
        Some(self)
    }

    fn templates(&self) -> Option<&dyn Templates> {
        Some(self)
    }

    fn metrics(&self) -> Option<&dyn Metrics> {
        Some(self)
    }

    fn reclaim(&self) -> Option<&dyn Reclaim> {
        Some(self)
    }

    async fn log_out(&self) -> Result<bool> {
        // The kubeconfig's credentials are not this program's to end.
        Ok(false)
    }
}
