//! Running a command of the user's at a change. What the platform says reaches it through
//! variables and standard input alone, never through the command line.

use std::process::Stdio;

use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::output::Record;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::record::{ChangeRow, word};

/// Runs `line` by the shell and waits for its end.
///
/// # Errors
/// `Io` where it cannot be started or ends with a failure; `Interrupted` or `TimedOut` when asked
/// to stop.
pub async fn execute(line: &str, row: &ChangeRow<'_>, cancel: &Cancel) -> Result<()> {
    let vm = row.vm;
    let mut record = serde_json::to_value(row).map_err(|error| {
        Error::new(ErrorKind::Internal, "write the record of a change").with_source(error)
    })?;
    if let Some(fields) = record.as_object_mut() {
        fields.insert("schema".to_owned(), <ChangeRow<'_> as Record>::SCHEMA.into());
    }
    let name = vm.map(|vm| vm.name.as_str()).unwrap_or_default();
    let namespace = vm.and_then(|vm| vm.namespace.as_deref()).unwrap_or_default();
    let fail = |words: &str| Error::new(ErrorKind::Io, words.to_owned()).with_subject(line);
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .env("HYPER_EVENT", row.event.word())
        .env("HYPER_VM", name)
        .env("HYPER_CONTEXT", row.context)
        .env("HYPER_NAMESPACE", namespace)
        .env("HYPER_STATUS", vm.map(word).unwrap_or_default())
        .stdin(Stdio::piped())
        // Standard output is for records.
        .stdout(std::io::stderr())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| fail("run the command").with_source(error))?;
    let text = format!("{record}\n");
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read its input is no failure.
        let _ = input.write_all(text.as_bytes()).await;
    }
    let status = tokio::select! {
        status = child.wait() => status.map_err(|error| fail("wait for the command").with_source(error))?,
        () = cancel.cancelled() => return cancel.check(),
    };
    if status.success() { Ok(()) } else { Err(fail(&format!("the command failed: {status}"))) }
}
