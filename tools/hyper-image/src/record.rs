//! What `hyper image` prints.

use hyper_common::image::ImageInfo;
use hyper_common::output::{Cell, Column, Record};
use serde::Serialize;

/// A converted image.
#[derive(Debug, Clone, Serialize)]
pub struct Converted {
    /// The image that was read.
    pub source: String,
    /// The image that was written; `-` is standard output.
    pub path: String,
    /// Its format.
    pub format: String,
    /// Bytes that the guest sees.
    pub capacity_bytes: u64,
    /// Guest bytes that are neither holes nor zeros.
    pub data_bytes: u64,
    /// Length of the file.
    pub size_bytes: u64,
    /// The file checksum, as `sha256:HEX`.
    pub checksum: Option<String>,
    /// Whether it was read back and compared.
    pub verified: bool,
    /// Guest bytes that an earlier, interrupted run had done.
    pub reused_bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Record for Converted {
    const SCHEMA: &'static str = "hyper.image.converted/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("path", "PATH"),
        Column::text("format", "FORMAT"),
        Column::number("capacity_bytes", "CAPACITY"),
        Column::number("size_bytes", "SIZE"),
        Column::text("verified", "VERIFIED"),
        Column::number("reused_bytes", "REUSED").wide(),
        Column::text("checksum", "CHECKSUM").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.path),
            Cell::text(&self.format),
            Cell::Bytes(self.capacity_bytes),
            Cell::Bytes(self.size_bytes),
            Cell::Bool(self.verified),
            Cell::Bytes(self.reused_bytes),
            self.checksum.clone().into(),
        ]
    }

    fn name(&self) -> String {
        self.path.clone()
    }
}

/// What `--dry-run` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The image that would be read.
    pub source: String,
    /// The image that would be written.
    pub path: String,
    /// Its format.
    pub format: String,
    /// Bytes that the guest would see.
    pub capacity_bytes: u64,
    /// Bytes of zeros added at the end, because disks are counted in sectors of 512.
    pub padding_bytes: u64,
}

impl Record for Plan {
    const SCHEMA: &'static str = "hyper.image.plan/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("source", "SOURCE"),
        Column::text("path", "PATH"),
        Column::text("format", "FORMAT"),
        Column::number("capacity_bytes", "CAPACITY"),
        Column::number("padding_bytes", "PADDING").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.source),
            Cell::text(&self.path),
            Cell::text(&self.format),
            Cell::Bytes(self.capacity_bytes),
            Cell::Bytes(self.padding_bytes),
        ]
    }

    fn name(&self) -> String {
        self.path.clone()
    }
}

/// An inspected image.
#[derive(Debug, Clone, Serialize)]
pub struct Inspected {
    /// The image.
    pub path: String,
    /// Its facts.
    #[serde(flatten)]
    pub info: ImageInfo,
    /// Length of the file.
    pub size_bytes: u64,
}

impl Record for Inspected {
    const SCHEMA: &'static str = "hyper.image/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("path", "PATH"),
        Column::text("format", "FORMAT"),
        Column::text("variant", "VARIANT"),
        Column::number("capacity_bytes", "CAPACITY"),
        Column::number("size_bytes", "SIZE"),
        Column::text("compression", "COMPRESSION"),
        Column::text("backing", "BACKING"),
        Column::number("block_bytes", "BLOCK").wide(),
        Column::text("details", "DETAILS").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        let info = &self.info;
        let details: Vec<_> =
            info.details.iter().map(|(name, value)| format!("{name}={value}")).collect();
        vec![
            Cell::text(&self.path),
            Cell::text(info.format.name()),
            Cell::text(&info.variant),
            Cell::Bytes(info.capacity_bytes),
            Cell::Bytes(self.size_bytes),
            info.compression.clone().into(),
            info.backing.clone().into(),
            info.block_bytes.map_or(Cell::Empty, Cell::Bytes),
            Cell::text(details.join(" ")),
        ]
    }

    fn name(&self) -> String {
        self.path.clone()
    }
}

/// A verified image.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// The image.
    pub path: String,
    /// Its format.
    pub format: String,
    /// Bytes that the guest sees.
    pub capacity_bytes: u64,
    /// BLAKE3 content checksum over the guest bytes; equal for equal content in any format.
    pub content: Option<String>,
    /// `ok` or what is wrong.
    pub status: String,
    /// What the check of the structure found that does no harm.
    pub findings: Vec<String>,
}

impl Record for Verified {
    const SCHEMA: &'static str = "hyper.image.verified/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("path", "PATH"),
        Column::text("format", "FORMAT"),
        Column::number("capacity_bytes", "CAPACITY"),
        Column::text("status", "STATUS"),
        Column::text("findings", "FINDINGS").wide(),
        Column::text("content", "CONTENT").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.path),
            Cell::text(&self.format),
            Cell::Bytes(self.capacity_bytes),
            Cell::text(&self.status),
            Cell::text(self.findings.join("; ")),
            self.content.clone().into(),
        ]
    }

    fn name(&self) -> String {
        self.path.clone()
    }
}

/// Two compared images.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// One image.
    pub left: String,
    /// The other.
    pub right: String,
    /// Whether a guest reads the same in both, zeros past the end of the shorter one included.
    pub equal: bool,
    /// Guest bytes of the first.
    pub left_bytes: u64,
    /// Guest bytes of the second.
    pub right_bytes: u64,
    /// The first guest byte that differs.
    pub first_difference: Option<u64>,
}

impl Record for Compared {
    const SCHEMA: &'static str = "hyper.image.compared/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("left", "LEFT"),
        Column::text("right", "RIGHT"),
        Column::text("equal", "EQUAL"),
        Column::number("first_difference", "FIRST DIFFERENCE"),
        Column::number("left_bytes", "LEFT SIZE").wide(),
        Column::number("right_bytes", "RIGHT SIZE").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.left),
            Cell::text(&self.right),
            Cell::Bool(self.equal),
            self.first_difference.into(),
            Cell::Bytes(self.left_bytes),
            Cell::Bytes(self.right_bytes),
        ]
    }

    fn name(&self) -> String {
        self.left.clone()
    }
}
