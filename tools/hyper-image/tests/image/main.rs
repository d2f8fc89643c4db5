//! `hyper-image` as a process, judged by `qemu-img`.
//!
//! `flags` has a test for each flag, `matrix` every format to every format, `streams` what moves
//! or goes through pipes, `hostile` bad input, `faults` interruptions, `place` what they share
//! (`inflate` counts how far a stream looks back).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod faults;
mod flags;
mod hostile;
mod inflate;
mod matrix;
mod place;
mod streams;
