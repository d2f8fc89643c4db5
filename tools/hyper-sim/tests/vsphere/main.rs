//! `hyper sim vsphere` as a process: its flags, its faults, and other people's clients, which have
//! to accept every call that it serves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod faults;
mod flags;
mod govc;
mod pyvmomi;
mod server;
