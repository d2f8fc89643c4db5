//! The data path from end to end: bytes in equal bytes out, whatever the target, the order of
//! work, or an interruption.

mod wire;

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use super::*;
use crate::cancel::{Cancel, Reason};
use crate::error::{ErrorKind, Result};
use crate::fs::Target as Place;
use crate::image::coding::Packer;
use crate::image::testing::{Random, plain, read_all, scattered};
use crate::image::{
    Block, Body, Coding, Compression, CompressionMethod, Extent, Pack, Packed, PackedAt,
    WriteOptions, raw,
};
use crate::progress::{DiskEnd, DiskProgress, Phase};
use crate::provider::ExtentStream;
use crate::sink::{FileSink, PipeSink, Sink};

#[derive(Debug, Default)]
struct Seen(AtomicU64);

impl DiskProgress for Seen {
    fn advance(&self, position: u64, _read: u64, _written: u64) {
        let before = self.0.swap(position, Ordering::Relaxed);
        assert!(before <= position, "the position went back from {before} to {position}");
    }

    fn phase(&self, _: Phase) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn retry(&self, _: &str) {}

    fn finish(&self, _: DiskEnd) {}
}

fn stream(extents: Vec<Extent>) -> ExtentStream {
    // Panics when polled after its end, as the streams of real sources may.
    let rest = extents.into_iter();
    futures::stream::unfold(rest, |mut rest| async {
        rest.next().map(|extent| (Ok(vec![extent]), rest))
    })
    .boxed()
}

fn options(capacity: u64) -> WriteOptions {
    WriteOptions {
        capacity,
        variant: None,
        compression: None,
        block_size: None,
        seed: [7; 32],
        time: 0,
        file_name: "disk.raw".into(),
    }
}

fn task(extents: Vec<Extent>, capacity: u64, target: Option<Target>) -> DiskTask {
    DiskTask {
        name: "disk0".into(),
        source_capacity: capacity,
        capacity: capacity.next_multiple_of(512),
        block_size: 65_536,
        extents: stream(extents),
        target,
        trust_source: false,
        recompress: false,
        content: true,
        from: None,
        progress: Arc::new(Seen::default()),
    }
}

fn raw_target(sink: Arc<dyn Sink>, capacity: u64, sum: Option<SumKind>) -> Target {
    let format = raw::create(&options(capacity.next_multiple_of(512))).unwrap();
    Target { format, sink, sum, checkpointing: None }
}

fn file_sink(path: &Path) -> Arc<FileSink> {
    let claim = Place::new(path).unwrap().claim().unwrap();
    Arc::new(FileSink::create(claim, false).unwrap())
}

fn engine() -> Engine {
    Engine::new(&EngineOptions { threads: Some(3), ..EngineOptions::default() }, Cancel::new())
        .unwrap()
}

/// Some data extents as packed blocks, as a streamOptimized disk has them.
fn packed(extents: Vec<Extent>, capacity: u64) -> Vec<Extent> {
    const UNIT: u64 = 65_536;
    let mut plain = vec![0; capacity as usize];
    for extent in extents {
        if let Body::Data(Block::Plain(bytes)) = extent.body {
            plain[extent.range.start as usize..extent.range.end as usize].copy_from_slice(&bytes);
        }
    }
    let pack = Pack { coding: Coding::Zlib, level: 1, window_bits: 15, plain_above: None };
    let mut packer = Packer::new(&pack).unwrap();
    let mut out = Vec::new();
    for (number, bytes) in plain.chunks(UNIT as usize).enumerate() {
        let start = number as u64 * UNIT;
        let range = start..start + bytes.len() as u64;
        let body = if is_zero(bytes) {
            Body::Hole
        } else {
            let stream = packer.pack(bytes).unwrap();
            let at = PackedAt::Memory(stream.into());
            Body::Data(Block::Packed(Packed { coding: Coding::Zlib, at, unit: UNIT as u32 }))
        };
        out.push(Extent { range, body });
    }
    out
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_file_and_a_pipe_get_the_guests_bytes_and_the_same_checksum() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 1..6 {
        let capacity = 5_000_000 + seed * 777;
        let (mut extents, bytes) = scattered(seed, capacity);
        if seed % 2 == 0 {
            extents = packed(extents, capacity);
        }
        let path = folder.path().join(format!("{seed}.raw"));
        let sink = file_sink(&path);
        let target = raw_target(sink.clone(), capacity, None);
        let to_file = engine().run(task(extents.clone(), capacity, Some(target))).await.unwrap();
        sink.commit().unwrap();
        let mut expected = bytes.clone();
        expected.resize(capacity.next_multiple_of(512) as usize, 0);
        assert!(std::fs::read(&path).unwrap() == expected, "seed {seed}");

        let shared = Shared::default();
        let pipe = Arc::new(PipeSink::new(Box::new(shared.clone())));
        let target = raw_target(pipe, capacity, Some(SumKind::Sha256));
        let to_pipe = engine().run(task(extents.clone(), capacity, Some(target))).await.unwrap();
        assert!(*shared.0.lock().unwrap() == expected, "seed {seed}");
        let mut summer = Summer::new(SumKind::Sha256);
        summer.update(&expected);
        assert_eq!(to_pipe.sum, Some(summer.finish()));
        assert_eq!(to_pipe.content, to_file.content);

        let only_read = engine().run(task(extents, capacity, None)).await.unwrap();
        assert_eq!(only_read.content, to_file.content);
    }
}

#[tokio::test]
async fn content_sees_one_changed_byte() {
    let capacity = 3 << 20;
    let (_, mut bytes) = scattered(9, capacity);
    let sum = async |bytes: &[u8]| {
        let body = Body::Data(Block::Plain(Bytes::copy_from_slice(bytes)));
        let extents = vec![Extent { range: 0..capacity, body }];
        engine().run(task(extents, capacity, None)).await.unwrap().content.unwrap()
    };
    let before = sum(&bytes).await;
    bytes[2_000_000] ^= 4;
    let after = sum(&bytes).await;
    assert!(!before.same_bytes(&after));
    assert_eq!(before.first_difference(&after), Some(0..64 << 20));
}

#[tokio::test]
async fn trusted_streams_move_beside_blocks_that_are_placed_plain_with_the_same_bytes_as_checked() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    let mut bytes = random.text(6 << 20);
    // In the midst of jobs: blocks whose streams are longer than what they hold.
    for at in [3, 17, 18, 40] {
        let block = at << 16..(at + 1) << 16;
        let len = block.len();
        bytes[block].copy_from_slice(&random.bytes(len));
    }
    let capacity = bytes.len() as u64;
    let extents = packed(plain(&bytes), capacity);
    let mut files = Vec::new();
    for trust_source in [false, true] {
        let path = folder.path().join(format!("{trust_source}.qcow2"));
        let sink = file_sink(&path);
        let compression =
            Compression { method: CompressionMethod::Zlib, level: None, window_bits: 15 };
        let options = WriteOptions { compression: Some(compression), ..options(capacity) };
        let format = crate::image::qcow2::create(&options).unwrap();
        let target = Target { format, sink: sink.clone(), sum: None, checkpointing: None };
        let task = task(extents.clone(), capacity, Some(target));
        let done = engine().run(DiskTask { content: false, trust_source, ..task }).await.unwrap();
        assert_eq!(done.data_bytes, capacity);
        sink.commit().unwrap();
        files.push(std::fs::read(path).unwrap());
    }
    assert!(files[0] == files[1]);
    let plain_block = &bytes[17 << 16..18 << 16];
    assert!(files[0].windows(512).step_by(512).any(|sector| sector == &plain_block[..512]));
}

#[tokio::test]
async fn a_damaged_block_ends_the_run_with_integrity() {
    let capacity = 8 << 20;
    let (extents, _) = scattered(3, capacity);
    let mut extents = packed(extents, capacity);
    let victim = extents.iter().rposition(|e| matches!(e.body, Body::Data(_))).unwrap();
    let Body::Data(Block::Packed(block)) = &mut extents[victim].body else { panic!() };
    block.at = PackedAt::Memory(Bytes::from_static(b"\x78\x9cgarbage that is no deflate"));
    let sink = Arc::new(PipeSink::new(Box::new(std::io::sink())));
    let target = raw_target(sink, capacity, None);
    let error = engine().run(task(extents, capacity, Some(target))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
}

#[tokio::test]
async fn gaps_and_early_ends_are_refused() {
    let data = |range: std::ops::Range<u64>| Extent {
        body: Body::Data(Block::Plain(vec![1; (range.end - range.start) as usize].into())),
        range,
    };
    for extents in [vec![data(0..512)], vec![data(0..512), data(1024..4096)], vec![data(0..8192)]] {
        let error = engine().run(task(extents, 4096, None)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_target_that_fails_ends_the_run() {
    let capacity = 200 << 20;
    let body = Body::Data(Block::Plain(vec![1; 1 << 20].into()));
    let extents =
        (0..200).map(|n| Extent { range: n << 20..(n + 1) << 20, body: body.clone() }).collect();
    let target = raw_target(Arc::new(PipeSink::new(Box::new(Broken))), capacity, None);
    let run = task(extents, capacity, Some(target));
    let error = tokio::time::timeout(Duration::from_secs(60), engine().run(run)).await;
    assert_eq!(error.unwrap().unwrap_err().kind(), ErrorKind::Io);
}

/// Runs `extents` to `path`, cancelled after `cut` extents, until it completes; answers with the
/// number of runs that it took.
async fn run_in_pieces(path: &Path, extents: &[Extent], capacity: u64, cut: usize) -> usize {
    let kept: Arc<Mutex<Option<Checkpoint>>> = Arc::default();
    for run in 1..1000 {
        let cancel = Cancel::new();
        let engine =
            Engine::new(&EngineOptions { threads: Some(2), ..Default::default() }, cancel.clone())
                .unwrap();
        let from = kept.lock().unwrap().clone();
        let claim = Place::new(path).unwrap().claim().unwrap();
        let (sink, format, start) = match &from {
            Some(from) => {
                let sink = FileSink::resume(claim, false, from.written).unwrap().unwrap();
                (sink, raw::resume(&from.format).unwrap(), from.position)
            }
            None => {
                let options = options(capacity);
                (FileSink::create(claim, false).unwrap(), raw::create(&options).unwrap(), 0)
            }
        };
        let sink = Arc::new(sink);
        let store = kept.clone();
        let checkpointing = Checkpointing {
            every: Duration::from_secs(3600),
            store: Arc::new(move |checkpoint| {
                *store.lock().unwrap() = Some(checkpoint);
                Ok(())
            }),
        };
        let rest: Vec<_> = extents.iter().filter_map(|extent| after(extent, start)).collect();
        let stream = futures::stream::iter(rest).enumerate().map(move |(number, extent)| {
            if number == cut {
                cancel.cancel(Reason::Signal);
            }
            Ok(vec![extent])
        });
        let target = Target {
            format,
            sink: sink.clone(),
            sum: Some(SumKind::Sha256),
            checkpointing: Some(checkpointing),
        };
        let mut task = task(Vec::new(), capacity, Some(target));
        task.extents = stream.boxed();
        task.from = from;
        let outcome: Result<DiskDone> = engine.run(task).await;
        match outcome {
            Ok(done) => {
                let file = sink.read_back().unwrap();
                let sum = sum_file(&file, SumKind::Sha256, &Cancel::new()).unwrap();
                assert_eq!(done.sum, Some(sum), "the resumed checksum");
                sink.commit().unwrap();
                return run;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted, "{error:?}"),
        }
    }
    panic!("it never completes");
}

fn after(extent: &Extent, start: u64) -> Option<Extent> {
    let mut extent = extent.clone();
    if extent.range.end <= start {
        return None;
    }
    if extent.range.start < start {
        if let Body::Data(block) = &extent.body {
            extent.body = Body::Data(block.skip(start - extent.range.start).unwrap());
        }
        extent.range.start = start;
    }
    Some(extent)
}

#[tokio::test]
async fn a_run_in_pieces_gives_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let capacity = 40 << 20;
    let (extents, bytes) = scattered(5, capacity);
    let path = folder.path().join("disk.raw");
    let runs = run_in_pieces(&path, &extents, capacity, 40).await;
    assert!(runs > 2, "it was interrupted {runs} times");
    assert!(std::fs::read(&path).unwrap() == bytes);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn images_read_through_the_stream_as_they_do_directly() {
    let mut random = Random(3);
    let bytes = random.bytes(3_000_000);
    let image: Arc<dyn crate::image::Image> =
        raw::open(Arc::new(Bytes::from(bytes.clone()))).into();
    assert!(read_all(image.as_ref()) == bytes);
    let mut at = 0;
    let mut stream = image_extents(image.clone(), 0..image.capacity());
    while let Some(batch) = stream.next().await {
        for extent in batch.unwrap() {
            assert_eq!(extent.range.start, at);
            at = extent.range.end;
        }
    }
    assert_eq!(at, bytes.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_failure_of_the_last_block_is_never_lost() {
    let engine = engine();
    for round in 0..300 {
        let at = PackedAt::Memory(Bytes::from_static(b"\x78\x01 no deflate stream"));
        let block = Block::Packed(Packed { coding: Coding::Zlib, at, unit: 65_536 });
        let broken = Extent { range: 0..65_536, body: Body::Data(block) };
        let failed = engine.run(task(vec![broken], 65_536, None)).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Integrity, "round {round}: {failed}");
    }
}
