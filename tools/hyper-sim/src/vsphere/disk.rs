//! The bytes of simulated disks: real image files or generated ones, as a flat extent and as the
//! stream that an export sends.
//!
//! Both forms are made once and kept in a file without a name, so that serving them costs a read
//! and nothing else, and nothing stays behind however the program ends.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, Result};
use hyper_common::fs::FileBytes;
use hyper_common::image::{
    Compression, CompressionMethod, ImageFormat, ReadAt, Variant, WriteOptions, registry,
};
use hyper_common::progress::{Progress, ProgressMode};
use hyper_common::provider::local::{LocalImage, open_image};
use hyper_common::transfer::{
    Destination, Engine, EngineOptions, ImagePlan, ImageSource, SumKind, image_extents, sum_file,
};
use tokio::sync::OnceCell;

/// Guest bytes of a generated disk.
pub const GENERATED: u64 = 64 << 20;

/// Where a disk's bytes come from.
#[derive(Debug)]
enum Origin {
    /// An image file.
    File(LocalImage),
    /// A few pieces of noise between holes, other ones for each number.
    Generated(u64),
}

/// A disk image behind one or more machines.
#[derive(Debug)]
pub struct DiskImage {
    origin: Origin,
    /// Guest bytes.
    pub capacity: u64,
    allocated: u64,
    stream: OnceCell<Stream>,
    flat: OnceCell<Arc<dyn ReadAt>>,
}

/// The form that an export sends: streamOptimized, directory at the end.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The bytes.
    pub bytes: Arc<dyn ReadAt>,
    /// Their SHA-1 in lower-case hex.
    pub sha1: String,
    /// Their SHA-256 in lower-case hex.
    pub sha256: String,
    /// Guest bytes that are stored.
    pub populated: u64,
}

impl DiskImage {
    /// Opens an image file. Blocks.
    ///
    /// # Errors
    /// As [`open_image`]; `Unsupported` for a size that is not of whole sectors.
    pub fn open(path: &Path) -> Result<Self> {
        let image = open_image(path, None, &[])?;
        let capacity = image.image.capacity();
        if capacity == 0 || !capacity.is_multiple_of(1024) {
            return Err(Error::unsupported("a virtual disk is counted in whole KiB")
                .with_subject(path.display().to_string()));
        }
        let metadata = std::fs::metadata(path).map_err(|error| Error::io("look at it", error))?;
        let allocated = (metadata.blocks() * 512).min(capacity);
        Ok(Self::of(Origin::File(image), capacity, allocated))
    }

    /// A disk with generated content.
    pub fn generated(number: u64) -> Self {
        Self::of(Origin::Generated(number), GENERATED, PIECES * PIECE)
    }

    fn of(origin: Origin, capacity: u64, allocated: u64) -> Self {
        Self { origin, capacity, allocated, stream: OnceCell::new(), flat: OnceCell::new() }
    }

    /// Bytes that it takes on the datastore.
    pub fn committed(&self, thin: bool) -> u64 {
        if thin { self.allocated } else { self.capacity }
    }
}

/// Makes the forms of disks, below a folder of its own.
#[derive(Debug)]
pub struct Store {
    engine: Engine,
    folder: tempfile::TempDir,
    made: AtomicU64,
    cancel: Cancel,
}

impl Store {
    /// A store in the folder for temporary files.
    ///
    /// # Errors
    /// `Io`.
    pub fn new(cancel: Cancel) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("hyper-sim-").tempdir();
        Ok(Self {
            engine: Engine::new(&EngineOptions::default(), cancel.clone())?,
            folder: folder.map_err(|error| Error::io("make a temporary folder", error))?,
            made: AtomicU64::new(0),
            cancel,
        })
    }

    /// The folder for temporary files; it goes with the store.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The form of a disk that an export sends.
    ///
    /// # Errors
    /// Those of reading the image and of writing the form.
    pub async fn stream(&self, disk: &DiskImage) -> Result<Stream> {
        disk.stream.get_or_try_init(|| self.make_stream(disk)).await.cloned()
    }

    /// The bytes as the guest sees them.
    ///
    /// # Errors
    /// As [`Store::stream`].
    pub async fn flat(&self, disk: &DiskImage) -> Result<Arc<dyn ReadAt>> {
        disk.flat.get_or_try_init(|| self.make_flat(disk)).await.cloned()
    }

    fn path(&self) -> PathBuf {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(format!("disk-{number}"))
    }

    async fn make_stream(&self, disk: &DiskImage) -> Result<Stream> {
        let image = self.image(disk).await?;
        let info = image.image.info();
        let ready = image.format == ImageFormat::Vmdk && info.variant == "streamOptimized";
        let (bytes, populated) = match ready {
            true => (image.file.clone(), disk.allocated),
            false => self.convert(&image, ImageFormat::Vmdk).await?,
        };
        let (sha1, sha256) = tokio::try_join!(
            self.sum(bytes.clone(), SumKind::Sha1),
            self.sum(bytes.clone(), SumKind::Sha256)
        )?;
        Ok(Stream { bytes, sha1, sha256, populated })
    }

    async fn make_flat(&self, disk: &DiskImage) -> Result<Arc<dyn ReadAt>> {
        let image = self.image(disk).await?;
        match image.format {
            ImageFormat::Raw => Ok(image.file.clone()),
            _ => Ok(self.convert(&image, ImageFormat::Raw).await?.0),
        }
    }

    async fn sum(&self, bytes: Arc<dyn ReadAt>, kind: SumKind) -> Result<String> {
        let cancel = self.cancel.clone();
        blocking(move || Ok(sum_file(&bytes, kind, &cancel)?.hex)).await
    }

    /// The image behind a disk; a generated one is written first.
    async fn image(&self, disk: &DiskImage) -> Result<LocalImage> {
        let number = match &disk.origin {
            Origin::File(image) => return Ok(image.clone()),
            Origin::Generated(number) => *number,
        };
        let path = self.path().with_extension("raw");
        blocking(move || {
            generate(&path, number).map_err(|error| Error::io("write a disk", error))?;
            let image = open_image(&path, Some(ImageFormat::Raw), &[])?;
            remove(&path)?;
            Ok(image)
        })
        .await
    }

    async fn convert(
        &self,
        image: &LocalImage,
        format: ImageFormat,
    ) -> Result<(Arc<dyn ReadAt>, u64)> {
        let path = self.path();
        let source = source(image);
        let progress = Progress::start(ProgressMode::None, true);
        let disk = progress.reporter().disk(&source.name, source.capacity);
        let to = Destination::File(path.clone());
        let plan = plan(format, image.image.capacity());
        let written = self.engine.write_image(&source, &plan, to, disk).await?;
        written.commit()?;
        let bytes = blocking(move || {
            let bytes = FileBytes::open(&path)?;
            remove(&path)?;
            Ok(bytes)
        });
        Ok((Arc::new(bytes.await?), written.data_bytes))
    }
}

fn source(image: &LocalImage) -> ImageSource<'static> {
    let read = image.image.clone();
    ImageSource {
        name: "disk".to_owned(),
        capacity: image.image.capacity(),
        block_size: image.image.block_size(),
        identity: Some(image.files.identity()),
        read: Box::new(move |range| image_extents(read.clone(), range)),
    }
}

fn plan(format: ImageFormat, capacity: u64) -> ImagePlan {
    let stream = format == ImageFormat::Vmdk;
    // A host compresses lightly, and nobody waits for the simulator's compression.
    let light = Compression { method: CompressionMethod::Zlib, level: Some(1), window_bits: 15 };
    ImagePlan {
        format,
        options: WriteOptions {
            capacity,
            variant: stream
                .then_some(Variant::StreamOptimized)
                .or(registry::default_variant(format)),
            compression: stream.then_some(light),
            block_size: None,
            seed: [0; 32],
            time: 0,
            file_name: "disk.vmdk".to_owned(),
        },
        sum: None,
        verify: false,
        content: false,
        trust_source: false,
        recompress: true,
        overwrite: false,
        hold: false,
    }
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(|error| Error::io("remove a temporary file", error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        Error::new(hyper_common::error::ErrorKind::Internal, "work on a disk").with_source(error)
    })?
}

/// Pieces of data on a generated disk, and their length.
const PIECES: u64 = 8;
const PIECE: u64 = 192 << 10;

fn generate(path: &Path, number: u64) -> std::io::Result<()> {
    let file = std::fs::File::create_new(path)?;
    file.set_len(GENERATED)?;
    let mut noise = Noise(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for piece in 0..PIECES {
        let mut bytes = vec![0; PIECE as usize];
        // Half of it noise, half of it text: neither all nor nothing can be compressed.
        let (random, text) = bytes.split_at_mut(PIECE as usize / 2);
        random.iter_mut().for_each(|byte| *byte = noise.byte());
        let line = format!("disk {number}, piece {piece}\n");
        text.iter_mut().zip(line.bytes().cycle()).for_each(|(byte, letter)| *byte = letter);
        let room = (GENERATED / PIECES - PIECE) / 4096;
        let at = piece * (GENERATED / PIECES) + (noise.next() % room) * 4096;
        file.write_all_at(&bytes, at)?;
    }
    Ok(())
}

/// xorshift64: any noise will do, as long as it is the same each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_forms_hold_the_same_bytes() {
        let store = Store::new(Cancel::new()).unwrap();
        let disk = DiskImage::generated(7);
        let stream = store.stream(&disk).await.unwrap();
        let flat = store.flat(&disk).await.unwrap();
        assert_eq!(flat.len(), GENERATED);
        let path = store.folder().join("copy.vmdk");
        let mut bytes = vec![0; stream.bytes.len() as usize];
        stream.bytes.read_exact_at(&mut bytes, 0).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(open_image(&path, None, &[]).unwrap().image.info().variant, "streamOptimized");
        // A stream that is one already is served as it is.
        let again = DiskImage::open(&path).unwrap();
        assert_eq!(store.stream(&again).await.unwrap().sha256, stream.sha256);
        let back = store.flat(&again).await.unwrap();
        let read = |bytes: &Arc<dyn ReadAt>| {
            let mut all = vec![0; GENERATED as usize];
            bytes.read_exact_at(&mut all, 0).unwrap();
            all
        };
        assert!(read(&flat) == read(&back));
        assert!(read(&flat) != read(&store.flat(&DiskImage::generated(8)).await.unwrap()));
    }
}
