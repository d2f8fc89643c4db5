//! What an export is to do, checked.

use std::path::{Path, PathBuf};

use hyper_common::config::Config;
use hyper_common::error::{Error, Result};
use hyper_common::image::{ImageFormat, Variant};
use hyper_common::provider::{Moment, Transport};
use hyper_common::tool::write_flags::WriteRequest;
use hyper_common::transfer::SumKind;
use serde::Serialize;

use crate::args::ExportArgs;
use crate::reference::{Wanted, Wants};

/// The formats of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetFormat {
    /// A folder with an OVF descriptor, streamOptimized disks and a manifest.
    Ovf,
    /// The same in one tar file.
    Ova,
    /// Disk images of this format.
    #[serde(untagged)]
    Image(ImageFormat),
}

impl TargetFormat {
    /// The format of the disks.
    pub fn image(self) -> ImageFormat {
        match self {
            Self::Ovf | Self::Ova => ImageFormat::Vmdk,
            Self::Image(format) => format,
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ovf => "ovf",
            Self::Ova => "ova",
            Self::Image(format) => format.name(),
        }
    }
}

impl std::str::FromStr for TargetFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "ovf" => Ok(Self::Ovf),
            "ova" => Ok(Self::Ova),
            other => other
                .parse()
                .map(Self::Image)
                .map_err(|_| "it is none of qcow2, raw, vmdk, vhd, vhdx, vdi, ova, ovf".into()),
        }
    }
}

/// The value of `--package-compress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageCompress {
    /// RFC 1952, level 0 to 9.
    Gzip(u8),
    /// RFC 8878, level 1 to 19.
    Zstd(u8),
}

impl PackageCompress {
    /// Parses `METHOD[:LEVEL]`.
    ///
    /// # Errors
    /// A clause for the command line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (method, level) = match text.split_once(':') {
            Some((method, level)) => (method, Some(level)),
            None => (text, None),
        };
        let level = |usual: u8, range: std::ops::RangeInclusive<u8>| match level {
            None => Ok(usual),
            Some(text) => {
                text.parse().ok().filter(|level| range.contains(level)).ok_or_else(|| {
                    format!("the level is a number from {} to {}", range.start(), range.end())
                })
            }
        };
        match method {
            "gzip" => level(6, 0..=9).map(Self::Gzip),
            "zstd" => level(3, 1..=19).map(Self::Zstd),
            _ => Err("it is neither gzip nor zstd".into()),
        }
    }

    /// What the method adds to a file name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip(_) => ".gz",
            Self::Zstd(_) => ".zst",
        }
    }
}

/// Where an export goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum To {
    /// Standard output.
    Pipe,
    /// A folder; names come from the machine.
    Folder(PathBuf),
    /// One file.
    File(PathBuf),
}

/// Which disks of a machine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DiskChoice {
    /// Only these, unless empty.
    pub only: Vec<String>,
    /// Not these.
    pub exclude: Vec<String>,
}

/// What an export is to do.
#[derive(Debug, Serialize)]
pub struct Request {
    /// Which machines.
    pub wants: Wants,
    /// In which format.
    pub format: TargetFormat,
    /// Where to.
    pub to: To,
    /// Which disks.
    pub disks: DiskChoice,
    /// How the package as a whole is compressed.
    pub package_compress: Option<PackageCompress>,
    /// Where packages are put together that cannot be written in one pass.
    pub spool: Option<PathBuf>,
    /// The way that bytes take out of the platform.
    pub transport: Transport,
    /// Which moment of a machine that may be running.
    pub moment: Moment,
    /// Whether an Artifact Manifest is written.
    pub manifest: bool,
    /// Machines at once.
    pub jobs: usize,
    /// How disks are written.
    pub write: WriteRequest,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl Request {
    /// Checks the arguments.
    ///
    /// # Errors
    /// `Usage` for what does not go together; `NotFound` for a context.
    pub fn new(args: ExportArgs, config: &Config) -> Result<Self> {
        let format = args.format;
        let transport = args.transport.parse().map_err(Error::usage)?;
        let moment = moment_of(&args)?;
        let mut write = args.write.request(format.image())?;
        check_package(&args.package_compress, format)?;
        if let TargetFormat::Ovf | TargetFormat::Ova = format {
            if write.variant.is_some_and(|variant| variant != Variant::StreamOptimized) {
                return Err(Error::usage("the disks of a package are streamOptimized")
                    .with_hint("leave out --subformat"));
            }
            // The package's own manifest lists checksums of all files.
            write.checksum.get_or_insert(SumKind::Sha256);
        }
        if args.manifest {
            if write.checksum == Some(SumKind::Sha1) && matches!(format, TargetFormat::Image(_)) {
                return Err(Error::usage("an Artifact Manifest knows no checksum but sha256")
                    .with_hint("leave out --checksum sha1"));
            }
            write.checksum.get_or_insert(SumKind::Sha256);
        }
        let to = To::new(args.to, format, args.package_compress)?;
        if to == To::Pipe && (write.verify || args.manifest) {
            return Err(Error::usage(
                "what goes into a pipe can neither be verified nor described",
            )
            .with_hint("leave out --verify and --manifest, or write to a folder"));
        }
        let wants = Wants::new(&args.machines, args.vm_file, &args.context, config)?;
        if to == To::Pipe && wants.known() > 1 {
            return Err(Error::usage("only one machine can go to standard output"));
        }
        Ok(Self {
            wants,
            format,
            to,
            disks: DiskChoice { only: args.disk, exclude: args.exclude_disk },
            package_compress: args.package_compress,
            spool: args.spool,
            transport,
            moment,
            manifest: args.manifest,
            jobs: args.jobs.get() as usize,
            write,
            dry_run: args.dry_run.dry_run,
        })
    }

    /// Whether records must leave standard output to the disk.
    pub fn to_pipe(&self) -> bool {
        self.to == To::Pipe
    }
}

/// What is typed cannot meet what is typed; a default of the configuration gives way to a
/// snapshot that is named and to --power-off.
fn moment_of(args: &ExportArgs) -> Result<Moment> {
    if args.quiesce && !args.temp_snapshot {
        return Err(Error::usage("--quiesce is about the snapshot that --temp-snapshot takes")
            .with_hint("give --temp-snapshot, or leave out --quiesce"));
    }
    Ok(match &args.snapshot {
        _ if args.power_off => Moment::PowerOff,
        Some(name) if name.is_empty() => {
            return Err(Error::usage("--snapshot needs the name of a snapshot"));
        }
        Some(name) => Moment::Snapshot(name.clone()),
        None if args.temp_snapshot => Moment::TempSnapshot { quiesce: args.quiesce },
        None => Moment::AsIs,
    })
}

fn check_package(compress: &Option<PackageCompress>, format: TargetFormat) -> Result<()> {
    if compress.is_some() && format != TargetFormat::Ova {
        return Err(Error::usage("--package-compress is about OVA packages")
            .with_hint("give --format ova, or --compress for the clusters of an image"));
    }
    Ok(())
}

impl To {
    fn new(to: PathBuf, format: TargetFormat, compress: Option<PackageCompress>) -> Result<Self> {
        if to.as_os_str() == "-" {
            return Ok(Self::Pipe);
        }
        if to.is_dir() {
            return Ok(Self::Folder(to));
        }
        let suffix = format!(".{}{}", format.name(), compress.map_or("", PackageCompress::suffix));
        let name = to.to_string_lossy().to_ascii_lowercase();
        let raw = format == TargetFormat::Image(ImageFormat::Raw) && name.ends_with(".img");
        if (name.ends_with(&suffix) || raw) && format != TargetFormat::Ovf {
            return Ok(Self::File(to));
        }
        // A folder `disk.vmdk` is not what somebody means who forgot --format.
        if to.exists() || FILE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            return Err(not_a_folder(&to, format, &suffix));
        }
        Ok(Self::Folder(to))
    }
}

/// Names that end so are meant as files.
const FILE_SUFFIXES: [&str; 12] = [
    ".qcow2", ".raw", ".img", ".vmdk", ".vhd", ".vhdx", ".vdi", ".ova", ".ovf", ".gz", ".zst",
    ".iso",
];

fn not_a_folder(to: &Path, format: TargetFormat, suffix: &str) -> Error {
    let subject = to.display().to_string();
    if format == TargetFormat::Ovf {
        return Error::usage("an OVF package is a folder of files")
            .with_subject(subject)
            .with_hint("give --to FOLDER, or --format ova for one file");
    }
    Error::usage(format!("a file of --format {} has a name that ends in {suffix}", format.name()))
        .with_subject(subject)
        .with_hint(format!("give --to NAME{suffix}, --to FOLDER, or another --format"))
}

/// The machines that were asked for by name.
impl Request {
    /// The wanted machines, once standard input was read.
    ///
    /// # Errors
    /// `Usage` where a line is no reference.
    pub async fn machines(&self, config: &Config) -> Result<Vec<Wanted>> {
        let machines = self.wants.read(config).await?;
        if machines.is_empty() {
            return Err(Error::usage("no machine was named")
                .with_hint("name one, such as local:appliance.ova"));
        }
        if machines.len() > 1 && !matches!(self.to, To::Folder(_)) {
            return Err(Error::usage("several machines need a folder to go to")
                .with_hint("give --to FOLDER"));
        }
        Ok(machines)
    }
}
