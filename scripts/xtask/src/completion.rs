//! Completion scripts: they ask the program itself (`HYPER_COMPLETE`), so that all are alike but for
//! its name, and complete names of machines and contexts as well.

use crate::generate::{Files, MARK};

/// For each shell where the script goes and what it is; `@NAME@` is the program.
const SCRIPTS: [(&str, &str); 3] = [
    ("completions/@NAME@.bash", include_str!("completion/bash")),
    ("completions/_@NAME@", include_str!("completion/zsh")),
    ("completions/@NAME@.fish", include_str!("completion/fish")),
];

/// Adds the scripts of one program, under the names that each shell looks for.
pub fn add(name: &str, files: &mut Files) {
    for (file, script) in SCRIPTS {
        let own = |text: &str| text.replace("@NAME@", name).replace("@MARK@", MARK);
        files.insert(own(file).into(), own(script).into_bytes());
    }
}
