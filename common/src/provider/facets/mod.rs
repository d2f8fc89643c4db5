//! The optional abilities of providers, one trait each.

pub mod alarms;
pub mod capability;
pub mod cloning;
pub mod console;
pub mod create;
pub mod events;
pub mod export;
pub mod feed;
pub mod lifecycle;
pub mod metrics;
pub mod migrate;
pub mod power;
pub mod reclaim;
pub mod resize;
pub mod snapshots;
