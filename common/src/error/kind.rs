//! The kinds of failure and the exit status of each.

use serde::{Deserialize, Serialize};

/// Why something failed, as far as a script needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Wrong flags or arguments.
    Usage,
    /// The configuration file or an environment variable is wrong.
    Config,
    /// Credentials or permission are missing or refused.
    Auth,
    /// What was asked for does not exist.
    NotFound,
    /// It exists already, is locked, or more than one thing matches.
    Conflict,
    /// This target, platform or format cannot do it.
    Unsupported,
    /// The other side is not available now; a retry may help.
    Unavailable,
    /// The other side answered something that the protocol does not allow.
    Protocol,
    /// The operating system refused a read or a write.
    Io,
    /// A checksum differs, or an image is damaged.
    Integrity,
    /// Some of many failed.
    Partial,
    /// A wait ended without the awaited state.
    TimedOut,
    /// A signal ended it.
    Interrupted,
    /// A bug in hyper.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of the exit-status page.
    pub const ALL: [Self; 14] = [
        Self::Io,
        Self::Protocol,
        Self::Usage,
        Self::Config,
        Self::Auth,
        Self::NotFound,
        Self::Conflict,
        Self::Unsupported,
        Self::Unavailable,
        Self::Integrity,
        Self::Partial,
        Self::TimedOut,
        Self::Internal,
        Self::Interrupted,
    ];

    /// The exit status of a program that ends with this kind of failure.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Io | Self::Protocol => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::Auth => 4,
            Self::NotFound => 5,
            Self::Conflict => 6,
            Self::Unsupported => 7,
            Self::Unavailable => 8,
            Self::Integrity => 9,
            Self::Partial => 10,
            Self::TimedOut => 11,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }

    /// The kind that an operating-system error stands for.
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Os;
        match error.kind() {
            Os::NotFound => Self::NotFound,
            Os::PermissionDenied => Self::Auth,
            Os::AlreadyExists => Self::Conflict,
            Os::TimedOut => Self::TimedOut,
            Os::Interrupted => Self::Interrupted,
            _ => Self::Io,
        }
    }
}
