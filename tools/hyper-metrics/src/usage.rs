//! Measuring what is used, in several places at once.

use std::collections::{HashMap, HashSet};

use futures::future::join_all;
use hyper_common::error::{Error, Result};
use hyper_common::provider::{Entity, EntityKind, Window};
use hyper_common::tool::Context;

use crate::record::UsageRow;
use crate::request::Place;
use crate::run::Source;

/// Measures once, and prints a row for each value.
///
/// # Errors
/// As [`Error::of_several`]; `Interrupted` or `TimedOut` when asked to stop.
pub async fn run(
    sources: &[Source],
    kind: EntityKind,
    places: &[Place],
    window: &Window,
    cx: &mut Context,
) -> Result<()> {
    let (found, failures) = find(sources, kind, places, cx).await?;
    let measured = join_all(found.iter().map(|found| measure(found, window, cx))).await;
    cx.cancel.check()?;
    let (mut failures, mut silent, mut rollups) = (failures, Vec::new(), Vec::new());
    let mut list = cx.printer.list();
    for (found, measured) in found.iter().zip(measured) {
        match measured {
            Ok(rows) => {
                rows.iter().try_for_each(|row| list.push(row))?;
                silent.extend(found.silent(&rows));
                rollups.extend(rows.first().and_then(UsageRow::rollup).map(str::to_owned));
            }
            Err(error) => failures.push(error),
        }
    }
    if !list.is_empty() || failures.is_empty() {
        list.finish()?;
    }
    if matches!(window, Window::History { .. }) {
        rollups.dedup();
        rollups.iter().for_each(|words| cx.remarks.say(&format!("taken from: {words}")));
    }
    for name in silent {
        cx.remarks.say(&format!("{name}: there are no values of it; does it run?"));
    }
    cx.end_of_several(failures, sources.len(), "contexts")
}

/// What is measured in a context.
pub struct Found<'s> {
    /// The context.
    pub source: &'s Source,
    /// Things in it.
    pub entities: Vec<Entity>,
}

impl Found<'_> {
    /// Those of which there is nothing.
    fn silent(&self, rows: &[UsageRow]) -> Vec<String> {
        let heard: HashSet<&str> = rows.iter().map(UsageRow::id).collect();
        let silent = self.entities.iter().filter(|it| !heard.contains(it.id.as_str()));
        silent.map(|it| format!("{}:{}", self.source.context, it.name)).collect()
    }
}

/// Looks up what is to be measured, everywhere at once; what could not be had is told with it.
///
/// # Errors
/// `Interrupted` or `TimedOut` when asked to stop.
pub async fn find<'s>(
    sources: &'s [Source],
    kind: EntityKind,
    places: &[Place],
    cx: &Context,
) -> Result<(Vec<Found<'s>>, Vec<Error>)> {
    let look = |source: &'s Source| async move {
        let place = places.iter().find(|place| place.context == source.context);
        let references = place.map_or(&[][..], |place| place.references.as_slice());
        let work = async { source.metrics()?.entities(kind, references).await };
        let entities = cx.cancel.unless_cancelled(work).await.map_err(|it| source.named(it))?;
        Ok(Found { source, entities })
    };
    let looked = join_all(sources.iter().map(look)).await;
    cx.cancel.check()?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for it in looked {
        match it {
            Ok(it) => found.push(it),
            Err(error) => failures.push(error),
        }
    }
    Ok((found, failures))
}

/// The rows of a context.
///
/// # Errors
/// The provider's; `Interrupted` or `TimedOut` when asked to stop.
pub async fn measure(found: &Found<'_>, window: &Window, cx: &Context) -> Result<Vec<UsageRow>> {
    let source = found.source;
    let work = async { source.metrics()?.usage(&found.entities, window).await };
    let usage = cx.cancel.unless_cancelled(work).await.map_err(|it| source.named(it))?;
    let by_id: HashMap<&str, &Entity> =
        found.entities.iter().map(|it| (it.id.as_str(), it)).collect();
    let row = |usage: hyper_common::provider::Usage| {
        let entity = by_id.get(usage.id.as_str())?;
        Some(UsageRow::new(&source.context, entity, usage))
    };
    Ok(usage.into_iter().filter_map(row).collect())
}
