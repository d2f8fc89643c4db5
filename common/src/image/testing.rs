//! What the tests of every format share: a plain driver of [`Format`]s, readers that check the
//! contract of [`Extents`](super::Extents) on the way, and qemu-img as the judge.
//!
//! The driver does in one thread and in the simplest way what the engine does on all cores; it
//! is the reference that the engine's own tests compare with.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use bytes::Bytes;

use super::coding::{Packer, Unpacker};
use super::{
    Block, Body, Codec, Coded, CodedBody, Extent, Format, Image, Layout, ReadAt, StreamImage,
    WriteOp,
};

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
    range: std::ops::Range<u64>,
    source: &mut Source<impl Iterator<Item = Extent>>,
) -> Vec<Coded> {
    let len = (range.end - range.start) as usize;
    let (mut bytes, holes) = source.take(range.clone());
    let zero = |piece: std::ops::Range<usize>| {
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
    fn take(&mut self, range: std::ops::Range<u64>) -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let mut holes: Vec<std::ops::Range<usize>> = Vec::new();
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

/// The guest bytes of one extent.
pub fn load(extent: &Extent) -> Vec<u8> {
    let mut bytes = vec![0; extent.len() as usize];
    match &extent.body {
        Body::Hole | Body::Zero => {}
        Body::Data(Block::Plain(plain)) => bytes.copy_from_slice(plain),
        Body::Data(Block::Stored { file, offset }) => {
            file.read_exact_at(&mut bytes, *offset).unwrap();
        }
        Body::Data(Block::Packed(packed)) => {
            assert!(extent.len() <= u64::from(packed.unit), "a packed extent beyond its unit");
            let mut unit = vec![0; packed.unit as usize];
            let stream = packed.fetch().unwrap();
            let got = Unpacker::new().unpack(packed.coding, &stream, &mut unit).unwrap();
            assert!(got.produced >= bytes.len(), "a packed block is short");
            let len = bytes.len();
            bytes.copy_from_slice(&unit[..len]);
        }
    }
    bytes
}

/// All guest bytes, with the contract of `Image::extents` checked.
pub fn read_all(image: &dyn Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    for extent in image.extents(0..image.capacity()) {
        append(&mut bytes, &extent.unwrap());
    }
    assert_eq!(bytes.len() as u64, image.capacity(), "the extents end before the disk does");
    bytes
}

/// All guest bytes of a stream, with the contract of `StreamImage::next` checked.
pub fn read_stream(mut image: Box<dyn StreamImage>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(extent) = image.next().unwrap() {
        append(&mut bytes, &extent);
    }
    assert_eq!(bytes.len() as u64, image.capacity(), "the stream ends before the disk does");
    bytes
}

fn append(bytes: &mut Vec<u8>, extent: &Extent) {
    assert!(!extent.is_empty(), "an empty extent");
    assert_eq!(extent.range.start, bytes.len() as u64, "a gap between extents");
    bytes.extend_from_slice(&load(extent));
}

/// A list of extents made from `seed`: holes, zeros, random and compressible data of odd and
/// even lengths; and the bytes that a guest reads.
pub fn scattered(seed: u64, capacity: u64) -> (Vec<Extent>, Vec<u8>) {
    let mut random = Random(seed | 1);
    let (mut extents, mut bytes) = (Vec::new(), Vec::new());
    while (bytes.len() as u64) < capacity {
        let start = bytes.len() as u64;
        let scale = [512, 4096, 65_536, 262_144][random.below(4) as usize];
        let odd = if random.below(4) == 0 { random.below(511) } else { 0 };
        let len = ((random.below(9) + 1) * scale + odd).min(capacity - start);
        let range = start..start + len;
        let body = match random.below(5) {
            0 => Body::Hole,
            1 => Body::Zero,
            2 => Body::Data(Block::Plain(random.bytes(len as usize).into())),
            3 => Body::Data(Block::Plain(random.text(len as usize).into())),
            _ => Body::Data(Block::Plain(vec![0; len as usize].into())),
        };
        let extent = Extent { range, body };
        bytes.extend_from_slice(&load(&extent));
        extents.push(extent);
    }
    (extents, bytes)
}

/// A small generator (xorshift) for reproducible test data.
pub struct Random(pub u64);

impl Random {
    /// The next value.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A value below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.draw() >> 11) % bound
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            (0..len.div_ceil(8)).flat_map(|_| self.draw().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    /// Bytes that compress to about a third.
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        let words: Vec<Vec<u8>> = (3..11).map(|len| self.bytes(len)).collect();
        let mut text = Vec::with_capacity(len + 16);
        while text.len() < len {
            text.extend_from_slice(&words[self.below(8) as usize]);
        }
        text.truncate(len);
        text
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

/// A local file as tests read it, holes of the file system included.
#[derive(Debug)]
pub struct TestFile {
    file: File,
    len: u64,
}

impl TestFile {
    /// Opens `path` for reading.
    pub fn open(path: impl AsRef<Path>) -> Arc<dyn ReadAt> {
        let file = File::open(path).unwrap();
        let len = file.metadata().unwrap().len();
        Arc::new(Self { file, len })
    }
}

impl ReadAt for TestFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn next_data(&self, from: u64) -> Option<std::ops::Range<u64>> {
        use rustix::fs::{SeekFrom, seek};
        if from >= self.len {
            return None;
        }
        let start = seek(&self.file, SeekFrom::Data(from)).ok()?;
        let end = seek(&self.file, SeekFrom::Hole(start)).unwrap_or(self.len);
        Some(start..end.min(self.len))
    }
}

/// Where qemu-img (or its neighbour qemu-io) is: `HYPER_TB_QEMU_IMG`, else on the path. The test
/// fails where it is not: a judge that is missing must not look like a verdict.
pub fn qemu_img() -> PathBuf {
    if let Some(named) = std::env::var_os("HYPER_TB_QEMU_IMG") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("qemu-img"))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("this test needs qemu-img: run scripts/test"))
}

/// Runs qemu-img and returns what happened.
pub fn try_qemu_img(arguments: &[&str]) -> Output {
    Command::new(qemu_img()).args(arguments).output().unwrap()
}

/// Runs qemu-img, which must succeed, and returns its standard output.
pub fn run_qemu_img(arguments: &[&str]) -> String {
    let output = try_qemu_img(arguments);
    assert!(
        output.status.success(),
        "qemu-img {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Holds `image` (in qemu's word for its format) against raw bytes in the file `raw`, by content.
pub fn compare_with_raw(format: &str, image: &Path, raw: &Path) {
    let (image, raw) = (image.to_str().unwrap(), raw.to_str().unwrap());
    run_qemu_img(&["compare", "-f", format, "-F", "raw", image, raw]);
}

/// Guest bytes in memory as one extent.
pub fn plain(bytes: &[u8]) -> Vec<Extent> {
    let range = 0..bytes.len() as u64;
    let body = Body::Data(Block::Plain(Bytes::copy_from_slice(bytes)));
    if bytes.is_empty() { Vec::new() } else { vec![Extent { range, body }] }
}

mod tests {
    use super::*;
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
