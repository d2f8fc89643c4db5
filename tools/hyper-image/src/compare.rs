//! `hyper image compare`.

use std::path::PathBuf;

use hyper_common::error::{Error, Result};
use hyper_common::progress::{DiskEnd, Phase};
use hyper_common::tool::Context;
use hyper_common::transfer::{Engine, EngineOptions, first_difference};
use serde::Serialize;

use crate::args::CompareArgs;
use crate::open::{OpenRequest, Opened, open};
use crate::record::Compared;

/// Which images to compare.
#[derive(Debug, Serialize)]
pub struct Request {
    left: PathBuf,
    right: PathBuf,
    open: OpenRequest,
}

impl From<CompareArgs> for Request {
    fn from(args: CompareArgs) -> Self {
        Self { left: args.left, right: args.right, open: args.open.into() }
    }
}

/// Prints one record; images that differ end with `Integrity`.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    let (left, right) =
        (open(&request.left, &request.open).await?, open(&request.right, &request.open).await?);
    let names = [request.left.display().to_string(), request.right.display().to_string()];
    let engine = Engine::new(&EngineOptions::default(), cx.cancel.clone())?;
    let progress = cx.start_progress();
    let reporter = progress.reporter();
    let read = async |opened: &Opened, name: &str| {
        let disk = reporter.disk(name, opened.image.capacity());
        disk.phase(Phase::Verify);
        let content = engine.content(name, opened.image.clone(), disk.clone()).await;
        disk.finish(if content.is_ok() { DiskEnd::Done } else { DiskEnd::Failed });
        content
    };
    let (a, b) = tokio::try_join!(read(&left, &names[0]), read(&right, &names[1]))?;
    let region = a.first_difference(&b);
    let first = match region {
        None => None,
        Some(region) => {
            let (left, right) = (left.image.clone(), right.image.clone());
            let found = tokio::task::spawn_blocking(move || {
                first_difference(left.as_ref(), right.as_ref(), region)
            });
            found.await.map_err(|error| Error::integrity("compare").with_source(error))??
        }
    };
    let [left_name, right_name] = names;
    let record = Compared {
        left: left_name,
        right: right_name,
        equal: a.same_bytes(&b),
        left_bytes: left.image.capacity(),
        right_bytes: right.image.capacity(),
        first_difference: first,
    };
    drop(progress);
    cx.printer.one(&record)?;
    if record.equal {
        return Ok(());
    }
    let at = first.map_or(String::new(), |byte| format!(", first at guest byte {byte}"));
    Err(Error::integrity(format!("the images differ{at}")))
}
