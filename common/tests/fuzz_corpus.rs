//! The inputs that the fuzzers have collected, each taken through its body: whatever once broke a
//! parser stays mended. `scripts/fuzz` looks for new ones.
#![expect(clippy::unwrap_used, reason = "a test's folders can be read")]

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::path::{Path, PathBuf};

#[global_allocator]
static LEDGER: bodies::Ledger = bodies::Ledger;

/// Longest time for one input in an unoptimised build on a busy machine.
const MOST_SECONDS: u64 = 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/fuzz")
}

fn inputs(name: &str) -> Vec<PathBuf> {
    let folder = corpus().join(name);
    let listed = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The names of the inputs that break a promise.
fn broken(name: &str, body: fn(&[u8])) -> Vec<String> {
    let mut found = Vec::new();
    let files = inputs(name);
    assert!(!files.is_empty(), "{name} has no inputs");
    for file in files {
        let input = std::fs::read(&file).unwrap();
        let start = std::time::Instant::now();
        let kept = std::panic::catch_unwind(|| bodies::bounded(body, &input)).is_ok();
        if !kept || start.elapsed().as_secs() >= MOST_SECONDS {
            found.push(format!("{} ({:?})", file.display(), start.elapsed()));
        }
    }
    found
}

#[test]
fn every_input_of_the_corpus_is_read_or_refused() {
    let broken: Vec<_> =
        bodies::TARGETS.iter().flat_map(|(name, body)| broken(name, *body)).collect();
    assert!(broken.is_empty(), "promises are broken by\n{}", broken.join("\n"));
}

#[test]
fn every_folder_of_the_corpus_has_its_fuzzer() {
    let known = |name: &str| bodies::TARGETS.iter().any(|(target, _)| *target == name);
    for entry in std::fs::read_dir(corpus()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known(&name), "no fuzzer is called {name}");
    }
}
