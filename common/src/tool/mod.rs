//! The frame around every tool: from the arguments to the exit status.
//!
//! A tool implements [`Tool`] and its `main.rs` is `hyper_common::tool::main::<Export>()`. The
//! frame parses the arguments, reads the configuration, fills in flags that were not given, sets
//! up signals and the runtime, runs the tool, and reports how it ended. Nothing below this room
//! knows clap, the terminal, the environment or exit statuses.
//!
//! A flag's value is, in this order: what was typed; `HYPER_<FLAG>` in the environment; the
//! `defaults` of the context, of its provider and of the whole configuration; what the help
//! says. Destructive flags ([`crate::config::DESTRUCTIVE`]) are only ever typed.

mod arguments;
pub mod catalogue;
mod command;
pub mod complete;
mod context;
pub mod contexts;
pub mod flags;
mod journaled;
mod layers;
mod leftover;
pub mod machines;
mod main;
#[cfg(debug_assertions)]
mod neutralise;
mod pick;
mod remarks;
mod report;
mod save;
mod signals;
mod surroundings;
pub mod write_flags;

pub use self::command::command;
pub use self::context::Context;
pub use self::journaled::JournaledRun;
pub use self::main::main;
pub use self::pick::unanswered;
pub use self::remarks::Remarks;
pub use self::report::{ErrorForm, report};
pub use self::save::{SaveFlags, Saving};

use crate::config::Config;
use crate::error::Result;

/// One tool: what it takes, what it understands, what it does.
pub trait Tool {
    /// The program's name, such as `hyper-export`; its summary stands in [`catalogue`].
    const NAME: &'static str;

    /// Command lines that work as they stand, each with what it does; the end of the help. They
    /// start with `hyper`.
    const EXAMPLES: &'static [Example];

    /// The arguments; doc comments are the help and the man page. Shared flags come from
    /// [`flags`], each group flattened in; the frame knows them by their field names.
    type Args: clap::Args;

    /// The validated intent, which the journal can store.
    type Request: serde::Serialize;

    /// The VM references among the arguments, as typed; empty for a tool that has none. When all
    /// of them and `--context` mean one context, that context's defaults for flags apply.
    fn references(args: &Self::Args) -> Vec<String>;

    /// Checks the arguments and says what is to be done, without doing any of it.
    ///
    /// # Errors
    /// `Usage` for arguments that do not go together, `NotFound` for a context.
    fn request(args: Self::Args, config: &Config) -> Result<Self::Request>;

    /// Does it. Watches `cx.cancel` wherever it waits or loops, cleans up and returns
    /// `cx.cancel.check()`'s error when asked to stop.
    ///
    /// # Errors
    /// Any; the frame prints it and turns its kind into the exit status.
    fn run(
        request: Self::Request,
        cx: &mut Context,
    ) -> impl std::future::Future<Output = Result<()>>;
}

/// A command line and what it does.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// What it does: imperative, without a full stop.
    pub what: &'static str,
    /// The line, starting with `hyper`.
    pub line: &'static str,
}

#[cfg(test)]
mod tests;
