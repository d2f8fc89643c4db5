//! Flags of every tool that writes disk images.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::image::{Compression, CompressionMethod, ImageFormat, Variant, WriteOptions, registry};
use crate::transfer::{EngineOptions, ImagePlan, SumKind};
use crate::vm::parse_bytes;

/// How images are written. Flatten it into a tool's arguments.
#[derive(Debug, Clone, Args)]
pub struct WriteFlags {
    /// Compress the image's own clusters: zlib, zstd (with a level: zlib:9) or none
    #[arg(long, value_name = "METHOD[:LEVEL]", value_parser = Compress::parse)]
    pub compress: Option<Compress>,

    /// Write this variant: streamOptimized, streamOptimizedTablesFirst, monolithicSparse or monolithicFlat (vmdk), fixed or dynamic (vhd)
    #[arg(long, value_name = "VARIANT", value_parser = parse_variant)]
    pub subformat: Option<Variant>,

    /// Make this checksum of every file written: sha256 or sha1
    #[arg(long, value_name = "SUM", value_parser = parse_sum)]
    pub checksum: Option<SumKind>,

    /// Read back what was written and compare it with what was read
    #[arg(long)]
    pub verify: bool,

    /// Move compressed blocks from VMDK to qcow2 without checking them
    #[arg(long)]
    pub trust_source: bool,

    /// Compress every block anew, for readers that insist on a 4 KiB window
    #[arg(long)]
    pub recompress: bool,

    /// Replace files that exist
    #[arg(long)]
    pub overwrite: bool,

    /// Read no faster than this in all, such as 50M (bytes per second)
    #[arg(long, value_name = "RATE", value_parser = parse_bytes)]
    pub limit_rate: Option<u64>,

    /// Open files that an image names in this folder too, not only beside the image
    #[arg(long, value_name = "DIR")]
    pub allow_path: Vec<PathBuf>,

    /// Read the source as this format: raw, qcow2, vmdk, vhd, vhdx or vdi
    #[arg(long, value_name = "FORMAT")]
    pub from_format: Option<ImageFormat>,
}

/// [`WriteFlags`], checked.
#[derive(Debug, Clone, Serialize)]
pub struct WriteRequest {
    /// Compression of the image's own clusters.
    pub compression: Option<Compression>,
    /// The variant within the format.
    pub variant: Option<Variant>,
    /// The file checksum.
    pub checksum: Option<SumKind>,
    /// Whether to read back.
    pub verify: bool,
    /// Whether to move blocks unchecked.
    pub trust_source: bool,
    /// Whether to compress anew.
    pub recompress: bool,
    /// Whether to replace files.
    pub overwrite: bool,
    /// Bytes per second over all.
    pub limit_rate: Option<u64>,
    /// Further folders in which named files may be opened.
    pub allow_path: Vec<PathBuf>,
    /// The source's format, where stated.
    pub from_format: Option<ImageFormat>,
    /// The time that images carry, in seconds since 1970: `SOURCE_DATE_EPOCH`, where set.
    pub time: Option<i64>,
}

/// What one disk is written from, as far as the plan depends on it.
#[derive(Debug, Clone)]
pub struct PlanSource<'a> {
    /// A name that stays the same when the same disk is written again; identifiers inside the
    /// image derive from it.
    pub name: &'a str,
    /// Guest bytes.
    pub capacity: u64,
    /// When the source was last changed, in seconds since 1970.
    pub modified: i64,
}

/// The value of `--compress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compress {
    /// Leave clusters as they are.
    No,
    /// Compress them.
    With(CompressionMethod, Option<u8>),
}

impl Compress {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let (method, level) = match text.split_once(':') {
            Some((method, level)) => (method, Some(level)),
            None => (text, None),
        };
        let (method, most) = match method {
            "none" if level.is_none() => return Ok(Self::No),
            "zlib" => (CompressionMethod::Zlib, 12),
            "zstd" => (CompressionMethod::Zstd, 19),
            _ => return Err("it is none of zlib, zstd (with :LEVEL) and none".into()),
        };
        let parse = |text: &str| {
            let level = text.parse::<u8>().ok().filter(|level| (1..=most).contains(level));
            level.ok_or_else(|| format!("the level is a number from 1 to {most}"))
        };
        Ok(Self::With(method, level.map(parse).transpose()?))
    }
}

fn parse_variant(text: &str) -> std::result::Result<Variant, String> {
    use Variant as V;
    let all = [
        ("streamOptimized", V::StreamOptimized),
        ("streamOptimizedTablesFirst", V::StreamOptimizedTablesFirst),
        ("monolithicSparse", V::MonolithicSparse),
        ("monolithicFlat", V::MonolithicFlat),
        ("fixed", V::Fixed),
        ("dynamic", V::Dynamic),
    ];
    all.iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text))
        .map(|(_, found)| *found)
        .ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
            format!("it is none of {}", names.join(", "))
        })
}

fn parse_sum(text: &str) -> std::result::Result<SumKind, String> {
    [SumKind::Sha256, SumKind::Sha1]
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| "it is neither sha256 nor sha1".into())
}

impl WriteFlags {
    /// Checks the flags against the format that is written.
    ///
    /// # Errors
    /// `Usage` for flags that contradict each other, `Unsupported` for what the format has not.
    pub fn request(self, format: ImageFormat) -> Result<WriteRequest> {
        let compression = self.compression(format)?;
        if self.trust_source && self.recompress {
            return Err(Error::usage("--recompress reads every block, --trust-source reads none")
                .with_hint("give one of the two"));
        }
        if self.trust_source && self.verify {
            return Err(Error::usage(
                "--verify checks what --trust-source says need not be checked",
            )
            .with_hint("give one of the two"));
        }
        if let Some(variant) = self.subformat {
            check_variant(format, variant)?;
        }
        Ok(WriteRequest {
            compression,
            variant: self.subformat,
            checksum: self.checksum,
            verify: self.verify,
            trust_source: self.trust_source,
            recompress: self.recompress,
            overwrite: self.overwrite,
            limit_rate: self.limit_rate,
            allow_path: self.allow_path,
            from_format: self.from_format,
            time: source_date_epoch()?,
        })
    }

    fn compression(&self, format: ImageFormat) -> Result<Option<Compression>> {
        let Some(Compress::With(method, level)) = self.compress else { return Ok(None) };
        if !registry::supports_compression(format).contains(&method) {
            let name = match method {
                CompressionMethod::Zlib => "zlib",
                CompressionMethod::Zstd => "zstd",
            };
            return Err(Error::unsupported(format!(
                "{format} has no clusters compressed by {name}"
            ))
            .with_hint("qcow2 takes zlib and zstd; streamOptimized VMDK takes zlib"));
        }
        let window_bits = if self.recompress { 12 } else { 15 };
        Ok(Some(Compression { method, level, window_bits }))
    }
}

/// `SOURCE_DATE_EPOCH` of reproducible-builds.org.
fn source_date_epoch() -> Result<Option<i64>> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = value.to_str().and_then(|text| text.parse::<u32>().ok());
    let wrong =
        || Error::new(crate::error::ErrorKind::Config, "SOURCE_DATE_EPOCH is no number of seconds");
    seconds.map(|seconds| Some(seconds.into())).ok_or_else(wrong)
}

impl WriteRequest {
    /// How a disk is written as `format` under the name `file_name`. The capacity is padded to
    /// whole sectors; the caller says so where that makes a difference.
    ///
    /// # Errors
    /// `Unsupported` where the format cannot hold the disk.
    pub fn plan(
        &self,
        format: ImageFormat,
        source: &PlanSource<'_>,
        file_name: &str,
    ) -> Result<ImagePlan> {
        let capacity = registry::check_capacity(format, self.variant, None, source.capacity)?;
        let mut seed = blake3::Hasher::new();
        seed.update(source.name.as_bytes());
        seed.update(&[0]);
        seed.update(&source.capacity.to_le_bytes());
        Ok(ImagePlan {
            format,
            options: WriteOptions {
                capacity,
                variant: self.variant.or_else(|| registry::default_variant(format)),
                compression: self.compression,
                block_size: None,
                seed: seed.finalize().into(),
                time: self.time.unwrap_or(source.modified),
                file_name: file_name.to_owned(),
            },
            sum: self.checksum,
            verify: self.verify,
            content: false,
            trust_source: self.trust_source,
            recompress: self.recompress,
            overwrite: self.overwrite,
            hold: false,
        })
    }

    /// The engine that these flags ask for.
    pub fn engine(&self) -> EngineOptions {
        EngineOptions { limit_rate: self.limit_rate, threads: None }
    }
}

fn check_variant(format: ImageFormat, variant: Variant) -> Result<()> {
    let fits = match variant {
        Variant::StreamOptimized
        | Variant::StreamOptimizedTablesFirst
        | Variant::MonolithicSparse
        | Variant::MonolithicFlat => format == ImageFormat::Vmdk,
        Variant::Fixed => format == ImageFormat::Vhd,
        Variant::Dynamic => {
            matches!(format, ImageFormat::Vhd | ImageFormat::Vhdx | ImageFormat::Vdi)
        }
    };
    if fits {
        return Ok(());
    }
    Err(Error::usage(format!("{format} has no such variant"))
        .with_hint(
            "vmdk: streamOptimized, streamOptimizedTablesFirst, monolithicSparse, monolithicFlat",
        )
        .with_hint("vhd: fixed, dynamic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_parsed_with_its_level() {
        assert_eq!(Compress::parse("none"), Ok(Compress::No));
        assert_eq!(Compress::parse("zlib"), Ok(Compress::With(CompressionMethod::Zlib, None)));
        assert_eq!(Compress::parse("zstd:7"), Ok(Compress::With(CompressionMethod::Zstd, Some(7))));
        for wrong in ["", "gzip", "zlib:13", "zlib:x", "none:1", "zstd:0"] {
            assert!(Compress::parse(wrong).is_err(), "{wrong}");
        }
    }
}
