//! Writing monolithicSparse: all tables, twice, in front; then the grains as they come. The
//! header is written last.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::create::save_sparse;
use super::header::{Header, SECTOR};
use super::pending::{PendingTable, TABLE_LEN, TABLE_SECTORS, sector_at};
use crate::image::{Codec, Coded, CodedBody, Format, ImageError, Layout, WriteOp};

/// Sectors set aside for the descriptor, as VMware's tools do.
const DESCRIPTOR_SECTORS: u64 = 20;

/// The writer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SparseWriter {
    capacity: u64,
    grain: u32,
    descriptor: String,
    /// File offset of the next grain; 0 before the first run.
    at: u64,
    table: PendingTable,
}

/// Where the structures are, in sectors.
struct Plan {
    tables: u64,
    descriptor_len: u64,
    redundant: u64,
    directory: u64,
    directory_len: u64,
    overhead: u64,
}

impl Plan {
    /// First sector of table `number` behind the directory at sector `directory`.
    fn table(&self, directory: u64, number: u64) -> u64 {
        directory + self.directory_len + number * TABLE_SECTORS
    }
}

impl SparseWriter {
    /// A writer of `capacity` guest bytes in grains of `grain` bytes.
    pub(super) fn new(capacity: u64, grain: u32, descriptor: String) -> Self {
        Self { capacity, grain, descriptor, at: 0, table: PendingTable::default() }
    }

    fn plan(&self) -> Plan {
        let grain = u64::from(self.grain);
        let tables = self.capacity.div_ceil(grain).div_ceil(TABLE_LEN);
        let descriptor_len =
            (self.descriptor.len() as u64).div_ceil(SECTOR).max(DESCRIPTOR_SECTORS);
        let directory_len = (tables * 4).div_ceil(SECTOR);
        let copy = directory_len + tables * TABLE_SECTORS;
        let redundant = 1 + descriptor_len;
        let directory = redundant + copy;
        let overhead = (directory + copy).next_multiple_of(grain / SECTOR);
        Plan { tables, descriptor_len, redundant, directory, directory_len, overhead }
    }

    fn begin(&mut self, out: &mut Vec<WriteOp>) {
        if self.at == 0 {
            self.at = self.plan().overhead * SECTOR;
            out.push(WriteOp::Zeros { at: 0, len: self.at });
        }
    }

    fn write_table(&self, done: Option<(u64, Vec<u8>)>, out: &mut Vec<WriteOp>) {
        let Some((number, table)) = done else { return };
        let (plan, bytes) = (self.plan(), Bytes::from(table));
        for directory in [plan.redundant, plan.directory] {
            let at = plan.table(directory, number) * SECTOR;
            out.push(WriteOp::Write { at, bytes: bytes.clone() });
        }
    }

    fn place_plain(
        &mut self,
        start: u64,
        bytes: Bytes,
        out: &mut Vec<WriteOp>,
    ) -> Result<(), ImageError> {
        let (at, grain) = (self.at, u64::from(self.grain));
        let len = bytes.len() as u64;
        let first = start / grain;
        for number in first..first + len.div_ceil(grain) {
            let done = self.table.turn_to(number);
            self.write_table(done, out);
            // The grain's last sector must be within reach too.
            sector_at(self.at + grain - SECTOR)?;
            self.table.note(number, self.at)?;
            self.at += grain;
        }
        out.push(WriteOp::Write { at, bytes });
        if at + len < self.at {
            out.push(WriteOp::Zeros { at: at + len, len: self.at - at - len });
        }
        Ok(())
    }

    fn header(&self, plan: &Plan) -> Header {
        Header {
            version: 1,
            has_redundant: true,
            has_zeroed: false,
            compressed: false,
            markers: false,
            capacity: self.capacity / SECTOR,
            grain: u64::from(self.grain) / SECTOR,
            descriptor: 1,
            descriptor_len: plan.descriptor_len,
            table_len: TABLE_LEN as u32,
            redundant: plan.redundant,
            directory: plan.directory,
            overhead: plan.overhead,
            unclean: false,
        }
    }
}

impl Format for SparseWriter {
    fn codec(&self) -> Codec {
        Codec { unit: self.grain, zero_unit: self.grain, pack: None }
    }

    fn layout(&self) -> Layout {
        Layout::Positional
    }

    fn place(&mut self, run: Coded, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        self.begin(out);
        match run.body {
            CodedBody::Hole | CodedBody::Zero => Ok(()),
            CodedBody::Plain(bytes) => self.place_plain(run.range.start, bytes, out),
            CodedBody::Packed(_) => {
                Err(ImageError::unsupported("monolithicSparse grains are never compressed"))
            }
        }
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        self.begin(out);
        let done = self.table.take();
        self.write_table(done, out);
        let plan = self.plan();
        for directory in [plan.redundant, plan.directory] {
            let mut bytes = Vec::with_capacity((plan.directory_len * SECTOR) as usize);
            for number in 0..plan.tables {
                let sector = sector_at(plan.table(directory, number) * SECTOR)?;
                bytes.extend_from_slice(&sector.to_le_bytes());
            }
            if !bytes.is_empty() {
                out.push(WriteOp::Write { at: directory * SECTOR, bytes: bytes.into() });
            }
        }
        let descriptor = self.descriptor.clone().into_bytes();
        out.push(WriteOp::Write { at: SECTOR, bytes: descriptor.into() });
        out.push(WriteOp::SetLen(self.at));
        let header = self.header(&plan).to_sector().to_vec();
        out.push(WriteOp::Write { at: 0, bytes: header.into() });
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        save_sparse(self)
    }
}
