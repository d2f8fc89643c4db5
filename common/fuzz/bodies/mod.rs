//! What is tried with each input of a fuzzer. `scripts/fuzz` runs these under libFuzzer, and
//! `common/tests/fuzz_corpus.rs` runs them on the committed inputs in every test run.
//!
//! A body panics where a promise is broken; an input that is refused with an error is fine.

mod image;
mod memory;
mod package;
mod server;
mod sparse;
mod text;

pub use self::memory::{Ledger, bounded};

/// A fuzzer: its name, which is also that of its folder in `testdata/fuzz`, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every fuzzer.
pub const TARGETS: &[Target] = &[
    ("artifact_manifest", package::artifact_manifest),
    ("config", text::config),
    ("domain_xml", package::domain_xml),
    ("jsonpath", text::jsonpath),
    ("manifest", package::manifest),
    ("ova", package::ova),
    ("ovf", package::ovf),
    ("qcow2", image::qcow2),
    ("soap", server::soap),
    ("vdi", image::vdi),
    ("vhd", image::vhd),
    ("vhdx", image::vhdx),
    ("vmdk", image::vmdk),
    ("vmdk_stream", image::vmdk_stream),
    ("vmx", package::vmx),
    ("words", text::words),
];
