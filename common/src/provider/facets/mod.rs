//! The optional abilities of providers, one trait each.

pub mod export;
