//! Where bytes end up: a file, a folder, a pipe. An artifact gets its final name only at commit.

mod compress;
mod file;
mod member;
mod stdout;

use bytes::Bytes;

pub use self::compress::{CompressSink, StreamCompression};
pub use self::file::FileSink;
pub use self::member::MemberSink;
pub use self::stdout::PipeSink;
use crate::error::Result;
use crate::image::WriteOp;

/// The target of one artifact. Calls of [`Sink::apply`] may come from several threads at once
/// where [`Sink::seekable`] is true; otherwise they come in order from one thread.
pub trait Sink: std::fmt::Debug + Send + Sync {
    /// Whether writes may go to any place in any order.
    fn seekable(&self) -> bool;

    /// Carries out one step. May block; is never called from a tokio worker.
    ///
    /// # Errors
    /// `Io` with the target's name; a full target says so in a hint.
    fn apply(&self, op: WriteOp) -> Result<()>;

    /// Carries out steps one after another, in fewer calls where the target knows how.
    ///
    /// # Errors
    /// As [`Sink::apply`].
    fn apply_all(&self, ops: Vec<WriteOp>) -> Result<()> {
        ops.into_iter().try_for_each(|op| self.apply(op))
    }

    /// Makes everything applied so far durable under the temporary name, so that a checkpoint
    /// may count on it.
    ///
    /// # Errors
    /// `Io`.
    fn sync(&self) -> Result<()>;

    /// Reads back what was written, for a checksum or for `--verify`. `None` where the target
    /// cannot be read (a pipe).
    fn read_back(&self) -> Option<std::sync::Arc<dyn crate::image::ReadAt>>;

    /// Makes everything durable and gives it the final name.
    ///
    /// # Errors
    /// `Io`; `Conflict` where the final name appeared meanwhile and may not be replaced.
    fn commit(&self) -> Result<()>;

    /// Forgets what a later run would need to know this artifact for one that was named by a run
    /// which did not end. To be called once everything that belongs together has its name.
    fn settle(&self) {}

    /// Removes what was written, unless it has its final name. Never fails: what remains is named in the answer.
    fn abort(&self) -> Option<String>;
}

/// Bytes that a caller wants at one place; a convenience for small files.
pub fn write_op(at: u64, bytes: impl Into<Bytes>) -> WriteOp {
    WriteOp::Write { at, bytes: bytes.into() }
}
