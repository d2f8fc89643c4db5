//! Showing templates.

use hyper_common::error::Result;
use hyper_common::output::OutputFormat;
use hyper_common::provider::{Provider, TemplateKind};
use hyper_common::tool::Context;
use hyper_common::tool::contexts::Platforms;
use hyper_common::tool::machines::Reference;

use crate::record::{TemplateRow, facts};
use crate::run::{open, templates};

/// Prints the templates of some contexts. One that cannot be read is a warning where others can.
///
/// # Errors
/// As [`Context::gather`].
pub async fn list(platforms: &Platforms, kinds: &[TemplateKind], cx: &mut Context) -> Result<()> {
    let read = async |name: &str, provider: &dyn Provider| {
        let all = templates(provider)?.all_templates(kinds).await?.into_iter();
        let rows = all.map(|template| TemplateRow { context: name.to_owned(), template });
        Ok(rows.collect::<Vec<_>>())
    };
    let gathered = cx.gather(platforms, read).await?;
    if gathered.found.is_empty() {
        cx.remarks.say("there is no template here");
    }
    cx.printer.all(&gathered.found)?;
    gathered.end(cx)
}

/// Prints all about some templates.
///
/// # Errors
/// The first failure.
pub async fn get(
    templates: Vec<Reference>,
    kinds: &[TemplateKind],
    cx: &mut Context,
) -> Result<()> {
    let mut rows = Vec::new();
    for Reference { context, rest } in templates {
        let provider = open(&context, cx)?;
        let found = async { provider.templates()?.template(&rest, kinds).await };
        let template = cx.cancel.unless_cancelled(found).await?;
        rows.push(TemplateRow { context, template });
    }
    match (cx.printer.format(), rows.as_slice()) {
        (OutputFormat::Table, [row]) => cx.printer.all(&facts(row)),
        (_, [row]) => cx.printer.one(row),
        (_, rows) => cx.printer.all(rows),
    }
}
