//! Counting what there is, in several places at once.

use std::collections::HashSet;

use futures::future::join_all;
use hyper_common::error::Result;
use hyper_common::output::OutputFormat;
use hyper_common::provider::Summary;
use hyper_common::tool::{Context, SaveFlags};
use jiff::Timestamp;

use crate::record::{SummaryRow, figures};
use crate::run::Source;

/// How a summary's file is called before its date.
const STEM: &str = "k8s-metrics";

/// Counts, and prints a row for each place and one for all.
///
/// # Errors
/// As [`hyper_common::error::Error::of_several`]; `Interrupted` or `TimedOut` when asked to stop.
pub async fn run(sources: &[Source], save: SaveFlags, cx: &mut Context) -> Result<()> {
    let saving = cx.save(save, STEM)?;
    let found = join_all(sources.iter().map(|source| read(source, cx))).await;
    cx.cancel.check()?;
    let now = Timestamp::now();
    let all = total(found.iter().flatten());
    let (known, asked) = (found.iter().flatten().count(), found.len());
    if matches!(cx.printer.format(), OutputFormat::Csv) {
        if known > 0 {
            cx.printer.all(&figures(now, &all))?;
        }
    } else {
        let mut rows: Vec<_> = sources
            .iter()
            .zip(&found)
            .map(|(source, it)| SummaryRow::of(source, now, it))
            .collect();
        // With one place alone a person needs no second row of the same numbers.
        if asked > 1 || cx.printer.format().is_machine() {
            rows.push(SummaryRow::all(now, &all));
        }
        cx.printer.all(&rows)?;
    }
    if let (Some(saving), true) = (saving, known > 0) {
        saving.commit(cx)?;
    }
    let failures = sources.iter().zip(found);
    let failures = failures.filter_map(|(source, it)| Some(source.named(it.err()?))).collect();
    cx.end_of_several(failures, asked, "contexts")
}

async fn read(source: &Source, cx: &Context) -> Result<Summary> {
    cx.cancel.unless_cancelled(source.metrics()?.summary()).await
}

/// Everything together; a place to which several contexts lead counts once.
fn total<'s>(all: impl Iterator<Item = &'s Summary>) -> Summary {
    let (mut total, mut places) = (Summary::default(), HashSet::new());
    for summary in all.filter(|it| places.insert(it.place.as_str())) {
        total.add(summary);
    }
    total
}
