//! Streams from a server: whole, cut, short, altered, in either layout, read or copied.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::*;
use crate::error::Error;
use crate::image::testing::write_image;
use crate::image::{NoSiblings, Variant, registry, vmdk};
use crate::provider::{ByteStream, Whole, WholeBytes, Wire};

/// Guest bytes; the last grain is short.
const CAPACITY: u64 = (5 << 20) + 4096;

/// How a server misbehaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The connection breaks at this byte.
    Cut(usize),
    /// The body ends cleanly at this byte.
    Short(usize),
    /// This byte is another one.
    Alter(usize),
    /// The server names another checksum.
    Sum,
    /// The first so many times the connection breaks, or the body ends, at this byte.
    Early {
        times: u64,
        at: usize,
        clean: bool,
    },
    /// As the first time of that, and what comes the second time differs at this byte.
    Other {
        cut: usize,
        at: usize,
    },
}

#[derive(Debug)]
struct Server {
    bytes: Vec<u8>,
    fault: Fault,
    sum: Option<SumKind>,
    reached: AtomicU64,
    opened: AtomicU64,
}

impl Server {
    fn new(bytes: &[u8], fault: Fault, sum: Option<SumKind>) -> Arc<Self> {
        let (bytes, reached, opened) = (bytes.to_vec(), AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { bytes, fault, sum, reached, opened })
    }
}

#[async_trait]
impl Wire for Server {
    async fn open(&self) -> Result<ByteStream> {
        let before = self.opened.fetch_add(1, Ordering::Relaxed);
        let mut bytes = self.bytes.clone();
        let mut broken = false;
        match self.fault {
            Fault::Cut(at) => {
                bytes.truncate(at);
                broken = true;
            }
            Fault::Short(at) => bytes.truncate(at),
            Fault::Alter(at) => bytes[at] ^= 1,
            Fault::Early { times, at, clean } if before < times => {
                bytes.truncate(at);
                broken = !clean;
            }
            Fault::Other { cut, .. } if before == 0 => {
                bytes.truncate(cut);
                broken = true;
            }
            Fault::Other { at, .. } if before == 1 => bytes[at] ^= 1,
            Fault::None | Fault::Sum | Fault::Early { .. } | Fault::Other { .. } => {}
        }
        let parts = bytes.chunks(7001).map(|part| Ok(Bytes::copy_from_slice(part)));
        let mut parts: Vec<Result<Bytes>> = parts.collect();
        if broken {
            let error = Error::new(ErrorKind::Unavailable, "esx1:443 hung up");
            let passes = matches!(self.fault, Fault::Early { .. } | Fault::Other { .. });
            parts.push(Err(if passes { error.with_retry_after(Duration::ZERO) } else { error }));
        }
        Ok(futures::stream::iter(parts).boxed())
    }

    fn alive(&self) -> bool {
        true
    }

    fn sum_kind(&self) -> Option<SumKind> {
        self.sum
    }

    fn reached(&self, position: u64) {
        let before = self.reached.swap(position, Ordering::Relaxed);
        assert!(before <= position);
    }

    async fn check(&self, size: u64, sum: Option<&FileSum>) -> Result<()> {
        let Some(kind) = self.sum else { return Ok(()) };
        let mut own = Summer::new(kind);
        own.update(&self.bytes);
        let mut own = own.finish();
        if self.fault == Fault::Sum {
            own.hex = "00".into();
        }
        if size != self.bytes.len() as u64 || sum != Some(&own) {
            return Err(Error::integrity("not what the server sent"));
        }
        Ok(())
    }
}

/// A streamOptimized VMDK whose directory is behind its grains, and what it holds.
fn wired() -> (Vec<u8>, Vec<u8>) {
    let mut options = options(CAPACITY);
    options.variant = Some(Variant::StreamOptimized);
    let full = |plain: &[u8]| plain.iter().filter(|byte| **byte != 0).count() > 2 << 20;
    let disks = (1..).map(|seed| scattered(seed, CAPACITY));
    let (extents, plain) = disks.into_iter().find(|(_, plain)| full(plain)).unwrap();
    let format = registry::create(crate::image::ImageFormat::Vmdk, &options).unwrap();
    (write_image(format, CAPACITY, extents).to_vec(), plain)
}

async fn read(server: &Arc<Server>, from: u64) -> Result<Vec<u8>> {
    let disk = WireDisk { capacity: CAPACITY, block_size: 65_536 };
    let extents = wire_extents(server.clone(), disk, from);
    let shared = super::Shared::default();
    let sink = Arc::new(PipeSink::new(Box::new(shared.clone())));
    let mut task = task(Vec::new(), CAPACITY, Some(raw_target(sink, CAPACITY, None)));
    task.extents = extents;
    if from > 0 {
        // Only the extents are of interest here.
        let parts: Vec<_> = task.extents.collect().await;
        let parts: Vec<_> = parts.into_iter().collect::<Result<Vec<_>>>()?.concat();
        assert_eq!(parts[0].range.start, from);
        return Ok(Vec::new());
    }
    engine().run(task).await?;
    Ok(shared.0.lock().unwrap().clone())
}

#[tokio::test]
async fn a_whole_stream_is_read_and_whatever_else_is_an_error() {
    let (file, plain) = wired();
    for sum in [None, Some(SumKind::Sha1), Some(SumKind::Sha256)] {
        let server = Server::new(&file, Fault::None, sum);
        assert_eq!(read(&server, 0).await.unwrap(), plain);
        assert_eq!(server.reached.load(Ordering::Relaxed), CAPACITY);
        read(&server, 2 << 20).await.unwrap();
    }
    let middle = file.len() / 2;
    for (fault, kind) in [
        (Fault::Cut(0), ErrorKind::Unavailable),
        (Fault::Cut(middle), ErrorKind::Unavailable),
        (Fault::Cut(file.len()), ErrorKind::Unavailable),
        (Fault::Short(0), ErrorKind::Integrity),
        (Fault::Short(middle), ErrorKind::Integrity),
        (Fault::Short(file.len() - 1), ErrorKind::Integrity),
        (Fault::Alter(middle), ErrorKind::Integrity),
        (Fault::Sum, ErrorKind::Integrity),
    ] {
        let server = Server::new(&file, fault, Some(SumKind::Sha256));
        let error = read(&server, 0).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn what_breaks_off_is_taken_up_where_it_broke() {
    let (file, plain) = wired();
    let (folder, middle) = (tempfile::tempdir().unwrap(), file.len() / 2);
    for (times, at, clean) in
        [(1, middle, false), (3, middle, false), (1, middle, true), (1, 0, false), (2, 700, true)]
    {
        for sum in [SumKind::Sha1, SumKind::Sha256] {
            let fault = Fault::Early { times, at, clean };
            let server = Server::new(&file, fault, Some(sum));
            let read = read(&server, 0).await;
            if clean && times > 1 {
                // The same end twice is the end.
                assert_eq!(read.unwrap_err().kind(), ErrorKind::Integrity);
                continue;
            }
            assert_eq!(read.unwrap(), plain, "{fault:?}");
            assert_eq!(server.opened.load(Ordering::Relaxed), times + 1);
            let server = Server::new(&file, fault, Some(sum));
            let path = folder.path().join("a.vmdk");
            let written = copy(&server, &plan(false, None), &path).await.unwrap();
            assert_eq!(written.size, file.len() as u64);
            let back = written.sink.read_back().unwrap();
            let mut bytes = vec![0; file.len()];
            back.read_exact_at(&mut bytes, 0).unwrap();
            assert!(bytes == file);
            written.discard();
        }
    }
    let hopeless = Server::new(
        &file,
        Fault::Early { times: 99, at: middle, clean: false },
        Some(SumKind::Sha1),
    );
    let error = read(&hopeless, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(hopeless.opened.load(Ordering::Relaxed), 6);
}

#[tokio::test]
async fn other_bytes_are_never_put_behind_those_that_came() {
    let (file, _) = wired();
    let (folder, middle) = (tempfile::tempdir().unwrap(), file.len() / 2);
    for (fault, sum) in [
        (Fault::Other { cut: middle, at: middle - 9000 }, Some(SumKind::Sha256)),
        (Fault::Early { times: 1, at: middle, clean: false }, None),
    ] {
        let error = read(&Server::new(&file, fault, sum), 0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(error.retry_after().is_some(), "all of it may be asked for anew");
        let server = Server::new(&file, fault, sum);
        let error = copy(&server, &plan(false, None), &folder.path().join("a")).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Integrity && error.retry_after().is_some());
    }
}

#[tokio::test]
async fn a_disk_of_another_size_is_not_taken_for_the_one_that_was_asked_for() {
    let (file, _) = wired();
    let server = Server::new(&file, Fault::None, None);
    let disk = WireDisk { capacity: CAPACITY - 512, block_size: 65_536 };
    assert_eq!(first_error(server.clone(), disk).await, ErrorKind::Integrity);
    let disk = WireDisk { capacity: CAPACITY, block_size: 4096 };
    assert_eq!(first_error(server, disk).await, ErrorKind::Unsupported);
}

async fn first_error(server: Arc<Server>, disk: WireDisk) -> ErrorKind {
    let batches: Vec<_> = wire_extents(server, disk, 0).take(2).collect().await;
    let first = batches.into_iter().find_map(Result::err);
    first.expect("it is refused").kind()
}

fn plan(verify: bool, sum: Option<SumKind>) -> ImagePlan {
    let mut options = options(CAPACITY);
    options.variant = Some(Variant::StreamOptimized);
    ImagePlan {
        format: crate::image::ImageFormat::Vmdk,
        options,
        sum,
        verify,
        content: false,
        trust_source: false,
        recompress: false,
        overwrite: false,
        hold: true,
    }
}

async fn copy(server: &Arc<Server>, plan: &ImagePlan, to: &Path) -> Result<WrittenImage> {
    let source = ImageSource {
        name: "disk0".into(),
        capacity: CAPACITY,
        block_size: 65_536,
        identity: None,
        read: Box::new(|_| panic!("what is copied is not read, and never twice")),
    };
    let whole = Whole {
        format: plan.format,
        variant: plan.options.variant,
        bytes: WholeBytes::Wire(server.clone()),
        expected: None,
    };
    let sink = file_sink(to);
    let to = Destination::Sink(sink);
    engine().copy_image(&source, plan, &whole, to, Arc::new(Seen::default())).await
}

#[tokio::test]
async fn a_stream_is_copied_as_it_is_and_verified_without_coming_again() {
    let (file, plain) = wired();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.vmdk");
    for (sum, offered) in [
        (None, None),
        (Some(SumKind::Sha256), Some(SumKind::Sha256)),
        (Some(SumKind::Sha256), Some(SumKind::Sha1)),
    ] {
        for verify in [false, true] {
            let server = Server::new(&file, Fault::None, offered);
            let written = copy(&server, &plan(verify, sum), &path).await.unwrap();
            assert_eq!((written.size, written.verified), (file.len() as u64, verify));
            let mut own = Summer::new(SumKind::Sha256);
            own.update(&file);
            assert_eq!(written.sum, sum.map(|_| own.finish()));
            assert_eq!(server.opened.load(Ordering::Relaxed), 1);
            let back = written.sink.read_back().unwrap();
            let image = vmdk::open(back, Arc::new(NoSiblings)).unwrap();
            assert_eq!(read_all(image.as_ref()), plain);
            assert_eq!(image.capacity(), CAPACITY);
            written.discard();
        }
    }
}

#[tokio::test]
async fn a_copy_of_a_broken_stream_fails() {
    let (file, _) = wired();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.vmdk");
    let middle = file.len() / 2;
    for (fault, sum, verify, kind) in [
        (Fault::Cut(middle), None, false, ErrorKind::Unavailable),
        (Fault::Short(middle), None, false, ErrorKind::Integrity),
        (Fault::Short(middle), Some(SumKind::Sha1), false, ErrorKind::Integrity),
        // Nothing but the server's checksum or a look inside tells of it.
        (Fault::Alter(middle), Some(SumKind::Sha1), false, ErrorKind::Integrity),
        (Fault::Alter(middle), None, true, ErrorKind::Integrity),
        (Fault::Sum, Some(SumKind::Sha256), false, ErrorKind::Integrity),
    ] {
        let server = Server::new(&file, fault, sum);
        let error = copy(&server, &plan(verify, None), &path).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn a_source_that_cannot_prove_itself_leaves_nothing_half_done() {
    let (file, _) = wired();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    let server = Server::new(&file, Fault::Cut(file.len() / 2), None);
    let disk = WireDisk { capacity: CAPACITY, block_size: 65_536 };
    let source = ImageSource {
        name: "disk0".into(),
        capacity: CAPACITY,
        block_size: 65_536,
        identity: None,
        read: Box::new(move |range| wire_extents(server.clone(), disk.clone(), range.start)),
    };
    let raw = ImagePlan {
        format: crate::image::ImageFormat::Raw,
        options: options(CAPACITY),
        ..plan(false, None)
    };
    let to = Destination::File(path.clone());
    let written = engine().write_image(&source, &raw, to, Arc::new(Seen::default())).await;
    assert_eq!(written.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
