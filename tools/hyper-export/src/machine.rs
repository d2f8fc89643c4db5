//! One machine's export, from its reference to its files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, Result, ResultExt};
use hyper_common::fs::Target as Place;
use hyper_common::history::{ArtifactEntry, Outcome};
use hyper_common::progress::{Phase, Reporter};
use hyper_common::provider::{End, ExportOptions, ExportSource, Ties, registry};
use hyper_common::tool::JournaledRun;
use hyper_common::transfer::{Engine, WrittenImage};
use hyper_common::vm::VmId;

use crate::beside::{
    SmallFile, domain_file, domain_path, machine_file, machine_path, manifest_file, manifest_path,
    nvram_file, nvram_path, read_nvram,
};
use crate::disks::image_source;
use crate::plan::{MachinePlan, PlannedDisk};
use crate::record::{Artifact, Exported, PlannedFile};
use crate::reference::{Name, Wanted};
use crate::request::{Request, TargetFormat, To};
use crate::taken::taken;

/// What all machines of a run share.
pub struct Shared {
    /// What is asked for.
    pub request: Request,
    /// Moves the bytes.
    pub engine: Engine,
    /// Told how far it is.
    pub reporter: Arc<dyn Reporter>,
    /// The run in the journal; none for a dry run.
    pub run: Option<JournaledRun>,
    /// The wish to stop.
    pub cancel: Cancel,
    /// Names that machines of this run have taken.
    pub taken: Mutex<HashSet<PathBuf>>,
}

/// What a machine came to.
pub enum Done {
    /// It was exported.
    Exported(Box<Exported>, Box<MachinePlan>),
    /// It would be exported so.
    Planned(Vec<PlannedFile>),
}

impl Shared {
    /// Exports one machine.
    ///
    /// # Errors
    /// Whatever went wrong first; nothing stands under a final name then, unless the failure was in
    /// naming itself.
    pub async fn export(&self, wanted: &Wanted) -> Result<Done> {
        let provider = registry::open(&wanted.context)?;
        let id = match &wanted.name {
            Name::Reference(reference) => {
                self.cancel.unless_cancelled(provider.resolve(reference)).await?
            }
            Name::Id(id) => id.clone(),
        };
        let export = provider.export().ok_or_else(|| {
            Error::unsupported(format!("{} cannot export machines", provider.name()))
        })?;
        let options = ExportOptions {
            allow_path: self.request.write.allow_path.clone(),
            from_format: self.request.write.from_format,
            spool: self.request.spool.clone(),
            transport: self.request.transport,
            moment: self.request.moment.clone(),
        };
        let context = wanted.context.name.as_str();
        if let Some(run) = &self.run {
            for clause in run.reclaim(provider.as_ref(), context, &id).await? {
                self.reporter.note(&format!("{}: {clause}", wanted.label));
            }
        }
        // What comes through a pipe may take its time before it begins.
        let source = self.cancel.unless_cancelled(export.open(&id, &options)).await?;
        let origin = Origin { provider: provider.name(), context, id: &id };
        let outcome = self.export_opened(source.as_ref(), &origin).await;
        let end = if outcome.is_ok() { End::Completed } else { End::Aborted };
        let closed = source.close(end).await;
        let done = outcome?;
        closed?;
        Ok(done)
    }

    async fn export_opened(&self, source: &dyn ExportSource, origin: &Origin<'_>) -> Result<Done> {
        let began = Instant::now();
        let mut plan = MachinePlan::new(&self.request, source)?;
        if self.request.dry_run {
            self.claim_planned(&plan)?;
            return Ok(Done::Planned(plan.files(&self.request)));
        }
        self.make_folder(&plan.folder)?;
        plan.resumed = self.was_cut_short(source, &plan);
        if self.request.manifest {
            self.check_free(&plan, std::iter::once(manifest_path(&plan)))?;
        }
        let mut plan = self.begin(source, plan, origin).await?;
        let passes = if self.request.write.verify { 2 } else { 1 };
        self.reporter.expect(plan.capacity().saturating_mul(passes));
        let mut record = Exported {
            vm: plan.machine.name.clone(),
            context: origin.context.to_owned(),
            outcome: Outcome::Succeeded,
            format: self.request.format.name(),
            capacity_bytes: plan.capacity(),
            data_bytes: 0,
            written_bytes: 0,
            reused_bytes: 0,
            verified: self.request.write.verify,
            seconds: 0.0,
            artifacts: Vec::new(),
            warnings: Vec::new(),
            error: None,
        };
        let (mut written, mut package) = (Vec::new(), None);
        match self.request.format {
            TargetFormat::Image(_) => {
                written = self.write_disks(source, &mut plan, &mut record).await?;
            }
            TargetFormat::Ovf => written = self.write_ovf(source, &mut plan, &mut record).await?,
            TargetFormat::Ova => package = self.write_ova(source, &mut plan, &mut record).await?,
        }
        plan.warnings.extend(source.notes());
        if self.request.manifest {
            let file = manifest_file(&plan, origin.provider, &origin.id.0, &record.artifacts)?;
            self.write_small(&plan, &file, &mut record)?;
        }
        self.settle(&plan, &written)?;
        if let Some(package) = package {
            self.settle_package(&plan, package.as_ref())?;
        }
        record.written_bytes = record.artifacts.iter().map(|file| file.size_bytes).sum();
        record.seconds = began.elapsed().as_secs_f64();
        record.warnings.clone_from(&plan.warnings);
        for warning in &plan.warnings {
            self.reporter.warn(&format!("{}: {warning}", plan.machine.name));
        }
        Ok(Done::Exported(Box::new(record), Box::new(plan)))
    }

    /// Lets the source make what reading needs. Answers with the plan, which is made anew where the
    /// source only then knows its disks.
    async fn begin(
        &self,
        source: &dyn ExportSource,
        plan: MachinePlan,
        origin: &Origin<'_>,
    ) -> Result<MachinePlan> {
        let Some(run) = &self.run else { return Ok(plan) };
        let settled = plan.disks.iter().all(|disk| disk.info.settled);
        self.check_disks_free(&plan, settled)?;
        let ties = Ties {
            cancel: self.cancel.clone(),
            ledger: run.ledger(origin.context, origin.id),
            reporter: self.reporter.clone(),
            disks: plan.disks.iter().map(|disk| disk.index).collect(),
            sum: plan.disks.iter().find_map(|disk| disk.plan.sum),
        };
        source.begin(&ties).await?;
        if settled {
            return Ok(plan);
        }
        let mut plan = MachinePlan::new(&self.request, source)?;
        plan.resumed = self.was_cut_short(source, &plan);
        self.check_disks_free(&plan, true)?;
        Ok(plan)
    }

    /// Whether the files of disks and package may be made, before anything is made elsewhere for
    /// them. Unless the plan is settled, one with a state beside it may yet prove to be an earlier
    /// run's with the same source.
    fn check_disks_free(&self, plan: &MachinePlan, settled: bool) -> Result<()> {
        if self.request.to_pipe() || self.request.write.overwrite || plan.resumed {
            return Ok(());
        }
        let files: Vec<_> = match &plan.package {
            Some(package) => vec![package.clone()],
            None => plan.disks.iter().map(|disk| plan.folder.join(&disk.file_name)).collect(),
        };
        files.iter().try_for_each(|path| {
            let place = Place::new(path)?;
            match place.exists() && (settled || !place.state_path().exists()) {
                true => Err(taken(path)),
                false => Ok(()),
            }
        })
    }

    /// Whether a disk or the package of the plan has its name from a run that could not name
    /// everything.
    fn was_cut_short(&self, source: &dyn ExportSource, plan: &MachinePlan) -> bool {
        let named = |disk: &PlannedDisk| {
            let path = plan.folder.join(&disk.file_name);
            disk.plan.was_named(&image_source(source, disk), &path, disk.whole.is_some())
        };
        if self.request.to_pipe() || self.request.write.overwrite {
            return false;
        }
        match &plan.package {
            Some(package) => self.package_was_named(source, plan, package),
            None => plan.disks.iter().any(named),
        }
    }

    /// Everything has its name.
    fn settle(&self, plan: &MachinePlan, written: &[WrittenImage]) -> Result<()> {
        for (disk, image) in plan.disks.iter().zip(written) {
            image.settle();
            if let Some(run) = &self.run
                && !self.request.to_pipe()
            {
                let path = plan.folder.join(&disk.file_name);
                run.settled(&Place::new(&disk.plan.data_file(&path))?)?;
            }
        }
        Ok(())
    }

    fn make_folder(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io("make the folder", error))
            .subject(|| folder.display().to_string())
    }

    /// Disk images, and what stands beside them.
    async fn write_disks(
        &self,
        source: &dyn ExportSource,
        plan: &mut MachinePlan,
        record: &mut Exported,
    ) -> Result<Vec<WrittenImage>> {
        let nvram = source.nvram().map(|(name, _)| nvram_path(plan, &name));
        let small = nvram.into_iter().chain([machine_path(plan), domain_path(plan)]);
        self.check_free(plan, plan.disks.iter().map(|disk| plan.folder.join(&disk.file_name)))?;
        self.check_free(plan, small)?;
        let written = self.copy_disks(source, plan).await?;
        let small = match source.still_same().await {
            Ok(()) => self.small_files(source, plan),
            Err(error) => Err(error),
        };
        let small = small.inspect_err(|_| discard(&written))?;
        self.reporter.phase(Phase::Finish);
        self.name_disks(plan, &written, record)?;
        small.iter().try_for_each(|file| self.write_small(plan, file, record))?;
        Ok(written)
    }

    /// What stands beside disk images.
    fn small_files(
        &self,
        source: &dyn ExportSource,
        plan: &mut MachinePlan,
    ) -> Result<Vec<SmallFile>> {
        if self.request.to_pipe() {
            return Ok(Vec::new());
        }
        let mut small = Vec::new();
        small.extend(nvram_file(plan, nvram_of(source)?));
        small.extend([machine_file(plan)?, domain_file(plan)]);
        Ok(small)
    }

    /// Gives all disks their final names.
    pub fn name_disks(
        &self,
        plan: &MachinePlan,
        written: &[WrittenImage],
        record: &mut Exported,
    ) -> Result<()> {
        for (disk, image) in plan.disks.iter().zip(written) {
            image.commit()?;
            let path = match &self.request.to {
                To::Pipe => "-".into(),
                _ => {
                    let path = plan.folder.join(&disk.file_name);
                    disk.plan.data_file(&path).display().to_string()
                }
            };
            let artifact = disk_artifact(disk, image, path);
            record.data_bytes += image.data_bytes;
            record.reused_bytes += image.reused_bytes;
            self.note(artifact, record)?;
            if let Some(file) = &image.beside {
                let small = SmallFile {
                    path: plan.folder.join(&file.name),
                    bytes: file.bytes.clone(),
                    role: "descriptor",
                };
                self.write_small(plan, &small, record)?;
            }
        }
        Ok(())
    }

    /// Writes a small file and notes it.
    pub fn write_small(
        &self,
        plan: &MachinePlan,
        file: &SmallFile,
        record: &mut Exported,
    ) -> Result<()> {
        if let Some(run) = &self.run {
            run.making_file(&Place::new(&file.path)?)?;
        }
        let artifact = file.write(self.request.write.overwrite, plan.resumed)?;
        self.note(artifact, record)
    }

    /// Takes a named file into the journal and into the record.
    pub fn note(&self, artifact: Artifact, record: &mut Exported) -> Result<()> {
        if let Some(run) = &self.run {
            let sum = artifact.checksum.as_ref().and_then(|sum| sum.split_once(':'));
            run.artifact(ArtifactEntry {
                path: artifact.path.clone(),
                source: Some(format!("{}:{}", record.context, record.vm)),
                format: artifact.format.clone(),
                size_bytes: artifact.size_bytes,
                checksums: sum.iter().map(|(kind, hex)| ((*kind).into(), (*hex).into())).collect(),
                verified: artifact.verified,
            })?;
        }
        record.artifacts.push(artifact);
        Ok(())
    }

    /// Whether names are free: neither taken by another machine of this run nor, unless they may be
    /// replaced or an earlier run is gone on with, by a file.
    pub fn check_free(
        &self,
        plan: &MachinePlan,
        paths: impl Iterator<Item = PathBuf>,
    ) -> Result<()> {
        if self.request.to_pipe() {
            return Ok(());
        }
        for path in paths {
            let may_be_there = self.request.write.overwrite || plan.resumed;
            if !may_be_there && Place::new(&path)?.exists() {
                return Err(taken(&path));
            }
            self.claim(path)?;
        }
        Ok(())
    }

    /// Takes a name that no other machine of this run may take.
    fn claim(&self, path: PathBuf) -> Result<()> {
        let subject = path.display().to_string();
        let mut names = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if names.insert(path) {
            return Ok(());
        }
        Err(Error::conflict("another machine of this run writes that file")
            .with_subject(subject)
            .with_hint("export them to folders of their own"))
    }

    /// Takes the names that a plan would need, so that two plans for one file are told before
    /// anything is read.
    fn claim_planned(&self, plan: &MachinePlan) -> Result<()> {
        if self.request.to_pipe() {
            return Ok(());
        }
        let mut paths: Vec<_> = match &plan.package {
            Some(package) => vec![package.clone()],
            None => plan.disks.iter().map(|disk| plan.folder.join(&disk.file_name)).collect(),
        };
        if plan.package.is_none() {
            paths.push(machine_path(plan));
        }
        if self.request.manifest {
            paths.push(manifest_path(plan));
        }
        paths.into_iter().try_for_each(|path| self.claim(path))
    }
}

/// Where a machine came from.
struct Origin<'a> {
    provider: &'static str,
    context: &'a str,
    id: &'a VmId,
}

/// A disk's file as the record has it.
pub fn disk_artifact(disk: &PlannedDisk, image: &WrittenImage, path: String) -> Artifact {
    Artifact {
        path,
        role: "disk",
        format: Some(disk.plan.format.to_string()),
        disk: Some(disk.info.id.clone()),
        size_bytes: image.size,
        checksum: image.sum.as_ref().map(ToString::to_string),
        verified: image.verified,
    }
}

/// The machine's firmware variables.
pub fn nvram_of(source: &dyn ExportSource) -> Result<Option<(String, Vec<u8>)>> {
    let Some((name, file)) = source.nvram() else { return Ok(None) };
    let bytes = read_nvram(&name, file.as_ref())?;
    Ok(Some((name, bytes)))
}

fn discard(written: &[WrittenImage]) {
    for image in written {
        image.discard();
    }
}
