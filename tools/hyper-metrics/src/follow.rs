//! Following what is used: each value once, as it comes.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use futures::future::join_all;
use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::net::Contact;
use hyper_common::output::OutputFormat;
use hyper_common::provider::{EntityKind, Window};
use hyper_common::tool::Context;
use jiff::Timestamp;

use crate::live::Live;
use crate::record::UsageRow;
use crate::request::Place;
use crate::run::Source;
use crate::usage::{Found, find, measure};

/// The latest values that are asked for at most after a pause.
const MOST: u64 = 180;

/// Follows until somebody asks to stop. What is to be followed is looked up once; a server that
/// cannot be reached for a while is told once.
///
/// # Errors
/// What cannot be looked up or will never be told; `Interrupted` or `TimedOut`.
pub async fn run(
    sources: &[Source],
    kind: EntityKind,
    places: &[Place],
    every: Option<Duration>,
    cx: &mut Context,
) -> Result<()> {
    let (found, failures) = find(sources, kind, places, cx).await?;
    if found.iter().all(|it| it.entities.is_empty()) || !failures.is_empty() {
        cx.end_of_several(failures, sources.len(), "contexts")?;
        cx.remarks.say("there is nothing here to follow");
        return Ok(());
    }
    let table = matches!(cx.printer.format(), OutputFormat::Table | OutputFormat::Wide);
    let mut live = (table && std::io::stdout().is_terminal()).then(Live::default);
    let mut seen = Seen::default();
    let line = |it: &Found<'_>| Contact::new(&it.source.context).line();
    let mut contacts: Vec<_> = found.iter().map(line).collect();
    loop {
        let mut wait = every.unwrap_or(Duration::MAX);
        let work = found.iter().map(|found| async {
            let pace = found.source.metrics()?.pace();
            let samples = 1 + every.unwrap_or(pace).as_secs() / pace.as_secs().max(1);
            let samples = u32::try_from(samples.min(MOST)).unwrap_or(1);
            Ok::<_, Error>((pace, measure(found, &Window::Latest { samples }, cx).await?))
        });
        for (at, measured) in join_all(work).await.into_iter().enumerate() {
            match measured {
                Ok((pace, rows)) => {
                    contacts[at].works();
                    wait = every.unwrap_or(wait.min(pace));
                    let mut new = rows.into_iter().filter(|row| seen.is_new(row));
                    match &mut live {
                        Some(live) => new.for_each(|row| live.take(row)),
                        None => new.try_for_each(|row| cx.printer.next(&row))?,
                    }
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    wait = every.unwrap_or(wait.min(Duration::from_secs(10)));
                    contacts[at].lost(&error);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(live) = &mut live {
            live.draw()?;
        }
        if cx.printer.is_closed() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cx.cancel.cancelled() => return cx.cancel.check(),
        }
    }
}

/// Up to where each thing has been told.
#[derive(Default)]
struct Seen(HashMap<(String, String), Timestamp>);

impl Seen {
    fn is_new(&mut self, row: &UsageRow) -> bool {
        let key = (row.context().to_owned(), row.id().to_owned());
        let last = self.0.get(&key);
        let new = last.is_none_or(|last| row.timestamp() > *last);
        if new {
            self.0.insert(key, row.timestamp());
        }
        new
    }
}
