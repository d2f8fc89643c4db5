//! The fuzzers' common part: see `bodies`.
#[path = "../bodies/mod.rs"]
pub mod bodies;

/// The counted allocator of every fuzzer.
#[global_allocator]
static LEDGER: bodies::Ledger = bodies::Ledger;

/// Runs the body called `name` on one input.
///
/// # Panics
/// Where a promise is broken, which is what libFuzzer looks for.
pub fn run(name: &str, input: &[u8]) {
    let target = bodies::TARGETS.iter().find(|(known, _)| *known == name);
    let (_, body) = target.unwrap_or_else(|| panic!("there is no body called {name}"));
    bodies::bounded(*body, input);
}
