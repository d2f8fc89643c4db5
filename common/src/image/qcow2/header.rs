//! The header and its extensions.

use super::extension::Extensions;
use crate::image::{Coding, ImageError, ReadAt};

/// `QFI\xfb`.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Incompatible feature: reference counts may be stale.
pub const DIRTY: u64 = 1;
/// Incompatible feature: marked as damaged.
const CORRUPT: u64 = 1 << 1;
/// Incompatible feature: clusters lie in another file.
pub const DATA_FILE: u64 = 1 << 2;
/// Incompatible feature: the compression type is not deflate.
pub const COMPRESSION_TYPE: u64 = 1 << 3;
/// Incompatible feature: L2 entries of 16 bytes with subclusters.
pub const EXTENDED_L2: u64 = 1 << 4;
const KNOWN_INCOMPATIBLE: u64 = DIRTY | CORRUPT | DATA_FILE | COMPRESSION_TYPE | EXTENDED_L2;

/// Compatible feature: reference counts are written late.
const LAZY_REFCOUNTS: u64 = 1;
/// Autoclear feature: the bitmaps extension is up to date.
const BITMAPS: u64 = 1;

/// Cluster sizes that qemu reads: 512 bytes to 2 MiB.
pub const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// Entries of the largest L1 table that qemu reads (32 MiB).
pub const L1_MAX: u64 = 4 << 20;
/// Bytes of the largest refcount table that qemu reads.
pub const REFTABLE_MAX: u64 = 8 << 20;
/// Bytes of the longest backing file name.
const NAME_MAX: u32 = 1023;
/// Bytes of the header that this program writes and of the fields that it knows.
pub const LENGTH: u32 = 112;

/// What the header says, checked.
#[derive(Debug, Clone)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// log2 of the cluster size.
    pub cluster_bits: u32,
    /// Bytes that the guest sees.
    pub capacity: u64,
    /// Entries of the active L1 table.
    pub l1_size: u64,
    /// File offset of the active L1 table.
    pub l1_offset: u64,
    /// File offset of the refcount table.
    pub reftable_offset: u64,
    /// Bytes of the refcount table.
    pub reftable_len: u64,
    /// log2 of the width of a reference count in bits.
    pub refcount_order: u32,
    /// Number of internal snapshots.
    pub snapshots: u32,
    /// File offset of the snapshot table.
    pub snapshots_offset: u64,
    /// Incompatible features; only known ones.
    pub incompatible: u64,
    /// Whether reference counts are written late.
    pub lazy_refcounts: bool,
    /// How compressed clusters are coded.
    pub coding: Coding,
    /// The backing file's name.
    pub backing: Option<String>,
    /// The backing file's format, where it is stated.
    pub backing_format: Option<String>,
    /// The external data file's name, where it is stated.
    pub data_file: Option<String>,
    /// The directory of dirty bitmaps: file offset, bytes and number of entries.
    pub bitmaps: Option<(u64, u64, u32)>,
}

impl Header {
    /// The cluster size in bytes.
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Whether L2 entries have 16 bytes.
    pub fn extended(&self) -> bool {
        self.incompatible & EXTENDED_L2 != 0
    }

    /// Bytes of one L2 entry.
    pub fn entry_len(&self) -> u64 {
        if self.extended() { 16 } else { 8 }
    }

    /// Guest bytes that one L2 table maps.
    pub fn l2_span(&self) -> u64 {
        self.cluster() / self.entry_len() * self.cluster()
    }

    /// Reads and checks the header of `file`.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`], [`ImageError::Truncated`]; [`ImageError::Unsupported`] for
    /// encryption, unknown versions and features, images marked corrupt.
    pub fn read(file: &dyn ReadAt) -> Result<Self, ImageError> {
        let mut fields = [0; LENGTH as usize];
        let len = file.len().min(fields.len() as u64) as usize;
        file.read_exact_at(&mut fields[..len], 0)?;
        if len < 72 || fields[..4] != MAGIC {
            return Err(ImageError::corrupt("it has no qcow2 header"));
        }
        let header_len = match be32(&fields, 4) {
            2 => 72,
            3 => be32(&fields, 100),
            other => return Err(ImageError::unsupported(format!("qcow version {other}"))),
        };
        let mut header = Self::fields(&fields, header_len)?;
        let extensions = Extensions::read(file, &header, header_len, be64(&fields, 8))?;
        header.check_features(&fields, &extensions)?;
        header.backing = backing_name(file, &fields, header.cluster())?;
        header.backing_format = extensions.backing_format;
        header.data_file = extensions.data_file;
        if be64(&fields, 88) & BITMAPS != 0 && header.version > 2 {
            header.bitmaps = extensions.bitmaps;
        }
        header.check_tables(file.len())?;
        Ok(header)
    }

    fn fields(fields: &[u8], header_len: u32) -> Result<Self, ImageError> {
        let cluster_bits = be32(fields, 20);
        if !CLUSTER_BITS.contains(&cluster_bits) {
            return Err(ImageError::corrupt(format!("clusters of 2^{cluster_bits} bytes")));
        }
        if !(72..=1 << cluster_bits).contains(&header_len) || !header_len.is_multiple_of(8) {
            return Err(ImageError::corrupt(format!("a header of {header_len} bytes")));
        }
        let v3 = be32(fields, 4) == 3;
        if v3 && header_len < 104 {
            return Err(ImageError::corrupt(format!("a version 3 header of {header_len} bytes")));
        }
        let refcount_order = if v3 { be32(fields, 96) } else { 4 };
        if refcount_order > 6 {
            return Err(ImageError::corrupt(format!("refcounts of 2^{refcount_order} bits")));
        }
        Ok(Self {
            version: be32(fields, 4),
            cluster_bits,
            capacity: be64(fields, 24),
            l1_size: u64::from(be32(fields, 36)),
            l1_offset: be64(fields, 40),
            reftable_offset: be64(fields, 48),
            reftable_len: u64::from(be32(fields, 56)) << cluster_bits,
            refcount_order,
            snapshots: be32(fields, 60),
            snapshots_offset: be64(fields, 64),
            incompatible: if v3 { be64(fields, 72) } else { 0 },
            lazy_refcounts: v3 && be64(fields, 80) & LAZY_REFCOUNTS != 0,
            coding: match fields[104] {
                1 if header_len > 104 && v3 => Coding::Zstd,
                _ => Coding::Deflate,
            },
            backing: None,
            backing_format: None,
            data_file: None,
            bitmaps: None,
        })
    }

    fn check_features(&self, fields: &[u8], extensions: &Extensions) -> Result<(), ImageError> {
        match be32(fields, 32) {
            0 => {}
            1 => return Err(ImageError::unsupported("it is encrypted (AES)")),
            2 => return Err(ImageError::unsupported("it is encrypted (LUKS)")),
            other => return Err(ImageError::unsupported(format!("encryption method {other}"))),
        }
        let unknown = self.incompatible & !KNOWN_INCOMPATIBLE;
        if unknown != 0 {
            let bit = unknown.trailing_zeros();
            let name = extensions.feature_name(bit);
            return Err(ImageError::unsupported(format!(
                "it needs the unknown feature {name} (incompatible bit {bit})"
            )));
        }
        if self.incompatible & CORRUPT != 0 {
            return Err(ImageError::unsupported(
                "QEMU marked it as corrupt; repair it with `qemu-img check -r all` first",
            ));
        }
        let kind = fields[104];
        let typed = self.incompatible & COMPRESSION_TYPE != 0;
        if typed && self.coding != Coding::Zstd {
            return Err(ImageError::unsupported(format!("compression type {kind}")));
        }
        if !typed && self.coding != Coding::Deflate {
            return Err(ImageError::corrupt("a compression type without its feature bit"));
        }
        if self.extended() && self.cluster_bits < 14 {
            return Err(ImageError::corrupt("extended L2 entries with clusters below 16 KiB"));
        }
        Ok(())
    }

    fn check_tables(&self, file_len: u64) -> Result<(), ImageError> {
        if self.capacity > i64::MAX as u64 {
            return Err(ImageError::corrupt(format!("a capacity of {} bytes", self.capacity)));
        }
        if self.l1_size > L1_MAX || self.l1_size < self.capacity.div_ceil(self.l2_span()) {
            return Err(ImageError::corrupt(format!(
                "an L1 table of {} entries for {} bytes",
                self.l1_size, self.capacity
            )));
        }
        if self.reftable_len > REFTABLE_MAX {
            return Err(ImageError::corrupt("the refcount table is too large"));
        }
        self.region("the L1 table", self.l1_offset, self.l1_size * 8, file_len)
    }

    /// Checks that a table of `len` bytes at `offset` starts at a cluster and lies in the file.
    pub fn region(
        &self,
        what: &str,
        offset: u64,
        len: u64,
        file_len: u64,
    ) -> Result<(), ImageError> {
        if len == 0 {
            return Ok(());
        }
        if !offset.is_multiple_of(self.cluster()) || offset == 0 {
            return Err(ImageError::corrupt(format!("{what} starts at byte {offset}")));
        }
        match offset.checked_add(len) {
            Some(end) if end <= file_len => Ok(()),
            _ => Err(ImageError::Truncated(format!(
                "{what} at byte {offset} reaches past the end of the file"
            ))),
        }
    }
}

fn backing_name(
    file: &dyn ReadAt,
    fields: &[u8],
    cluster: u64,
) -> Result<Option<String>, ImageError> {
    let (offset, len) = (be64(fields, 8), be32(fields, 16));
    if offset == 0 || len == 0 {
        return Ok(None);
    }
    let end = offset.checked_add(u64::from(len)).filter(|end| *end <= cluster);
    if len > NAME_MAX || end.is_none() {
        return Err(ImageError::corrupt(format!(
            "a backing file name of {len} bytes at byte {offset}"
        )));
    }
    let mut name = vec![0; len as usize];
    file.read_exact_at(&mut name, offset)?;
    String::from_utf8(name)
        .map(Some)
        .map_err(|_| ImageError::unsupported("the backing file's name is not UTF-8"))
}

/// A big-endian number; zero where the bytes end before, which is what a field that is not
/// present means.
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u32::from_be_bytes(*b))
}

/// As [`be32`], of 64 bits.
pub fn be64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_be_bytes(*b))
}

/// As [`be32`], of 16 bits.
pub fn be16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u16::from_be_bytes(*b))
}
