//! What one machine's export comes to, before a byte moves.

use std::path::{Path, PathBuf};

use hyper_common::error::{Error, ErrorKind, Result, ResultExt};
use hyper_common::fs::sanitise_name;
use hyper_common::image::{ImageFormat, Variant};
use hyper_common::provider::{DiskInfo, ExportSource, Whole};
use hyper_common::tool::write_flags::PlanSource;
use hyper_common::transfer::ImagePlan;
use hyper_common::vm::Machine;

use crate::record::PlannedFile;
use crate::request::{DiskChoice, Request, TargetFormat, To};

/// One machine's export.
#[derive(Debug)]
pub struct MachinePlan {
    /// The name that files take: the machine's, made fit for a file system.
    pub stem: String,
    /// The machine with the chosen disks alone, each with the name of its file.
    pub machine: Machine,
    /// The chosen disks.
    pub disks: Vec<PlannedDisk>,
    /// The folder that everything goes to.
    pub folder: PathBuf,
    /// The package's file, for an OVA.
    pub package: Option<PathBuf>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Whether an earlier run with the same source and request was ended while it named the files:
    /// those that have their names are kept.
    pub resumed: bool,
}

/// One disk's export.
#[derive(Debug)]
pub struct PlannedDisk {
    /// Its number on the source.
    pub index: usize,
    /// What the source says of it.
    pub info: DiskInfo,
    /// The name of its file.
    pub file_name: String,
    /// How it is written.
    pub plan: ImagePlan,
    /// The source's file, where it passes through unchanged.
    pub whole: Option<Whole>,
}

impl MachinePlan {
    /// Plans the export of an opened machine.
    ///
    /// # Errors
    /// `NotFound` for a disk that is not there; `Unsupported` where the format cannot hold a disk;
    /// `Usage` where several disks meet one target.
    pub fn new(request: &Request, source: &dyn ExportSource) -> Result<Self> {
        let mut machine = source.machine().clone();
        let stem = stem(request, &machine.name);
        let chosen = choose(&request.disks, source)?;
        let mut warnings = Vec::new();
        let left_out = source.disks().len() - chosen.len();
        if left_out > 0 {
            warnings.push(format!("{left_out} of {} disks were left out", source.disks().len()));
        }
        let mut disks = Vec::new();
        let mut planned = Vec::new();
        for (number, index) in chosen.iter().enumerate() {
            let disk = plan_disk(request, source, *index, number, &stem)?;
            let padding = disk.plan.options.capacity - disk.info.capacity;
            if padding > 0 {
                warnings.push(format!(
                    "{}: {padding} zeros are added, because disks are counted in sectors of 512",
                    disk.info.name
                ));
            }
            if let Some(mut described) = machine.disks.get(*index).cloned() {
                described.file = Some(disk.file_name.clone());
                described.capacity_bytes = disk.plan.options.capacity;
                planned.push(described);
            }
            disks.push(disk);
        }
        machine.disks = planned;
        if matches!(request.format, TargetFormat::Ovf | TargetFormat::Ova) {
            if machine.cpus.count == 0 {
                warnings.push(
                    "the source does not say how many processors it needs: 1 was assumed".into(),
                );
            }
            if machine.memory_bytes == 0 {
                warnings.push(
                    "the source does not say how much memory it needs: 1 GiB was assumed".into(),
                );
            }
        }
        if machine.tpm {
            warnings.push("the state of its TPM cannot be carried over".into());
        }
        let (folder, package) = places(request, &stem);
        let plan = Self { stem, machine, disks, folder, package, warnings, resumed: false };
        plan.check_target(request)?;
        Ok(plan)
    }

    fn check_target(&self, request: &Request) -> Result<()> {
        if self.disks.is_empty() {
            let chosen = !request.disks.only.is_empty() || !request.disks.exclude.is_empty();
            let text = match chosen {
                true => "all of its disks are left out",
                false => "the machine has no disk to export",
            };
            return Err(Error::new(ErrorKind::NotFound, text).with_subject(&self.machine.name));
        }
        let single = !matches!(request.to, To::Folder(_)) && self.package.is_none();
        if single && self.disks.len() > 1 && request.format != TargetFormat::Ova {
            let names: Vec<_> = self.disks.iter().map(|disk| disk.info.id.as_str()).collect();
            return Err(Error::usage(format!("{} disks cannot go to one target", names.len()))
                .with_hint(format!("choose one with --disk: {}", names.join(", ")))
                .with_hint("or give --to FOLDER"));
        }
        if request.to_pipe()
            && let TargetFormat::Image(_) = request.format
        {
            self.disks.iter().try_for_each(|disk| disk.plan.check_pipe())?;
        }
        Ok(())
    }

    /// The files of the disks, for `--dry-run`.
    pub fn files(&self, request: &Request) -> Vec<PlannedFile> {
        let place = |disk: &PlannedDisk| match (&request.to, &self.package) {
            (To::Pipe, _) => "-".to_owned(),
            (_, Some(package)) => format!("{}#{}", package.display(), disk.file_name),
            _ => self.folder.join(&disk.file_name).display().to_string(),
        };
        let row = |disk: &PlannedDisk| PlannedFile {
            vm: self.machine.name.clone(),
            disk: Some(disk.info.id.clone()),
            source: disk.info.name.clone(),
            path: place(disk),
            format: disk.plan.format.to_string(),
            capacity_bytes: disk.plan.options.capacity,
            method: if disk.whole.is_some() { "copy" } else { "convert" },
        };
        self.disks.iter().map(row).collect()
    }

    /// Guest bytes of all disks.
    pub fn capacity(&self) -> u64 {
        self.disks.iter().map(|disk| disk.plan.options.capacity).sum()
    }
}

/// The name that files take.
fn stem(request: &Request, name: &str) -> String {
    if let To::File(path) = &request.to {
        let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
        let compressed = request.package_compress.map_or("", |method| method.suffix());
        let bare = file.strip_suffix(compressed).unwrap_or(&file);
        return Path::new(bare)
            .file_stem()
            .map_or_else(String::new, |s| s.to_string_lossy().into());
    }
    sanitise_name(name)
}

/// The folder of all files, and the package's file for an OVA.
fn places(request: &Request, stem: &str) -> (PathBuf, Option<PathBuf>) {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let ova = request.format == TargetFormat::Ova;
    match &request.to {
        To::Pipe => (PathBuf::from("."), None),
        To::File(path) => (parent(path), ova.then(|| path.clone())),
        To::Folder(folder) => {
            let suffix = request.package_compress.map_or("", |method| method.suffix());
            (folder.clone(), ova.then(|| folder.join(format!("{stem}.ova{suffix}"))))
        }
    }
}

/// The numbers of the chosen disks, ascending.
fn choose(choice: &DiskChoice, source: &dyn ExportSource) -> Result<Vec<usize>> {
    let disks = source.disks();
    let named = |wanted: &str| -> Result<Vec<usize>> {
        let label = |index: usize| source.machine().disks.get(index)?.label.clone();
        let fits = |index: &usize| {
            let disk = &disks[*index];
            disk.id == wanted
                || disk.name == wanted
                || Path::new(&disk.name).file_name().is_some_and(|name| name == wanted)
                || wanted.parse() == Ok(*index)
                || label(*index).as_deref() == Some(wanted)
        };
        let found: Vec<_> = (0..disks.len()).filter(fits).collect();
        if found.is_empty() {
            let all: Vec<_> = disks.iter().map(|d| format!("{} ({})", d.id, d.name)).collect();
            return Err(Error::not_found("there is no such disk")
                .with_subject(wanted)
                .with_hint(format!("its disks: {}", all.join(", "))));
        }
        Ok(found)
    };
    let mut chosen: Vec<usize> = if choice.only.is_empty() {
        (0..disks.len()).collect()
    } else {
        choice.only.iter().map(|name| named(name)).collect::<Result<Vec<_>>>()?.concat()
    };
    for name in &choice.exclude {
        let out = named(name)?;
        chosen.retain(|index| !out.contains(index));
    }
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

fn plan_disk(
    request: &Request,
    source: &dyn ExportSource,
    index: usize,
    number: usize,
    stem: &str,
) -> Result<PlannedDisk> {
    let info = source.disks()[index].clone();
    if let Some(why) = &info.refusal {
        return Err(Error::unsupported(format!("the disk cannot be exported: {why}"))
            .with_subject(info.name)
            .with_hint(format!("--exclude-disk {} leaves it out", info.id)));
    }
    let format = request.format.image();
    let file_name = match &request.to {
        To::File(path) if request.format != TargetFormat::Ova => {
            path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        }
        _ => format!("{stem}-disk{number}.{format}"),
    };
    let about = PlanSource {
        name: &format!("{stem}/{}", info.id),
        capacity: info.capacity,
        modified: info.modified_seconds,
    };
    let mut plan = request.write.plan(format, &about, &file_name).subject(|| info.name.clone())?;
    plan.hold = true;
    let whole = source.whole(index).filter(|whole| passes_through(request, &plan, whole));
    Ok(PlannedDisk { index, info, file_name, plan, whole })
}

/// Whether the source's file is already what is wanted.
fn passes_through(request: &Request, plan: &ImagePlan, whole: &Whole) -> bool {
    whole.format == ImageFormat::Vmdk
        && whole.variant == Some(Variant::StreamOptimized)
        && plan.format == ImageFormat::Vmdk
        && plan.options.variant == Some(Variant::StreamOptimized)
        && plan.options.compression.is_none()
        && !request.write.recompress
}
