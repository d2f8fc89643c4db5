//! The work on one job, done by a pool thread: load, inflate, find zeros, compress, digest.
//! Pure but for the reads that stored blocks stand for.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::ahead::Ahead;
use super::buffer::{Buffer, Stock};
use super::content::{CHUNK, ChunkSum};
use super::even::is_even;
use super::zero::is_zero;
use crate::image::coding::{Packer, Unpacker, adler32};
use crate::image::{
    Block, Body, Codec, Coded, CodedBody, Coding, Extent, ImageError, Pack, Packed,
};

/// What a pool thread keeps between jobs.
#[derive(Debug, Default)]
pub struct Tools {
    unpacker: Unpacker,
    packers: HashMap<(Coding, u8, u8), Packer>,
    spare: Vec<u8>,
}

/// How the jobs of one disk are worked on.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// What the target takes; `None` only reads (to digest or to check).
    pub codec: Option<Codec>,
    /// Whether compressed blocks that the target takes as they are move without being inflated.
    pub trust_source: bool,
    /// Whether compressed blocks are always compressed anew.
    pub recompress: bool,
    /// Whether chunk digests are wanted.
    pub content: bool,
}

/// A piece of a disk: extents that cover `range` without gaps.
#[derive(Debug)]
pub struct Job {
    /// Guest offsets; starts at a multiple of the codec's unit and of [`CHUNK`].
    pub range: Range<u64>,
    /// What stands there.
    pub parts: Vec<Extent>,
}

/// A job that is ready to be placed.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Where the job ends, in guest bytes.
    pub end: u64,
    /// Runs in disk order without gaps.
    pub runs: Vec<Coded>,
    /// Digests of the chunks that are not zero, ascending.
    pub sums: Vec<ChunkSum>,
    /// Guest bytes that were neither hole nor zero.
    pub data_bytes: u64,
    /// Bytes taken from the source's files.
    pub read_bytes: u64,
}

/// What [`Tools::load`] did.
pub(super) struct Loaded {
    /// Bytes taken from the source's file.
    read: u64,
    /// The exact compressed stream, where there was one.
    stream: Option<Bytes>,
}

/// A compressed part whose stream may move.
struct Movable {
    range: Range<u64>,
    stream: Bytes,
    coding: Coding,
}

impl Tools {
    /// Does all the work of `job`.
    ///
    /// # Errors
    /// What loading and inflating meet.
    pub fn prepare(
        &mut self,
        job: Job,
        recipe: &Recipe,
        stock: &Stock,
    ) -> Result<Prepared, ImageError> {
        if let [Extent { range, body }] = job.parts.as_slice()
            && let Some(body) = empty_body(body)
        {
            let runs = vec![Coded { range: range.clone(), body }];
            return Ok(Prepared { end: job.range.end, runs, ..Prepared::default() });
        }
        let ahead = Ahead::read(&job.parts, &stock.streams)?;
        if let Some(done) = self.move_trusted(&job, recipe, &ahead, stock)? {
            return Ok(done);
        }
        let mut plain = stock.plain.take(length(&job.range));
        let mut done = Prepared { end: job.range.end, ..Prepared::default() };
        let mut movable = Vec::new();
        for part in &job.parts {
            done.read_bytes += self.load_part(part, &job, &ahead, &mut plain, &mut movable)?;
        }
        if recipe.recompress {
            movable.clear();
        }
        if recipe.content {
            digest_chunks(&job, &plain, &mut done.sums);
        }
        let plain = plain.freeze();
        match recipe.codec {
            None => {}
            Some(Codec { pack: None, zero_unit, .. }) => {
                scan(&job, &plain, zero_unit.into(), &mut done);
            }
            Some(Codec { pack: Some(pack), unit, .. }) => {
                self.pack_units(&job, &plain, unit, &pack, &movable, &mut done)?;
            }
        }
        Ok(done)
    }

    /// All parts moved as they are, where the source is trusted and each part is one unit.
    fn move_trusted(
        &mut self,
        job: &Job,
        recipe: &Recipe,
        ahead: &Ahead,
        stock: &Stock,
    ) -> Result<Option<Prepared>, ImageError> {
        let Some(Codec { unit, pack: Some(pack), .. }) = recipe.codec else { return Ok(None) };
        if !recipe.trust_source || recipe.content {
            return Ok(None);
        }
        let fits = |part: &Extent| match &part.body {
            Body::Data(Block::Packed(packed)) => {
                part.len() == u64::from(unit)
                    && part.range.start.is_multiple_of(unit.into())
                    && moves_unseen(packed.coding, &pack)
            }
            Body::Data(_) => false,
            Body::Hole | Body::Zero => true,
        };
        if !job.parts.iter().all(fits) {
            return Ok(None);
        }
        let mut done = Prepared { end: job.range.end, ..Prepared::default() };
        // Made for streams that are no shorter than what they hold: those are placed plain.
        let mut plain: Option<Buffer> = None;
        for part in &job.parts {
            let body = match &part.body {
                Body::Data(Block::Packed(packed)) => {
                    let stream = ahead.fetch(packed)?;
                    done.read_bytes += stream.len() as u64;
                    done.data_bytes += part.len();
                    match moved(packed.coding, stream.clone(), None, &pack) {
                        Some(moved) if pack.holds(&moved) => CodedBody::Packed(moved),
                        _ => {
                            let all =
                                plain.get_or_insert_with(|| stock.plain.take(length(&job.range)));
                            let out = &mut all[within(job, &part.range)];
                            self.unpack(packed, &stream, out)?;
                            CodedBody::Plain(Bytes::new())
                        }
                    }
                }
                Body::Zero => CodedBody::Zero,
                _ => CodedBody::Hole,
            };
            push_run(&mut done.runs, part.range.clone(), body);
        }
        if let Some(plain) = plain.map(Buffer::freeze) {
            for run in &mut done.runs {
                if let CodedBody::Plain(bytes) = &mut run.body {
                    *bytes = plain.slice(within(job, &run.range));
                }
            }
        }
        Ok(Some(done))
    }

    /// Loads one part of `job` into its place in `plain`, and keeps its stream if that may move.
    fn load_part(
        &mut self,
        part: &Extent,
        job: &Job,
        ahead: &Ahead,
        plain: &mut Buffer,
        movable: &mut Vec<Movable>,
    ) -> Result<u64, ImageError> {
        let at = (part.range.start - job.range.start) as usize;
        let out = &mut plain[at..at + part.len() as usize];
        let Loaded { read, stream } = self.load(&part.body, ahead, out)?;
        if let (Some(stream), Body::Data(Block::Packed(packed))) = (stream, &part.body)
            && part.len() == u64::from(packed.unit)
        {
            movable.push(Movable { range: part.range.clone(), stream, coding: packed.coding });
        }
        Ok(read)
    }

    /// Fills `out`, which is as long as the extent, with its guest bytes.
    ///
    /// # Errors
    /// What reading and inflating meet.
    pub(super) fn load(
        &mut self,
        body: &Body,
        ahead: &Ahead,
        out: &mut [u8],
    ) -> Result<Loaded, ImageError> {
        match body {
            Body::Hole | Body::Zero => out.fill(0),
            Body::Data(Block::Plain(bytes)) => out.copy_from_slice(bytes),
            Body::Data(Block::Stored { file, offset }) => file.read_exact_at(out, *offset)?,
            Body::Data(Block::Packed(packed)) => {
                let stream = ahead.fetch(packed)?;
                let used = self.unpack(packed, &stream, out)?;
                let read = stream.len() as u64;
                return Ok(Loaded { read, stream: Some(stream.slice(..used)) });
            }
        }
        let read = if matches!(body, Body::Data(_)) { out.len() as u64 } else { 0 };
        Ok(Loaded { read, stream: None })
    }

    /// Inflates into `out`, which may be shorter than the block at the end of a disk. Answers
    /// how long the stream is.
    fn unpack(
        &mut self,
        packed: &Packed,
        stream: &[u8],
        out: &mut [u8],
    ) -> Result<usize, ImageError> {
        let short = || ImageError::corrupt("a compressed block holds less than its share");
        if out.len() == packed.unit as usize {
            let got = self.unpacker.unpack(packed.coding, stream, out)?;
            return if got.produced == out.len() { Ok(got.consumed) } else { Err(short()) };
        }
        self.spare.resize(packed.unit as usize, 0);
        let got = self.unpacker.unpack(packed.coding, stream, &mut self.spare)?;
        if got.produced < out.len() {
            return Err(short());
        }
        out.copy_from_slice(&self.spare[..out.len()]);
        Ok(got.consumed)
    }

    fn pack_units(
        &mut self,
        job: &Job,
        plain: &Bytes,
        unit: u32,
        pack: &Pack,
        movable: &[Movable],
        done: &mut Prepared,
    ) -> Result<(), ImageError> {
        let mut movable = movable.iter().peekable();
        let mut start = job.range.start;
        while start < job.range.end {
            let range = start..(start + u64::from(unit)).min(job.range.end);
            start = range.end;
            while movable.next_if(|next| next.range.end <= range.start).is_some() {}
            let at = (range.start - job.range.start) as usize;
            let bytes = plain.slice(at..at + length(&range));
            if is_zero(&bytes) {
                let body =
                    if holes_only(&job.parts, &range) { CodedBody::Hole } else { CodedBody::Zero };
                push_run(&mut done.runs, range, body);
                continue;
            }
            done.data_bytes += range.end - range.start;
            let ready = movable
                .peek()
                .filter(|next| next.range == range && length(&range) == unit as usize);
            let moved =
                ready.and_then(|next| moved(next.coding, next.stream.clone(), Some(&bytes), pack));
            let stream = match moved {
                None if self.is_dense(&bytes, unit, pack)? => None,
                None => Some(self.packed(&bytes, unit, pack)?),
                moved => moved,
            };
            let body = match stream.filter(|stream| pack.holds(stream)) {
                Some(stream) => CodedBody::Packed(stream),
                None => CodedBody::Plain(bytes),
            };
            push_run(&mut done.runs, range, body);
        }
        Ok(())
    }

    /// Whether a unit that may be placed plain holds what is compressed or encrypted already:
    /// deflating that takes longest and gains nothing. Even bytes are no proof, for they may
    /// repeat; zstd finds that out at eight times the speed.
    fn is_dense(&mut self, bytes: &[u8], unit: u32, pack: &Pack) -> Result<bool, ImageError> {
        if pack.plain_above.is_none() || pack.coding == Coding::Zstd || !is_even(bytes) {
            return Ok(false);
        }
        let probe = Pack { coding: Coding::Zstd, level: 1, ..*pack };
        let len = self.packed(bytes, unit, &probe)?.len();
        Ok(len + len / 64 > bytes.len())
    }

    /// Compresses one unit, padded with zeros where the disk ends inside it.
    fn packed(&mut self, bytes: &[u8], unit: u32, pack: &Pack) -> Result<Bytes, ImageError> {
        let key = (pack.coding, pack.level, pack.window_bits);
        let packer = match self.packers.entry(key) {
            std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => free.insert(Packer::new(pack)?),
        };
        if bytes.len() == unit as usize {
            return Ok(packer.pack(bytes)?.into());
        }
        let mut whole = bytes.to_vec();
        whole.resize(unit as usize, 0);
        Ok(packer.pack(&whole)?.into())
    }
}

/// Whether a stream can move without its plain bytes being known.
fn moves_unseen(from: Coding, pack: &Pack) -> bool {
    pack.window_bits >= 15
        && matches!((from, pack.coding), (Coding::Zlib, Coding::Zlib | Coding::Deflate))
}

/// The stream in the target's coding, where it can be made without compressing. `plain` is known
/// for checked blocks; the length of a trusted stream is the source's word.
fn moved(from: Coding, stream: Bytes, plain: Option<&[u8]>, pack: &Pack) -> Option<Bytes> {
    if pack.window_bits < 15 {
        return None;
    }
    match (from, pack.coding) {
        (Coding::Zlib, Coding::Deflate) => {
            let dictionary = stream.get(1)? & 0x20 != 0;
            let inner = 2..stream.len().checked_sub(4)?;
            (!dictionary && inner.start < inner.end).then(|| stream.slice(inner))
        }
        (Coding::Deflate, Coding::Zlib) => {
            let mut whole = Vec::with_capacity(stream.len() + 6);
            whole.extend_from_slice(&[0x78, 0x9c]);
            whole.extend_from_slice(&stream);
            whole.extend_from_slice(&adler32(plain?).to_be_bytes());
            Some(whole.into())
        }
        (from, to) if from == to => Some(stream),
        _ => None,
    }
}

fn empty_body(body: &Body) -> Option<CodedBody> {
    match body {
        Body::Hole => Some(CodedBody::Hole),
        Body::Zero => Some(CodedBody::Zero),
        Body::Data(_) => None,
    }
}

fn length(range: &Range<u64>) -> usize {
    (range.end - range.start) as usize
}

/// Where the guest bytes of `range` are in the plain bytes of `job`.
fn within(job: &Job, range: &Range<u64>) -> Range<usize> {
    (range.start - job.range.start) as usize..(range.end - job.range.start) as usize
}

/// Whether `range` is covered by holes alone. Parts are ascending.
fn holes_only(parts: &[Extent], range: &Range<u64>) -> bool {
    let first = parts.partition_point(|part| part.range.end <= range.start);
    parts[first..]
        .iter()
        .take_while(|part| part.range.start < range.end)
        .all(|part| matches!(part.body, Body::Hole))
}

/// Adds a run, joined to the one before where both are holes or both are zeros.
fn push_run(runs: &mut Vec<Coded>, range: Range<u64>, body: CodedBody) {
    if let Some(last) = runs.last_mut()
        && last.range.end == range.start
        && matches!(
            (&last.body, &body),
            (CodedBody::Hole, CodedBody::Hole) | (CodedBody::Zero, CodedBody::Zero)
        )
    {
        last.range.end = range.end;
        return;
    }
    runs.push(Coded { range, body });
}

/// Cuts plain bytes into runs of data, zeros and holes at multiples of `zero_unit`.
fn scan(job: &Job, plain: &Bytes, zero_unit: u64, done: &mut Prepared) {
    let mut data: Option<Range<u64>> = None;
    let mut start = job.range.start;
    let close = |data: &mut Option<Range<u64>>, done: &mut Prepared| {
        if let Some(range) = data.take() {
            let at = (range.start - job.range.start) as usize;
            let bytes = plain.slice(at..at + length(&range));
            done.data_bytes += range.end - range.start;
            done.runs.push(Coded { range, body: CodedBody::Plain(bytes) });
        }
    };
    while start < job.range.end {
        let range = start..((start / zero_unit + 1) * zero_unit).min(job.range.end);
        start = range.end;
        let at = (range.start - job.range.start) as usize;
        if !is_zero(&plain[at..at + length(&range)]) {
            data.get_or_insert(range.start..range.start).end = range.end;
            continue;
        }
        close(&mut data, done);
        let body = if holes_only(&job.parts, &range) { CodedBody::Hole } else { CodedBody::Zero };
        push_run(&mut done.runs, range, body);
    }
    close(&mut data, done);
}

fn digest_chunks(job: &Job, plain: &[u8], sums: &mut Vec<ChunkSum>) {
    for (number, bytes) in (job.range.start / CHUNK..).zip(plain.chunks(CHUNK as usize)) {
        if !is_zero(bytes) {
            sums.push(ChunkSum::of(number, bytes));
        }
    }
}
