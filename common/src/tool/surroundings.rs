//! What a program offers to the platforms it opens: a place for logins, and a person to ask.

use std::sync::{Arc, Mutex, PoisonError};

use super::pick::somebody;
use crate::config::{Ask, Secret, Surroundings};
use crate::error::{Error, Result};
use crate::fs::Folders;

/// Those of this program. Where there is no home folder, no login is kept.
pub(super) fn surroundings() -> Surroundings {
    let ask: Option<Ask> = if somebody() { Some(Arc::new(ask)) } else { None };
    let sessions = Folders::from_environment().ok().map(|folders| folders.sessions());
    Surroundings { sessions, ask, ..Surroundings::default() }
}

/// Held while somebody is asked: several platforms that are opened at the same time ask in turn.
static ASKING: Mutex<()> = Mutex::new(());

/// Asks on the terminal; what is typed is not shown.
fn ask(question: &str) -> Result<Secret> {
    let _asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    dialoguer::Password::new()
        .with_prompt(question)
        .interact()
        .map(Secret::new)
        .map_err(|dialoguer::Error::IO(error)| Error::io("ask for the password", error))
}
