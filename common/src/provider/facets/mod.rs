//! The optional abilities of providers, one trait each.

pub mod capability;
pub mod export;
pub mod reclaim;
