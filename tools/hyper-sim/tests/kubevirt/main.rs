//! `hyper sim kubevirt` as a process, with kubectl and Python's libraries as clients.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../cluster/mod.rs"]
mod cluster;

mod consoles;
mod flags;
mod life;
mod protection;
mod python;
