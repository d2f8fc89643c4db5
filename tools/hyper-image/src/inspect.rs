//! `hyper image inspect`.

use std::path::PathBuf;

use hyper_common::error::Result;
use hyper_common::tool::Context;
use serde::Serialize;

use crate::args::InspectArgs;
use crate::open::{OpenRequest, open};
use crate::record::Inspected;

/// Which images to inspect.
#[derive(Debug, Serialize)]
pub struct Request {
    images: Vec<PathBuf>,
    open: OpenRequest,
}

impl From<InspectArgs> for Request {
    fn from(args: InspectArgs) -> Self {
        Self { images: args.images, open: args.open.into() }
    }
}

/// Prints a record for each image.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    let mut records = Vec::new();
    for path in &request.images {
        let opened = open(path, &request.open).await?;
        records.push(Inspected {
            path: path.display().to_string(),
            info: opened.image.info(),
            size_bytes: opened.size,
        });
    }
    match records.as_slice() {
        [one] => cx.printer.one(one),
        many => cx.printer.all(many),
    }
}
