//! The command line of `hyper image`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hyper_common::image::ImageFormat;
use hyper_common::tool::flags::{DryRunFlags, OutputFlags, ProgressFlags, TimeoutFlags};
use hyper_common::tool::write_flags::WriteFlags;
use hyper_common::vm::parse_bytes;

/// Arguments of `hyper image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write an image as another format
    Convert(Box<ConvertArgs>),
    /// Say what an image is
    Inspect(InspectArgs),
    /// Read all of an image and check its structure
    Verify(VerifyArgs),
    /// Compare what two images hold
    Compare(CompareArgs),
}

/// Arguments of `convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// The image to read, or - for standard input
    #[arg(value_name = "SRC")]
    pub source: PathBuf,

    /// The image to write, or - for standard output
    #[arg(value_name = "DST")]
    pub target: PathBuf,

    /// Write this format instead of the one that DST's suffix names
    #[arg(long, short, value_name = "FORMAT")]
    pub format: Option<ImageFormat>,

    /// State how many bytes of a raw image or fixed VHD come through a pipe
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub size: Option<u64>,

    /// How it is written.
    #[command(flatten)]
    pub write: WriteFlags,

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

/// How an image is opened.
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// Read images as this format: raw, qcow2, vmdk, vhd, vhdx or vdi
    #[arg(long, value_name = "FORMAT")]
    pub from_format: Option<ImageFormat>,

    /// Open files that an image names in this folder too, not only beside the image
    #[arg(long, value_name = "DIR")]
    pub allow_path: Vec<PathBuf>,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The images
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,

    /// How they are opened.
    #[command(flatten)]
    pub open: OpenArgs,

    /// Format of results.
    #[command(flatten)]
    pub output: OutputFlags,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The images
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,

    /// How they are opened.
    #[command(flatten)]
    pub open: OpenArgs,

    /// Format of results.
    #[command(flatten)]
    pub output: OutputFlags,

    /// Progress.
    #[command(flatten)]
    pub progress: ProgressFlags,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// One image
    #[arg(value_name = "A")]
    pub left: PathBuf,

    /// The other
    #[arg(value_name = "B")]
    pub right: PathBuf,

    /// How they are opened.
    #[command(flatten)]
    pub open: OpenArgs,

    /// Format of results.
    #[command(flatten)]
    pub output: OutputFlags,

    /// Progress.
    #[command(flatten)]
    pub progress: ProgressFlags,
}
