//! `hyper-exit-status.7`, from the kinds of failure.

use std::collections::BTreeMap;

use hyper_common::error::ErrorKind;

use crate::generate::{Files, MARK};
use crate::man::escape;

/// Adds the page.
pub fn add(files: &mut Files) {
    let mut text = format!(".\\\" {MARK}\n");
    text.push_str(
        ".TH HYPER\\-EXIT\\-STATUS 7 \"\" \"hyper\" \"Hyper Manual\"\n.SH NAME\n\
         hyper\\-exit\\-status \\- what the exit status of a hyper tool means\n.SH DESCRIPTION\n\
         Every tool ends with one of these, and\n.B hyper\npasses on that of the tool it ran. \
         With an output format for programs (json, ndjson, yaml, csv, name, jsonpath) the final \
         error is one JSON object on standard error, whose\n.I kind\nis the word given here.\n\
         .SH \"EXIT STATUS\"\n.TP\n.B 0\nAll that was asked for is done and was checked.\n",
    );
    let mut kinds = BTreeMap::<u8, Vec<ErrorKind>>::new();
    for kind in ErrorKind::ALL {
        kinds.entry(kind.exit_status()).or_default().push(kind);
    }
    for (status, kinds) in kinds {
        text.push_str(&format!(".TP\n.B {status}\n"));
        for kind in kinds {
            text.push_str(&format!("{}\n.RI ( {} ).\n", escape(meaning(kind)), word(kind)));
        }
    }
    text.push_str(".SH \"SEE ALSO\"\nhyper(1)\n");
    files.insert("man/hyper-exit-status.7".into(), text.into_bytes());
}

/// The word of a kind in the JSON object, in roff's form.
fn word(kind: ErrorKind) -> String {
    let name = format!("{kind:?}");
    let mut word = String::new();
    for (at, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && at > 0 {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

/// What a kind means, for the person who reads the page.
fn meaning(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Io => "The operating system refused a read or a write",
        ErrorKind::Protocol => "The other side answered something that makes no sense",
        ErrorKind::Usage => "Wrong flags or arguments",
        ErrorKind::Config => "The configuration file or an environment variable is wrong",
        ErrorKind::Auth => "Credentials or permission are missing or refused",
        ErrorKind::NotFound => "Something that was named does not exist",
        ErrorKind::Conflict => "Something exists already, is locked, or is named ambiguously",
        ErrorKind::Unsupported => "This platform, format or target cannot do it",
        ErrorKind::Unavailable => "The other side is not available now; a retry may help",
        ErrorKind::Integrity => "A checksum differs or an image is damaged",
        ErrorKind::Partial => "Some of many failed; the results tell which",
        ErrorKind::TimedOut => "The time allowed has passed before the end",
        ErrorKind::Internal => "A bug in hyper; please report it",
        ErrorKind::Interrupted => "A signal or an answer ended it; what was begun is cleaned up",
    }
}
