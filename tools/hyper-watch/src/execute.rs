//! Running a command of the user's at a change. What the platform says reaches it through
//! variables and standard input alone, never through the command line.

use std::process::Stdio;

use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::output::Record;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::item::Item;
use crate::screen::Seen;

/// Runs `line` by the shell and waits for its end.
///
/// # Errors
/// `Io` where it cannot be started or ends with a failure; `Interrupted` or `TimedOut` when asked
/// to stop.
pub async fn execute(line: &str, seen: &Seen, cancel: &Cancel) -> Result<()> {
    let record = match seen.machines {
        true => text(&seen.vm_row())?,
        false => text(&seen.object_row())?,
    };
    let item = seen.item.as_ref();
    let of = |field: fn(&Item) -> Option<&str>| item.and_then(field).unwrap_or_default();
    let fail = |words: &str| Error::new(ErrorKind::Io, words.to_owned()).with_subject(line);
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .env("HYPER_EVENT", seen.event.word())
        .env("HYPER_KIND", seen.kind)
        .env("HYPER_NAME", of(|item| Some(item.name())))
        .env("HYPER_VM", of(Item::machine))
        .env("HYPER_CONTEXT", &seen.context)
        .env("HYPER_NAMESPACE", of(Item::namespace))
        .env("HYPER_STATUS", of(Item::state))
        .stdin(Stdio::piped())
        // Standard output is for records.
        .stdout(std::io::stderr())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| fail("run the command").with_source(error))?;
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read its input is no failure.
        let _ = input.write_all(record.as_bytes()).await;
    }
    let status = tokio::select! {
        status = child.wait() => status.map_err(|error| fail("wait for the command").with_source(error))?,
        () = cancel.cancelled() => return cancel.check(),
    };
    if status.success() { Ok(()) } else { Err(fail(&format!("the command failed: {status}"))) }
}

/// The record in one line.
fn text<R: Record>(row: &R) -> Result<String> {
    let mut record = serde_json::to_value(row).map_err(|error| {
        Error::new(ErrorKind::Internal, "write the record of a change").with_source(error)
    })?;
    if let Some(fields) = record.as_object_mut() {
        fields.insert("schema".to_owned(), R::SCHEMA.into());
    }
    Ok(format!("{record}\n"))
}
