//! vCenter and ESXi, over the vSphere Web Services API (SOAP): the same calls on every version
//! from 6 on and on single hosts.

mod alarms;
mod auth;
mod client;
mod clone_job;
mod cloning;
mod collector;
mod config;
mod console;
mod counters;
mod create;
mod customize;
mod datastore;
mod deploy;
mod event;
mod events;
mod export;
mod fault;
mod feed;
mod infrastructure;
mod inventory;
mod keyboard;
mod known;
mod lease;
mod library;
mod lifecycle;
mod machine;
mod metrics;
mod migrate;
mod moment;
mod names;
mod network;
mod nfc;
mod objects;
mod opening;
mod place;
mod pools;
mod power;
mod property;
mod rearrange;
mod reclaim;
mod record;
mod resize;
mod resolve;
mod server;
mod session;
mod snapshot;
mod snapshots;
mod soap;
mod stream;
mod task;
mod template;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use self::client::{Client, Download, ServiceContent};
pub use self::config::{Endpoint, parse_url};
pub use self::fault::{Fault, fault_of};
pub use self::property::{Object, Properties};
pub use self::soap::{Body, MoRef, Reply, Value, parse};
use super::{
    Alarms, Cloning, Console, Create, Events, Export, Feed, Infrastructure, Lifecycle, Metrics,
    Migrate, Pools, Power, Provider, Rearrange, Reclaim, Resize, ServerInfo, Snapshots, Templates,
};
use crate::config::ContextConfig;
use crate::error::Result;
use crate::vm::{Vm, VmFilter, VmId};

/// The provider's name.
const NAME: &str = "vsphere";

/// One vCenter or ESXi host.
#[derive(Debug, Clone)]
pub struct Vsphere {
    client: Client,
    watches: feed::Watches,
}

impl Vsphere {
    /// The server of a context. Nothing is contacted.
    ///
    /// # Errors
    /// `Config` for a URL, a thumbprint or certificates that cannot be used.
    pub fn open(context: &ContextConfig) -> Result<Self> {
        let client = Client::new(Endpoint::new(context)?)?;
        Ok(Self { client, watches: feed::Watches::default() })
    }

    /// Calls to the server.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

#[async_trait]
impl Provider for Vsphere {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn probe(&self) -> Result<ServerInfo> {
        let content = self.client.content().await?;
        // What the server is, it tells to anyone; whether the login works is the question.
        self.client.properties(&content.root_folder, &["name"]).await?;
        Ok(ServerInfo {
            product: content.name.clone(),
            version: Some(content.version.clone()).filter(|version| !version.is_empty()),
            endpoint: self.client.endpoint().url.to_string(),
        })
    }

    async fn resolve(&self, reference: &str) -> Result<VmId> {
        resolve::resolve(&self.client, reference).await
    }

    fn list(&self, filter: VmFilter) -> BoxStream<'_, Result<Vm>> {
        inventory::list(&self.client, filter)
    }

    async fn get(&self, vm: &VmId) -> Result<Vm> {
        inventory::get(&self.client, vm).await
    }

    fn export(&self) -> Option<&dyn Export> {
        Some(self)
    }

    fn rearrange(&self) -> Option<&dyn Rearrange> {
        Some(self)
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

    fn feed(&self) -> Option<&dyn Feed> {
        Some(self)
    }

    fn events(&self) -> Option<&dyn Events> {
        Some(self)
    }

    fn alarms(&self) -> Option<&dyn Alarms> {
        Some(self)
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
        Some(self)
    }

    fn infrastructure(&self) -> Option<&dyn Infrastructure> {
        Some(self)
    }

    async fn log_out(&self) -> Result<bool> {
        self.client.log_out().await
    }
}
