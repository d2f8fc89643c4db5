//! The export facet: what is made in the cluster for reading a machine, and removed again.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt, stream};

use super::Kubevirt;
use super::discovery::KUBEVIRT;
use super::inventory::instance;
use super::machine::Described;
use super::marks::Watched;
use super::moment::TempSnapshot;
use super::opening::{BLOCK, open, runs};
use super::record::parts;
use super::session::{Plan, Session};
use super::snapshots::GROUP;
use super::vmexport::{Exports, Subject};
use super::volume::Volume;
use crate::error::{Error, Result, ResultExt, one_line};
use crate::image::ReadAt;
use crate::progress::Reporter;
use crate::provider::facets::power::{Power, Stop};
use crate::provider::{
    DiskInfo, End, Export, ExportOptions, ExportSource, ExtentStream, Ledger, Moment, Seek, Ties,
    Transport, Whole,
};
use crate::vm::{Machine, VmId};

/// Hours that an export lives at the least, and bytes for which it lives an hour more. A link of
/// 10 MB a second carries so many.
const HOURS: (u64, u64) = (2, 32 << 30);

#[async_trait]
impl Export for Kubevirt {
    async fn open(&self, vm: &VmId, options: &ExportOptions) -> Result<Box<dyn ExportSource>> {
        Ok(Box::new(open(self, vm, options).await?))
    }
}

/// A machine that is read.
pub(super) struct KubevirtSource {
    pub kubevirt: Kubevirt,
    pub id: VmId,
    pub name: String,
    pub moment: Moment,
    pub transport: Transport,
    /// Whether it was off when it was opened.
    pub off: bool,
    pub exports: Exports,
    pub watched: Watched,
    /// What was known of the disks when it was opened, and what is known since it is exported.
    pub disks: Vec<DiskInfo>,
    pub known: OnceLock<Vec<DiskInfo>>,
    pub described: Described,
    pub held: Held,
}

/// What was made for the run, and what was learned in it.
#[derive(Default)]
pub(super) struct Held {
    temporary: TempSnapshot,
    session: OnceLock<Arc<Session>>,
    volumes: OnceLock<Vec<Option<Arc<Volume>>>>,
    ledger: OnceLock<Arc<dyn Ledger>>,
    reporter: OnceLock<Arc<dyn Reporter>>,
    said: Mutex<Vec<String>>,
}

impl Held {
    fn say(&self, clause: String) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(clause);
    }
}

impl KubevirtSource {
    /// Brings the machine to the moment that is read; answers what is exported.
    async fn reach_moment(&self, ties: &Ties) -> Result<Subject> {
        let machine =
            || Subject { group: KUBEVIRT, kind: "VirtualMachine", name: self.name.clone() };
        let snapshot = |name: &str| Subject {
            group: GROUP,
            kind: "VirtualMachineSnapshot",
            name: name.to_owned(),
        };
        match &self.moment {
            Moment::AsIs => Ok(machine()),
            Moment::Snapshot(name) => Ok(snapshot(name)),
            Moment::TempSnapshot { quiesce } => {
                let temporary = &self.held.temporary;
                let taken = temporary.take(&self.kubevirt, &self.id, *quiesce, ties).await?;
                Ok(snapshot(&taken))
            }
            Moment::PowerOff => {
                if !self.off {
                    ties.reporter.note(&format!("{}: shutting the guest down", self.name));
                    let stop = Stop::Graceful { grace: None };
                    self.kubevirt.stop(&self.id, stop, &ties.cancel).await.map_err(|error| {
                        error.with_hint("--temp-snapshot exports it while it runs")
                    })?;
                    self.held.say("it was shut down and stays off".to_owned());
                }
                Ok(machine())
            }
        }
    }

    /// Makes the export and learns what it serves.
    async fn begin_session(&self, subject: Subject, ties: &Ties) -> Result<()> {
        let bytes: u64 = self.disks.iter().map(|disk| disk.capacity).sum();
        let plan = Plan {
            exports: self.exports.clone(),
            // A snapshot does not change.
            watched: (subject.group == KUBEVIRT).then(|| self.watched.clone()),
            subject,
            hours: HOURS.0 + bytes / HOURS.1,
            transport: self.transport,
        };
        let session = Arc::new(Session::new(plan, ties));
        let _ = self.held.session.set(session.clone());
        session.begin().await?;
        let served = session.server()?;
        for claim in served.claims() {
            if !self.described.disks.iter().any(|disk| disk.claim == claim) {
                self.held.say(format!("its volume on {claim} is no disk, and is not exported"));
            }
        }
        Ok(())
    }

    /// Learns of each disk that is wanted how large it is and how it is sent.
    async fn open_volumes(&self, ties: &Ties) -> Result<()> {
        let Some(session) = self.held.session.get() else { return Ok(()) };
        let (mut volumes, mut known) = (Vec::new(), self.disks.clone());
        for (number, disk) in self.described.disks.iter().enumerate() {
            if !ties.disks.contains(&number) {
                volumes.push(None);
                continue;
            }
            let opened = Volume::open(session.clone(), disk);
            let volume = ties.cancel.unless_cancelled(opened).await;
            let volume = volume.subject(|| disk.volume.clone())?;
            if let Some(info) = known.get_mut(number) {
                *info = DiskInfo {
                    capacity: volume.len,
                    settled: true,
                    block_size: BLOCK,
                    seek: if volume.takes_ranges() { Seek::Ranges } else { Seek::Stream },
                    identity: match session.marks() {
                        Some(marks) => marks.identity(&disk.claim),
                        None => info.identity.take(),
                    },
                    ..info.clone()
                };
            }
            volumes.push(Some(Arc::new(volume)));
        }
        let _ = self.known.set(known);
        let _ = self.held.volumes.set(volumes);
        Ok(())
    }

    async fn end_session(&self, end: End) -> Result<()> {
        let Some(session) = self.held.session.get() else { return Ok(()) };
        let ended = session.end().await;
        // What was exported is whole and was checked; the journal still names the export.
        if let (Err(error), End::Completed, Some(reporter)) =
            (&ended, end, self.held.reporter.get())
        {
            reporter.warn(&format!("{}: {}", self.name, one_line(error)));
            return Ok(());
        }
        ended
    }
}

#[async_trait]
impl ExportSource for KubevirtSource {
    fn machine(&self) -> &Machine {
        &self.described.machine
    }

    fn disks(&self) -> &[DiskInfo] {
        self.known.get().unwrap_or(&self.disks)
    }

    fn notes(&self) -> Vec<String> {
        let said = self.held.said.lock().unwrap_or_else(PoisonError::into_inner);
        self.described.notes.iter().chain(said.iter()).cloned().collect()
    }

    async fn begin(&self, ties: &Ties) -> Result<()> {
        let _ = self.held.ledger.set(ties.ledger.clone());
        let _ = self.held.reporter.set(ties.reporter.clone());
        let begun = async {
            let subject = self.reach_moment(ties).await?;
            self.begin_session(subject, ties).await?;
            self.open_volumes(ties).await
        };
        begun.await.subject(|| self.name.clone())?;
        ties.cancel.check()
    }

    fn nvram(&self) -> Option<(String, Arc<dyn ReadAt>)> {
        None
    }

    fn read(&self, disk: usize, range: Range<u64>) -> ExtentStream {
        if range.is_empty() {
            return stream::empty().boxed();
        }
        match self.held.volumes.get().and_then(|all| all.get(disk)?.as_ref()) {
            Some(volume) => volume.extents(range),
            None => {
                let error = Error::not_found(format!("there is no disk {disk}"));
                stream::iter([Err(error)]).boxed()
            }
        }
    }

    fn whole(&self, _: usize) -> Option<Whole> {
        None
    }

    async fn still_same(&self) -> Result<()> {
        let marks = self.held.session.get().and_then(|session| session.marks());
        let Some(marks) = marks else { return Ok(()) };
        let (namespace, name) = parts(&self.id);
        if instance(&self.kubevirt, namespace, name).await?.is_some_and(|it| runs(&it)) {
            return Err(Error::conflict("the machine was started while it was read")
                .with_subject(&self.name));
        }
        marks.allow(&self.watched.look().await?).subject(|| self.name.clone())
    }

    async fn close(self: Box<Self>, end: End) -> Result<()> {
        let ended = self.end_session(end).await.subject(|| self.name.clone());
        let ledger = self.held.ledger.get().map(AsRef::as_ref);
        let removed = self.held.temporary.remove(&self.kubevirt, &self.id, ledger).await;
        ended.and(removed.subject(|| self.name.clone()))
    }
}
