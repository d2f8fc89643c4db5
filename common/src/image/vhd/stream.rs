//! A fixed VHD that arrives in order, such as on a pipe.

use std::io::Read;

use bytes::Bytes;

use crate::image::blocks::SECTOR;
use crate::image::{Block, Body, Extent, ImageError, StreamImage};

use super::header::{COOKIE, FOOTER, Footer, Kind};

/// Bytes of an extent.
const PIECE: u64 = 1 << 20;

/// Opens a fixed VHD that arrives in order. Its size stands at its end, so `len`, the length of
/// the whole file in bytes, must be known from elsewhere.
///
/// # Errors
/// [`ImageError::Unsupported`] where `len` is not known and for dynamic images, which need a file
/// that can seek; [`ImageError::Corrupt`] where no fixed VHD has this length; a failed read.
pub fn open_stream(
    mut reader: Box<dyn Read + Send>,
    len: Option<u64>,
) -> Result<Box<dyn StreamImage>, ImageError> {
    let mut head = vec![0; COOKIE.len()];
    let read = read_up_to(&mut *reader, &mut head)?;
    head.truncate(read);
    if head == COOKIE {
        return Err(ImageError::unsupported(
            "it is a dynamic VHD, whose blocks lie in any order: it needs a file that can seek",
        ));
    }
    let Some(len) = len else {
        return Err(ImageError::unsupported(
            "the size of a fixed VHD stands at its end, and the length of this stream is not known",
        ));
    };
    // Virtual PC before 2004 wrote footers of 511 bytes.
    let footer_len = if len % SECTOR == SECTOR - 1 { FOOTER - 1 } else { FOOTER };
    let capacity = len
        .checked_sub(footer_len as u64)
        .filter(|capacity| *capacity > 0 && capacity.is_multiple_of(SECTOR))
        .ok_or_else(|| ImageError::corrupt(format!("no fixed VHD has {len} bytes")))?;
    let reader = Box::new(std::io::Cursor::new(head).chain(reader));
    Ok(Box::new(FixedStream { reader, capacity, footer_len, at: 0, ended: false }))
}

struct FixedStream {
    reader: Box<dyn Read + Send>,
    capacity: u64,
    footer_len: usize,
    at: u64,
    ended: bool,
}

impl FixedStream {
    /// The footer must say what was taken for granted, and nothing may follow it.
    fn end(&mut self) -> Result<(), ImageError> {
        let mut bytes = [0; FOOTER];
        let read = read_up_to(&mut *self.reader, &mut bytes[..self.footer_len])?;
        if read < self.footer_len {
            return Err(ImageError::Truncated("the stream ends within the footer".to_owned()));
        }
        let footer = Footer::parse(&bytes)?;
        if footer.kind != Kind::Fixed {
            return Err(ImageError::corrupt("its footer is not that of a fixed VHD"));
        }
        if footer.capacity() != self.capacity {
            return Err(ImageError::Unsupported(format!(
                "its footer says that the disk has {} bytes, and {} came: it needs a file that \
                 can seek",
                footer.capacity(),
                self.capacity
            )));
        }
        if read_up_to(&mut *self.reader, &mut [0])? > 0 {
            return Err(ImageError::corrupt("more bytes follow the footer"));
        }
        Ok(())
    }
}

impl StreamImage for FixedStream {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn block_size(&self) -> u32 {
        SECTOR as u32
    }

    fn next(&mut self) -> Result<Option<Extent>, ImageError> {
        if self.ended {
            return Ok(None);
        }
        if self.at == self.capacity {
            self.end()?;
            self.ended = true;
            return Ok(None);
        }
        let range = self.at..(self.at + PIECE).min(self.capacity);
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let read = read_up_to(&mut *self.reader, &mut bytes)?;
        if read < bytes.len() {
            return Err(ImageError::Truncated(format!(
                "the stream ends at byte {} of a disk of {}",
                self.at + read as u64,
                self.capacity
            )));
        }
        self.at = range.end;
        let body = Body::Data(Block::Plain(Bytes::from(bytes)));
        Ok(Some(Extent { range, body }))
    }
}

/// Fills `buf` as far as the stream goes and says how far.
fn read_up_to(reader: &mut dyn Read, buf: &mut [u8]) -> Result<usize, ImageError> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}
