//! The command line of `hyper export`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use hyper_common::provider::Transport;
use hyper_common::tool::flags::{
    DryRunFlags, OutputFlags, ProgressFlags, ReferenceFlags, TimeoutFlags,
};
use hyper_common::tool::write_flags::WriteFlags;

use crate::request::{PackageCompress, TargetFormat};

/// Arguments of `hyper export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The machines: NAME, CONTEXT:NAME, local:PATH, local:- for an OVA on standard input; - reads
    /// references or JSON records
    #[arg(value_name = "VM")]
    pub machines: Vec<String>,

    /// Read further references from this file, one a line; # starts a comment
    #[arg(long, value_name = "FILE")]
    pub vm_file: Option<PathBuf>,

    /// Write this format: qcow2, raw, vmdk, vhd, vhdx, vdi, ova or ovf
    #[arg(long, short, value_name = "FORMAT", default_value = "qcow2")]
    pub format: TargetFormat,

    /// Write to this folder, to this file, or - for standard output
    #[arg(long, value_name = "DEST", default_value = ".")]
    pub to: PathBuf,

    /// Export only this disk: its identifier (disk0), number or name; repeat it for several
    #[arg(long, value_name = "DISK", value_delimiter = ',')]
    pub disk: Vec<String>,

    /// Leave out this disk; repeat it for several
    #[arg(long, value_name = "DISK", value_delimiter = ',')]
    pub exclude_disk: Vec<String>,

    /// Compress the OVA as a whole: gzip or zstd (with a level: zstd:9)
    #[arg(long, value_name = "METHOD[:LEVEL]", value_parser = PackageCompress::parse)]
    pub package_compress: Option<PackageCompress>,

    /// Put together or unpack in this folder what cannot be written or read in one pass
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,

    /// Take disks this way: from vSphere nfc (streams of the server's own export) or datastore (files
    /// as they lie there, in parallel), from KubeVirt ingress or port-forward (through the API
    /// server), or auto
    #[arg(long, value_name = "WAY", default_value = "auto", value_parser = transports())]
    pub transport: String,

    /// Export the machine as it was at this snapshot; it may run
    #[arg(long, value_name = "NAME")]
    pub snapshot: Option<String>,

    /// Take a snapshot, export it and remove it; the machine may run
    #[arg(long, conflicts_with = "snapshot")]
    pub temp_snapshot: bool,

    /// Bring the guest's file systems to rest for the snapshot of --temp-snapshot
    #[arg(long)]
    pub quiesce: bool,

    /// Shut the guest down before, and leave the machine off
    #[arg(long, conflicts_with_all = ["snapshot", "temp_snapshot"])]
    pub power_off: bool,

    /// Write an Artifact Manifest (v1.0) of all that was written
    #[arg(long)]
    pub manifest: bool,

    /// Export so many machines at once
    #[arg(long, short, value_name = "N", default_value = "2")]
    pub jobs: NonZeroU32,

    /// How disks are written.
    #[command(flatten)]
    pub write: WriteFlags,

    /// Where machines are.
    #[command(flatten)]
    pub context: ReferenceFlags,

    /// Dry run.
    #[command(flatten)]
    pub dry_run: DryRunFlags,

    /// Format of results.
    #[command(flatten)]
    pub output: OutputFlags,

    /// Progress.
    #[command(flatten)]
    pub progress: ProgressFlags,

    /// Limit of time.
    #[command(flatten)]
    pub timeout: TimeoutFlags,
}

fn transports() -> PossibleValuesParser {
    PossibleValuesParser::new(Transport::ALL.map(Transport::name))
}
