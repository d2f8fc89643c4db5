//! What happened, of all contexts in one order.

use std::pin::Pin;

use futures::StreamExt;
use futures::stream::Peekable;
use hyper_common::cancel::{Cancel, Reason};
use hyper_common::error::{Error, Result, one_line};
use hyper_common::provider::{Told, VmEvent};
use hyper_common::tool::Context;
use jiff::Timestamp;

use crate::cursor::Cursor;
use crate::request::Wanted;
use crate::source::{Sources, Tagged};

/// Shows the events that there are.
///
/// # Errors
/// The provider's; `Partial` where some of several contexts failed.
pub async fn run(
    sources: &Sources,
    wanted: &Wanted,
    mut cursor: Cursor,
    cx: &mut Context,
) -> Result<()> {
    let stop = Cancel::new();
    let mut heads: Vec<Peekable<Tagged<'_>>> =
        sources.streams(wanted, &cursor, &stop).into_iter().map(StreamExt::peekable).collect();
    let mut list = cx.printer.list::<VmEvent>();
    let mut failures = Vec::new();
    let mut shown = false;
    loop {
        let step = tokio::select! {
            step = next(&mut heads) => step,
            () = cx.cancel.cancelled(), if !stop.is_cancelled() => {
                stop.cancel(Reason::Signal);
                continue;
            }
        };
        match step {
            None => break,
            Some((_, Ok(_))) if stop.is_cancelled() => {}
            Some((context, Ok(Told { event, place }))) => {
                if wanted.filter.accepts(&event) {
                    list.push(&event)?;
                    shown = true;
                }
                cursor.pass(context, place);
            }
            Some((context, Err(error))) => {
                let error = error.with_subject(context);
                if sources.len() > 1 {
                    cx.remarks.warn(&one_line(&error));
                }
                failures.push(error);
            }
        }
    }
    cx.cancel.check()?;
    if !shown && failures.is_empty() {
        cx.remarks.say("no events here pass");
    }
    if failures.len() < sources.len() {
        list.finish()?;
        cursor.save()?;
    }
    Error::of_several(failures, sources.len(), |failed| {
        format!("{failed} of {} contexts did not tell what happened", sources.len())
    })
}

/// The earliest event of all, an error before any. A stream that has ended is dropped.
async fn next<'p>(heads: &mut Vec<Peekable<Tagged<'p>>>) -> Option<(&'p str, Result<Told>)> {
    let mut first: Option<(Timestamp, usize)> = None;
    let mut ended = Vec::new();
    for (index, head) in heads.iter_mut().enumerate() {
        let time = match Pin::new(head).peek().await {
            None => {
                ended.push(index);
                continue;
            }
            Some((_, Err(_))) => Timestamp::MIN,
            Some((_, Ok(told))) => told.event.created_time,
        };
        if first.is_none_or(|(earliest, _)| time < earliest) {
            first = Some((time, index));
        }
    }
    let found = match first {
        Some((_, index)) => heads.get_mut(index)?.next().await,
        None => None,
    };
    for index in ended.into_iter().rev() {
        drop(heads.remove(index));
    }
    found
}
