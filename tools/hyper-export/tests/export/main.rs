//! `hyper-export` as a process, in an environment of its own; qemu-img judges what it writes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
mod disks;
mod faults;
mod flags;
mod formats;
mod kubevirt;
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
