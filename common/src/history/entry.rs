//! The lines of the journal, and the words in them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Login;
use crate::error::{Error, ErrorKind, one_line};

/// How a run ended, or that it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is still at work. Seen from outside only, never given to [`super::Run::end`].
    Running,
    /// All of it was done.
    Succeeded,
    /// Nothing of it, or not what was asked for, was done.
    Failed,
    /// Some of many were done.
    Partial,
    /// A signal or a time limit ended it; it cleaned up.
    Interrupted,
    /// It was killed, or the machine went down. Seen from outside only.
    Lost,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Partial,
        Self::Interrupted,
        Self::Lost,
    ];

    /// The word in records and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Interrupted => "interrupted",
            Self::Lost => "lost",
        }
    }

    /// What a run that ended with this error (or none) is to be called.
    pub fn of(error: Option<&Error>) -> Self {
        match error.map(Error::kind) {
            None => Self::Succeeded,
            Some(ErrorKind::Partial) => Self::Partial,
            Some(ErrorKind::Interrupted | ErrorKind::TimedOut) => Self::Interrupted,
            Some(_) => Self::Failed,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Outcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|outcome| outcome.name() == text);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|outcome| outcome.name()).collect();
            format!("not one of {}: {text:?}", names.join(", "))
        })
    }
}

/// Something that a run makes and that a sudden end would leave behind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Thing {
    /// A local file of a temporary name ([`crate::fs::Target`]).
    File {
        /// Where it stands, absolute.
        #[serde(with = "path_text")]
        path: PathBuf,
    },
    /// An object at a provider.
    Remote {
        /// The context it belongs to.
        context: String,
        /// The VM it was made for, by the id that the provider gave it.
        #[serde(default)]
        vm: String,
        /// What it is, in the platform's word: `snapshot`, `lease`.
        what: String,
        /// What the provider calls it.
        id: String,
    },
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path } => path.display().fmt(f),
            Self::Remote { context, vm, what, id } => write!(f, "{what} {context}:{vm} {id}"),
        }
    }
}

/// A finished artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactEntry {
    /// Its final place, as a path or URL without credentials.
    pub path: String,
    /// What it was made from, as a reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its format, in the word of the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Checksums of the file, by the name of the algorithm, in hex.
    #[serde(default)]
    pub checksums: BTreeMap<String, String>,
    /// Whether it was read back and compared with its source.
    pub verified: bool,
}

/// How many machines or files a run was about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All that were asked for.
    pub total: u64,
    /// Done in this run.
    pub succeeded: u64,
    /// Failed or not begun.
    pub failed: u64,
    /// Done by an earlier run and left as they were.
    pub reused: u64,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind, which decided the exit status.
    pub kind: ErrorKind,
    /// The exit status.
    pub exit_status: u8,
    /// The whole chain of causes in one line.
    pub message: String,
    /// What to do next.
    pub hints: Vec<String>,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            exit_status: error.kind().exit_status(),
            message: one_line(error),
            hints: error.hints().to_vec(),
        }
    }
}

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub run: String,
    pub time: Timestamp,
    #[serde(flatten)]
    pub body: LineBody,
}

/// What a line says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum LineBody {
    Begin(BeginLine),
    Note {
        action: Action,
        thing: Thing,
    },
    Artifact(ArtifactEntry),
    Login(Login),
    End(EndLine),
    /// A line of a later version.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BeginLine {
    pub tool: String,
    pub version: String,
    pub pid: u32,
    pub host: String,
    pub sources: Vec<String>,
    pub targets: Vec<String>,
    pub request: Value,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EndLine {
    pub outcome: Outcome,
    pub error: Option<Failure>,
    pub counts: Counts,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub seconds: f64,
}

/// What happened to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// It is about to be made.
    Making,
    /// It was removed.
    Removed,
    /// It became what was asked for.
    Committed,
}

/// Paths as text where they are text, as bytes where they are not: a name in another encoding
/// must come back exactly, or the wrong file would be removed.
mod path_text {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => text.serialize(serializer),
            None => path.as_os_str().as_bytes().serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into(),
            Form::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}
