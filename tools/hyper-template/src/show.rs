//! Showing templates.

use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::output::OutputFormat;
use hyper_common::provider::TemplateKind;
use hyper_common::tool::Context;
use hyper_common::tool::machines::Reference;

use crate::record::{TemplateRow, facts};
use crate::run::open;

/// Prints the templates of some contexts. One that cannot be read is a warning where others can.
///
/// # Errors
/// The failure of the only context; `Partial` where some could be read.
pub async fn list(contexts: Vec<String>, kinds: &[TemplateKind], cx: &mut Context) -> Result<()> {
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    let total = contexts.len();
    for context in contexts {
        let found = async {
            let provider = open(&context, cx)?;
            provider.templates()?.all_templates(kinds).await
        };
        match cx.cancel.unless_cancelled(found).await {
            Ok(found) => rows.extend(
                found
                    .into_iter()
                    .map(|template| TemplateRow { context: context.clone(), template }),
            ),
            Err(error) => failures.push(error.with_subject(context)),
        }
    }
    cx.cancel.check()?;
    // A list that could not be had must not look like an empty one.
    if failures.len() < total {
        cx.printer.all(&rows)?;
    }
    if rows.is_empty() && failures.is_empty() {
        cx.remarks.say("there is no template here");
    }
    if total > 1 {
        for error in &failures {
            cx.remarks.warn(&one_line(error));
        }
    }
    match (failures.len(), failures.pop()) {
        (_, None) => Ok(()),
        (1, Some(error)) if total == 1 => Err(error),
        (failed, Some(error)) => {
            let kind = if failed == total { error.kind() } else { ErrorKind::Partial };
            Err(Error::new(kind, format!("{failed} of {total} contexts could not be read")))
        }
    }
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
