//! The tar file of an OVA as it is put together.

use std::sync::Arc;

use bytes::Bytes;
use hyper_common::error::Result;
use hyper_common::image::WriteOp;
use hyper_common::package::ova::{end_blocks, header_len, member_header, padding};
use hyper_common::sink::Sink;

/// A tar file being written.
pub struct Tar {
    /// Takes its bytes.
    pub sink: Arc<dyn Sink>,
    /// Where the next member begins.
    pub at: u64,
    mtime: i64,
    /// It is there already, and only counted.
    written: bool,
}

impl Tar {
    /// An empty one, whose members changed at `mtime`.
    pub fn new(sink: Arc<dyn Sink>, mtime: i64) -> Self {
        Self { sink, at: 0, mtime, written: false }
    }

    /// One that is there from its front to its end.
    pub fn there(sink: Arc<dyn Sink>, mtime: i64) -> Self {
        Self { written: true, ..Self::new(sink, mtime) }
    }

    /// The header of a member.
    pub fn header(&self, name: &str, size: u64) -> Result<Vec<u8>> {
        member_header(name, size, self.mtime.max(0).cast_unsigned())
    }

    /// Writes bytes at a place.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        if self.written {
            return Ok(());
        }
        self.sink.apply(WriteOp::Write { at, bytes: Bytes::copy_from_slice(bytes) })
    }

    /// Leaves room for a member; answers with where its header goes.
    pub fn reserve(&mut self, name: &str, size: u64) -> u64 {
        let at = self.at;
        self.at += header_len(name) + size.next_multiple_of(512);
        at
    }

    /// Writes a member into room that was left for it; its length is a multiple of 512.
    pub fn put(&self, at: u64, name: &str, bytes: &[u8]) -> Result<()> {
        let header = self.header(name, bytes.len() as u64)?;
        self.write(at, &header)?;
        self.write(at + header.len() as u64, bytes)
    }

    /// Writes a member at the end.
    pub fn append(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let header = self.header(name, bytes.len() as u64)?;
        self.write(self.at, &header)?;
        self.write(self.at + header.len() as u64, bytes)?;
        self.at += (header.len() + bytes.len()) as u64;
        self.pad(bytes.len() as u64)
    }

    /// The zeros after a member of `size` bytes.
    pub fn pad(&mut self, size: u64) -> Result<()> {
        let zeros = vec![0; padding(size) as usize];
        self.write(self.at, &zeros)?;
        self.at += zeros.len() as u64;
        Ok(())
    }

    /// Ends the archive; answers with its length.
    pub fn finish(&mut self) -> Result<u64> {
        let end = end_blocks();
        self.write(self.at, &end)?;
        self.at += end.len() as u64;
        if !self.written {
            self.sink.apply(WriteOp::SetLen(self.at))?;
        }
        Ok(self.at)
    }
}
