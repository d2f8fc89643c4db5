//! Writing qcow2 images, version 3, in one forward pass.
//!
//! The file is laid out as header, L1 table, refcount table (both of a size that the capacity
//! bounds), and behind them whatever comes, in the order in which it comes: data, an L2 table
//! when the guest region it maps is complete, a refcount block when the clusters it counts are.
//! Memory holds one L2 table, one refcount block and a page of each first-level table. The header
//! is written last.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::entry::{COPIED, ZERO, pack_descriptor};
use super::header::{CLUSTER_BITS, COMPRESSION_TYPE, L1_MAX, LENGTH, MAGIC, REFTABLE_MAX};
use super::host::{GrowingTable, Host, big_endian};
use crate::image::{
    Codec, Coded, CodedBody, Coding, Compression, CompressionMethod, Format, ImageError, Layout,
    Pack, WriteOp, WriteOptions,
};

/// qemu's usual cluster size.
const CLUSTER_DEFAULT: u32 = 65_536;

/// Compressed clusters of 2 MiB must start below this; no other limit of ours is larger.
const CAPACITY_MAX: u64 = 1 << 49;

/// libdeflate's fastest level: on programs and texts its images are as small as those of qemu's
/// zlib, in less than a quarter of the time; level 2 takes a third longer and saves 2 %, level 6
/// half as long again for 4 % more.
const DEFLATE_LEVEL: u8 = 1;

/// The usual level of zstd: a third less work than level 3, which QEMU takes, for files that are
/// about 3 % larger.
const ZSTD_LEVEL: u8 = 1;

/// log2 of the refcount width in bits.
const REFCOUNT_ORDER: u32 = 4;

/// The largest capacity in bytes for clusters of `block_size` bytes (`None`: the usual size):
/// what qemu's limits on the first-level tables leave, less a share for tables.
pub fn max_capacity(block_size: Option<u32>) -> u64 {
    let cluster = u64::from(block_size.unwrap_or(CLUSTER_DEFAULT));
    let by_l1 = L1_MAX.saturating_mul(cluster / 8).saturating_mul(cluster);
    let by_counts = (REFTABLE_MAX / 8).saturating_mul(cluster / 2).saturating_mul(cluster);
    by_l1.min(by_counts).min(CAPACITY_MAX) / 32 * 31
}

/// Starts a qcow2 image.
///
/// # Errors
/// [`ImageError::Unsupported`] for a variant or a cluster size that qcow2 has not,
/// [`ImageError::Limit`] for a capacity beyond [`max_capacity`] or not in whole sectors of 512
/// bytes, and for a level out of range.
pub fn create(options: &WriteOptions) -> Result<Box<dyn Format>, ImageError> {
    if options.variant.is_some() {
        return Err(ImageError::unsupported("qcow2 has no such variant"));
    }
    let cluster = options.block_size.unwrap_or(CLUSTER_DEFAULT);
    if !cluster.is_power_of_two() || !CLUSTER_BITS.contains(&cluster.trailing_zeros()) {
        return Err(ImageError::unsupported(format!(
            "qcow2 has no clusters of {cluster} bytes: a power of two from 512 to 2 MiB"
        )));
    }
    let most = max_capacity(Some(cluster));
    if options.capacity > most {
        return Err(ImageError::Limit(format!(
            "qcow2 with clusters of {cluster} bytes holds at most {most} bytes"
        )));
    }
    if !options.capacity.is_multiple_of(512) {
        return Err(ImageError::Limit("qcow2 holds whole sectors of 512 bytes".to_owned()));
    }
    let packing = options.compression.map(Packing::new).transpose()?;
    Ok(Box::new(Writer::new(options.capacity, cluster.trailing_zeros(), packing)))
}

/// Goes on from what [`Format::save`] gave.
///
/// # Errors
/// [`ImageError::Corrupt`] where `state` is none of a qcow2 image.
pub fn resume(state: &[u8]) -> Result<Box<dyn Format>, ImageError> {
    match postcard::from_bytes::<Writer>(state) {
        Ok(writer) if writer.is_sound() => Ok(Box::new(writer)),
        _ => Err(ImageError::corrupt("the saved state is none of a qcow2 image")),
    }
}

/// How clusters are compressed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Packing {
    method: CompressionMethod,
    level: u8,
    window_bits: u8,
}

impl Packing {
    fn new(wish: Compression) -> Result<Self, ImageError> {
        let (usual, range) = match wish.method {
            CompressionMethod::Zlib => (DEFLATE_LEVEL, 0..=12),
            CompressionMethod::Zstd => (ZSTD_LEVEL, 1..=19),
        };
        let level = wish.level.unwrap_or(usual);
        if !range.contains(&level) {
            return Err(ImageError::Limit(format!("there is no compression level {level}")));
        }
        if !(9..=15).contains(&wish.window_bits) {
            return Err(ImageError::Limit(format!(
                "there is no window of 2^{} bytes",
                wish.window_bits
            )));
        }
        Ok(Self { method: wish.method, level, window_bits: wish.window_bits })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Writer {
    capacity: u64,
    cluster_bits: u32,
    packing: Option<Packing>,
    /// Guest bytes placed so far.
    placed: u64,
    l1: GrowingTable,
    l1_size: u64,
    host: Host,
    /// The L2 table of the region that `placed` is in.
    l2: Vec<u64>,
    /// How many of its entries are set, and how many of them to `ZERO` alone.
    l2_used: u64,
    l2_zeros: u64,
    /// An L2 table of zero clusters alone: large runs of zeros share its bytes.
    #[serde(skip)]
    zero_table: Option<Bytes>,
}

impl Writer {
    fn new(capacity: u64, cluster_bits: u32, packing: Option<Packing>) -> Self {
        let cluster = 1u64 << cluster_bits;
        let entries = cluster / 8;
        let guest = capacity.div_ceil(cluster);
        let l1_size = guest.div_ceil(entries).max(1);
        let l1_clusters = (l1_size * 8).div_ceil(cluster);
        let most = 1 + l1_clusters + guest + l1_size;
        let table_clusters = reftable_clusters(most, cluster);
        let l1 = GrowingTable::new(cluster, l1_clusters * cluster);
        let table = GrowingTable::new((1 + l1_clusters) * cluster, table_clusters * cluster);
        Self {
            capacity,
            cluster_bits,
            packing,
            placed: 0,
            l1,
            l1_size,
            host: Host::new(cluster_bits, 1 + l1_clusters + table_clusters, table),
            l2: vec![0; entries as usize],
            l2_used: 0,
            l2_zeros: 0,
            zero_table: None,
        }
    }

    fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    fn is_sound(&self) -> bool {
        CLUSTER_BITS.contains(&self.cluster_bits)
            && self.l2.len() as u64 == self.cluster() / 8
            && self.placed <= self.capacity
            && self.capacity <= CAPACITY_MAX
            && self.host.is_sound()
    }

    /// Sets the entries of the clusters of `range`; `entry` gives that of the n-th cluster.
    fn map(
        &mut self,
        range: std::ops::Range<u64>,
        entry: impl Fn(u64) -> u64,
        out: &mut Vec<WriteOp>,
    ) {
        let entries = self.l2.len() as u64;
        let first = range.start >> self.cluster_bits;
        let end = range.end.div_ceil(self.cluster());
        let mut at = first;
        while at < end {
            let slot = at % entries;
            let upto = end.min(at - slot + entries);
            for index in at..upto {
                let value = entry(index - first);
                self.l2_used += u64::from(value != 0);
                self.l2_zeros += u64::from(value == ZERO);
                self.l2[(index % entries) as usize] = value;
            }
            at = upto;
            if at.is_multiple_of(entries) {
                self.leave_l2(at / entries - 1, out);
            }
        }
    }

    /// Passes over a hole: only the L2 table that it may complete matters.
    fn skip(&mut self, range: std::ops::Range<u64>, out: &mut Vec<WriteOp>) {
        let span = self.l2.len() as u64 * self.cluster();
        if range.start / span != range.end / span {
            self.leave_l2(range.start / span, out);
        }
    }

    /// Writes the L2 table of region `index` if anything is mapped there.
    fn leave_l2(&mut self, index: u64, out: &mut Vec<WriteOp>) {
        if self.l2_used == 0 {
            return;
        }
        let bytes = if self.l2_zeros == self.l2.len() as u64 {
            self.zero_table.get_or_insert_with(|| big_endian(&self.l2)).clone()
        } else {
            big_endian(&self.l2)
        };
        let at = self.host.clusters(1);
        out.push(WriteOp::Write { at, bytes });
        self.l1.set(index, at | COPIED, out);
        self.l2.fill(0);
        (self.l2_used, self.l2_zeros) = (0, 0);
    }

    fn place_packed(
        &mut self,
        range: std::ops::Range<u64>,
        stream: Bytes,
        out: &mut Vec<WriteOp>,
    ) -> Result<(), ImageError> {
        let len = stream.len() as u64;
        let one_unit = range.end - range.start <= self.cluster();
        if self.packing.is_none() || len == 0 || len >= self.cluster() || !one_unit {
            return Err(ImageError::corrupt("a compressed block that qcow2 cannot hold"));
        }
        let at = self.host.stream(len);
        let entry = pack_descriptor(at, len, self.cluster_bits).ok_or_else(|| {
            ImageError::Limit("compressed clusters do not reach that far into a file".to_owned())
        })?;
        out.push(WriteOp::Write { at, bytes: stream });
        self.map(range, |_| entry, out);
        Ok(())
    }

    fn header(&self) -> Bytes {
        let zstd = matches!(self.packing, Some(p) if p.method == CompressionMethod::Zstd);
        let mut header = Vec::with_capacity(LENGTH as usize + 8);
        header.extend_from_slice(&MAGIC);
        let put32 = |header: &mut Vec<u8>, value: u32| header.extend(value.to_be_bytes());
        let put64 = |header: &mut Vec<u8>, value: u64| header.extend(value.to_be_bytes());
        put32(&mut header, 3);
        put64(&mut header, 0); // no backing file
        put32(&mut header, 0);
        put32(&mut header, self.cluster_bits);
        put64(&mut header, self.capacity);
        put32(&mut header, 0); // no encryption
        put32(&mut header, self.l1_size as u32);
        put64(&mut header, self.l1.offset());
        put64(&mut header, self.host.table().offset());
        put32(&mut header, (self.host.table().size() >> self.cluster_bits) as u32);
        put32(&mut header, 0); // no snapshots
        put64(&mut header, 0);
        put64(&mut header, if zstd { COMPRESSION_TYPE } else { 0 });
        put64(&mut header, 0); // compatible features
        put64(&mut header, 0); // autoclear features
        put32(&mut header, REFCOUNT_ORDER);
        put32(&mut header, LENGTH);
        header.push(u8::from(zstd));
        // Padding of the header, then the end of the extensions.
        header.resize(LENGTH as usize + 8, 0);
        header.into()
    }
}

/// Clusters of a refcount table that can count `others` clusters, itself and its blocks.
fn reftable_clusters(others: u64, cluster: u64) -> u64 {
    let (per_block, per_table) = (cluster / 2, cluster / 8);
    let mut clusters = 1;
    loop {
        let mut blocks = 0;
        // Each round counts the blocks that the last round added; they shrink by `per_block`.
        loop {
            let needed = (others + clusters + blocks).div_ceil(per_block);
            if needed == blocks {
                break;
            }
            blocks = needed;
        }
        let needed = blocks.div_ceil(per_table);
        if needed <= clusters {
            return clusters;
        }
        clusters = needed;
    }
}

impl Format for Writer {
    fn codec(&self) -> Codec {
        let unit = 1 << self.cluster_bits;
        let pack = self.packing.map(|packing| Pack {
            coding: match packing.method {
                CompressionMethod::Zlib => Coding::Deflate,
                CompressionMethod::Zstd => Coding::Zstd,
            },
            level: packing.level,
            window_bits: packing.window_bits,
            // A compressed cluster has to be smaller than a plain one.
            plain_above: Some(unit - 1),
        });
        Codec { unit, zero_unit: unit, pack }
    }

    fn layout(&self) -> Layout {
        Layout::Positional
    }

    fn place(&mut self, run: Coded, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        let range = run.range;
        let ends_well = range.end.is_multiple_of(self.cluster()) || range.end == self.capacity;
        if range.start != self.placed || range.is_empty() || !ends_well || range.end > self.capacity
        {
            return Err(ImageError::corrupt(format!(
                "the run at {} to {} does not follow byte {}",
                range.start, range.end, self.placed
            )));
        }
        self.placed = range.end;
        match run.body {
            CodedBody::Hole => self.skip(range, out),
            CodedBody::Zero => self.map(range, |_| ZERO, out),
            CodedBody::Plain(bytes) if bytes.len() as u64 != range.end - range.start => {
                return Err(ImageError::corrupt("a run and its bytes differ in length"));
            }
            CodedBody::Plain(bytes) => {
                let at = self.host.clusters((bytes.len() as u64).div_ceil(self.cluster()));
                out.push(WriteOp::Write { at, bytes });
                let bits = self.cluster_bits;
                self.map(range, |number| COPIED | (at + (number << bits)), out);
            }
            CodedBody::Packed(stream) => self.place_packed(range, stream, out)?,
        }
        self.host.settle(out);
        Ok(())
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        if self.placed != self.capacity {
            return Err(ImageError::Truncated(format!(
                "the disk ends after {} of {} bytes",
                self.placed, self.capacity
            )));
        }
        let span = self.l2.len() as u64 * self.cluster();
        self.leave_l2(self.placed / span, out);
        let header = self.header();
        let rest = header.len() as u64;
        out.push(WriteOp::Zeros { at: rest, len: self.cluster() - rest });
        self.l1.finish(out);
        let len = self.host.finish(out);
        out.push(WriteOp::SetLen(len));
        out.push(WriteOp::Write { at: 0, bytes: header });
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }
}
