//! What the hyper tools share.
//!
//! Rooms, from the top down; a room may use those below it and never one above:
//! `tool` (run loop, flags, streams) -> `provider` (platforms), `transfer` (data path),
//! `output` (records), `history` (journal) -> `image` (disk formats), `package` (OVF, OVA,
//! manifests), `sink` (where bytes end up), `net` (servers) -> `vm` (words for machines), `fs` (local files),
//! `error`, `config`. `xtask lint` checks this over the `use` lines.

pub mod cancel;
pub mod config;
pub mod error;
pub mod fs;
pub mod history;
pub mod image;
pub mod net;
pub mod output;
pub mod package;
pub mod progress;
pub mod provider;
pub mod sink;
pub mod time;
pub mod tool;
pub mod transfer;
pub mod vm;
