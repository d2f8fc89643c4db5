//! How a context reaches a server: its address, who logs in, whom to believe.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::Secret;
use crate::error::Result;

/// What a context of a platform with a server holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// Its URL without user or password; the scheme may be missing.
    pub url: String,
    /// Who logs in.
    pub user: Option<String>,
    /// Whether `user` may name a file that holds it, as govc takes `GOVC_USERNAME`.
    pub user_may_be_file: bool,
    /// The datacenter that relative inventory paths start at.
    pub datacenter: Option<String>,
    /// PEM files of authorities that are believed instead of the platform's.
    pub ca_files: Vec<PathBuf>,
    /// The thumbprint of the server's certificate; no other is believed then.
    pub thumbprint: Option<String>,
    /// Files with a line `host:port thumbprint` for each server that is believed by its
    /// certificate.
    pub known_hosts: Vec<PathBuf>,
    /// Whether any certificate is believed.
    pub insecure: bool,
    /// Where the password may come from; the first that has one counts.
    pub passwords: Vec<PasswordSource>,
}

/// A place that may hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// Here it is.
    Given(Secret),
    /// Here it is, or the name of a file that holds it, as govc takes `GOVC_PASSWORD`.
    GivenOrFile(Secret),
    /// A file that only its owner may read. One that is not there has none.
    Stored(PathBuf),
    /// A file that only its owner may read. It must be there.
    File(PathBuf),
    /// A command that prints it, run by the shell.
    Command(String),
    /// The person at the terminal, where there is one.
    Ask,
}

/// What a running program offers to the platforms it opens.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The folder for logins that are kept for the next run; without one none is kept.
    pub sessions: Option<PathBuf>,
    /// Asks the person at the terminal for a password.
    pub ask: Option<Ask>,
    /// The logins of this run.
    pub logins: Logins,
}

/// Asks for a password; the argument is the question.
pub type Ask = Arc<dyn Fn(&str) -> Result<Secret> + Send + Sync>;

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

/// What a context is does not depend on who runs it.
impl PartialEq for Surroundings {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Surroundings {}

/// The logins of a run, in order; every clone sees the same.
#[derive(Debug, Clone, Default)]
pub struct Logins(Arc<Mutex<Vec<Login>>>);

/// How a run got into a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Login {
    /// The context.
    pub context: String,
    /// Who.
    pub user: String,
    /// Whether the server was asked for it, or an earlier run's was used.
    pub how: LoginKind,
}

/// Where a login came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginKind {
    /// Made with the password.
    Made,
    /// One that an earlier run made.
    Reused,
}

impl Logins {
    /// Notes one.
    pub fn add(&self, login: Login) {
        self.lock().push(login);
    }

    /// Those so far.
    pub fn all(&self) -> Vec<Login> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Login>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
