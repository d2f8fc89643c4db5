//! Local files: bytes of a file as images see them, what tells one version of a source from the
//! next, temporary names and their commit, small files written whole, free space, and where the
//! user's files live. Sinks, the local provider, the journal and the configuration call it.

mod atomic;
mod bytes;
mod identity;
mod name;
mod paths;
mod space;
mod temp;

pub use atomic::{sync_folder, write_atomic};
pub use bytes::{FileBytes, next_data};
pub use identity::SourceIdentity;
pub use name::{MAX_NAME, safe_name, sanitise_name};
pub use paths::Folders;
pub use space::free_bytes;
pub use temp::{Claim, LOCK_SUFFIX, PARTIAL_SUFFIX, STATE_SUFFIX, Target, write_small};
