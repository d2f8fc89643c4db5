//! Doing it.

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::Context;

use crate::record::ContextRow;
use crate::request::{Addition, Request};

/// Carries out the request.
///
/// # Errors
/// `Conflict` for a name that is taken or built in, `Config` for a file that cannot be edited.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    match request {
        Request::List => list(cx),
        Request::Add(addition) => add(addition, cx),
        Request::Use(name) => use_context(&name, cx),
        Request::Remove(name) => remove(&name, cx),
    }
}

fn list(cx: &mut Context) -> Result<()> {
    let rows = cx.config.contexts().into_iter().map(|context| ContextRow::new(context, &cx.config));
    let rows: Vec<_> = rows.collect();
    cx.printer.all(&rows)
}

fn add(addition: Addition, cx: &mut Context) -> Result<()> {
    let make_current = addition.make_current;
    let draft = addition.draft();
    let mut edited = cx.config.with_context(&draft)?;
    if make_current {
        edited = edited.with_current(&draft.name)?;
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

fn remove(name: &str, cx: &mut Context) -> Result<()> {
    let row = ContextRow::new(cx.config.context(name)?, &cx.config);
    let edited = cx.config.without_context(name)?;
    edited.save()?;
    cx.remarks.say(&format!("removed from {}", edited.path().display()));
    cx.printer.one(&row)
}

fn print(name: &str, config: &Config, cx: &mut Context) -> Result<()> {
    let row = ContextRow::new(config.context(name)?, config);
    cx.printer.one(&row)
}
