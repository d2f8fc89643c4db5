//! The export facet: what is made for reading a machine, and released again.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::datastore::{FlatDisk, StoreFile};
use super::inventory::MACHINE;
use super::lease::{LEASE, Lease, Wanted};
use super::machine::Described;
use super::moment::TempSnapshot;
use super::nfc::{Leased, NfcDisk};
use super::opening::{Flat, FlatFinder, GRAIN, Opening};
use super::power::shut_down;
use super::soap::MoRef;
use super::{Client, Vsphere};
use crate::cancel::Leftover;
use crate::error::{Error, Result, ResultExt, one_line};
use crate::image::ReadAt;
use crate::progress::Reporter;
use crate::provider::{
    DiskInfo, End, Export, ExportOptions, ExportSource, ExtentStream, Ledger, Moment, Ties, Whole,
};
use crate::transfer::{WireDisk, wire_extents};
use crate::vm::{Machine, VmId};

#[async_trait]
impl Export for Vsphere {
    async fn open(&self, vm: &VmId, options: &ExportOptions) -> Result<Box<dyn ExportSource>> {
        let opening = Opening { client: self.client().clone(), vm: MoRef::new(MACHINE, &vm.0) };
        Ok(Box::new(opening.open(options).await?))
    }
}

/// A machine that is read.
pub(super) struct VsphereSource {
    pub client: Client,
    pub vm: MoRef,
    pub name: String,
    pub moment: Moment,
    /// Whether it was off when it was opened.
    pub off: bool,
    /// The snapshot that is read; none for the machine itself.
    pub subject: Option<MoRef>,
    pub leased: Arc<Leased>,
    /// The disks as files, none where they are streams; known once the machine is at rest.
    pub flat: OnceLock<Option<Flat>>,
    /// Whether they are known to be streams.
    pub streams: bool,
    pub finder: FlatFinder,
    pub disks: Vec<DiskInfo>,
    pub described: Described,
    pub held: Held,
}

/// What was made for the run, and what was learned in it.
#[derive(Debug, Default)]
pub(super) struct Held {
    temporary: TempSnapshot,
    /// The lease's name, and what is said of it to those who do not wait for the end.
    lease: Mutex<Option<(MoRef, Leftover)>>,
    ledger: OnceLock<Arc<dyn Ledger>>,
    reporter: OnceLock<Arc<dyn Reporter>>,
    numbers: OnceLock<Vec<usize>>,
    nvram: OnceLock<(String, Bytes)>,
    said: Mutex<Vec<String>>,
}

impl Held {
    fn say(&self, clause: String) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(clause);
    }
}

impl VsphereSource {
    /// Brings the machine to the moment that is read; answers what is exported.
    async fn reach_moment(&self, ties: &Ties) -> Result<MoRef> {
        match &self.moment {
            Moment::AsIs => Ok(self.vm.clone()),
            Moment::Snapshot(_) => Ok(self.subject.clone().unwrap_or_else(|| self.vm.clone())),
            Moment::PowerOff => {
                if !self.off {
                    ties.reporter.note(&format!("{}: shutting the guest down", self.name));
                    let stopped = shut_down(&self.client, &self.vm, &ties.cancel).await;
                    stopped.map_err(|error| {
                        error.with_hint("--temp-snapshot exports it while it runs")
                    })?;
                    self.held.say("it was shut down and stays off".to_owned());
                }
                Ok(self.vm.clone())
            }
            Moment::TempSnapshot { quiesce } => {
                let temporary = &self.held.temporary;
                temporary.take(&self.client, &self.vm, *quiesce, ties).await
            }
        }
    }

    async fn open_lease(&self, subject: &MoRef, ties: &Ties) -> Result<Arc<Lease>> {
        let capacities = ties.disks.iter().filter_map(|number| self.described.disks.get(*number));
        let context = &self.client.endpoint().context;
        let named = |id: MoRef| {
            let left = ties.cancel.leftover(format!("the export lease {id} of {context}"));
            let mut held = self.held.lease.lock().unwrap_or_else(PoisonError::into_inner);
            *held = Some((id, left));
        };
        let wanted = Wanted {
            subject,
            capacities: capacities.map(|disk| disk.capacity).collect(),
            sum: ties.sum,
            cancel: &ties.cancel,
            ledger: ties.ledger.as_ref(),
            named: &named,
        };
        Ok(Arc::new(Lease::open(&self.client, wanted).await?))
    }

    /// Fetches the firmware variables. Without them the firmware makes new ones, which is no
    /// reason to fail.
    async fn fetch_nvram(&self) {
        let Some(file) = &self.described.nvram else { return };
        let fetched = match &self.finder.datacenter {
            Ok(datacenter) => match StoreFile::new(&self.client, datacenter, file) {
                Ok(file) => file.nvram().await,
                Err(error) => Err(error),
            },
            Err(error) => Err(Error::new(error.kind(), one_line(error))),
        };
        match fetched {
            Ok(bytes) => {
                let _ = self.held.nvram.set((super::machine::base_name(file), bytes.into()));
            }
            Err(error) => self
                .held
                .say(format!("its firmware variables are not carried over: {}", one_line(&error))),
        }
    }

    fn flats(&self) -> Option<&Flat> {
        self.flat.get()?.as_ref()
    }

    fn flat(&self, disk: usize) -> Option<&Arc<FlatDisk>> {
        self.flats()?.get(disk)?.as_ref()
    }

    fn wire(&self, disk: usize) -> Option<NfcDisk> {
        let vm = self.described.disks.get(disk)?;
        let numbers = self.held.numbers.get();
        let number = numbers.and_then(|all| all.iter().position(|one| *one == disk));
        Some(NfcDisk {
            client: self.client.clone(),
            leased: self.leased.clone(),
            number: number.unwrap_or(disk),
            place: (vm.place, self.described.disks.len()),
            disk: vm.clone(),
        })
    }

    /// Ends the lease as the export ended.
    async fn end_lease(&self, end: End) -> Result<()> {
        let held = self.held.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((id, _leftover)) = held else { return Ok(()) };
        match self.leased.take() {
            Some(lease) => {
                let ended = lease.end(end == End::Completed).await;
                // What was exported is whole and was checked; the journal still names the lease.
                if let (Err(error), End::Completed, Some(reporter)) =
                    (&ended, end, self.held.reporter.get())
                {
                    let why = one_line(error);
                    reporter.warn(&format!(
                        "{}: its export lease could not be ended: {why}",
                        self.name
                    ));
                    return Ok(());
                }
                ended?;
            }
            None => drop(super::lease::abort(&self.client, &id).await?),
        }
        match self.held.ledger.get() {
            Some(ledger) => ledger.removed(LEASE, &id.value),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl ExportSource for VsphereSource {
    fn machine(&self) -> &Machine {
        &self.described.machine
    }

    fn disks(&self) -> &[DiskInfo] {
        &self.disks
    }

    fn notes(&self) -> Vec<String> {
        let said = self.held.said.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notes = self.described.notes.clone();
        notes.extend(said.iter().cloned());
        notes.extend(self.leased.note());
        notes
    }

    async fn begin(&self, ties: &Ties) -> Result<()> {
        let _ = self.held.ledger.set(ties.ledger.clone());
        let _ = self.held.reporter.set(ties.reporter.clone());
        let _ = self.held.numbers.set(ties.disks.clone());
        let begun = async {
            let subject = self.reach_moment(ties).await?;
            if self.flat.get().is_none() {
                let flat = match self.streams {
                    true => None,
                    false => self.finder.find(&self.described).await?,
                };
                let _ = self.flat.set(flat);
            }
            if self.flats().is_none() {
                self.leased.set(self.open_lease(&subject, ties).await?);
            }
            Ok::<(), Error>(())
        };
        begun.await.subject(|| self.name.clone())?;
        self.fetch_nvram().await;
        ties.cancel.check()
    }

    fn nvram(&self) -> Option<(String, Arc<dyn ReadAt>)> {
        let (name, bytes) = self.held.nvram.get()?;
        Some((name.clone(), Arc::new(bytes.clone())))
    }

    fn read(&self, disk: usize, range: Range<u64>) -> ExtentStream {
        if range.is_empty() {
            return stream::empty().boxed();
        }
        if let Some(flat) = self.flat(disk) {
            return flat.extents(range);
        }
        match self.wire(disk) {
            Some(wire) => {
                let about = WireDisk { capacity: wire.disk.capacity, block_size: GRAIN };
                wire_extents(Arc::new(wire), about, range.start)
            }
            None => {
                let error = Error::not_found(format!("there is no disk {disk}"));
                stream::iter([Err(error)]).boxed()
            }
        }
    }

    fn whole(&self, disk: usize) -> Option<Whole> {
        if !self.streams {
            return None;
        }
        Some(Whole::streamed(self.wire(disk)?))
    }

    async fn still_same(&self) -> Result<()> {
        let Some(numbers) = self.held.numbers.get() else { return Ok(()) };
        if self.flats().is_none() {
            return self.leased.lease()?.still_ready().await;
        }
        for flat in numbers.iter().filter_map(|number| self.flat(*number)) {
            flat.still_same().await?;
        }
        if self.moment == Moment::AsIs || self.moment == Moment::PowerOff {
            let now = self.client.properties(&self.vm, &["runtime.powerState"]).await?;
            if now.str("runtime.powerState") != Some("poweredOff") {
                return Err(Error::conflict("the machine was started while it was read")
                    .with_subject(&self.name));
            }
        }
        Ok(())
    }

    async fn close(self: Box<Self>, end: End) -> Result<()> {
        let ended = self.end_lease(end).await.subject(|| self.name.clone());
        let ledger = self.held.ledger.get().map(AsRef::as_ref);
        let removed = self.held.temporary.remove(&self.client, &self.vm, ledger).await;
        ended.and(removed.subject(|| self.name.clone()))
    }
}
