//! The optional abilities of providers, one trait each, and what several of them share.

pub mod alarms;
pub mod capability;
pub mod cloning;
pub mod console;
pub mod create;
pub mod events;
pub mod export;
pub mod feed;
pub mod infrastructure;
pub mod lifecycle;
pub mod metrics;
pub mod migrate;
pub mod named;
pub mod pools;
pub mod power;
pub mod rearrange;
pub mod reclaim;
pub mod resize;
pub mod snapshots;
pub mod templates;
