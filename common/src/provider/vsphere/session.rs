//! Logins that outlive a run. One file for each server and user in the state folder holds the
//! cookie of the last login; all runs share it, so that a server sees one login however many
//! runs there are. A lock keeps two runs from logging in at once.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::config::Endpoint;
use crate::config::Secret;
use crate::error::{Error, Result};

/// Where the login of one user on one server is kept.
#[derive(Debug, Clone)]
pub struct Shelf {
    file: PathBuf,
    url: String,
    user: String,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    user: String,
    cookie: String,
    since: Timestamp,
}

/// The right to log in, until dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held for its lock")] File);

impl Shelf {
    /// The shelf for `user` on the endpoint, where the run keeps logins at all. Whom the run
    /// believes is part of the name: a login over a checked connection is never sent over an
    /// unchecked one.
    pub fn new(endpoint: &Endpoint, user: &str) -> Option<Self> {
        let folder = endpoint.config.surroundings.sessions.as_ref()?;
        let url = endpoint.url.to_string();
        let mut hash = blake3::Hasher::new();
        for part in [url.as_str(), user, if endpoint.server.insecure { "insecure" } else { "" }] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let name = hash.finalize().to_hex();
        let file = folder.join(format!("vsphere-{}.json", name.get(..32).unwrap_or(&name)));
        Some(Self { file, url, user: user.to_owned() })
    }

    /// The cookie of the last login. A file that others could read or that is not whole counts
    /// as none.
    pub fn take(&self) -> Option<Secret> {
        let meta = std::fs::metadata(&self.file).ok()?;
        if meta.mode() & 0o077 != 0 || meta.uid() != rustix::process::geteuid().as_raw() {
            tracing::warn!("{}: others may read it, so it is not used", self.file.display());
            return None;
        }
        let kept: Kept = serde_json::from_slice(&std::fs::read(&self.file).ok()?).ok()?;
        (kept.url == self.url && kept.user == self.user).then(|| Secret::new(kept.cookie))
    }

    /// Keeps the cookie of a login for the runs to come.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn put(&self, cookie: &Secret) -> Result<()> {
        let kept = Kept {
            url: self.url.clone(),
            user: self.user.clone(),
            cookie: cookie.expose().to_owned(),
            since: Timestamp::now(),
        };
        let bytes = serde_json::to_vec(&kept).unwrap_or_default();
        crate::fs::write_atomic(&self.file, &bytes, 0o600)
    }

    /// Forgets the login, where it is still the one that is not wanted any more.
    pub fn forget(&self, cookie: &Secret) {
        if self.take().as_ref() == Some(cookie) {
            let _ = std::fs::remove_file(&self.file);
        }
    }

    /// Waits until no other run logs in, and keeps others from it. Blocks.
    ///
    /// # Errors
    /// What the operating system said about the folder.
    pub fn turn(&self) -> Result<Turn> {
        let open = || -> io::Result<File> {
            let folder = self.file.parent().unwrap_or(Path::new("."));
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let lock = self.file.with_extension("lock");
            // Never removed: whoever waits for it holds it open.
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(lock)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        };
        open().map(Turn).map_err(|error| {
            Error::io("keep the login", error)
                .with_subject(self.file.display().to_string())
                .with_hint("set HYPER_STATE_DIR to a folder that can be written")
        })
    }
}
