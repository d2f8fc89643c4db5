//! Reading raw images, from files and from pipes.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::image::{
    Block, Body, Extent, Extents, Image, ImageError, ImageFormat, ImageInfo, ReadAt, StreamImage,
};

/// Bytes that one extent of a stream holds.
const STREAM_BLOCK: u64 = 1 << 20;

/// Nothing in a raw image is packed; any sector may start a range.
const SECTOR: u32 = 512;

/// Opens `file` as a raw image. Its capacity is the file's exact length, which need not be a
/// multiple of 512.
pub fn open(file: Arc<dyn ReadAt>) -> Box<dyn Image> {
    Box::new(Raw { file })
}

/// Reads a raw image of `capacity` bytes from a pipe. A raw stream does not say how long it is,
/// so the caller must know.
pub fn open_stream(reader: Box<dyn Read + Send>, capacity: u64) -> Box<dyn StreamImage> {
    Box::new(RawStream { reader, capacity, at: 0, ended: false })
}

#[derive(Debug)]
struct Raw {
    file: Arc<dyn ReadAt>,
}

impl Image for Raw {
    fn capacity(&self) -> u64 {
        self.file.len()
    }

    fn block_size(&self) -> u32 {
        SECTOR
    }

    fn extents(&self, range: Range<u64>) -> Extents<'_> {
        Box::new(Runs { file: &self.file, at: range.start, end: range.end.min(self.capacity()) })
    }

    fn info(&self) -> ImageInfo {
        ImageInfo {
            format: ImageFormat::Raw,
            variant: "raw".to_owned(),
            capacity_bytes: self.capacity(),
            block_bytes: None,
            compression: None,
            backing: None,
            extent_files: Vec::new(),
            details: Vec::new(),
        }
    }

    fn check(&self) -> Result<Vec<String>, ImageError> {
        Ok(Vec::new())
    }
}

/// Data and holes of the file system in turn.
struct Runs<'a> {
    file: &'a Arc<dyn ReadAt>,
    at: u64,
    end: u64,
}

impl Iterator for Runs<'_> {
    type Item = Result<Extent, ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        if start >= self.end {
            return None;
        }
        let data = self.file.next_data(start).filter(|run| run.end > start);
        let (end, body) = match data {
            Some(run) if run.start <= start => {
                let block = Block::Stored { file: self.file.clone(), offset: start };
                (run.end.min(self.end), Body::Data(block))
            }
            Some(run) => (run.start.min(self.end), Body::Hole),
            None => (self.end, Body::Hole),
        };
        self.at = end;
        Some(Ok(Extent { range: start..end, body }))
    }
}

struct RawStream {
    reader: Box<dyn Read + Send>,
    capacity: u64,
    at: u64,
    ended: bool,
}

impl RawStream {
    fn block(&mut self) -> Result<Extent, ImageError> {
        let len = STREAM_BLOCK.min(self.capacity - self.at);
        let mut bytes = Vec::with_capacity(len as usize);
        self.reader.by_ref().take(len).read_to_end(&mut bytes)?;
        let got = bytes.len() as u64;
        if got < len {
            return Err(ImageError::Truncated(format!(
                "the stream ends after {} of {} bytes",
                self.at + got,
                self.capacity
            )));
        }
        let range = self.at..self.at + len;
        self.at += len;
        Ok(Extent { range, body: Body::Data(Block::Plain(Bytes::from(bytes))) })
    }

    /// Looks past the end once: a longer stream was given the wrong capacity.
    fn end(&mut self) -> Result<(), ImageError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let mut more = Vec::new();
        match self.reader.by_ref().take(1).read_to_end(&mut more)? {
            0 => Ok(()),
            _ => Err(ImageError::Corrupt(format!(
                "the stream goes on after the {} bytes that were said to be all",
                self.capacity
            ))),
        }
    }
}

impl StreamImage for RawStream {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn block_size(&self) -> u32 {
        SECTOR
    }

    fn next(&mut self) -> Result<Option<Extent>, ImageError> {
        if self.at < self.capacity { self.block().map(Some) } else { self.end().map(|()| None) }
    }
}
