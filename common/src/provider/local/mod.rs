//! Machines in plain files: OVF folders, OVA packages, VMX and libvirt XML files with their
//! disks, bare disk images. Nothing needs to run. A reference is a path, from the context's
//! folder or the current directory on; a folder stands for the one machine in it, `-` for a package
//! on standard input.

mod arrival;
mod describe;
mod export;
mod folder;
mod identify;
mod image;
mod list;
mod locate;
mod open;
mod package;
mod pipe;
mod piped;
mod scan;
mod spool;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use self::folder::{Folder, OpenedFiles};
pub use self::image::{LocalImage, format_of, open_image};
use self::locate::Place;
use super::{
    Alarms, Cloning, Console, Create, Events, Export, Feed, Infrastructure, Lifecycle, Metrics,
    Migrate, Pools, Power, Provider, Rearrange, Reclaim, Resize, ServerInfo, Snapshots, Templates,
};
use crate::config::ContextConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::vm::{Vm, VmFilter, VmId};

/// The provider's name.
const NAME: &str = "local";

/// A folder seen as a place where machines are.
#[derive(Debug, Clone)]
pub struct Local {
    context: String,
    root: PathBuf,
}

impl Local {
    /// The folder of a context; the current directory where it has none.
    ///
    /// # Errors
    /// `Io` where there is no current directory.
    pub fn open(context: &ContextConfig) -> Result<Self> {
        let here =
            || std::env::current_dir().map_err(|e| Error::io("find the current directory", e));
        let root = match &context.path {
            Some(path) if path.is_absolute() => path.clone(),
            Some(path) => here()?.join(path),
            None => here()?,
        };
        Ok(Self { context: context.name.clone(), root })
    }

    /// The record of one machine.
    fn record(&self, place: &Place) -> Result<Vm> {
        let described = list::summary(place)?;
        let mut vm = Vm::of_machine(place.id()?, &self.context, NAME, &described.machine);
        vm.allocated_bytes = described.allocated_bytes;
        vm.format = Some(described.format);
        vm.path = place.path.to_str().map(str::to_owned);
        vm.updated = described.updated;
        Ok(vm)
    }
}

#[async_trait]
impl Provider for Local {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn probe(&self) -> Result<ServerInfo> {
        let root = self.root.clone();
        blocking(move || {
            let shown = root.display().to_string();
            std::fs::read_dir(&root)
                .map_err(|e| Error::io("look into the folder", e).with_subject(&shown))?;
            Ok(ServerInfo { product: "local files".to_owned(), version: None, endpoint: shown })
        })
        .await
    }

    async fn resolve(&self, reference: &str) -> Result<VmId> {
        let (root, reference) = (self.root.clone(), reference.to_owned());
        blocking(move || locate::resolve(&root, &reference)?.id()).await
    }

    fn list(&self, filter: VmFilter) -> BoxStream<'_, Result<Vm>> {
        list::stream(self.clone(), filter)
    }

    async fn get(&self, vm: &VmId) -> Result<Vm> {
        let (local, id) = (self.clone(), vm.clone());
        blocking(move || local.record(&locate::of_id(&id)?)).await
    }

    fn export(&self) -> Option<&dyn Export> {
        Some(self)
    }

    fn feed(&self) -> Option<&dyn Feed> {
        None
    }

    fn events(&self) -> Option<&dyn Events> {
        None
    }

    fn alarms(&self) -> Option<&dyn Alarms> {
        None
    }

    fn power(&self) -> Option<&dyn Power> {
        None
    }

    fn console(&self) -> Option<&dyn Console> {
        None
    }

    fn create(&self) -> Option<&dyn Create> {
        None
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        None
    }

    fn resize(&self) -> Option<&dyn Resize> {
        None
    }

    fn migrate(&self) -> Option<&dyn Migrate> {
        None
    }

    fn pools(&self) -> Option<&dyn Pools> {
        None
    }

    fn infrastructure(&self) -> Option<&dyn Infrastructure> {
        None
    }

    async fn log_out(&self) -> Result<bool> {
        Ok(false)
    }

    fn rearrange(&self) -> Option<&dyn Rearrange> {
        None
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    fn cloning(&self) -> Option<&dyn Cloning> {
        None
    }

    fn templates(&self) -> Option<&dyn Templates> {
        None
    }

    fn metrics(&self) -> Option<&dyn Metrics> {
        None
    }

    fn reclaim(&self) -> Option<&dyn Reclaim> {
        // What killed runs leave here are partial files, which the journal itself removes.
        None
    }
}

/// Runs `work`, which waits for disks, off the threads that must not wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(e) => Err(Error::new(ErrorKind::Internal, "look at local files").with_source(e)),
    }
}

/// How messages call a file.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
