//! `hyper console` on a simulated KubeVirt in front of a real API server; kubectl and clients that
//! others wrote see the same screen.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;

mod browser;
mod lab;
mod screen;
mod serial;
mod sessions;
mod share;
mod vsphere;
