//! Completion scripts.

use clap::Command;
use clap_complete::{Shell, generate};

use crate::generate::{Files, MARK};

/// Adds the scripts of one program, under the names that each shell looks for.
pub fn add(name: &str, command: &Command, files: &mut Files) {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut script = Vec::new();
        generate(shell, &mut command.clone().bin_name(name), name, &mut script);
        let file = match shell {
            Shell::Zsh => format!("completions/_{name}"),
            Shell::Fish => format!("completions/{name}.fish"),
            _ => format!("completions/{name}.bash"),
        };
        files.insert(file.into(), marked(&String::from_utf8_lossy(&script)));
    }
}

/// The script with the mark; zsh wants its own first line first.
fn marked(script: &str) -> Vec<u8> {
    let (first, rest) = match script.split_once('\n') {
        Some((first, rest)) if first.starts_with("#compdef") => (format!("{first}\n"), rest),
        _ => (String::new(), script),
    };
    let mut text = format!("{first}# {MARK}\n{rest}");
    text.truncate(text.trim_end().len());
    text.push('\n');
    text.into_bytes()
}
