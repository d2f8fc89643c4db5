//! Packages: an OVF folder, or an OVA in one file. The order is the one that importers want: the
//! descriptor first, then the disks, the firmware variables, and the manifest of checksums last.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_common::error::{Error, Result, ResultExt};
use hyper_common::fs::Target as Place;
use hyper_common::package::manifest::{Digest, Manifest};
use hyper_common::package::ova::header_len;
use hyper_common::package::ovf::{OvfDisk, OvfFiles, pad, reserved_len, write_ovf};
use hyper_common::progress::{DiskEnd, Phase};
use hyper_common::provider::ExportSource;
use hyper_common::sink::{CompressSink, FileSink, MemberSink, PipeSink, Sink, StreamCompression};
use hyper_common::transfer::{
    CopyTask, Destination, FileSum, Member, PackageKeeper, SumKind, Summer, WrittenImage,
};

use crate::beside::{SmallFile, machine_file, machine_path};
use crate::disks::image_source;
use crate::machine::{Shared, disk_artifact, nvram_of};
use crate::plan::{MachinePlan, PlannedDisk};
use crate::record::{Artifact, Exported};
use crate::request::{PackageCompress, To};
use crate::tar::Tar;

/// One small member of a package.
pub struct Part {
    name: String,
    bytes: Vec<u8>,
    role: &'static str,
}

impl Shared {
    /// An OVF folder.
    pub async fn write_ovf(
        &self,
        source: &dyn ExportSource,
        plan: &mut MachinePlan,
        record: &mut Exported,
    ) -> Result<Vec<WrittenImage>> {
        let nvram = nvram_name(source, plan);
        plan.machine.firmware.nvram_file = nvram.clone();
        let names = [format!("{}.ovf", plan.stem), format!("{}.mf", plan.stem)];
        let small = names.iter().chain(&nvram).map(String::as_str);
        let disks = plan.disks.iter().map(|disk| disk.file_name.as_str());
        self.check_free(plan, small.chain(disks).map(|name| plan.folder.join(name)))?;
        self.check_free(plan, std::iter::once(machine_path(plan)))?;
        let written = self.copy_disks(source, plan).await?;
        let nvram = match source.still_same().await {
            Ok(()) => nvram_part(source, plan),
            Err(error) => Err(error),
        };
        let nvram =
            nvram.inspect_err(|_| written.iter().for_each(|image| drop(image.discard())))?;
        let machine = machine_file(plan)?;
        self.reporter.phase(Phase::Finish);
        let files = ovf_files(plan, nvram.as_ref(), |number, _| facts(&written[number]));
        let ovf = write_ovf(&plan.machine, &files)?;
        let mut manifest = Manifest::default();
        let kind = self.sum_kind();
        push_sum(&mut manifest, &names[0], &sum_of(kind, ovf.as_bytes()));
        for (disk, image) in plan.disks.iter().zip(&written) {
            push_sum(&mut manifest, &disk.file_name, image_sum(image)?);
        }
        self.name_disks(plan, &written, record)?;
        if let Some(part) = nvram {
            push_sum(&mut manifest, &part.name, &sum_of(kind, &part.bytes));
            self.write_part(plan, part, record)?;
        }
        let ovf = Part { name: names[0].clone(), bytes: ovf.into_bytes(), role: "ovf" };
        self.write_part(plan, ovf, record)?;
        self.write_small(plan, &machine, record)?;
        let text = manifest.to_text().into_bytes();
        self.write_part(plan, Part { name: names[1].clone(), bytes: text, role: "mf" }, record)?;
        Ok(written)
    }

    fn write_part(&self, plan: &MachinePlan, part: Part, record: &mut Exported) -> Result<()> {
        let path = plan.folder.join(&part.name);
        let file = SmallFile { path, bytes: part.bytes, role: part.role };
        self.write_small(plan, &file, record)
    }

    /// The algorithm of the package's manifest.
    fn sum_kind(&self) -> SumKind {
        self.request.write.checksum.unwrap_or(SumKind::Sha256)
    }

    /// An OVA, to a file or to standard output. Answers with the file, for it to be settled.
    pub async fn write_ova(
        &self,
        source: &dyn ExportSource,
        plan: &mut MachinePlan,
        record: &mut Exported,
    ) -> Result<Option<Arc<dyn Sink>>> {
        plan.machine.firmware.nvram_file = nvram_name(source, plan);
        let known = plan.disks.iter().all(|disk| known_len(disk).is_some());
        if self.request.package_compress.is_none()
            && let Some(path) = plan.package.clone()
        {
            return self.write_ova_file(source, plan, known, &path, record).await.map(Some);
        }
        // What went through a compressor cannot be read back.
        if !known || self.request.write.verify {
            self.write_ova_by_spool(source, plan, record).await?;
            return Ok(None);
        }
        let front = Front::new(source, plan, self.request.write.time, known)?;
        let out = OutSink::new(self.package_sink(plan)?, self.request.package_compress)?;
        let tar = Tar::new(out.sink.clone(), front.mtime);
        let filled = self.fill_ova(source, plan, front, tar, None).await;
        let written = filled.inspect_err(|_| drop(out.file.abort()))?;
        let named = out.name(&written);
        let size = named.inspect_err(|_| drop(out.file.abort()))?;
        self.note_ova(plan, size, &written, record)?;
        Ok(None)
    }

    /// Puts the package together in the spool folder, then sends it to where it belongs.
    async fn write_ova_by_spool(
        &self,
        source: &dyn ExportSource,
        plan: &mut MachinePlan,
        record: &mut Exported,
    ) -> Result<()> {
        let Some(folder) = &self.request.spool else {
            let text = if self.request.write.verify {
                "a package that goes through a compressor cannot be read back"
            } else {
                "the front of the package needs sizes that are only known after its disks are written"
            };
            return Err(Error::unsupported(text)
                .with_hint("give --spool DIR with room for the package")
                .with_hint("or write an uncompressed OVA to a file"));
        };
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io("make the spool folder", error))
            .subject(|| folder.display().to_string())?;
        let path = folder.join(format!("{}-{}.ova", plan.stem, std::process::id()));
        let spool = self.file_sink(&path)?;
        let _leftover =
            self.cancel.leftover(Place::new(&path)?.partial_path().display().to_string());
        let outcome = self.send_spooled(source, plan, &spool, record).await;
        spool.abort();
        outcome
    }

    async fn send_spooled(
        &self,
        source: &dyn ExportSource,
        plan: &mut MachinePlan,
        spool: &Arc<dyn Sink>,
        record: &mut Exported,
    ) -> Result<()> {
        let front = Front::new(source, plan, self.request.write.time, false)?;
        let tar = Tar::new(spool.clone(), front.mtime);
        let written = self.fill_ova(source, plan, front, tar, None).await?;
        let file = spool.read_back().ok_or_else(|| Error::unsupported("read the spool"))?;
        let out = OutSink::new(self.package_sink(plan)?, self.request.package_compress)?;
        let progress = self.reporter.disk(&format!("{}.ova", plan.stem), file.len());
        progress.phase(Phase::Package);
        let task = CopyTask {
            capacity: file.len(),
            file,
            sink: out.sink.clone(),
            sums: Vec::new(),
            follow: false,
            progress: progress.clone(),
        };
        let sent = self.engine.copy(task).await.and_then(|_| out.name(&written));
        let size = sent.inspect_err(|_| drop(out.file.abort()))?;
        progress.finish(DiskEnd::Done);
        self.note_ova(plan, size, &written, record)
    }

    /// Where the package goes.
    fn package_sink(&self, plan: &MachinePlan) -> Result<Arc<dyn Sink>> {
        match &plan.package {
            Some(path) if self.request.to != To::Pipe => {
                self.check_free(plan, std::iter::once(path.clone()))?;
                self.file_sink(path)
            }
            _ => Ok(Arc::new(PipeSink::stdout()?)),
        }
    }

    /// A fresh file, journaled before it is made.
    ///
    /// # Errors
    /// `Conflict` where another run writes it; `Io`.
    pub fn file_sink(&self, path: &Path) -> Result<Arc<dyn Sink>> {
        let place = Place::new(path)?;
        if let Some(run) = &self.run {
            run.making_file(&place)?;
        }
        let claim = place.claim()?;
        Ok(Arc::new(FileSink::create(claim, self.request.write.overwrite)?))
    }

    /// Writes all members: strictly in order where all sizes are known; otherwise the descriptor
    /// and the headers are written over room that was left for them.
    pub async fn fill_ova(
        &self,
        source: &dyn ExportSource,
        plan: &MachinePlan,
        front: Front,
        mut tar: Tar,
        keeper: Option<&Arc<PackageKeeper>>,
    ) -> Result<Written> {
        let Front { ovf_name, room, beforehand, known, mut nvram, .. } = front;
        let ovf_at = tar.reserve(&ovf_name, room);
        if known {
            let text = write_ovf(&plan.machine, &beforehand)?;
            tar.put(ovf_at, &ovf_name, pad(text, room)?.as_bytes())?;
        }
        let mut images = Vec::new();
        for disk in &plan.disks {
            let keeper = keeper.map(|keeper| (keeper, images.len()));
            images.push(self.write_member(source, plan, disk, &mut tar, keeper).await?);
        }
        // What was read of a source that changed is worth nothing to a later run.
        source.still_same().await.inspect_err(|_| drop(tar.sink.abort()))?;
        if !known {
            nvram = nvram_part(source, plan)?;
        }
        let files = match known {
            true => beforehand,
            false => ovf_files(plan, nvram.as_ref(), |number, _| facts(&images[number])),
        };
        let ovf = pad(write_ovf(&plan.machine, &files)?, room)?.into_bytes();
        if !known {
            tar.put(ovf_at, &ovf_name, &ovf)?;
        }
        let kind = self.sum_kind();
        let mut manifest = Manifest::default();
        push_sum(&mut manifest, &ovf_name, &sum_of(kind, &ovf));
        for (disk, image) in plan.disks.iter().zip(&images) {
            push_sum(&mut manifest, &disk.file_name, image_sum(image)?);
        }
        if let Some(part) = &nvram {
            push_sum(&mut manifest, &part.name, &sum_of(kind, &part.bytes));
            tar.append(&part.name, &part.bytes)?;
        }
        tar.append(&format!("{}.mf", plan.stem), manifest.to_text().as_bytes())?;
        let size = tar.finish()?;
        Ok(Written { images, size })
    }

    async fn write_member(
        &self,
        source: &dyn ExportSource,
        plan: &MachinePlan,
        disk: &PlannedDisk,
        tar: &mut Tar,
        keeper: Option<(&Arc<PackageKeeper>, usize)>,
    ) -> Result<WrittenImage> {
        let header = tar.at;
        let base = header + header_len(&disk.file_name);
        let known = known_len(disk);
        if let Some(len) = known {
            tar.write(header, &tar.header(&disk.file_name, len)?)?;
        }
        let sink: Arc<dyn Sink> = Arc::new(MemberSink::new(tar.sink.clone(), base));
        let to = match keeper {
            Some((keeper, number)) => Destination::Member(Box::new(Member {
                sink,
                keep: keeper.member(number, base),
                state: keeper.state_of(number),
            })),
            None => Destination::Sink(sink),
        };
        let label = format!("{}/{}", plan.machine.name, disk.info.id);
        let progress = self.reporter.disk(&label, disk.plan.options.capacity);
        let from = image_source(source, disk);
        let image = match &disk.whole {
            Some(whole) => self.engine.copy_image(&from, &disk.plan, whole, to, progress).await?,
            None => self.engine.write_image(&from, &disk.plan, to, progress).await?,
        };
        self.tell(&label, disk, &image);
        if known.is_none() {
            tar.write(header, &tar.header(&disk.file_name, image.size)?)?;
        }
        tar.at = base + image.size;
        tar.pad(image.size)?;
        Ok(image)
    }

    /// Takes a named package into the journal and into the record.
    pub fn note_ova(
        &self,
        plan: &MachinePlan,
        size: u64,
        written: &Written,
        record: &mut Exported,
    ) -> Result<()> {
        let path = match &plan.package {
            Some(path) => path.clone(),
            None => PathBuf::from("-"),
        };
        let package = Artifact {
            path: path.display().to_string(),
            role: "package",
            format: Some("ova".into()),
            disk: None,
            size_bytes: size,
            checksum: None,
            verified: self.request.write.verify,
        };
        self.note(package, record)?;
        for (disk, image) in plan.disks.iter().zip(&written.images) {
            let inside = format!("{}#{}", path.display(), disk.file_name);
            record.data_bytes += image.data_bytes;
            record.reused_bytes += image.reused_bytes;
            // Bytes within the package count once, with the package.
            let artifact = Artifact { size_bytes: 0, ..disk_artifact(disk, image, inside) };
            record.artifacts.push(artifact);
        }
        Ok(())
    }
}

/// A filled package.
pub struct Written {
    images: Vec<WrittenImage>,
    /// Its length in bytes.
    pub size: u64,
}

/// What stands before the disks of a package, and what their places depend on.
pub struct Front {
    ovf_name: String,
    /// Bytes kept for the descriptor.
    room: u64,
    beforehand: OvfFiles,
    /// Whether all sizes are known beforehand.
    known: bool,
    nvram: Option<Part>,
    /// Time of change of all members, in seconds since 1970.
    pub mtime: i64,
}

impl Front {
    /// Of the package of a plan.
    ///
    /// # Errors
    /// Those of reading the firmware variables, where their size is needed; `Internal`.
    pub fn new(
        source: &dyn ExportSource,
        plan: &MachinePlan,
        time: Option<i64>,
        known: bool,
    ) -> Result<Self> {
        let modified = plan.disks.iter().map(|disk| disk.info.modified_seconds).max();
        let nvram = if known { nvram_part(source, plan)? } else { None };
        let beforehand = ovf_files(plan, nvram.as_ref(), |_, disk| {
            // Where sizes are known beforehand, how much of a disk holds data is not.
            let size = known_len(disk).unwrap_or(0);
            (size, (!known).then_some(0))
        });
        Ok(Self {
            ovf_name: format!("{}.ovf", plan.stem),
            room: reserved_len(&plan.machine, &beforehand)?.next_multiple_of(512),
            beforehand,
            known,
            nvram,
            mtime: time.or(modified).unwrap_or(0),
        })
    }

    /// Where the first disk's header is.
    pub fn end(&self) -> u64 {
        header_len(&self.ovf_name) + self.room
    }

    /// What decides where members lie, in text.
    pub fn recipe(&self) -> String {
        format!("{} {} {} {}", env!("CARGO_PKG_VERSION"), self.ovf_name, self.room, self.known)
    }
}

/// Where a package's bytes go, perhaps through a compressor.
struct OutSink {
    sink: Arc<dyn Sink>,
    compress: Option<Arc<CompressSink>>,
    file: Arc<dyn Sink>,
}

impl OutSink {
    fn new(file: Arc<dyn Sink>, how: Option<PackageCompress>) -> Result<Self> {
        let how = match how {
            None => return Ok(Self { sink: file.clone(), compress: None, file }),
            Some(PackageCompress::Gzip(level)) => StreamCompression::Gzip(level),
            Some(PackageCompress::Zstd(level)) => StreamCompression::Zstd(level),
        };
        let compress = Arc::new(CompressSink::new(file.clone(), how)?);
        Ok(Self { sink: compress.clone(), compress: Some(compress), file })
    }

    /// Ends the package and names it; answers with how long the file is.
    fn name(&self, written: &Written) -> Result<u64> {
        let size = match &self.compress {
            Some(compress) => compress.finish()?,
            None => written.size,
        };
        self.file.commit().map(|()| size)
    }
}

/// The size of a disk's file, where it is known before it is written.
pub fn known_len(disk: &PlannedDisk) -> Option<u64> {
    disk.whole.as_ref()?.bytes.len()
}

/// The files that the descriptor names; `facts` gives a disk's file size and populated bytes.
fn ovf_files(
    plan: &MachinePlan,
    nvram: Option<&Part>,
    facts: impl Fn(usize, &PlannedDisk) -> (u64, Option<u64>),
) -> OvfFiles {
    let disk = |(number, disk): (usize, &PlannedDisk)| {
        let (size, populated) = facts(number, disk);
        OvfDisk {
            file: disk.file_name.clone(),
            size,
            capacity: disk.plan.options.capacity,
            populated,
            format: disk.plan.format,
            variant: disk.plan.options.variant,
        }
    };
    OvfFiles {
        disks: plan.disks.iter().enumerate().map(disk).collect(),
        nvram: plan.machine.firmware.nvram_file.clone().map(|name| (name, part_len(nvram))),
    }
}

/// The size of a part that may still have to come.
fn part_len(part: Option<&Part>) -> u64 {
    part.map_or(0, |part| part.bytes.len() as u64)
}

/// The name that the firmware variables get, where the source has some.
fn nvram_name(source: &dyn ExportSource, plan: &MachinePlan) -> Option<String> {
    source.nvram().map(|_| format!("{}.nvram", plan.stem))
}

/// The firmware variables. The machine's description names them.
fn nvram_part(source: &dyn ExportSource, plan: &MachinePlan) -> Result<Option<Part>> {
    let Some((_, bytes)) = nvram_of(source)? else { return Ok(None) };
    let name = plan.machine.firmware.nvram_file.clone();
    Ok(name.map(|name| Part { name, bytes, role: "nvram" }))
}

fn facts(image: &WrittenImage) -> (u64, Option<u64>) {
    (image.size, Some(image.data_bytes))
}

fn sum_of(kind: SumKind, bytes: &[u8]) -> FileSum {
    let mut sum = Summer::new(kind);
    sum.update(bytes);
    sum.finish()
}

fn image_sum(image: &WrittenImage) -> Result<&FileSum> {
    let missing = || Error::integrity("a disk of the package has no checksum");
    image.sum.as_ref().ok_or_else(missing)
}

fn push_sum(manifest: &mut Manifest, name: &str, sum: &FileSum) {
    let digest = match sum.kind {
        SumKind::Sha256 => Digest::Sha256,
        SumKind::Sha1 => Digest::Sha1,
    };
    manifest.push(name, digest, &sum.hex);
}
