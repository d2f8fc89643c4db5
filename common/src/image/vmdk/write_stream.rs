//! Writing streamOptimized: header, descriptor, then each grain behind its marker, each table
//! once its grains are out, and at the end directory, footer and end marker.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::create::{grain_pack, save_stream};
use super::header::{AT_END, Header, Marker, SECTOR, SECTOR_LEN};
use super::pending::{PendingTable, TABLE_LEN, TABLE_SECTORS, sector_at};
use crate::image::{Codec, Coded, CodedBody, Format, ImageError, Layout, WriteOp};

/// Sectors in front of the first grain, as ESXi and ovftool have it.
const OVERHEAD: u64 = 128;

/// The writer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StreamWriter {
    capacity: u64,
    grain: u32,
    level: u8,
    descriptor: String,
    /// Bytes written so far.
    at: u64,
    directory: Vec<u32>,
    table: PendingTable,
}

impl StreamWriter {
    /// A writer of `capacity` guest bytes in grains of `grain` bytes.
    pub(super) fn new(capacity: u64, grain: u32, level: u8, descriptor: String) -> Self {
        let tables = capacity.div_ceil(u64::from(grain)).div_ceil(TABLE_LEN);
        Self {
            capacity,
            grain,
            level,
            descriptor,
            at: 0,
            directory: vec![0; tables as usize],
            table: PendingTable::default(),
        }
    }

    fn header(&self, directory: u64) -> Header {
        Header {
            version: 3,
            has_redundant: false,
            has_zeroed: false,
            compressed: true,
            markers: true,
            capacity: self.capacity / SECTOR,
            grain: u64::from(self.grain) / SECTOR,
            descriptor: 1,
            descriptor_len: (self.descriptor.len() as u64).div_ceil(SECTOR).max(20),
            table_len: TABLE_LEN as u32,
            redundant: 0,
            directory,
            overhead: OVERHEAD.max(1 + (self.descriptor.len() as u64).div_ceil(SECTOR)),
            unclean: false,
        }
    }

    fn begin(&mut self, out: &mut Vec<WriteOp>) {
        if self.at > 0 {
            return;
        }
        let header = self.header(AT_END);
        let mut front = header.to_sector().to_vec();
        front.extend_from_slice(self.descriptor.as_bytes());
        front.resize((header.overhead * SECTOR) as usize, 0);
        self.append(front, out);
    }

    /// Appends whole sectors.
    fn append(&mut self, mut bytes: Vec<u8>, out: &mut Vec<WriteOp>) {
        bytes.resize(bytes.len().next_multiple_of(SECTOR_LEN), 0);
        let len = bytes.len() as u64;
        out.push(WriteOp::Write { at: self.at, bytes: bytes.into() });
        self.at += len;
    }

    fn append_table(
        &mut self,
        done: Option<(u64, Vec<u8>)>,
        out: &mut Vec<WriteOp>,
    ) -> Result<(), ImageError> {
        let Some((number, table)) = done else { return Ok(()) };
        let mut bytes = Marker::Table(TABLE_SECTORS).to_bytes();
        bytes.extend_from_slice(&table);
        if let Some(entry) = self.directory.get_mut(number as usize) {
            *entry = sector_at(self.at + SECTOR)?;
        }
        self.append(bytes, out);
        Ok(())
    }

    fn append_grain(
        &mut self,
        start: u64,
        stream: &Bytes,
        out: &mut Vec<WriteOp>,
    ) -> Result<(), ImageError> {
        let grain = start / u64::from(self.grain);
        let done = self.table.turn_to(grain);
        self.append_table(done, out)?;
        self.table.note(grain, self.at)?;
        let len = stream.len() as u32;
        // One buffer for marker, stream and padding: three small writes would cost more.
        let room = (stream.len() + Marker::GRAIN_LEN as usize).next_multiple_of(SECTOR_LEN);
        let mut bytes = Vec::with_capacity(room);
        bytes.extend_from_slice(&Marker::Grain { lba: start / SECTOR, len }.to_bytes());
        bytes.extend_from_slice(stream);
        self.append(bytes, out);
        Ok(())
    }
}

impl Format for StreamWriter {
    fn codec(&self) -> Codec {
        Codec { unit: self.grain, zero_unit: self.grain, pack: Some(grain_pack(self.level)) }
    }

    fn layout(&self) -> Layout {
        Layout::Append
    }

    fn place(&mut self, run: Coded, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        self.begin(out);
        match &run.body {
            // A base disk has no other word for zeros than no grain.
            CodedBody::Hole | CodedBody::Zero => Ok(()),
            CodedBody::Packed(stream) => self.append_grain(run.range.start, stream, out),
            CodedBody::Plain(_) => {
                Err(ImageError::unsupported("streamOptimized grains are always compressed"))
            }
        }
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        self.begin(out);
        let done = self.table.take();
        self.append_table(done, out)?;
        let directory: Vec<u8> =
            self.directory.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let sectors = (directory.len() as u64).div_ceil(SECTOR);
        let directory_sector = sector_at(self.at + SECTOR)?;
        self.append([Marker::Directory(sectors).to_bytes(), directory].concat(), out);
        let footer = self.header(u64::from(directory_sector)).to_sector();
        self.append([&Marker::Footer.to_bytes(), &footer[..]].concat(), out);
        self.append(Marker::EndOfStream.to_bytes(), out);
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        save_stream(self)
    }
}
