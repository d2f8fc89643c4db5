//! Buffers that are used again, so that the data path does not fault in fresh memory for every
//! block.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers kept for reuse at the most; what comes back beyond it is freed.
const KEPT: usize = 32;

/// A stock of buffers of about the same size.
#[derive(Debug, Clone, Default)]
pub struct Buffers {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// The stocks of an engine: buffers in one are of about the same size.
#[derive(Debug, Clone, Default)]
pub struct Stock {
    /// Guest bytes of jobs.
    pub plain: Buffers,
    /// Compressed streams as they stand in files.
    pub streams: Buffers,
}

/// A buffer on loan; its memory returns to the stock when the last [`Bytes`] of it is dropped.
#[derive(Debug)]
pub struct Buffer {
    /// At least `len` bytes; what is longer stays initialised for the next loan.
    bytes: Vec<u8>,
    len: usize,
    stock: Buffers,
}

impl Buffers {
    /// A buffer of `len` bytes with arbitrary (initialised) content.
    pub fn take(&self, len: usize) -> Buffer {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = free.pop().unwrap_or_default();
        drop(free);
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        Buffer { bytes, len, stock: self.clone() }
    }
}

impl Buffer {
    /// Shares the buffer's content without copying.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.stock.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_the_last_share_is_gone() {
        let stock = Buffers::default();
        let shared = stock.take(4096).freeze();
        let part = shared.slice(10..20);
        let address = shared.as_ptr();
        drop(shared);
        assert_ne!(stock.take(4096).as_ptr(), address);
        drop(part);
        let mut seen = Vec::new();
        let (first, second) = (stock.take(4096), stock.take(4096));
        seen.extend([first.as_ptr(), second.as_ptr()]);
        assert!(seen.contains(&address));
    }
}
