//! KubeVirt in front of a real API server: its controllers, its own API and what a kubelet would
//! answer, as far as machines, their volumes, snapshots, clones, exports and consoles go.
//!
//! The API server is real, and everything that is not KubeVirt's is passed on to it as it is. What
//! the controllers do they do through it, as any client would. Nothing of `hyper_common`'s own
//! client is used; disks are read with its image formats.

#![expect(clippy::result_large_err, reason = "a refusal is an answer like any other")]

mod answer;
pub mod args;
mod authority;
mod clone;
mod cluster;
mod coding;
mod config;
mod control;
mod crds;
mod define;
mod discovery;
mod disks;
mod export;
mod forward;
mod import;
mod ingress;
mod instance;
mod json;
mod kind;
mod launch;
mod log;
mod machine;
mod machine_status;
mod metrics;
mod migration;
mod pod;
mod proxy;
mod record;
pub mod request;
mod restore;
pub mod run;
mod sim;
mod snapshot;
mod socket;
mod source;
mod space;
mod subresource;
mod upload;
mod upstream;
mod verbs;
mod volume;
mod world;
