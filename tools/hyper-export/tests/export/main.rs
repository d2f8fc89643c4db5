//! `hyper-export` as a process, in an environment of its own; qemu-img judges what it writes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod disks;
mod faults;
mod flags;
mod formats;
mod many;
mod naming;
mod piped;
mod pipes;
mod resume;
mod sim;
mod user;
mod vcsim;
mod vsphere;
mod vsphere_loop;
mod vsphere_phases;
mod words;
