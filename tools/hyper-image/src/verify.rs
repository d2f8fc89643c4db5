//! `hyper image verify`.

use std::path::{Path, PathBuf};

use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::progress::{DiskEnd, Phase, Reporter};
use hyper_common::tool::Context;
use hyper_common::transfer::{Engine, EngineOptions};
use serde::Serialize;

use crate::args::VerifyArgs;
use crate::open::{OpenRequest, open};
use crate::record::Verified;

/// Which images to verify.
#[derive(Debug, Serialize)]
pub struct Request {
    images: Vec<PathBuf>,
    open: OpenRequest,
}

impl From<VerifyArgs> for Request {
    fn from(args: VerifyArgs) -> Self {
        Self { images: args.images, open: args.open.into() }
    }
}

/// Prints a record for each image; the first bad one decides the exit status.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    let engine = Engine::new(&EngineOptions::default(), cx.cancel.clone())?;
    let progress = cx.start_progress();
    let reporter = progress.reporter();
    let (mut failures, mut first) = (0, None);
    let many = request.images.len() > 1;
    for path in &request.images {
        let mut record = Verified {
            path: path.display().to_string(),
            format: String::new(),
            capacity_bytes: 0,
            content: None,
            status: "ok".into(),
            findings: Vec::new(),
        };
        let checked = check(path, &request.open, &engine, reporter.as_ref(), &mut record).await;
        if let Err(error) = checked {
            cx.cancel.check()?;
            record.status = one_line(&error);
            failures += 1;
            first.get_or_insert(error);
        }
        let mut printed = Ok(());
        reporter.suspend(&mut || {
            printed = if many { cx.printer.next(&record) } else { cx.printer.one(&record) };
        });
        printed?;
    }
    match first {
        None => Ok(()),
        Some(error) if request.images.len() == 1 => Err(error),
        Some(_) => Err(Error::new(
            ErrorKind::Partial,
            format!("{failures} of {} images are not good", request.images.len()),
        )),
    }
}

async fn check(
    path: &Path,
    how: &OpenRequest,
    engine: &Engine,
    reporter: &dyn Reporter,
    record: &mut Verified,
) -> Result<()> {
    let opened = open(path, how).await?;
    record.format = opened.format.to_string();
    record.capacity_bytes = opened.image.capacity();
    let name = path.display().to_string();
    let disk = reporter.disk(&name, record.capacity_bytes);
    disk.phase(Phase::Verify);
    let done = engine.check(&name, opened.image, disk.clone()).await;
    disk.finish(if done.is_ok() { DiskEnd::Done } else { DiskEnd::Failed });
    let (content, findings) = done?;
    record.content = Some(format!("blake3:{}", content.digest));
    record.findings = findings;
    Ok(())
}
