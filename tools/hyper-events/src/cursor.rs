//! The file that says how far events were shown, so that a later run goes on behind them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyper_common::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the file says it is.
const SCHEMA: &str = "hyper.event_cursor/v1";

/// How far the events of each context were shown.
#[derive(Debug)]
pub struct Cursor {
    file: Option<PathBuf>,
    places: BTreeMap<String, Value>,
    /// Whether the file is behind.
    stale: bool,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Kept {
    schema: String,
    contexts: BTreeMap<String, Value>,
}

impl Cursor {
    /// What `from` says, to be kept in `file`. Where both are one file it need not be there yet.
    ///
    /// # Errors
    /// `NotFound` for a file that is not there, `Config` for one that says something else.
    pub fn load(from: Option<&Path>, file: Option<PathBuf>) -> Result<Self> {
        let places = match from {
            None => BTreeMap::new(),
            Some(path) if Some(path) == file.as_deref() && !path.exists() => BTreeMap::new(),
            Some(path) => read(path)?,
        };
        Ok(Self { file, places, stale: false })
    }

    /// How far the events of a context were shown.
    pub fn place(&self, context: &str) -> Option<Value> {
        self.places.get(context).cloned()
    }

    /// Notes how far they were shown.
    pub fn pass(&mut self, context: &str, place: Option<Value>) {
        let Some(place) = place else { return };
        self.stale = self.file.is_some();
        self.places.insert(context.to_owned(), place);
    }

    /// Whether there is something to be written.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Writes the file, where one is wanted and it is behind.
    ///
    /// # Errors
    /// What the operating system said; the old file is whole then.
    pub fn save(&mut self) -> Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.stale) else { return Ok(()) };
        let kept = Kept { schema: SCHEMA.to_owned(), contexts: self.places.clone() };
        let bytes = serde_json::to_vec_pretty(&kept).map_err(|error| {
            Error::new(ErrorKind::Internal, "write the cursor").with_source(error)
        })?;
        hyper_common::fs::write_atomic(file, &bytes, 0o644)?;
        self.stale = false;
        Ok(())
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Value>> {
    let subject = || path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|error| Error::io("read the cursor", error).with_subject(subject()))?;
    let wrong = |why: String| {
        Error::new(ErrorKind::Config, "this is no cursor of hyper events")
            .with_subject(subject())
            .with_source(why)
    };
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    match kept.schema.as_str() {
        SCHEMA => Ok(kept.contexts),
        other => Err(wrong(format!("its schema is {other:?}"))),
    }
}
