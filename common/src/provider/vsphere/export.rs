//! The export facet: which way the disks take, which moment is read, and what is made for that
//! and released again.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::datastore::{FlatDisk, StoreFile, datacenter_of};
use super::inventory::MACHINE;
use super::lease::{LEASE, Lease, Wanted};
use super::machine::{Described, VmDisk, describe, plain_name};
use super::moment::TempSnapshot;
use super::nfc::{Leased, NfcDisk};
use super::power::shut_down;
use super::property::Properties;
use super::soap::MoRef;
use super::{Client, Vsphere, snapshot};
use crate::cancel::Leftover;
use crate::error::{Error, ErrorKind, Result, ResultExt, one_line};
use crate::image::{ImageFormat, ReadAt, Variant};
use crate::progress::Reporter;
use crate::provider::{
    DiskInfo, End, Export, ExportOptions, ExportSource, ExtentStream, Ledger, Moment, Seek, Ties,
    Transport, Whole, WholeBytes,
};
use crate::transfer::{WireDisk, wire_extents};
use crate::vm::{Machine, VmId};

/// What is asked of a machine.
const PATHS: [&str; 8] = [
    "name",
    "config",
    "layoutEx.file",
    "runtime.powerState",
    "runtime.host",
    "snapshot",
    "parent",
    "parentVApp",
];

/// Grains of the streams that servers send.
const GRAIN: u32 = 64 << 10;

#[async_trait]
impl Export for Vsphere {
    async fn open(&self, vm: &VmId, options: &ExportOptions) -> Result<Box<dyn ExportSource>> {
        let opening = Opening { client: self.client().clone(), vm: MoRef::new(MACHINE, &vm.0) };
        Ok(Box::new(opening.open(options).await?))
    }
}

/// A machine that is being opened.
struct Opening {
    client: Client,
    vm: MoRef,
}

impl Opening {
    async fn open(self, options: &ExportOptions) -> Result<VsphereSource> {
        let properties = self.client.properties(&self.vm, &PATHS).await?;
        let name = plain_name(properties.str("name").unwrap_or(&self.vm.value));
        let off = properties.str("runtime.powerState") == Some("poweredOff");
        if options.moment == Moment::AsIs && !off {
            return Err(Error::conflict("the machine is running; choose what is exported")
                .with_subject(name)
                .with_hint("--snapshot NAME: as it was at a snapshot")
                .with_hint("--temp-snapshot: as it is now; a snapshot is made and removed again")
                .with_hint("--power-off: after the guest has shut down; it stays off"));
        }
        let (mut described, subject) = self.describe(&name, &properties, &options.moment).await?;
        self.name_networks(&mut described).await?;
        let datacenter = self.datacenter(&properties).await;
        // What is still running changes until it has been brought to rest, and its files are
        // locked.
        let settled = match &options.moment {
            Moment::AsIs | Moment::Snapshot(_) => true,
            Moment::TempSnapshot { .. } => false,
            Moment::PowerOff => off,
        };
        let by_file = by_file(options.transport, &described);
        let finder =
            FlatFinder { client: self.client.clone(), transport: options.transport, datacenter };
        let flat = match by_file && settled {
            true => finder.find(&described).await?,
            false => None,
        };
        let streams = !by_file || settled && flat.is_none();
        let changed = properties.get("config").and_then(|config| config.str("changeVersion"));
        let marks = settled.then(|| match &subject {
            Some(snapshot) => Some(snapshot.value.clone()),
            None => changed.map(str::to_owned),
        });
        let marks = marks.flatten();
        let disks = disk_infos(&described, flat.as_deref(), settled, marks.as_deref());
        let found = OnceLock::new();
        if settled {
            let _ = found.set(flat);
        }
        Ok(VsphereSource {
            client: self.client,
            vm: self.vm,
            name,
            moment: options.moment.clone(),
            off,
            subject,
            leased: Arc::default(),
            flat: found,
            streams,
            finder,
            disks,
            described,
            held: Held::default(),
        })
    }

    /// The machine as it is, or as it was at the snapshot.
    async fn describe(
        &self,
        name: &str,
        properties: &Properties,
        moment: &Moment,
    ) -> Result<(Described, Option<MoRef>)> {
        let files = properties.get("layoutEx.file");
        let missing = || {
            Error::new(ErrorKind::Unavailable, "the server does not tell its configuration")
                .with_subject(name)
                .with_hint("its host may be disconnected, or this user may not see it")
        };
        let Moment::Snapshot(wanted) = moment else {
            let config = properties.get("config").ok_or_else(missing)?;
            return Ok((describe(name, config, files)?, None));
        };
        let found = snapshot::find(properties.get("snapshot"), wanted)?;
        let then = self.client.properties(&found.id, &["config"]).await?;
        let config = then.get("config").ok_or_else(missing)?;
        Ok((describe(name, config, files)?, Some(found.id)))
    }

    /// Asks for the names of port groups that adapters know by their keys.
    async fn name_networks(&self, described: &mut Described) -> Result<()> {
        let groups: Vec<MoRef> = described.ports.iter().map(|(_, group)| group.clone()).collect();
        let mut names = HashMap::new();
        for group in groups {
            let asked = self.client.properties(&group, &["name"]).await;
            match asked {
                Ok(found) => names.extend(found.str("name").map(|name| (group, plain_name(name)))),
                // The key is better than nothing, and no reason to fail.
                Err(error) => tracing::info!("{group}: {}", one_line(&error)),
            }
        }
        for (number, group) in &described.ports {
            if let (Some(nic), Some(name)) =
                (described.machine.nics.get_mut(*number), names.get(group))
            {
                nic.network = Some(name.clone());
            }
        }
        Ok(())
    }

    async fn datacenter(&self, properties: &Properties) -> Result<String> {
        let above = ["parent", "parentVApp", "runtime.host"];
        let above = above.iter().find_map(|path| properties.reference(path));
        let above = above.ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server does not say where the machine is")
        })?;
        datacenter_of(&self.client, above).await
    }
}

/// The disks of a machine as files; none for those that cannot be exported.
type Flat = Vec<Option<Arc<FlatDisk>>>;

/// Whether the disks are to be looked for as files.
fn by_file(transport: Transport, described: &Described) -> bool {
    let suits = |disk: &VmDisk| disk.preallocated && disk.refusal.is_none();
    match transport {
        Transport::Nfc => false,
        Transport::Datastore => true,
        Transport::Auto => !described.disks.is_empty() && described.disks.iter().all(suits),
    }
}

/// Looks for the files of disks.
struct FlatFinder {
    client: Client,
    transport: Transport,
    datacenter: Result<String>,
}

impl FlatFinder {
    /// The disks as files; none where they cannot be had and the choice is ours.
    async fn find(&self, described: &Described) -> Result<Option<Flat>> {
        let auto = self.transport == Transport::Auto;
        let datacenter = match &self.datacenter {
            Ok(datacenter) => datacenter,
            Err(_) if auto => return Ok(None),
            Err(error) => return Err(Error::new(error.kind(), one_line(error))),
        };
        let mut flat = Vec::new();
        for disk in &described.disks {
            if disk.refusal.is_some() {
                flat.push(None);
                continue;
            }
            match FlatDisk::open(&self.client, datacenter, disk).await {
                Ok(open) => flat.push(Some(Arc::new(open))),
                Err(error) if auto => {
                    tracing::info!("{}: exported as a stream: {}", disk.label, one_line(&error));
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(flat))
    }
}

fn disk_infos(
    described: &Described,
    flat: Option<&[Option<Arc<FlatDisk>>]>,
    settled: bool,
    marks: Option<&str>,
) -> Vec<DiskInfo> {
    let info = |(number, (disk, vm)): (usize, (&crate::vm::MachineDisk, &VmDisk))| {
        let file = flat.and_then(|flat| flat.get(number)?.as_ref());
        let identity = match file {
            Some(file) => {
                file.identity().filter(|_| settled).map(|id| format!("{id} {}", vm.marks))
            }
            // The platform's own marks of a content are part of it: with none of them nothing
            // is proven.
            None => marks.filter(|_| !vm.marks.is_empty()).map(|id| format!("{id} {}", vm.marks)),
        };
        DiskInfo {
            id: disk.id.clone(),
            name: vm.label.clone(),
            capacity: vm.capacity,
            block_size: GRAIN,
            seek: if file.is_some() { Seek::Ranges } else { Seek::Stream },
            format: None,
            identity,
            modified_seconds: file.map_or(0, |file| file.modified_seconds()),
            refusal: vm.refusal.clone(),
        }
    };
    described.machine.disks.iter().zip(&described.disks).enumerate().map(info).collect()
}

/// A machine that is read.
struct VsphereSource {
    client: Client,
    vm: MoRef,
    name: String,
    moment: Moment,
    /// Whether it was off when it was opened.
    off: bool,
    /// The snapshot that is read; none for the machine itself.
    subject: Option<MoRef>,
    leased: Arc<Leased>,
    /// The disks as files, none where they are streams; known once the machine is at rest.
    flat: OnceLock<Option<Flat>>,
    /// Whether they are known to be streams.
    streams: bool,
    finder: FlatFinder,
    disks: Vec<DiskInfo>,
    described: Described,
    held: Held,
}

/// What was made for the run, and what was learned in it.
#[derive(Debug, Default)]
struct Held {
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
        Some(Whole {
            format: ImageFormat::Vmdk,
            variant: Some(Variant::StreamOptimized),
            bytes: WholeBytes::Wire(Arc::new(self.wire(disk)?)),
            expected: None,
        })
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
