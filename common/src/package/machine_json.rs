//! `NAME.machine.json`: the neutral description of a machine, with its schema.

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::vm::Machine;

/// Name and version of the format.
pub const SCHEMA: &str = "hyper.machine/v1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(flatten)]
    machine: &'a Machine,
}

/// The description as JSON with a line end.
///
/// # Errors
/// `Internal` where it cannot be serialised.
pub fn machine_json(machine: &Machine) -> Result<String> {
    let text = serde_json::to_string_pretty(&Document { schema: SCHEMA, machine });
    let text = text.map_err(|error| {
        Error::new(ErrorKind::Internal, "describe the machine").with_source(error)
    })?;
    Ok(text + "\n")
}
