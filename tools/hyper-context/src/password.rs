//! Passwords that are kept for a context, each in a file of its own beside the configuration.

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use hyper_common::config::Secret;
use hyper_common::error::{Error, Result};

/// Longest password, in bytes.
const LONGEST: u64 = 64 << 10;

/// Reads a password from a file descriptor that the caller's shell opened.
pub fn read(descriptor: u32) -> Result<Secret> {
    let fail = |error| {
        Error::io(format!("read the password from file descriptor {descriptor}"), error).with_hint(
            format!("open it on the same line: --password-fd {descriptor} {descriptor}<FILE"),
        )
    };
    let mut text = String::new();
    File::open(format!("/dev/fd/{descriptor}"))
        .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
        .map_err(fail)?;
    let secret = Secret::of_line(&text);
    if secret.is_empty() {
        return Err(Error::usage(format!("there is no password in file descriptor {descriptor}")));
    }
    Ok(secret)
}

/// Keeps a password, readable by its owner alone.
pub fn keep(file: &Path, password: &Secret) -> Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
            Error::io("make the folder for passwords", error)
                .with_subject(folder.display().to_string())
        })?;
    }
    // Whoever reads it takes one line end away.
    let line = format!("{}\n", password.expose());
    hyper_common::fs::write_atomic(file, line.as_bytes(), 0o600)
}

/// Removes a kept password, if there is one.
pub fn forget(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove the password", error).with_subject(file.display().to_string()))
        }
        _ => Ok(()),
    }
}
