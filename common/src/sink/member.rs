//! A member of a package file: a sink inside another sink.

use std::sync::Arc;

use super::Sink;
use crate::error::Result;
use crate::image::{ReadAt, Window, WriteOp};

/// Writes to `inner` from `base` on. Lengths, syncing and naming stay with the package.
#[derive(Debug)]
pub struct MemberSink {
    inner: Arc<dyn Sink>,
    base: u64,
}

impl MemberSink {
    /// The member that starts at byte `base` of `inner`.
    pub fn new(inner: Arc<dyn Sink>, base: u64) -> Self {
        Self { inner, base }
    }
}

impl MemberSink {
    /// The step as the package sees it.
    fn moved(&self, op: WriteOp) -> Option<WriteOp> {
        match op {
            WriteOp::Write { at, bytes } => Some(WriteOp::Write { at: self.base + at, bytes }),
            WriteOp::Zeros { at, len } => Some(WriteOp::Zeros { at: self.base + at, len }),
            WriteOp::SetLen(_) => None,
        }
    }
}

impl Sink for MemberSink {
    fn seekable(&self) -> bool {
        self.inner.seekable()
    }

    fn apply(&self, op: WriteOp) -> Result<()> {
        self.inner.apply_all(self.moved(op).into_iter().collect())
    }

    fn apply_all(&self, ops: Vec<WriteOp>) -> Result<()> {
        self.inner.apply_all(ops.into_iter().filter_map(|op| self.moved(op)).collect())
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn read_back(&self) -> Option<Arc<dyn ReadAt>> {
        let file = self.inner.read_back()?;
        let end = file.len();
        Window::new(file, self.base..end).map(|member| Arc::new(member) as _)
    }

    fn commit(&self) -> Result<()> {
        Ok(())
    }

    fn abort(&self) -> Option<String> {
        None
    }
}
