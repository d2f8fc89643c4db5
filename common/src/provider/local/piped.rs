//! A machine in a package that comes through a pipe: its envelope is read when it is opened, its
//! disks as they come, one after another, each once.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::arrival::{Arrival, Tar};
use super::locate::Place;
use super::open::base_name;
use super::{blocking, pipe, shown};
use crate::cancel::Cancel;
use crate::error::{Error, Result, ResultExt};
use crate::image::{Body, Extent, ImageFormat, ReadAt};
use crate::package::ova::Passing;
use crate::package::ovf::{OvfPackage, read_ovf};
use crate::package::{DiskData, DiskFile, LARGEST_DESCRIPTION};
use crate::provider::{
    ByteStream, DiskInfo, End, ExportSource, ExtentStream, Seek, Ties, Whole, Wire,
};
use crate::transfer::{FileSum, SumKind, WireDisk, wire_extents};
use crate::vm::{Machine, MachineDisk};

/// Largest run that one compressed block of a disk may cover. Makers use 64 KiB.
const LARGEST_GRAIN: u32 = 1 << 20;

/// Batches of a disk that wait at the most.
const QUEUE: usize = 4;

/// What a user can do where a pipe does not do.
pub(super) const HINT: &str = "--spool FOLDER stores it there first; nothing stays behind";

/// A machine whose disks are still to come.
pub(super) struct PipedSource {
    machine: Machine,
    disks: Vec<DiskInfo>,
    /// Where each disk is, as the envelope names it; `None`: it is empty.
    files: Vec<Option<String>>,
    notes: Vec<String>,
    arrival: Arc<Arrival>,
    cancel: OnceLock<Cancel>,
}

/// The envelope at the front of what comes, and the rest.
pub(super) struct Front {
    pub package: OvfPackage,
    passing: Tar,
    /// The folder of the envelope within the package, `` or `x/`.
    at: String,
    /// The envelope's name without its suffix.
    stem: String,
}

/// Reads as far as the end of the envelope.
///
/// # Errors
/// `Unsupported` where the package begins with something else; as [`read_ovf`].
pub(super) fn read_front(place: &Place) -> Result<Front> {
    let read = || -> Result<Front> {
        let mut passing = Passing::new(pipe::open(&place.path)?);
        let first = passing.next_member()?;
        let name = first.ok_or_else(|| Error::integrity("the package is empty"))?.name;
        if !name.to_ascii_lowercase().ends_with(".ovf") {
            let text = format!("the package begins with {name:?} instead of its OVF envelope");
            return Err(Error::unsupported(text).with_hint(HINT));
        }
        let package = read_ovf(&passing.content(LARGEST_DESCRIPTION)?, place.system.as_deref())?;
        let at = name.rfind('/').map_or("", |slash| &name[..=slash]).to_owned();
        let stem = name[at.len()..name.len() - ".ovf".len()].to_owned();
        Ok(Front { package, passing, at, stem })
    };
    read().subject(|| shown(&place.path))
}

impl PipedSource {
    /// Opens the machine at `place`.
    ///
    /// # Errors
    /// As [`read_front`]; `Unsupported` for disks that a pipe cannot bring.
    pub(super) fn open(place: &Place) -> Result<Self> {
        let Front { package, passing, at, stem } = read_front(place)?;
        let order: Vec<_> = package.files.into_iter().map(|file| file.href).collect();
        let description = package.description;
        let (mut machine, name) = (description.machine, shown(&place.path));
        let mut files: Vec<Option<String>> = Vec::new();
        let mut disks = Vec::new();
        for (disk, file) in machine.disks.iter().zip(&description.disks) {
            let file_name = check(disk, file, &files).subject(|| name.clone())?;
            disks.push(info(disk, file_name.as_deref(), &order, &name));
            files.push(file_name);
        }
        let nvram = machine.firmware.nvram_file.clone();
        machine.firmware.nvram_file = nvram.as_deref().map(|name| base_name(name).to_owned());
        let arrival = Arrival::new(name, passing, at, &stem, nvram);
        Ok(Self {
            machine,
            disks,
            files,
            notes: description.notes,
            arrival: Arc::new(arrival),
            cancel: OnceLock::new(),
        })
    }

    fn wire(&self, disk: usize) -> Option<PipedDisk> {
        let file = self.files.get(disk)?.clone()?;
        Some(PipedDisk { file, arrival: self.arrival.clone() })
    }
}

/// The file of a disk.
///
/// # Errors
/// `Unsupported` for what cannot be read in passing.
fn check(disk: &MachineDisk, file: &DiskFile, others: &[Option<String>]) -> Result<Option<String>> {
    let DiskData::File(name) = &file.data else { return Ok(None) };
    let refuse = |why: String| Err(Error::unsupported(why).with_hint(HINT));
    if let Some(format) = file.format.filter(|format| *format != ImageFormat::Vmdk) {
        return refuse(format!("the disk {name:?} is {format}, which no pipe can bring"));
    }
    if disk.capacity_bytes == 0 {
        return refuse(format!("the envelope does not say how large the disk {name:?} is"));
    }
    if others.iter().flatten().any(|other| other == name) {
        return refuse(format!("two disks are in the file {name:?}, which comes once"));
    }
    Ok(Some(name.clone()))
}

fn info(disk: &MachineDisk, file: Option<&str>, order: &[String], package: &str) -> DiskInfo {
    let place = |name| order.iter().position(|other| other == name).unwrap_or(order.len());
    DiskInfo {
        id: disk.id.clone(),
        name: match file {
            Some(name) => format!("{package}#{name}"),
            None => disk.label.clone().unwrap_or_else(|| disk.id.clone()),
        },
        capacity: disk.capacity_bytes,
        settled: true,
        block_size: if file.is_some() { LARGEST_GRAIN } else { 512 },
        seek: file.map_or(Seek::Ranges, |name| Seek::Turn(place(name))),
        format: file.map(|_| ImageFormat::Vmdk),
        // A pipe cannot come again: nothing of it is ever reused.
        identity: None,
        refusal: None,
        modified_seconds: 0,
    }
}

#[async_trait]
impl ExportSource for PipedSource {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn disks(&self) -> &[DiskInfo] {
        &self.disks
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    async fn begin(&self, ties: &Ties) -> Result<()> {
        let wanted = ties.disks.iter().filter_map(|disk| self.files.get(*disk)?.clone());
        self.arrival.expect(wanted.collect());
        let _ = self.cancel.set(ties.cancel.clone());
        Ok(())
    }

    fn nvram(&self) -> Option<(String, Arc<dyn ReadAt>)> {
        let name = self.machine.firmware.nvram_file.clone()?;
        Some((name, Arc::new(self.arrival.nvram())))
    }

    fn read(&self, disk: usize, range: Range<u64>) -> ExtentStream {
        let Some(info) = self.disks.get(disk) else {
            let error = Error::not_found(format!("there is no disk {disk}"));
            return stream::iter([Err(error)]).boxed();
        };
        if range.is_empty() {
            return stream::empty().boxed();
        }
        match self.wire(disk) {
            Some(wire) => {
                let about = WireDisk { capacity: info.capacity, block_size: info.block_size };
                wire_extents(Arc::new(wire), about, range.start)
            }
            None => stream::iter([Ok(vec![Extent { range, body: Body::Hole }])]).boxed(),
        }
    }

    fn whole(&self, disk: usize) -> Option<Whole> {
        Some(Whole::streamed(self.wire(disk)?))
    }

    async fn still_same(&self) -> Result<()> {
        let arrival = self.arrival.clone();
        let rest = blocking(move || arrival.finish());
        match self.cancel.get() {
            None => rest.await,
            Some(cancel) => cancel.unless_cancelled(rest).await,
        }
    }

    async fn close(self: Box<Self>, _end: End) -> Result<()> {
        Ok(())
    }
}

/// A disk that comes in its turn.
#[derive(Debug)]
struct PipedDisk {
    file: String,
    arrival: Arc<Arrival>,
}

#[async_trait]
impl Wire for PipedDisk {
    async fn open(&self) -> Result<ByteStream> {
        let (send, receive) = mpsc::channel(QUEUE);
        let (arrival, file) = (self.arrival.clone(), self.file.clone());
        tokio::task::spawn_blocking(move || {
            let taken = arrival.take(&file, |bytes| send.blocking_send(Ok(bytes)).is_ok());
            if let Err(error) = taken {
                // Where nobody listens any more nobody wants to know.
                let _ = send.blocking_send(Err(error));
            }
        });
        let next =
            |mut receive: mpsc::Receiver<_>| async { Some((receive.recv().await?, receive)) };
        Ok(stream::unfold(receive, next).boxed())
    }

    fn alive(&self) -> bool {
        // What went through a pipe does not come again.
        false
    }

    fn sum_kind(&self) -> Option<SumKind> {
        // The manifest comes last, and then says which kind it has: `Arrival` makes both.
        None
    }

    fn reached(&self, _position: u64) {}

    async fn check(&self, _size: u64, _sum: Option<&FileSum>) -> Result<()> {
        Ok(())
    }
}
