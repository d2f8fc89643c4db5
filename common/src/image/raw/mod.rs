//! Raw images: the bytes as the guest sees them. What a file system leaves out of a sparse file
//! is a hole; beyond that a raw image has no structure, so nothing about it can be detected or
//! checked.

mod decode;
mod encode;

pub use self::decode::{open, open_stream};
pub use self::encode::{create, max_capacity, resume};

#[cfg(test)]
mod tests;
