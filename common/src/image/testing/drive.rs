//! A plain driver: it does in one thread and in the simplest way what the engine does on all
//! cores.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::load;
use crate::image::coding::Packer;
use crate::image::{Block, Body, Codec, Coded, CodedBody, Extent, Format, Layout, WriteOp};

/// Largest plain run handed to [`Format::place`], as the engine has it.
const PLAIN_MAX: u64 = 1 << 20;

/// Makes a placer again from what [`Format::save`] gave.
pub type Resume<'a> = &'a dyn Fn(&[u8]) -> Box<dyn Format>;

/// Writes `extents` (ascending, without gaps, up to `capacity`) and returns the file's bytes.
pub fn write_image(
    format: Box<dyn Format>,
    capacity: u64,
    extents: impl IntoIterator<Item = Extent>,
) -> Vec<u8> {
    let file = tempfile::tempfile().unwrap();
    write_file(format, capacity, extents, &file, None);
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// As [`write_image`], into an empty file that may become huge and sparse. With `resume` the
/// placer is saved and made again after every run.
pub fn write_file(
    mut format: Box<dyn Format>,
    capacity: u64,
    extents: impl IntoIterator<Item = Extent>,
    file: &File,
    resume: Option<Resume<'_>>,
) {
    let mut target = Target { file, layout: format.layout(), end: 0 };
    let mut out = Vec::new();
    let mut placed = 0;
    prepare(format.codec(), capacity, extents, |run| {
        assert_eq!(run.range.start, placed, "the driver leaves a gap");
        placed = run.range.end;
        format.place(run, &mut out).unwrap();
        target.apply(&mut out);
        if let Some(resume) = resume {
            format = resume(&format.save());
        }
    });
    assert_eq!(placed, capacity, "the extents end before the disk does");
    format.finish(&mut out).unwrap();
    target.apply(&mut out);
}

/// Cuts extents into prepared runs for `codec` and hands them on in disk order.
pub fn prepare(
    codec: Codec,
    capacity: u64,
    extents: impl IntoIterator<Item = Extent>,
    mut each: impl FnMut(Coded),
) {
    let mut packer = codec.pack.map(|pack| Packer::new(&pack).unwrap());
    let unit = u64::from(codec.unit);
    let mut source = Source::new(extents.into_iter());
    let mut joined: Option<Coded> = None;
    let mut at = 0;
    while at < capacity {
        let runs = match source.empty_run(at, unit, capacity) {
            Some(run) => vec![run],
            None => {
                let end = (at + unit).min(capacity);
                prepare_unit(&codec, packer.as_mut(), at..end, &mut source)
            }
        };
        for run in runs {
            at = run.range.end;
            joined = match joined.take() {
                None => Some(run),
                Some(before) => match join(before, run) {
                    Ok(longer) => Some(longer),
                    Err((before, run)) => {
                        each(before);
                        Some(run)
                    }
                },
            };
        }
    }
    if let Some(last) = joined {
        each(last);
    }
}

/// One unit of mixed content as prepared runs.
fn prepare_unit(
    codec: &Codec,
    packer: Option<&mut Packer>,
    range: Range<u64>,
    source: &mut Source<impl Iterator<Item = Extent>>,
) -> Vec<Coded> {
    let len = (range.end - range.start) as usize;
    let (mut bytes, holes) = source.take(range.clone());
    let zero = |piece: Range<usize>| {
        let hole = holes.iter().any(|h| h.start <= piece.start && piece.end <= h.end);
        if hole { CodedBody::Hole } else { CodedBody::Zero }
    };
    if let (Some(pack), Some(packer)) = (codec.pack, packer) {
        let body = if bytes.iter().all(|b| *b == 0) {
            zero(0..len)
        } else {
            let plain = Bytes::from(bytes.clone());
            bytes.resize(codec.unit as usize, 0);
            let stream = packer.pack(&bytes).unwrap();
            match pack.plain_above {
                Some(most) if stream.len() > most as usize => CodedBody::Plain(plain),
                _ => CodedBody::Packed(stream.into()),
            }
        };
        return vec![Coded { range, body }];
    }
    let bytes = Bytes::from(bytes);
    (0..len)
        .step_by(codec.zero_unit as usize)
        .map(|from| {
            let piece = from..(from + codec.zero_unit as usize).min(len);
            let part = bytes.slice(piece.clone());
            let body = if part.iter().all(|b| *b == 0) {
                zero(piece.clone())
            } else {
                CodedBody::Plain(part)
            };
            let start = range.start;
            Coded { range: start + piece.start as u64..start + piece.end as u64, body }
        })
        .collect()
}

/// Two neighbours as one run, where the contract of [`Coded`] lets them be one.
fn join(before: Coded, run: Coded) -> Result<Coded, (Coded, Coded)> {
    let range = before.range.start..run.range.end;
    let body = match (&before.body, &run.body) {
        (CodedBody::Hole, CodedBody::Hole) => CodedBody::Hole,
        (CodedBody::Zero, CodedBody::Zero) => CodedBody::Zero,
        (CodedBody::Plain(a), CodedBody::Plain(b)) if range.end - range.start <= PLAIN_MAX => {
            CodedBody::Plain([&a[..], &b[..]].concat().into())
        }
        _ => return Err((before, run)),
    };
    Ok(Coded { range, body })
}

/// Extents as a tape of bytes.
struct Source<I> {
    rest: I,
    now: Option<Extent>,
    /// The unpacked bytes of `now`, where it is packed.
    plain: Option<Vec<u8>>,
}

impl<I: Iterator<Item = Extent>> Source<I> {
    fn new(rest: I) -> Self {
        Self { rest, now: None, plain: None }
    }

    /// The extent that holds guest offset `at`.
    fn seek(&mut self, at: u64) -> &Extent {
        while self.now.as_ref().is_none_or(|extent| extent.range.end <= at) {
            let next = self.rest.next().expect("the extents end before the disk does");
            let expected = self.now.as_ref().map_or(0, |extent| extent.range.end);
            assert_eq!(next.range.start, expected, "a gap between extents");
            self.now = Some(next);
            self.plain = None;
        }
        self.now.as_ref().unwrap()
    }

    /// A hole or zero run of whole units from `at` on.
    fn empty_run(&mut self, at: u64, unit: u64, capacity: u64) -> Option<Coded> {
        let extent = self.seek(at);
        let end =
            if extent.range.end >= capacity { capacity } else { extent.range.end / unit * unit };
        let body = match extent.body {
            Body::Hole => CodedBody::Hole,
            Body::Zero => CodedBody::Zero,
            Body::Data(_) => return None,
        };
        (end > at).then_some(Coded { range: at..end, body })
    }

    /// The bytes of `range` and which parts of them are holes (joined), relative to its start.
    fn take(&mut self, range: Range<u64>) -> (Vec<u8>, Vec<Range<usize>>) {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let mut holes: Vec<Range<usize>> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let extent = self.seek(at).clone();
            let end = extent.range.end.min(range.end);
            let part = (at - range.start) as usize..(end - range.start) as usize;
            let skip = at - extent.range.start;
            match &extent.body {
                Body::Hole => match holes.last_mut() {
                    Some(last) if last.end == part.start => last.end = part.end,
                    _ => holes.push(part),
                },
                Body::Zero => {}
                Body::Data(Block::Stored { file, offset }) => {
                    file.read_exact_at(&mut bytes[part], offset + skip).unwrap();
                }
                Body::Data(_) => {
                    let plain = self.plain.get_or_insert_with(|| load(&extent));
                    let skip = skip as usize;
                    let len = part.len();
                    bytes[part].copy_from_slice(&plain[skip..skip + len]);
                }
            }
            at = end;
        }
        (bytes, holes)
    }
}

/// Carries out write steps and checks the order that an appending format promises.
struct Target<'a> {
    file: &'a File,
    layout: Layout,
    end: u64,
}

impl Target<'_> {
    fn apply(&mut self, ops: &mut Vec<WriteOp>) {
        for op in ops.drain(..) {
            let at = match &op {
                WriteOp::Write { at, .. } | WriteOp::Zeros { at, .. } => *at,
                WriteOp::SetLen(len) => *len,
            };
            if self.layout == Layout::Append {
                assert_eq!(at, self.end, "an appending format jumps");
            }
            match op {
                WriteOp::Write { at, bytes } => {
                    self.file.write_all_at(&bytes, at).unwrap();
                    self.end = at + bytes.len() as u64;
                }
                WriteOp::Zeros { at, len } => {
                    self.end = at + len;
                    if self.file.metadata().unwrap().len() < self.end {
                        self.file.set_len(self.end).unwrap();
                    }
                }
                WriteOp::SetLen(len) => self.file.set_len(len).unwrap(),
            }
        }
    }
}

mod tests {
    use super::super::scattered;
    use super::*;
    use crate::image::coding::Unpacker;
    use crate::image::{Coding, Pack};

    #[test]
    fn the_driver_covers_the_disk_in_units_whatever_the_extents() {
        let pack = Pack { coding: Coding::Deflate, level: 1, window_bits: 15, plain_above: None };
        for seed in 1..40 {
            let capacity = 512 * (1 + seed * 37) + seed % 3;
            let (extents, bytes) = scattered(seed, capacity);
            for pack in [None, Some(pack)] {
                let codec = Codec { unit: 65_536, zero_unit: 4096, pack };
                let mut seen = Vec::new();
                prepare(codec, capacity, extents.clone(), |run| {
                    assert_eq!(run.range.start, seen.len() as u64);
                    let len = (run.range.end - run.range.start) as usize;
                    match run.body {
                        CodedBody::Hole | CodedBody::Zero => seen.resize(seen.len() + len, 0),
                        CodedBody::Plain(plain) => seen.extend_from_slice(&plain),
                        CodedBody::Packed(stream) => {
                            let mut unit = vec![0; 65_536];
                            let got = Unpacker::new().unpack(Coding::Deflate, &stream, &mut unit);
                            assert_eq!(got.unwrap().produced, 65_536);
                            seen.extend_from_slice(&unit[..len]);
                        }
                    }
                });
                assert!(seen == bytes, "seed {seed}");
            }
        }
    }
}
