//! Doing it.

use std::time::Duration;

use futures::StreamExt;
use hyper_common::config::{Config, ContextConfig};
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::provider::facets::capability::capabilities;
use hyper_common::provider::{ServerInfo, registry};
use hyper_common::tool::Context;

use crate::password;
use crate::record::{CapabilityRow, ContextRow, ProbedRow, TestRow};
use crate::request::{Addition, Request};

/// Contexts that are asked at the same time.
const AT_ONCE: usize = 16;

/// How long a list waits for each of them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries out the request.
///
/// # Errors
/// `Conflict` for a name that is taken or built in, `Config` for a file that cannot be edited.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    match request {
        Request::List { probe: false } => list(cx),
        Request::List { probe: true } => list_probed(cx).await,
        Request::Add(addition) => add(*addition, cx),
        Request::Use(name) => use_context(&name, cx),
        Request::Remove(name) => remove(&name, cx).await,
        Request::Logout(name) => log_out(&name, cx).await,
        Request::Test(names) => test(&names, cx).await,
        Request::Capabilities(name) => show_capabilities(&name, cx),
    }
}

fn list(cx: &mut Context) -> Result<()> {
    let rows = cx.config.contexts().into_iter().map(|context| ContextRow::new(context, &cx.config));
    let rows: Vec<_> = rows.collect();
    cx.printer.all(&rows)
}

fn add(addition: Addition, cx: &mut Context) -> Result<()> {
    let (make_current, password) = (addition.make_current, addition.password_fd);
    let draft = addition.draft();
    let mut edited = cx.config.with_context(&draft)?;
    if make_current {
        edited = edited.with_current(&draft.name)?;
    }
    // What cannot be opened is not worth keeping.
    registry::open(&edited.context(&draft.name)?)?;
    let file = edited.password_file(&draft.name);
    match password {
        Some(descriptor) => password::keep(&file, &password::read(descriptor)?)?,
        // An earlier context of this name may have left one.
        None => password::forget(&file)?,
    }
    edited.save()?;
    cx.remarks.say(&format!("added to {}", edited.path().display()));
    print(&draft.name, &edited, cx)
}

fn use_context(name: &str, cx: &mut Context) -> Result<()> {
    let edited = cx.config.with_current(name)?;
    edited.save()?;
    print(name, &edited, cx)
}

async fn remove(name: &str, cx: &mut Context) -> Result<()> {
    let context = cx.config.context(name)?;
    let edited = cx.config.without_context(name)?;
    // Before it is gone: nobody could end its login later. A server that is down is no reason to
    // keep it.
    let ended = async { registry::open(&context)?.log_out().await };
    if let Err(error) = ended.await {
        cx.remarks.warn(&one_line(&error.context("its login could not be ended")));
    }
    let row = ContextRow::new(context, &cx.config);
    edited.save()?;
    password::forget(&cx.config.password_file(name))?;
    cx.remarks.say(&format!("removed from {}", edited.path().display()));
    cx.printer.one(&row)
}

async fn log_out(name: &str, cx: &mut Context) -> Result<()> {
    let context = cx.config.context(name)?;
    if !registry::open(&context)?.log_out().await? {
        cx.remarks.say("no login was kept");
    }
    cx.printer.one(&ContextRow::new(context, &cx.config))
}

fn print(name: &str, config: &Config, cx: &mut Context) -> Result<()> {
    let row = ContextRow::new(config.context(name)?, config);
    cx.printer.one(&row)
}

/// Shows all contexts with what they say about themselves.
async fn list_probed(cx: &mut Context) -> Result<()> {
    let asked = cx.config.contexts().into_iter().map(async |context| {
        let answer = tokio::time::timeout(PATIENCE, probe(&context)).await;
        let answer = answer.unwrap_or_else(|_| {
            let limit = PATIENCE.as_secs();
            Err(Error::new(ErrorKind::Unavailable, format!("no answer within {limit} s")))
        });
        (context, answer)
    });
    let mut asked = futures::stream::iter(asked).buffered(AT_ONCE);
    let mut list = cx.printer.list();
    while let Some((context, answer)) =
        cx.cancel.unless_cancelled(async { Ok(asked.next().await) }).await?
    {
        let context = ContextRow::new(context, &cx.config);
        list.push(&ProbedRow::new(context, answer.as_ref()))?;
    }
    list.finish()
}

async fn probe(context: &ContextConfig) -> Result<ServerInfo> {
    registry::open(context)?.probe().await
}

/// Asks all at the same time; a row for each, in their order.
async fn test(names: &[String], cx: &mut Context) -> Result<()> {
    let contexts = names.iter().map(|name| cx.config.context(name)).collect::<Result<Vec<_>>>()?;
    let asked = contexts.into_iter().map(async |context| {
        let answer = probe(&context).await;
        (context, answer)
    });
    let mut asked = futures::stream::iter(asked).buffered(AT_ONCE);
    let mut failures = Vec::new();
    while let Some((context, answer)) =
        cx.cancel.unless_cancelled(async { Ok(asked.next().await) }).await?
    {
        let name = context.name.clone();
        cx.printer.next(&TestRow::new(context, answer.as_ref()))?;
        failures.extend(answer.err().map(|error| error.context(format!("context {name:?}"))));
    }
    match failures.pop() {
        None => Ok(()),
        Some(only) if names.len() == 1 => Err(only),
        Some(_) => {
            let failed = failures.len() + 1;
            let message = format!("{failed} of {} contexts do not answer", names.len());
            Err(Error::new(ErrorKind::Partial, message))
        }
    }
}

fn show_capabilities(name: &str, cx: &mut Context) -> Result<()> {
    let provider = registry::open(&cx.config.context(name)?)?;
    let rows = capabilities(provider.as_ref())
        .into_iter()
        .map(|capability| CapabilityRow::new(name, provider.name(), capability));
    cx.printer.all(&rows.collect::<Vec<_>>())
}
