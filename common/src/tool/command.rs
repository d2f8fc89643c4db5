//! A tool's clap command, for parsing, help, man pages and completions alike.

use clap::{Args, Command};

use super::{Example, Tool, catalogue};

/// How the program was called, as the help repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Caller {
    /// As `hyper NAME` or `hyper-NAME`.
    #[default]
    Hyper,
    /// As a kubectl plugin.
    Kubectl,
}

impl Caller {
    /// Told from the name that the program was started under.
    pub fn of(program: Option<&std::ffi::OsString>) -> Self {
        let name = program.map(std::path::Path::new).and_then(std::path::Path::file_name);
        match name {
            Some(name) if name.as_encoded_bytes().starts_with(b"kubectl-") => Self::Kubectl,
            _ => Self::Hyper,
        }
    }

    /// What a person types in front of a tool's short name.
    pub fn words(self) -> &'static str {
        match self {
            Self::Hyper => "hyper",
            Self::Kubectl => "kubectl hyper",
        }
    }
}

/// The command of a tool, as a person meets it under `hyper`.
pub fn command<T: Tool>() -> Command {
    command_for::<T>(Caller::Hyper)
}

/// The command of a tool for a caller.
pub fn command_for<T: Tool>(caller: Caller) -> Command {
    let short = T::NAME.strip_prefix("hyper-").unwrap_or(T::NAME);
    let command = T::Args::augment_args(Command::new(T::NAME))
        .bin_name(format!("{} {short}", caller.words()))
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .subcommand_value_name("VERB")
        .subcommand_help_heading("Verbs")
        .after_help(examples(T::EXAMPLES, caller))
        .max_term_width(100);
    let Some(summary) = catalogue::summary(T::NAME) else { return command };
    // The first paragraph of the arguments' doc comment is for readers of the code.
    let more = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let command = command.about(summary);
    match more.split_once("\n\n") {
        Some((_, more)) => command.long_about(format!("{summary}\n\n{more}")),
        None => command,
    }
}

/// The end of the help: each example with what it does.
fn examples(examples: &[Example], caller: Caller) -> String {
    let mut text = "Examples:".to_owned();
    for Example { what, line } in examples {
        let line = match line.strip_prefix("hyper ") {
            Some(rest) => format!("{} {rest}", caller.words()),
            None => (*line).to_owned(),
        };
        text.push_str(&format!("\n  {what}:\n    {line}"));
    }
    text
}
