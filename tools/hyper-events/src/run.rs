//! From the request to what does it.

use hyper_common::error::Result;
use hyper_common::tool::Context;

use crate::cursor::Cursor;
use crate::request::{Request, What};
use crate::source::Sources;
use crate::{alarms, follow, list};

/// Shows what is asked for.
///
/// # Errors
/// The provider's; `Partial` where some of several contexts did not answer.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    let Request { contexts, what } = request;
    let wanted = match what {
        What::Alarms => return alarms::run(contexts.into_keys().collect(), cx).await,
        What::Events(wanted) => wanted,
    };
    let cursor = Cursor::load(wanted.cursor.as_deref(), wanted.save_cursor.clone())?;
    let sources = Sources::open(contexts, cx)?;
    let types = &wanted.filter.types;
    let unknown = cx.cancel.unless_cancelled(async { Ok(sources.unknown(types).await) }).await?;
    for (context, kind) in unknown {
        cx.remarks.warn(&format!("{context} describes no events of the type {kind:?}"));
    }
    match wanted.follow {
        true => follow::run(&sources, &wanted, cursor, cx).await,
        false => list::run(&sources, &wanted, cursor, cx).await,
    }
}
