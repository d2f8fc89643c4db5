//! Walking the cluster tables: from guest offsets to extents.

use std::ops::Range;

use super::backing::below;
use super::decode::Qcow2;
use super::entry::{Entry, Mapping, OFFSET};
use super::table::Pages;
use crate::image::{Block, Body, Extent, Extents, ImageError, Packed, PackedAt};

/// Longest run of plain clusters in one extent: long enough to read in one go, short enough that
/// the engine can share it out.
const STORED_MAX: u64 = 64 << 20;

/// No compressed stream of a whole cluster is shorter than this.
const STREAM_MIN: u64 = 4;

/// The extents of a range. Holds one page of each table; a range costs what its tables cost.
pub struct Walk<'a> {
    image: &'a Qcow2,
    l1: Pages,
    l2: Pages,
    at: u64,
    end: u64,
    /// A run of plain clusters that is being handed out, with its place in the file.
    plain: Option<(Range<u64>, u64)>,
    /// Where the file system has data, as last heard.
    known: Range<u64>,
    /// What shows through an unallocated run.
    through: Option<Extents<'a>>,
    /// Bytes of the file that clusters have claimed so far. No cluster is mapped twice in a sound
    /// table, so a walk cannot claim more than there is; a small file made to look endless can.
    claimed_plain: u64,
    claimed_packed: u64,
}

impl<'a> Walk<'a> {
    /// Starts at a cluster boundary.
    pub fn new(image: &'a Qcow2, range: Range<u64>) -> Self {
        Self {
            image,
            l1: Pages::default(),
            l2: Pages::default(),
            at: range.start,
            end: range.end.min(image.header.capacity),
            plain: None,
            known: 0..0,
            through: None,
            claimed_plain: 0,
            claimed_packed: 0,
        }
    }

    /// What is mapped at guest offset `at` and up to where that holds.
    fn piece(&mut self, at: u64) -> Result<(u64, Mapping), ImageError> {
        let header = &self.image.header;
        let file = &*self.image.file;
        let (span, cluster) = (header.l2_span(), header.cluster());
        let index = at / span;
        let table = self.l1.get(file, header.l1_offset + index * 8)? & OFFSET;
        if table == 0 {
            return Ok(((index + 1) * span, Mapping::Unallocated));
        }
        if !table.is_multiple_of(cluster) {
            return Err(ImageError::corrupt(format!("L2 table {index} lies at byte {table}")));
        }
        let number = at / cluster;
        let slot = table + number % (span / cluster) * header.entry_len();
        let word = self.l2.get(file, slot)?;
        let bits = if header.extended() { self.l2.get(file, slot + 8)? } else { 0 };
        let start = number * cluster;
        let (end, mapping) = Entry { word, bits }.mapping(header, at - start, number)?;
        Ok((start + end, mapping))
    }

    /// The longest run of one mapping from `self.at` on.
    fn run(&mut self) -> Result<(Range<u64>, Mapping), ImageError> {
        let start = self.at;
        let (mut end, mapping) = self.piece(start)?;
        while end < self.end {
            // A broken entry behind the run is met again when its turn comes.
            let Ok((next, follows)) = self.piece(end) else { break };
            let joins = match (mapping, follows) {
                (Mapping::Unallocated, Mapping::Unallocated) | (Mapping::Zero, Mapping::Zero) => {
                    true
                }
                (Mapping::Plain(host), Mapping::Plain(other)) => {
                    other.checked_sub(end - start) == Some(host) && end - start < STORED_MAX
                }
                _ => false,
            };
            if !joins {
                break;
            }
            end = next;
        }
        self.at = end.min(self.end);
        Ok((start..self.at, mapping))
    }

    fn claim(&mut self, run: &Range<u64>, mapping: Mapping) -> Result<(), ImageError> {
        match mapping {
            Mapping::Plain(_) => self.claimed_plain += run.end - run.start,
            Mapping::Packed(..) => self.claimed_packed += STREAM_MIN,
            Mapping::Unallocated | Mapping::Zero => {}
        }
        if self.claimed_plain > self.image.data.len() || self.claimed_packed > self.image.file.len()
        {
            return Err(ImageError::corrupt(
                "its clusters overlap: they map more bytes than the file has",
            ));
        }
        Ok(())
    }

    fn packed(&self, range: Range<u64>, offset: u64, len: u32) -> Result<Extent, ImageError> {
        let file_len = self.image.file.len();
        if offset >= file_len {
            return Err(ImageError::Truncated(format!(
                "the compressed cluster at guest offset {} lies at byte {offset}, past the end \
                 of the file",
                range.start
            )));
        }
        let packed = Packed {
            coding: self.image.header.coding,
            at: PackedAt::File {
                file: self.image.file.clone(),
                offset,
                len: u64::from(len).min(file_len - offset) as u32,
            },
            unit: 1 << self.image.header.cluster_bits,
        };
        Ok(Extent { range, body: Body::Data(Block::Packed(packed)) })
    }

    /// The next part of a plain run: a hole of the file system reads as zero and is not worth
    /// reading (a preallocated image is full of them).
    fn stored(&mut self, range: Range<u64>, host: u64) -> Extent {
        let data = &self.image.data;
        let len = range.end - range.start;
        if !self.known.contains(&host) {
            self.known = data.next_data(host).unwrap_or(u64::MAX..u64::MAX);
        }
        let (take, body) = if self.known.start > host {
            (len.min(self.known.start - host), Body::Zero)
        } else {
            let take = len.min(self.known.end.saturating_sub(host)).max(1);
            (take, Body::Data(Block::Stored { file: data.clone(), offset: host }))
        };
        let cut = range.start + take;
        if cut < range.end {
            self.plain = Some((cut..range.end, host + take));
        }
        Extent { range: range.start..cut, body }
    }

    fn advance(&mut self) -> Result<Option<Extent>, ImageError> {
        loop {
            if let Some((range, host)) = self.plain.take() {
                return Ok(Some(self.stored(range, host)));
            }
            if let Some(through) = &mut self.through {
                match through.next() {
                    Some(extent) => return extent.map(Some),
                    None => self.through = None,
                }
            }
            if self.at >= self.end {
                return Ok(None);
            }
            let (range, mapping) = self.run()?;
            self.claim(&range, mapping)?;
            match mapping {
                Mapping::Zero => return Ok(Some(Extent { range, body: Body::Zero })),
                Mapping::Packed(offset, len) => return self.packed(range, offset, len).map(Some),
                Mapping::Plain(host) => {
                    self.check_end(&range, host)?;
                    self.plain = Some((range, host));
                }
                Mapping::Unallocated => match &self.image.backing {
                    Some(backing) => self.through = Some(below(&**backing, range)),
                    None => return Ok(Some(Extent { range, body: Body::Hole })),
                },
            }
        }
    }

    fn check_end(&self, range: &Range<u64>, host: u64) -> Result<(), ImageError> {
        match host.checked_add(range.end - range.start) {
            Some(end) if end <= self.image.data.len() => Ok(()),
            _ => Err(ImageError::Truncated(format!(
                "the clusters of guest offset {} lie at byte {host}, past the end of the file",
                range.start
            ))),
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Extent, ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let answer = self.advance().transpose();
        if matches!(answer, Some(Err(_))) {
            (self.at, self.plain, self.through) = (self.end, None, None);
        }
        answer
    }
}
