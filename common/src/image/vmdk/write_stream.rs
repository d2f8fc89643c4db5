//! Writing streamOptimized: header, descriptor, then each grain behind its marker, each table
//! once its grains are out, and at the end directory, footer and end marker. Or, where the target
//! can seek, with directory and tables in room set aside for them in front of the grains.

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
    /// Directory and tables stand in front.
    tables_first: bool,
}

impl StreamWriter {
    /// A writer of `capacity` guest bytes in grains of `grain` bytes.
    pub(super) fn new(capacity: u64, grain: u32, level: u8, descriptor: String) -> Self {
        Self::with_layout(capacity, grain, level, descriptor, false)
    }

    /// The same, with directory and tables in front of the grains.
    pub(super) fn tables_first(capacity: u64, grain: u32, level: u8, descriptor: String) -> Self {
        Self::with_layout(capacity, grain, level, descriptor, true)
    }

    fn with_layout(
        capacity: u64,
        grain: u32,
        level: u8,
        descriptor: String,
        tables_first: bool,
    ) -> Self {
        let tables = capacity.div_ceil(u64::from(grain)).div_ceil(TABLE_LEN);
        Self {
            capacity,
            grain,
            level,
            descriptor,
            at: 0,
            directory: vec![0; tables as usize],
            table: PendingTable::default(),
            tables_first,
        }
    }

    /// Sectors of the descriptor's room, behind the header.
    fn descriptor_len(&self) -> u64 {
        (self.descriptor.len() as u64).div_ceil(SECTOR).max(20)
    }

    /// The directory's first sector, where it stands in front.
    fn front_directory(&self) -> u64 {
        1 + self.descriptor_len()
    }

    /// The first sector of the room for tables in front. Each has its place in it, so that it can
    /// be written as soon as it is complete; those of empty regions stay holes.
    fn front_tables(&self) -> u64 {
        self.front_directory() + (self.directory.len() as u64 * 4).div_ceil(SECTOR)
    }

    /// Sectors in front of the first grain.
    fn overhead(&self) -> u64 {
        let end = match self.tables_first {
            true => self.front_tables() + self.directory.len() as u64 * TABLE_SECTORS,
            false => 1 + (self.descriptor.len() as u64).div_ceil(SECTOR),
        };
        end.next_multiple_of(if self.tables_first { OVERHEAD } else { 1 }).max(OVERHEAD)
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
            descriptor_len: self.descriptor_len(),
            table_len: TABLE_LEN as u32,
            redundant: 0,
            directory,
            overhead: self.overhead(),
            unclean: false,
        }
    }

    fn begin(&mut self, out: &mut Vec<WriteOp>) {
        if self.at > 0 {
            return;
        }
        if self.tables_first {
            // What stands in front is written when it is known, the header last.
            self.at = self.overhead() * SECTOR;
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
        if self.tables_first {
            let at = (self.front_tables() + number * TABLE_SECTORS) * SECTOR;
            if let Some(entry) = self.directory.get_mut(number as usize) {
                *entry = sector_at(at)?;
            }
            out.push(WriteOp::Write { at, bytes: table.into() });
            return Ok(());
        }
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
        if self.tables_first { Layout::Positional } else { Layout::Append }
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
        if self.tables_first {
            // No end marker: the tables say where the last grain is, and a reader of a stream
            // would miss nothing without it.
            out.push(WriteOp::SetLen(self.at));
            let at = self.front_directory() * SECTOR;
            out.push(WriteOp::Write { at, bytes: directory.into() });
            let mut front = self.header(self.front_directory()).to_sector().to_vec();
            front.extend_from_slice(self.descriptor.as_bytes());
            out.push(WriteOp::Write { at: 0, bytes: front.into() });
            return Ok(());
        }
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
