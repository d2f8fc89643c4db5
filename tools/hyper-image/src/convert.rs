//! `hyper image convert`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper_common::error::{Error, ErrorKind, Result, ResultExt};
use hyper_common::fs::{Target as Place, write_small};
use hyper_common::history::ArtifactEntry;
use hyper_common::image::{ImageFormat, StreamImage, registry};
use hyper_common::progress::Reporter;
use hyper_common::sink::PipeSink;
use hyper_common::tool::write_flags::{PlanSource, WriteRequest};
use hyper_common::tool::{Context, JournaledRun};
use hyper_common::transfer::{
    Destination, Engine, ImagePlan, ImageSource, WrittenImage, image_extents, image_stream_extents,
};
use serde::Serialize;

use crate::args::ConvertArgs;
use crate::open::{OpenRequest, Opened, open};
use crate::record::{Converted, Plan};

/// What to convert, and how.
#[derive(Debug, Serialize)]
pub struct Request {
    source: PathBuf,
    target: PathBuf,
    format: ImageFormat,
    size: Option<u64>,
    write: WriteRequest,
    dry_run: bool,
}

fn is_pipe(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl Request {
    /// Checks the arguments.
    pub fn new(args: ConvertArgs) -> Result<Self> {
        let format = match args.format {
            Some(format) => format,
            None => ImageFormat::of_suffix(&args.target.to_string_lossy()).ok_or_else(|| {
                Error::usage("the name of what is written tells no format")
                    .with_subject(args.target.display().to_string())
                    .with_hint("give --format, such as --format qcow2")
            })?,
        };
        let write = args.write.request(format)?;
        if is_pipe(&args.source) && write.from_format.is_none() {
            return Err(Error::usage("standard input does not say what format it is")
                .with_hint("give --from-format raw, vmdk or vhd"));
        }
        if args.size.is_some() && !is_pipe(&args.source) {
            return Err(Error::usage(
                "--size is for what comes through standard input; a file has one",
            ));
        }
        if is_pipe(&args.target) && write.verify {
            return Err(Error::usage("what goes into a pipe cannot be read back")
                .with_hint("leave out --verify, or write to a file"));
        }
        Ok(Self {
            source: args.source,
            target: args.target,
            format,
            size: args.size,
            write,
            dry_run: args.dry_run.dry_run,
        })
    }
}

/// Converts one image.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    let to_pipe = is_pipe(&request.target);
    if to_pipe {
        cx.printer.yield_stdout();
    }
    let source = Source::open(&request).await?;
    let plan = plan(&request, &source, to_pipe)?;
    let padding = plan.options.capacity - source.image.capacity;
    if padding > 0 {
        cx.remarks.say(&format!(
            "{} has {} bytes; {padding} zeros are added, because disks are counted in sectors of 512",
            source.image.name, source.image.capacity
        ));
    }
    if request.dry_run {
        return cx.printer.one(&Plan {
            source: source.image.name.clone(),
            path: request.target.display().to_string(),
            format: plan.format.to_string(),
            capacity_bytes: plan.options.capacity,
            padding_bytes: padding,
        });
    }
    let target = request.target.display().to_string();
    let run = cx.begin_run("hyper-image", &request, &[&source.image.name], &[&target])?;
    let outcome = convert(&request, &source, &plan, cx, &run).await;
    let ended = run.end_one(outcome.as_ref().map(|record| record.size_bytes));
    let record = outcome?;
    ended?;
    cx.printer.one(&record)
}

async fn convert(
    request: &Request,
    source: &Source,
    plan: &ImagePlan,
    cx: &Context,
    run: &JournaledRun,
) -> Result<Converted> {
    let began = Instant::now();
    let engine = Engine::new(&request.write.engine(), cx.cancel.clone())?;
    let progress = cx.start_progress();
    let reporter = progress.reporter();
    let passes = if plan.verify { 2 } else { 1 };
    reporter.expect(plan.options.capacity.saturating_mul(passes));
    let (to, _leftover) = destination(&request.target, plan, cx, run)?;
    let disk = reporter.disk(&source.image.name, plan.options.capacity);
    let written = engine.write_image(&source.image, plan, to, disk).await?;
    tell(&written, reporter.as_ref(), &source.image);
    if let Err(error) = source.check_unchanged() {
        written.discard();
        return Err(error);
    }
    written.commit()?;
    if let Some(file) = &written.beside {
        write_small(&request.target.with_file_name(&file.name), &file.bytes, plan.overwrite)?;
    }
    let path = request.target.display().to_string();
    let record = Converted {
        source: source.image.name.clone(),
        path: path.clone(),
        format: plan.format.to_string(),
        capacity_bytes: plan.options.capacity,
        data_bytes: written.data_bytes,
        size_bytes: written.size,
        checksum: written.sum.as_ref().map(ToString::to_string),
        verified: written.verified,
        reused_bytes: written.reused_bytes,
        seconds: began.elapsed().as_secs_f64(),
    };
    run.artifact(ArtifactEntry {
        path,
        format: Some(record.format.clone()),
        size_bytes: written.size,
        checksums: written
            .sum
            .iter()
            .map(|sum| (sum.kind.name().into(), sum.hex.clone()))
            .collect(),
        verified: written.verified,
        source: Some(record.source.clone()),
    })?;
    Ok(record)
}

fn tell(written: &WrittenImage, reporter: &dyn Reporter, source: &ImageSource<'_>) {
    if written.reused_bytes > 0 {
        reporter.note(&format!(
            "{}: {} of {} bytes were there from an earlier run",
            source.name, written.reused_bytes, source.capacity
        ));
    }
    for finding in &written.findings {
        reporter.warn(&format!("{}: {finding}", source.name));
    }
}

/// Where the image goes; a file's partial names are journaled before they are made.
fn destination(
    target: &Path,
    plan: &ImagePlan,
    cx: &Context,
    run: &JournaledRun,
) -> Result<(Destination, Option<hyper_common::cancel::Leftover>)> {
    if is_pipe(target) {
        return Ok((Destination::Sink(Arc::new(PipeSink::stdout()?)), None));
    }
    let place = Place::new(&plan.data_file(target))?;
    if Place::new(target)?.exists() && !plan.overwrite {
        return Err(Error::conflict("the file exists")
            .with_subject(target.display().to_string())
            .with_hint("give --overwrite to replace it, or another name"));
    }
    run.making_file(&place)?;
    let leftover = cx.cancel.leftover(place.partial_path().display().to_string());
    Ok((Destination::File(target.to_path_buf()), Some(leftover)))
}

fn plan(request: &Request, source: &Source, to_pipe: bool) -> Result<ImagePlan> {
    let image = &source.image;
    let about = PlanSource {
        name: &source.stable_name,
        capacity: image.capacity,
        modified: source.modified,
    };
    let name = request.target.file_name().map_or("-".into(), |name| name.to_string_lossy());
    let plan = request.write.plan(request.format, &about, &name).subject(|| image.name.clone())?;
    if to_pipe {
        plan.check_pipe()?;
    }
    Ok(plan)
}

/// What is left to read of standard input, where that is a file.
fn remaining(mut file: &std::fs::File) -> Option<u64> {
    use std::io::Seek;
    let found = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    found.len().checked_sub(file.stream_position().ok()?)
}

/// The image that is read.
struct Source {
    image: ImageSource<'static>,
    stable_name: String,
    modified: i64,
    opened: Option<Opened>,
}

impl Source {
    async fn open(request: &Request) -> Result<Self> {
        if is_pipe(&request.source) {
            return Self::of_stdin(request).await;
        }
        let how = OpenRequest {
            from_format: request.write.from_format,
            allow_path: request.write.allow_path.clone(),
        };
        let opened = open(&request.source, &how).await.map_err(|error| {
            let name = request.source.to_string_lossy().to_ascii_lowercase();
            let package = [".ova", ".ovf", ".ova.gz", ".ova.zst", ".vmx", ".xml"];
            if package.iter().any(|suffix| name.ends_with(suffix)) {
                return error.with_hint("this describes a machine: use hyper export");
            }
            error
        })?;
        let image = opened.image.clone();
        let modified = opened.local.files.modified_seconds();
        Ok(Self {
            image: ImageSource {
                name: request.source.display().to_string(),
                capacity: image.capacity(),
                block_size: image.block_size(),
                identity: Some(opened.local.files.identity()),
                read: Box::new(move |range| image_extents(image.clone(), range)),
            },
            stable_name: request
                .source
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            modified,
            opened: Some(opened),
        })
    }

    async fn of_stdin(request: &Request) -> Result<Self> {
        use std::os::fd::AsFd;
        let (format, size) = (request.write.from_format, request.size);
        let opened = tokio::task::spawn_blocking(move || -> Result<Box<dyn StreamImage>> {
            let input = std::io::stdin().as_fd().try_clone_to_owned();
            let input = input.map_err(|error| Error::io("open standard input", error))?;
            let file = std::fs::File::from(input);
            let size = size.or_else(|| remaining(&file));
            let format = format.unwrap_or(ImageFormat::Raw);
            registry::open_stream(format, Box::new(file), size).map_err(|error| {
                let error = Error::from(error);
                if matches!(format, ImageFormat::Raw | ImageFormat::Vhd) && size.is_none() {
                    return error.with_hint("say how many bytes come: --size BYTES");
                }
                error
            })
        });
        let opened = opened
            .await
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "open standard input").with_source(error)
            })?
            .subject(|| "standard input")?;
        let (capacity, block_size) = (opened.capacity(), opened.block_size());
        let stream = Mutex::new(Some(opened));
        Ok(Self {
            image: ImageSource {
                name: "standard input".into(),
                capacity,
                block_size,
                // A pipe cannot come again: nothing of it is ever reused.
                identity: None,
                read: Box::new(move |range| {
                    match stream.lock().unwrap_or_else(PoisonError::into_inner).take() {
                        Some(stream) => image_stream_extents(stream, range.start),
                        None => Box::pin(futures::stream::empty()),
                    }
                }),
            },
            stable_name: "standard input".into(),
            modified: 0,
            opened: None,
        })
    }

    fn check_unchanged(&self) -> Result<()> {
        self.opened.as_ref().map_or(Ok(()), |opened| opened.local.files.check_unchanged())
    }
}
