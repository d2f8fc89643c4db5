//! How a failed run says so: one line and hints for a person, one JSON object for a program.

use std::ffi::OsString;
use std::io::Write;

use crate::error::{Error, ErrorRecord, one_line};
use crate::output::{OutputFormat, printable};

/// Who reads the final error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorForm {
    /// A person.
    Human,
    /// A program: the output format is one for programs.
    Machine,
}

impl ErrorForm {
    /// The form that goes with an output format.
    pub fn of(format: &OutputFormat) -> Self {
        if format.is_machine() { Self::Machine } else { Self::Human }
    }

    /// The form for an error that came before the arguments were understood: looks for `-o` or
    /// `--output` among them, then at `HYPER_OUTPUT`.
    pub fn guess(argv: &[OsString], variable: Option<OsString>) -> Self {
        let mut typed = None;
        let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
        for (at, word) in words.iter().enumerate() {
            let next = || words.get(at + 1).map(ToString::to_string);
            match &**word {
                "--" => break,
                "-o" | "--output" => typed = next(),
                word => {
                    let value = word.strip_prefix("--output=").or_else(|| {
                        word.strip_prefix("-o").map(|value| value.trim_start_matches('='))
                    });
                    typed = value.map(str::to_owned).or(typed);
                }
            }
        }
        let variable = variable.map(|value| value.to_string_lossy().into_owned());
        match typed.or(variable).as_deref().map(str::parse::<OutputFormat>) {
            Some(Ok(format)) => Self::of(&format),
            _ => Self::Human,
        }
    }
}

/// Prints the error that ends the program `name` and gives its exit status.
pub fn report(name: &str, error: &Error, form: ErrorForm) -> u8 {
    let mut text = String::new();
    match form {
        ErrorForm::Human => {
            text.push_str(&format!("{name}: {}\n", printable(&one_line(error))));
            for hint in error.hints() {
                text.push_str(&format!("hint: {}\n", printable(hint)));
            }
        }
        ErrorForm::Machine => {
            let record = serde_json::to_string(&ErrorRecord::new(error));
            text.push_str(&record.unwrap_or_else(|_| one_line(error)));
            text.push('\n');
        }
    }
    // Nobody listening on standard error is no second failure.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    error.kind().exit_status()
}
