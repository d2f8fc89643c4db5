//! What happens, of all contexts at once, a line for each event.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::SelectAll;
use hyper_common::cancel::{Cancel, Reason};
use hyper_common::error::{Error, Result, one_line};
use hyper_common::output::Printer;
use hyper_common::provider::Told;
use hyper_common::tool::Context;
use tokio::time::{Instant, sleep_until};

use crate::cursor::Cursor;
use crate::merge::Merge;
use crate::request::Wanted;
use crate::source::{Sources, Tagged};

/// How long a cursor may be behind what was shown.
const BEHIND: Duration = Duration::from_secs(1);

/// How long the platforms may take to clean up after somebody asked to stop.
const LEAVE: Duration = Duration::from_secs(5);

/// Follows until somebody asks to stop, the reader goes away, or nothing is left to follow.
///
/// # Errors
/// The provider's; `Partial` where some of several contexts could not be followed.
pub async fn run(
    sources: &Sources,
    wanted: &Wanted,
    cursor: Cursor,
    cx: &mut Context,
) -> Result<()> {
    let stop = Cancel::new();
    let mut feeds: SelectAll<Tagged<'_>> =
        sources.streams(wanted, &cursor, &stop).into_iter().collect();
    // Nothing is to be waited for where there is one context.
    let delay = if sources.len() > 1 { wanted.delay } else { Duration::ZERO };
    let mut show = Show { wanted, cursor, merge: Merge::new(delay), saved: Instant::now() };
    let followed = show.follow(&mut feeds, sources.len(), cx).await;
    stop.cancel(Reason::Signal);
    let leave = async { while feeds.next().await.is_some() {} };
    let _ = tokio::time::timeout(LEAVE, leave).await;
    let rest = show.merge.rest();
    let shown = show.show(rest, cx).and_then(|()| show.cursor.save());
    followed.and(shown)
}

struct Show<'w> {
    wanted: &'w Wanted,
    cursor: Cursor,
    merge: Merge,
    /// When the cursor was written last.
    saved: Instant,
}

impl Show<'_> {
    async fn follow(
        &mut self,
        feeds: &mut SelectAll<Tagged<'_>>,
        total: usize,
        cx: &mut Context,
    ) -> Result<()> {
        let mut failures = Vec::new();
        loop {
            let due = self.merge.due();
            let save = self.cursor.is_stale().then(|| self.saved + BEHIND);
            tokio::select! {
                biased;
                () = cx.cancel.cancelled() => return cx.cancel.check(),
                () = Printer::reader_gone() => return Ok(()),
                () = until(due) => {}
                () = until(save) => {
                    self.cursor.save()?;
                    self.saved = Instant::now();
                }
                step = feeds.next() => match step {
                    None => break,
                    Some((context, Ok(told))) => self.merge.take(context, told, Instant::now()),
                    Some((context, Err(error))) => {
                        let error = error.with_subject(context);
                        if total > 1 {
                            cx.remarks.warn(&one_line(&error));
                        }
                        failures.push(error);
                    }
                },
            }
            let given = self.merge.give(Instant::now());
            self.show(given, cx)?;
            if cx.printer.is_closed() {
                return Ok(());
            }
        }
        Error::of_several(failures, total, |failed| {
            format!("{failed} of {total} contexts could not be followed")
        })
    }

    fn show(&mut self, given: Vec<(String, Told)>, cx: &mut Context) -> Result<()> {
        for (context, Told { event, place }) in given {
            if self.wanted.filter.accepts(&event) {
                cx.printer.next(&event)?;
            }
            if !cx.printer.is_closed() {
                self.cursor.pass(&context, place);
            }
        }
        Ok(())
    }
}

/// Waits until a moment; for ever where there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
