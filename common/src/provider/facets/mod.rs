//! The optional abilities of providers, one trait each.

pub mod capability;
pub mod export;
pub mod feed;
pub mod power;
pub mod reclaim;
