//! `hyper completion SHELL`: the script that was generated for `hyper` and all its tools.

use std::ffi::OsString;
use std::process::ExitCode;

use hyper_common::error::{Error, Result};

/// The scripts, as `xtask gen` writes them.
const SCRIPTS: [(&str, &str); 3] = [
    ("bash", include_str!("../../../completions/hyper.bash")),
    ("zsh", include_str!("../../../completions/_hyper")),
    ("fish", include_str!("../../../completions/hyper.fish")),
];

/// The shells that there are scripts for.
pub const SHELLS: [&str; 3] = [SCRIPTS[0].0, SCRIPTS[1].0, SCRIPTS[2].0];

/// Prints the script for one shell.
///
/// # Errors
/// `Usage` where it is not one of those known.
pub fn print_script(words: &[OsString]) -> Result<ExitCode> {
    let wanted = match words {
        [shell] => SCRIPTS.iter().find(|(name, _)| shell == name),
        _ => None,
    };
    match wanted {
        Some((_, script)) => super::print(script),
        None => Err(Error::usage("name one shell: bash, zsh or fish")
            .with_hint("for this session: source <(hyper completion bash)")),
    }
}
