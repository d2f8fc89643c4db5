//! Reading a streamOptimized VMDK in one forward pass.

use std::io::{BufRead, BufReader, Read};

use super::follow::{Follower, Want};
use crate::image::{Block, Body, Coding, Extent, ImageError, Packed, PackedAt, StreamImage};

/// Bytes read at once.
const READ: usize = 512 << 10;

/// Opens a streamOptimized VMDK that comes from a pipe or a server: reads its header. The tables
/// may stand in front of the grains or behind them.
///
/// # Errors
/// [`ImageError::Unsupported`] for any other VMDK: it can only be read from a file;
/// [`ImageError::Corrupt`] and [`ImageError::Truncated`] for damage.
pub fn open_stream(reader: Box<dyn Read + Send>) -> Result<Box<dyn StreamImage>, ImageError> {
    open_buffered(Box::new(BufReader::with_capacity(READ, reader)))
}

/// The same from a reader that holds what it has read.
///
/// # Errors
/// As [`open_stream`].
pub fn open_buffered(reader: Box<dyn BufRead + Send>) -> Result<Box<dyn StreamImage>, ImageError> {
    let mut stream = Stream {
        reader,
        follower: Follower::new(),
        capacity: 0,
        unit: 0,
        at: 0,
        waiting: None,
        done: false,
    };
    if !stream.take()? {
        return Err(ImageError::Truncated("the VMDK stream ends inside its header".into()));
    }
    if let Some(header) = stream.follower.header() {
        stream.capacity = header.capacity * super::header::SECTOR;
        stream.unit = header.grain_bytes() as u32;
    }
    Ok(Box::new(stream))
}

struct Stream {
    reader: Box<dyn BufRead + Send>,
    follower: Follower,
    capacity: u64,
    unit: u32,
    /// Guest byte up to which extents were given out.
    at: u64,
    /// The grain behind a hole that was given out first.
    waiting: Option<Extent>,
    done: bool,
}

impl StreamImage for Stream {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn block_size(&self) -> u32 {
        self.unit.max(512)
    }

    fn next(&mut self) -> Result<Option<Extent>, ImageError> {
        if let Some(extent) = self.waiting.take() {
            self.at = extent.range.end;
            return Ok(Some(extent));
        }
        while !self.done {
            let Want::Grain { start, len } = self.follower.want() else {
                self.done = !self.take()?;
                continue;
            };
            let packed = self.grain(len)?;
            let range = start..(start + u64::from(self.unit)).min(self.capacity);
            let extent = Extent { range, body: Body::Data(Block::Packed(packed)) };
            if self.at < start {
                self.waiting = Some(extent);
                return Ok(Some(self.hole(start)));
            }
            self.at = extent.range.end;
            return Ok(Some(extent));
        }
        Ok((self.at < self.capacity).then(|| self.hole(self.capacity)))
    }
}

impl Stream {
    fn hole(&mut self, end: u64) -> Extent {
        let range = self.at..end;
        self.at = end;
        Extent { range, body: Body::Hole }
    }

    fn grain(&mut self, len: u32) -> Result<Packed, ImageError> {
        let Some(bytes) = self.read(len as usize)? else {
            return Err(ImageError::Truncated("the VMDK stream ends inside a grain".into()));
        };
        self.follower.passed()?;
        Ok(Packed { coding: Coding::Zlib, at: PackedAt::Memory(bytes.into()), unit: self.unit })
    }

    /// Gives the follower what it wants, unless that is a grain. `false` where the stream ended
    /// as a whole one does.
    fn take(&mut self) -> Result<bool, ImageError> {
        match self.follower.want() {
            Want::Take(len) => {
                let Some(bytes) = self.read(len)? else { return Ok(false) };
                self.follower.took(&bytes)?;
            }
            Want::Pass(mut len) => {
                while len > 0 {
                    let held = fill(&mut *self.reader)?.len() as u64;
                    if held == 0 {
                        self.follower.end(0)?;
                        return Ok(false);
                    }
                    let part = len.min(held);
                    self.reader.consume(part as usize);
                    len -= part;
                }
                self.follower.passed()?;
            }
            Want::Rest => {
                let held = fill(&mut *self.reader)?;
                if held.is_empty() {
                    self.follower.end(0)?;
                    return Ok(false);
                }
                self.follower.rest(held)?;
                let held = held.len();
                self.reader.consume(held);
            }
            Want::Grain { .. } => {}
        }
        Ok(true)
    }

    /// The next `len` bytes. `None` where the stream ended before, and was whole by then.
    fn read(&mut self, len: usize) -> Result<Option<Vec<u8>>, ImageError> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let held = fill(&mut *self.reader)?;
            if held.is_empty() {
                self.follower.end(bytes.len())?;
                return Ok(None);
            }
            let part = (len - bytes.len()).min(held.len());
            bytes.extend_from_slice(held.get(..part).unwrap_or_default());
            self.reader.consume(part);
        }
        Ok(Some(bytes))
    }
}

/// What the reader holds, read anew where that is nothing; empty at the end.
fn fill<R: BufRead + ?Sized>(reader: &mut R) -> std::io::Result<&[u8]> {
    // Asking twice is free once something is held, and keeps the borrow out of the loop.
    loop {
        match reader.fill_buf() {
            Ok(_) => return reader.fill_buf(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
