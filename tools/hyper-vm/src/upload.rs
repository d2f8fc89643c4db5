//! The image that `--image-upload` sends: as it is where the platform takes its format, else its
//! guest bytes as compressed raw, made on the way.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, ErrorKind, Result, ResultExt};
use hyper_common::image::{ImageFormat, WriteOptions, registry as formats};
use hyper_common::progress::{DiskEnd, DiskProgress, Reporter};
use hyper_common::provider::local::{LocalImage, open_image};
use hyper_common::provider::{Content, ExportOptions, ExportSource, Seek, Sending, registry};
use hyper_common::sink::{CompressSink, PipeSink, StreamCompression};
use hyper_common::tool::Context;
use hyper_common::transfer::{
    Destination, Engine, EngineOptions, ImagePlan, ImageSource, image_extents,
};
use tokio::sync::mpsc;

use crate::request::ImageUpload;

/// Bytes that are read at once.
const PART: usize = 1 << 20;

/// Parts that wait for the network.
const AHEAD: usize = 4;

/// How hard guest bytes are compressed: zeros go away, and no link waits for the processor.
const LEVEL: u8 = 1;

/// How names of machines in files end; what is not one is an image.
const PACKAGES: [&str; 4] = [".ova", ".ovf", ".vmx", ".xml"];

/// An image that is sent.
#[derive(Debug)]
pub struct Image {
    /// Bytes that the guest sees.
    pub capacity: u64,
    name: String,
    form: Form,
    progress: Option<Arc<dyn DiskProgress>>,
}

/// In which form it is sent.
enum Form {
    /// As it is.
    File(LocalImage),
    /// As its guest bytes.
    Guest { source: Arc<ImageSource<'static>>, engine: Arc<Engine>, origin: Origin },
}

/// What guest bytes are read from.
#[derive(Clone)]
enum Origin {
    Image(LocalImage),
    Machine(Arc<dyn ExportSource>),
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Guest { .. } => "Guest",
        })
    }
}

impl Image {
    /// Opens an image, or the one disk of a machine in files.
    ///
    /// # Errors
    /// Those of opening; `Unsupported` for a machine with several disks, or with one that cannot be
    /// read twice.
    pub async fn open(upload: &ImageUpload, cx: &Context) -> Result<Self> {
        let name = upload.file.display().to_string();
        let lower = name.to_ascii_lowercase();
        let (capacity, form) = match PACKAGES.iter().any(|end| lower.ends_with(end)) {
            true => of_machine(&upload.file, cx).await.subject(|| name.clone())?,
            false => of_image(upload, cx).await?,
        };
        let capacity = formats::check_capacity(ImageFormat::Raw, None, None, capacity)?;
        if capacity == 0 {
            return Err(Error::integrity("there is nothing in it").with_subject(name));
        }
        Ok(Self { capacity, name, form, progress: None })
    }

    /// Tells `reporter` from now on how far it is.
    pub fn tell(&mut self, reporter: &dyn Reporter) {
        let size = match &self.form {
            Form::File(image) => image.file.len(),
            Form::Guest { .. } => self.capacity,
        };
        reporter.expect(size);
        self.progress = Some(reporter.disk(&self.name, size));
    }
}

async fn of_image(upload: &ImageUpload, cx: &Context) -> Result<(u64, Form)> {
    let (path, stated) = (upload.file.clone(), upload.format);
    let opened = tokio::task::spawn_blocking(move || open_image(&path, stated, &[])).await;
    let opened = opened
        .map_err(|error| Error::new(ErrorKind::Internal, "open an image").with_source(error))??;
    let capacity = opened.image.capacity();
    // What lies in a file beside it would stay here.
    let alone = opened.files.identities().len() == 1;
    // Disks are counted in sectors.
    let whole = capacity.is_multiple_of(512);
    if alone && (opened.format == ImageFormat::Qcow2 || opened.format == ImageFormat::Raw && whole)
    {
        return Ok((capacity, Form::File(opened)));
    }
    let image = opened.image.clone();
    let source = ImageSource {
        name: upload.file.display().to_string(),
        capacity,
        block_size: image.block_size(),
        identity: None,
        read: Box::new(move |range| image_extents(image.clone(), range)),
    };
    Ok((capacity, guest(source, Origin::Image(opened), &cx.cancel)?))
}

async fn of_machine(path: &Path, cx: &Context) -> Result<(u64, Form)> {
    let local = registry::open(&cx.config.context("local")?)?;
    let export = local.export().ok_or_else(|| Error::unsupported("it cannot be read"))?;
    let vm = local.resolve(&path.display().to_string()).await?;
    let opened: Arc<dyn ExportSource> = export.open(&vm, &ExportOptions::default()).await?.into();
    let [disk] = opened.disks() else {
        let words = format!("it has {} disks, and one is sent", opened.disks().len());
        return Err(Error::unsupported(words)
            .with_hint("`hyper export --format qcow2` makes an image of each"));
    };
    if disk.seek != Seek::Ranges {
        return Err(Error::unsupported("its disk can only be read once, in order")
            .with_hint("`hyper export --format qcow2` makes an image of it"));
    }
    if let Some(why) = &disk.refusal {
        return Err(Error::unsupported(why.clone()).with_subject(disk.name.clone()));
    }
    let (capacity, block_size, from) = (disk.capacity, disk.block_size, opened.clone());
    let source = ImageSource {
        name: disk.name.clone(),
        capacity,
        block_size,
        identity: None,
        read: Box::new(move |range| from.read(0, range)),
    };
    Ok((capacity, guest(source, Origin::Machine(opened), &cx.cancel)?))
}

fn guest(source: ImageSource<'static>, origin: Origin, cancel: &Cancel) -> Result<Form> {
    let engine = Arc::new(Engine::new(&EngineOptions::default(), cancel.clone())?);
    Ok(Form::Guest { source: Arc::new(source), engine, origin })
}

impl Origin {
    async fn still_same(&self) -> Result<()> {
        match self {
            Self::Image(image) => image.files.check_unchanged(),
            Self::Machine(source) => source.still_same().await,
        }
    }
}

impl Content for Image {
    fn read(&self) -> Result<Sending> {
        let (sender, parts) = mpsc::channel(AHEAD);
        let parts = futures::stream::unfold(parts, |mut parts| async {
            let part = parts.recv().await?;
            Some((part, parts))
        });
        let progress = self.progress.clone();
        let len = match &self.form {
            Form::File(image) => {
                let (image, len) = (image.clone(), image.file.len());
                tokio::task::spawn_blocking(move || {
                    send_file(&image, &sender, progress.as_deref())
                });
                Some(len)
            }
            Form::Guest { source, engine, origin } => {
                let work = Work {
                    source: source.clone(),
                    engine: engine.clone(),
                    origin: origin.clone(),
                    capacity: self.capacity,
                };
                tokio::spawn(async move {
                    if let Err(error) = work.send(sender.clone(), progress).await {
                        // Nobody listens where the network failed first.
                        let _ = sender.send(Err(error)).await;
                    }
                });
                None
            }
        };
        Ok(Sending { len, parts: parts.boxed() })
    }
}

type Parts = mpsc::Sender<Result<bytes::Bytes>>;

/// Sends a file as it is; ends where nobody listens any more.
fn send_file(image: &LocalImage, to: &Parts, progress: Option<&dyn DiskProgress>) {
    let len = image.file.len();
    let mut at = 0;
    while at < len {
        let mut part = vec![0; PART.min(usize::try_from(len - at).unwrap_or(PART))];
        let read = image.file.read_exact_at(&mut part, at);
        at += part.len() as u64;
        let size = part.len() as u64;
        let read = read
            .map(|()| part.into())
            .map_err(|error| Error::io("read the image", error))
            .and_then(|part| match at == len {
                true => image.files.check_unchanged().map(|()| part),
                false => Ok(part),
            });
        let failed = read.is_err();
        if to.blocking_send(read).is_err() || failed {
            return;
        }
        if let Some(progress) = progress {
            progress.advance(at, size, size);
        }
    }
    if let Some(progress) = progress {
        progress.finish(DiskEnd::Done);
    }
}

/// Guest bytes on their way.
struct Work {
    source: Arc<ImageSource<'static>>,
    engine: Arc<Engine>,
    origin: Origin,
    capacity: u64,
}

impl Work {
    async fn send(self, to: Parts, progress: Option<Arc<dyn DiskProgress>>) -> Result<()> {
        let pipe = Arc::new(PipeSink::new(Box::new(Pipe(to))));
        let sink = Arc::new(CompressSink::new(pipe, StreamCompression::Gzip(LEVEL))?);
        let progress = progress.unwrap_or_else(|| Arc::new(hyper_common::progress::NoProgress));
        let plan = raw(self.capacity);
        let to = Destination::Sink(sink.clone());
        self.engine.write_image(&self.source, &plan, to, progress).await?;
        self.origin.still_same().await?;
        let ended = tokio::task::spawn_blocking(move || sink.finish()).await;
        ended.map_err(|error| Error::new(ErrorKind::Internal, "compress").with_source(error))??;
        Ok(())
    }
}

/// Guest bytes as they are.
fn raw(capacity: u64) -> ImagePlan {
    ImagePlan {
        format: ImageFormat::Raw,
        options: WriteOptions {
            capacity,
            variant: None,
            compression: None,
            block_size: None,
            seed: [0; 32],
            time: 0,
            file_name: "disk.img".to_owned(),
        },
        sum: None,
        verify: false,
        content: false,
        trust_source: false,
        recompress: false,
        overwrite: false,
        hold: false,
    }
}

/// The network as something to write to.
struct Pipe(Parts);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let part = bytes::Bytes::copy_from_slice(bytes);
        let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(part)).map(|()| bytes.len()).map_err(gone)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
