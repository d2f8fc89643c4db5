//! A package compressed on its way: gzip (RFC 1952) in members of 1 MiB, or zstd (RFC 8878). The
//! bytes do not depend on the number of cores.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Sink;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ReadAt, WriteOp};

/// Plain bytes of one gzip member.
const MEMBER: usize = 1 << 20;

/// How a package is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamCompression {
    /// Level 0 to 9.
    Gzip(u8),
    /// Level 1 to 19.
    Zstd(u8),
}

/// Takes bytes in order and writes them compressed to `inner`.
pub struct CompressSink {
    inner: Arc<dyn Sink>,
    state: Mutex<State>,
}

struct State {
    position: u64,
    coder: Coder,
}

enum Coder {
    Gzip { level: u8, waiting: Vec<u8>, threads: usize, out: Out },
    Zstd(Option<Box<zstd::stream::write::Encoder<'static, Out>>>),
}

/// Appends to a sink.
struct Out {
    sink: Arc<dyn Sink>,
    at: u64,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let op = WriteOp::Write { at: self.at, bytes: Bytes::copy_from_slice(bytes) };
        self.sink.apply(op).map_err(std::io::Error::other)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for CompressSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CompressSink({:?})", self.inner)
    }
}

impl CompressSink {
    /// Compresses into `inner`, from its first byte on.
    ///
    /// # Errors
    /// `Unsupported` for a level that the method has not.
    pub fn new(inner: Arc<dyn Sink>, how: StreamCompression) -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let out = Out { sink: inner.clone(), at: 0 };
        let coder = match how {
            StreamCompression::Gzip(level) => {
                Coder::Gzip { level, waiting: Vec::new(), threads, out }
            }
            StreamCompression::Zstd(level) => {
                let begin = || {
                    let mut encoder = zstd::stream::write::Encoder::new(out, level.into())?;
                    // With one worker or more the bytes are the same, with none they are not.
                    encoder.multithread(u32::try_from(threads).unwrap_or(1).max(1))?;
                    encoder.include_checksum(true)?;
                    Ok(encoder)
                };
                let encoder = begin().map_err(|error: std::io::Error| {
                    Error::new(ErrorKind::Unsupported, "compress with zstd").with_source(error)
                })?;
                Coder::Zstd(Some(Box::new(encoder)))
            }
        };
        Ok(Self { inner, state: Mutex::new(State { position: 0, coder }) })
    }

    /// Writes what waits and ends the stream; nothing may be applied after it. Answers with the
    /// length of the compressed stream.
    ///
    /// # Errors
    /// The inner sink's.
    pub fn finish(&self) -> Result<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.coder {
            Coder::Gzip { level, waiting, threads, out } => {
                let rest = std::mem::take(waiting);
                gzip(&rest, *level, *threads, out).map_err(failed)?;
                Ok(out.at)
            }
            Coder::Zstd(encoder) => {
                let encoder = encoder
                    .take()
                    .ok_or_else(|| Error::new(ErrorKind::Internal, "a stream is ended twice"))?;
                encoder.finish().map(|out| out.at).map_err(failed)
            }
        }
    }
}

/// What a library made of a sink's error, as that error again.
fn failed(error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(inner) => inner,
        Err(error) => Error::io("compress", error),
    }
}

impl Coder {
    fn take(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Gzip { level, waiting, threads, out } => {
                waiting.extend_from_slice(bytes);
                let batch = MEMBER * *threads * 2;
                while waiting.len() >= batch {
                    let rest = waiting.split_off(batch);
                    let full = std::mem::replace(waiting, rest);
                    gzip(&full, *level, *threads, out)?;
                }
                Ok(())
            }
            Self::Zstd(Some(encoder)) => encoder.write_all(bytes),
            Self::Zstd(None) => Err(std::io::Error::other("the stream has ended")),
        }
    }
}

/// Compresses `bytes` into members, on several threads, and writes them in order.
fn gzip(bytes: &[u8], level: u8, threads: usize, out: &mut Out) -> std::io::Result<()> {
    let blocks: Vec<&[u8]> = bytes.chunks(MEMBER).collect();
    let share = blocks.len().div_ceil(threads.max(1)).max(1);
    let members: Vec<std::io::Result<Vec<u8>>> = std::thread::scope(|scope| {
        let work: Vec<_> = blocks
            .chunks(share)
            .map(|blocks| {
                scope.spawn(move || blocks.iter().map(|b| member(b, level)).collect::<Vec<_>>())
            })
            .collect();
        let gone = || std::io::Error::other("a compressing thread panicked");
        work.into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|_| vec![Err(gone())]))
            .collect()
    });
    members.into_iter().try_for_each(|member| out.write_all(&member?))
}

fn member(bytes: &[u8], level: u8) -> std::io::Result<Vec<u8>> {
    let wrong = |_| std::io::Error::other("there is no such level of gzip");
    let level = libdeflater::CompressionLvl::new(level.into()).map_err(wrong)?;
    let mut compressor = libdeflater::Compressor::new(level);
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let len = compressor
        .gzip_compress(bytes, &mut out)
        .map_err(|_| std::io::Error::other("the compressor failed"))?;
    out.truncate(len);
    Ok(out)
}

impl Sink for CompressSink {
    fn seekable(&self) -> bool {
        false
    }

    fn apply(&self, op: WriteOp) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, len) = match &op {
            WriteOp::Write { at, bytes } => (*at, bytes.len() as u64),
            WriteOp::Zeros { at, len } => (*at, *len),
            WriteOp::SetLen(len) => (*len, 0),
        };
        if at != state.position {
            return Err(Error::new(ErrorKind::Internal, "a compressed stream is written in order"));
        }
        state.position += len;
        match op {
            WriteOp::Write { bytes, .. } => state.coder.take(&bytes).map_err(failed),
            WriteOp::Zeros { mut len, .. } => {
                let zeros = [0; 64 << 10];
                while len > 0 {
                    let part = len.min(zeros.len() as u64);
                    state.coder.take(&zeros[..part as usize]).map_err(failed)?;
                    len -= part;
                }
                Ok(())
            }
            WriteOp::SetLen(_) => Ok(()),
        }
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn read_back(&self) -> Option<Arc<dyn ReadAt>> {
        None
    }

    fn commit(&self) -> Result<()> {
        self.inner.commit()
    }

    fn abort(&self) -> Option<String> {
        self.inner.abort()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::fs::Target;
    use crate::sink::FileSink;

    fn compressed(how: StreamCompression, bytes: &[u8]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let claim = Target::new(&path).unwrap().claim().unwrap();
        let file: Arc<dyn Sink> = Arc::new(FileSink::create(claim, false).unwrap());
        let sink = CompressSink::new(file, how).unwrap();
        let (front, rest) = bytes.split_at(bytes.len() / 3);
        let op = |at, bytes: &[u8]| WriteOp::Write { at, bytes: Bytes::copy_from_slice(bytes) };
        sink.apply(op(0, front)).unwrap();
        sink.apply(op(front.len() as u64, rest)).unwrap();
        sink.apply(WriteOp::Zeros { at: bytes.len() as u64, len: 100_000 }).unwrap();
        let len = sink.finish().unwrap();
        sink.commit().unwrap();
        let out = std::fs::read(path).unwrap();
        assert_eq!(out.len() as u64, len);
        out
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let mut bytes: Vec<u8> = (0..9_000_000_u32).map(|n| (n / 7) as u8).collect();
        let gz = compressed(StreamCompression::Gzip(6), &bytes);
        let zst = compressed(StreamCompression::Zstd(3), &bytes);
        bytes.resize(9_100_000, 0);
        let mut out = Vec::new();
        flate2::read::MultiGzDecoder::new(gz.as_slice()).read_to_end(&mut out).unwrap();
        assert!(out == bytes);
        assert!(zstd::decode_all(zst.as_slice()).unwrap() == bytes);
        assert!(gz.len() < bytes.len() / 10 && zst.len() < bytes.len() / 10);
    }
}
