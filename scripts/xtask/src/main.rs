//! `cargo xtask`: what is generated in this repository, and what is checked beyond the compiler.
//!
//! - `gen` writes man pages, completions and the list of known flags from the tools' commands;
//!   `gen --check` only says which of them are stale.
//! - `lint` checks the layers of `common` and the sizes of files.
//! - `demo` makes the machine in `testdata/demo` anew.
//! - `flags` checks that each flag has a test that fails when the flag does nothing.

mod completion;
mod demo;
mod exit_status;
mod flags;
mod generate;
mod lint;
mod man;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hyper_common::error::Result;
use hyper_common::tool::{ErrorForm, report};

/// Generate and check what belongs to the repository
#[derive(Debug, Parser)]
#[command(name = "xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write man pages, completions and the list of known flags
    Gen {
        /// Write nothing; fail when something is not what it should be
        #[arg(long)]
        check: bool,
    },
    /// Check the layers of the common crate and the sizes of files
    Lint,
    /// Make the machine in testdata/demo anew
    Demo,
    /// Check that each flag has a test that fails when the flag does nothing
    Flags {
        /// Only those of this tool
        tool: Option<String>,
    },
}

/// The commands of all programs, by program name. A new tool has its line here.
fn commands() -> Vec<(&'static str, clap::Command)> {
    vec![
        ("hyper", hyper_cli::command()),
        ("hyper-clone", hyper_clone::command()),
        ("hyper-console", hyper_console::command()),
        ("hyper-context", hyper_context::command()),
        ("hyper-events", hyper_events::command()),
        ("hyper-export", hyper_export::command()),
        ("hyper-history", hyper_history::command()),
        ("hyper-image", hyper_image::command()),
        ("hyper-infra", hyper_infra::command()),
        ("hyper-metrics", hyper_metrics::command()),
        ("hyper-pool", hyper_pool::command()),
        ("hyper-sim", hyper_sim::command()),
        ("hyper-snapshot", hyper_snapshot::command()),
        ("hyper-template", hyper_template::command()),
        ("hyper-vm", hyper_vm::command()),
        ("hyper-watch", hyper_watch::command()),
    ]
}

fn main() -> ExitCode {
    let root = root();
    let done = match Cli::parse().task {
        Task::Gen { check } => generate::run(&root, check),
        Task::Lint => lint::run(&root),
        Task::Demo => demo::run(&root),
        Task::Flags { tool } => flags::run(&root, tool.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(report("xtask", &error, ErrorForm::Human)),
    }
}

/// The repository that this program was built from.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Prints a line for whoever runs it.
fn say(line: &str) {
    use std::io::Write;
    // Nobody listening is no failure.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// What went wrong with a file, in hyper's own error type.
fn io<T>(result: std::io::Result<T>, doing: &str, path: &Path) -> Result<T> {
    use hyper_common::error::Error;
    result.map_err(|error| Error::io(doing, error).with_subject(path.display().to_string()))
}
