//! Writing raw images, in order from the first byte to the last.

use serde::{Deserialize, Serialize};

use crate::image::{Codec, Coded, CodedBody, Format, ImageError, Layout, WriteOp, WriteOptions};

/// Runs of zeros of this length become holes: the usual block of file systems.
const ZERO_UNIT: u32 = 4096;

/// The engine cuts its work at multiples of this.
const UNIT: u32 = 1 << 20;

/// Starts a raw image.
///
/// # Errors
/// [`ImageError::Unsupported`] for a variant, a block size or compression, of which raw has none.
pub fn create(options: &WriteOptions) -> Result<Box<dyn Format>, ImageError> {
    if options.compression.is_some() {
        return Err(ImageError::unsupported("a raw image cannot be compressed"));
    }
    if options.variant.is_some() || options.block_size.is_some() {
        return Err(ImageError::unsupported("a raw image has no variants and no block size"));
    }
    Ok(Box::new(RawWriter { capacity: options.capacity }))
}

/// Goes on from what [`Format::save`] gave.
///
/// # Errors
/// [`ImageError::Corrupt`] where `state` is none of a raw image.
pub fn resume(state: &[u8]) -> Result<Box<dyn Format>, ImageError> {
    let writer: RawWriter = postcard::from_bytes(state)
        .map_err(|_| ImageError::corrupt("the saved state is none of a raw image"))?;
    Ok(Box::new(writer))
}

/// The largest capacity in bytes: what a file offset can say.
pub fn max_capacity() -> u64 {
    i64::MAX as u64 & !511
}

#[derive(Serialize, Deserialize)]
struct RawWriter {
    capacity: u64,
}

impl Format for RawWriter {
    fn codec(&self) -> Codec {
        Codec { unit: UNIT, zero_unit: ZERO_UNIT, pack: None }
    }

    fn layout(&self) -> Layout {
        Layout::Append
    }

    fn place(&mut self, run: Coded, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        let at = run.range.start;
        out.push(match run.body {
            CodedBody::Hole | CodedBody::Zero => WriteOp::Zeros { at, len: run.range.end - at },
            CodedBody::Plain(bytes) => WriteOp::Write { at, bytes },
            CodedBody::Packed(_) => {
                return Err(ImageError::unsupported("a raw image cannot be compressed"));
            }
        });
        Ok(())
    }

    fn finish(self: Box<Self>, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        out.push(WriteOp::SetLen(self.capacity));
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }
}
