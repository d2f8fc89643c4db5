//! The members of a package as they arrive: disks are handed on and their checksums made, small
//! files that matter are kept, everything else goes by. At the end the manifest, which mostly
//! comes last, is held against what came.

use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::describe::parse_manifest;
use super::open::decode_percent;
use super::piped::HINT;
use crate::error::{Error, Result, ResultExt};
use crate::package::manifest::{Digest, LARGEST_MANIFEST};
use crate::package::ova::Passing;
use crate::transfer::{FileSum, SumKind, Summer};

/// Bytes that are handed on at once.
const PIECE: usize = 256 << 10;

/// Largest firmware variables file that is kept.
const LARGEST_NVRAM: u64 = 64 << 20;

/// A package that comes in order.
pub(super) type Tar = Passing<Box<dyn Read + Send>>;

/// What arrives through one pipe.
pub(super) struct Arrival {
    /// How messages call it.
    name: String,
    /// The folder of the envelope within the package.
    at: String,
    manifest: String,
    nvram: Option<String>,
    passing: Mutex<Tar>,
    came: Mutex<Came>,
}

/// What has come so far.
#[derive(Default)]
struct Came {
    /// Files of disks that are still to come.
    expected: Vec<String>,
    sums: Vec<(String, [FileSum; 2])>,
    manifest: Option<Vec<u8>>,
    nvram: Option<Bytes>,
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arrival({})", self.name)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Arrival {
    /// What follows the envelope `at` + `stem`.
    pub(super) fn new(
        name: String,
        passing: Tar,
        at: String,
        stem: &str,
        nvram: Option<String>,
    ) -> Self {
        let (passing, came) = (Mutex::new(passing), Mutex::default());
        Self { manifest: format!("{at}{stem}.mf"), name, at, nvram, passing, came }
    }

    /// The files that will be taken.
    pub(super) fn expect(&self, files: Vec<String>) {
        lock(&self.came).expected = files;
    }

    /// The firmware variables; empty before they came.
    pub(super) fn nvram(&self) -> Bytes {
        lock(&self.came).nvram.clone().unwrap_or_default()
    }

    /// Waits for `file` and hands its bytes to `give`, until that answers `false`.
    ///
    /// # Errors
    /// `Unsupported` where another disk that is expected comes before; `Integrity` for a package
    /// that is damaged or does not hold it.
    pub(super) fn take(&self, file: &str, give: impl FnMut(Bytes) -> bool) -> Result<()> {
        let mut passing = lock(&self.passing);
        self.find(file, &mut passing).subject(|| self.name.clone())?;
        self.hand_on(file, &mut passing, give).subject(|| format!("{}#{file}", self.name))
    }

    fn find(&self, file: &str, passing: &mut Tar) -> Result<()> {
        while let Some(member) = passing.next_member()? {
            if self.is(&member.name, file) {
                return Ok(());
            }
            let early = lock(&self.came).expected.iter().any(|other| self.is(&member.name, other));
            if early {
                let text =
                    format!("{:?} comes before {file:?}, and is needed after it", member.name);
                return Err(Error::unsupported(text).with_hint(HINT));
            }
            self.keep(&member.name, passing)?;
        }
        Err(Error::integrity(format!("the package does not hold {file:?}")))
    }

    fn hand_on(
        &self,
        file: &str,
        passing: &mut Tar,
        mut give: impl FnMut(Bytes) -> bool,
    ) -> Result<()> {
        let mut sums = [SumKind::Sha256, SumKind::Sha1].map(Summer::new);
        loop {
            let mut piece = vec![0; PIECE];
            let mut len = 0;
            while let Some(rest) = piece.get_mut(len..).filter(|rest| !rest.is_empty()) {
                match passing.read(rest)? {
                    0 => break,
                    got => len += got,
                }
            }
            if len == 0 {
                break;
            }
            piece.truncate(len);
            sums.iter_mut().for_each(|sum| sum.update(&piece));
            if !give(piece.into()) {
                return Ok(());
            }
        }
        let mut came = lock(&self.came);
        came.expected.retain(|other| other != file);
        came.sums.push((file.to_owned(), sums.map(Summer::finish)));
        Ok(())
    }

    /// Keeps what is needed later of a member that is no disk.
    fn keep(&self, member: &str, passing: &mut Tar) -> Result<()> {
        if member == self.manifest {
            lock(&self.came).manifest = Some(passing.content(LARGEST_MANIFEST)?);
        } else if self.nvram.as_ref().is_some_and(|name| self.is(member, name)) {
            lock(&self.came).nvram = Some(passing.content(LARGEST_NVRAM)?.into());
        }
        Ok(())
    }

    /// Takes the rest, and holds the manifest against the disks that came.
    ///
    /// # Errors
    /// `Integrity` where a disk is not what the manifest says, or a file that the envelope names
    /// did not come.
    pub(super) fn finish(&self) -> Result<()> {
        self.take_rest().and_then(|()| self.check()).subject(|| self.name.clone())
    }

    fn take_rest(&self) -> Result<()> {
        let mut passing = lock(&self.passing);
        while let Some(member) = passing.next_member()? {
            self.keep(&member.name, &mut passing)?;
        }
        passing.drain()
    }

    fn check(&self) -> Result<()> {
        let came = lock(&self.came);
        if let (Some(name), None) = (&self.nvram, &came.nvram) {
            return Err(Error::integrity(format!("the package does not hold {name:?}")));
        }
        let Some(manifest) = &came.manifest else { return Ok(()) };
        let manifest = parse_manifest(manifest)?;
        for (file, sums) in &came.sums {
            let Some(told) = manifest.digest_of(file) else { continue };
            let made = sums.iter().find(|sum| match sum.kind {
                SumKind::Sha256 => told.digest == Digest::Sha256,
                SumKind::Sha1 => told.digest == Digest::Sha1,
            });
            if made.is_some_and(|sum| sum.hex != told.hex) {
                let text = format!("{file:?} is not what the manifest's checksum says");
                return Err(Error::integrity(text));
            }
        }
        Ok(())
    }

    /// Whether `member` is the file that the envelope calls `name`. Names in an envelope are URIs:
    /// one with `%20` may mean a space.
    fn is(&self, member: &str, name: &str) -> bool {
        let Some(member) = member.strip_prefix(self.at.as_str()) else { return false };
        let name = name.strip_prefix("./").unwrap_or(name);
        member == name || decode_percent(name).is_some_and(|name| name == member)
    }
}
