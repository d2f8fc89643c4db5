//! Measuring what is used, in several places at once.

use std::collections::HashMap;

use futures::future::join_all;
use hyper_common::error::Result;
use hyper_common::provider::{EntityKind, Window};
use hyper_common::tool::Context;

use crate::record::UsageRow;
use crate::request::Place;
use crate::run::Source;

/// Measures, and prints a row for each value.
///
/// # Errors
/// As [`hyper_common::error::Error::of_several`]; `Interrupted` or `TimedOut` when asked to stop.
pub async fn run(
    sources: &[Source],
    kind: EntityKind,
    places: &[Place],
    window: &Window,
    cx: &mut Context,
) -> Result<()> {
    let references = |source: &Source| {
        let place = places.iter().find(|place| place.context == source.context);
        place.map_or(&[][..], |place| place.references.as_slice())
    };
    let work = sources.iter().map(|source| measure(source, kind, references(source), window, cx));
    let found = join_all(work).await;
    cx.cancel.check()?;
    let (mut failures, mut silent) = (Vec::new(), Vec::new());
    let mut list = cx.printer.list();
    for measured in found {
        match measured {
            Ok(measured) => {
                measured.rows.iter().try_for_each(|row| list.push(row))?;
                silent.extend(measured.silent);
            }
            Err(error) => failures.push(error),
        }
    }
    if !list.is_empty() || failures.is_empty() {
        list.finish()?;
    }
    for name in silent {
        cx.remarks.say(&format!("{name}: there are no values of it; does it run?"));
    }
    cx.end_of_several(failures, sources.len(), "contexts")
}

/// What was measured in a context.
struct Measured {
    rows: Vec<UsageRow>,
    /// Of these there is nothing.
    silent: Vec<String>,
}

async fn measure(
    source: &Source,
    kind: EntityKind,
    references: &[String],
    window: &Window,
    cx: &Context,
) -> Result<Measured> {
    let metrics = source.metrics()?;
    let work = async {
        let entities = metrics.entities(kind, references).await?;
        let usage = metrics.usage(&entities, window).await?;
        Ok((entities, usage))
    };
    let (entities, usage) = cx.cancel.unless_cancelled(work).await?;
    let by_id: HashMap<&str, _> = entities.iter().map(|it| (it.id.as_str(), it)).collect();
    let mut heard: HashMap<&str, bool> = by_id.keys().map(|id| (*id, false)).collect();
    let mut rows = Vec::with_capacity(usage.len());
    for usage in usage {
        let Some(entity) = by_id.get(usage.id.as_str()) else { continue };
        heard.insert(entity.id.as_str(), true);
        rows.push(UsageRow::new(&source.context, entity, usage));
    }
    let silent = entities.iter().filter(|it| heard.get(it.id.as_str()) == Some(&false));
    let silent = silent.map(|it| format!("{}:{}", source.context, it.name)).collect();
    Ok(Measured { rows, silent })
}
