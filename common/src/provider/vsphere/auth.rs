//! Who logs in, and with which password: from the first place that has one.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::config::Endpoint;
use crate::config::{PasswordSource, Secret};
use crate::error::{Error, ErrorKind, Result};

/// Longest password that is read from a file or a command, in bytes.
const LONGEST: u64 = 64 << 10;

/// The user's name.
///
/// # Errors
/// `Auth` where the context names none; `Io` for govc's file that cannot be read.
pub fn user(endpoint: &Endpoint) -> Result<String> {
    let user = match endpoint.server.user.as_deref() {
        Some(user) if endpoint.server.user_may_be_file => text_or_file(user)?,
        Some(user) => user.to_owned(),
        None => String::new(),
    };
    if user.is_empty() {
        return Err(Error::new(ErrorKind::Auth, "the context names no user")
            .with_subject(endpoint.context.clone())
            .with_hint("name one: `user` in the configuration, or GOVC_USERNAME"));
    }
    Ok(user)
}

/// The user's password. Blocks: it may run a command and ask a person.
///
/// # Errors
/// `Auth` where there is none, or a file that others may read; `Io`; those of asking.
pub fn password(endpoint: &Endpoint, user: &str) -> Result<Secret> {
    for source in &endpoint.server.passwords {
        let found = match source {
            PasswordSource::Given(secret) => Some(secret.clone()),
            PasswordSource::GivenOrFile(secret) => {
                Some(Secret::new(text_or_file(secret.expose())?))
            }
            PasswordSource::Stored(file) => match read_private(file) {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                read => Some(read?),
            },
            PasswordSource::File(file) => Some(read_private(file)?),
            PasswordSource::Command(line) => Some(run(line)?),
            PasswordSource::Ask => match &endpoint.config.surroundings.ask {
                Some(ask) => Some(ask(&format!("Password of {user} on {}", endpoint.place))?),
                None => None,
            },
        };
        if let Some(secret) = found {
            return Ok(secret);
        }
    }
    Err(Error::new(ErrorKind::Auth, format!("there is no password for {user}"))
        .with_subject(endpoint.context.clone())
        .with_hint(
            "give one: `hyper context add … --password-fd N`, GOVC_PASSWORD for govc's variables, \
             or a terminal to ask on",
        ))
}

/// govc's convention: what names a file that can be read stands for its content, trimmed.
fn text_or_file(text: &str) -> Result<String> {
    match std::fs::read_to_string(text) {
        Ok(content) => Ok(content.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Error::io("read the credentials", error))
        }
        // The text itself may be the password and is not repeated.
        Err(_) => Ok(text.to_owned()),
    }
}

/// The content of a file that nobody else may read, without the line's end.
fn read_private(path: &Path) -> Result<Secret> {
    let subject = path.display().to_string();
    let fail = |error| Error::io("read the password", error).with_subject(subject.clone());
    let file = std::fs::File::open(path).map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        return Err(Error::new(ErrorKind::Auth, "others may read this file with a password")
            .with_hint(format!("chmod 600 '{subject}', and think about a new password"))
            .with_subject(subject));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(fail)?;
    Ok(Secret::of_line(&text))
}

/// What a command prints, without the line's end. Its errors go to standard error as they are.
fn run(line: &str) -> Result<Secret> {
    let fail = |words: String| {
        Error::new(ErrorKind::Auth, words).with_hint("see `password_command` in the configuration")
    };
    let output = Command::new("/bin/sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Error::io("run the command that prints the password", error))?;
    if !output.status.success() {
        let status = output.status;
        return Err(fail(format!("the command that prints the password failed: {status}")));
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| fail("the command printed a password that is not UTF-8".to_owned()))?;
    let secret = Secret::of_line(&text);
    if secret.is_empty() {
        return Err(fail("the command printed no password".to_owned()));
    }
    Ok(secret)
}
