//! Compressing and decompressing single blocks: zlib (RFC 1950), deflate (RFC 1951) and zstd
//! (RFC 8878). One [`Unpacker`] and one [`Packer`] per thread; neither does I/O.
#![expect(unsafe_code, reason = "libdeflate's `_ex` calls, which say how much input a stream took")]

use std::ptr::NonNull;

use super::{Coding, ImageError, Pack};

/// Decompresses blocks. Not shared between threads.
#[derive(Debug)]
pub struct Unpacker {
    deflate: NonNull<libdeflate_sys::libdeflate_decompressor>,
}

// SAFETY: the decompressor is plain memory owned by this value alone.
unsafe impl Send for Unpacker {}

/// How far a stream went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of plain data written to the front of the output.
    pub produced: usize,
    /// Bytes of the input that belong to the stream; what follows is padding.
    pub consumed: usize,
}

impl Default for Unpacker {
    fn default() -> Self {
        Self::new()
    }
}

impl Unpacker {
    /// A decompressor with its working memory (some tens of KiB).
    #[expect(clippy::expect_used, reason = "out of memory ends a program anyway")]
    pub fn new() -> Self {
        // SAFETY: no preconditions; null means out of memory.
        let deflate = NonNull::new(unsafe { libdeflate_sys::libdeflate_alloc_decompressor() })
            .expect("memory for a decompressor");
        Self { deflate }
    }

    /// Decompresses one stream from the front of `stream` into the front of `out`. Checksums that
    /// the coding has are checked.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where the stream is damaged, ends early or holds more than `out`.
    pub fn unpack(
        &mut self,
        coding: Coding,
        stream: &[u8],
        out: &mut [u8],
    ) -> Result<Unpacked, ImageError> {
        match coding {
            Coding::Zlib | Coding::Deflate => self.inflate(coding, stream, out),
            Coding::Zstd => unpack_zstd(stream, out),
        }
    }

    fn inflate(
        &mut self,
        coding: Coding,
        stream: &[u8],
        out: &mut [u8],
    ) -> Result<Unpacked, ImageError> {
        let call = match coding {
            Coding::Zlib => libdeflate_sys::libdeflate_zlib_decompress_ex,
            _ => libdeflate_sys::libdeflate_deflate_decompress_ex,
        };
        let (mut consumed, mut produced) = (0, 0);
        // SAFETY: both buffers are valid for the lengths given with them, the decompressor is
        // used by this thread alone, and the two counters outlive the call.
        let answer = unsafe {
            call(
                self.deflate.as_ptr(),
                stream.as_ptr().cast(),
                stream.len(),
                out.as_mut_ptr().cast(),
                out.len(),
                &mut consumed,
                &mut produced,
            )
        };
        match answer {
            libdeflate_sys::libdeflate_result_LIBDEFLATE_SUCCESS => {
                Ok(Unpacked { produced, consumed })
            }
            libdeflate_sys::libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE => {
                Err(ImageError::corrupt("a compressed block holds more than its share of the disk"))
            }
            _ => Err(ImageError::corrupt("a compressed block is damaged")),
        }
    }
}

impl Drop for Unpacker {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` and freed nowhere else.
        unsafe { libdeflate_sys::libdeflate_free_decompressor(self.deflate.as_ptr()) }
    }
}

fn unpack_zstd(stream: &[u8], out: &mut [u8]) -> Result<Unpacked, ImageError> {
    let damaged = || ImageError::corrupt("a zstd block is damaged");
    let consumed = zstd::zstd_safe::find_frame_compressed_size(stream).map_err(|_| damaged())?;
    let frame = stream.get(..consumed).ok_or_else(damaged)?;
    let produced = zstd::bulk::decompress_to_buffer(frame, out).map_err(|_| damaged())?;
    Ok(Unpacked { produced, consumed })
}

/// Compresses blocks one by one. Not shared between threads.
pub enum Packer {
    /// zlib or bare deflate by libdeflate.
    Deflate(Coding, libdeflater::Compressor),
    /// Bare deflate with a small window, by zlib.
    Window(Box<flate2::Compress>),
    /// zstd frames.
    Zstd(zstd::bulk::Compressor<'static>),
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    /// A compressor for `pack`.
    ///
    /// # Errors
    /// [`ImageError::Limit`] where the level is none of the coding's.
    pub fn new(pack: &Pack) -> Result<Self, ImageError> {
        let level = || ImageError::Limit(format!("there is no compression level {}", pack.level));
        Ok(match pack.coding {
            Coding::Deflate if pack.window_bits < 15 => {
                let level = flate2::Compression::new(u32::from(pack.level.min(9)));
                Self::Window(Box::new(flate2::Compress::new_with_window_bits(
                    level,
                    false,
                    pack.window_bits,
                )))
            }
            Coding::Zlib | Coding::Deflate => {
                let level =
                    libdeflater::CompressionLvl::new(i32::from(pack.level)).map_err(|_| level())?;
                Self::Deflate(pack.coding, libdeflater::Compressor::new(level))
            }
            Coding::Zstd => Self::Zstd(zstd(pack.level)?),
        })
    }

    /// The stream for `plain`.
    ///
    /// # Errors
    /// None that a caller can bring about; a failure of the library is reported as corrupt.
    pub fn pack(&mut self, plain: &[u8]) -> Result<Vec<u8>, ImageError> {
        let failed = || ImageError::corrupt("the compressor failed");
        match self {
            Self::Deflate(coding, compressor) => {
                let mut out = vec![0; compressor.zlib_compress_bound(plain.len())];
                let len = match coding {
                    Coding::Zlib => compressor.zlib_compress(plain, &mut out),
                    _ => compressor.deflate_compress(plain, &mut out),
                };
                out.truncate(len.map_err(|_| failed())?);
                Ok(out)
            }
            Self::Window(compress) => {
                // The fastest level spends up to nine bits on a byte.
                let mut out = Vec::with_capacity(plain.len() + plain.len() / 8 + 64);
                compress.reset();
                let status = compress
                    .compress_vec(plain, &mut out, flate2::FlushCompress::Finish)
                    .map_err(|_| failed())?;
                if status == flate2::Status::StreamEnd { Ok(out) } else { Err(failed()) }
            }
            Self::Zstd(compressor) => Ok(compressor.compress(plain)?),
        }
    }
}

/// log2 of the entries of the table in which zstd's first level looks for matches: 16 KiB, which
/// stay in the first cache of a core.
const ZSTD_FAST_TABLE: u32 = 12;

/// The shortest match that zstd's first level takes, in bytes. With the table above this is 8 %
/// faster on blocks of 64 KiB than the level's own 13 and 6, for 1.7 % more bytes.
const ZSTD_FAST_MATCH: u32 = 7;

/// A compressor of single zstd frames.
fn zstd(level: u8) -> Result<zstd::bulk::Compressor<'static>, ImageError> {
    use zstd::zstd_safe::CParameter;
    let mut compressor = zstd::bulk::Compressor::new(i32::from(level))?;
    if level == 1 {
        compressor.set_parameter(CParameter::HashLog(ZSTD_FAST_TABLE))?;
        compressor.set_parameter(CParameter::MinMatch(ZSTD_FAST_MATCH))?;
    }
    Ok(compressor)
}

/// The Adler-32 checksum of RFC 1950.
pub fn adler32(bytes: &[u8]) -> u32 {
    libdeflater::adler32(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i as u32).wrapping_mul(2_654_435_761) as u8 & 0x3f).collect()
    }

    #[test]
    fn no_level_fails_on_bytes_that_cannot_be_compressed() {
        let noise: Vec<u8> = (0..65_536_u64)
            .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (i << 7)).to_le_bytes()[5] | 0x80)
            .collect();
        for (coding, window_bits) in
            [(Coding::Zlib, 15), (Coding::Deflate, 15), (Coding::Deflate, 12), (Coding::Zstd, 15)]
        {
            for level in 1..=9 {
                let pack = Pack { coding, level, window_bits, plain_above: None };
                let stream = Packer::new(&pack).unwrap().pack(&noise).unwrap();
                let mut out = vec![0; noise.len()];
                Unpacker::new().unpack(coding, &stream, &mut out).unwrap();
                assert_eq!(out, noise, "{coding:?} {level}");
            }
        }
    }

    #[test]
    fn every_coding_comes_back_and_says_where_the_stream_ends() {
        let plain = sample(65_536);
        for (coding, window_bits) in
            [(Coding::Zlib, 15), (Coding::Deflate, 15), (Coding::Deflate, 12), (Coding::Zstd, 15)]
        {
            let pack = Pack { coding, level: 3, window_bits, plain_above: None };
            let mut stream = Packer::new(&pack).unwrap().pack(&plain).unwrap();
            let exact = stream.len();
            stream.extend_from_slice(&[0; 300]);
            let mut out = vec![0; plain.len()];
            let got = Unpacker::new().unpack(coding, &stream, &mut out).unwrap();
            assert_eq!(got, Unpacked { produced: plain.len(), consumed: exact });
            assert_eq!(out, plain);
            assert!(Unpacker::new().unpack(coding, &stream[..exact / 2], &mut out).is_err());
            assert!(Unpacker::new().unpack(coding, &stream, &mut out[..100]).is_err());
        }
    }
}
