//! Placing runs into blocks: a block is allocated at the first data in it; what is empty in an
//! allocated block stays a hole of the file.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::image::{Coded, CodedBody, ImageError, WriteOp};

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// Nothing is in it.
    Hole,
    /// It reads as zero, and not all of it was a hole.
    Zero,
    /// Its data starts at this file offset.
    At(u64),
}

/// How a format allocates and names its blocks.
pub trait Blocks {
    /// Takes room for one block at the end of the file and returns the offset of its data.
    ///
    /// # Errors
    /// [`ImageError::Limit`] where the format cannot name the place.
    fn allocate(&mut self, out: &mut Vec<WriteOp>) -> Result<u64, ImageError>;

    /// Enters the next `count` blocks of the disk in the table.
    fn settle(&mut self, fate: Fate, count: u64, out: &mut Vec<WriteOp>);
}

/// Where in the disk and in which block writing stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct Placer {
    capacity: u64,
    block: u64,
    at: u64,
    /// The fate so far of the block that holds `at`.
    fate: Fate,
}

impl Placer {
    /// A disk of `capacity` bytes in blocks of `block` bytes.
    pub fn new(capacity: u64, block: u64) -> Self {
        Self { capacity, block, at: 0, fate: Fate::Hole }
    }

    /// Places one run; see [`crate::image::Format::place`].
    ///
    /// # Errors
    /// Those of [`Blocks::allocate`]; [`ImageError::Corrupt`] for a run that does not follow the
    /// one before, or that is compressed.
    pub fn place(
        &mut self,
        run: &Coded,
        blocks: &mut impl Blocks,
        out: &mut Vec<WriteOp>,
    ) -> Result<(), ImageError> {
        check_order(run, self.at, self.capacity)?;
        while self.at < run.range.end {
            let start = self.at / self.block * self.block;
            let block_end = (start + self.block).min(self.capacity);
            let end = run.range.end.min(block_end);
            match &run.body {
                CodedBody::Hole | CodedBody::Zero => {
                    let fate = empty_fate(&run.body);
                    if self.at == start && end == block_end {
                        self.skip_blocks(fate, run.range.end, blocks, out);
                        continue;
                    }
                    self.leave_empty(fate, start, end, out);
                }
                CodedBody::Plain(bytes) => {
                    let part =
                        (self.at - run.range.start) as usize..(end - run.range.start) as usize;
                    self.write(bytes.slice(part), start, blocks, out)?;
                }
                CodedBody::Packed(_) => return Err(packed()),
            }
            self.at = end;
            if end == block_end {
                self.close_block(start, blocks, out);
            }
        }
        Ok(())
    }

    /// Whole blocks without data, up to `end`.
    fn skip_blocks(
        &mut self,
        fate: Fate,
        end: u64,
        blocks: &mut impl Blocks,
        out: &mut Vec<WriteOp>,
    ) {
        let whole = if end == self.capacity { end.div_ceil(self.block) } else { end / self.block };
        blocks.settle(fate, whole - self.at / self.block, out);
        self.at = (whole * self.block).min(self.capacity);
    }

    fn leave_empty(&mut self, fate: Fate, start: u64, end: u64, out: &mut Vec<WriteOp>) {
        match self.fate {
            Fate::At(data) => {
                out.push(WriteOp::Zeros { at: data + (self.at - start), len: end - self.at });
            }
            Fate::Hole => self.fate = fate,
            Fate::Zero => {}
        }
    }

    fn write(
        &mut self,
        bytes: Bytes,
        start: u64,
        blocks: &mut impl Blocks,
        out: &mut Vec<WriteOp>,
    ) -> Result<(), ImageError> {
        let skip = self.at - start;
        let data = match self.fate {
            Fate::At(data) => data,
            Fate::Hole | Fate::Zero => {
                let data = blocks.allocate(out)?;
                if skip > 0 {
                    out.push(WriteOp::Zeros { at: data, len: skip });
                }
                self.fate = Fate::At(data);
                data
            }
        };
        out.push(WriteOp::Write { at: data + skip, bytes });
        Ok(())
    }

    /// The block at `start` is complete; one that the end of the disk cuts is filled up.
    fn close_block(&mut self, start: u64, blocks: &mut impl Blocks, out: &mut Vec<WriteOp>) {
        let used = self.at - start;
        if let Fate::At(data) = self.fate
            && used < self.block
        {
            out.push(WriteOp::Zeros { at: data + used, len: self.block - used });
        }
        blocks.settle(self.fate, 1, out);
        self.fate = Fate::Hole;
    }

    /// Whether the whole disk was placed.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where it was not.
    pub fn check_complete(&self) -> Result<(), ImageError> {
        check_complete(self.at, self.capacity)
    }
}

fn empty_fate(body: &CodedBody) -> Fate {
    if matches!(body, CodedBody::Zero) { Fate::Zero } else { Fate::Hole }
}

/// The error for a compressed run in a format that has none.
pub fn packed() -> ImageError {
    ImageError::unsupported("this format does not hold compressed blocks")
}

/// Whether `run` starts at `at`, stays within the disk and has the bytes that it claims.
///
/// # Errors
/// [`ImageError::Corrupt`] where not.
pub fn check_order(run: &Coded, at: u64, capacity: u64) -> Result<(), ImageError> {
    let len = run.range.end.checked_sub(run.range.start);
    let held = match &run.body {
        CodedBody::Plain(bytes) => Some(bytes.len() as u64),
        _ => len,
    };
    if run.range.start != at || run.range.end > capacity || held != len {
        return Err(ImageError::corrupt(format!(
            "a run of the disk starts at byte {} where byte {at} was due",
            run.range.start
        )));
    }
    Ok(())
}

/// Whether a disk of `capacity` bytes was placed up to its end.
///
/// # Errors
/// [`ImageError::Corrupt`] where it was not.
pub fn check_complete(at: u64, capacity: u64) -> Result<(), ImageError> {
    if at == capacity {
        return Ok(());
    }
    Err(ImageError::Truncated(format!("the disk ends at byte {at} of {capacity}")))
}

/// The bytes of a placer's state, for [`crate::image::Format::save`]. A placer holds nothing
/// that cannot be serialized; should it ever, the empty state is refused by [`to_format`].
pub fn to_state(placer: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(placer).unwrap_or_default()
}

/// The placer that [`to_state`] saved.
///
/// # Errors
/// [`ImageError::Corrupt`] where the bytes are not such a state.
pub fn to_format<T: DeserializeOwned>(state: &[u8]) -> Result<T, ImageError> {
    postcard::from_bytes(state)
        .map_err(|_| ImageError::corrupt("the saved state of the image is damaged"))
}
