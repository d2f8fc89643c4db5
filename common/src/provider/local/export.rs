//! The export facet: disks as extents, files as they are.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;

use super::identify::Kind;
use super::open::{OpenMachine, open};
use super::piped::PipedSource;
use super::{Local, blocking, locate};
use crate::error::{Error, Result};
use crate::image::{Body, Extent, ReadAt};
use crate::provider::{
    DiskInfo, End, Export, ExportOptions, ExportSource, ExtentStream, Moment, Ties, Transport,
    Whole,
};
use crate::transfer::image_extents;
use crate::vm::{Machine, VmId};

#[async_trait]
impl Export for Local {
    async fn open(&self, vm: &VmId, options: &ExportOptions) -> Result<Box<dyn ExportSource>> {
        check_options(options)?;
        let (id, options) = (vm.clone(), options.clone());
        blocking(move || {
            let place = locate::of_id(&id)?;
            if place.kind == Kind::Piped && options.spool.is_none() {
                return Ok(Box::new(PipedSource::open(&place)?) as Box<dyn ExportSource>);
            }
            let open = open(&place, &options)?;
            let disks = open.disks.iter().map(|disk| disk.info.clone()).collect();
            Ok(Box::new(LocalSource { open, disks }) as _)
        })
        .await
    }
}

/// Files have neither a power state nor snapshots of their own, and one way to be read.
fn check_options(options: &ExportOptions) -> Result<()> {
    let flag = match (&options.moment, options.transport) {
        (Moment::AsIs, Transport::Auto) => return Ok(()),
        (Moment::Snapshot(_), _) => "--snapshot",
        (Moment::TempSnapshot { .. }, _) => "--temp-snapshot",
        (Moment::PowerOff, _) => "--power-off",
        (Moment::AsIs, _) => "--transport",
    };
    Err(Error::unsupported(format!("{flag} is about machines on a platform, and this is in files"))
        .with_hint(format!("leave out {flag}")))
}

/// A machine in files, open for reading.
struct LocalSource {
    open: OpenMachine,
    disks: Vec<DiskInfo>,
}

#[async_trait]
impl ExportSource for LocalSource {
    fn machine(&self) -> &Machine {
        &self.open.machine
    }

    fn disks(&self) -> &[DiskInfo] {
        &self.disks
    }

    fn notes(&self) -> Vec<String> {
        self.open.notes.clone()
    }

    async fn begin(&self, _ties: &Ties) -> Result<()> {
        Ok(())
    }

    fn nvram(&self) -> Option<(String, Arc<dyn ReadAt>)> {
        self.open.nvram.clone()
    }

    fn read(&self, disk: usize, range: Range<u64>) -> ExtentStream {
        let Some(disk) = self.open.disks.get(disk) else {
            let error = Error::not_found(format!("there is no disk {disk}"));
            return stream::iter([Err(error)]).boxed();
        };
        match &disk.image {
            Some(image) => image_extents(image.clone(), range),
            None if range.is_empty() => stream::empty().boxed(),
            None => stream::iter([Ok(vec![Extent { range, body: Body::Hole }])]).boxed(),
        }
    }

    fn whole(&self, disk: usize) -> Option<Whole> {
        self.open.disks.get(disk)?.whole.clone()
    }

    async fn still_same(&self) -> Result<()> {
        let source = self.open.source.clone();
        let disks: Vec<_> = self.open.disks.iter().map(|disk| disk.opened.clone()).collect();
        blocking(move || {
            source.check_unchanged()?;
            disks.iter().try_for_each(|files| files.check_unchanged())
        })
        .await
    }

    async fn close(self: Box<Self>, _end: End) -> Result<()> {
        // Opening made nothing but descriptors, and a spool file without a name.
        Ok(())
    }
}
