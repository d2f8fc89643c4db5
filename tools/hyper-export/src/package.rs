//! Packages: an OVF folder, or an OVA in one file. The order is the one that importers want: the
//! descriptor first, then the disks, the firmware variables, and the manifest of checksums last.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hyper_common::error::{Error, Result, ResultExt};
use hyper_common::fs::Target as Place;
use hyper_common::image::WriteOp;
use hyper_common::package::manifest::{Digest, Manifest};
use hyper_common::package::ova::{end_blocks, header_len, member_header, padding};
use hyper_common::package::ovf::{OvfDisk, OvfFiles, pad, reserved_len, write_ovf};
use hyper_common::progress::Phase;
use hyper_common::provider::ExportSource;
use hyper_common::sink::{CompressSink, FileSink, MemberSink, PipeSink, Sink, StreamCompression};
use hyper_common::transfer::{Destination, FileSum, SumKind, Summer, WrittenImage};

use crate::beside::{SmallFile, machine_file};
use crate::machine::{Shared, disk_artifact, image_source, nvram_of};
use crate::plan::{MachinePlan, PlannedDisk};
use crate::record::{Artifact, Exported};
use crate::request::{PackageCompress, To};

/// One small member of a package.
struct Part {
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
        let nvram = self.nvram_part(source, plan)?;
        let machine = machine_file(plan)?;
        let names = [format!("{}.ovf", plan.stem), format!("{}.mf", plan.stem)];
        let small = names.iter().map(String::as_str).chain(nvram.iter().map(|p| p.name.as_str()));
        let disks = plan.disks.iter().map(|disk| disk.file_name.as_str());
        self.check_free(plan, small.chain(disks).map(|name| plan.folder.join(name)))?;
        self.check_free(plan, std::iter::once(machine.path.clone()))?;
        let written = self.copy_disks(source, plan).await?;
        if let Err(error) = source.still_same().await {
            written.iter().for_each(|image| drop(image.discard()));
            return Err(error);
        }
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

    fn nvram_part(
        &self,
        source: &dyn ExportSource,
        plan: &mut MachinePlan,
    ) -> Result<Option<Part>> {
        let Some((_, bytes)) = nvram_of(source)? else {
            plan.machine.firmware.nvram_file = None;
            return Ok(None);
        };
        let name = format!("{}.nvram", plan.stem);
        plan.machine.firmware.nvram_file = Some(name.clone());
        Ok(Some(Part { name, bytes, role: "nvram" }))
    }

    /// The algorithm of the package's manifest.
    fn sum_kind(&self) -> SumKind {
        self.request.write.checksum.unwrap_or(SumKind::Sha256)
    }

    /// An OVA, to a file or to standard output.
    pub async fn write_ova(
        &self,
        source: &dyn ExportSource,
        plan: &mut MachinePlan,
        record: &mut Exported,
    ) -> Result<()> {
        let nvram = self.nvram_part(source, plan)?;
        let direct = self.request.package_compress.is_none() && plan.package.is_some();
        let known = plan.disks.iter().all(|disk| known_len(disk).is_some());
        // What went through a compressor cannot be read back.
        if !direct && (!known || self.request.write.verify) {
            return self.write_ova_by_spool(source, plan, nvram, record).await;
        }
        let file = self.package_sink(plan)?;
        let out = OutSink::new(file, self.request.package_compress)?;
        let outcome = self.fill_ova(source, plan, &out, known, nvram).await;
        let written = match outcome {
            Ok(written) => written,
            Err(error) => {
                out.file.abort();
                return Err(error);
            }
        };
        self.finish_ova(plan, &out, &written, record)
    }

    /// Puts the package together in the spool folder, then sends it to where it belongs.
    async fn write_ova_by_spool(
        &self,
        source: &dyn ExportSource,
        plan: &mut MachinePlan,
        nvram: Option<Part>,
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
        let out = OutSink { sink: spool.clone(), compress: None, file: spool.clone() };
        let outcome = self.send_spooled(source, plan, &out, nvram, record).await;
        spool.abort();
        outcome
    }

    async fn send_spooled(
        &self,
        source: &dyn ExportSource,
        plan: &mut MachinePlan,
        spool: &OutSink,
        nvram: Option<Part>,
        record: &mut Exported,
    ) -> Result<()> {
        let written = self.fill_ova(source, plan, spool, false, nvram).await?;
        let file = spool.sink.read_back().ok_or_else(|| Error::unsupported("read the spool"))?;
        let target = OutSink::new(self.package_sink(plan)?, self.request.package_compress)?;
        let progress = self.reporter.disk(&format!("{}.ova", plan.stem), file.len());
        progress.phase(Phase::Package);
        let watch = Box::new(|_: Option<&[u8]>| Ok(()));
        let size = file.len();
        let sent = self.engine.copy(
            file,
            target.sink.clone(),
            Vec::new(),
            watch,
            (progress.clone(), size),
        );
        if let Err(error) = sent.await {
            target.file.abort();
            return Err(error);
        }
        progress.finish(hyper_common::progress::DiskEnd::Done);
        self.finish_ova(plan, &target, &written, record)
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

    /// Writes all members. With `known` sizes strictly in order; otherwise the descriptor and the
    /// headers are written over room that was left for them.
    async fn fill_ova(
        &self,
        source: &dyn ExportSource,
        plan: &MachinePlan,
        out: &OutSink,
        known: bool,
        nvram: Option<Part>,
    ) -> Result<Written> {
        let modified = plan.disks.iter().map(|disk| disk.info.modified_seconds).max();
        let mtime = self.request.write.time.or(modified).unwrap_or(0);
        let mut tar = Tar { sink: out.sink.clone(), at: 0, mtime };
        let ovf_name = format!("{}.ovf", plan.stem);
        let beforehand = ovf_files(plan, nvram.as_ref(), |_, disk| {
            // Where sizes are known beforehand, how much of a disk holds data is not.
            let size = known_len(disk).unwrap_or(0);
            (size, (!known).then_some(0))
        });
        let room = reserved_len(&plan.machine, &beforehand)?.next_multiple_of(512);
        let ovf_at = tar.reserve(&ovf_name, room);
        if known {
            let text = write_ovf(&plan.machine, &beforehand)?;
            tar.put(ovf_at, &ovf_name, pad(text, room)?.as_bytes())?;
        }
        let mut images = Vec::new();
        for disk in &plan.disks {
            images.push(self.write_member(source, plan, disk, &mut tar).await?);
        }
        source.still_same().await?;
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
    ) -> Result<WrittenImage> {
        let header = tar.at;
        let base = header + header_len(&disk.file_name);
        let known = known_len(disk);
        if let Some(len) = known {
            tar.write(header, &tar.header(&disk.file_name, len)?)?;
        }
        let member = Arc::new(MemberSink::new(tar.sink.clone(), base));
        let label = format!("{}/{}", plan.machine.name, disk.info.id);
        let progress = self.reporter.disk(&label, disk.plan.options.capacity);
        let from = image_source(source, disk);
        let image = match &disk.whole {
            Some(whole) => {
                self.engine.copy_image(&from, &disk.plan, whole, member, progress).await?
            }
            None => {
                let to = Destination::Sink(member);
                self.engine.write_image(&from, &disk.plan, to, progress).await?
            }
        };
        if known.is_none() {
            tar.write(header, &tar.header(&disk.file_name, image.size)?)?;
        }
        tar.at = base + image.size;
        tar.pad(image.size)?;
        Ok(image)
    }

    fn finish_ova(
        &self,
        plan: &mut MachinePlan,
        out: &OutSink,
        written: &Written,
        record: &mut Exported,
    ) -> Result<()> {
        self.reporter.phase(Phase::Finish);
        let named = match &out.compress {
            Some(compress) => compress.finish(),
            None => Ok(written.size),
        };
        let named = named.and_then(|size| out.file.commit().map(|()| size));
        // A package that was not named cannot be gone on with.
        let size = named.inspect_err(|_| drop(out.file.abort()))?;
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
            // Bytes within the package count once, with the package.
            let artifact = Artifact { size_bytes: 0, ..disk_artifact(disk, image, inside) };
            record.artifacts.push(artifact);
        }
        Ok(())
    }
}

/// A filled package.
struct Written {
    images: Vec<WrittenImage>,
    size: u64,
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
}

/// A tar file being written.
struct Tar {
    sink: Arc<dyn Sink>,
    at: u64,
    mtime: i64,
}

impl Tar {
    fn header(&self, name: &str, size: u64) -> Result<Vec<u8>> {
        member_header(name, size, self.mtime.max(0).cast_unsigned())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.sink.apply(WriteOp::Write { at, bytes: Bytes::copy_from_slice(bytes) })
    }

    /// Leaves room for a member; answers with where its header goes.
    fn reserve(&mut self, name: &str, size: u64) -> u64 {
        let at = self.at;
        self.at += header_len(name) + size.next_multiple_of(512);
        at
    }

    /// Writes a member into room that was left for it; its length is a multiple of 512.
    fn put(&self, at: u64, name: &str, bytes: &[u8]) -> Result<()> {
        let header = self.header(name, bytes.len() as u64)?;
        self.write(at, &header)?;
        self.write(at + header.len() as u64, bytes)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let header = self.header(name, bytes.len() as u64)?;
        self.write(self.at, &header)?;
        self.write(self.at + header.len() as u64, bytes)?;
        self.at += (header.len() + bytes.len()) as u64;
        self.pad(bytes.len() as u64)
    }

    /// The zeros after a member of `size` bytes.
    fn pad(&mut self, size: u64) -> Result<()> {
        let zeros = vec![0; padding(size) as usize];
        self.write(self.at, &zeros)?;
        self.at += zeros.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<u64> {
        let end = end_blocks();
        self.write(self.at, &end)?;
        self.at += end.len() as u64;
        self.sink.apply(WriteOp::SetLen(self.at))?;
        Ok(self.at)
    }
}

/// The size of a disk's file, where it is known before it is written.
fn known_len(disk: &PlannedDisk) -> Option<u64> {
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
        nvram: nvram.map(|part| (part.name.clone(), part.bytes.len() as u64)),
    }
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
